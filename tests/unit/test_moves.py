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

"""Servers that move: what is refused, and what becomes of their disks.

The host of these tests is in west.
"""

import dataclasses
import datetime
import logging
import types

from nova import context
from nova import exception
from nova import objects
from nova.compute import task_states
from nova.compute import utils as compute_utils
from nova.compute import vm_states
import nova.conf
import pytest

from nova_rbd_multistore import exceptions
from nova_rbd_multistore import moves
from nova_rbd_multistore import site
from tests.fakes import disks

SERVER = '00000000-0000-4000-8000-000000000000'
IMAGE = '00000002-0000-4000-8000-000000000000'
DISK = ('vms', f'{SERVER}_disk')
EPHEMERAL = ('disk.eph0', 'disk.local')
WHEN = datetime.datetime(2026, 11, 25, tzinfo=datetime.UTC)


class Database:
    """Nova's database, as one host asks it.

    :ivar clusters: which each host has told, by its name
    :ivar volume_backed: whether the server's root disk is a volume
    :ivar destination: the host that the server is resized to
    :ivar source: the one that it is resized from
    :ivar across_cells: whether that one is in another cell
    """

    def __init__(self):
        self.clusters = {'east-1': 'fsid-east', 'west-2': 'fsid-west'}
        self.volume_backed = False
        self.destination = 'east-1'
        self.source = 'west-1'
        self.across_cells = False

    def node(self, context, name, node):
        assert context.is_admin
        assert node == f'node-of-{name}'
        if name not in self.clusters:
            raise exception.ComputeHostNotFound(host=name)
        cluster = self.clusters[name]
        return types.SimpleNamespace(
            stats=site.Site(cluster).to_stats() if cluster else None
        )

    def migration(self, context, number, server):
        assert context.is_admin
        assert (number, server) == (7, SERVER)
        return types.SimpleNamespace(
            source_compute=self.source,
            source_node=f'node-of-{self.source}',
            dest_compute=self.destination,
            dest_node=f'node-of-{self.destination}',
            cross_cell_move=self.across_cells,
        )

    def is_volume_backed(self, context, instance):
        assert context.is_admin
        assert instance.uuid == SERVER
        return self.volume_backed


@pytest.fixture
def database(monkeypatch):
    objects.register_all()
    database = Database()
    monkeypatch.setattr(
        objects.ComputeNode, 'get_by_host_and_nodename', database.node
    )
    monkeypatch.setattr(
        objects.Migration, 'get_by_id_and_instance', database.migration
    )
    monkeypatch.setattr(
        compute_utils, 'is_volume_backed_instance', database.is_volume_backed
    )
    return database


@pytest.fixture(autouse=True)
def west(this_host, database, options, monkeypatch):
    """The cluster of this host, with nothing of the server."""
    del database
    options.config(host='west-1')
    monkeypatch.setattr(moves.disks, 'RBDDriver', disks.Disks)
    return this_host.cluster


@pytest.fixture
def to_new_disk(options):
    options.config(group='rbd_multistore', evacuate_to_new_disk=True)


def server(
    host='east-1',
    *,
    task=None,
    vm=vm_states.ACTIVE,
    ran=True,
    ephemeral=0,
    swap=0,
    config_drive='',
):
    return objects.Instance(
        uuid=SERVER,
        host=host,
        node=f'node-of-{host}',
        task_state=task,
        vm_state=vm,
        launched_at=WHEN if ran else None,
        flavor=objects.Flavor(ephemeral_gb=ephemeral, swap=swap),
        config_drive=config_drive,
        image_ref=IMAGE,
        system_metadata={},
        migration_context=objects.MigrationContext(migration_id=7),
    )


def warnings(caplog):
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING
    ]


# Servers that come


def test_a_server_whose_host_has_another_cluster_does_not_come(west):
    with pytest.raises(exceptions.DiskElsewhere) as caught:
        moves.check_arrival(server())
    assert 'in Ceph cluster fsid-east' in str(caught.value)
    assert 'the new host has fsid-west' in str(caught.value)
    assert west.disks == {}


