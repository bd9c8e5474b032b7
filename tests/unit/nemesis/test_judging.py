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

from tests.nemesis import causes
from tests.nemesis import events
from tests.nemesis import judging

IMAGE = 'an-image'


def boot(
    at=100.0,
    seconds=10.0,
    error=None,
    last=False,
    name='disk',
    user='demo',
    message='what it says',
    site='west',
):
    details = {
        'image': IMAGE,
        'host': 'host-0',
        'site': site,
        'user': user,
        'seconds': seconds,
        'error': error,
        'message': message,
        'timeout': 120.0,
        'last': last,
    }
    return events.Event(at, 'boot', name, details)


def image(owner='demo', visibility='private', disk_format='raw', at=1.0):
    details = {
        'digest': 'right',
        'owner': owner,
        'visibility': visibility,
        'disk_format': disk_format,
    }
    return events.Event(at, 'image', IMAGE, details)


def disk(parent=('images', IMAGE, 'snap')):
    return disk_of('disk', parent)


def disk_of(name, parent=('images', IMAGE, 'snap')):
    return events.Event(900.0, 'disk', name, {'parent': list(parent)})


def fault(name, at=95.0, mended=105.0, aftermath=0.0, **felt_by):
    return [
        events.Event(
            at, 'fault', name, {'felt_by': felt_by, 'aftermath': aftermath}
        ),
        events.Event(at, 'begun', name, {'felt_by': felt_by}),
        events.Event(mended, 'ending', name, {'felt_by': felt_by}),
        events.Event(mended, 'mended', name, {'felt_by': felt_by}),
    ]


def end():
    return events.Event(1000.0, 'end', 'all')


def slow(name, at=95.0, seconds=10.0):
    return events.Event(at, 'slow', name, {'seconds': seconds})


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


@pytest.mark.parametrize(('at', 'found'), [(360.0, 0), (380.0, 1)])
def test_a_boot_that_hung_until_its_host_was_killed_is_found(at, found):
    run = [*fault('host-0 killed', at), boot(seconds=None)]
    assert broken(*run) == ({'every_boot_ends'} if found else set())


def test_what_its_host_was_frozen_does_not_count_until_it_is_killed():
    frozen = fault('host-0 frozen', 110.0, 150.0)
    run = [*frozen, *fault('host-0 killed', 380.0), boot(seconds=None)]
    assert broken(*run) == set()


def test_a_host_that_does_not_end_when_it_is_stopped_is_found():
    hang = events.Event(100.0, 'hang', 'host-0')
    assert broken(hang) == {'every_boot_ends'}


def test_that_another_host_was_killed_is_no_reason_not_to_end():
    run = [*fault('host-1 killed', 101.0), boot(seconds=None)]
    assert broken(*run) == {'every_boot_ends'}


def test_a_host_that_dies_by_itself_is_found():
    run = [events.Event(100.0, 'crash', 'host-0', {'code': -11})]
    assert broken(*run) == {'no_host_dies'}


@pytest.mark.parametrize('error', ['KeyError', 'ImageUnacceptable'])
def test_an_error_that_is_not_the_driver_s_is_found(error):
    assert broken(boot(error=error)) == {'errors_are_documented'}


@pytest.mark.parametrize('error', sorted(causes.CAUSES))
def test_an_error_without_its_cause_is_found(error):
    assert broken(boot(error=error)) == {'errors_are_true'}


@pytest.mark.parametrize(
    ('error', 'name'),
    [
        ('GlanceUnavailable', 'mariadb stopped'),
        ('GlanceUnavailable', 'keystone-network loses 100% of packets'),
        ('GlanceUnavailable', 'glance-api: all restarted at once'),
        ('TokenRefused', 'keystone frozen'),
        ('CopyFailed', 'glance-api-1 staging full'),
        ('CopyFailed', 'ceph-osd-east frozen'),
        ('CopyRefused', 'glance-api lock aged'),
        ('CopyTimedOut', 'glance-api-2-proxy answers 503'),
        ('CopyTimedOut', 'host-0 frozen'),
        ('NotInCluster', 'deleted'),
        ('ClusterUnreachable', 'ceph-mon-west-network loses 15% of packets'),
        ('ClusterUnreachable', 'network narrow'),
        ('ImageGone', 'withdrawn'),
        ('NotActive', 'deactivated'),
    ],
)
def test_an_error_with_its_cause_is_true(error, name):
    assert broken(*fault(name, image=IMAGE), boot(error=error)) == set()


