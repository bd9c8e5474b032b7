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

"""Glance's own stores, for staging and tasks, and what a boot sees of them.

Each is on a file system of its own, which one glance-api alone has: that is
full, read-only or not there, from the start or later. (A copy that another
glance-api makes then is in test_copies_elsewhere.py.)
"""

import dataclasses
import pathlib
import shutil

import pytest

from tests.rig import apis
from tests.rig import clusters
from tests.rig import database
from tests.rig import disk as disks
from tests.rig import polling

pytestmark = pytest.mark.fault

POLL = {'libvirt__images_rbd_glance_copy_poll_interval': 2}

STAGING = 'os_glance_staging_store'
TASKS = 'os_glance_tasks_store'

#: What goes wrong with a disk, and what makes that good.
FAULTS = {
    'full': (disks.Disk.fill, disks.Disk.clear),
    'read-only': (disks.Disk.make_read_only, disks.Disk.make_writable),
    'missing': (disks.Disk.remove, disks.Disk.make),
}


@dataclasses.dataclass
class Deployment:
    """A glance-api one of whose reserved stores is on a disk of its own."""

    api: apis.GlanceApi
    directory: pathlib.Path

    @property
    def disk(self):
        return disks.Disk(self.api, self.directory)


@pytest.fixture
def deploy(make_glance, tmp_path):
    """Runs such a glance-api."""

    def make(store):
        directory = tmp_path / store
        directory.mkdir()
        api = make_glance(
            disks={directory: '64m'},
            **{store: {'filesystem_store_datadir': str(directory)}},
        )
        return Deployment(api, directory)

    return make


@pytest.fixture
def boot(make_host, demo_user):
    """Boots on a host of west that asks one glance-api, and knows nothing."""

    def boot(api, *images):
        host = make_host('west-1', glance__endpoint_override=api.url, **POLL)
        return host.boot(demo_user, *(image.id for image in images))

    return boot


def is_clone(cluster, boot):
    assert boot.error is None, boot.message
    return cluster.parent(boot.disk) == clusters.of_glance(boot.image)


# Names


def test_no_reserved_store_is_offered(make_glance, admin):
    answer = admin.session.get(f'{make_glance().url}/v2/info/stores')

    stores = {store['id'] for store in answer.json()['stores']}
    assert {'file', 'east', 'west'} <= stores
    assert not stores & {STAGING, TASKS}


@pytest.mark.parametrize('store', [STAGING, TASKS])
def test_glance_does_not_start_with_one_among_its_stores(make_glance, store):
    glance = make_glance()
    glance.kill()
    glance.configure(
        {'DEFAULT': {'enabled_backends': f'file:file, west:rbd, {store}:file'}}
    )

    glance.refuse()

    assert "'os_glance_' prefix should not be used" in glance.log


@pytest.mark.parametrize('store', [STAGING, TASKS])
def test_what_a_user_has_put_into_one_boots_by_a_copy(
    begin_image, make_glance, boot, demo, stores_of, copy_tasks, west, store
):
    """Glance takes an upload there, though it offers no such store."""
    glance = make_glance()
    image_id = begin_image()
    glance.put(demo, image_id, b'some bytes', store)
    assert stores_of(image_id) == {store}

    (made,) = boot(glance, demo.image.get_image(image_id))

    assert is_clone(west, made)
    assert len(copy_tasks(image_id)) == 1


# Staging


@pytest.mark.parametrize('fault', FAULTS)
def test_what_cannot_be_staged_fails_until_it_can(
    upload, deploy, boot, west, fault
):
    begin, end = FAULTS[fault]
    deployment = deploy(STAGING)
    local, remote = upload(store='west'), upload()
    begin(deployment.disk)

    here, failed = boot(deployment.api, local, remote)
    end(deployment.disk)
    (again,) = boot(deployment.api, remote)

    assert is_clone(west, here)
    assert failed.error == 'CopyFailed'
    assert is_clone(west, again)


def test_without_its_mount_the_disk_below_is_staged_on(
    upload, deploy, boot, west
):
    deployment = deploy(STAGING)
    deployment.disk.unmount()

    (made,) = boot(deployment.api, upload())

    assert is_clone(west, made)