def test_a_disk_of_the_same_name_is_not_taken_for_the_server_s(west):
    west.disks[DISK] = None
    with pytest.raises(exceptions.DiskElsewhere):
        moves.check_arrival(server())


def test_a_server_of_our_cluster_comes(west):
    west.disks[DISK] = None
    moves.check_arrival(server('west-2'))


@pytest.mark.parametrize('host', ['west-2', 'unknown', 'silent'])
def test_a_server_without_a_disk_here_does_not_come(database, host):
    database.clusters['silent'] = ''
    with pytest.raises(exceptions.DiskMissing, match='fsid-west'):
        moves.check_arrival(server(host))


@pytest.mark.parametrize('host', ['unknown', 'silent'])
def test_a_server_of_a_host_that_tells_no_cluster_is_known_by_its_disk(
    database, west, host
):
    database.clusters['silent'] = ''
    west.disks[DISK] = None
    moves.check_arrival(server(host))


def test_a_server_of_volumes_comes_from_anywhere(database):
    database.volume_backed = True
    moves.check_arrival(server())


def test_a_server_of_volumes_with_an_ephemeral_disk_does_not(database, west):
    database.volume_backed = True
    with pytest.raises(exceptions.DiskElsewhere):
        moves.check_arrival(server(ephemeral=1))
    west.disks['vms', f'{SERVER}_{EPHEMERAL[0]}'] = None
    moves.check_arrival(server('west-2', ephemeral=1))


@pytest.mark.parametrize('volume_backed', [False, True])
@pytest.mark.parametrize('host', ['west-2', 'unknown', 'silent'])
def test_an_ephemeral_disk_has_to_be_here_as_well(
    database, west, host, volume_backed
):
    database.clusters['silent'] = ''
    database.volume_backed = volume_backed
    if not volume_backed:
        west.disks[DISK] = None
    with pytest.raises(exceptions.DiskMissing, match=EPHEMERAL[0]):
        moves.check_arrival(server(host, ephemeral=1))


@pytest.mark.parametrize('name', EPHEMERAL)
def test_by_either_name_that_nova_has_for_it_the_server_is_known(
    database, west, name
):
    database.clusters['silent'] = ''
    database.volume_backed = True
    west.disks['vms', f'{SERVER}_{name}'] = None
    moves.check_arrival(server('silent', ephemeral=1))


@pytest.mark.parametrize('host', ['unknown', 'silent'])
def test_where_its_host_tells_no_cluster_a_warning_says_so(
    database, west, caplog, host
):
    database.clusters['silent'] = ''
    west.disks[DISK] = None
    moves.check_arrival(server(host))
    (line,) = warnings(caplog)
    assert f'Host {host} has not told its Ceph cluster' in line


def test_where_it_does_nothing_is_said(west, caplog):
    west.disks[DISK] = None
    moves.check_arrival(server('west-2'))
    assert warnings(caplog) == []


def test_a_server_that_never_ran_has_nothing_to_lose():
    moves.check_arrival(server(ran=False))


# Servers that come alive


MADE_ANEW = [{'swap': 512}, {'config_drive': 'True'}]


@pytest.mark.parametrize('disks', MADE_ANEW)
def test_no_running_guest_comes_whose_swap_or_config_drive_is_elsewhere(
    database, disks
):
    database.volume_backed = True
    with pytest.raises(exceptions.DiskElsewhere):
        moves.check_live_arrival(server(**disks))


@pytest.mark.parametrize('disks', MADE_ANEW)
def test_within_the_cluster_it_comes(database, disks):
    database.volume_backed = True
    moves.check_live_arrival(server('west-2', **disks))


@pytest.mark.parametrize('disks', MADE_ANEW)
def test_one_that_is_stopped_for_it_comes_from_anywhere(database, disks):
    # Nova makes them anew.
    database.volume_backed = True
    moves.check_arrival(server(**disks))


