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

"""A copy is followed in the local cluster, and its progress is told."""

import time

import pytest

from tests.rig import clusters

pytestmark = pytest.mark.fault

POLL = {'libvirt__images_rbd_glance_copy_poll_interval': 2}


@pytest.fixture
def unseeing(west):
    """Options of a host that may not look into the pool of new images."""
    return {
        'rbd_multistore__glance_rbd_pool': 'not-there',
        'rbd_multistore__other_glance_rbd_pools': [f'{west.fsid}/images'],
        **POLL,
    }


def test_the_progress_of_a_copy_is_logged_with_rate_and_time_left(
    upload, make_host, make_glance, admin, demo_user, west
):
    image = upload(size_mib=256)
    theirs = make_glance()
    theirs.request_copy(admin, image.id, 'west')
    theirs.freeze_when(lambda: image.id in west.images('images'))
    host = make_host('west-1', **POLL)
    host.start_waiting(demo_user, image.id)
    for _ in range(2):
        arrived = west.allocated('images', image.id)
        theirs.thaw()
        theirs.freeze_when(
            lambda before=arrived: west.allocated('images', image.id) > before
        )
        # Progress is told every ten seconds at most.
        time.sleep(11)
    theirs.thaw()
    (boot,) = host.outcomes()

    assert boot.error is None, boot.message
    lines = [
        line
        for line in host.log.splitlines()
        if f'Copy of image {image.id} to store west:' in line
    ]
    told = ('% copied', 'MiB/s', 's left', boot.disk[:36], 'req-')
    assert any(all(part in line for part in told) for line in lines), lines


def test_a_copy_that_gets_on_slowly_does_not_stall(
    upload, make_host, make_glance, admin, demo_user, west
):
    image = upload(size_mib=256)
    theirs = make_glance()
    theirs.request_copy(admin, image.id, 'west')
    theirs.freeze_when(lambda: image.id in west.images('images'))
    host = make_host('west-1', rbd_multistore__copy_stall_timeout=8, **POLL)
    host.start_waiting(demo_user, image.id)

    # In all this takes longer than the stall timeout; no pause does.
    for _ in range(4):
        arrived = west.allocated('images', image.id)
        theirs.thaw()
        theirs.freeze_when(
            lambda before=arrived: west.allocated('images', image.id) > before
        )
        time.sleep(4)
    theirs.thaw()
    (boot,) = host.outcomes()

    assert boot.error is None, boot.message
    assert west.parent(boot.disk) == clusters.of_glance(image.id)


def test_without_a_right_to_look_a_copy_is_followed_in_glance_alone(
    upload, make_host, demo_user, west, unseeing
):
    image = upload()
    host = make_host('west-1', **unseeing)

    boots = host.boot(demo_user, image.id, image.id)

    assert [boot.error for boot in boots] == [None, None]
    assert west.parent(boots[0].disk) == clusters.of_glance(image.id)
    assert host.log.count('Cannot watch images arrive') == 1


def test_where_a_copy_shows_nothing_anyway_it_is_not_called_stalled(
    upload, make_host, make_glance, admin, demo_user, west, unseeing
):
    image = upload(size_mib=64)
    theirs = make_glance()
    theirs.request_copy(admin, image.id, 'west')
    theirs.freeze_when(lambda: image.id in west.images('images'))
    # Of another project, so that Glance does not show the task.
    host = make_host(
        'west-1', rbd_multistore__copy_stall_timeout=8, **unseeing
    )
    host.start_waiting(demo_user, image.id)

    host.wait_for_log('Cannot watch images arrive')
    time.sleep(3 * 8)
    theirs.thaw()
    (boot,) = host.outcomes()

    assert boot.error is None, boot.message
    assert west.parent(boot.disk) == clusters.of_glance(image.id)
