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
