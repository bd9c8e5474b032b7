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


"""What is left of a removal that broke off is no disk for the next host."""

from concurrent import futures
import uuid

import nova.conf
import pytest
import rbd

from nova_rbd_multistore import ceph
from nova_rbd_multistore import disks
from nova_rbd_multistore import exceptions
from tests.rig import clusters
from tests.rig import polling

pytestmark = pytest.mark.fault

#: Seconds, of a build and of what may take long.
LIMITS = {'rados_mon_op_timeout': '5', 'rados_osd_op_timeout': '5'}

#: Bytes of a disk with many small objects, and how large these are, as a power
#: of two: it takes seconds to remove them from a slow OSD.
SIZE, ORDER = 32 << 20, 16
OBJECTS = SIZE >> ORDER

KINDS = ('disk', 'disk.config', 'disk.eph0', 'disk.swap')


@pytest.fixture
def driver(where):
    nova.conf.CONF.set_override('images_rbd_pool', 'vms', group='libvirt')
    cluster = ceph.Cluster(str(where.sites[1].ceph_conf), 'nova', 5, LIMITS)
    yield disks.RBDDriver(cluster)
    cluster.close()
    nova.conf.CONF.clear_override('images_rbd_pool', group='libvirt')


@pytest.fixture
def server(west):
    """The id of a server whose disks are removed in the end."""
    server = str(uuid.uuid4())
    yield server
    for name in of_server(west, server):
        west.remove('vms', name)


@pytest.fixture
def made(server, west):
    """The disks of a server, the first of which is full: ids by names."""
    ids = {}
    for name in (f'{server}_{kind}' for kind in KINDS):
        with west.pool('vms') as ioctx:
            rbd.RBD().create(ioctx, name, SIZE, order=ORDER)
        with west.opened(name) as disk:
            ids[name] = disk.id()
    west.write('vms', f'{server}_disk', b'\x2a' * SIZE)
    return ids


def of_server(west, server):
    return {name for name in west.images('vms') if server in name}


def objects_of(west, image_id):
    """How many objects there are of a disk's data."""
    begin = f'rbd_data.{image_id}.'
    with west.pool('vms') as ioctx:
        return sum(
            found.key.startswith(begin) for found in ioctx.list_objects()
        )


@pytest.fixture
def break_off(driver, freeze, slow_cluster, west):
    """Has a removal break off when the first object of a disk is gone.

    Takes the call and the disk's id, and gives what the call raises.
    """

    def break_off(remove, image_id):
        assert objects_of(west, image_id) == OBJECTS
        go_on = slow_cluster(west, seconds=0.02)
        with futures.ThreadPoolExecutor(1) as pool:
            done = pool.submit(remove, driver)
            polling.until(
                lambda: (
                    not west.has_object('vms', f'rbd_data.{image_id}.{0:016x}')
                ),
                'the first object is gone',
                pause=0.0,
            )
            assert not done.done(), 'it was too quick'
            thaw = freeze('ceph-osd-west')
            error = done.exception(timeout=polling.DEADLINE)
            thaw()
            # Or a placement group stays "laggy", in a cluster of one OSD.
            west.command('osd down', ids=['0'])
        go_on()
        assert 0 < objects_of(west, image_id) < OBJECTS
        return error

    return break_off


REMOVALS = {
    'build': lambda driver, server: driver.discard(server),
    'offload': lambda driver, server: driver.cleanup_volumes(
        lambda name: name.startswith(server)
    ),
}


@pytest.mark.parametrize('remove', REMOVALS.values(), ids=REMOVALS)
def test_half_a_disk_is_taken_for_none_and_goes_with_its_server(
    remove, break_off, driver, server, made, upload, make_host, demo_user, west
):
    image = upload(store='west')
    (disk, *others) = made
    broken_off = break_off(lambda driver: remove(driver, server), made[disk])

    assert isinstance(broken_off, rbd.Error | exceptions.HostError)
    # librbd takes the name first. It lists the rest from the trash.
    assert not west.has_object('vms', f'rbd_id.{disk}')
    assert not driver.exists(disk)
    assert of_server(west, server) == {disk, *others}

    # On the next host.
    (boot,) = make_host('west-2').boot(demo_user, image.id, servers=[server])
    assert boot.error is None, boot.message
    assert west.parent(disk) == clusters.of_glance(image.id)
    assert 0 < objects_of(west, made[disk]) < OBJECTS

    remove(driver, server)
    assert of_server(west, server) == set()
    assert objects_of(west, made[disk]) == 0
