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

"""Nova's calls to RBD over the host's connections."""

from concurrent import futures
import contextlib
import functools
import inspect
import threading

from nova import exception
from nova import objects
import nova.conf
from nova.storage import rbd_utils
from oslo_concurrency import processutils
import pytest
import rados
import rbd

from nova_rbd_multistore import backend
from nova_rbd_multistore import compat
from nova_rbd_multistore import disks
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import host
from tests.fakes import librados


@pytest.fixture
def library(options, monkeypatch):
    del options
    library = librados.Librados()
    library.pools['vms']['disk'] = librados.Image(
        size=1024, parent=('images', 'an-id', librados.Image())
    )
    monkeypatch.setattr(rados, 'Rados', library.Rados)
    monkeypatch.setattr(rbd, 'Image', library.Image)
    monkeypatch.setattr(rbd, 'RBD', library.RBD)
    monkeypatch.setattr(rbd_utils, 'rbd', rbd)
    monkeypatch.setattr(rbd_utils, 'rados', rados)
    return library


@pytest.fixture
def driver(library):
    del library
    return disks.RBDDriver(host.this_host().cluster)


def test_all_calls_go_over_one_connection(driver, library):
    assert driver.exists('disk')
    assert driver.size('disk') == 1024
    assert driver.get_fsid() == 'fsid-west'
    assert len(library.connections) == 1


def test_it_is_the_connection_of_the_host(driver, library):
    assert host.this_host().cluster.fsid() == 'fsid-west'
    driver.exists('disk')
    assert len(library.connections) == 1


def test_a_disk_tells_its_size_and_grows_at_one_opening(driver, library):
    seen = []
    driver.grow('disk', 4096, seen.append)
    assert seen == [1024]
    assert library.opened == 1
    assert driver.size('disk') == 4096
    assert library.open == 0
    assert len(library.connections) == 1


def test_a_disk_that_is_large_enough_stays_as_it_is(driver):
    driver.grow('disk', 512, lambda _now: None)
    assert driver.size('disk') == 1024


def test_a_disk_does_not_grow_against_the_check(driver, library):
    def refuse(now):
        raise ValueError(now)

    with pytest.raises(ValueError, match='1024'):
        driver.grow('disk', 4096, refuse)
    assert driver.size('disk') == 1024
    assert library.open == 0


def test_what_a_call_opens_it_closes_but_the_connection(driver, library):
    driver.exists('disk')
    driver.exists('no disk')
    assert library.open == 0
    assert library.shut_down == 0


def test_a_failing_call_closes_what_it_opened(driver, library):
    library.faults['open'] = rbd.IOError('error', errno=5)
    with pytest.raises(rbd.IOError):
        driver.exists('disk')
    assert library.open == 0


def test_the_pool_is_novas_unless_named(driver, library):
    library.pools['images']['an-id'] = librados.Image()
    assert not driver.exists('an-id')
    assert driver.exists('an-id', pool='images')


def test_a_pool_that_is_not_there_is_the_hosts_fault(driver, library):
    del library.pools['vms']
    with pytest.raises(exceptions.PoolUnusable, match='vms'):
        driver.exists('disk')


def test_a_pool_that_we_may_not_read_is_the_hosts_fault(driver, library):
    library.unreadable.add('vms')
    with pytest.raises(exceptions.PoolUnusable, match='vms'):
        driver.exists('disk')


def test_a_disk_that_is_not_there_is_not_opened(driver, library):
    assert not driver.exists('no disk')
    assert library.opened == 0


def test_a_snapshot_of_a_disk_is_looked_for_in_the_disk(driver, library):
    assert not driver.exists('disk', snapshot='snap')
    library.pools['vms']['disk'].snapshots['snap'] = False
    assert driver.exists('disk', snapshot='snap')