@pytest.mark.parametrize('made', [True, False], ids=['read-only', 'missing'])
def test_a_glance_that_started_without_staging_has_to_start_again(
    upload, make_glance, boot, west, tmp_path, made
):
    disk = tmp_path / 'disk'
    disk.mkdir()
    mounts = {disk: '64m,ro'}
    staging = disk if made else disk / 'staging'
    glance = make_glance(
        disks=mounts, **{STAGING: {'filesystem_store_datadir': str(staging)}}
    )
    local, remote = upload(store='west'), upload()

    here, failed = boot(glance, local, remote)
    disks.Disk(glance, disk).make_writable()
    (still,) = boot(glance, remote)
    glance.kill()
    mounts[disk] = '64m'
    glance.start()
    (again,) = boot(glance, remote)

    assert is_clone(west, here)
    assert (failed.error, still.error) == ('CopyFailed', 'CopyFailed')
    assert 'Disabling add method' in glance.log
    assert is_clone(west, again)


def test_a_copy_deletes_the_image_of_a_file_store_that_is_staged_on(
    upload, make_glance, boot, west, where, tmp_path
):
    """Glance takes the image itself for what it has staged."""
    files = {'filesystem_store_datadir': str(tmp_path / 'files')}
    image = upload()
    glance = make_glance(file=files, **{STAGING: files})
    copied = tmp_path / 'files' / image.id
    shutil.copy(where.images / image.id, copied)
    database.place_image(where, image.id, [(f'file://{copied}', 'file')])

    (made,) = boot(glance, image)

    assert is_clone(west, made)
    assert not copied.exists()


# Tasks


@pytest.mark.parametrize('fault', FAULTS)
def test_no_copy_needs_the_tasks_store(upload, deploy, boot, west, fault):
    begin, _ = FAULTS[fault]
    deployment = deploy(TASKS)
    begin(deployment.disk)

    (made,) = boot(deployment.api, upload())

    assert is_clone(west, made)


@pytest.fixture
def snapshot(begin_image, deploy, demo_user, nova_account, token_of, east):
    """Makes a direct snapshot in store east, which Glance is to hash.

    Gives its id and the glance-api, given what is wrong with its tasks store.
    """

    def make(fault):
        deployment = deploy(TASKS)
        deployment.api.drop_policies('add_image_location')
        image_id = begin_image()
        east.create('images', image_id, 8 << 20)
        east.create_snapshot('images', image_id, 'snap')
        begin, _ = FAULTS[fault]
        begin(deployment.disk)
        deployment.api.add_location(
            image_id,
            f'rbd://{east.fsid}/images/{image_id}/snap',
            demo_user.auth_token,
            token_of(nova_account),
        )
        return image_id, deployment.api

    return make


@pytest.mark.parametrize('fault', ['full', 'missing'])
def test_a_direct_snapshot_is_hashed_without_room_for_tasks(
    snapshot, boot, demo, west, fault
):
    """Glance makes an empty file, and its directory if need be."""
    image_id, glance = snapshot(fault)
    polling.until(
        lambda: demo.image.get_image(image_id).hash_value, 'it is hashed'
    )

    (made,) = boot(glance, demo.image.get_image(image_id))

    assert is_clone(west, made)


@pytest.fixture
def release(where, images_to_remove):
    """Has nothing hold the images at the end, or Glance would not delete."""
    yield
    for image_id in images_to_remove:
        database.release(where, image_id)


@pytest.mark.usefixtures('release')
def test_a_direct_snapshot_stays_held_where_the_tasks_store_is_read_only(
    snapshot, make_host, demo, demo_user
):
    """Glance fails at the clean-up of its failure, too."""
    image_id, glance = snapshot('read-only')
    polling.until(
        lambda: 'Failed to execute task' in glance.log, 'Glance fails'
    )
    host = make_host(
        'west-1',
        glance__endpoint_override=glance.url,
        libvirt__images_rbd_glance_copy_timeout=20,
        **POLL,
    )

    (made,) = host.boot(demo_user, image_id)

    assert made.error == 'ImageHeld'
    assert demo.image.get_image(image_id).hash_value is None