@pytest.mark.parametrize(
    ('error', 'name'),
    [
        ('GlanceUnavailable', 'glance-api: no marker'),
        ('CopyFailed', 'glance-api: no marker'),
        ('GlanceUnavailable', 'ceph-osd-west frozen'),
        ('ClusterUnreachable', 'ceph-osd-east frozen'),
        ('ClusterRefused', "ceph-mon-east rotates Nova's key"),
        ('CopyFailed', "ceph-mon-west rotates Nova's key"),
        ('CopyTimedOut', 'host-1 frozen'),
        ('CopyFailed', 'glance-api-1-proxy answers 500'),
        ('NotInCluster', 'ceph-osd-west frozen'),
        ('TokenRefused', 'glance-api-1 killed'),
    ],
)
def test_an_error_with_another_cause_is_found(error, name):
    run = [*fault(name), boot(error=error)]
    assert broken(*run) == {'errors_are_true'}


@pytest.mark.parametrize('error', sorted(causes.OF_EACH))
def test_one_failed_glance_api_of_two_is_no_reason_and_both_are(error):
    one, other = (fault(f'{api} without west', 90.0) for api in causes.APIS)
    assert broken(*one, boot(error=error)) == {'errors_are_true'}
    assert broken(*one, *other, boot(error=error)) == set()


@pytest.mark.parametrize(
    ('name', 'found'),
    [
        ('glance-api-2-proxy hangs up', 0),
        ('glance-api-2-network loses 100% of packets', 0),
        ('glance-api-2-proxy delays answers', 1),
        ('glance-api-2 staging full', 1),
    ],
)
def test_what_answers_is_not_unavailable(name, found):
    run = [
        *fault('glance-api-1 killed'),
        *fault(name),
        boot(error='GlanceUnavailable'),
    ]
    assert broken(*run) == ({'errors_are_true'} if found else set())


@pytest.mark.parametrize(
    ('error', 'name', 'found'),
    [
        ('CopyTimedOut', 'sleep', 0),
        ('CopyTimedOut', 'glance-api-1', 0),
        ('GlanceUnavailable', 'sleep', 0),
        ('GlanceUnavailable', 'glance-api-1', 1),
        ('GlanceUnavailable', 'keystone', 0),
        ('TokenRefused', 'keystone', 0),
        ('TokenRefused', 'glance-api-1', 1),
        ('CopyFailed', 'keystone', 0),
        ('CopyFailed', 'sleep', 1),
        ('ClusterRefused', 'sleep', 1),
        ('RequestFailed', 'sleep', 1),
    ],
)
def test_a_slow_machine_explains_what_is_late(error, name, found):
    run = [slow(name), boot(error=error)]
    assert broken(*run) == ({'errors_are_true'} if found else set())


def test_a_glance_api_is_not_slow_by_itself_while_it_is_broken():
    run = [
        *fault('glance-api-1 frozen'),
        slow('glance-api-1'),
        boot(error='ClusterUnreachable'),
    ]
    assert broken(*run) == {'errors_are_true'}


def test_a_boot_may_take_longer_by_what_the_machine_was_slow():
    run = [slow('sleep', 110.0, 50.0), boot(seconds=300.0), disk()]
    assert broken(*run) == set()


def test_but_not_by_the_same_seconds_twice():
    twice = [slow('sleep', 110.0, 20.0), slow('keystone', 110.0, 20.0)]
    run = [*twice, boot(seconds=300.0), disk()]
    assert broken(*run) == {'every_boot_ends'}
    assert causes.Causes(run).slow() == 20.0


def test_the_machine_is_slow_whatever_else_is_broken():
    run = [*fault('network narrow'), slow('sleep')]
    assert causes.Causes(run).slow() == 10.0


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
    run = [*fault('mariadb', 1.0, 2.0), boot(error='GlanceUnavailable')]
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
        *fault('mariadb killed', 1.0, 2.0, aftermath=3600.0),
        boot(error='GlanceUnavailable'),
    ]
    assert broken(*run) == {'errors_are_true'}