def test_the_disks_of_a_server_are_set_aside_whole(driver, library):
    mine = {'a_disk': librados.Image(), 'a_disk.local': librados.Image()}
    library.pools['vms'].update(mine, ab_disk=librados.Image())
    names = driver.set_aside('a')
    assert names.keys() == mine.keys()
    for name, aside in names.items():
        assert name not in library.pools['vms']
        assert library.pools['vms'][aside] is mine[name]
        # Nova removes what begins so.
        assert not aside.startswith('a_')
    assert 'ab_disk' in library.pools['vms']
    assert library.open == 0


def test_disks_are_set_aside_twice_under_names_that_differ(driver, library):
    names = []
    for _ in range(2):
        library.pools['vms']['a_disk'] = librados.Image()
        names += driver.set_aside('a').values()
    assert len(set(names)) == 2


def test_a_server_without_disks_has_none_to_set_aside(driver):
    assert driver.set_aside('a') == {}


def test_a_cluster_that_does_not_answer_is_the_hosts_fault(driver, library):
    library.faults['connect'] = rados.TimedOut('error', errno=110)
    with pytest.raises(exceptions.ClusterUnreachable):
        driver.exists('disk')


def test_monitors_come_from_the_cluster_without_a_subprocess(driver, library):
    library.monitors = ['192.0.2.1:6789/0', '[2001:db8::1]:3300/0']
    assert driver.get_mon_addrs() == (
        ['192.0.2.1', '2001:db8::1'],
        ['6789', '3300'],
    )


def test_brackets_of_ipv6_addresses_stay_for_those_who_want_them(
    driver, library
):
    library.monitors = ['[2001:db8::1]:3300/0']
    assert driver.get_mon_addrs(strip_brackets=False) == (
        ['[2001:db8::1]'],
        ['3300'],
    )


def test_while_no_monitor_answers_they_are_where_they_were(
    driver, library, caplog
):
    before = driver.get_mon_addrs()
    library.faults['monitors'] = rados.TimedOut('error', errno=110)
    # Nova makes another for each disk.
    another = disks.RBDDriver(host.this_host().cluster)
    assert another.get_mon_addrs() == before
    (line,) = caplog.messages
    assert 'Cannot ask where the monitors are' in line


def test_monitors_that_never_answered_are_nowhere(driver, library):
    library.faults['monitors'] = rados.TimedOut('error', errno=110)
    with pytest.raises(exceptions.ClusterUnreachable):
        driver.get_mon_addrs()


def test_a_cluster_that_refuses_us_is_not_away(driver, library):
    driver.get_mon_addrs()
    library.faults['monitors'] = rados.PermissionDeniedError('error', errno=13)
    with pytest.raises(exceptions.ClusterRefused):
        driver.get_mon_addrs()


def test_the_space_comes_from_the_cluster_without_a_subprocess(driver):
    assert driver.get_pool_info() == {
        'total': 3 << 40,
        'free': 1 << 40,
        'used': 7,
    }


def test_the_space_of_a_pool_that_is_not_there_is_the_hosts_fault(
    driver, library
):
    del library.pools['vms']
    with pytest.raises(exceptions.PoolUnusable, match='vms'):
        driver.get_pool_info()


# Disks from files


class Programs:
    """In place of the programs that Nova runs.

    :ivar ran: their command lines
    :ivar fault: what running one raises, after it has begun
    """

    def __init__(self, library):
        self.ran = []
        self.fault = None
        self._library = library

    def execute(self, *command):
        self.ran.append(command)
        program, what, option, pool, _, name, *_ = command
        assert (program, what, option) == ('rbd', 'import', '--pool')
        self._library.pools[pool][name] = librados.Image(size=5)
        if self.fault is not None:
            raise self.fault


@pytest.fixture
def programs(library, monkeypatch):
    programs = Programs(library)
    monkeypatch.setattr(processutils, 'execute', programs.execute)
    return programs


