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

"""The host's connection to its cluster is lost, and replaced."""

from concurrent import futures
import ctypes
import itertools
import os
import pathlib
import re

import nova.conf
import pytest
import rbd

from nova_rbd_multistore import ceph
from nova_rbd_multistore import disks
from nova_rbd_multistore import exceptions
from tests.rig import clusters
from tests.rig import hosts
from tests.rig import polling

pytestmark = pytest.mark.fault

OWN_POOL = 'profile rbd pool=vms'
ALL_RIGHTS = f'{OWN_POOL}, profile rbd-read-only pool=images'

#: Seconds, by name as Ceph has them and as Nova has them.
LIMITS = {'rados_mon_op_timeout': '5', 'rados_osd_op_timeout': '5'}
TIMEOUTS = {
    'libvirt__rbd_connect_timeout': 5,
    **{f'rbd_multistore__{name}': value for name, value in LIMITS.items()},
}

MIB = 1 << 20


@pytest.fixture
def host_of_user(make_host, make_ceph_user):
    """A host in west with a cephx user: both, and that one's ceph.conf."""

    def make(osd_caps=ALL_RIGHTS):
        user, conf = make_ceph_user(osd_caps)
        host = make_host(
            'west-1',
            libvirt__images_rbd_ceph_conf=conf,
            libvirt__rbd_user=user,
            **TIMEOUTS,
        )
        return host, user, conf

    return make


def boot_around(host, demo_user, image, happening, boots=3, apart=25):
    """Boot one after the other in one process; after the first, it happens."""
    host.start(demo_user, [image.id] * boots, at=hosts.soon(), apart=apart)
    host.wait_for_log('DISK-OUTCOME')
    happening()
    return host.outcomes()


# Boots go on, in the same process


@pytest.mark.both_modes
def test_a_host_that_was_blocklisted_boots_again(
    upload, host_of_user, demo_user, west
):
    image = upload(store='west')
    host, user, _ = host_of_user()

    before, during, after = boot_around(
        host, demo_user, image, lambda: west.blocklist(user)
    )

    assert before.error is None, before.message
    assert during.error == 'ClusterUnreachable'
    assert after.error is None, after.message
    assert west.parent(after.disk) == clusters.of_glance(image.id)


@pytest.mark.both_modes
def test_caps_that_were_corrected_are_in_force(
    upload, host_of_user, demo_user, west
):
    image = upload(store='west')
    host, user, _ = host_of_user('profile rbd-read-only pool=images')

    before, after = boot_around(
        host,
        demo_user,
        image,
        lambda: west.grant(user, ALL_RIGHTS),
        boots=2,
    )

    assert before.error == 'PoolUnusable'
    assert after.error is None, after.message
    assert west.parent(after.disk) == clusters.of_glance(image.id)


def test_a_monitor_that_has_moved_is_found(
    upload, make_host, demo_user, west, move_monitor
):
    image = upload(store='west')
    host = make_host('west-1', **TIMEOUTS)

    before, _during, after = boot_around(
        host, demo_user, image, move_monitor, apart=40
    )

    assert before.error is None, before.message
    assert after.error is None, after.message


# Whatever call it is that meets it


@pytest.fixture
def as_user(make_ceph_user):
    """Our connections to west as a cephx user of their own.

    Gives the cluster, Nova's calls over it, the user and the ceph.conf.
    """
    nova.conf.CONF.set_override('images_rbd_pool', 'vms', group='libvirt')

    def make(osd_caps=ALL_RIGHTS, **arguments):
        user, conf = make_ceph_user(osd_caps)
        cluster = ceph.Cluster(conf, user, 5, LIMITS, **arguments)
        return cluster, disks.RBDDriver(cluster), user, conf

    yield make
    nova.conf.CONF.clear_override('images_rbd_pool', group='libvirt')


@pytest.fixture
def disk(west):
    west.create('vms', 'lost-disk', 64 * MIB)
    yield 'lost-disk'
    west.remove('vms', 'lost-disk')


def meets_a_shutdown(call, driver, disk):
    try:
        call(driver, disk)
    except (exceptions.ClusterUnreachable, rbd.ConnectionShutdown) as exc:
        return 'connection was shutdown' in str(exc)
    return False


CALLS = {
    'exists': lambda driver, disk: driver.exists(disk),
    'size': lambda driver, disk: driver.size(disk),
    'resize': lambda driver, disk: driver.resize(disk, 65 * MIB),
    'cleanup_volumes': lambda driver, _disk: driver.cleanup_volumes(
        lambda _name: False
    ),
}


@pytest.mark.parametrize('call', CALLS.values(), ids=CALLS)
def test_nova_s_call_after_one_that_met_a_blocklist_works(
    as_user, west, disk, call
):
    _, driver, user, _ = as_user()
    call(driver, disk)
    west.blocklist(user)

    polling.until(
        lambda: meets_a_shutdown(call, driver, disk),
        'the OSD has learnt of it',
    )

    call(driver, disk)


def test_a_key_that_was_rotated_is_read_anew(as_user, west, supervisor):
    cluster, _, user, conf = as_user()
    cluster.monitors()
    west.remove_user(user)
    clusters.write_key(conf, user, west.make_user(user, ALL_RIGHTS))
    # It asks all who had connected who they are.
    supervisor.restart('ceph-mon-west')

    with pytest.raises(exceptions.ClusterUnreachable):
        cluster.monitors()
    cluster.monitors()
    assert not cluster.has_image('vms', 'no disk')


def test_a_right_that_is_missing_for_good_costs_few_connections(as_user, west):
    cluster, _, user, _ = as_user(OWN_POOL)
    seen = set()
    for _ in range(200):
        with pytest.raises(Exception, match='no right to read'):
            cluster.arrival('images', 'an-image')
        seen.update(west.clients(user))
    assert len(seen) <= 2


# What is left of it


def counts():
    """Threads and open files of this process, and its memory in MiB."""
    # What is free again counts for nothing.
    ctypes.CDLL(None).malloc_trim(0)
    status = pathlib.Path('/proc/self/status').read_text()
    kib = int(re.search(r'^VmRSS:\s+(\d+) kB$', status, re.MULTILINE)[1])
    return (
        len(os.listdir('/proc/self/task')),
        len(os.listdir('/proc/self/fd')),
        kib // 1024,
    )


def test_after_200_losses_there_is_no_more_than_after_the_first(as_user, west):
    clock = itertools.count(step=60).__next__
    cluster, _, user, _ = as_user('profile rbd pool=images', clock=clock)

    def lose():
        with pytest.raises(exceptions.PoolUnusable):
            cluster.has_image('vms', 'no disk')
        return set(west.clients(user))

    def lose_often(times):
        with futures.ThreadPoolExecutor(4) as pool:
            seen = [pool.submit(lose) for _ in range(times)]
            return set.union(*(each.result() for each in seen))

    lose_often(40)
    threads, files, memory = counts()
    connections = lose_often(200)
    threads_now, files_now, memory_now = counts()

    assert len(connections) >= 100
    assert threads_now <= threads
    assert files_now <= files
    # 200 that are not shut down take 70.
    assert memory_now - memory <= 10