def test_a_lock_is_felt_for_as_long_as_it_is_kept():
    run = [
        image(at=0.5),
        *fault('glance-api-1 killed', 1.0, 2.0, aftermath=3600.0),
        boot(error='CopyStalled'),
    ]
    assert broken(*run) == set()


def test_no_lock_is_left_of_an_image_that_came_later():
    run = [
        *fault('glance-api-1 killed', 1.0, 2.0, aftermath=3600.0),
        image(at=3.0),
        boot(error='CopyStalled'),
    ]
    assert broken(*run) == {'errors_are_true'}


def task(status, updated=105.0, created=102.0, store='west'):
    details = {
        'status': status,
        'stores': [store],
        'created': created,
        'updated': updated,
    }
    return events.Event(900.0, 'task', IMAGE, details)


def is_true(error, *run):
    """Whether a boot may end so while there is a fault that could cause it."""
    run = [image(), *fault('glance-api-1 killed'), *run, boot(error=error)]
    return 'errors_are_true' not in broken(*run)


@pytest.mark.parametrize(
    ('error', 'made', 'found'),
    [
        ('CopyFailed', [], True),
        ('CopyFailed', [task('failure')], False),
        ('CopyFailed', [task('success')], True),
        ('CopyFailed', [task('failure', store='east')], True),
        ('CopyFailed', [task('failure', updated=80.0)], True),
        ('CopyFailed', [task('failure', updated=130.0)], True),
        *(
            case
            for error in sorted(causes.OF_TASKS - {'CopyFailed'})
            for case in [
                (error, [], True),
                (error, [task('processing')], False),
                (error, [task('pending', store='east')], False),
                (error, [task('success', updated=30.0)], True),
                (error, [task('failure', updated=300.0)], False),
                (error, [task('failure', 300.0, created=130.0)], True),
            ]
        ),
    ],
)
def test_glances_tasks_have_to_say_what_an_error_says(error, made, found):
    assert is_true(error, *made, end()) is not found
    # As far as they are known, and told as they were.
    assert is_true(error, *made)
    aged = fault('glance-api lock aged', image=IMAGE)
    assert is_true(error, *made, *aged, end())
    assert is_true(error, *made, events.Event(300.0, 'gone', IMAGE), end())


def test_that_it_was_withdrawn_is_felt_by_those_it_was_shared_with():
    run = [
        *fault('withdrawn', image=IMAGE, user='other'),
        boot(error='ImageGone'),
    ]
    assert broken(*run) == {'errors_are_true'}


def test_what_false_errors_would_be_found_is_counted():
    run = [
        *fault('mariadb killed', 90.0, 110.0),
        *(boot(at=at) for at in (100.0, 150.0, 200.0, 300.0)),
        boot(seconds=None),
    ]
    found = causes.power(run)
    assert found['GlanceUnavailable'] == found['CopyFailed'] == 0.5
    assert found['ClusterUnreachable'] == found['StoreUnknown'] == 1.0


def test_of_a_run_without_boots_no_share_is_told():
    assert causes.power([]) == {}


@pytest.mark.parametrize(
    'seen',
    [[], [disk(('images', 'another', 'snap'))], [disk(())]],
)
def test_a_disk_that_is_no_clone_of_its_image_is_found(seen):
    last = [boot(last=True, site=site, name=site) for site in judging.SITES]
    looked_at = [disk_of(each.about) for each in last]
    run = [image(), boot(), *last, *looked_at, *seen, end()]
    assert broken(*run) == {'disks_are_clones'}


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


def server(status, message='what it says', at=100.0):
    details = {
        'status': status,
        'seconds': 10.0,
        'message': message,
        'image': IMAGE,
        'site': 'west',
    }
    return events.Event(at, 'server', 'a-server', details)


@pytest.mark.parametrize('status', ['ERROR', 'BUILD', 'SHUTOFF'])
def test_a_server_that_does_not_come_up_is_found(status):
    assert broken(server(status)) == {'servers_settle'}


