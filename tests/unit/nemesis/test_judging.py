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


"""Each check of the nemesis finds a run in which what it is for is broken."""

import pytest

from tests.nemesis import events
from tests.nemesis import judging

IMAGE = 'an-image'


def boot(at=100.0, seconds=10.0, error=None, last=False, name='disk'):
    details = {
        'image': IMAGE,
        'site': 'west',
        'seconds': seconds,
        'error': error,
        'message': 'what it says',
        'timeout': 120.0,
        'last': last,
    }
    return events.Event(at, 'boot', name, details)


def disk(parent=('images', IMAGE, 'snap')):
    return events.Event(900.0, 'disk', 'disk', {'parent': list(parent)})


def fault(name, at=95.0, mended=105.0, **details):
    return [
        events.Event(at, 'fault', name, details),
        events.Event(mended, 'mended', name),
    ]


def samples(name, values):
    least = {'rss': 1, 'fds': 1, 'threads': 1}
    return [
        events.Event(number, 'sample', 'host-0', {**least, name: value})
        for number, value in enumerate(values)
    ]


def broken(*run):
    return {what.partition(':')[0] for what in judging.broken(run)}


def test_a_run_in_which_all_is_well():
    assert broken(boot(), disk()) == set()


@pytest.mark.parametrize('seconds', [None, 271.0])
def test_a_boot_that_does_not_end_in_time_is_found(seconds):
    assert broken(boot(seconds=seconds), disk()) == {'every_boot_ends'}


@pytest.mark.parametrize('error', ['KeyError', 'ImageUnacceptable'])
def test_an_error_that_is_not_the_driver_s_is_found(error):
    assert broken(boot(error=error)) == {'errors_are_documented'}


@pytest.mark.parametrize('error', sorted(judging.CAUSES))
def test_an_error_without_its_cause_is_found(error):
    assert broken(boot(error=error)) == {'errors_are_true'}


@pytest.mark.parametrize('error', sorted(judging.CAUSES))
def test_an_error_with_its_cause_is_true(error):
    (cause, *_) = judging.CAUSES[error]
    assert broken(*fault(cause), boot(error=error)) == set()


def test_an_error_that_no_fault_explains_is_never_true():
    run = [*fault('glance-api-1'), boot(error='StoreNotLocal')]
    assert broken(*run) == {'errors_are_true'}


def test_a_fault_that_was_mended_long_ago_explains_nothing():
    run = [*fault('glance-api-1', 1.0, 2.0), boot(error='GlanceUnavailable')]
    assert broken(*run) == {'errors_are_true'}


def test_a_fault_of_another_image_explains_nothing():
    run = [*fault('deleted', image='another'), boot(error='ImageGone')]
    assert broken(*run) == {'errors_are_true'}


def test_a_lock_is_felt_for_as_long_as_it_is_kept():
    run = [
        *fault('glance-api-1', 1.0, 2.0, aftermath=3600.0),
        boot(error='CopyStalled'),
    ]
    assert broken(*run) == set()


@pytest.mark.parametrize(
    'seen',
    [[], [disk(('images', 'another', 'snap'))], [disk(())]],
)
def test_a_disk_that_is_no_clone_of_its_image_is_found(seen):
    assert broken(boot(), *seen) == {'disks_are_clones'}


@pytest.mark.parametrize(('digest', 'found'), [('right', 0), ('wrong', 1)])
def test_a_copy_with_other_bytes_is_found(digest, found):
    run = [
        events.Event(1.0, 'image', IMAGE, {'digest': 'right'}),
        events.Event(2.0, 'copy', IMAGE, {'digest': digest, 'store': 'west'}),
    ]
    assert broken(*run) == {'copies_are_whole'} if found else not broken(*run)


def left(pool):
    return events.Event(900.0, 'left', 'something', {'pool': pool})


@pytest.mark.parametrize('pool', ['images', 'vms'])
def test_what_is_left_is_found(pool):
    assert broken(left(pool)) == {'nothing_is_left'}


def test_a_copy_that_was_broken_off_may_be_left_but_no_disk():
    assert broken(*fault('glance-api-1'), left('images')) == set()
    assert broken(*fault('glance-api-1'), left('vms')) == {'nothing_is_left'}


@pytest.mark.parametrize('name', sorted(judging.NO_GROWTH))
def test_a_host_that_grows_is_found(name):
    least = judging.NO_GROWTH[name]
    grows = [least, least, 2 * least, 2 * least, 4 * least, 8 * least]
    assert broken(*samples(name, grows)) == {'hosts_level_off'}


def test_a_host_that_has_grown_and_stays_so_levels_off():
    assert broken(*samples('fds', [1, 10, 100, 100, 100, 100])) == set()


def test_an_image_that_boots_no_more_is_found():
    run = [*fault('ceph-osd-west'), boot(error='CopyFailed', last=True)]
    assert broken(*run) == {'all_is_well_at_the_end'}


def test_the_last_try_counts():
    run = [
        *fault('ceph-osd-west'),
        boot(error='CopyFailed', last=True, name='first'),
        boot(at=200.0, last=True),
        disk(),
    ]
    assert broken(*run) == set()


def test_events_are_read_as_they_were_noted(tmp_path):
    journal = events.Journal(tmp_path / 'history.jsonl')
    journal.note('fault', 'late', 20.0)
    journal.note('boot', 'early', 10.0, image=IMAGE)
    early, late = journal.events()
    assert (early.about, early.details) == ('early', {'image': IMAGE})
    assert late.about == 'late'
