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

"""The driver: what it refuses, what it says, what it puts where."""

import contextlib
import logging
import pathlib
import re
import types

from nova import context as nova_context
from nova import exception
from nova import objects
from nova.compute import task_states
from nova.compute import vm_states
from nova.image import glance as nova_glance
from nova.objects import flavor as flavor_objects
from nova.storage import rbd_utils
import nova.virt
from nova.virt.libvirt import driver as libvirt_driver
from nova.virt.libvirt import imagebackend
from nova.virt.libvirt import migration
import oslo_messaging as messaging
import pytest
import rados
import rbd

from nova_rbd_multistore import backend
from nova_rbd_multistore import connections
from nova_rbd_multistore import disks
from nova_rbd_multistore import driver
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import host
from nova_rbd_multistore import moves
from nova_rbd_multistore import remains
from nova_rbd_multistore import site
from nova_rbd_multistore import snapshots
from nova_rbd_multistore import surroundings
from tests.fakes import disks as fake_disks
from tests.fakes import librados

INTERVAL = 'images_rbd_glance_copy_poll_interval'
TIMEOUT = 'images_rbd_glance_copy_timeout'
STORE = 'images_rbd_glance_store_name'


@pytest.fixture
def libvirt(options, tmp_path, monkeypatch):
    """The real driver, which has not talked to libvirt yet."""
    options.config(state_path=str(tmp_path))
    # To be put back at the end.
    monkeypatch.setattr(rbd_utils, 'RBDDriver', rbd_utils.RBDDriver)
    return driver.LibvirtDriver(None)


# The backend


def test_our_backend_is_where_nova_looks_for_rbd(libvirt):
    assert libvirt.image_backend.BACKEND['rbd'] is backend.Rbd
    assert libvirt.image_backend.backend() is backend.Rbd


def test_all_other_backends_are_novas(libvirt):
    stock = dict(imagebackend.Backend(use_cow=True).BACKEND)
    ours = dict(libvirt.image_backend.BACKEND)
    assert stock.pop('rbd') is imagebackend.Rbd
    assert ours.pop('rbd') is backend.Rbd
    assert ours == stock


def test_novas_own_driver_keeps_novas_backend(libvirt, options):
    del libvirt, options
    assert imagebackend.Backend(use_cow=True).BACKEND['rbd'] is (
        imagebackend.Rbd
    )


def test_novas_own_client_of_glance_follows_no_redirect(libvirt):
    context = nova_context.get_admin_context()
    session, _ = nova_glance._session_and_auth(context)
    assert connections._refuse_redirect in session.session.hooks['response']


# Nova's own calls to RBD


SERVER = '00000000-0000-4000-8000-000000000000'
OTHER = '00000001-0000-4000-8000-000000000000'
IMAGE = '00000002-0000-4000-8000-000000000000'


@pytest.fixture
def library(libvirt, monkeypatch):
    """The cluster of the host, with the disks of two servers."""
    del libvirt
    library = librados.Librados()
    library.pools['vms'] = {
        f'{server}_{disk}': librados.Image()
        for server in (SERVER, OTHER)
        for disk in ('disk', 'disk.config', 'disk.rescue')
    }
    for module in (rados, rbd):
        monkeypatch.setattr(rbd_utils, module.__name__, module)
    monkeypatch.setattr(rados, 'Rados', library.Rados)
    monkeypatch.setattr(rbd, 'RBD', library.RBD)
    monkeypatch.setattr(rbd, 'Image', library.Image)
    return library


def server(vm_state, task_state, on=None):
    return objects.Instance(
        uuid=SERVER,
        vm_state=vm_state,
        task_state=task_state,
        host=on or driver.CONF.host,
        system_metadata={},
        config_drive='',
    )


BEING_BUILT = (vm_states.BUILDING, task_states.SPAWNING)


def disks_of(library, uuid):
    return {name for name in library.pools['vms'] if name.startswith(uuid)}


def test_wherever_nova_makes_its_own_it_gets_ours(libvirt):
    del libvirt
    # These are where it does; test_no_module_of_nova_gets_past_ours has all.
    for module in (libvirt_driver, imagebackend):
        assert isinstance(module.rbd_utils.RBDDriver(), disks.RBDDriver)


def modules_of_nova():
    root = pathlib.Path(nova.virt.__file__).parents[1]
    for path in root.rglob('*.py'):
        if 'tests' not in path.relative_to(root).parts:
            yield path.relative_to(root).as_posix(), path.read_text()


def test_all_that_ours_shows_are_methods_of_novas():
    names = {name for name in vars(driver.LibvirtDriver) if name[0] != '_'}
    assert names <= set(dir(libvirt_driver.LibvirtDriver))


def test_no_module_of_nova_gets_past_ours():
    # All that know the class at all name it by its module, when they need it.
    past = {
        name: line.strip()
        for name, source in modules_of_nova()
        for line in source.splitlines()
        if 'RBDDriver' in line.replace('rbd_utils.RBDDriver(', '')
        and name != 'storage/rbd_utils.py'
    }
    assert past == {}


def test_no_module_of_nova_runs_a_program_of_ceph_past_ours():
    command = re.compile(r"""(?:execute\(|= \[)'(rbd|ceph)', '(\w+)'""")
    found = {
        name: sorted(command.findall(source))
        for name, source in modules_of_nova()
        if command.search(source)
    }
    assert found == {
        'storage/rbd_utils.py': [
            ('ceph', 'df'),
            ('ceph', 'mon'),
            ('rbd', 'export'),
            ('rbd', 'import'),
        ]
    }


def test_a_servers_disks_are_removed_over_connections_that_have_limits(
    libvirt, library
):
    libvirt._cleanup_rbd(server(vm_states.ACTIVE, task_states.DELETING))
    assert disks_of(library, SERVER) == set()
    assert len(disks_of(library, OTHER)) == 3
    assert library.connections
    for connection in library.connections:
        assert int(connection['conf']['rados_osd_op_timeout']) > 0


AWAY = {
    'no monitor': ('connect', rados.TimedOut('error', errno=110)),
    'wrong key': (
        'connect',
        rados.PermissionDeniedError('error', errno=13),
    ),
    'no osd': ('list', rbd.Timeout('error', errno=110)),
    'no osd any more': ('remove', rbd.Timeout('error', errno=110)),
    'no right to write': ('remove', rbd.PermissionError('error', errno=1)),
}


@pytest.mark.parametrize('fault', AWAY.values(), ids=AWAY)
def test_a_failed_build_leaves_word_of_what_it_cannot_remove(
    libvirt, library, caplog, fault
):
    library.faults.update([fault])
    libvirt._cleanup_rbd(server(*BEING_BUILT))
    (line,) = lines(caplog, logging.WARNING)
    assert 'failed build' in line
    assert f'vms/{SERVER}_*' in line


def test_a_failed_build_in_a_pool_that_is_not_there_leaves_word(
    libvirt, library, caplog
):
    del library.pools['vms']
    libvirt._cleanup_rbd(server(*BEING_BUILT))
    (line,) = lines(caplog, logging.WARNING)
    assert 'no such pool' in line