@pytest.mark.parametrize(
    ('name', 'found'),
    [
        ('rabbitmq killed', set()),
        ('compute-west-2 frozen', set()),
        ('glance-api-1 killed', {'BUILD'}),
        ('ceph-osd-west full', {'BUILD'}),
        ('compute-east-1 frozen', {'ERROR', 'BUILD'}),
        ('host-0 killed', {'ERROR', 'BUILD'}),
        ('glance-api-1-proxy answers 500', {'ERROR', 'BUILD'}),
        ('glance-api: no marker', {'ERROR', 'BUILD'}),
    ],
)
def test_a_server_may_be_in_error_or_lost_by_what_is_broken(name, found):
    for status in ('ERROR', 'BUILD'):
        assert broken(*fault(name), server(status)) == (
            {'servers_settle'} if status in found else set()
        )


@pytest.mark.parametrize(
    ('message', 'found'), [('Copy stalled', 0), ('No host', 1)]
)
def test_a_server_fails_late_by_what_has_left_a_lock_only(message, found):
    run = [
        image(),
        *fault('glance-api-1 killed', 10.0, 20.0, aftermath=3600.0),
        server('ERROR', message, at=1000.0),
    ]
    assert broken(*run) == ({'servers_settle'} if found else set())


def test_another_image_that_is_gone_has_no_server_fail():
    run = [*fault('deleted', image='another'), server('ERROR')]
    assert broken(*run) == {'servers_settle'}


def left(pool, name='something', what='left'):
    return events.Event(900.0, what, name, {'pool': pool})


@pytest.mark.parametrize('pool', ['images', 'vms'])
def test_what_is_left_is_found(pool):
    assert broken(left(pool)) == {'nothing_is_left'}


@pytest.mark.parametrize('what', ['left', 'removed'])
@pytest.mark.parametrize(
    ('name', 'at', 'found'),
    [
        ('glance-api-1 killed', 90.0, 0),
        ('ceph-osd-west full', 90.0, 0),
        ('glance-api-1 killed', 600.0, 1),
        ("ceph-mon-west rotates Nova's key", 90.0, 1),
    ],
)
def test_a_copy_may_be_left_that_was_broken_off(what, name, at, found):
    run = [
        *(image(), boot(), disk()),
        *fault(name, at, at + 5.0),
        left('images', IMAGE, what),
    ]
    assert broken(*run) == ({'nothing_is_left'} if found else set())


def test_what_is_gone_may_leave_data():
    gone = events.Event(800.0, 'gone', IMAGE)
    assert broken(image(), gone, left('images', IMAGE)) == set()


@pytest.mark.parametrize(('at', 'found'), [(90.0, 0), (600.0, 1)])
def test_a_snapshot_may_be_left_that_was_broken_off(at, found):
    run = [
        events.Event(100.0, 'snapshot', 'something'),
        *fault('glance-api-1 killed', at, at + 5.0),
        left('images'),
    ]
    assert broken(*run) == ({'nothing_is_left'} if found else set())


def test_a_fault_does_not_excuse_a_disk_that_is_left():
    run = [*fault('glance-api-1 killed'), left('vms')]
    assert broken(*run) == {'nothing_is_left'}


@pytest.mark.parametrize(
    ('name', 'found'),
    [('keystone killed', 1), ('ceph-osd-west frozen', 0)],
)
def test_the_disk_of_a_boot_that_failed_is_found(name, found):
    run = [
        *fault('keystone killed'),
        *fault(name),
        boot(error='GlanceUnavailable'),
        disk(),
    ]
    assert broken(*run) == ({'nothing_is_left'} if found else set())


def test_the_disk_of_a_boot_that_went_with_its_host_may_be_left():
    run = [*fault('host-0 killed', 101.0), boot(seconds=None), disk()]
    assert broken(*run) == set()


@pytest.mark.parametrize(
    ('name', 'at', 'found'),
    [
        ('rabbitmq killed', 150.0, 0),
        ('compute-west-1 killed', 150.0, 0),
        ('rabbitmq killed', 800.0, 1),
        ('host-0 killed', 150.0, 1),
    ],
)
def test_a_deleted_server_s_disk_may_be_left_where_nova_was_broken(
    name, at, found
):
    run = [
        *fault(name, at, at + 5.0),
        server('ACTIVE'),
        events.Event(200.0, 'server deleted', 'a-server'),
        left('vms', 'a-server_disk'),
    ]
    assert broken(*run) == ({'nothing_is_left'} if found else set())


