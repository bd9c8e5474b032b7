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

"""Servers move, within their site and to the other one.

They are in no zone, so that Nova's scheduler may send them anywhere. What a
guest has written is where the test writes it.
"""

import signal
import subprocess
import uuid

import pytest
import rbd

from lab import hypervisor
from nova_rbd_multistore import ceph
from tests.rig import clusters
from tests.rig import polling
from tests.rig import servers as nova_servers

MARKER = b'what the user has written'
OFFSET = 512 << 20


@pytest.fixture
def servers(admin, images_to_remove):
    """Servers of an administrator, who alone may name a host."""
    del images_to_remove
    made = nova_servers.Servers(admin)
    yield made
    made.delete_all()


@pytest.fixture
def image(upload, admin):
    """One that no site has to fetch first."""
    return upload(
        store='east', owner=admin, visibility='public', os_shutdown_timeout='1'
    )


@pytest.fixture
def boot(servers, image, east, west):
    """Boots a server on a host, and writes to its disk."""

    def on(host, **options):
        server = servers.boot_on(image.id, host, **options)
        cluster = east if host.startswith('east') else west
        cluster.write('vms', nova_servers.disk(server), MARKER, OFFSET)
        return server

    return on


def has_marker(cluster, disk):
    return cluster.read(disk, len(MARKER), OFFSET) == MARKER


@pytest.fixture
def do(admin):
    """Has Nova do something with a server."""

    def act(server, action, **arguments):
        answer = admin.compute.post(
            f'/servers/{server.id}/action',
            json={action: arguments},
            microversion='2.91',
        )
        answer.raise_for_status()

    return act


@pytest.fixture
def wait_to_be_told(admin):
    """Waits until a server's last action tells an administrator something."""

    def details(server):
        path = f'/servers/{server.id}/os-instance-actions'
        actions = admin.compute.get(path, microversion='2.84').json()
        newest = actions['instanceActions'][0]['request_id']
        answer = admin.compute.get(f'{path}/{newest}', microversion='2.84')
        events = answer.json()['instanceAction']['events']
        return ' '.join(event['details'] or '' for event in events)

    def wait(server, *texts):
        polling.until(
            lambda: all(text in details(server) for text in texts),
            f'{texts} of server {server.id}',
        )

    return wait


@pytest.fixture
def guest(computes):
    """Which run of a server's guest a hypervisor has."""

    def number(host, server):
        done = subprocess.run(
            hypervisor.inside(computes[host], 'virsh', 'domid', server.id),
            check=True,
            timeout=30,
            capture_output=True,
            text=True,
        )
        return int(done.stdout)

    return number


# Evacuations


def test_a_server_is_evacuated_within_its_cluster_and_to_no_other(
    boot, lose, do, wait_to_be_told, servers, host_of, east, west
):
    server = boot('west-1')
    disk = nova_servers.disk(server)
    lose('west-1', server)

    do(server, 'evacuate', host='east-1')
    servers.wait_for(server)
    wait_to_be_told(
        server,
        f'disk is in Ceph cluster {west.fsid}',
        f'new host has {east.fsid}',
        'evacuate_to_new_disk',
    )

    assert host_of(server) == 'west-1'
    assert disk not in east.images('vms')
    assert has_marker(west, disk)

    do(server, 'evacuate', host='west-2')
    servers.wait_for(server)

    assert host_of(server) == 'west-2'
    assert has_marker(west, disk)


@pytest.mark.fault
def test_stock_nova_evacuates_to_a_new_disk_without_a_word(
    boot, configure_stock, lose, do, servers, host_of, image, east, west
):
    configure_stock('east-1')
    server = boot('west-1')
    disk = nova_servers.disk(server)
    lose('west-1', server)

    do(server, 'evacuate', host='east-1')
    servers.wait_for(server)

    assert host_of(server) == 'east-1'
    assert east.parent(disk) == clusters.of_glance(image.id)
    assert not has_marker(east, disk)
    assert has_marker(west, disk)


@pytest.mark.fault
def test_a_guest_that_still_runs_gets_no_second_one_on_its_disk(
    boot, cut_off, guest, do, wait_to_be_told, servers, host_of, west
):
    server = boot('west-1')
    disk = nova_servers.disk(server)
    run = guest('west-1', server)
    cut_off('west-1')

    do(server, 'evacuate', host='west-2')
    servers.wait_for(server)
    wait_to_be_told(server, disk, 'the guest may run on', 'osd blocklist add')

    assert host_of(server) == 'west-1'
    assert guest('west-1', server) == run
    (address,) = west.watchers(disk)

    west.command('osd blocklist', blocklistop='add', addr=address)
    do(server, 'evacuate', host='west-2')
    servers.wait_for(server)

    assert host_of(server) == 'west-2'
    assert has_marker(west, disk)
    assert address not in west.watchers(disk)


