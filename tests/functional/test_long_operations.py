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

"""An OSD is gone for 40 s in the middle of what takes long."""

from concurrent import futures
import os
import time

import nova.conf
import pytest

from nova_rbd_multistore import ceph
from nova_rbd_multistore import disks
from tests.rig import clusters
from tests.rig import polling
from tests.rig import servers as nova_servers

pytestmark = pytest.mark.fault

#: Seconds, about as long as Ceph takes to do without an OSD.
FROZEN = 40

#: Seconds after which others say that an OSD is gone (osd_heartbeat_grace, and
#: the interval). It needs two of them, and the lab has one OSD.
MISSED = 26

#: Far less for what a boot does, so that nothing here goes by that.
BOOTS_LIMITS = {'rados_mon_op_timeout': '10', 'rados_osd_op_timeout': '10'}
LONG_LIMITS = {'rados_mon_op_timeout': '300', 'rados_osd_op_timeout': '300'}

SIZE = 32 << 20


@pytest.fixture
def driver(where):
    nova.conf.CONF.set_override('images_rbd_pool', 'vms', group='libvirt')
    yield disks.RBDDriver(
        ceph.Cluster(
            str(where.sites[1].ceph_conf),
            'nova',
            20,
            BOOTS_LIMITS,
            LONG_LIMITS,
        )
    )
    nova.conf.CONF.clear_override('images_rbd_pool', group='libvirt')


@pytest.fixture
def make_disk(west):
    """Makes disks in Nova's pool, of random bytes: the name."""
    made = []

    def make():
        made.append(f'long-{len(made)}')
        west.create('vms', made[-1], SIZE)
        west.write('vms', made[-1], os.urandom(SIZE))
        return made[-1]

    yield make
    for name in made:
        west.remove('vms', name)


@pytest.fixture
def lose_osd(west, freeze):
    """Has west's OSD stand still for 40 s, and be missed."""

    def lose():
        thaw = freeze('ceph-osd-west')
        time.sleep(MISSED)
        west.command('osd down', ids=['0'])
        time.sleep(FROZEN - MISSED)
        thaw()

    # An OSD that is marked down six times in ten minutes ends itself.
    patience = {'who': 'osd', 'name': 'osd_max_markdown_count'}
    west.command('config set', value='1000', **patience)
    yield lose
    west.command('config rm', **patience)


@pytest.fixture
def in_the_middle(west, lose_osd, slow_cluster):
    """Does something twice: the second time, the OSD is lost half-way.

    Half-way is where it has done half of the operations of the first time.
    """

    def run(rehearsal, work):
        slow_cluster(west, seconds=0.03)
        before = west.operations()
        rehearsal()
        half = (west.operations() - before) // 2
        with futures.ThreadPoolExecutor(1) as pool:
            before = west.operations()
            done = pool.submit(work)
            polling.until(
                lambda: west.operations() - before >= half,
                'half of it is done',
                pause=0.0,
            )
            assert not done.done(), 'it was too quick'
            lose_osd()
            return done.result(timeout=polling.DEADLINE)

    return run


def check_usable(west, disk, digest):
    """A disk has its bytes, and can be written to."""
    assert west.digest('vms', disk) == digest
    west.write('vms', disk, b'written')


def test_a_rollback_is_late_and_whole(driver, west, make_disk, in_the_middle):
    rehearsed, disk = make_disk(), make_disk()
    digest = west.digest('vms', disk)
    for name in (rehearsed, disk):
        driver.create_snap(name, 'nova-resize')
        west.write('vms', name, os.urandom(SIZE))

    in_the_middle(
        lambda: driver.rollback_to_snap(rehearsed, 'nova-resize'),
        lambda: driver.rollback_to_snap(disk, 'nova-resize'),
    )

    driver.remove_snap(disk, 'nova-resize')
    assert west.snapshots(disk) == {}
    check_usable(west, disk, digest)


def test_a_flatten_is_late_and_whole(
    driver, west, upload, make_disk, in_the_middle
):
    image = upload(size_mib=SIZE >> 20, store='west')
    digest = west.digest('images', image.id, 'snap')
    location = {'url': f'rbd://{west.fsid}/images/{image.id}/snap'}
    rehearsed, disk = make_disk(), make_disk()
    for name in (rehearsed, disk):
        west.remove('vms', name)
        driver.clone(location, name)
    assert west.parent(disk) == clusters.of_glance(image.id)

    in_the_middle(
        lambda: driver.flatten(rehearsed), lambda: driver.flatten(disk)
    )

    assert west.parent(disk) is None
    check_usable(west, disk, digest)


