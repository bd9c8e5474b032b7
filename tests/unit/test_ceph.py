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

"""The door between librados and librbd, and us."""

import contextlib
import dataclasses
import errno

import pytest
import rados
import rbd

from nova_rbd_multistore import arrival
from nova_rbd_multistore import ceph
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import location
from nova_rbd_multistore import remains
from tests.fakes import librados

MIB = 1024 * 1024
GIB = 1024 * MIB
IMAGE = 'an-id'
SOURCE = location.RbdLocation('fsid-west', 'images', IMAGE, 'snap')
DISK = 'a-server_disk'

#: What librados and librbd raise when the cluster is not well.
FAULTS = {
    'no answer': rados.TimedOut('error', errno=110),
    'no monitor': rados.ObjectNotFound('error connecting', errno=2),
    'wrong key': rados.PermissionDeniedError('error', errno=13),
    'no connection': rados.NotConnected('error', errno=107),
    'wrong state': rados.RadosStateError('not connected'),
    'input/output': rados.IOError('error', errno=5),
    'something of rados': rados.Error('something', errno=95),
    'blocklisted': rados.ConnectionShutdown('error', errno=108),
}
RBD_FAULTS = {
    'no answer': rbd.Timeout('error', errno=110),
    'full': rbd.NoSpace('error', errno=28),
    'over quota': rbd.DiskQuotaExceeded('error', errno=122),
    'input/output': rbd.IOError('error', errno=5),
    'read-only': rbd.ReadOnlyImage('error', errno=30),
    'busy': rbd.ImageBusy('error', errno=16),
    'something of rbd': rbd.OSError('something', errno=95),
    'blocklisted': rbd.ConnectionShutdown('error', errno=108),
}

#: Of the OSDs' class, that tell of an arrival.
METHODS = [
    'get_id',
    'get_snapcontext',
    'get_snapshot_name',
    'get_size',
    'object_map_load',
]


@pytest.fixture
def library(monkeypatch):
    library = librados.Librados()
    library.pools['images'][IMAGE] = librados.Image({'snap': True})
    monkeypatch.setattr(rados, 'Rados', library.Rados)
    monkeypatch.setattr(rbd, 'RBD', library.RBD)
    monkeypatch.setattr(rbd, 'Image', library.Image)
    return library


@pytest.fixture
def cluster(library):
    return ceph.Cluster(
        '/etc/ceph/west.conf',
        'nova',
        5,
        {'rados_osd_op_timeout': '30'},
        clock=lambda: library.now,
    )


# The connection


def test_every_operation_on_the_connection_has_a_time_out(cluster, library):
    cluster.fsid()
    (connection,) = library.connections
    assert connection['conf'] == {
        'client_mount_timeout': '5',
        'rados_osd_op_timeout': '30',
    }


def test_the_connection_is_as_the_user_of_the_configuration(cluster, library):
    cluster.fsid()
    (connection,) = library.connections
    assert connection['rados_id'] == 'nova'
    assert connection['conffile'] == '/etc/ceph/west.conf'


@pytest.mark.parametrize('unset', [None, ''])
def test_without_a_configuration_ceph_searches_its_own(library, unset):
    ceph.Cluster(unset, unset, 5, {}).fsid()
    (connection,) = library.connections
    assert connection['rados_id'] is None
    assert connection['conffile'] is None


def test_one_connection_serves_all(cluster, library):
    cluster.fsid()
    cluster.clone(SOURCE, 'vms', DISK)
    cluster.arrival('images', IMAGE)
    cluster.monitors()
    assert len(library.connections) == 1


def test_nothing_is_connected_before_it_is_needed(cluster, library):
    del cluster
    assert library.connections == []