def test_a_failed_build_that_cleans_up_says_nothing(libvirt, library, caplog):
    libvirt._cleanup_rbd(server(*BEING_BUILT))
    assert disks_of(library, SERVER) == set()
    assert lines(caplog, logging.WARNING) == []


#: States of servers whose disks are to go.
GOING = [
    (vm_states.ACTIVE, task_states.DELETING),
    (vm_states.BUILDING, task_states.DELETING),
    (vm_states.ERROR, task_states.DELETING),
    (vm_states.ACTIVE, task_states.REBUILDING),
    (vm_states.ACTIVE, task_states.REBUILD_SPAWNING),
    (vm_states.ACTIVE, task_states.SHELVING_OFFLOADING),
    (vm_states.SOFT_DELETED, None),
]


@pytest.mark.parametrize('fault', AWAY.values(), ids=AWAY)
@pytest.mark.parametrize('states', GOING)
def test_nobody_is_told_that_disks_are_gone_which_are_not(
    libvirt, library, fault, states
):
    library.faults.update([fault])
    with pytest.raises(exceptions.HostError):
        libvirt._cleanup_rbd(server(*states))
    assert len(disks_of(library, SERVER)) == 3


#: What keeps a disk from being removed, and what is said of it.
HELD = {
    'snapshot': ({'snapshots': {'backup': False}}, 'it has snapshot backup'),
    'watcher': ({'watchers': ['192.0.2.7:0/1']}, 'a client has it open'),
}


@pytest.fixture(params=HELD)
def held(request, library, options):
    """A disk that cannot be removed, and why."""
    options.config(group='libvirt', rbd_destroy_volume_retry_interval=0)
    by, reason = HELD[request.param]
    library.pools['vms'][f'{SERVER}_disk'] = librados.Image(**by)
    return reason


@pytest.mark.parametrize('states', GOING)
def test_nobody_is_told_that_a_disk_is_gone_that_is_held(
    libvirt, library, held, states
):
    with pytest.raises(
        exceptions.DiskNotRemoved, match=f'{SERVER}_disk .*: {held}'
    ):
        libvirt._cleanup_rbd(server(*states))
    assert f'{SERVER}_disk' in disks_of(library, SERVER)


@pytest.mark.parametrize('states', GOING)
def test_a_server_that_stays_keeps_all_its_disks_or_none(
    libvirt, library, options, states
):
    """Its guest would miss those that were removed at once."""
    options.config(group='libvirt', rbd_destroy_volume_retry_interval=0)
    disks = disks_of(library, SERVER)
    held = f'{SERVER}_disk.rescue'
    library.pools['vms'][held].snapshots['backup'] = False
    with pytest.raises(exceptions.DiskNotRemoved, match=held):
        libvirt._cleanup_rbd(server(*states))
    stays = states[1] not in (task_states.DELETING, None)
    assert disks_of(library, SERVER) == (disks if stays else {held})


def test_a_snapshot_of_nova_s_own_keeps_no_disk(libvirt, library, options):
    options.config(group='libvirt', rbd_destroy_volume_retry_interval=0)
    library.pools['vms'][f'{SERVER}_disk'].snapshots['nova-resize'] = False
    libvirt._cleanup_rbd(server(vm_states.ACTIVE, task_states.REBUILDING))
    assert disks_of(library, SERVER) == set()


def test_a_snapshot_of_rbd_mirror_keeps_no_disk(libvirt, library, options):
    options.config(group='libvirt', rbd_destroy_volume_retry_interval=0)
    library.pools['vms'][f'{SERVER}_disk'].mirrored = True
    libvirt._cleanup_rbd(server(vm_states.ACTIVE, task_states.REBUILDING))
    assert disks_of(library, SERVER) == set()


def test_a_failed_build_leaves_word_of_a_disk_that_is_held(
    libvirt, library, caplog, held
):
    libvirt._cleanup_rbd(server(*BEING_BUILT))
    (line,) = lines(caplog, logging.WARNING)
    assert 'failed build' in line
    assert held in line
    assert disks_of(library, SERVER) == {f'{SERVER}_disk'}


# One that was evacuated: Nova's host removes what is left of it while it
# starts, and an error would end that.

EVACUATED = (vm_states.ACTIVE, None, 'west-2')


def test_a_host_starts_though_a_disk_of_a_server_that_has_left_is_held(
    libvirt, library, caplog, held
):
    libvirt._cleanup_rbd(server(*EVACUATED))
    (line,) = lines(caplog, logging.WARNING)
    assert 'Left by a server whose host is west-2 now' in line
    assert held in line
    assert f'{SERVER}_disk' in line
    assert disks_of(library, SERVER) == {f'{SERVER}_disk'}


@pytest.mark.parametrize('fault', AWAY.values(), ids=AWAY)
def test_a_host_starts_though_the_cluster_of_a_server_that_has_left_is_away(
    libvirt, library, caplog, fault
):
    library.faults.update([fault])
    libvirt._cleanup_rbd(server(*EVACUATED))
    (line,) = lines(caplog, logging.WARNING)
    assert 'Left by a server whose host is west-2 now' in line
    assert f'vms/{SERVER}_*' in line


def test_what_a_server_that_has_left_left_is_removed(libvirt, library, caplog):
    libvirt._cleanup_rbd(server(*EVACUATED))
    assert disks_of(library, SERVER) == set()
    assert lines(caplog, logging.WARNING) == []


def test_no_boot_waits_when_nova_compute_stops(libvirt, monkeypatch):
    ended = []
    monkeypatch.setattr(
        libvirt_driver.LibvirtDriver,
        'cleanup_host',
        lambda _self, host: ended.append(host),
    )
    # As Nova's manager does.
    libvirt.cleanup_host(host='west-1')
    assert host.this_host().stopping.is_set()
    assert ended == ['west-1']


