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

import dataclasses

import pytest

from tests.nemesis import events
from tests.nemesis import judging

IMAGE = 'an-image'


def boot(
    at=100.0, seconds=10.0, error=None, last=False, name='disk', user='demo'
):
    details = {
        'image': IMAGE,
        'host': 'host-0',
        'site': 'west',
        'user': user,
        'seconds': seconds,
        'error': error,
        'message': 'what it says',
        'timeout': 120.0,
        'last': last,
    }
    return events.Event(at, 'boot', name, details)


def image(owner='demo', visibility='private', disk_format='raw'):
    details = {
        'digest': 'right',
        'owner': owner,
        'visibility': visibility,
        'disk_format': disk_format,
    }
    return events.Event(1.0, 'image', IMAGE, details)


def disk(parent=('images', IMAGE, 'snap')):
    return events.Event(900.0, 'disk', 'disk', {'parent': list(parent)})


def fault(name, at=95.0, mended=105.0, aftermath=0.0, **felt_by):
    return [
        events.Event(
            at, 'fault', name, {'felt_by': felt_by, 'aftermath': aftermath}
        ),
        events.Event(at, 'begun', name, {'felt_by': felt_by}),
        events.Event(mended, 'ending', name, {'felt_by': felt_by}),
        events.Event(mended, 'mended', name, {'felt_by': felt_by}),
    ]


def samples(name, values, boots=0):
    least = {'boots': boots, 'rss': 1, 'fds': 1, 'threads': 1}
    return [
        events.Event(number, 'sample', 'host-0', {**least, name: value})
        for value in values
        for number in range(judging.SETTLED)
    ]


def broken(*run):
    return {what.partition(':')[0] for what in judging.broken(run)}


def test_a_run_in_which_all_is_well():
    assert broken(boot(), disk()) == set()


@pytest.mark.parametrize('seconds', [None, 271.0])
def test_a_boot_that_does_not_end_in_time_is_found(seconds):
    assert broken(boot(seconds=seconds), disk()) == {'every_boot_ends'}


@pytest.mark.parametrize(('mended', 'found'), [(300.0, 0), (150.0, 1)])
def test_a_boot_may_take_longer_by_what_its_host_was_frozen(mended, found):
    run = [*fault('host-0 frozen', 100.0, mended), boot(seconds=400), disk()]
    assert broken(*run) == ({'every_boot_ends'} if found else set())


def test_that_another_host_was_frozen_is_no_reason_to_take_longer():
    run = [*fault('host-1 frozen', 100.0, 300.0), boot(seconds=400), disk()]
    assert broken(*run) == {'every_boot_ends'}


@pytest.mark.parametrize('how', judging.KILLS)
@pytest.mark.parametrize(('at', 'found'), [(99.0, 1), (101.0, 0)])
def test_a_boot_may_go_with_its_host_but_not_after_it(how, at, found):
    run = [*fault(f'host-0 {how}', at), boot(seconds=None)]
    assert broken(*run) == ({'every_boot_ends'} if found else set())


def test_that_another_host_was_killed_is_no_reason_not_to_end():
    run = [*fault('host-1 killed', 101.0), boot(seconds=None)]
    assert broken(*run) == {'every_boot_ends'}


def test_a_host_that_dies_by_itself_is_found():
    run = [events.Event(100.0, 'crash', 'host-0', {'code': -11})]
    assert broken(*run) == {'no_host_dies'}


@pytest.mark.parametrize('error', ['KeyError', 'ImageUnacceptable'])
def test_an_error_that_is_not_the_driver_s_is_found(error):
    assert broken(boot(error=error)) == {'errors_are_documented'}


@pytest.mark.parametrize('error', sorted(judging.CAUSES))
def test_an_error_without_its_cause_is_found(error):
    assert broken(boot(error=error)) == {'errors_are_true'}