@pytest.mark.fault
def test_an_evacuation_does_not_take_a_dead_guest_for_one_that_runs(
    boot, cut_off, kill_guest, log_of, do, servers, host_of, west
):
    server = boot('west-1')
    disk = nova_servers.disk(server)
    cut_off('west-1')
    log = log_of('compute-west-2')
    kill_guest('west-1', server)
    # Ceph shows it for another 30 s.
    assert west.is_watched(disk)

    do(server, 'evacuate', host='west-2')
    servers.wait_for(server)

    assert log.lines(f'Disk {disk} in pool vms is open at')
    assert host_of(server) == 'west-2'
    assert has_marker(west, disk)


@pytest.fixture
def mirrored(west):
    """A disk in west that is one of a pair, for which no daemon runs."""
    disk = f'test-{uuid.uuid4()}'
    west.create('vms', disk, 1 << 20)
    with west.pool('vms') as ioctx:
        rbd.RBD().mirror_mode_set(ioctx, rbd.RBD_MIRROR_MODE_IMAGE)
        with west.opened(disk) as image:
            image.mirror_image_enable(rbd.RBD_MIRROR_IMAGE_MODE_SNAPSHOT)
    yield disk
    with west.pool('vms') as ioctx:
        with west.opened(disk) as image:
            image.mirror_image_disable(True)
        rbd.RBD().mirror_mode_set(ioctx, rbd.RBD_MIRROR_MODE_DISABLED)
    west.remove('vms', disk)


@pytest.mark.fault
def test_of_a_mirrored_disk_the_client_that_writes_is_seen(
    mirrored, west, where
):
    conf = str(where.sites[1].ceph_conf)
    seen = ceph.Cluster(conf, 'nova', 20, {})
    # As rbd-mirror has it.
    with clusters.Cluster(where.sites[1]) as another, another.opened(mirrored):
        assert len(west.watchers(mirrored)) == 1
        assert seen.clients_of('vms', mirrored) == []

        with west.opened(mirrored) as image:
            image.write(b'as a guest does', 0)
            (guest,) = seen.clients_of('vms', mirrored)
            assert len(west.watchers(mirrored)) == 2
            assert guest in west.watchers(mirrored)
    seen.close()


@pytest.fixture
def evacuated(boot, configure, lose, do, servers, log_of):
    """A server of west, on a new disk in east."""
    configure('east-1', rbd_multistore__evacuate_to_new_disk=True)
    server = boot('west-1')
    lose('west-1', server)
    log = log_of('compute-east-1')
    do(server, 'evacuate', host='east-1')
    servers.wait_for(server)
    assert log.lines('Evacuating to a new disk', server.id)
    return server


@pytest.mark.fault
def test_where_the_operator_says_so_a_server_is_evacuated_to_a_new_disk(
    evacuated, host_of, image, east, west
):
    disk = nova_servers.disk(evacuated)
    assert host_of(evacuated) == 'east-1'
    assert east.parent(disk) == clusters.of_glance(image.id)
    assert not has_marker(east, disk)
    assert has_marker(west, disk)


@pytest.mark.fault
def test_a_server_that_was_given_a_new_disk_never_gets_the_old_one(
    evacuated,
    configure,
    find_again,
    log_of,
    lose,
    do,
    wait_to_be_told,
    servers,
    host_of,
    image,
    east,
    west,
):
    disk = nova_servers.disk(evacuated)
    log = log_of('compute-west-1')
    find_again('west-1')
    log.wait_for('Cleaning up allocations of the instance', evacuated.id)
    assert host_of(evacuated) == 'east-1'
    assert has_marker(west, disk)

    lose('east-1', evacuated)
    do(evacuated, 'evacuate', host='west-1')
    servers.wait_for(evacuated)
    wait_to_be_told(evacuated, f'disk is in Ceph cluster {east.fsid}')
    assert host_of(evacuated) == 'east-1'

    configure('west-1', rbd_multistore__evacuate_to_new_disk=True)
    do(evacuated, 'evacuate', host='west-1')
    servers.wait_for(evacuated)
    assert host_of(evacuated) == 'west-1'
    assert west.parent(disk) == clusters.of_glance(image.id)
    assert not has_marker(west, disk)
    (aside,) = (name for name in west.images('vms') if f'.{disk}' in name)
    assert aside.startswith('aside.')
    assert has_marker(west, aside)