def test_a_running_guest_of_volumes_alone_comes_from_anywhere(database):
    database.volume_backed = True
    moves.check_live_arrival(server())


def test_a_running_guest_with_data_elsewhere_does_not_come(west):
    west.disks[DISK] = None
    with pytest.raises(exceptions.DiskElsewhere):
        moves.check_live_arrival(server())
    moves.check_live_arrival(server('west-2'))


# Servers that go


def test_a_server_is_not_resized_to_a_host_of_another_cluster():
    with pytest.raises(exceptions.DiskElsewhere) as caught:
        moves.check_departure(server('west-1'))
    assert 'in Ceph cluster fsid-west' in str(caught.value)
    assert 'the new host has fsid-east' in str(caught.value)


@pytest.mark.parametrize('host', ['west-2', 'unknown', 'silent'])
def test_a_server_is_resized_to_any_other_host(database, host):
    database.clusters['silent'] = ''
    database.destination = host
    moves.check_departure(server('west-1'))


def test_a_server_of_volumes_goes_anywhere(database):
    database.volume_backed = True
    moves.check_departure(server('west-1'))


@pytest.fixture
def snapshots(this_host, monkeypatch):
    """Those of the disks, by the names of both."""
    driver = disks.Disks(this_host.cluster)
    monkeypatch.setattr(moves.disks, 'RBDDriver', lambda _cluster: driver)
    return driver.snapshots


def test_what_an_earlier_resize_has_left_is_in_no_later_one_s_way(
    snapshots, caplog
):
    backup = (f'{SERVER}_disk', 'backup')
    snapshots.update({(f'{SERVER}_disk', 'nova-resize'), backup})
    moves.forget_earlier_resize(server('west-1'))
    assert snapshots == {backup}
    (line,) = warnings(caplog)
    assert f'nova-resize of disk {SERVER}_disk in pool vms' in line


def test_a_snapshot_of_somebody_s_stays(snapshots, caplog):
    backup = (f'{SERVER}_disk', 'backup')
    snapshots.add(backup)
    moves.forget_earlier_resize(server('west-1'))
    assert snapshots == {backup}
    assert warnings(caplog) == []


def test_of_a_root_disk_that_is_a_volume_nothing_is_looked_for(database, west):
    # That disk alone gets such a snapshot, whatever else the server has.
    database.volume_backed = True
    west.away = True
    moves.forget_earlier_resize(server('west-1', ephemeral=1, swap=512))


# Servers that come from another cell


@pytest.mark.parametrize(
    'name', ['disk', 'disk.config', 'disk.eph0', 'disk.local', 'disk.swap']
)
def test_a_cell_that_shares_the_cluster_of_another_takes_no_disk_of_it(
    west, name
):
    west.disks['vms', f'{SERVER}_{name}'] = None
    with pytest.raises(exceptions.DiskOfAnotherCell) as caught:
        moves.check_new_cell(server(task=task_states.RESIZE_FINISH))
    assert f'Disk {SERVER}_{name} in pool vms' in str(caught.value)


def test_a_cell_of_another_cluster_has_none(west):
    west.disks['vms', '00000001-0000-4000-8000-000000000000_disk'] = None
    moves.check_new_cell(server(task=task_states.RESIZE_FINISH))


# What a server on volumes leaves behind


VOLUMES = {'swap': 512, 'config_drive': 'True'}
ANEW = ['disk.config', 'disk.swap']
LEFT = [*ANEW, 'disk.config.rescue', 'disk.swap.import-0123abcd']
OTHER = ('vms', '00000001-0000-4000-8000-000000000000_disk.config')


@pytest.fixture
def on_volumes(database, west):
    """Disks of a server on volumes, with a config drive and a swap disk."""
    database.volume_backed = True
    west.disks.update({('vms', f'{SERVER}_{name}'): None for name in LEFT})
    west.disks[OTHER] = None


