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

"""What is left of a clone that broke off, when its server boots again."""

import dataclasses
import uuid

from nova.compute import vm_states
import pytest

from tests.rig import clusters
from tests.rig import polling

pytestmark = pytest.mark.fault

BYTE = b'\x2a'


@dataclasses.dataclass
class Server:
    """A server whose boot has broken off."""

    id: str = dataclasses.field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def disk(self):
        return f'{self.id}_disk'


def boot(host, user, image, servers, **how):
    return host.boot(
        user,
        *[image.id] * len(servers),
        servers=[server.id for server in servers],
        **how,
    )


def test_what_a_broken_clone_left_is_replaced_by_a_whole_clone(
    upload, make_host, demo_user, west
):
    image = upload(store='west')
    servers = [Server() for _ in range(5)]
    in_id, in_directory, in_both, _without_parent, unwritten = servers
    for server in servers:
        if server is unwritten:
            west.clone(image.id, server.disk)
        else:
            west.create('vms', server.disk, 8 << 20)
    west.leave_name(in_id.disk, 'rbd_id')
    west.leave_name(in_directory.disk, 'rbd_directory')
    west.leave_name(in_both.disk, 'rbd_id', 'rbd_directory')
    host = make_host('west-1')

    boots = boot(host, demo_user, image, servers)

    assert [(each.error, each.message) for each in boots] == [(None, '')] * 5
    parents = {west.parent(server.disk) for server in servers}
    assert parents == {clusters.of_glance(image.id)}
    assert {west.size(server.disk) for server in servers} == {1 << 30}
    assert {server.disk for server in servers} <= west.images('vms')
    assert host.log.count('Removed disk') == 5


def test_a_disk_with_one_byte_of_a_guest_s_is_kept(
    upload, make_host, demo_user, west
):
    image = upload(store='west')
    clone, flat, at_the_end = servers = [Server() for _ in range(3)]
    for server in (clone, at_the_end):
        west.clone(image.id, server.disk)
    west.create('vms', flat.disk, 1 << 30)
    for server in (clone, flat):
        west.write('vms', server.disk, BYTE)
    with west.opened(at_the_end.disk) as disk:
        disk.resize(3 << 30)
    west.write('vms', at_the_end.disk, BYTE, (3 << 30) - 1)
    host = make_host('west-1')

    boots = boot(host, demo_user, image, servers, root_gib=3)

    assert [(each.error, each.message) for each in boots] == [(None, '')] * 3
    assert west.read(clone.disk, 1) == BYTE
    assert west.read(flat.disk, 1) == BYTE
    assert west.read(at_the_end.disk, 1, (3 << 30) - 1) == BYTE
    assert 'Removed disk' not in host.log


def test_an_empty_disk_that_a_client_has_open_is_named(
    upload, make_host, demo_user, west
):
    image = upload(store='west')
    server = Server()
    west.clone(image.id, server.disk)
    host = make_host('west-1')

    with west.opened(server.disk) as disk:
        before = disk.id()
        (refused,) = boot(host, demo_user, image, [server])
        assert disk.id() == before

    assert refused.error == 'DiskUnusable'
    assert 'a client has it open' in refused.message[:120]
    assert west.parent(server.disk) == clusters.of_glance(image.id)


def test_of_a_server_that_has_run_what_a_clone_left_is_named(
    upload, make_host, demo_user, west
):
    image = upload(store='west')
    name, header, unwritten = servers = [Server() for _ in range(3)]
    for server in (name, header):
        west.create('vms', server.disk, 8 << 20)
    west.leave_name(name.disk, 'rbd_id', 'rbd_directory')
    west.clone(image.id, unwritten.disk)
    with west.opened(unwritten.disk) as disk:
        before = disk.id()
    host = make_host('west-1')

    boots = boot(host, demo_user, image, servers, ran=True)

    assert [each.error for each in boots] == ['DiskUnusable'] * 2 + [None]
    assert 'no header' in boots[0].message[:120]
    assert 'empty, and no clone' in boots[1].message[:120]
    assert west.size(header.disk) == 8 << 20
    with west.opened(unwritten.disk) as disk:
        assert disk.id() == before


