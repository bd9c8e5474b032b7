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

"""What keeps a copy from arriving, and what is said of it."""

import contextlib
import time

import pytest
import requests

from tests.rig import clusters
from tests.rig import database
from tests.rig import hosts
from tests.rig import polling
from tests.rig import strange_servers

POLL = {'libvirt__images_rbd_glance_copy_poll_interval': 2}

#: Shorter than what stands in the way here lasts.
IMPATIENT = {'rbd_multistore__copy_stall_timeout': 5, **POLL}


# Glance is busy


@pytest.mark.long
@pytest.mark.both_modes
def test_copies_that_glance_queues_are_no_stalled_ones(
    upload, busy_glance, make_host, demo_user, west
):
    images = [upload() for _ in range(3)]
    api, thaw_east = busy_glance
    host = make_host('west-1', glance__endpoint_override=api.url, **IMPATIENT)

    host.start(demo_user, [image.id for image in images])
    said = [
        f'Image {image.id} is held by a copy to store west, queued'
        for image in images
    ]
    polling.until(
        lambda: all(line in host.log for line in said), 'each is in the queue'
    )
    time.sleep(2 * IMPATIENT['rbd_multistore__copy_stall_timeout'])
    thaw_east()
    boots = host.outcomes()

    assert [boot.message for boot in boots if boot.error] == []
    assert [west.parent(boot.disk) for boot in boots] == [
        clusters.of_glance(image.id) for image in images
    ]
    assert [host.log.count(line) for line in said] == [1, 1, 1]


@pytest.mark.fault
def test_a_copy_that_is_still_queued_at_the_timeout_is_said_to_be(
    upload, busy_glance, make_host, demo_user, copy_tasks
):
    image = upload()
    api, _ = busy_glance
    host = make_host(
        'west-1',
        glance__endpoint_override=api.url,
        libvirt__images_rbd_glance_copy_timeout=4,
        **POLL,
    )

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error == 'CopyQueued'
    assert 'queued in Glance since' in boot.message[:120]
    (task,) = copy_tasks(image.id)
    assert task['id'] in boot.message


# Something else holds the image


@pytest.fixture
def hashed_image(
    begin_image,
    make_glance,
    demo,
    demo_user,
    east,
    where,
    nova_account,
    token_of,
):
    """An image in store east, whose data Glance hashes: it was stopped there.

    What stands at the end of a direct snapshot of a server.
    """
    image_id = begin_image()
    east.create('images', image_id, 512 << 20)
    east.create_snapshot('images', image_id, 'snap')
    glance = make_glance()
    # Direct snapshots need it: doc/source/security.rst.
    glance.drop_policies('add_image_location')
    glance.add_location(
        image_id,
        f'rbd://{east.fsid}/images/{image_id}/snap',
        demo_user.auth_token,
        token_of(nova_account),
    )

    def record():
        return demo.image.get(f'/images/{image_id}').json()

    def stopped():
        if record()['status'] != 'active':
            return False
        glance.freeze()
        if database.is_free(where, image_id):
            return True
        glance.thaw()
        return False

    polling.until(stopped, 'a moment to stop it', pause=0.02)
    assert 'os_glance_import_task' in record()
    return image_id, glance


@pytest.mark.fault
@pytest.mark.both_modes
def test_an_image_that_glance_hashes_is_waited_for(
    hashed_image, make_host, demo_user, west
):
    image_id, glance = hashed_image
    host = make_host('west-1', **IMPATIENT)
    host.start(demo_user, [image_id])
    host.wait_for_log(
        f'Image {image_id} is held by the hashing of a new location'
    )

    time.sleep(2 * IMPATIENT['rbd_multistore__copy_stall_timeout'])
    glance.thaw()
    (boot,) = host.outcomes()

    assert boot.error is None, boot.message
    assert west.parent(boot.disk) == clusters.of_glance(image_id)
    assert host.log.count('is held by') == 1


@pytest.mark.fault
def test_an_image_that_glance_hashes_for_too_long_is_said_to_be_held(
    hashed_image, make_host, demo_user
):
    image_id, _glance = hashed_image
    host = make_host(
        'west-1', libvirt__images_rbd_glance_copy_timeout=8, **IMPATIENT
    )

    (boot,) = host.boot(demo_user, image_id)

    assert boot.error == 'ImageHeld'
    assert 'held by the hashing of a new location' in boot.message[:120]


# Imports fail, and nothing else does


@pytest.fixture
def glance_without_limits(make_glance):
    """A glance-api that is to ask Keystone for limits, and cannot."""
    return make_glance(DEFAULT={'use_keystone_limits': 'true'})