def test_a_server_on_volumes_leaves_nothing_in_the_cluster_it_came_from(
    database, west, on_volumes
):
    migration = database.migration(context.get_admin_context(), 7, SERVER)
    moves.clean_up_after(server(**VOLUMES), migration)
    assert list(west.disks) == [OTHER]


@pytest.mark.parametrize('host', ['west-1', 'west-2', 'unknown', 'silent'])
def test_it_leaves_its_disks_where_it_may_go_on_with_them(
    database, west, on_volumes, host
):
    database.clusters.update({'silent': '', 'west-1': 'fsid-west'})
    database.destination = host
    migration = database.migration(context.get_admin_context(), 7, SERVER)
    moves.clean_up_after(server('west-2', **VOLUMES), migration)
    assert len(west.disks) == 1 + len(LEFT)


def test_a_move_that_is_reverted_leaves_nothing_here_either(
    database, west, on_volumes
):
    database.source, database.destination = 'east-1', 'west-1'
    migration = database.migration(context.get_admin_context(), 7, SERVER)
    moves.clean_up_after(server('west-1', **VOLUMES), migration)
    assert list(west.disks) == [OTHER]


def test_nor_does_one_from_another_cell_that_is_reverted(
    database, west, on_volumes
):
    """Of whose nodes this cell knows nothing."""
    database.source, database.destination = 'unknown', 'west-1'
    database.across_cells = True
    migration = database.migration(context.get_admin_context(), 7, SERVER)
    moves.clean_up_after(server('west-1', **VOLUMES), migration)
    assert list(west.disks) == [OTHER]


@pytest.mark.parametrize('name', ['disk', *EPHEMERAL])
def test_what_may_have_data_is_never_removed(database, west, on_volumes, name):
    kept = ('vms', f'{SERVER}_{name}')
    west.disks[kept] = None
    migration = database.migration(context.get_admin_context(), 7, SERVER)
    moves.clean_up_after(server(**VOLUMES), migration)
    assert set(west.disks) == {OTHER, kept}


def test_it_does_not_go_on_with_what_it_has_left_here_once(
    database, west, on_volumes
):
    database.source, database.destination = 'east-1', 'west-1'
    migration = database.migration(context.get_admin_context(), 7, SERVER)
    moves.make_way(server('west-1', **VOLUMES), migration)
    assert list(west.disks) == [OTHER]


@pytest.mark.parametrize('host', ['west-2', 'unknown', 'silent'])
def test_from_its_own_cluster_it_comes_with_its_disks(
    database, west, on_volumes, host
):
    database.clusters['silent'] = ''
    database.source, database.destination = host, 'west-1'
    migration = database.migration(context.get_admin_context(), 7, SERVER)
    moves.make_way(server('west-1', **VOLUMES), migration)
    assert len(west.disks) == 1 + len(LEFT)


def test_on_volumes_alone_it_does_not_need_our_cluster(database, west):
    database.volume_backed = True
    database.source, database.destination = 'east-1', 'west-1'
    west.away = True
    migration = database.migration(context.get_admin_context(), 7, SERVER)
    moves.make_way(server('west-1'), migration)


def test_an_evacuation_does_not_go_on_with_them_either(west, on_volumes):
    assert moves.goes_on_with_its_disk(server(**VOLUMES))
    assert list(west.disks) == [OTHER]


def test_within_the_cluster_it_does(west, on_volumes):
    assert moves.goes_on_with_its_disk(server('west-2', **VOLUMES))
    assert len(west.disks) == 1 + len(LEFT)


def test_a_guest_that_still_has_one_of_them_open_is_left_alone(
    west, on_volumes
):
    swap = ('vms', f'{SERVER}_disk.swap')
    west.clients[swap] = ['192.0.2.7:0/1']
    with pytest.raises(exceptions.DiskNotRemoved, match='has it open'):
        moves.goes_on_with_its_disk(server(**VOLUMES))
    assert swap in west.disks


# Evacuations


