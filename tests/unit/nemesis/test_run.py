# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.


"""How a run has its faults, and mends them."""

import threading
import time
import types

import pytest

from tests.nemesis import __main__ as nemesis
from tests.nemesis import events
from tests.nemesis import faults


@pytest.fixture
def journal(tmp_path):
    return events.Journal(tmp_path / 'history.jsonl')


@pytest.fixture
def run(journal):
    made = object.__new__(nemesis.Run)
    made._journal = journal
    made._open = []
    made._broken = set()
    made._lock = threading.Lock()
    return made


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(nemesis, 'MENDED_IN', 0.0)


def fails(said):
    def end():
        raise RuntimeError(said)

    return end


def noted(journal):
    return [(event.what, event.about) for event in journal.events()]


def test_a_fault_that_cannot_be_ended_goes_on_and_so_does_the_run(
    run, journal
):
    run._have(faults.always('withdrawn', list, fails('no'), 0.0), 0.0)
    assert noted(journal) == [
        ('fault', 'withdrawn'),
        ('begun', 'withdrawn'),
        ('ending', 'withdrawn'),
        ('hitch', 'not mended'),
    ]
    assert len(run._open) == 1


def test_what_has_not_reached_its_service_need_not_be_ended(run, journal):
    begin = fails('Failed to establish a new connection')
    run._have(faults.always('withdrawn', begin, fails('no'), 0.0), 0.0)
    assert noted(journal) == [('fault', 'withdrawn'), ('mended', 'withdrawn')]


def test_what_may_have_been_done_is_undone(run, journal):
    run._have(faults.always('withdrawn', fails('timed out'), list, 0.0), 0.0)
    assert [what for what, _ in noted(journal)] == [
        *('fault', 'ending', 'mended'),
    ]


def test_a_run_that_fails_is_judged(monkeypatch, tmp_path, capsys):
    class Fails:
        def __init__(self, _given, journal):
            journal.note('crash', 'host-0', code=-11)

        def go(self):
            raise RuntimeError('no lab')

    history = tmp_path / 'history.jsonl'
    monkeypatch.setattr(nemesis, 'Run', Fails)
    monkeypatch.setattr('sys.argv', ['nemesis', '--history', str(history)])
    with pytest.raises(RuntimeError):
        nemesis.main()
    assert 'no_host_dies: host-0 ended with -11' in capsys.readouterr().out


def test_a_history_is_judged_again(monkeypatch, journal, tmp_path, capsys):
    journal.note('crash', 'host-0', code=-11)
    history = str(tmp_path / 'history.jsonl')
    monkeypatch.setattr('sys.argv', ['nemesis', '--judge', history])
    assert nemesis.main()
    assert 'no_host_dies: host-0 ended with -11' in capsys.readouterr().out
    assert noted(journal) == [('crash', 'host-0')]


@pytest.mark.parametrize(
    ('seconds_ago', 'lasts', 'waits'),
    [
        (0.0, 60.0, False),
        (400.0, 60.0, True),
        (500.0, 1.0, True),
        (600.0, 60.0, False),
    ],
)
def test_no_fault_lasts_into_a_calm_spell(
    monkeypatch, seconds_ago, lasts, waits
):
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        monkeypatch.setattr(nemesis, 'CALM', -600.0)

    monkeypatch.setattr(nemesis.time, 'sleep', sleep)
    now = time.time()
    nemesis._wait_out_calm(now - seconds_ago, lasts, now + 1000.0)
    assert bool(slept) is waits


class Images:
    """Keeps what is done to images."""

    def __init__(self):
        self.done = []

    def stores(self, _image):
        return {'file'}

    def age_lock(self, image, minutes):
        self.done.append((image, minutes))

    def delete_from(self, store, image):
        self.done.append((image, store))


def failed(error, message=''):
    details = {
        'image': 'an-image',
        'site': 'west',
        'error': error,
        'message': message,
    }
    return events.Event(1.0, 'boot', 'disk', details)