def test_a_disk_from_a_file_has_its_name_when_it_is_whole(
    driver, library, programs
):
    driver.import_image('/a/file', 'disk.config')
    (command,) = programs.ran
    assert '/a/file' in command
    assert 'disk.config' not in command
    assert library.pools['vms']['disk.config'].size == 5
    assert set(library.pools['vms']) == {'disk', 'disk.config'}


def test_what_was_broken_off_is_found_by_the_name_of_the_disk(
    driver, library, programs
):
    programs.fault = processutils.ProcessExecutionError(exit_code=1)
    with pytest.raises(exceptions.ImportFailed):
        driver.import_image('/a/file', 'disk.config')
    assert not driver.exists('disk.config')
    (left,) = set(library.pools['vms']) - {'disk'}
    assert left.startswith('disk.config.')


def test_a_disk_that_is_there_is_not_replaced(driver, library, programs):
    with pytest.raises(
        exceptions.DiskUnusable, match=r'disk in pool vms .*made meanwhile'
    ):
        driver.import_image('/a/file', 'disk')
    assert library.pools['vms']['disk'].size == 1024
    # Nor is what was to replace it left.
    assert set(library.pools['vms']) == {'disk'}


def test_why_a_file_did_not_become_a_disk_is_said(driver, programs):
    programs.fault = processutils.ProcessExecutionError(
        exit_code=110,
        # As of Ceph 16, which says the last but one in any case.
        stderr='2026-11-25T22:17:36.951+0000 7fcae6d2a380  0 '
        'monclient(hunting): authenticate timed out after 5\n'
        "rbd: couldn't connect to the cluster!\n"
        'rbd: -p [ --pool ] is deprecated, use --dest-pool\n'
        '2026-11-25T22:45:30.207+0000 7f68d152a380 -1 librbd: Could not\n',
    )
    with pytest.raises(
        exceptions.ImportFailed, match="rbd: couldn't connect to the cluster"
    ):
        driver.import_image('/a/file', 'disk.config')


def test_that_there_is_no_program_is_said(driver, programs):
    programs.fault = FileNotFoundError(2, 'No such file', 'rbd')
    with pytest.raises(exceptions.ImportFailed, match='No such file'):
        driver.import_image('/a/file', 'disk.config')


def test_programs_end_when_our_connection_would(driver, library, programs):
    driver.import_image('/a/file', 'disk.config')
    (command,) = programs.ran
    for name in (
        'client_mount_timeout',
        'rados_mon_op_timeout',
        'rados_osd_op_timeout',
    ):
        (connection,) = library.connections
        assert f'--{name}={connection["conf"][name]}' in command


def test_a_download_over_rbd_is_another_users_and_ends_in_time(
    driver, library, monkeypatch
):
    monkeypatch.setattr(rbd_utils, 'RBDDriver', rbd_utils.RBDDriver)
    ran = []
    monkeypatch.setattr(
        processutils, 'execute', lambda *command: ran.append(command)
    )
    cluster = host.this_host().cluster
    disks.take_the_place_of_novas(cluster)
    rbd_utils.RBDDriver(
        user='glance',
        pool='images',
        ceph_conf='/etc/ceph/central.conf',
        connect_timeout=5,
    ).export_image('/a/file', 'an-id', 'snap', 'images')
    ((*command,),) = ran
    assert command[:2] == ['rbd', 'export']
    assert command[command.index('--id') + 1] == 'glance'
    seconds = cluster.options['rados_osd_op_timeout']
    assert f'--rados_osd_op_timeout={seconds}' in command
    assert library.connections == []


# A connection that fails

BLOCKLISTED = rbd.ConnectionShutdown('error', errno=108)

#: Nova's calls over the one connection, and an operation in each.
CALLS = {
    'open': lambda driver: driver.exists('disk'),
    'size': lambda driver: driver.size('disk'),
    'resize': lambda driver: driver.resize('disk', 4096),
    'parent_info': lambda driver: driver.parent_info('disk'),
    'fsid': lambda driver: driver.get_fsid(),
    'list': lambda driver: driver.cleanup_volumes(lambda _name: False),
}