def test_a_snapshot_is_late_and_protected(
    driver, west, make_disk, in_the_middle
):
    rehearsed, disk = make_disk(), make_disk()
    digest = west.digest('vms', disk)

    in_the_middle(
        lambda: driver.create_snap(rehearsed, 'new', protect=True),
        lambda: driver.create_snap(disk, 'new', protect=True),
    )

    assert west.snapshots(disk) == {'new': True}
    assert west.digest('vms', disk, 'new') == digest
    check_usable(west, disk, digest)


def test_a_snapshot_that_is_removed_late_leaves_nothing_protected(
    driver, west, make_disk, in_the_middle
):
    rehearsed, disk = make_disk(), make_disk()
    digest = west.digest('vms', disk)
    for name in (rehearsed, disk):
        driver.create_snap(name, 'old', protect=True)

    in_the_middle(
        lambda: driver.remove_snap(rehearsed, 'old', force=True),
        lambda: driver.remove_snap(disk, 'old', force=True),
    )

    assert west.snapshots(disk) == {}
    check_usable(west, disk, digest)


def test_a_disk_that_is_removed_late_leaves_nothing(
    driver, west, make_disk, in_the_middle
):
    rehearsed, disk = make_disk(), make_disk()
    before = west.objects('vms')

    in_the_middle(
        lambda: driver.destroy_volume(rehearsed),
        lambda: driver.cleanup_volumes(lambda name: name == disk),
    )

    assert disk not in west.images('vms')
    left = west.objects('vms')
    assert len(before) - len(left) >= 2 * (SIZE >> 22)
    assert not {name for name in left if name.startswith('rbd_id.long-')}


# In Nova, from end to end


def test_a_resize_is_reverted_though_the_osd_is_gone(
    demo, upload, servers, west, lose_osd
):
    image = upload(store='west', os_shutdown_timeout='1')
    (server,) = servers.boot(image.id, 'west')
    disk = f'{server.id}_disk'
    digest = west.digest('vms', disk)
    flavor = demo.compute.find_flavor('m1.small', ignore_missing=False)
    demo.compute.resize_server(server, flavor.id)
    servers.wait_for(server, 'VERIFY_RESIZE')

    demo.compute.revert_server_resize(server)
    lose_osd()
    servers.wait_for(server)

    assert west.snapshots(disk) == {}
    assert west.parent(disk) == clusters.of_glance(image.id)
    check_usable(west, disk, digest)


def test_a_server_is_unshelved_though_the_osd_is_gone(
    demo, upload, servers, west, lose_osd
):
    image = upload(store='west', os_shutdown_timeout='1')
    (server,) = servers.boot(image.id, 'west')
    disk = nova_servers.disk(server)
    digest = west.digest('vms', disk)
    demo.compute.shelve_server(server)
    servers.wait_for(server, 'SHELVED_OFFLOADED')

    demo.compute.unshelve_server(server)
    # Nova flattens it next.
    polling.until(
        lambda: disk in west.images('vms'), 'the disk is there', pause=0.02
    )
    lose_osd()
    servers.wait_for(server)

    assert west.parent(disk) is None
    assert west.snapshots(disk) == {}
    assert list(demo.image.images(name=f'{server.name}-shelved')) == []
    check_usable(west, disk, digest)


@pytest.fixture
def direct_snapshots(configure, nova_may_write, location_glance):
    """Nova may write to Glance's pool, and makes snapshots there."""
    for name in ('west-1', 'west-2'):
        configure(name, glance__endpoint_override=location_glance.url)


def test_a_direct_snapshot_is_late_and_whole(
    demo,
    direct_snapshots,
    upload,
    servers,
    west,
    lose_osd,
    images_to_remove,
    stores_of,
):
    image = upload(size_mib=64, store='west', os_shutdown_timeout='1')
    (server,) = servers.boot(image.id, 'west')
    disk = nova_servers.disk(server)
    digest = west.digest('vms', disk)

    snapshot = demo.compute.create_server_image(server, f'of-{server.id}')
    images_to_remove.append(snapshot.id)
    # Nova flattens it next, then makes and protects its snapshot.
    polling.until(
        lambda: snapshot.id in west.images('images'),
        'the clone of the disk is there',
        pause=0.02,
    )
    lose_osd()
    servers.wait_for(server)
    # Glance reads it once more.
    polling.until(
        lambda: demo.image.get_image(snapshot.id).hash_value,
        'Glance has hashed the image',
    )

    assert stores_of(snapshot.id) == {'west'}
    assert west.digest('images', snapshot.id, 'snap') == digest
    assert west.snapshots(disk) == {}
    assert west.parent(disk) == clusters.of_glance(image.id)
    (booted,) = servers.boot(snapshot.id, 'west')
    assert west.parent(nova_servers.disk(booted)) == clusters.of_glance(
        snapshot.id
    )
    check_usable(west, disk, digest)