@pytest.mark.parametrize(
    'error',
    sorted(error for error, causes in judging.CAUSES.items() if causes),
)
def test_an_error_with_its_cause_is_true(error):
    (cause, *_) = judging.CAUSES[error]
    assert broken(*fault(cause, image=IMAGE), boot(error=error)) == set()


@pytest.mark.parametrize(
    ('error', 'user', 'fields'),
    [
        ('NotRaw', 'demo', {'disk_format': 'qcow2'}),
        ('ImageGone', 'other', {}),
        ('NotCopiedOnDemand', 'other', {'visibility': 'community'}),
        ('NotCopiedOnDemand', 'other', {'visibility': 'shared'}),
    ],
)
def test_an_error_of_the_image_itself_is_true(error, user, fields):
    run = [image(**fields), boot(error=error, user=user)]
    assert broken(*run) == set()


@pytest.mark.parametrize(
    ('user', 'fields'),
    [('demo', {'disk_format': 'qcow2'}), ('other', {})],
)
def test_a_disk_of_what_nobody_may_have_a_disk_of_is_found(user, fields):
    run = [image(**fields), boot(user=user), disk()]
    assert broken(*run) == {'nobody_boots_without_the_right'}


@pytest.mark.parametrize(
    ('name', 'user', 'found'),
    [
        ('deactivated', 'demo', 1),
        ('deactivated', 'other', 1),
        ('withdrawn', 'demo', 0),
        ('withdrawn', 'other', 1),
    ],
)
def test_a_disk_without_the_right_is_found(name, user, found):
    run = [
        image(visibility='shared'),
        *fault(name, 90.0, 120.0, image=IMAGE),
        boot(user=user),
        disk(),
    ]
    assert broken(*run) == (
        {'nobody_boots_without_the_right'} if found else set()
    )


def test_what_could_not_be_begun_hides_nothing():
    (noted, _, *ends) = fault('deactivated', 90.0, 120.0, image=IMAGE)
    assert broken(noted, *ends, image(), boot(), disk()) == set()


def test_nor_does_what_is_about_to_end():
    (*begins, ending, mended) = fault('deactivated', 80.0, 120.0, image=IMAGE)
    early = dataclasses.replace(ending, at=90.0)
    run = [*begins, early, mended, image(), boot(), disk()]
    assert broken(*run) == set()


@pytest.mark.parametrize(('at', 'found'), [(90.0, 1), (105.0, 0)])
def test_a_disk_of_an_image_that_was_gone_is_found(at, found):
    run = [events.Event(at, 'gone', IMAGE), boot(), disk()]
    assert broken(*run) == (
        {'nobody_boots_without_the_right'} if found else set()
    )


def test_an_error_that_no_fault_explains_is_never_true():
    run = [*fault('glance-api-1'), boot(error='StoreNotLocal')]
    assert broken(*run) == {'errors_are_true'}


def test_a_fault_that_was_mended_long_ago_explains_nothing():
    run = [*fault('glance-api-1', 1.0, 2.0), boot(error='GlanceUnavailable')]
    assert broken(*run) == {'errors_are_true'}


def test_a_fault_of_another_image_explains_nothing():
    run = [*fault('deleted', image='another'), boot(error='ImageGone')]
    assert broken(*run) == {'errors_are_true'}


@pytest.mark.parametrize(
    ('name', 'user', 'found'),
    [
        ('token-of-demo revoked', 'demo', 0),
        ('token-of-demo revoked', 'other', 1),
        ('token-of-demo short', 'demo', 1),
    ],
)
def test_a_token_is_refused_to_whose_was_revoked(name, user, found):
    run = [*fault(name, user=user), boot(error='TokenRefused')]
    assert broken(*run) == ({'errors_are_true'} if found else set())


def test_a_fault_is_over_when_it_was_mended_for_its_own_image():
    run = [
        *fault('deactivated', 1.0, 200.0, image='another'),
        *fault('deactivated', 1.0, 2.0, image=IMAGE),
        boot(error='NotActive'),
    ]
    assert broken(*run) == {'errors_are_true'}