@pytest.mark.parametrize(
    'fault',
    [BLOCKLISTED, rbd.Timeout('error', errno=110)],
    ids=['blocklisted', 'no answer'],
)
@pytest.mark.parametrize('operation', CALLS)
def test_after_a_loss_nova_s_next_call_has_a_new_connection(
    driver, library, operation, fault
):
    driver.exists('disk')
    library.faults[operation] = fault
    with pytest.raises(type(fault)):
        CALLS[operation](driver)
    library.faults.clear()
    CALLS[operation](driver)
    assert len(library.connections) == 2
    assert library.shut_down == 1
    assert library.open == 0


def test_an_open_disk_that_fails_costs_the_connection(driver, library):
    library.faults['resize'] = BLOCKLISTED
    with pytest.raises(rbd.ConnectionShutdown):
        driver.grow('disk', 4096, lambda _now: None)
    library.faults.clear()
    driver.size('disk')
    assert len(library.connections) == 2


def test_what_the_cluster_does_not_have_costs_no_connection(driver, library):
    with pytest.raises(rbd.ImageNotFound):
        driver.size('no disk')
    driver.size('disk')
    assert len(library.connections) == 1


def test_a_connection_is_not_blamed_for_what_it_cleans_up_after(
    driver, library
):
    library.faults['size'] = BLOCKLISTED
    try:
        driver.size('disk')
    except rbd.ConnectionShutdown:
        library.faults.clear()
        driver.size('disk')
    driver.size('disk')
    assert len(library.connections) == 2
    assert library.shut_down == 1


def test_a_failure_in_a_clean_up_costs_the_connection_all_the_same(
    driver, library
):
    driver.exists('disk')
    with contextlib.suppress(rbd.ConnectionShutdown):
        try:
            raise KeyError('whatever')
        except KeyError:
            library.faults['size'] = BLOCKLISTED
            driver.size('disk')
    library.faults.clear()
    driver.size('disk')
    assert len(library.connections) == 2


# What changes a disk as a whole


@pytest.fixture
def snapshot(library):
    library.pools['vms']['disk'].snapshots['snap'] = False


CHANGES = {
    'flatten': lambda driver: driver.flatten('disk'),
    'create_snap': lambda driver: driver.create_snap('disk', 'new'),
    'protect_snap': lambda driver: driver.create_snap(
        'disk', 'new', protect=True
    ),
    'remove_snap': lambda driver: driver.remove_snap('disk', 'snap'),
    'rollback_to_snap': lambda driver: driver.rollback_to_snap('disk', 'snap'),
    'clone': lambda driver: driver.clone(
        {'url': 'rbd://fsid-west/images/an-id/snap'}, 'new'
    ),
}
REMOVALS = {
    'remove_image': lambda driver: driver.remove_image('disk'),
    'destroy_volume': lambda driver: driver.destroy_volume('disk'),
    'cleanup_volumes': lambda driver: driver.cleanup_volumes(
        lambda name: name == 'disk'
    ),
}


@pytest.mark.parametrize('operation', CHANGES)
@pytest.mark.usefixtures('snapshot')
def test_what_changes_a_disk_as_a_whole_may_take_long(
    driver, library, operation
):
    library.pools['images']['an-id'] = librados.Image({'snap': True})
    CHANGES[operation](driver)
    assert (operation, 600) in library.changes
    assert {seconds for _, seconds in library.changes} == {600}
    assert library.open == 0


@pytest.mark.parametrize('remove', REMOVALS.values(), ids=REMOVALS)
def test_a_removal_may_take_long(driver, library, remove):
    library.pools['vms']['another'] = librados.Image()
    remove(driver)
    assert library.changes == [('remove', 600)]
    assert list(library.pools['vms']) == ['another']
    assert library.open == 0


