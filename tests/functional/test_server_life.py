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

"""What users do with their servers, when the disks are clones."""

import pytest

from tests.rig import clusters
from tests.rig import polling
from tests.rig import servers as nova_servers

pytestmark = pytest.mark.long

MIB = 1 << 20
GIB = 1 << 30


@pytest.fixture
def image(upload):
    """One that lies in the site of the server already."""
    return upload(store='west', **nova_servers.SHUT_DOWN_AT_ONCE)


@pytest.fixture
def server(servers, image):
    (booted,) = servers.boot(image.id, 'west')
    return booted


@pytest.fixture
def disk(server):
    return nova_servers.disk(server)


def test_a_snapshot_of_a_server_boots_like_any_other_image(
    demo, server, servers, west, stores_of, images_to_remove
):
    snapshot = demo.compute.create_server_image(server, f'of-{server.id}')
    images_to_remove.append(snapshot.id)
    servers.wait_for(server)

    assert stores_of(snapshot.id) == {'file'}
    (booted,) = servers.boot(snapshot.id, 'west')

    parent = clusters.of_glance(snapshot.id)
    assert west.parent(nova_servers.disk(booted)) == parent


def test_a_server_is_unshelved_to_a_disk_of_its_own(
    demo, image, server, disk, servers, west
):
    was = west.digest('vms', disk)
    demo.compute.shelve_server(server)
    servers.wait_for(server, 'SHELVED_OFFLOADED')
    (shelved,) = demo.image.images(name=f'{server.name}-shelved')
    assert disk not in west.images('vms')

    demo.compute.unshelve_server(server)
    servers.wait_for(server)

    # Nova flattens it, so as to delete the image of the shelved server.
    assert west.parent(disk) is None
    assert west.digest('vms', disk) == was
    assert demo.image.find_image(shelved.id) is None
    assert shelved.id not in west.images('images')


def test_a_server_is_rebuilt_from_its_image(
    demo, image, server, disk, servers, west
):
    demo.compute.rebuild_server(server, image.id)
    servers.wait_for(server)

    assert west.parent(disk) == clusters.of_glance(image.id)


def test_a_server_is_rebuilt_from_another_image_which_is_cold(
    demo, server, disk, servers, west, upload
):
    other = upload(**nova_servers.SHUT_DOWN_AT_ONCE)

    demo.compute.rebuild_server(server, other.id)
    servers.wait_for(server)

    assert west.parent(disk) == clusters.of_glance(other.id)


@pytest.fixture
def wait_for_status(demo, server):
    """Waits for a status of the server, be it an error before."""

    def wait(status):
        def is_settled():
            now = demo.compute.get_server(server)
            return (now.task_state, now.status) == (None, status)

        polling.until(is_settled, f'server {server.id} is {status}')

    return wait


def test_a_server_is_rebuilt_when_its_disk_has_no_snapshot_any_more(
    demo, image, server, disk, west, upload, wait_for_status
):
    other = upload(store='west', **nova_servers.SHUT_DOWN_AT_ONCE)
    west.create_snapshot('vms', disk, 'backup')
    # In place of one that the guest needs: Nova goes by the name.
    west.create('vms', f'{disk}.swap', MIB)

    demo.compute.rebuild_server(server, other.id)
    wait_for_status('ERROR')
    fault = demo.compute.get_server(server).fault['message']
    assert 'it has snapshot backup' in fault
    assert west.parent(disk) == clusters.of_glance(image.id)
    assert f'{disk}.swap' in west.images('vms')
    demo.compute.reboot_server(server, 'HARD')
    wait_for_status('ACTIVE')

    west.remove_snapshot('vms', disk, 'backup')
    demo.compute.rebuild_server(server, other.id)
    wait_for_status('ACTIVE')
    assert west.parent(disk) == clusters.of_glance(other.id)
    assert f'{disk}.swap' not in west.images('vms')


def test_a_rebuild_from_an_image_that_cannot_come_leaves_the_disk(
    demo, image, server, disk, west, upload, wait_for_status
):
    other = upload(**nova_servers.SHUT_DOWN_AT_ONCE)
    was = west.digest('vms', disk)
    # What Glance trips over.
    west.create('images', other.id, MIB)

    demo.compute.rebuild_server(server, other.id)
    wait_for_status('ERROR')
    fault = demo.compute.get_server(server).fault['message']
    assert 'Glance failed to copy the image' in fault
    assert west.parent(disk) == clusters.of_glance(image.id)
    assert west.digest('vms', disk) == was
    demo.compute.reboot_server(server, 'HARD')
    wait_for_status('ACTIVE')

    west.remove('images', other.id)
    demo.compute.rebuild_server(server, other.id)
    wait_for_status('ACTIVE')
    assert west.parent(disk) == clusters.of_glance(other.id)


def test_a_server_is_rescued_with_a_cold_image(
    demo, image, server, disk, servers, west, upload
):
    medium = upload()

    demo.compute.rescue_server(server, image=medium.id)
    servers.wait_for(server, 'RESCUE')
    parent = clusters.of_glance(medium.id)
    assert west.parent(f'{disk}.rescue') == parent

    demo.compute.unrescue_server(server)
    servers.wait_for(server)
    assert f'{disk}.rescue' not in west.images('vms')
    assert west.parent(disk) == clusters.of_glance(image.id)


@pytest.fixture
def resized(demo, server, servers, host_of):
    """The server, in a larger flavor, on the other host of its site."""
    before = host_of(server)
    flavor = demo.compute.find_flavor('m1.small', ignore_missing=False)
    demo.compute.resize_server(server, flavor.id)
    moved = servers.wait_for(server, 'VERIFY_RESIZE')
    assert host_of(moved) != before
    return moved


def test_a_resize_keeps_the_clone(
    demo, image, server, resized, disk, servers, west
):
    demo.compute.confirm_server_resize(server)
    servers.wait_for(server)

    assert west.parent(disk) == clusters.of_glance(image.id)
    assert west.size(disk) == 2 * GIB


def test_a_resize_that_is_reverted_keeps_the_clone(
    demo, image, server, resized, disk, servers, west
):
    demo.compute.revert_server_resize(server)
    servers.wait_for(server)

    assert west.parent(disk) == clusters.of_glance(image.id)
    assert west.size(disk) == GIB
