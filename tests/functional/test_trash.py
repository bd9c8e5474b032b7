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

"""Clones of version 2, whose parent may be deleted.

Ceph makes them where ``require-min-compat-client`` is mimic or later. A parent
that is deleted then lies in the trash of its pool, without its name, for as
long as it has clones.
"""

import pytest

from tests.rig import clusters
from tests.rig import servers as nova_servers

pytestmark = pytest.mark.fault


@pytest.fixture
def mimic(west):
    """Clones in west are of version 2, and its trash is emptied."""
    was = west.command('osd dump')['require_min_compat_client']
    compat = 'osd set-require-min-compat-client'
    west.command(compat, version='mimic')
    yield
    west.command(compat, version=was)
    west.empty_trash('images')
    assert west.trash('images') == []


@pytest.fixture
def delete_copy(admin):
    """Deletes the copy of an image in west: ``glance stores-delete``."""

    def delete(image_id):
        admin.image.delete(f'/stores/west/{image_id}').raise_for_status()

    return delete


def test_an_image_is_deleted_while_disks_are_clones_of_it(
    mimic, upload, make_host, demo, demo_user, west
):
    image = upload(store='west')
    (boot,) = make_host('west-1').boot(demo_user, image.id)
    assert west.parent(boot.disk) == clusters.of_glance(image.id)
    was = west.digest('vms', boot.disk)

    demo.image.delete_image(image.id, ignore_missing=False)

    assert image.id not in west.images('images')
    assert west.trash('images') == [image.id]
    parent = west.parent(boot.disk)
    assert (parent.pool, parent.image) == ('images', image.id)
    # What tells such disks from others.
    assert parent.snapshot != 'snap'
    assert west.digest('vms', boot.disk) == was


def test_the_trash_keeps_what_a_disk_is_a_clone_of(
    mimic, upload, make_host, demo, demo_user, west
):
    image = upload(store='west')
    boots = make_host('west-1').boot(demo_user, *[image.id] * 2)
    was = [west.digest('vms', boot.disk) for boot in boots]
    demo.image.delete_image(image.id, ignore_missing=False)

    west.empty_trash('images')
    assert west.trash('images') == [image.id]
    assert [west.digest('vms', boot.disk) for boot in boots] == was

    for boot in boots:
        west.remove('vms', boot.disk)
    # Nobody but an administrator frees its space.
    assert west.trash('images') == [image.id]
    west.empty_trash('images')
    assert west.trash('images') == []


@pytest.mark.both_modes
def test_a_copy_that_was_deleted_under_its_clones_is_made_anew(
    mimic, upload, make_host, demo_user, west, delete_copy, copy_tasks
):
    image = upload()
    (first,) = make_host('west-1').boot(demo_user, image.id)
    delete_copy(image.id)
    assert west.trash('images') == [image.id]

    host = make_host('west-1')
    second, third = host.boot(demo_user, *[image.id] * 2)

    for boot in (first, second, third):
        assert boot.error is None, boot.message
    assert len(copy_tasks(image.id)) == 2
    assert west.parent(first.disk) != clusters.of_glance(image.id)
    for boot in (second, third):
        assert west.parent(boot.disk) == clusters.of_glance(image.id)
    assert len({west.digest('vms', b.disk) for b in (first, second)}) == 1
    # And once more.
    delete_copy(image.id)
    assert west.trash('images') == [image.id] * 2


def test_a_server_lives_on_when_its_image_is_in_the_trash(
    mimic, upload, servers, demo, west, images_to_remove
):
    image = upload(store='west', os_shutdown_timeout='1')
    (server,) = servers.boot(image.id, 'west')
    disk = nova_servers.disk(server)
    demo.image.delete_image(image.id, ignore_missing=False)
    assert west.trash('images') == [image.id]

    snapshot = demo.compute.create_server_image(server, f'of-{server.id}')
    images_to_remove.append(snapshot.id)
    servers.wait_for(server)
    assert demo.image.get_image(snapshot.id).status == 'active'

    flavor = demo.compute.find_flavor('m1.small', ignore_missing=False)
    demo.compute.resize_server(server, flavor.id)
    servers.wait_for(server, 'VERIFY_RESIZE')
    demo.compute.confirm_server_resize(server)
    servers.wait_for(server)
    assert west.size(disk) == 2 << 30
    assert west.parent(disk).image == image.id

    servers.delete([server])
    assert disk not in west.images('vms')
