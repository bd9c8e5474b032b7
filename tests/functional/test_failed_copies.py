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

"""Copies that fail, stand still, or lose their image on the way."""

import re
import time

import pytest

from tests.rig import clusters
from tests.rig import database
from tests.rig import polling

pytestmark = pytest.mark.fault

POLL = {'libvirt__images_rbd_glance_copy_poll_interval': 2}


@pytest.fixture
def record(admin):
    """An image's record, as Glance sends it."""

    def get(image_id):
        answer = admin.image.get(f'/images/{image_id}')
        answer.raise_for_status()
        return answer.json()

    return get


# A half-written image of that name lies in the pool


@pytest.mark.both_modes
def test_a_failed_copy_is_reported_with_the_task_s_reason(
    upload, make_host, demo_user, west, record
):
    image = upload()
    west.create('images', image.id, 1 << 20)

    (boot,) = make_host('west-1', **POLL).boot(demo_user, image.id)

    assert boot.error == 'CopyFailed'
    assert 'ImageUnacceptable' in boot.classes
    assert 'Task failed due to Internal Error' in boot.message[:120]
    assert record(image.id)['os_glance_failed_import'] == 'west'


def test_stock_nova_waits_out_the_timeout_of_a_failed_copy(
    upload, make_stock_host, demo_user, west, record
):
    image = upload()
    west.create('images', image.id, 1 << 20)
    host = make_stock_host(libvirt__images_rbd_glance_copy_timeout=15, **POLL)

    (boot,) = host.boot(demo_user, image.id)

    assert record(image.id)['os_glance_failed_import'] == 'west'
    assert 'timed out' in boot.message


def test_an_old_failure_does_not_fail_the_next_boot(
    upload, make_host, demo_user, west, record
):
    image = upload()
    west.create('images', image.id, 1 << 20)
    make_host('west-1', **POLL).boot(demo_user, image.id)
    west.remove('images', image.id)
    assert record(image.id)['os_glance_failed_import'] == 'west'

    (boot,) = make_host('west-1', **POLL).boot(demo_user, image.id)

    assert boot.error is None, boot.message
    assert west.parent(boot.disk) == clusters.of_glance(image.id)


def test_all_boots_of_a_host_share_the_failure_of_their_copy(
    upload, make_host, demo_user, west, copy_tasks
):
    image = upload()
    west.create('images', image.id, 1 << 20)

    boots = make_host('west-1', **POLL).boot(demo_user, *[image.id] * 4)

    assert {boot.error for boot in boots} == {'CopyFailed'}
    assert len(copy_tasks(image.id)) == 1


def test_stock_nova_has_each_boot_of_a_host_try_in_turn(
    upload, make_stock_host, demo_user, west, copy_tasks
):
    image = upload()
    west.create('images', image.id, 1 << 20)
    host = make_stock_host(libvirt__images_rbd_glance_copy_timeout=6, **POLL)

    boots = host.boot(demo_user, *[image.id] * 2)

    assert {boot.error for boot in boots} == {'ImageUnacceptable'}
    assert len(copy_tasks(image.id)) == 2


def test_we_ask_once_ourselves_when_somebody_else_s_copy_fails(
    upload, make_host, make_glance, admin, demo_user, west, record, copy_tasks
):
    image = upload(size_mib=64)
    west.create('images', image.id, 1 << 20)
    theirs = make_glance()
    theirs.request_copy(admin, image.id, 'west')
    theirs.freeze()
    host = make_host('west-1', **POLL)
    host.start_waiting(demo_user, image.id)

    theirs.thaw()
    polling.until(
        lambda: copy_tasks(image.id)[0]['status'] == 'failure',
        'their copy has failed',
    )
    west.remove('images', image.id)
    (boot,) = host.outcomes()

    assert boot.error is None, boot.message
    assert west.parent(boot.disk) == clusters.of_glance(image.id)
    assert host.log.count('Glance copies image') == 1


def test_stock_nova_fails_at_once_when_somebody_else_copies(
    upload, make_stock_host, demo_user, hold_copy
):
    image = upload(size_mib=64)
    hold_copy(image.id, 'west')

    (boot,) = make_stock_host().boot(demo_user, image.id)

    assert boot.error == 'ImageUnacceptable'
    assert 'timed out' not in boot.message


# A glance-api dies


@pytest.mark.both_modes
def test_a_copy_whose_glance_died_stalls_and_is_taken_over_in_time(
    upload, make_host, make_glance, demo_user, west, where, record, copy_tasks
):
    image = upload(size_mib=256)
    glance = make_glance()
    host = make_host(
        'west-1',
        glance__endpoint_override=glance.url,
        rbd_multistore__copy_stall_timeout=8,
        **POLL,
    )
    host.start(demo_user, [image.id])
    polling.until(
        lambda: image.id in west.images('images'), 'the copy has begun'
    )
    glance.kill()
    glance.start()
    (boot,) = host.outcomes()

    (task,) = copy_tasks(image.id)
    assert boot.error == 'CopyStalled'
    assert task['id'] in boot.message[:120]
    assert 'taken over at' in boot.message

    database.age_task(where, task['id'], minutes=61)
    west.remove('images', image.id)
    (again,) = make_host('west-1', **POLL).boot(demo_user, image.id)

    assert again.error is None, again.message
    assert west.parent(again.disk) == clusters.of_glance(image.id)


def test_a_dead_lock_of_another_projects_image_is_taken_over_in_time(
    upload, make_host, make_glance, admin, demo_user, west, where, copy_tasks
):
    image = upload(size_mib=64, owner=admin, visibility='public')
    glance = make_glance()
    glance.request_copy(admin, image.id, 'west')
    polling.until(
        lambda: image.id in west.images('images'), 'the copy has begun'
    )
    glance.kill()
    (task,) = copy_tasks(image.id)
    database.age_task(where, task['id'], minutes=61)
    west.remove('images', image.id)

    (boot,) = make_host('west-1', **POLL).boot(demo_user, image.id)

    assert boot.error is None, boot.message
    assert west.parent(boot.disk) == clusters.of_glance(image.id)