@pytest.mark.parametrize('fault', FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize('operation', ['configure', 'connect', 'fsid'])
def test_a_cluster_that_does_not_answer_is_unreachable(
    cluster, library, operation, fault
):
    library.faults[operation] = fault
    with pytest.raises(exceptions.ClusterUnreachable):
        cluster.fsid()


@pytest.mark.parametrize(
    'fault',
    [
        FAULTS['wrong key'],
        rados.PermissionError('error connecting to the cluster', errno=1),
    ],
)
def test_a_cluster_that_does_not_admit_our_user_refuses(
    cluster, library, fault
):
    library.faults['connect'] = fault
    with pytest.raises(exceptions.ClusterRefused, match='mon "profile rbd"'):
        cluster.fsid()


@pytest.mark.parametrize('operation', ['configure', 'connect'])
def test_a_connection_that_failed_is_shut_down(cluster, library, operation):
    library.faults[operation] = rados.TimedOut('error', errno=110)
    with pytest.raises(exceptions.ClusterUnreachable):
        cluster.fsid()
    assert library.shut_down == 1


def test_after_a_failed_connection_the_next_call_connects_anew(
    cluster, library
):
    library.faults['connect'] = rados.TimedOut('error', errno=110)
    with pytest.raises(exceptions.ClusterUnreachable):
        cluster.fsid()
    library.faults.clear()
    assert cluster.fsid() == 'fsid-west'


#: What shows that a connection is of no use, by what a call then raises.
LOSSES = {
    'no answer': rados.TimedOut('error', errno=110),
    'no answer (rbd)': rbd.Timeout('error', errno=110),
    'blocklisted': rados.ConnectionShutdown('error', errno=108),
    'blocklisted (rbd)': rbd.ConnectionShutdown('error', errno=108),
    'no connection': rados.NotConnected('error', errno=107),
    'wrong state': rados.RadosStateError('not connected'),
}
REFUSALS = {
    'refused': rados.PermissionError('error', errno=1),
    'refused (rbd)': rbd.PermissionError('error', errno=1),
    'key refused': rados.PermissionDeniedError('error', errno=13),
    'key refused (rbd)': rbd.OSError('error', errno=13),
}
#: Each call of ours, and an operation of librados or librbd that it needs.
CALLS = {
    'fsid': lambda cluster: cluster.fsid(),
    'monitors': lambda cluster: cluster.monitors(),
    'stat': lambda cluster: cluster.has_image('vms', DISK),
    'clone': lambda cluster: cluster.clone(SOURCE, 'vms', DISK),
    'get_id': lambda cluster: cluster.arrival('images', IMAGE),
    'pool': lambda cluster: cluster.close_pool(cluster.open_pool('vms')),
    'lock_exclusive': lambda cluster: hold(cluster),
    'remove_object': lambda cluster: release(cluster),
}


def meet(cluster, library, operation, fault):
    """Make a call that fails at an operation."""
    library.faults[operation] = fault
    with pytest.raises(
        (exceptions.HostError, arrival.ArrivalsHidden, ceph.SourceDenied)
    ):
        CALLS[operation](cluster)
    library.faults.clear()


@pytest.mark.parametrize('fault', LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize('operation', CALLS)
def test_after_a_loss_the_next_call_has_a_new_connection(
    cluster, library, operation, fault
):
    meet(cluster, library, operation, fault)
    assert library.shut_down == 1
    cluster.fsid()
    assert len(library.connections) == 2
    assert library.shut_down == 1


@pytest.mark.parametrize('fault', REFUSALS.values(), ids=REFUSALS)
@pytest.mark.parametrize('operation', CALLS)
def test_after_a_refusal_the_next_call_has_a_new_connection(
    cluster, library, operation, fault
):
    cluster.fsid()
    library.now += 10
    meet(cluster, library, operation, fault)
    cluster.fsid()
    assert len(library.connections) == 2
    assert library.shut_down == 1


@pytest.mark.parametrize('operation', CALLS)
def test_a_new_connection_is_not_replaced_for_a_refusal(
    cluster, library, operation
):
    for _ in range(10):
        meet(cluster, library, operation, REFUSALS['refused'])
        library.now += 0.5
    assert len(library.connections) == 1


@pytest.mark.parametrize('fault', [*FAULTS.values(), *RBD_FAULTS.values()])
@pytest.mark.parametrize('operation', CALLS)
def test_no_connection_is_left_but_the_one_in_use(
    cluster, library, operation, fault
):
    library.faults[operation] = fault
    with contextlib.suppress(
        exceptions.HostError, arrival.ArrivalsHidden, ceph.SourceMissing
    ):
        CALLS[operation](cluster)
    library.faults.clear()
    cluster.fsid()
    assert len(library.connections) - library.shut_down == 1


@pytest.mark.parametrize('operation', ['fsid', 'clone', 'stat', 'monitors'])
def test_an_error_that_is_no_loss_keeps_the_connection(
    cluster, library, operation
):
    meet(cluster, library, operation, rados.IOError('error', errno=5))
    cluster.fsid()
    assert len(library.connections) == 1


def test_a_connection_that_fails_stays_for_those_who_use_it(cluster, library):
    pool = cluster.open_pool('vms')
    meet(cluster, library, 'fsid', LOSSES['blocklisted'])
    cluster.fsid()
    assert pool.connection.get_fsid() == 'fsid-west'
    assert library.shut_down == 0
    cluster.close_pool(pool)
    assert library.shut_down == 1


def test_an_old_connection_s_late_error_keeps_the_new_one(cluster, library):
    pool = cluster.open_pool('vms')
    meet(cluster, library, 'fsid', LOSSES['blocklisted'])
    cluster.fsid()
    cluster.close_pool(pool, LOSSES['no answer'])
    cluster.fsid()
    assert len(library.connections) == 2


# Operations that may take long


@pytest.fixture
def patient(library):
    return ceph.Cluster(
        '/etc/ceph/west.conf',
        'nova',
        5,
        {'rados_mon_op_timeout': '30', 'rados_osd_op_timeout': '60'},
        {'rados_osd_op_timeout': '600'},
        clock=lambda: library.now,
    )


def test_what_may_take_long_has_a_time_out_of_its_own(patient, library):
    patient.fsid()
    patient.close_pool(patient.open_pool('vms', patient=True))
    shared, own = library.connections
    assert shared['conf']['rados_osd_op_timeout'] == '60'
    assert own['conf'] == {
        'client_mount_timeout': '5',
        'rados_mon_op_timeout': '30',
        'rados_osd_op_timeout': '600',
    }


def test_what_may_take_long_has_a_connection_of_its_own(patient, library):
    pools = [patient.open_pool('vms', patient=True) for _ in range(2)]
    patient.fsid()
    assert len(library.connections) == 3
    for pool in pools:
        patient.close_pool(pool)
    assert library.shut_down == 2
    assert library.open == 0


def test_what_may_take_long_in_a_pool_that_is_not_there_leaves_nothing(
    patient, library
):
    del library.pools['vms']
    with pytest.raises(exceptions.PoolUnusable):
        patient.open_pool('vms', patient=True)
    assert library.shut_down == 1


# Clone


def test_a_clone_has_the_features_that_ceph_gives_new_images(cluster, library):
    cluster.clone(SOURCE, 'vms', DISK)
    assert library.pools['vms'][DISK].features == 61


@pytest.mark.parametrize('features', ['', '0'])
def test_a_clone_has_layering_at_least(cluster, library, features):
    library.features = features
    cluster.clone(SOURCE, 'vms', DISK)
    assert library.pools['vms'][DISK].features == rbd.RBD_FEATURE_LAYERING


def test_a_source_that_is_not_there_is_missing(cluster, library):
    library.pools['images'].clear()
    with pytest.raises(ceph.SourceMissing):
        cluster.clone(SOURCE, 'vms', DISK)


def test_a_source_without_the_snapshot_is_missing(cluster, library):
    library.pools['images'][IMAGE].snapshots.clear()
    with pytest.raises(ceph.SourceMissing):
        cluster.clone(SOURCE, 'vms', DISK)


def test_a_source_that_is_not_protected_is_missing(cluster, library):
    library.pools['images'][IMAGE].snapshots['snap'] = False
    with pytest.raises(ceph.SourceMissing):
        cluster.clone(SOURCE, 'vms', DISK)


def test_a_source_in_a_pool_that_is_not_there_is_missing(cluster, library):
    del library.pools['images']
    with pytest.raises(ceph.SourceMissing, match='no pool images'):
        cluster.clone(SOURCE, 'vms', DISK)


def test_a_source_that_we_may_not_read_is_denied(cluster, library):
    library.unreadable.add('images')
    with pytest.raises(ceph.SourceDenied):
        cluster.clone(SOURCE, 'vms', DISK)


def test_our_pool_that_is_not_there_is_the_hosts_fault(cluster, library):
    del library.pools['vms']
    with pytest.raises(exceptions.PoolUnusable, match='no such pool'):
        cluster.clone(SOURCE, 'vms', DISK)


def test_our_pool_that_we_may_not_write_to_is_the_hosts_fault(
    cluster, library
):
    library.read_only.add('vms')
    with pytest.raises(exceptions.PoolUnusable):
        cluster.clone(SOURCE, 'vms', DISK)


def test_a_disk_that_is_there_already_is_said_so(cluster, library):
    library.pools['vms'][DISK] = librados.Image()
    with pytest.raises(ceph.DiskExists):
        cluster.clone(SOURCE, 'vms', DISK)


@pytest.mark.parametrize(
    'fault',
    [*FAULTS.values(), *RBD_FAULTS.values()],
    ids=[*FAULTS, *(f'{name} (rbd)' for name in RBD_FAULTS)],
)
def test_a_clone_that_the_cluster_fails_is_the_hosts_fault(
    cluster, library, fault
):
    library.faults['clone'] = fault
    with pytest.raises(exceptions.ClusterUnreachable):
        cluster.clone(SOURCE, 'vms', DISK)


# Remains

#: What each step of a clone leaves of its name and header, if it is the last.
STEPS = [
    {'rbd_id'},
    {'rbd_directory'},
    {'rbd_id', 'rbd_directory'},
]


def leave(library, **state):
    disk = librados.Image(size=3 * GIB, **state)
    library.pools['vms'][DISK] = disk
    return disk


def test_of_a_disk_that_is_not_there_nothing_remains(cluster):
    assert cluster.remains('vms', DISK) is None


@pytest.mark.parametrize('parts', STEPS)
def test_a_name_without_a_header_is_seen(cluster, library, parts):
    leave(library, parts=frozenset(parts))
    seen = cluster.remains('vms', DISK)
    assert not seen.header
    assert library.opened == 0


def test_a_header_without_a_parent_is_seen(cluster, library):
    leave(library)
    assert cluster.remains('vms', DISK) == remains.Remains(
        parent=False, written=False
    )


def test_a_clone_without_a_byte_is_seen(cluster, library):
    cluster.clone(SOURCE, 'vms', DISK)
    assert cluster.remains('vms', DISK) == remains.Remains(written=False)


@pytest.mark.parametrize('number', [0, 255, 256, 767])
def test_one_object_that_was_written_is_seen(cluster, library, number):
    disk = leave(library, objects=[0] * 768)
    disk.objects[number] = 1
    assert cluster.remains('vms', DISK).written


def test_an_object_that_is_unchanged_since_a_snapshot_was_written(
    cluster, library
):
    leave(library, objects=[3])
    assert cluster.remains('vms', DISK).written


def test_a_disk_with_a_snapshot_was_used(cluster, library):
    leave(library, snapshots={'nova-resize': False})
    seen = cluster.remains('vms', DISK)
    assert seen.written
    assert seen.snapshots == ('nova-resize',)


def test_a_client_that_has_the_disk_open_is_seen(cluster, library):
    leave(library, watchers=['192.0.2.7:0/1'])
    assert cluster.remains('vms', DISK).watched


def test_clients_that_have_the_disk_open_are_named(cluster, library):
    leave(library, watchers=['192.0.2.7:0/1', '192.0.2.8:0/2'])
    assert cluster.clients_of('vms', DISK) == [
        '192.0.2.7:0/1',
        '192.0.2.8:0/2',
    ]


@pytest.mark.parametrize('state', [None, {'orphan': True}, {'watchers': []}])
def test_where_there_are_none_nobody_is_named(cluster, library, state):
    if state is not None:
        leave(library, **state)
    assert cluster.clients_of('vms', DISK) == []


MIRROR, GUEST = '198.51.100.9:0/2', '192.0.2.7:0/1'
LOCKED = {
    'mirrored': True,
    'features': rbd.RBD_FEATURE_LAYERING | rbd.RBD_FEATURE_EXCLUSIVE_LOCK,
}


@pytest.mark.parametrize(
    ('watchers', 'lockers', 'named'),
    [
        ([GUEST, MIRROR], [GUEST], [GUEST]),
        # It has died.
        ([MIRROR], [GUEST], []),
        ([MIRROR], [], []),
    ],
)
def test_the_watch_of_rbd_mirror_is_not_taken_for_a_guest_s(
    cluster, library, watchers, lockers, named
):
    """It is there as long as the disk is one of a pair."""
    leave(library, watchers=watchers, lockers=lockers, **LOCKED)
    assert cluster.clients_of('vms', DISK) == named


def test_where_they_cannot_be_told_apart_it_is(cluster, library):
    leave(library, watchers=[MIRROR], mirrored=True)
    assert cluster.clients_of('vms', DISK) == [MIRROR]


def test_a_disk_whose_parent_is_gone_has_a_header(cluster, library):
    leave(library, orphan=True, objects=[1])
    seen = cluster.remains('vms', DISK)
    assert seen.header
    assert not seen.opens


def test_a_header_that_the_directory_alone_leads_to_is_seen(cluster, library):
    leave(library, parts=frozenset({'rbd_directory', 'rbd_header'}))
    seen = cluster.remains('vms', DISK)
    assert seen.header
    assert not seen.opens


def test_an_answer_that_is_not_understood_proves_nothing(cluster, library):
    leave(library)
    library.answers['get_id'] = b'?'
    with pytest.raises(exceptions.ClusterUnreachable, match='not understood'):
        cluster.remains('vms', DISK)


@pytest.mark.parametrize('operation', ['get_id', 'stat', 'open', 'diff'])
@pytest.mark.parametrize(
    'fault',
    [
        fault
        for fault in FAULTS.values()
        if not isinstance(fault, rados.ObjectNotFound)
    ],
)
def test_where_the_cluster_fails_nothing_is_proven(
    cluster, library, operation, fault
):
    leave(library)
    library.faults[operation] = fault
    with pytest.raises(exceptions.ClusterUnreachable):
        cluster.remains('vms', DISK)


def test_what_may_not_be_read_of_a_disk_proves_nothing(cluster, library):
    # In a data pool, say.
    leave(library)
    library.faults['diff'] = rbd.PermissionError('error', errno=1)
    with pytest.raises(exceptions.PoolUnusable):
        cluster.remains('vms', DISK)


@pytest.mark.parametrize('parts', [*STEPS, librados.Image().parts])
def test_what_is_removed_is_gone(cluster, library, parts):
    leave(library, parts=frozenset(parts))
    cluster.remove_disk('vms', DISK)
    assert library.pools['vms'] == {}
    cluster.clone(SOURCE, 'vms', DISK)


@pytest.mark.parametrize(
    'used', [{'watchers': ['192.0.2.7:0/1']}, {'snapshots': {'a': False}}]
)
def test_what_is_in_use_is_not_removed(cluster, library, used):
    leave(library, **used)
    with pytest.raises(ceph.DiskInUse):
        cluster.remove_disk('vms', DISK)
    assert DISK in library.pools['vms']


@pytest.mark.parametrize('parts', [*STEPS, librados.Image().parts])
def test_to_remove_without_the_right_to_is_the_hosts_fault(
    cluster, library, parts
):
    leave(library, parts=frozenset(parts))
    library.read_only.add('vms')
    with pytest.raises(exceptions.PoolUnusable):
        cluster.remove_disk('vms', DISK)


def test_a_disk_gets_another_name(cluster, library):
    leave(library)
    disk = library.pools['vms'][DISK]
    cluster.rename_disk('vms', DISK, 'another')
    assert library.pools['vms'] == {'another': disk}


def test_to_rename_without_the_right_to_is_the_hosts_fault(cluster, library):
    leave(library)
    library.faults['rename'] = rbd.PermissionError('error', errno=1)
    with pytest.raises(exceptions.PoolUnusable):
        cluster.rename_disk('vms', DISK, 'another')


def test_to_a_name_that_is_taken_it_is_not_renamed(cluster, library):
    leave(library)
    library.pools['vms']['another'] = librados.Image()
    before = dict(library.pools['vms'])
    with pytest.raises(ceph.DiskExists, match='vms/another'):
        cluster.rename_disk('vms', DISK, 'another')
    assert library.pools['vms'] == before


# Data pools


@pytest.fixture
def data_pools(library):
    """Pools that Glance and Nova have the data of new images in."""
    library.pools |= {'images-data': {}, 'vms-data': {}}
    library.read_only.add('images-data')
    library.pools['images'][IMAGE].data_pool = 'images-data'
    library.data_pool = 'vms-data'
    return library


def test_a_source_whose_data_we_may_read_is_cloned(cluster, data_pools):
    cluster.clone(SOURCE, 'vms', DISK)
    assert data_pools.pools['vms'][DISK].data_pool == 'vms-data'


def test_a_source_whose_data_we_may_not_read_is_denied_with_its_pool(
    cluster, data_pools
):
    data_pools.unreadable.add('images-data')
    with pytest.raises(ceph.SourceDenied) as denied:
        cluster.clone(SOURCE, 'vms', DISK)
    assert denied.value.pool == 'images-data'
    assert data_pools.pools['vms'] == {}


def test_a_denied_source_names_its_own_pool(cluster, library):
    library.unreadable.add('images')
    with pytest.raises(ceph.SourceDenied) as denied:
        cluster.clone(SOURCE, 'vms', DISK)
    assert denied.value.pool == 'images'


def test_what_is_read_of_a_data_pool_has_the_name_of_the_image_s_data(
    cluster, data_pools
):
    # Caps may be for the names of RBD's data alone.
    cluster.clone(SOURCE, 'vms', DISK)
    image_id = data_pools.pools['images'][IMAGE].id
    number = data_pools.number('images')
    assert data_pools.asked[0] == (
        'images-data',
        f'rbd_data.{number}.{image_id}.0000000000000000',
    )


def test_a_data_pool_is_proven_once_for_a_connection(cluster, data_pools):
    for number in range(3):
        cluster.clone(SOURCE, 'vms', f'{DISK}-{number}')
    assert [pool for pool, _ in data_pools.asked] == [
        'images-data',
        'vms-data',
    ]


def test_a_new_connection_proves_data_pools_anew(cluster, data_pools):
    cluster.clone(SOURCE, 'vms', DISK)
    data_pools.faults['fsid'] = rados.ConnectionShutdown('error', errno=108)
    with pytest.raises(exceptions.ClusterUnreachable):
        cluster.fsid()
    data_pools.faults.clear()
    data_pools.unreadable.add('images-data')
    with pytest.raises(ceph.SourceDenied):
        cluster.clone(SOURCE, 'vms', 'another_disk')


def test_what_was_not_proven_is_tried_again(cluster, data_pools):
    data_pools.unreadable |= {'images-data', 'vms-data'}
    with pytest.raises(ceph.SourceDenied):
        cluster.clone(SOURCE, 'vms', DISK)
    data_pools.unreadable.remove('images-data')
    with pytest.raises(exceptions.DataPoolUnusable):
        cluster.clone(SOURCE, 'vms', DISK)
    data_pools.unreadable.clear()
    cluster.clone(SOURCE, 'vms', DISK)


def test_a_boot_of_an_image_asks_nothing_that_an_earlier_one_has_asked(
    cluster, data_pools
):
    cluster.clone(SOURCE, 'vms', DISK)
    assert data_pools.calls == ['get_id', 'get_data_pool', 'config_get']
    cluster.clone(SOURCE, 'vms', 'another_disk')
    assert len(data_pools.calls) == 3


def test_another_image_may_have_its_data_elsewhere(cluster, data_pools):
    cluster.clone(SOURCE, 'vms', DISK)
    data_pools.pools['cold-data'] = {}
    data_pools.unreadable.add('cold-data')
    data_pools.pools['images']['cold'] = librados.Image(
        {'snap': True}, data_pool='cold-data'
    )
    with pytest.raises(ceph.SourceDenied) as denied:
        cluster.clone(
            dataclasses.replace(SOURCE, image='cold'), 'vms', 'another_disk'
        )
    assert denied.value.pool == 'cold-data'


def test_a_data_pool_that_is_configured_later_is_proven(cluster, data_pools):
    # "ceph config set" reaches connections that are open.
    data_pools.data_pool = ''
    cluster.clone(SOURCE, 'vms', DISK)
    data_pools.data_pool = 'vms-data'
    data_pools.read_only.add('vms-data')
    with pytest.raises(exceptions.DataPoolUnusable):
        cluster.clone(SOURCE, 'vms', 'another_disk')


def test_without_data_pools_no_data_is_read_or_written(cluster, library):
    cluster.clone(SOURCE, 'vms', DISK)
    assert library.asked == []


@pytest.mark.parametrize('own', ['vms', ''])
def test_nova_s_pool_may_be_its_own_data_pool(cluster, data_pools, own):
    data_pools.data_pool = own
    cluster.clone(SOURCE, 'vms', DISK)
    assert [pool for pool, _ in data_pools.asked] == ['images-data']


@pytest.mark.parametrize('right', ['unreadable', 'read_only'])
def test_a_data_pool_that_we_may_not_write_to_is_named_with_its_cap(
    cluster, data_pools, right
):
    getattr(data_pools, right).add('vms-data')
    with pytest.raises(
        exceptions.DataPoolUnusable, match='profile rbd pool=vms-data'
    ):
        cluster.clone(SOURCE, 'vms', DISK)
    assert data_pools.pools['vms'] == {}


def test_a_data_pool_that_is_not_there_is_no_missing_source(
    cluster, data_pools
):
    data_pools.data_pool = 'vms-dta'
    with pytest.raises(
        exceptions.DataPoolUnusable, match=r'vms-dta .*no such'
    ):
        cluster.clone(SOURCE, 'vms', DISK)


def test_a_data_pool_that_rbd_cannot_use_is_no_missing_source(
    cluster, data_pools
):
    data_pools.without_overwrites.add('vms-data')
    with pytest.raises(exceptions.DataPoolUnusable, match='overwrites'):
        cluster.clone(SOURCE, 'vms', DISK)


def test_a_data_pool_of_nova_s_pool_goes_before_that_of_the_user(
    cluster, data_pools
):
    data_pools.data_pools['vms'] = 'images-data'
    with pytest.raises(exceptions.DataPoolUnusable, match='images-data'):
        cluster.clone(SOURCE, 'vms', DISK)


def test_where_new_disks_go_is_asked_of_nova_s_pool(cluster, library):
    library.unreadable.add('vms')
    with pytest.raises(exceptions.PoolUnusable, match='pool=vms'):
        cluster.clone(SOURCE, 'vms', DISK)


@pytest.mark.parametrize('method', ['get_id', 'get_data_pool'])
def test_a_source_that_tells_its_data_pool_otherwise_is_librbd_s_to_judge(
    cluster, data_pools, method
):
    data_pools.answers[method] = b'?'
    cluster.clone(SOURCE, 'vms', DISK)
    assert DISK in data_pools.pools['vms']


@pytest.mark.parametrize('operation', ['stat', 'remove_object', 'config_get'])
def test_a_data_pool_that_does_not_answer_is_the_hosts_fault(
    cluster, data_pools, operation
):
    timed_out = (rbd.Timeout if operation == 'config_get' else rados.TimedOut)(
        'error', errno=110
    )
    data_pools.faults[operation] = timed_out
    with pytest.raises(exceptions.ClusterUnreachable):
        cluster.clone(SOURCE, 'vms', DISK)
    assert data_pools.open == 0


def test_a_disk_that_is_there_is_checked_with_its_parent(cluster, data_pools):
    cluster.clone(SOURCE, 'vms', DISK)
    cluster.check_disk('vms', DISK)
    assert data_pools.open == 0


def test_a_disk_without_a_parent_is_checked(cluster, data_pools):
    data_pools.pools['vms'][DISK] = librados.Image(data_pool='vms-data')
    cluster.check_disk('vms', DISK)
    assert [pool for pool, _ in data_pools.asked] == ['vms-data']


@pytest.mark.parametrize('right', ['unreadable', 'read_only'])
def test_a_disk_whose_data_we_may_not_write_names_the_pool(
    cluster, data_pools, right
):
    data_pools.pools['vms'][DISK] = librados.Image(data_pool='vms-data')
    getattr(data_pools, right).add('vms-data')
    with pytest.raises(
        exceptions.DataPoolUnusable, match='profile rbd pool=vms-data'
    ):
        cluster.check_disk('vms', DISK)


def test_a_disk_whose_parent_s_data_we_may_not_read_names_the_pool(
    cluster, data_pools, another
):
    cluster.clone(SOURCE, 'vms', DISK)
    data_pools.unreadable.add('images-data')
    with pytest.raises(
        exceptions.PoolUnreadable, match='rbd-read-only pool=images-data'
    ):
        another.check_disk('vms', DISK)
    assert data_pools.open == 0


def test_a_disk_whose_parent_is_gone_is_not_the_clusters_fault(
    cluster, library
):
    library.pools['vms'][DISK] = librados.Image(orphan=True)
    with pytest.raises(
        exceptions.DiskUnusable, match=f'{DISK} in pool vms .*: it cannot be'
    ):
        cluster.check_disk('vms', DISK)
    assert library.open == 0


def test_a_parent_in_the_trash_is_checked_by_its_id(
    cluster, data_pools, another
):
    cluster.clone(SOURCE, 'vms', DISK)
    images = data_pools.pools['images']
    images['in the trash'] = images.pop(IMAGE)
    data_pools.unreadable.add('images-data')
    with pytest.raises(exceptions.PoolUnreadable, match='images-data'):
        another.check_disk('vms', DISK)


# Arrival


def test_an_image_that_is_not_there_is_absent(cluster):
    assert cluster.arrival('images', 'another-id') == arrival.ABSENT


def test_an_image_with_glances_snapshot_is_complete(cluster):
    assert cluster.arrival('images', IMAGE).complete


def test_an_image_with_another_snapshot_is_not_complete(cluster, library):
    library.pools['images'][IMAGE].snapshots = {'before': True}
    assert not cluster.arrival('images', IMAGE).complete


def test_an_image_that_arrives_shows_the_bytes_of_its_objects(
    cluster, library
):
    # Written, removed, never written, and unchanged since a snapshot.
    library.pools['images'][IMAGE] = librados.Image(
        size=40 * MIB, order=23, objects=[1, 2, 0, 3, 1]
    )
    assert cluster.arrival('images', IMAGE) == arrival.Arrival(
        exists=True, allocated=24 * MIB
    )


def test_no_more_bytes_have_arrived_than_the_image_has(cluster, library):
    library.pools['images'][IMAGE] = librados.Image(
        size=9 * MIB, order=23, objects=[1, 1]
    )
    assert cluster.arrival('images', IMAGE).allocated == 9 * MIB


def test_the_objects_of_a_large_image_are_counted(cluster, library):
    count = 4 * 1024 * 1024 // 8
    library.pools['images'][IMAGE] = librados.Image(
        size=count * 8 * MIB, order=23, objects=[1] * count
    )
    seen = cluster.arrival('images', IMAGE)
    assert seen.allocated == 4 * 1024 * 1024 * MIB


def test_without_an_object_map_nobody_counts_objects(cluster, library):
    library.pools['images'][IMAGE] = librados.Image(
        features=rbd.RBD_FEATURE_LAYERING, size=8 * MIB, objects=[1]
    )
    assert cluster.arrival('images', IMAGE) == arrival.Arrival(exists=True)


def test_to_look_at_an_image_is_not_to_open_it(cluster, library):
    library.pools['images']['arriving'] = librados.Image(objects=[1])
    for name in (IMAGE, 'arriving', 'another-id'):
        cluster.arrival('images', name)
        cluster.has_image('images', name)
    assert library.opened == 0


def test_an_image_that_has_lost_its_name_is_absent(cluster, library):
    # As in the trash, where it keeps its header.
    images = library.pools['images']
    images['renamed'] = images.pop(IMAGE)
    assert cluster.arrival('images', IMAGE) == arrival.ABSENT


@pytest.mark.parametrize('method', ['get_snapcontext', 'get_size'])
def test_an_image_removed_while_we_look_is_absent(cluster, library, method):
    library.faults[method] = rados.ObjectNotFound('error', errno=2)
    library.pools['images'][IMAGE] = librados.Image()
    assert cluster.arrival('images', IMAGE) == arrival.ABSENT


@pytest.mark.parametrize('method', METHODS)
def test_an_answer_that_is_not_understood_hides_arrivals(
    cluster, library, method
):
    if method != 'get_snapshot_name':
        library.pools['images'][IMAGE] = librados.Image()
    library.answers[method] = b'\xff\xff\xff'
    with pytest.raises(arrival.ArrivalsHidden, match='not understood'):
        cluster.arrival('images', IMAGE)


@pytest.mark.parametrize('code', [errno.EOPNOTSUPP, errno.ERANGE])
@pytest.mark.parametrize('method', METHODS)
def test_a_question_that_the_osds_cannot_answer_hides_arrivals(
    cluster, library, method, code
):
    # They do not know the method, or its answer is longer than any we expect.
    if method != 'get_snapshot_name':
        library.pools['images'][IMAGE] = librados.Image()
    library.faults[method] = rados.OSError('failed to call', errno=code)
    with pytest.raises(
        arrival.ArrivalsHidden, match=f'not understood.*{method}'
    ):
        cluster.arrival('images', IMAGE)


def test_arrivals_in_a_pool_that_we_may_not_read_are_hidden(cluster, library):
    library.unreadable.add('images')
    with pytest.raises(arrival.ArrivalsHidden, match='images'):
        cluster.arrival('images', IMAGE)


def test_arrivals_in_a_pool_that_is_not_there_are_hidden(cluster):
    with pytest.raises(arrival.ArrivalsHidden, match='no pool golden'):
        cluster.arrival('golden', IMAGE)


@pytest.mark.parametrize('operation', ['pool', *METHODS])
def test_an_arrival_that_cannot_be_seen_now_is_the_clusters_fault(
    cluster, library, operation
):
    if operation != 'get_snapshot_name':
        library.pools['images'][IMAGE] = librados.Image()
    library.faults[operation] = rados.TimedOut('error', errno=110)
    with pytest.raises(exceptions.ClusterUnreachable):
        cluster.arrival('images', IMAGE)


@pytest.mark.parametrize('fault', FAULTS.values(), ids=FAULTS)
def test_a_connection_that_fails_hides_no_arrivals(cluster, library, fault):
    # "No such pool" and "no such monitor" are the same error of librados.
    library.faults['connect'] = fault
    with pytest.raises(exceptions.ClusterUnreachable):
        cluster.arrival('images', IMAGE)


# Leases


def hold(cluster, owner='one', seconds=10):
    return cluster.hold_lease('vms', 'lease-of-an-image', owner, seconds)


@pytest.fixture
def another(library):
    """The cluster, as another host has it."""
    del library
    return ceph.Cluster('/etc/ceph/west.conf', 'nova', 5, {})


def test_a_lease_is_one_hosts_at_a_time(cluster, another):
    assert hold(cluster)
    assert not hold(another)


def test_two_hosts_that_call_themselves_alike_are_two(cluster, another):
    assert hold(cluster, 'one')
    assert not hold(another, 'one')


def test_whoever_has_a_lease_may_renew_it(cluster, another, library):
    assert hold(cluster)
    library.now += 6
    assert hold(cluster)
    library.now += 6
    assert not hold(another)


def test_a_lease_that_is_not_renewed_runs_out(cluster, another, library):
    assert hold(cluster)
    library.now += 10
    assert hold(another)
    assert not hold(cluster)


def test_a_lease_that_is_given_back_is_free_and_its_object_gone(
    cluster, another, library
):
    assert hold(cluster)
    cluster.release_lease('vms', 'lease-of-an-image')
    assert library.locks == {}
    assert hold(another)


def test_a_lease_is_there_until_it_is_given_back(cluster, another, library):
    def is_there():
        return another.has_lease('vms', 'lease-of-an-image')

    assert not is_there()
    assert hold(cluster)
    assert is_there()
    library.now += 11
    assert is_there()
    cluster.release_lease('vms', 'lease-of-an-image')
    assert not is_there()


def test_a_lease_that_somebody_has_removed_may_be_given_back(cluster):
    cluster.release_lease('vms', 'lease-of-an-image')


def release(cluster):
    cluster.release_lease('vms', 'lease-of-an-image')


@pytest.mark.parametrize('call', [hold, release])
def test_a_lease_in_a_pool_that_we_may_not_write_to_names_the_cap(
    cluster, library, call
):
    library.read_only.add('vms')
    with pytest.raises(exceptions.PoolUnusable, match='profile rbd pool=vms'):
        call(cluster)


@pytest.mark.parametrize('call', [hold, release])
def test_a_lease_in_a_pool_that_is_not_there_names_it(cluster, library, call):
    del library.pools['vms']
    with pytest.raises(exceptions.PoolUnusable, match='vms'):
        call(cluster)


@pytest.mark.parametrize(
    'fault',
    [*FAULTS.values(), rados.OSError('no such class', errno=95)],
    ids=[*FAULTS, 'unknown class'],
)
@pytest.mark.parametrize('operation', ['pool', 'lock_exclusive'])
def test_a_lease_that_cannot_be_had_now_is_the_hosts_fault(
    cluster, library, operation, fault
):
    library.faults[operation] = fault
    with pytest.raises(exceptions.HostError):
        hold(cluster)


# What is opened is closed


@pytest.mark.parametrize('fault', [None, *FAULTS.values()])
@pytest.mark.parametrize(
    'operation',
    ['clone', 'stat', 'get_snapcontext', 'lock_exclusive', 'remove_object'],
)
def test_whatever_happens_all_is_closed(cluster, library, operation, fault):
    if fault is not None:
        library.faults[operation] = fault
    for call in (
        lambda: cluster.clone(SOURCE, 'vms', DISK),
        lambda: cluster.arrival('images', IMAGE),
        lambda: cluster.has_image('images', IMAGE),
        lambda: hold(cluster),
        lambda: release(cluster),
    ):
        with contextlib.suppress(exceptions.HostError, arrival.ArrivalsHidden):
            call()
    assert library.open == 0


# For Nova's own calls


@pytest.mark.parametrize('fault', [*FAULTS.values(), *RBD_FAULTS.values()])
def test_whatever_nova_meets_is_the_clusters_fault(cluster, fault):
    with pytest.raises(exceptions.ClusterUnreachable), cluster.errors():
        raise fault


def test_what_nova_may_not_do_in_its_own_pool_names_the_cap(cluster):
    denied = rbd.PermissionError('error opening image', errno=1)
    with (
        pytest.raises(exceptions.PoolUnusable, match='profile rbd pool=vms'),
        cluster.errors('vms'),
    ):
        raise denied


@pytest.mark.parametrize('fault', RBD_FAULTS.values(), ids=RBD_FAULTS)
def test_any_other_fault_is_none_of_the_pool(cluster, fault):
    with (
        pytest.raises(exceptions.ClusterUnreachable),
        cluster.errors('vms'),
    ):
        raise fault


@pytest.mark.parametrize(
    ('fault', 'reason'),
    [
        (rbd.ImageNotFound('error', errno=2), 'it cannot be opened'),
        (rbd.ImageExists('error', errno=17), 'already exists'),
        (rbd.ImageBusy('error', errno=16), 'busy'),
    ],
    ids=['not found', 'exists', 'busy'],
)
def test_what_is_of_the_disk_names_the_disk(cluster, fault, reason):
    with (
        pytest.raises(
            exceptions.DiskUnusable, match=f'a-disk in pool vms .*{reason}'
        ),
        cluster.errors('vms', 'a-disk'),
    ):
        raise fault


@pytest.mark.parametrize(
    'fault', [fault for name, fault in RBD_FAULTS.items() if name != 'busy']
)
def test_what_is_not_is_none_of_the_disk(cluster, fault):
    with (
        pytest.raises(exceptions.ClusterUnreachable),
        cluster.errors('vms', 'a-disk'),
    ):
        raise fault


def test_what_is_not_cephs_passes_the_door(cluster):
    with pytest.raises(KeyError), cluster.errors():
        raise KeyError


def test_a_pool_is_opened_on_the_one_connection(cluster, library):
    pool = cluster.open_pool('vms')
    assert pool.ioctx.pool == 'vms'
    cluster.close_pool(pool)
    assert library.open == 0
    assert library.shut_down == 0
    assert len(library.connections) == 1


def test_a_pool_that_is_not_there_cannot_be_opened(cluster):
    with pytest.raises(exceptions.PoolUnusable, match='golden'):
        cluster.open_pool('golden')


def test_monitors_are_hosts_and_ports(cluster, library):
    library.monitors = ['192.0.2.1:6789/0', '[2001:db8::1]:3300/0']
    assert cluster.monitors() == [
        ('192.0.2.1', '6789'),
        ('[2001:db8::1]', '3300'),
    ]


@pytest.mark.parametrize('fault', FAULTS.values(), ids=FAULTS)
def test_monitors_that_do_not_answer_are_unreachable(cluster, library, fault):
    library.faults['monitors'] = fault
    with pytest.raises(exceptions.ClusterUnreachable):
        cluster.monitors()


def test_monitors_that_refuse_say_why(cluster, library):
    library.faults['monitors say'] = Exception('access denied')
    with pytest.raises(exceptions.ClusterRefused, match='access denied'):
        cluster.monitors()


def test_monitors_of_which_none_has_an_address_are_the_clusters_fault(
    cluster, library
):
    library.monitors = ['0.0.0.0:0/1']
    with pytest.raises(exceptions.ClusterUnreachable, match='no address'):
        cluster.monitors()


# What a host is checked for


@pytest.mark.parametrize(
    ('clone_format', 'least_client', 'version'),
    [
        ('auto', 'luminous', 1),
        ('auto', 'mimic', 2),
        ('auto', 'reef', 2),
        ('1', 'reef', 1),
        ('2', 'luminous', 2),
    ],
)
def test_the_version_of_clones_goes_by_option_and_oldest_client(
    cluster, library, clone_format, least_client, version
):
    library.clone_format = clone_format
    library.least_client = least_client
    assert cluster.clone_version() == version


def test_new_disks_are_checked_and_none_is_made(cluster, library):
    cluster.check_new_disks('vms')
    assert library.pools['vms'] == {}


def test_new_disks_where_we_may_not_write_are_refused(cluster, library):
    library.read_only = {'vms'}
    with pytest.raises(exceptions.PoolUnusable, match='pool=vms'):
        cluster.check_new_disks('vms')


def test_new_disks_in_a_pool_that_is_not_there_are_refused(cluster):
    with pytest.raises(exceptions.PoolUnusable, match='no such pool'):
        cluster.check_new_disks('nope')


def test_new_disks_whose_data_pool_is_not_for_us_are_refused(cluster, library):
    library.data_pool = 'vms-data'
    library.pools['vms-data'] = {}
    library.read_only = {'vms-data'}
    with pytest.raises(exceptions.DataPoolUnusable, match='vms-data'):
        cluster.check_new_disks('vms')


def test_an_image_that_can_be_read_is_well(cluster):
    cluster.check_image(SOURCE)


@pytest.mark.parametrize('change', [{'image': 'none'}, {'pool': 'nope'}])
def test_an_image_that_is_not_there_is_missing(cluster, change):
    with pytest.raises(ceph.SourceMissing):
        cluster.check_image(dataclasses.replace(SOURCE, **change))


def test_an_image_that_has_gone_since_is_missing(cluster, library):
    cluster.check_image(SOURCE)
    library.pools['images'].clear()
    with pytest.raises(ceph.SourceMissing):
        cluster.check_image(SOURCE)


def test_an_image_whose_data_pool_is_not_for_us_is_denied(cluster, library):
    library.pools['images-data'] = {}
    library.pools['images'][IMAGE].data_pool = 'images-data'
    library.unreadable = {'images-data'}
    with pytest.raises(ceph.SourceDenied) as raised:
        cluster.check_image(SOURCE)
    assert raised.value.pool == 'images-data'


def test_images_of_a_pool_are_told_with_their_sizes(cluster, library):
    library.pools['images'] = {
        'one': librados.Image(size=MIB),
        'other': librados.Image(size=GIB),
        'third': librados.Image(size=GIB),
    }
    assert cluster.sizes('images', 2) == {'one': MIB, 'other': GIB}


def test_an_image_that_has_gone_meanwhile_has_no_size(cluster, library):
    library.pools['images'][IMAGE].parts = frozenset({'rbd_id'})
    assert cluster.sizes('images', 9) == {IMAGE: 0}


def test_images_of_a_pool_that_is_not_for_us_are_hidden(cluster, library):
    library.unreadable = {'images'}
    with pytest.raises(arrival.ArrivalsHidden, match='no right'):
        cluster.sizes('images', 9)
    with pytest.raises(arrival.ArrivalsHidden, match='no pool'):
        cluster.sizes('nope', 9)


def test_a_connection_that_is_closed_is_shut_down(cluster, library):
    cluster.fsid()
    cluster.close()
    assert library.shut_down == 1


def test_connections_that_were_given_up_are_counted(cluster, library):
    library.faults['fsid'] = FAULTS['blocklisted']
    with pytest.raises(exceptions.ClusterUnreachable):
        cluster.fsid()
    assert cluster.connections_given_up() == {'lost': 1, 'refused': 0}