def test_an_evacuation_to_another_cluster_is_refused(caplog):
    with pytest.raises(exceptions.DiskElsewhere):
        moves.goes_on_with_its_disk(server())
    assert warnings(caplog) == []


def test_an_evacuation_within_the_cluster_goes_on_with_the_disk(
    west, caplog, to_new_disk
):
    del to_new_disk
    west.disks[DISK] = None
    assert moves.goes_on_with_its_disk(server('west-2'))
    assert west.disks == {DISK: None}
    assert warnings(caplog) == []


@pytest.mark.usefixtures('to_new_disk')
@pytest.mark.parametrize('host', ['east-1', 'west-2'])
def test_where_the_operator_says_so_a_server_gets_a_new_disk(caplog, host):
    assert not moves.goes_on_with_its_disk(server(host))
    (line,) = warnings(caplog)
    assert 'Evacuating to a new disk' in line
    assert 'fsid-west' in line


@pytest.mark.usefixtures('to_new_disk')
def test_the_disk_that_it_had_here_once_is_not_mixed_up_with_the_new_one(
    west, caplog
):
    local = ('vms', f'{SERVER}_disk.local')
    others = ('vms', '00000001-0000-4000-8000-000000000000_disk')
    west.disks.update(dict.fromkeys([DISK, local, others]))
    assert not moves.goes_on_with_its_disk(server())
    left = {name for _, name in west.disks}
    assert len(left) == 3
    assert {others[1]} == {name for name in left if 'aside' not in name}
    assert len([line for line in warnings(caplog) if 'is now' in line]) == 2


@pytest.mark.usefixtures('to_new_disk')
def test_a_cluster_that_does_not_answer_is_not_taken_for_one_without_the_disk(
    west,
):
    west.away = True
    with pytest.raises(exceptions.ClusterUnreachable):
        moves.goes_on_with_its_disk(server())


# Evacuations of guests that still run


GUEST = '192.0.2.7:0/1234'
#: Seconds after which Ceph shows no client any more that has died.
GONE = 30


@pytest.fixture
def open_disk(west):
    """Opens a disk of the server, in a guest on its old host."""

    def open_it(name='disk'):
        disk = ('vms', f'{SERVER}_{name}')
        west.disks[disk] = None
        west.clients[disk] = [GUEST]

    west.disks[DISK] = None
    return open_it


def test_an_evacuation_of_a_guest_that_still_runs_is_refused(
    west, cloud, open_disk
):
    open_disk()
    with pytest.raises(exceptions.DiskStillOpen, match=DISK[1]) as caught:
        moves.goes_on_with_its_disk(server('west-2'))
    # The owner of a server reads it.
    assert GUEST not in str(caught.value)
    assert sum(cloud.clock.naps) > GONE
    assert west.disks == {DISK: None}


def test_an_evacuation_of_a_host_that_has_just_died_waits_for_its_watch_to_end(
    west, cloud, open_disk, caplog
):
    caplog.set_level(logging.INFO)
    open_disk()
    cloud.clock.after(GONE, west.clients.clear)
    assert moves.goes_on_with_its_disk(server('west-2'))
    assert GONE <= sum(cloud.clock.naps) < GONE + 5
    (line,) = [line for line in caplog.messages if GUEST in line]
    assert DISK[1] in line


def test_one_whose_guest_is_gone_does_not_wait(cloud, open_disk):
    del open_disk
    assert moves.goes_on_with_its_disk(server('west-2'))
    assert cloud.clock.naps == []


@pytest.mark.parametrize(
    'name', [*EPHEMERAL, 'disk.swap', 'disk.config', 'disk.rescue']
)
def test_any_disk_of_it_tells_that_its_guest_runs(open_disk, name):
    open_disk(name)
    with pytest.raises(exceptions.DiskStillOpen, match=name):
        moves.goes_on_with_its_disk(server('west-2'))