def test_a_server_of_which_no_answer_told_is_one():
    run = [
        *fault('rabbitmq killed'),
        events.Event(200.0, 'servers', 'deleted', {'ids': ['a-server']}),
        left('vms', 'a-server_disk'),
    ]
    assert broken(*run) == set()


@pytest.mark.parametrize('name', sorted(judging.NO_GROWTH))
def test_a_host_that_grows_is_found(name):
    least = judging.NO_GROWTH[name]
    grows = [least, least, 2 * least, 2 * least, 4 * least, 8 * least]
    assert broken(*samples(name, grows)) == {'hosts_level_off'}


def test_a_host_needs_more_while_boots_wait():
    grows = [100, 100, 100, 100, 1000, 1000]
    assert broken(*samples('threads', grows, judging.CALM + 1)) == set()


def test_a_host_that_has_grown_and_stays_so_levels_off():
    assert broken(*samples('fds', [1, 10, 70, 70, 70, 70])) == set()


@pytest.mark.parametrize('name', sorted(judging.MOST))
def test_a_host_that_needs_much_from_the_start_is_found(name):
    much = [judging.MOST[name] + 1] * 6
    assert broken(*samples(name, much)) == {'hosts_level_off'}


def at_last(error=None, message='what it says', at=100.0, **how):
    name = f'disk-{at}-{how.get("site", "west")}'
    return boot(at, error=error, last=True, name=name, message=message, **how)


@pytest.mark.parametrize(
    ('error', 'message', 'found'),
    [
        ('CopyFailed', 'Glance failed to copy the image', 0),
        ('CopyStalled', 'can be taken over at once; boot', 0),
        ('ImageHeld', 'be taken over at 2026-11-27 07:00:00 UTC.', 0),
        ('ImageHeld', 'taken over an hour after its last sign of life.', 1),
        ('ClusterUnreachable', 'The Ceph cluster', 1),
    ],
)
def test_an_error_of_the_end_says_what_to_do(error, message, found):
    run = [
        image(),
        *fault('ceph-osd-west frozen'),
        at_last(error, message),
        at_last(at=200.0),
    ]
    assert broken(*run) == ({'all_is_well_at_the_end'} if found else set())


def test_an_image_that_boots_no_more_is_found():
    run = [*fault('ceph-osd-west frozen'), at_last('CopyFailed')]
    assert broken(*run) == {'all_is_well_at_the_end'}
    assert [each.about for each in judging.failed_at_last(run)] == [
        'disk-100.0-west'
    ]


def test_an_image_that_never_could_be_booted_need_not_at_the_end():
    run = [image(disk_format='qcow2'), at_last('NotRaw')]
    assert broken(*run) == set()


def test_nor_one_that_the_run_could_not_give_back():
    (*begins, _, _) = fault('deactivated', image=IMAGE)
    assert broken(image(), *begins, at_last('NotActive')) == set()


def booted(*sites):
    last = [at_last(site=site) for site in sites]
    return [image(), *last, *(disk_of(each.about) for each in last), end()]


def test_an_image_that_was_not_booted_on_a_site_is_found():
    assert broken(*booted(*judging.SITES)) == set()
    assert broken(*booted('west')) == {'all_is_well_at_the_end'}


def test_one_that_is_gone_need_not_boot():
    gone = events.Event(99.5, 'gone', IMAGE)
    assert broken(image(), gone, end()) == set()


def test_when_a_copy_can_be_taken_over_is_read():
    said = 'Glance lets it be taken over at 2026-11-27 07:00:00 UTC; boot'
    moment = judging.taken_over(said)
    assert moment.isoformat() == '2026-11-27T07:00:00+00:00'
    assert judging.taken_over('be taken over at once; boot again') is None


def test_events_are_read_as_they_were_noted(tmp_path):
    journal = events.Journal(tmp_path / 'history.jsonl')
    journal.note('fault', 'late', 20.0)
    journal.note('boot', 'early', 10.0, image=IMAGE)
    early, late = journal.events()
    assert (early.about, early.details) == ('early', {'image': IMAGE})
    assert late.about == 'late'
