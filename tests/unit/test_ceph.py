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
import errno

import pytest
import rados
import rbd

from nova_rbd_multistore import arrival
from nova_rbd_multistore import ceph
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import location
from tests.fakes import librados

MIB = 1024 * 1024
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
    del library
    return ceph.Cluster(
        '/etc/ceph/west.conf', 'nova', 5, {'rados_osd_op_timeout': '30'}
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
    assert connection['conffile'] == rados.Rados.DEFAULT_CONF_FILES


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


def test_a_connection_that_failed_is_shut_down(cluster, library):
    library.faults['connect'] = rados.TimedOut('error', errno=110)
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


def test_a_time_out_keeps_the_connection(cluster, library):
    library.faults['fsid'] = rados.TimedOut('error', errno=110)
    with pytest.raises(exceptions.ClusterUnreachable):
        cluster.fsid()
    library.faults.clear()
    assert cluster.fsid() == 'fsid-west'
    assert len(library.connections) == 1


@pytest.mark.parametrize(
    ('operation', 'fault'),
    [
        ('fsid', rados.ConnectionShutdown('error', errno=108)),
        ('clone', rbd.ConnectionShutdown('error', errno=108)),
    ],
)
def test_a_connection_that_the_cluster_has_shut_is_opened_anew(
    cluster, library, operation, fault
):
    library.faults[operation] = fault
    call = {
        'fsid': cluster.fsid,
        'clone': lambda: cluster.clone(SOURCE, 'vms', DISK),
    }[operation]
    with pytest.raises(exceptions.ClusterUnreachable):
        call()
    library.faults.clear()
    cluster.clone(SOURCE, 'vms', DISK)
    assert len(library.connections) == 2


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


def test_what_is_not_cephs_passes_the_door(cluster):
    with pytest.raises(KeyError), cluster.errors():
        raise KeyError


def test_a_pool_is_opened_on_the_one_connection(cluster, library):
    _, ioctx = cluster.open_pool('vms')
    assert ioctx.pool == 'vms'
    ioctx.close()
    assert library.open == 0
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
    with pytest.raises(exceptions.ClusterUnreachable, match='access denied'):
        cluster.monitors()