def test_stock_nova_waits_out_the_timeout_when_glance_died(
    upload, make_stock_host, glance_for_stock, demo_user, west
):
    image = upload(size_mib=256)
    host = make_stock_host(libvirt__images_rbd_glance_copy_timeout=20, **POLL)
    host.start(demo_user, [image.id])
    polling.until(
        lambda: image.id in west.images('images'), 'the copy has begun'
    )
    glance_for_stock.kill()
    glance_for_stock.start()

    (boot,) = host.outcomes()

    assert boot.error == 'ImageUnacceptable'
    assert 'timed out' in boot.message


@pytest.mark.parametrize(
    'progress', [database.tell_progress, database.touch_task]
)
def test_a_copy_whose_task_shows_a_sign_of_life_does_not_stall(
    upload, make_host, demo_user, west, where, hold_copy, copy_tasks, progress
):
    image = upload(size_mib=64)
    theirs = hold_copy(image.id, 'west')
    (task,) = copy_tasks(image.id)
    host = make_host('west-1', rbd_multistore__copy_stall_timeout=10, **POLL)
    host.start_waiting(demo_user, image.id)

    # Nothing arrives in the cluster. Glance itself would tell once a minute.
    for _ in range(6):
        time.sleep(4)
        progress(where, task['id'])
    assert image.id not in west.images('images')
    theirs.thaw()
    (boot,) = host.outcomes()

    assert boot.error is None, boot.message
    assert west.parent(boot.disk) == clusters.of_glance(image.id)


def test_the_timeout_is_a_hard_limit_and_the_late_copy_serves_the_next_boot(
    upload, make_host, demo_user, west, hold_copy, stores_of
):
    image = upload(size_mib=64)
    theirs = hold_copy(image.id, 'west')
    host = make_host(
        'west-1', libvirt__images_rbd_glance_copy_timeout=6, **POLL
    )

    (boot,) = host.boot(demo_user, image.id)
    theirs.thaw()
    polling.until(lambda: 'west' in stores_of(image.id), 'the copy has ended')
    (again,) = make_host('west-1').boot(demo_user, image.id)

    # ImageHeld is one, for it was stopped perhaps before it began.
    assert 'CopyTimedOut' in boot.classes
    assert west.parent(again.disk) == clusters.of_glance(image.id)


# The image goes away


def test_an_image_deleted_during_the_wait_is_said_to_be_gone(
    upload, make_host, demo, demo_user, hold_copy
):
    image = upload(size_mib=64)
    hold_copy(image.id, 'west')
    host = make_host('west-1', **POLL)
    host.start_waiting(demo_user, image.id)

    demo.image.delete_image(image.id)
    (boot,) = host.outcomes()

    assert boot.error == 'ImageGone'


def test_what_stays_of_an_image_deleted_during_our_copy_is_said(
    upload, make_host, make_glance, freeze_glance, demo, demo_user, west
):
    image = upload(size_mib=128)
    glance = make_glance()
    host = make_host('west-1', glance__endpoint_override=glance.url, **POLL)
    host.start(demo_user, [image.id])
    polling.until(
        lambda: image.id in west.images('images'), 'the copy', pause=0.05
    )
    freeze_glance(glance, image.id)
    demo.image.delete_image(image.id)
    glance.thaw()

    (boot,) = host.outcomes()

    assert boot.error == 'ImageGone'
    where = f'cluster {west.fsid} as RBD image images/{image.id}'
    assert host.log.count(where) == 1
    polling.until(
        lambda: 'snap' in west.snapshots(image.id, 'images'), 'the rest of it'
    )
    # As the log says.
    for command in re.findall(rf'"rbd ([^"]*{image.id}[^"]*)"', host.log):
        west.run_rbd(*command.split())
    assert image.id not in west.images('images')


def test_an_image_deactivated_during_the_wait_is_said_to_be(
    upload, make_host, admin, demo_user, hold_copy
):
    image = upload(size_mib=64)
    hold_copy(image.id, 'west')
    host = make_host('west-1', **POLL)
    host.start_waiting(demo_user, image.id)

    admin.image.deactivate_image(image.id)
    (boot,) = host.outcomes()

    assert boot.error == 'NotActive'
    assert 'deactivated' in boot.message[:120]


def test_stock_nova_trips_over_an_image_that_is_deactivated(
    upload, make_stock_host, admin, demo_user, copy_tasks
):
    image = upload(size_mib=256)
    host = make_stock_host(**POLL)
    host.start(demo_user, [image.id])
    polling.until(lambda: copy_tasks(image.id), 'Nova has asked for a copy')

    admin.image.deactivate_image(image.id)
    (boot,) = host.outcomes()

    # Glance does not tell the stores of such an image.
    assert boot.error == 'KeyError'


def test_an_image_hidden_from_its_user_during_the_wait_is_said_to_be_gone(
    upload, make_host, demo, other, hold_copy, user_of
):
    image = upload(size_mib=64, visibility='shared')
    project = user_of(other).project_id
    demo.image.add_member(image.id, member_id=project)
    other.image.update_member(project, image.id, status='accepted')
    hold_copy(image.id, 'west')
    host = make_host(
        'west-1', rbd_multistore__copy_on_demand=['shared'], **POLL
    )
    host.start_waiting(user_of(other), image.id)

    demo.image.remove_member(project, image.id)
    (boot,) = host.outcomes()

    assert boot.error == 'ImageGone'