def in_minutes(minutes):
    moment = time.gmtime(time.time() + 60 * minutes)
    return f'taken over at {time.strftime("%Y-%m-%d %H:%M:%S", moment)} UTC'


@pytest.mark.parametrize(
    ('fail', 'done'),
    [
        # When the test runs: all tests are collected minutes before.
        (lambda: failed('ImageHeld', in_minutes(30)), ('an-image', 30)),
        (lambda: failed('CopyStalled', 'taken over at once'), ('an-image', 0)),
        (lambda: failed('NotInCluster'), ('an-image', 'west')),
        (lambda: failed('CopyTimedOut'), None),
    ],
    ids=['held', 'stalled', 'not in cluster', 'timed out'],
)
def test_what_an_error_says_is_done(run, journal, fail, done):
    run._images = Images()
    run._do_what_is_said(fail())
    assert run._images.done == ([done] if done else [])
    assert noted(journal) == [('cure', 'an-image')]


def test_what_is_removed_after_a_copy_failed_is_noted(
    run, journal, monkeypatch
):
    class Cluster:
        def __init__(self, _site):
            self.left = {'an-image'}

        def __enter__(self):
            return self

        def __exit__(self, *_exc):
            """Do nothing."""

        def images(self, _pool):
            return self.left

        def remove(self, _pool, image):
            self.left.remove(image)

    monkeypatch.setattr(nemesis.clusters, 'Cluster', Cluster)
    run._images = Images()
    run._where = types.SimpleNamespace(
        sites=[types.SimpleNamespace(name='west')]
    )
    run._do_what_is_said(failed('CopyFailed'))
    assert noted(journal) == [('cure', 'an-image'), ('removed', 'an-image')]


class Host:
    """Boots what it is told to: the first time with an error, then a disk."""

    pid = 1

    def __init__(self, _compute, where, _options):
        self.name = where.name
        self._boots = []

    def live(self):
        """Do nothing."""

    def also_boot(self, user, image):
        self._boots.append((f'{self.name}-{image}', user))
        return self._boots[-1][0]

    def outcomes(self):
        """Do nothing."""

    def ended(self):
        first = self.name.startswith('last-0-demo-1')
        return {
            disk: types.SimpleNamespace(
                began=100.0,
                seconds=1.0,
                error='CopyTimedOut' if first else None,
                message='boot again',
            )
            for disk, _ in self._boots
        }

    def kill(self):
        """Do nothing."""


class Logins:
    def renew_patiently(self, _project):
        """Do nothing."""

    def user(self, project):
        return project


def test_what_fails_at_the_end_boots_again(
    run, journal, monkeypatch, tmp_path
):
    monkeypatch.setattr(nemesis.hosts, 'Host', Host)
    monkeypatch.setattr(nemesis, 'LAST_APART', 0.0)
    run._folder = tmp_path
    run._logins = Logins()
    run._proxies = []
    sites = [types.SimpleNamespace(name=name) for name in ('east', 'west')]
    computes = [types.SimpleNamespace(site=site) for site in sites]
    run._where = types.SimpleNamespace(sites=sites, computes=computes)
    run._images = types.SimpleNamespace(
        look_for_gone=list,
        left=[
            types.SimpleNamespace(id='ours', visibility='private'),
            types.SimpleNamespace(id='of-all', visibility='public'),
        ],
    )
    run._boot_all_once_more()
    boots = [event for event in journal.events() if event.what == 'boot']
    assert sorted(
        (boot.details['image'], boot.details['user'], boot.details['site'])
        for boot in boots
    ) == [
        *[('of-all', 'demo', 'east')],
        *[('of-all', 'demo', 'west')] * 2,
        *[('of-all', 'other', 'east'), ('of-all', 'other', 'west')],
        *[('ours', 'demo', 'east')],
        *[('ours', 'demo', 'west')] * 2,
    ]
    assert all(boot.details['last'] for boot in boots)
    cures = [event for event in journal.events() if event.what == 'cure']
    assert {cure.about for cure in cures} == {'ours', 'of-all'}