def test_of_a_server_that_is_unshelved_what_a_clone_left_is_removed(
    upload, make_host, demo_user, west
):
    image = upload(store='west')
    in_id, in_directory, in_both, header, flat = servers = [
        Server() for _ in range(5)
    ]
    for server in servers:
        west.create('vms', server.disk, 8 << 20)
    west.leave_name(in_id.disk, 'rbd_id')
    west.leave_name(in_directory.disk, 'rbd_directory')
    west.leave_name(in_both.disk, 'rbd_id', 'rbd_directory')
    west.write('vms', flat.disk, BYTE)
    host = make_host('west-1')

    boots = boot(
        host,
        demo_user,
        image,
        servers,
        ran=True,
        vm_state=vm_states.SHELVED_OFFLOADED,
    )

    assert [(each.error, each.message) for each in boots] == [(None, '')] * 5
    assert {west.size(server.disk) for server in servers} == {1 << 30}
    assert host.log.count('Removed disk') == 4
    (aside,) = (name for name in west.images('vms') if f'.{flat.disk}' in name)
    assert west.read(aside, 1) == BYTE
    assert west.read(flat.disk, 1) != BYTE
    west.remove('vms', aside)
    assert header.disk in west.images('vms')


@pytest.fixture
def orphan(west):
    """A server, and where the one byte on its disk is; its parent is gone."""
    server, parent = Server(), f'parent-{uuid.uuid4()}'
    west.create('vms', parent, 8 << 20)
    west.create_snapshot('vms', parent, 'snap')
    west.clone(parent, server.disk, pool='vms')
    west.write('vms', server.disk, BYTE)
    with west.opened(server.disk) as disk:
        written = f'{disk.block_name_prefix()}.{0:016x}'
    assert west.has_object('vms', written)
    west.leave_name(parent)
    return server, written


def test_a_disk_whose_parent_is_gone_is_named_and_keeps_its_bytes(
    upload, make_host, demo_user, west, orphan
):
    image = upload(store='west')
    server, written = orphan

    (refused,) = boot(make_host('west-1'), demo_user, image, [server])

    assert refused.error == 'DiskUnusable'
    assert 'cannot be opened' in refused.message[:120]
    assert west.has_object('vms', written)


@pytest.mark.parametrize('part', ['rbd_id', 'rbd_header'])
def test_a_clone_whose_host_was_killed_is_made_by_the_next_host(
    upload, make_host, demo_user, west, slow_cluster, part
):
    image = upload(store='west')
    server = Server()
    killed = make_host('west-1')
    restore = slow_cluster(west)
    killed.start(demo_user, [image.id], servers=[server.id])
    polling.until(
        lambda: west.has_part(server.disk, part),
        f'the clone has its {part}',
        pause=0.01,
    )
    killed.kill()
    restore()
    assert 'Cloned disk' not in killed.log
    # Ceph takes a client that was killed for alive for half a minute.
    polling.until(
        lambda: not west.is_watched(server.disk), 'nobody has the disk open'
    )

    (again,) = boot(make_host('west-2'), demo_user, image, [server])

    assert again.error is None, again.message
    assert west.parent(server.disk) == clusters.of_glance(image.id)
    assert server.disk in west.clones(image.id)


def test_stock_nova_boots_from_an_empty_disk_that_a_clone_left(
    upload, make_stock_host, demo_user, west
):
    image = upload(store='west')
    server = Server()
    west.create('vms', server.disk, 8 << 20)

    (booted,) = boot(make_stock_host(), demo_user, image, [server])

    assert booted.error is None, booted.message
    assert west.parent(server.disk) is None
    assert west.allocated('vms', server.disk) == 0


def test_stock_nova_gives_up_where_a_clone_left_its_name(
    upload, make_stock_host, demo_user, west
):
    image = upload(store='west')
    server = Server()
    west.create('vms', server.disk, 8 << 20)
    west.leave_name(server.disk, 'rbd_id', 'rbd_directory')

    (refused,) = boot(make_stock_host(), demo_user, image, [server])

    assert refused.error == 'ImageExists'