@pytest.mark.fault
@pytest.mark.both_modes
def test_imports_that_fail_each_time_are_the_host_s_error_soon(
    upload, glance_without_limits, make_host, demo_user, copy_tasks
):
    image = upload()
    host = make_host(
        'west-1', glance__endpoint_override=glance_without_limits.url
    )

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error == 'RequestFailed'
    assert 'ImageUnacceptable' not in boot.classes
    assert 'HTTP 500' in boot.message[:120]
    assert boot.seconds < 30
    assert copy_tasks(image.id) == []


@pytest.mark.fault
def test_imports_that_fail_at_one_endpoint_are_made_at_the_other(
    upload, glance_without_limits, make_host, demo_user, west, where
):
    image = upload()
    urls = [glance_without_limits.url, where.glance_apis[0].url]
    host = make_host('west-1', glance__api_servers=urls, **POLL)

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error is None, boot.message
    assert west.parent(boot.disk) == clusters.of_glance(image.id)


# Everyone has their own time


@pytest.mark.fault
@pytest.mark.both_modes
def test_a_boot_that_joins_late_has_its_own_time(
    upload, make_host, demo_user, west, hold_copy
):
    image = upload(size_mib=64)
    theirs = hold_copy(image.id, 'west')
    host = make_host(
        'west-1', libvirt__images_rbd_glance_copy_timeout=20, **POLL
    )
    host.start(demo_user, [image.id, image.id], hosts.soon(), apart=15)

    host.wait_for_log('DISK-OUTCOME')
    theirs.thaw()
    first, second = host.outcomes()

    assert 'CopyTimedOut' in first.classes
    assert second.error is None, second.message
    assert west.parent(second.disk) == clusters.of_glance(image.id)


# What Glance shows is late


@pytest.fixture
def copied_out_of_sight(where, admin, stores_of):
    """A context: west gets its copy, and a glance-api shows what was."""

    @contextlib.contextmanager
    def copied(image_id, seconds, paths):
        glance = where.glance_apis[0].url
        with strange_servers.late(glance, seconds) as (url, late):
            # What is shown from here on, until a while after it is asked for.
            for path in paths:
                requests.get(
                    f'{url}/v2/images/{image_id}{path}',
                    headers={'X-Auth-Token': admin.session.get_token()},
                    timeout=60,
                ).raise_for_status()
            admin.session.post(
                f'{glance}/v2/images/{image_id}/import',
                json={'method': {'name': 'copy-image'}, 'stores': ['west']},
            ).raise_for_status()
            polling.until(lambda: 'west' in stores_of(image_id), 'the copy')
            yield url, late

    return copied


@pytest.mark.fault
@pytest.mark.both_modes
@pytest.mark.parametrize('seconds', [1, 4])
def test_a_copy_that_glance_shows_late_is_there_all_the_same(
    upload, make_host, demo_user, west, copied_out_of_sight, seconds
):
    image = upload()
    paths = ['', '/locations']
    with copied_out_of_sight(image.id, seconds, paths) as (url, late):
        host = make_host('west-1', glance__endpoint_override=url, **POLL)

        (boot,) = host.boot(demo_user, image.id)

    assert boot.error is None, boot.message
    assert west.parent(boot.disk) == clusters.of_glance(image.id)
    assert ('POST', f'/v2/images/{image.id}/import', 400) in late.answers


@pytest.mark.fault
def test_locations_that_are_older_than_the_record_are_asked_for_again(
    upload, make_host, demo_user, west, copied_out_of_sight
):
    image = upload()
    locations = f'/v2/images/{image.id}/locations'
    with copied_out_of_sight(image.id, 4, ['/locations']) as (url, late):
        host = make_host('west-1', glance__endpoint_override=url, **POLL)

        (boot,) = host.boot(demo_user, image.id)

    assert boot.error is None, boot.message
    assert west.parent(boot.disk) == clusters.of_glance(image.id)
    assert late.answers.count(('GET', locations, 200)) > 2


@pytest.mark.fault
def test_a_copy_of_our_own_is_followed_where_glance_shows_it_late(
    upload, make_host, demo_user, west, where
):
    image = upload()
    glance = where.glance_apis[0].url
    with strange_servers.late(glance, 2) as (url, late):
        host = make_host('west-1', glance__endpoint_override=url, **POLL)

        (boot,) = host.boot(demo_user, image.id)

    assert boot.error is None, boot.message
    assert west.parent(boot.disk) == clusters.of_glance(image.id)
    statuses = [
        status for method, _path, status in late.answers if method == 'POST'
    ]
    assert statuses == [202]