@pytest.fixture
def with_swap(admin):
    """The name of a flavor with a swap disk."""
    flavor = admin.compute.create_flavor(
        name=f'test-{uuid.uuid4()}', ram=128, vcpus=1, disk=1, swap=16
    )
    yield flavor.name
    admin.compute.delete_flavor(flavor)


@pytest.fixture
def virsh(computes):
    """Has a host's libvirt do something."""

    def run(host, *words):
        subprocess.run(
            hypervisor.inside(computes[host], 'virsh', *words),
            check=True,
            timeout=30,
        )

    return run


@pytest.mark.fault
def test_an_evacuation_whose_guest_does_not_start_keeps_the_data(
    boot, with_swap, virsh, lose, do, admin, host_of, log_of, west, tmp_path
):
    server = boot('west-1', flavor=with_swap)
    disk = nova_servers.disk(server)
    lose('west-1', server)
    west.remove('vms', f'{disk}.swap')
    # Libvirt lets no other have its name.
    name = admin.compute.get_server(server.id).instance_name
    namesake = tmp_path / 'namesake.xml'
    namesake.write_text(
        f'<domain type="qemu"><name>{name}</name><memory>65536</memory>'
        '<os><type arch="x86_64" machine="pc">hvm</type></os></domain>'
    )
    virsh('west-2', 'define', str(namesake))
    log = log_of('compute-west-2')

    try:
        do(server, 'evacuate', host='west-2')
        log.wait_for('Not removing the disks', server.id)
        polling.until(
            lambda: admin.compute.get_server(server.id).status == 'ERROR',
            'the server is in ERROR',
        )
    finally:
        virsh('west-2', 'undefine', name)
    assert host_of(server) == 'west-1'
    assert has_marker(west, disk)

    do(server, 'evacuate', host='west-2')
    polling.until(
        lambda: admin.compute.get_server(server.id).status == 'ACTIVE',
        'the server is ACTIVE',
    )
    assert host_of(server) == 'west-2'
    assert has_marker(west, disk)


# Resizes and migrations


def leave_snapshot(cluster, disk):
    """What is left of a resize that failed on the new host."""
    with cluster.opened(disk) as opened:
        opened.create_snap('nova-resize')


@pytest.mark.fault
def test_a_snapshot_of_an_earlier_resize_does_not_fail_a_later_one(
    boot, do, servers, host_of, log_of, west
):
    server = boot('west-1')
    disk = nova_servers.disk(server)
    leave_snapshot(west, disk)
    west.write('vms', disk, MARKER, 2 * OFFSET - len(MARKER))
    log = log_of('compute-west-1')

    do(server, 'migrate', host='west-2')
    servers.wait_for(server, 'VERIFY_RESIZE')
    assert log.lines('Removing snapshot nova-resize', disk)
    assert host_of(server) == 'west-2'

    do(server, 'revertResize')
    servers.wait_for(server)
    assert host_of(server) == 'west-1'
    assert west.snapshots(disk) == {}
    # To now, and not to then.
    assert west.read(disk, len(MARKER), 2 * OFFSET - len(MARKER)) == MARKER


@pytest.fixture
def killed_in_a_migration(
    upload, admin, servers, do, log_of, stop, supervisor, guest, virsh, west
):
    """A server of west-1, whose nova-compute was killed and started anew.

    It was waiting for the guest to shut down, and the disk had a snapshot of
    an earlier resize. Gives the server, and the run of its guest before.
    """

    def kill(*, guest_runs):
        image = upload(
            store='west',
            owner=admin,
            visibility='public',
            os_shutdown_timeout='120',
        )
        server = servers.boot_on(image.id, 'west-1')
        run = guest('west-1', server)
        log = log_of('compute-west-1')
        do(server, 'migrate', host='west-2')
        log.wait_for('Shutting down instance', server.id)
        disk = nova_servers.disk(server)
        leave_snapshot(west, disk)
        west.write('vms', disk, MARKER, OFFSET)
        stop('compute-west-1', signal.SIGKILL)
        if not guest_runs:
            virsh('west-1', 'destroy', server.id)
        supervisor.start('compute-west-1')
        servers.wait_for(server)
        return server, run

    return kill


@pytest.mark.fault
@pytest.mark.parametrize('guest_runs', [False, True])
def test_a_restart_in_a_migration_takes_no_disk_back_to_an_earlier_one(
    killed_in_a_migration, guest, host_of, west, guest_runs
):
    server, run = killed_in_a_migration(guest_runs=guest_runs)

    assert host_of(server) == 'west-1'
    assert has_marker(west, nova_servers.disk(server))
    assert (guest('west-1', server) == run) == guest_runs