def test_a_snapshot_in_the_way_of_a_removal_goes_first(
    driver, library, options
):
    options.config(group='libvirt', rbd_destroy_volume_retry_interval=0)
    library.pools['vms']['disk'].snapshots[rbd_utils.RESIZE_SNAPSHOT_NAME] = (
        False
    )
    driver.cleanup_volumes(lambda name: name == 'disk')
    assert library.changes == [('remove_snap', 600), ('remove', 600)]


def test_disks_that_nobody_will_miss_are_discarded_within_ordinary_limits(
    driver, library, options
):
    options.config(group='libvirt', rbd_destroy_volume_retry_interval=0)
    library.pools['vms'].update(
        a_disk=librados.Image({rbd_utils.RESIZE_SNAPSHOT_NAME: False}),
        ab_disk=librados.Image(),
    )
    driver.discard('a')
    limit = nova.conf.CONF.rbd_multistore.rados_osd_op_timeout
    assert library.changes == [('remove_snap', limit), ('remove', limit)]
    assert set(library.pools['vms']) == {'disk', 'ab_disk'}
    assert len(library.connections) == 1


def test_of_disks_that_are_held_none_keeps_another(driver, library, options):
    options.config(group='libvirt', rbd_destroy_volume_retry_interval=0)
    held = {
        'a_disk': librados.Image({'one': True, 'two': False}),
        'a_disk.local': librados.Image(watchers=['192.0.2.7:0/1']),
    }
    library.pools['vms'].update(held, a_swap=librados.Image())
    with pytest.raises(
        exceptions.DiskNotRemoved,
        match=r'a_disk in pool vms .*: it has snapshots one, two',
    ):
        driver.cleanup_volumes(lambda name: name.startswith('a_'))
    assert set(library.pools['vms']) == {'disk', *held}
    assert library.open == 0


@pytest.mark.parametrize('operation', CHANGES)
@pytest.mark.usefixtures('snapshot')
def test_a_connection_of_its_own_ends_with_the_change(
    driver, library, operation
):
    library.pools['images']['an-id'] = librados.Image({'snap': True})
    library.faults[operation] = BLOCKLISTED
    with pytest.raises(exceptions.ClusterUnreachable):
        CHANGES[operation](driver)
    assert library.shut_down == len(library.connections)
    assert library.open == 0


@pytest.mark.parametrize('operation', CHANGES)
@pytest.mark.usefixtures('snapshot')
def test_a_change_that_a_disk_is_in_the_way_of_names_it(
    driver, library, operation
):
    library.pools['images']['an-id'] = librados.Image({'snap': True})
    library.faults[operation] = rbd.ImageBusy('error', errno=16)
    name = 'new' if operation == 'clone' else 'disk'
    with pytest.raises(
        exceptions.DiskUnusable, match=f'Disk {name} in pool vms .*busy'
    ):
        CHANGES[operation](driver)


#: What Nova's backend does over calls that raise what librbd raises.
OF_NOVAS_BACKEND = {
    'size': lambda disk: disk.get_disk_size('/a/path'),
    'parent_info': lambda disk: disk.flatten(),
}


@pytest.mark.parametrize('operation', OF_NOVAS_BACKEND)
def test_so_does_what_novas_backend_does_to_it(library, operation):
    library.faults[operation] = rbd.ImageBusy('error', errno=16)
    with pytest.raises(
        exceptions.DiskUnusable, match=r'Disk disk in pool vms .*busy'
    ):
        OF_NOVAS_BACKEND[operation](backend.Rbd(path='vms/disk'))


# Direct snapshots

SERVER = '00000000-0000-4000-8000-000000000000'


@pytest.fixture
def direct_snapshot(library):
    """Makes an image of a server's disk in Glance's pool."""
    library.pools['vms'][f'{SERVER}_disk'] = librados.Image(
        parent=('images', 'an-id', librados.Image())
    )
    library.read_only.clear()
    disk = backend.Rbd(objects.Instance(uuid=SERVER), 'disk')
    return lambda: disk.direct_snapshot(
        'context', 'a-snapshot', 'raw', 'its-id', 'an-id'
    )