def test_a_lock_that_is_left_is_no_reason_for_no_answer():
    run = [
        *fault('glance-api-1', 1.0, 2.0, aftermath=3600.0),
        boot(error='GlanceUnavailable'),
    ]
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
        image(),
        events.Event(2.0, 'copy', IMAGE, {'digest': digest, 'store': 'west'}),
    ]
    assert broken(*run) == {'copies_are_whole'} if found else not broken(*run)


def copied(status='success', *stores):
    details = {'status': status, 'stores': stores or ['west']}
    return events.Event(900.0, 'task', IMAGE, details)


def test_a_second_copy_is_found():
    run = [copied('success', 'west'), copied('success', 'east', 'west')]
    assert broken(*run) == {'a_copy_is_made_once'}


def test_a_copy_after_one_that_failed_is_not_the_second():
    assert broken(copied('failure'), copied()) == set()


def test_what_was_half_deleted_may_be_copied_again():
    run = [*fault('deleted', image=IMAGE), copied(), copied()]
    assert broken(*run) == set()


def server(status):
    details = {'status': status, 'seconds': 10.0, 'message': 'what it says'}
    return events.Event(100.0, 'server', 'a-server', details)


@pytest.mark.parametrize('status', ['ERROR', 'BUILD', 'SHUTOFF'])
def test_a_server_that_does_not_come_up_is_found(status):
    assert broken(server(status)) == {'servers_settle'}


def test_a_server_may_be_in_error_while_something_is_broken():
    assert broken(*fault('rabbitmq'), server('ERROR')) == set()
    assert broken(*fault('rabbitmq'), server('BUILD')) == {'servers_settle'}


def left(pool):
    return events.Event(900.0, 'left', 'something', {'pool': pool})


@pytest.mark.parametrize('pool', ['images', 'vms'])
def test_what_is_left_is_found(pool):
    assert broken(left(pool)) == {'nothing_is_left'}


def test_a_copy_that_was_broken_off_may_be_left_but_no_disk():
    assert broken(*fault('glance-api-1'), left('images')) == set()
    assert broken(*fault('glance-api-1'), left('vms')) == {'nothing_is_left'}


@pytest.mark.parametrize(('name', 'found'), [('rabbitmq', 0), ('host-0', 1)])
def test_a_deleted_server_s_disk_may_be_left_where_nova_was_broken(
    name, found
):
    disk_of_server = events.Event(
        900.0, 'left', 'a-server_disk', {'pool': 'vms'}
    )
    run = [*fault(name), server('ACTIVE'), disk_of_server]
    assert broken(*run) == ({'nothing_is_left'} if found else set())


@pytest.mark.parametrize('name', sorted(judging.NO_GROWTH))
def test_a_host_that_grows_is_found(name):
    least = judging.NO_GROWTH[name]
    grows = [least, least, 2 * least, 2 * least, 4 * least, 8 * least]
    assert broken(*samples(name, grows)) == {'hosts_level_off'}


def test_a_host_needs_more_while_boots_wait():
    grows = [100, 100, 100, 100, 1000, 1000]
    assert broken(*samples('threads', grows, judging.CALM + 1)) == set()


def test_a_host_that_has_grown_and_stays_so_levels_off():
    assert broken(*samples('fds', [1, 10, 100, 100, 100, 100])) == set()


def test_an_image_that_boots_no_more_is_found():
    run = [*fault('ceph-osd-west'), boot(error='CopyFailed', last=True)]
    assert broken(*run) == {'all_is_well_at_the_end'}


def test_an_image_that_never_could_be_booted_need_not_at_the_end():
    run = [image(disk_format='qcow2'), boot(error='NotRaw', last=True)]
    assert broken(*run) == set()


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