@pytest.mark.parametrize(
    'error',
    [
        exceptions.DiskNotRemoved(
            'vms', 'a_disk.rescue', 'a client has it open'
        ),
        rbd.Timeout('a_disk.rescue'),
        rados.TimedOut('a_disk.rescue'),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_server_is_rescued_no_more_though_a_disk_of_that_is_left(
    libvirt, monkeypatch, caplog, error
):
    """It runs by then: Nova would show it in ERROR."""

    def unrescue(self, context, instance):
        raise error

    monkeypatch.setattr(libvirt_driver.LibvirtDriver, 'unrescue', unrescue)
    rescued = server(vm_states.RESCUED, task_states.UNRESCUING)
    libvirt.unrescue('context', rescued)
    (line,) = lines(caplog, logging.WARNING)
    assert line.startswith('Left by a rescue')
    assert 'a_disk.rescue' in line


def test_a_failed_build_is_cleaned_up_within_ordinary_limits(libvirt, library):
    libvirt._cleanup_rbd(server(*BEING_BUILT))
    limit = driver.CONF.rbd_multistore.rados_osd_op_timeout
    assert library.changes == [('remove', limit)] * 3
    assert len(library.connections) == 1


def test_a_revert_of_a_resize_keeps_the_root_disk(libvirt, library):
    libvirt._cleanup_rbd(
        server(vm_states.RESIZED, task_states.RESIZE_REVERTING)
    )
    assert len(disks_of(library, SERVER)) == 3


def test_the_free_space_is_asked_over_the_connection_of_the_host(
    libvirt, library
):
    assert libvirt._get_local_gb_info() == {
        'total': 3 * 1024,
        'free': 1024,
        'used': 7 / 1024**3,
    }
    assert len(library.connections) == 1


def test_the_free_space_is_what_it_was_while_the_cluster_is_away(
    libvirt, library, caplog
):
    before = libvirt._get_local_gb_info()
    library.faults['monitors'] = rados.TimedOut('error', errno=110)
    assert libvirt._get_local_gb_info() == before
    (line,) = lines(caplog, logging.WARNING)
    assert 'Cannot see how much room there is' in line


def test_a_host_that_never_saw_its_cluster_has_no_free_space(libvirt, library):
    library.faults['monitors'] = rados.TimedOut('error', errno=110)
    with pytest.raises(exceptions.ClusterUnreachable):
        libvirt._get_local_gb_info()


def test_a_live_migration_gets_monitors_over_the_connection_of_the_host(
    libvirt, library
):
    del libvirt
    if not hasattr(migration, 'rbd_utils'):
        pytest.skip('this release of Nova does not look for them')
    assert migration.rbd_utils.RBDDriver().get_mon_addrs() == (
        ['192.0.2.1'],
        ['6789'],
    )
    assert len(library.connections) == 1


# Guests that are started


@pytest.fixture
def started_guests(this_host, libvirt, options, monkeypatch):
    """Those that Nova has destroyed, to start them anew."""
    del this_host
    options.config(host='west-1')
    guests = []

    def hard_reboot(self, context, instance, *args):
        guests.append((instance.uuid, *args))
        # What it asks the cluster for after that.
        host.this_host().cluster.monitors()

    monkeypatch.setattr(
        libvirt_driver.LibvirtDriver, '_hard_reboot', hard_reboot
    )

    def resume(self, context, instance, *args):
        self._hard_reboot(context, instance, *args)

    monkeypatch.setattr(
        libvirt_driver.LibvirtDriver, 'resume_state_on_host_boot', resume
    )
    monkeypatch.setattr(
        moves, '_is_volume_backed', lambda instance: not instance.image_ref
    )
    return guests


def to_be_started(uuid=SERVER, image=IMAGE, config_drive='', **flavor):
    return objects.Instance(
        uuid=uuid,
        image_ref=image,
        config_drive=config_drive,
        system_metadata={},
        flavor=flavor_objects.Flavor(
            **{'ephemeral_gb': 0, 'swap': 0, **flavor}
        ),
    )


@pytest.fixture
def driver_on_the_clouds_clock(started_guests, this_host):
    del started_guests
    assert host.this_host() is this_host
    return driver.LibvirtDriver(None)


def test_guests_are_resumed_when_the_cluster_comes_up_late(
    driver_on_the_clouds_clock, started_guests, cloud, caplog
):
    """As after a power cut of a whole site."""
    cloud.west.away = True
    began = cloud.clock.now
    cloud.clock.after(120, lambda: setattr(cloud.west, 'away', False))
    for uuid in (SERVER, OTHER):
        driver_on_the_clouds_clock.resume_state_on_host_boot(
            'context', to_be_started(uuid), 'network', 'shares', 'disks'
        )
    assert started_guests == [
        (uuid, 'network', 'shares', 'disks') for uuid in (SERVER, OTHER)
    ]
    assert cloud.clock.now - began == pytest.approx(120, abs=2)
    (line,) = lines(caplog, logging.WARNING)
    assert 'Waiting for the Ceph cluster' in line


def test_so_are_those_whose_config_drive_is_not_to_be_seen_before(
    driver_on_the_clouds_clock, started_guests, cloud, monkeypatch
):
    # Monitors are up before OSDs are. Nova looks whether it is there.
    asked, there = [], cloud.west.has_image

    def has_image(pool, name):
        asked.append((pool, name))
        if len(asked) < 3:
            raise exceptions.ClusterUnreachable('[errno 110] timed out')
        return there(pool, name)

    monkeypatch.setattr(cloud.west, 'has_image', has_image)
    driver_on_the_clouds_clock.resume_state_on_host_boot(
        'context', to_be_started(config_drive='True')
    )
    assert asked == [('vms', f'{SERVER}_disk.config')] * 3
    assert len(started_guests) == 1


def test_a_hard_reboot_without_monitors_leaves_the_guest(
    driver_on_the_clouds_clock, started_guests, cloud
):
    cloud.west.away = True
    for _ in range(2):
        with pytest.raises(exceptions.ClusterUnreachable):
            driver_on_the_clouds_clock._hard_reboot('context', to_be_started())
    assert started_guests == []


@pytest.mark.parametrize(
    ('has', 'waits'),
    [
        ({}, False),
        ({'config_drive': 'True'}, True),
        ({'swap': 1}, True),
        ({'ephemeral_gb': 1}, True),
    ],
    ids=['nothing else', 'config drive', 'swap', 'ephemeral'],
)
def test_a_server_of_volumes_alone_needs_no_cluster(
    driver_on_the_clouds_clock, started_guests, cloud, monkeypatch, has, waits
):
    monkeypatch.setattr(
        libvirt_driver.LibvirtDriver,
        '_hard_reboot',
        lambda _self, _context, instance: started_guests.append(instance),
    )
    cloud.west.away = True
    outcome = (
        pytest.raises(exceptions.ClusterUnreachable)
        if waits
        else contextlib.nullcontext()
    )
    with outcome:
        driver_on_the_clouds_clock._hard_reboot(
            'context', to_be_started(image='', **has)
        )
    assert len(started_guests) == (0 if waits else 1)


def test_a_guest_is_not_in_error_when_nova_compute_stops_before_its_start(
    driver_on_the_clouds_clock, started_guests, cloud, monkeypatch, caplog
):
    def monitors():
        raise exceptions.HostStopping

    monkeypatch.setattr(cloud.west, 'monitors', monitors)
    driver_on_the_clouds_clock.resume_state_on_host_boot(
        'context', to_be_started()
    )
    assert started_guests == []
    (line,) = lines(caplog, logging.WARNING)
    assert 'Not started yet' in line


# What Nova's scheduler is told


@pytest.fixture
def resources(this_host, libvirt, monkeypatch):
    """What the host tells Nova, which asks each minute."""
    monkeypatch.setattr(
        libvirt_driver.LibvirtDriver,
        'get_available_resource',
        lambda _, nodename: {'stats': {'uptime': nodename}},
    )
    return lambda: libvirt.get_available_resource('west-1')


def test_a_host_tells_its_cluster_and_its_store(resources):
    assert resources() == {
        'stats': {
            'uptime': 'west-1',
            **site.Site('fsid-west', 'west').to_stats(),
        }
    }


def test_a_host_that_does_not_reach_its_cluster_tells_nothing(
    resources, cloud
):
    # So that Nova keeps what it knows.
    cloud.west.away = True
    with pytest.raises(exceptions.ClusterUnreachable):
        resources()


def test_a_host_knows_its_cluster_once_it_has_reached_it(resources, cloud):
    told = resources()
    cloud.west.away = True
    assert resources() == told


# Snapshots


def test_by_default_glance_chooses_the_store_of_snapshots(libvirt):
    assert type(libvirt._image_api) is snapshots.Images


def test_with_the_option_snapshots_go_to_the_store_of_the_site(
    libvirt, options
):
    options.config(group='rbd_multistore', snapshots_to_own_store=True)
    made = driver.LibvirtDriver(None)
    assert type(made._image_api) is snapshots.SiteImages


def test_a_snapshot_is_copied_on_when_it_is_done(libvirt, monkeypatch):
    done = []
    for module, name in (
        (libvirt_driver.LibvirtDriver, 'snapshot'),
        (snapshots, 'require_whole'),
        (snapshots, 'copy_on'),
    ):
        monkeypatch.setattr(
            module, name, lambda *args, name=name: done.append((name, *args))
        )
    libvirt.snapshot('context', 'server', 'image', 'update')
    assert done == [
        ('snapshot', libvirt, 'context', 'server', 'image', 'update'),
        ('require_whole', 'context', 'server', 'image'),
        ('copy_on', 'context', 'server', 'image'),
    ]


@pytest.mark.parametrize(
    ('vm_state', 'image', 'waits'),
    [
        (vm_states.SHELVED_OFFLOADED, 'its-image', True),
        (vm_states.SHELVED_OFFLOADED, '', False),
        (vm_states.BUILDING, 'its-image', False),
    ],
)
def test_the_image_of_a_server_that_is_unshelved_may_still_be_copied(
    libvirt, monkeypatch, vm_state, image, waits
):
    done = []

    def spawn(*args):
        done.append(args[-1])

    def wait_until_free(_context, image_id, check):
        done.append(image_id)
        check()

    monkeypatch.setattr(libvirt_driver.LibvirtDriver, 'spawn', spawn)
    monkeypatch.setattr(snapshots, 'wait_until_free', wait_until_free)
    monkeypatch.setattr(backend, 'check_wanted', done.append)
    monkeypatch.setattr(backend.Rbd, 'make_way', lambda _self: None)
    unshelved = server(vm_state, task_states.SPAWNING)
    unshelved.image_ref = image
    libvirt.spawn('context', unshelved, 'meta', [], None, {}, accel_info='gpu')
    steps = ['gpu', image, unshelved]
    assert done == (steps if waits else steps[:1])


@pytest.mark.parametrize(
    ('vm_state', 'config_drive', 'made_way'),
    [
        (vm_states.SHELVED_OFFLOADED, 'True', ['disk.config']),
        # Its disks may all be volumes: RBD, and our cluster, is not needed.
        (vm_states.SHELVED_OFFLOADED, '', []),
        (vm_states.BUILDING, 'True', []),
    ],
)
def test_nova_makes_the_config_drive_of_an_unshelved_server_anew(
    libvirt, monkeypatch, vm_state, config_drive, made_way
):
    steps = []
    monkeypatch.setattr(
        backend.Rbd,
        'make_way',
        lambda self: steps.append(self.rbd_name.partition('_')[2]),
    )
    monkeypatch.setattr(
        libvirt_driver.LibvirtDriver,
        'spawn',
        lambda *_args: steps.append('spawn'),
    )
    of_volumes = server(vm_state, task_states.SPAWNING)
    of_volumes.image_ref = ''
    of_volumes.config_drive = config_drive
    libvirt.spawn('context', of_volumes, 'meta', [], None, {})
    assert steps == [*made_way, 'spawn']


@pytest.fixture
def rescue(libvirt, this_host, monkeypatch):
    """Rescues a server; Nova makes what it finds no config drive."""
    seen = []

    def of_nova(_self, context, instance, *_args, **_kwargs):
        drive = backend.Rbd(instance, 'disk.config.rescue')
        drive.driver = fake_disks.Disks(this_host.cluster)
        seen.append(drive.exists())

    def do():
        rescued = server(vm_states.ACTIVE, task_states.RESCUING)
        libvirt.rescue(
            'context', rescued, 'network', 'meta', 'new password', {}, []
        )
        return seen

    monkeypatch.setattr(libvirt_driver.LibvirtDriver, 'rescue', of_nova)
    return do


RESCUE_DRIVE = ('vms', f'{SERVER}_disk.config.rescue')


def test_a_rescue_makes_its_own_config_drive_though_one_is_left(
    rescue, cloud, caplog
):
    """With its own password."""
    cloud.west.left[RESCUE_DRIVE] = remains.Remains(parent=False)
    assert rescue() == [False]
    (line,) = lines(caplog, logging.WARNING)
    assert line.startswith(f'Removed disk {RESCUE_DRIVE[1]} in pool vms')
    assert 'left by an earlier rescue' in line


def test_no_rescue_gets_a_config_drive_that_is_held(rescue, cloud):
    cloud.west.left[RESCUE_DRIVE] = remains.Remains(snapshots=('backup',))
    with pytest.raises(
        exceptions.DiskNotRemoved, match=f'{RESCUE_DRIVE[1]} .*backup'
    ):
        rescue()


def test_a_snapshot_that_fails_is_not_copied(libvirt, monkeypatch):
    def fail(*args):
        raise exception.ImageNotFound(image_id='image')

    copied = []
    monkeypatch.setattr(libvirt_driver.LibvirtDriver, 'snapshot', fail)
    monkeypatch.setattr(snapshots, 'copy_on', copied.append)
    with pytest.raises(exception.ImageNotFound):
        libvirt.snapshot('context', 'server', 'image', 'update')
    assert copied == []


def test_a_snapshot_that_is_not_whole_has_failed(libvirt, monkeypatch):
    def refuse(_context, _instance, image_id):
        raise exceptions.SnapshotIncomplete(image_id, 'it is queued')

    copied = []
    monkeypatch.setattr(
        libvirt_driver.LibvirtDriver, 'snapshot', lambda *_args: None
    )
    monkeypatch.setattr(snapshots, 'require_whole', refuse)
    monkeypatch.setattr(snapshots, 'copy_on', copied.append)
    # Of a server that is shelved, Nova would remove the disk.
    with pytest.raises(exceptions.SnapshotIncomplete):
        libvirt.snapshot('context', 'server', 'image', 'update')
    assert copied == []


# What is refused at start


def test_the_defaults_of_nova_with_a_store_are_accepted(options):
    del options
    driver.check_configuration()


def test_no_store_is_accepted(options):
    options.config(group='libvirt', **{STORE: ''})
    driver.check_configuration()


@pytest.mark.parametrize('images_type', ['default', 'qcow2', 'flat', 'raw'])
def test_another_type_of_images_is_refused(options, images_type):
    options.config(group='libvirt', images_type=images_type)
    with pytest.raises(
        exception.InvalidConfiguration,
        match=f"images_type is '{images_type}'.* needs rbd",
    ):
        driver.check_configuration()


@pytest.mark.parametrize(
    'store', ['os_glance_staging_store', 'os_glance_tasks_store', 'os_glance_']
)
def test_a_store_of_glances_own_is_refused(options, store):
    options.config(group='libvirt', **{STORE: store})
    with pytest.raises(
        exception.InvalidConfiguration, match=f"{STORE} is '{store}'"
    ):
        driver.check_configuration()


@pytest.mark.parametrize('store', ['west,east', 'west\neast', 'we\u202est'])
def test_what_is_not_the_name_of_one_store_is_refused(options, store):
    options.config(group='libvirt', **{STORE: store})
    with pytest.raises(
        exception.InvalidConfiguration, match=f'{STORE} is .* on one line'
    ) as caught:
        driver.check_configuration()
    assert str(caught.value).isprintable()


def test_an_option_of_ours_that_cannot_work_is_refused(options):
    options.config(group='rbd_multistore', glance_rbd_pool='a\nb')
    with pytest.raises(
        exception.InvalidConfiguration, match='glance_rbd_pool is'
    ) as caught:
        driver.check_configuration()
    assert str(caught.value).isprintable()


def test_snapshots_to_a_store_that_is_not_named_are_refused(options):
    options.config(group='libvirt', **{STORE: ''})
    options.config(group='rbd_multistore', snapshots_to_own_store=True)
    with pytest.raises(
        exception.InvalidConfiguration, match=f'{STORE} is empty'
    ):
        driver.check_configuration()


def test_copies_of_snapshots_to_a_store_of_glances_own_are_refused(options):
    options.config(
        group='rbd_multistore',
        snapshot_copy_stores=['east', 'os_glance_staging_store'],
    )
    with pytest.raises(
        exception.InvalidConfiguration,
        match="snapshot_copy_stores has 'os_glance_staging_store'",
    ):
        driver.check_configuration()


def test_a_separate_identity_that_cannot_work_is_refused(options):
    options.config(group='rbd_multistore', auth_type='passwrod')
    with pytest.raises(
        exception.InvalidConfiguration,
        match=r'\[rbd_multistore\] auth_type .* passwrod',
    ):
        driver.check_configuration()


def test_a_store_with_a_name_like_glances_own_is_accepted(options):
    options.config(group='libvirt', **{STORE: 'my_os_glance_store'})
    driver.check_configuration()


@pytest.mark.parametrize('option', [INTERVAL, TIMEOUT])
@pytest.mark.parametrize('value', [0, -1])
def test_a_time_that_is_not_positive_is_refused(options, option, value):
    options.config(group='libvirt', **{option: value})
    with pytest.raises(
        exception.InvalidConfiguration, match=f'{option} is {value}'
    ):
        driver.check_configuration()


def test_the_driver_refuses_before_it_starts_anything(options):
    options.config(group='libvirt', images_type='qcow2')
    with pytest.raises(exception.InvalidConfiguration):
        driver.LibvirtDriver(None)


def test_the_one_host_is_made_before_any_boot(libvirt):
    # Boots that begin at once would each make one, and share no copy.
    assert host.this_host.cache_info().currsize == 1


# What is said at start


def lines(caplog, level):
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno == level
        and record.name.startswith('nova_rbd_multistore')
    ]


@pytest.fixture
def announced(this_host, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    assert this_host
    # Of the machine that runs the tests.
    monkeypatch.setattr(surroundings, 'announce', lambda: None)

    def announce(level):
        driver.announce()
        return lines(caplog, level)

    return announce


def test_one_line_says_what_the_host_works_with(announced, options):
    options.config(group='service_user', send_service_user_token=True)
    (line,) = announced(logging.INFO)
    assert line.startswith('nova-rbd-multistore ')
    assert 'store west' in line
    assert 'pool vms' in line
    assert 'cluster fsid-west' in line
    assert line.endswith('service tokens sent')


def test_with_service_tokens_nothing_is_warned_of(announced, options):
    options.config(group='service_user', send_service_user_token=True)
    assert announced(logging.WARNING) == []


def test_without_service_tokens_a_warning_says_what_will_not_work(announced):
    (line,) = announced(logging.WARNING)
    assert 'send_service_user_token is False' in line
    assert 'fetch_image_location' in line
    assert 'copy_image' in line
    assert 'expires' in line


def test_what_the_machine_lacks_is_said(announced, monkeypatch):
    said = []
    monkeypatch.setattr(surroundings, 'announce', lambda: said.append(True))
    announced(logging.WARNING)
    assert said == [True]


def test_without_a_store_the_line_says_so(announced, options):
    options.config(group='libvirt', **{STORE: ''})
    (line,) = announced(logging.INFO)
    assert 'store none (no copies are asked for)' in line


def test_a_cluster_away_at_start_is_a_warning(announced, cloud, options):
    options.config(group='service_user', send_service_user_token=True)
    cloud.west.away = True
    (line,) = announced(logging.WARNING)
    assert 'cannot be used' in line
    assert 'Boots fail until it answers' in line


def test_a_cluster_away_at_start_is_unknown(announced, cloud):
    cloud.west.away = True
    (line,) = announced(logging.INFO)
    assert 'cluster unknown' in line


@pytest.fixture
def started(monkeypatch):
    """The hosts on which Nova has done its part, which needs a hypervisor."""
    started = []
    monkeypatch.setattr(
        libvirt_driver.LibvirtDriver,
        'init_host',
        lambda _self, host: started.append(host),
    )
    return started


def test_several_regions_are_a_reason_not_to_start(
    libvirt, this_host, started, monkeypatch
):
    def check_region():
        raise exceptions.RegionAmbiguous(['RegionOne', 'RegionTwo'])

    monkeypatch.setattr(this_host.access, 'check_region', check_region)
    with pytest.raises(
        exception.InvalidConfiguration, match=r'set \[glance\] region_name'
    ):
        libvirt.init_host('west-1')
    # Whose threads would keep the process.
    assert started == []


def test_the_host_is_announced_when_nova_starts_the_driver(
    libvirt, announced, started
):
    libvirt.init_host('west-1')
    assert started == ['west-1']
    assert len(announced(logging.INFO)) == 2


# Seeding a store


def statuses(cloud):
    return [status for _, _, status in cloud.api.requests]


@pytest.mark.usefixtures('this_host')
def test_caching_an_image_copies_it_to_our_store(libvirt, cloud, context):
    image = cloud.api.add_image('file')
    assert libvirt.cache_image(context, image.id) is True
    assert 'west' in image.locations
    assert statuses(cloud) == [202]


@pytest.mark.usefixtures('this_host')
def test_an_image_in_our_store_is_cached_already(libvirt, cloud, context):
    image = cloud.api.add_image('file', 'west')
    assert libvirt.cache_image(context, image.id) is False
    assert statuses(cloud) == []


@pytest.mark.usefixtures('this_host')
def test_an_image_that_cannot_be_cloned_is_not_copied(libvirt, cloud, context):
    image = cloud.api.add_image('file', disk_format='qcow2')
    with pytest.raises(exceptions.NotRaw):
        libvirt.cache_image(context, image.id)
    assert statuses(cloud) == []


@pytest.mark.usefixtures('this_host')
def test_an_image_in_a_container_is_not_copied(libvirt, cloud, context):
    image = cloud.api.add_image('file', container_format='compressed')
    with pytest.raises(exceptions.NotBare):
        libvirt.cache_image(context, image.id)
    assert statuses(cloud) == []


@pytest.mark.usefixtures('this_host')
def test_an_image_of_foreign_data_is_not_copied(libvirt, cloud, context):
    image = cloud.api.add_image('file')
    image.locations['east'] = 'rbd://fsid-east/vms/disk-of-somebody-else/snap'
    with pytest.raises(exceptions.LocationRefused):
        libvirt.cache_image(context, image.id)
    assert statuses(cloud) == []


@pytest.mark.usefixtures('this_host')
def test_an_image_that_is_there_but_unfit_is_not_called_cached(
    libvirt, cloud, context
):
    image = cloud.api.add_image('file')
    image.locations['west'] = f'rbd://{image.id}'
    with pytest.raises(exceptions.OldLocation):
        libvirt.cache_image(context, image.id)
    assert statuses(cloud) == []


@pytest.mark.usefixtures('this_host')
def test_a_failed_copy_is_a_failure_to_cache(libvirt, cloud, context):
    image = cloud.api.add_image('file')
    cloud.api.failures += [('upload', 'disk full')] * 2
    with pytest.raises(exceptions.CopyFailed, match='disk full'):
        libvirt.cache_image(context, image.id)


@pytest.mark.usefixtures('this_host')
def test_without_a_store_images_are_cached_as_nova_does(
    libvirt, options, context, monkeypatch
):
    options.config(group='libvirt', **{STORE: ''})
    cached = []

    def cache_image(_self, _context, image_id):
        cached.append(image_id)
        return True

    monkeypatch.setattr(
        libvirt_driver.LibvirtDriver, 'cache_image', cache_image
    )
    assert libvirt.cache_image(context, 'an-id') is True
    assert cached == ['an-id']


# Rebuilds


@pytest.fixture
def rebuild(libvirt, this_host, cloud, context, options, monkeypatch):
    """Has a server rebuilt from an image, as far as our driver does that.

    :raises NotImplementedError: if Nova's manager would go on
    """
    del this_host
    objects.register_all()
    options.config(group='workarounds', never_download_image_if_on_rbd=True)
    rebuilt = server(vm_states.ACTIVE, task_states.REBUILDING)
    rebuilt.project_id = context.project_id
    monkeypatch.setattr(
        objects.Instance, 'get_by_uuid', lambda *_, **__: rebuilt
    )

    def begin(image, *, on_volume=False, **how):
        cloud.west.disks['vms', f'{SERVER}_disk'] = None
        rebuilt.image_ref = image.id
        # As Nova's manager does.
        libvirt.rebuild(
            context=context,
            instance=rebuilt,
            image_meta='meta',
            injected_files=[],
            admin_password=None,
            allocations={},
            bdms=objects.BlockDeviceMappingList(
                objects=[
                    objects.BlockDeviceMapping(
                        boot_index=0,
                        destination_type='volume' if on_volume else 'local',
                    )
                ]
            ),
            detach_block_devices=None,
            attach_block_devices=None,
            **{'evacuate': False, 'reimage_boot_volume': False, **how},
        )

    return begin


@pytest.mark.parametrize(
    ('fields', 'failures', 'error'),
    [
        ({'disk_format': 'qcow2'}, [], exceptions.NotRaw),
        ({'container_format': 'compressed'}, [], exceptions.NotBare),
        ({'status': 'deactivated'}, [], exceptions.NotActive),
        (
            {'owner': 'somebody-else', 'visibility': 'community'},
            [],
            exceptions.NotCopiedOnDemand,
        ),
        ({}, [('upload', 'disk full')] * 2, exceptions.CopyFailed),
    ],
)
def test_a_rebuild_from_an_image_that_cannot_come_leaves_the_disk(
    rebuild, cloud, fields, failures, error
):
    """Of NotImplementedError alone, Nova goes on, and removes it."""
    image = cloud.api.add_image('file', **fields)
    cloud.api.failures += failures
    with pytest.raises(error):
        rebuild(image)


def test_so_does_one_on_a_host_that_cannot_look(rebuild, cloud):
    image = cloud.api.add_image('file', 'west')
    cloud.west.away = True
    with pytest.raises(exceptions.ClusterUnreachable):
        rebuild(image)


def test_an_image_is_brought_before_a_rebuild(rebuild, cloud):
    image = cloud.api.add_image('file')
    with pytest.raises(NotImplementedError):
        rebuild(image)
    assert statuses(cloud) == [202]
    assert 'west' in image.locations
    assert cloud.west.disks == {('vms', f'{SERVER}_disk'): None}


def test_one_that_is_here_is_not(rebuild, cloud):
    with pytest.raises(NotImplementedError):
        rebuild(cloud.api.add_image('file', 'west'))
    assert statuses(cloud) == []


@pytest.mark.parametrize(
    'states',
    [
        (vm_states.ACTIVE, task_states.DELETING),
        (vm_states.ACTIVE, task_states.SOFT_DELETING),
        (vm_states.SOFT_DELETED, None),
    ],
)
def test_a_rebuild_of_a_server_that_is_deleted_leaves_the_disk(
    rebuild, cloud, monkeypatch, states
):
    """Nova would write ERROR over SOFT_DELETED, with the disk removed."""
    image = cloud.api.add_image('file', 'west')
    monkeypatch.setattr(
        objects.Instance, 'get_by_uuid', lambda *_, **__: server(*states)
    )
    with pytest.raises(exception.UnexpectedDeletingTaskStateError):
        rebuild(image)


def test_one_that_glance_alone_takes_for_here_is_not_believed(rebuild, cloud):
    image = cloud.api.add_image('file', 'west')
    cloud.west.remove(image.id)
    with pytest.raises(exceptions.ImageError):
        rebuild(image)


@pytest.mark.parametrize(
    ('fields', 'error'),
    [
        ({'disk_format': 'qcow2'}, NotImplementedError),
        (
            {'disk_format': 'qcow2', 'status': 'deactivated'},
            exceptions.NotActive,
        ),
    ],
)
def test_a_server_is_rebuilt_from_what_nova_may_download(
    rebuild, cloud, options, fields, error
):
    options.config(group='workarounds', never_download_image_if_on_rbd=False)
    with pytest.raises(error):
        rebuild(cloud.api.add_image('file', **fields))
    assert statuses(cloud) == []


@pytest.mark.parametrize('how', [{'evacuate': True}, {'on_volume': True}])
def test_where_no_disk_is_made_of_an_image_none_is_looked_for(
    rebuild, cloud, how
):
    with pytest.raises(NotImplementedError):
        rebuild(cloud.api.add_image('file'), **how)
    assert statuses(cloud) == []
    assert [endpoint.asked for endpoint in cloud.endpoints] == [[], []]


# Servers that move


ELSEWHERE = exceptions.DiskElsewhere('fsid-east', 'fsid-west')


@pytest.fixture
def novas(libvirt, monkeypatch):
    """What Nova's part of the driver was called for."""
    called = []

    def note(name, answer=None):
        def call(_self, *_args, **_kwargs):
            called.append(name)
            return answer

        monkeypatch.setattr(libvirt_driver.LibvirtDriver, name, call)

    del libvirt
    note('instance_on_disk', True)
    note('migrate_disk_and_power_off', '[]')
    note('check_can_live_migrate_destination', 'data')
    note('finish_revert_migration')
    note('spawn')
    note('finish_migration')
    note('confirm_migration')
    note('destroy')
    return called


def refused(*_args):
    raise ELSEWHERE


def accepted(*_args):
    return True


MOVED = server(vm_states.ACTIVE, None)


def test_an_evacuation_that_is_refused_leaves_the_server_as_it_is(
    libvirt, novas, monkeypatch
):
    del novas
    monkeypatch.setattr(moves, 'goes_on_with_its_disk', refused)
    with pytest.raises(exception.InstanceFaultRollback) as caught:
        libvirt.instance_on_disk(MOVED)
    assert caught.value.inner_exception is ELSEWHERE


def test_so_does_whatever_fails_before_anything_is_done(
    libvirt, novas, monkeypatch
):
    del novas
    failure = RuntimeError('no database')

    def fail(_instance):
        raise failure

    monkeypatch.setattr(moves, 'goes_on_with_its_disk', fail)
    with pytest.raises(exception.InstanceFaultRollback) as caught:
        libvirt.instance_on_disk(MOVED)
    assert caught.value.inner_exception is failure


@pytest.mark.parametrize('goes_on', [True, False])
def test_nova_is_told_whether_the_server_goes_on_with_its_disk(
    libvirt, novas, monkeypatch, goes_on
):
    del novas
    monkeypatch.setattr(moves, 'goes_on_with_its_disk', lambda _: goes_on)
    assert libvirt.instance_on_disk(MOVED) is goes_on


@pytest.fixture
def evacuated(libvirt, library, novas, monkeypatch):
    """Has a server come here; with which disks its guest fails to start."""
    del novas

    def arrive(*, with_its_disk):
        monkeypatch.setattr(
            moves, 'goes_on_with_its_disk', lambda _: with_its_disk
        )
        coming = server(vm_states.ACTIVE, None, 'west-2')
        libvirt.instance_on_disk(coming)
        # What Nova's clean-up is called with, if it has made a swap disk.
        coming.task_state = task_states.REBUILD_SPAWNING
        libvirt._cleanup_rbd(coming)
        return disks_of(library, SERVER)

    return arrive


def test_an_evacuation_that_fails_to_start_keeps_the_disk_it_came_to(
    evacuated, library, caplog
):
    before = disks_of(library, SERVER)
    assert evacuated(with_its_disk=True) == before
    (line,) = lines(caplog, logging.WARNING)
    assert line.startswith('Not removing the disks of an evacuated server')
    assert f'vms/{SERVER}_*' in line


def test_one_to_a_new_disk_leaves_nothing(evacuated):
    assert evacuated(with_its_disk=False) == set()


def test_it_is_the_last_evacuation_that_counts(evacuated, library):
    evacuated(with_its_disk=False)
    library.pools['vms'][f'{SERVER}_disk'] = librados.Image()
    assert evacuated(with_its_disk=True) == {f'{SERVER}_disk'}


def test_a_guest_is_not_stopped_for_a_resize_that_is_refused(
    libvirt, novas, context, monkeypatch
):
    monkeypatch.setattr(moves, 'check_departure', refused)
    with pytest.raises(exception.InstanceFaultRollback) as caught:
        libvirt.migrate_disk_and_power_off(
            context, MOVED, '192.0.2.1', None, []
        )
    assert caught.value.inner_exception is ELSEWHERE
    assert novas == []


@pytest.fixture
def may_leave(monkeypatch):
    """Nothing is in the way of a resize of a server on an image."""
    monkeypatch.setattr(moves, 'check_departure', accepted)
    monkeypatch.setattr(moves, '_is_volume_backed', lambda _: False)


@pytest.mark.usefixtures('library', 'may_leave')
def test_a_server_is_resized_as_nova_does(libvirt, novas, context):
    moved = libvirt.migrate_disk_and_power_off(
        context, MOVED, '192.0.2.1', None, []
    )
    assert moved == '[]'
    assert novas == ['migrate_disk_and_power_off']


@pytest.fixture
def resized_before(library):
    """The snapshots of a disk, of which a resize has left one."""
    root = library.pools['vms'][f'{SERVER}_disk']
    root.snapshots.update({'nova-resize': False, 'backup': False})
    return root.snapshots


@pytest.mark.usefixtures('may_leave')
def test_a_server_is_resized_though_an_earlier_resize_left_its_snapshot(
    libvirt, novas, context, resized_before, caplog
):
    libvirt.migrate_disk_and_power_off(context, MOVED, '192.0.2.1', None, [])
    assert resized_before == {'backup': False}
    assert novas == ['migrate_disk_and_power_off']
    (line,) = lines(caplog, logging.WARNING)
    assert line.startswith('Removing snapshot nova-resize')


@pytest.mark.usefixtures('may_leave')
def test_a_guest_is_not_stopped_if_that_cannot_be_removed(
    libvirt, novas, context, library, resized_before
):
    library.faults['remove_snap'] = rbd.Timeout('error', errno=110)
    with pytest.raises(exception.InstanceFaultRollback) as caught:
        libvirt.migrate_disk_and_power_off(
            context, MOVED, '192.0.2.1', None, []
        )
    assert isinstance(
        caught.value.inner_exception, exceptions.ClusterUnreachable
    )
    assert 'nova-resize' in resized_before
    assert novas == []


def test_a_server_that_is_not_resized_keeps_it(
    libvirt, novas, context, resized_before, monkeypatch
):
    monkeypatch.setattr(moves, 'check_departure', refused)
    with pytest.raises(exception.InstanceFaultRollback):
        libvirt.migrate_disk_and_power_off(
            context, MOVED, '192.0.2.1', None, []
        )
    assert 'nova-resize' in resized_before
    assert novas == []


class Guest:
    """One as libvirt shows it; it runs, unless told otherwise."""

    def __init__(self):
        self.runs = True

    def is_active(self):
        return self.runs


@pytest.fixture
def guest(libvirt, this_host, options, monkeypatch):
    """That of each server, of which Nova may have told to shut down."""
    del this_host
    options.config(shutdown_timeout=45)
    guest = Guest()

    def get_guest(instance):
        if guest.runs is None:
            raise exception.InstanceNotFound(instance_id=instance.uuid)
        return guest

    monkeypatch.setattr(
        libvirt, '_host', types.SimpleNamespace(get_guest=get_guest)
    )
    return guest


def start_after_a_resize(libvirt, task_state=task_states.RESIZE_MIGRATING):
    """What Nova's manager does of a server when nova-compute starts."""
    libvirt.finish_revert_migration(
        'context', server(vm_states.ACTIVE, task_state), [], 'move', {}, True
    )


@pytest.mark.parametrize(
    ('task_state', 'runs'),
    [
        (task_states.RESIZE_MIGRATING, False),
        (task_states.RESIZE_MIGRATING, None),
        (task_states.RESIZE_REVERTING, False),
    ],
)
def test_a_guest_that_does_not_run_is_started_after_a_resize(
    libvirt, novas, guest, cloud, task_state, runs
):
    guest.runs = runs
    start_after_a_resize(libvirt, task_state)
    assert novas == ['finish_revert_migration']
    assert cloud.clock.naps == []


@pytest.mark.parametrize(('given', 'waited'), [(45, 45), (0, 0), (600, 60)])
def test_a_restart_during_a_resize_leaves_a_guest_that_runs_on(
    libvirt, novas, guest, cloud, options, given, waited
):
    """Nova would start it, fail, and take its network and volumes away."""
    options.config(shutdown_timeout=given)
    began = cloud.clock.now
    start_after_a_resize(libvirt)
    assert novas == []
    assert cloud.clock.now - began == pytest.approx(waited)


@pytest.mark.parametrize('runs', [False, None])
def test_one_that_still_shuts_down_is_started_again(
    libvirt, novas, guest, cloud, runs
):
    """It would be off a moment later, and Nova would stop its server."""
    began = cloud.clock.now
    cloud.clock.after(40, lambda: setattr(guest, 'runs', runs))
    start_after_a_resize(libvirt)
    assert novas == ['finish_revert_migration']
    assert cloud.clock.now - began == pytest.approx(40, abs=1)


def test_guests_that_run_on_hold_up_no_start_one_after_another(
    libvirt, novas, guest, cloud
):
    began = cloud.clock.now
    for _ in range(5):
        start_after_a_resize(libvirt)
    assert novas == []
    assert cloud.clock.now - began == pytest.approx(45)


@pytest.mark.parametrize('noted', [False, True])
def test_nova_reverts_a_resize_that_has_not_noted_the_old_flavor(
    libvirt, noted
):
    objects.register_all()
    flavor = objects.Flavor(extra_specs={})
    broken_off = server(vm_states.ACTIVE, task_states.RESIZE_MIGRATING)
    broken_off.flavor = broken_off.new_flavor = flavor
    broken_off.old_flavor = flavor if noted else None
    broken_off.image_ref = ''
    libvirt._finish_revert_migration_vtpm('context', broken_off)
    # Nova's manager saves it.
    assert bool(broken_off.old_flavor) == noted


def test_a_server_of_another_cell_is_not_begun_where_its_disk_is(
    libvirt, novas, monkeypatch
):
    monkeypatch.setattr(moves, 'check_new_cell', refused)
    resized = server(vm_states.ACTIVE, task_states.RESIZE_FINISH)
    with pytest.raises(exceptions.DiskElsewhere):
        libvirt.spawn('context', resized, 'meta', [], None, {})
    assert novas == []


def test_one_that_is_built_has_no_disk_in_another_cell(
    libvirt, novas, monkeypatch
):
    monkeypatch.setattr(moves, 'check_new_cell', refused)
    libvirt.spawn('context', server(*BEING_BUILT), 'meta', [], None, {})
    assert novas == ['spawn']


MIGRATION = object()


@pytest.fixture
def swept(monkeypatch):
    """The moves after which what is left is removed."""
    swept = []
    monkeypatch.setattr(moves, 'migration_of', lambda _instance: MIGRATION)
    monkeypatch.setattr(
        moves, 'clean_up_after', lambda *args: swept.append(args)
    )
    return swept


def confirm(libvirt, moved=MOVED):
    libvirt.confirm_migration('context', MIGRATION, moved, 'network')


def revert(libvirt, moved):
    libvirt.destroy('context', moved, 'network', {}, destroy_disks=False)


REVERTED = server(vm_states.RESIZED, task_states.RESIZE_REVERTING)


def test_what_a_server_leaves_goes_when_its_move_is_confirmed(
    libvirt, novas, swept
):
    confirm(libvirt)
    assert novas == ['confirm_migration']
    assert swept == [(MOVED, MIGRATION)]


def test_it_goes_where_the_move_is_reverted(libvirt, novas, swept):
    revert(libvirt, REVERTED)
    assert novas == ['destroy']
    assert swept == [(REVERTED, MIGRATION)]


def test_a_guest_that_is_started_anew_keeps_what_a_revert_has_not_begun(
    libvirt, novas, swept, monkeypatch
):
    """As after a power cut; Nova makes no config drive there."""

    def of_nova(driver, context, instance, *_args, **_kwargs):
        driver.destroy(context, instance, 'network', {}, destroy_disks=False)

    monkeypatch.setattr(libvirt_driver.LibvirtDriver, '_hard_reboot', of_nova)
    monkeypatch.setattr(moves, 'needs_cluster', lambda _: False)
    libvirt._hard_reboot('context', REVERTED, 'network')
    assert (novas, swept) == (['destroy'], [])
    revert(libvirt, REVERTED)
    assert swept == [(REVERTED, MIGRATION)]


@pytest.mark.parametrize(
    'error',
    [
        exception.MigrationNotFound(migration_id=7),
        messaging.MessagingTimeout('no answer'),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_revert_goes_on_though_nobody_tells_of_its_move(
    libvirt, novas, monkeypatch, caplog, error
):
    def fail(_instance):
        raise error

    monkeypatch.setattr(moves, 'migration_of', fail)
    libvirt.destroy('context', REVERTED, 'network', {}, destroy_disks=False)
    assert novas == ['destroy']
    (line,) = lines(caplog, logging.WARNING)
    assert 'Left by a server that has moved' in line
    assert str(error) in line


def test_a_guest_that_ends_for_another_reason_is_no_move(
    libvirt, novas, swept
):
    revert(libvirt, MOVED)
    assert novas == ['destroy']
    assert swept == []


@pytest.mark.parametrize(
    ('end', 'moved'), [(confirm, MOVED), (revert, REVERTED)]
)
@pytest.mark.usefixtures('novas', 'swept')
def test_a_move_ends_though_something_is_left(
    libvirt, monkeypatch, caplog, end, moved
):
    """The guest runs elsewhere by then: Nova would show it in ERROR."""

    def fail(*_args):
        raise exceptions.DiskNotRemoved('vms', 'a_disk.swap', 'it is open')

    monkeypatch.setattr(moves, 'clean_up_after', fail)
    end(libvirt, moved)
    (line,) = lines(caplog, logging.WARNING)
    assert line.startswith('Left by a server that has moved')
    assert 'a_disk.swap' in line
    assert f'vms/{SERVER}_*' in line


def test_a_server_gets_no_disk_that_it_has_left_here_once(
    libvirt, novas, monkeypatch
):
    steps = []
    monkeypatch.setattr(
        moves, 'make_way', lambda *args: steps.append((*args, *novas))
    )
    libvirt.finish_migration('context', MIGRATION, MOVED, '[]', 'network')
    assert steps == [(MOVED, MIGRATION)]
    assert novas == ['finish_migration']


def test_a_live_migration_is_refused_in_words_that_the_conductor_knows(
    libvirt, novas, context, monkeypatch
):
    monkeypatch.setattr(moves, 'check_live_arrival', refused)
    with pytest.raises(exception.MigrationPreCheckError) as caught:
        libvirt.check_can_live_migrate_destination(context, MOVED, {}, {})
    assert str(ELSEWHERE) in str(caught.value)
    assert novas == []


def test_a_server_is_migrated_live_as_nova_does(
    libvirt, novas, context, monkeypatch
):
    monkeypatch.setattr(moves, 'check_live_arrival', accepted)
    checked = libvirt.check_can_live_migrate_destination(
        context, MOVED, {}, {}
    )
    assert checked == 'data'
    assert novas == ['check_can_live_migrate_destination']