def break_off_at(library, monkeypatch, operation, error):
    """Have an operation fail on the image, which is a clone by then."""
    of_images = getattr(librados.OpenImage, operation)

    def fail(image, *args):
        if image._pool == 'images':
            raise error
        of_images(image, *args)

    monkeypatch.setattr(librados.OpenImage, operation, fail)


STEPS = ('flatten', 'create_snap', 'protect_snap')


def test_a_direct_snapshot_is_an_image_of_glances(direct_snapshot, library):
    assert direct_snapshot() == 'rbd://fsid-west/images/its-id/snap'
    assert library.pools['images']['its-id'].snapshots == {'snap': True}
    assert library.pools['vms'][f'{SERVER}_disk'].snapshots == {}


@pytest.mark.parametrize('step', STEPS)
def test_a_direct_snapshot_that_breaks_off_leaves_no_image_in_glances_pool(
    direct_snapshot, library, monkeypatch, step
):
    break_off_at(library, monkeypatch, step, rbd.IOError('error', errno=5))
    with pytest.raises(exceptions.ClusterUnreachable):
        direct_snapshot()
    assert library.pools['images'] == {}
    assert library.pools['vms'][f'{SERVER}_disk'].snapshots == {}
    assert library.open == 0


@pytest.mark.parametrize('step', STEPS)
def test_without_a_right_to_that_nova_makes_the_other_kind(
    direct_snapshot, library, monkeypatch, step
):
    break_off_at(
        library, monkeypatch, step, rbd.PermissionError('error', errno=1)
    )
    with pytest.raises(exception.Forbidden, match='pool images'):
        direct_snapshot()
    assert library.pools['images'] == {}
    assert library.pools['vms'][f'{SERVER}_disk'].snapshots == {}


def test_without_it_from_the_start_nothing_is_begun(direct_snapshot, library):
    library.read_only.add('images')
    with pytest.raises(exception.Forbidden, match='pool images'):
        direct_snapshot()
    assert library.changes == []


def test_so_it_is_without_a_right_to_the_pool_of_its_data(
    direct_snapshot, library
):
    library.pools['images-data'] = {}
    library.data_pools['images'] = 'images-data'
    library.read_only.add('images-data')
    with pytest.raises(exception.Forbidden, match='pool images-data'):
        direct_snapshot()
    assert library.changes == []


def test_so_it_does_though_nova_cannot_clean_up_before_us(
    direct_snapshot, library, monkeypatch
):
    # As with clones of version 1: that of the image is in the way.
    break_off_at(
        library, monkeypatch, 'flatten', rbd.PermissionError('no', errno=1)
    )
    unprotect = librados.OpenImage.unprotect_snap

    def unprotect_snap(image, name):
        if library.pools['images']:
            raise rbd.ImageBusy('error unprotecting snapshot', errno=16)
        unprotect(image, name)

    monkeypatch.setattr(librados.OpenImage, 'unprotect_snap', unprotect_snap)
    with pytest.raises(exception.Forbidden, match='pool images'):
        direct_snapshot()
    assert library.pools['images'] == {}
    assert library.pools['vms'][f'{SERVER}_disk'].snapshots == {}


def test_an_image_that_was_there_is_not_removed(direct_snapshot, library):
    there = library.pools['images']['its-id'] = librados.Image()
    with pytest.raises(exceptions.DiskUnusable, match='its-id in pool images'):
        direct_snapshot()
    assert library.pools['images'] == {'its-id': there}
    assert library.pools['vms'][f'{SERVER}_disk'].snapshots == {}


def test_what_cannot_be_taken_back_is_said(
    direct_snapshot, library, monkeypatch, caplog
):
    break_off_at(
        library, monkeypatch, 'flatten', rbd.IOError('error', errno=5)
    )
    library.faults['remove'] = rbd.IOError('error', errno=5)
    with pytest.raises(exceptions.ClusterUnreachable):
        direct_snapshot()
    (line,) = (
        line for line in caplog.messages if 'Left by a direct snapshot' in line
    )
    assert 'cannot be used' in line