def test_so_does_the_swap_disk_of_a_server_on_volumes(database, open_disk):
    database.volume_backed = True
    open_disk('disk.swap')
    with pytest.raises(exceptions.DiskStillOpen, match=r'disk\.swap'):
        moves.goes_on_with_its_disk(server('west-2', swap=512))


def test_a_server_on_volumes_alone_does_not_need_our_cluster(database, west):
    database.volume_backed = True
    west.away = True
    assert moves.goes_on_with_its_disk(server('west-2'))


def test_all_its_disks_together_are_waited_for_no_longer_than_one(
    cloud, open_disk
):
    open_disk()
    open_disk('disk.swap')
    with pytest.raises(exceptions.DiskStillOpen):
        moves.goes_on_with_its_disk(server('west-2'))
    assert sum(cloud.clock.naps) < 2 * GONE


def test_a_host_that_stops_ends_the_wait(this_host, open_disk):
    def stop(_seconds):
        raise exceptions.HostStopping()

    this_host.time = dataclasses.replace(this_host.time, sleep=stop)
    open_disk()
    with pytest.raises(exceptions.HostStopping):
        moves.goes_on_with_its_disk(server('west-2'))


@pytest.mark.usefixtures('to_new_disk')
def test_a_disk_that_is_open_is_not_taken_for_one_that_is_lost(
    west, open_disk
):
    open_disk()
    with pytest.raises(exceptions.DiskStillOpen):
        moves.goes_on_with_its_disk(server('west-2'))
    assert west.disks == {DISK: None}


# Disks that are made


NEW = [
    {'ran': False, 'vm': vm_states.BUILDING, 'task': task_states.SPAWNING},
    {'vm': vm_states.SHELVED_OFFLOADED, 'task': task_states.SPAWNING},
    {'host': 'west-1', 'task': task_states.REBUILD_SPAWNING},
    {'host': 'west-1', 'task': task_states.RESCUING},
]

#: An evacuation; a resize, or a migration, within a cell and across cells; a
#: resize that is reverted; whatever Nova may think of.
OLD = [
    {'task': task_states.REBUILD_SPAWNING},
    {'task': task_states.RESIZE_FINISH},
    {'host': 'west-1', 'task': task_states.RESIZE_FINISH},
    {'host': 'west-1', 'task': task_states.RESIZE_REVERTING},
    {'host': 'west-1', 'task': task_states.MIGRATING},
    {'host': 'west-1', 'task': task_states.SPAWNING},
    {'host': 'west-1', 'task': None},
]


@pytest.mark.parametrize('state', NEW)
def test_a_disk_is_made_for_whom_it_is_new(state):
    assert moves.may_have_new_disk(server(**state))


@pytest.mark.parametrize('state', OLD)
def test_no_disk_is_made_for_whom_has_one(state):
    assert not moves.may_have_new_disk(server(**state))


@pytest.mark.parametrize('state', NEW)
def test_so_is_an_ephemeral_disk(state):
    assert moves.may_have_new_ephemeral_disk(server(ephemeral=1, **state))


@pytest.mark.parametrize('state', OLD)
def test_none_is_made_for_whom_has_an_ephemeral_disk(state):
    moved = server(ephemeral=1, **state)
    moved.old_flavor = moved.flavor
    assert not moves.may_have_new_ephemeral_disk(moved)


def test_one_is_made_for_whom_a_resize_gives_the_first():
    resized = server(task=task_states.RESIZE_FINISH, ephemeral=1)
    resized.old_flavor = objects.Flavor(ephemeral_gb=0)
    assert moves.may_have_new_ephemeral_disk(resized)


@pytest.mark.usefixtures('to_new_disk')
def test_where_the_operator_says_so_one_is_made_in_an_evacuation_alone():
    assert moves.may_have_new_disk(server(task=task_states.REBUILD_SPAWNING))
    assert not moves.may_have_new_disk(server(task=task_states.RESIZE_FINISH))


def test_the_option_is_off_by_default(options):
    del options
    assert not nova.conf.CONF.rbd_multistore.evacuate_to_new_disk