@pytest.mark.fault
def test_stock_nova_takes_it_back(
    configure_stock, killed_in_a_migration, host_of, west
):
    configure_stock('west-1')
    server, _ = killed_in_a_migration(guest_runs=False)

    assert host_of(server) == 'west-1'
    assert not has_marker(west, nova_servers.disk(server))


@pytest.mark.fault
@pytest.mark.parametrize('action', ['migrate', 'resize'])
def test_a_server_that_would_leave_its_cluster_runs_on_where_it_is(
    boot,
    guest,
    admin,
    do,
    wait_to_be_told,
    servers,
    host_of,
    east,
    west,
    action,
):
    server = boot('east-1')
    disk = nova_servers.disk(server)
    run = guest('east-1', server)

    if action == 'migrate':
        do(server, 'migrate', host='west-1')
    else:
        # There is one host in east.
        flavor = admin.compute.find_flavor('m1.small', ignore_missing=False)
        do(server, 'resize', flavorRef=flavor.id)
    wait_to_be_told(
        server,
        f'disk is in Ceph cluster {east.fsid}',
        f'new host has {west.fsid}',
    )
    now = servers.wait_for(server)

    assert host_of(server) == 'east-1'
    assert now.flavor['original_name'] == 'm1.tiny'
    assert guest('east-1', server) == run
    assert has_marker(east, disk)
    assert disk not in west.images('vms')


@pytest.mark.fault
def test_stock_nova_migrates_a_server_to_where_its_disk_is_not(
    configure_stock, boot, do, admin, host_of, east, west
):
    for host in ('east-1', 'west-1'):
        configure_stock(host)
    server = boot('east-1')
    disk = nova_servers.disk(server)

    do(server, 'migrate', host='west-1')
    polling.until(
        lambda: admin.compute.get_server(server.id).status == 'ERROR',
        'the server is in ERROR',
    )

    assert host_of(server) == 'west-1'
    assert disk not in west.images('vms')
    assert has_marker(east, disk)


@pytest.mark.fault
def test_a_server_is_not_migrated_live_to_another_cluster(
    boot, guest, do, wait_to_be_told, servers, host_of, east, west
):
    server = boot('east-1')
    run = guest('east-1', server)

    do(server, 'os-migrateLive', host='west-1', block_migration='auto')
    wait_to_be_told(
        server,
        f'disk is in Ceph cluster {east.fsid}',
        f'new host has {west.fsid}',
    )
    servers.wait_for(server)

    assert host_of(server) == 'east-1'
    assert guest('east-1', server) == run
    assert has_marker(east, nova_servers.disk(server))


# What lies there already


@pytest.mark.fault
def test_a_rescue_gets_no_config_drive_of_an_earlier_one(
    boot, configure, config_drives, admin, servers, west
):
    configure('west-1', **config_drives)
    server = boot('west-1', config_drive=True)
    drive = f'{nova_servers.disk(server)}.config.rescue'
    west.create('vms', drive, 1 << 20)
    west.write('vms', drive, b'older')

    admin.compute.rescue_server(server)
    servers.wait_for(server, 'RESCUE')

    assert west.read(drive, 5) != b'older'
    admin.compute.unrescue_server(server)
    servers.wait_for(server)
    assert drive not in west.images('vms')


@pytest.fixture
def lying_in_west(west):
    """A disk that lies in west, and goes at the end."""
    made = []

    def make(disk):
        made.append(disk)
        west.create_disk(disk, b'older'.ljust(1 << 20), 'snapshot')

    yield make
    for name in west.images('vms'):
        if name.startswith('aside.') and name.endswith(tuple(made)):
            west.remove('vms', name)


@pytest.mark.fault
def test_an_unshelved_server_gets_no_disk_that_it_had_there_before(
    boot,
    configure,
    config_drives,
    do,
    servers,
    host_of,
    lying_in_west,
    east,
    west,
):
    for host in ('east-1', 'west-1'):
        configure(host, **config_drives)
    server = boot('east-1', config_drive=True)
    disk = nova_servers.disk(server)
    config_drive = f'{disk}.config'
    do(server, 'shelve')
    servers.wait_for(server, 'SHELVED_OFFLOADED')
    lying_in_west(disk)
    lying_in_west(config_drive)

    do(server, 'unshelve', host='west-1')
    servers.wait_for(server)

    assert host_of(server) == 'west-1'
    assert has_marker(west, disk)
    assert west.read(config_drive, 5) != b'older'
    aside = [name for name in west.images('vms') if f'.{server.id}' in name]
    assert {name.split('.', 2)[2] for name in aside} == {disk, config_drive}
    assert [west.read(name, 5) for name in aside] == [b'older', b'older']
    assert disk not in east.images('vms')