def test_what_finds_nothing_to_remove_needs_no_connection_of_its_own(
    driver, library
):
    driver.cleanup_volumes(lambda _name: False)
    assert len(library.connections) == 1


# Under eventlet


class InNativeThreads:
    """As what Nova's tpool_wrap makes: each call has a native thread."""

    def __init__(self, target):
        self._target = target

    def __getattr__(self, name):
        found = getattr(self._target, name)
        if not callable(found):
            return found
        return functools.partial(elsewhere, found)


def elsewhere(call, *args, **kwargs):
    with futures.ThreadPoolExecutor(1, initializer=note_native) as pool:
        return pool.submit(call, *args, **kwargs).result()


#: What a thread knows of itself. Nova's retries have threads, too.
THREAD = threading.local()


def note_native():
    THREAD.native = True


def is_native():
    return getattr(THREAD, 'native', False)


@pytest.fixture
def opened_natively(library, monkeypatch):
    """Of each opening of a disk, whether it was in a native thread."""
    found = []

    def open_disk(*args, **kwargs):
        found.append(is_native())
        return library.Image(*args, **kwargs)

    monkeypatch.setattr(rbd, 'Image', open_disk)
    monkeypatch.setattr(compat, 'tpool_wrap', InNativeThreads)
    return found


#: Nova's calls that open a disk, and one of ours.
OPENING = {
    'exists': CALLS['open'],
    **{name: CALLS[name] for name in ('size', 'resize', 'parent_info')},
    **{
        name: CHANGES[name]
        for name in (
            'flatten',
            'create_snap',
            'remove_snap',
            'rollback_to_snap',
        )
    },
    'grow': lambda driver: driver.grow('disk', 4096, lambda _now: None),
}


def test_these_are_all_of_nova_s_calls_that_open_a_disk():
    found = {
        name
        for name, call in vars(rbd_utils.RBDDriver).items()
        if inspect.isfunction(call)
        and 'RBDVolumeProxy(' in inspect.getsource(call)
    }
    assert found == OPENING.keys() - {'grow'}


@pytest.mark.parametrize('operation', OPENING)
@pytest.mark.usefixtures('snapshot')
def test_under_eventlet_a_disk_is_opened_in_a_native_thread(
    opened_natively, operation
):
    driver = disks.RBDDriver(host.this_host().cluster)
    OPENING[operation](driver)
    assert opened_natively == [True]


@pytest.mark.parametrize('remove', list(REMOVALS)[1:])
def test_so_is_one_whose_snapshot_is_in_the_way_of_its_removal(
    opened_natively, library, options, remove
):
    options.config(group='libvirt', rbd_destroy_volume_retry_interval=0)
    library.pools['vms']['disk'].snapshots[rbd_utils.RESIZE_SNAPSHOT_NAME] = (
        False
    )
    driver = disks.RBDDriver(host.this_host().cluster)
    REMOVALS[remove](driver)
    assert opened_natively == [True]
    assert 'disk' not in library.pools['vms']


def test_under_eventlet_a_clone_is_made_in_a_native_thread(
    library, monkeypatch
):
    made_here, here = [], threading.get_ident()

    class Cloner(librados.Cloner):
        def clone(self, *args, **kwargs):
            made_here.append(threading.get_ident() == here)
            super().clone(*args, **kwargs)

    monkeypatch.setattr(rbd, 'RBD', functools.partial(Cloner, library))
    monkeypatch.setattr(compat, 'tpool_wrap', InNativeThreads)
    library.pools['images']['an-id'] = librados.Image({'snap': True})
    CHANGES['clone'](disks.RBDDriver(host.this_host().cluster))
    assert made_here == [False]
