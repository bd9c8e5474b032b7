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

"""One host of a site does not get on with its cluster; the other does.

Nova tries west-1 first, where the build fails, and perhaps its clean-up too,
and goes on to west-2. Both have the same pool.
"""

import dataclasses
import re
import shutil
import socket
import time
import uuid

import pytest

from nova_rbd_multistore import handle
from tests.rig import clusters
from tests.rig import polling
from tests.rig import servers as nova_servers

pytestmark = pytest.mark.fault

#: So that a slot that a build has kept would be missed.
ONE_SLOT = {'DEFAULT__max_concurrent_builds': 1}

#: Seconds, instead of our defaults.
SHORT = {
    'libvirt__rbd_connect_timeout': 5,
    'rbd_multistore__rados_mon_op_timeout': 5,
    'rbd_multistore__rados_osd_op_timeout': 5,
}

#: Of a cephx user that may look at everything that Nova sees, no more.
READER = {
    'mon': 'profile rbd',
    'mgr': 'profile rbd-read-only pool=vms',
    'osd': 'profile rbd-read-only pool=vms, profile rbd-read-only pool=images',
}


@dataclasses.dataclass
class Fault:
    """What is wrong with west-1.

    :ivar options: of its nova-compute
    :ivar strike: makes it happen, for connections to come
    :ivar mend: takes it away
    :ivar seen: whether a connection that is open meets it too
    """

    options: dict
    strike: object = lambda: None
    mend: object = lambda: None
    seen: bool = False


@pytest.fixture
def ceph_conf(where, tmp_path):
    """Has west-1 find another ceph.conf when it connects again."""
    good = where.sites[1].ceph_conf.read_text()
    path = tmp_path / 'ceph.conf'
    path.write_text(good)

    def fault(*, monitors=None, lines=()):
        text = good
        if monitors:
            text, found = re.subn(
                '^mon_host = .*$', f'mon_host = {monitors}', text, flags=re.M
            )
            assert found == 1
        text = '\n'.join([text, *lines, ''])
        return Fault(
            {'libvirt__images_rbd_ceph_conf': path},
            lambda: path.write_text(text),
            lambda: path.write_text(good),
        )

    return fault


@pytest.fixture
def frozen_address():
    """An address that takes connections, and never answers."""
    with socket.create_server(('127.0.0.1', 0)) as listening:
        _, port = listening.getsockname()
        yield f'v2:127.0.0.1:{port}'


@pytest.fixture
def frozen_monitor(ceph_conf, frozen_address):
    return ceph_conf(monitors=frozen_address)


@pytest.fixture
def unresolvable_monitor(ceph_conf):
    return ceph_conf(monitors='monitor.invalid')


@pytest.fixture
def wrong_key(ceph_conf, tmp_path):
    keyring = tmp_path / 'keyring'
    keyring.write_text(
        '[client.nova]\nkey = AQAAAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAA==\n'
    )
    return ceph_conf(lines=['[client.nova]', f'keyring = {keyring}'])


@pytest.fixture
def absent_pool():
    return Fault({'libvirt__images_rbd_pool': 'nope'})


@pytest.fixture
def own_pool(west):
    """A pool of west-1's own: its name, and what gives Nova a right to it."""
    pool = f'test-{uuid.uuid4()}'
    was = west.caps('nova')

    def allow(profile):
        west.set_caps(
            'nova', {**was, 'osd': f'{was["osd"]}, {profile} pool={pool}'}
        )

    west.make_pool(pool)
    allow('profile rbd')
    yield pool, allow
    west.set_caps('nova', was)
    west.remove_pool(pool)


@pytest.fixture
def missing_pool(west, own_pool):
    pool, _ = own_pool
    return Fault(
        {'libvirt__images_rbd_pool': pool},
        lambda: west.remove_pool(pool),
        lambda: west.make_pool(pool),
        seen=True,
    )


@pytest.fixture
def lost_right_to_write(own_pool):
    pool, allow = own_pool
    return Fault(
        {'libvirt__images_rbd_pool': pool},
        lambda: allow('profile rbd-read-only'),
        lambda: allow('profile rbd'),
    )


@pytest.fixture
def no_right_to_write(where, west):
    """A cephx user that may only read, with its key in place."""
    entity = 'client.reader'
    caps = [text for cap in READER.items() for text in cap]
    (auth,) = west.command('auth get-or-create', entity=entity, caps=caps)
    keyring = where.sites[1].keyring(entity)
    keyring.touch(mode=0o600)
    keyring.write_text(f'[{entity}]\nkey = {auth["key"]}\n')
    yield Fault({'libvirt__rbd_user': entity.removeprefix('client.')})
    keyring.unlink()
    west.command('auth rm', entity=entity)


@dataclasses.dataclass
class Placed:
    """Servers that an administrator has on a certain host."""

    servers: nova_servers.Servers
    admin: object

    def boot(self, image_id, host):
        return self.servers.boot(image_id, f'west:{host}')

    def fail(self, image_id, host):
        """Have a build fail on a host; Nova then tries no other."""
        (server,) = self.servers.begin(image_id, f'west:{host}')
        return polling.until(
            lambda: (
                now
                if (now := self.admin.compute.get_server(server.id)).status
                == 'ERROR'
                else None
            ),
            f'server {server.id} is in ERROR',
        )


@pytest.fixture
def placed(admin, images_to_remove):
    servers = nova_servers.Servers(admin)
    yield Placed(servers, admin)
    servers.delete_all()


@pytest.fixture
def image(upload):
    return upload(store='west')


@pytest.fixture
def prefer_west_1(placed, image):
    """Have Nova's scheduler take west-1 first: it has more memory to give."""
    placed.boot(image.id, 'west-2')


def of_server(west, server):
    """What there is of a server's disks in Nova's pool."""
    return {name for name in west.images('vms') if server.id in name}


@pytest.mark.parametrize(
    ('fault', 'error'),
    [
        ('frozen_monitor', 'ClusterUnreachable'),
        ('unresolvable_monitor', 'ClusterUnreachable'),
        ('wrong_key', 'ClusterRefused'),
        ('absent_pool', 'PoolUnusable'),
    ],
)
@pytest.mark.usefixtures('prefer_west_1')
def test_a_host_that_starts_without_its_cluster_builds_nothing(
    fault, error, request, image, servers, configure, west, host_of, log_of
):
    found = request.getfixturevalue(fault)
    found.strike()
    log = log_of('compute-west-1')
    configure('west-1', **SHORT, **found.options)
    began = time.monotonic()

    (server,) = servers.boot(image.id, 'west')

    print(f'{time.monotonic() - began:.1f} s')
    assert f'{error}: ' in log.text
    assert not log.lines('Instance failed to spawn')
    assert host_of(server) == 'west-2'
    assert west.parent(nova_servers.disk(server)) == clusters.of_glance(
        image.id
    )


@pytest.mark.usefixtures('prefer_west_1')
def test_nova_tries_another_host_when_one_may_not_write_to_its_pool(
    no_right_to_write,
    image,
    servers,
    placed,
    computes,
    configure,
    west,
    host_of,
    log_of,
):
    configure('west-1', **ONE_SLOT, **no_right_to_write.options)
    log = log_of('compute-west-1')
    began = time.monotonic()

    (server,) = servers.boot(image.id, 'west')

    print(f'{time.monotonic() - began:.1f} s')
    assert log.lines('Instance failed to spawn', server.id)
    assert log.lines('PoolUnusable', 'Pool vms')
    assert host_of(server) == 'west-2'
    assert west.parent(nova_servers.disk(server)) == clusters.of_glance(
        image.id
    )
    # It made nothing, so there was nothing to clean up.
    assert not log.lines('Cannot clean up after a failed build')
    assert not (computes['west-1'].instances_path / server.id).exists()

    # It would wait for the slot for ever.
    failed = placed.fail(image.id, 'west-1')
    assert log.lines('Instance failed to spawn', failed.id)

    servers.delete([server])
    assert of_server(west, server) == set()


@pytest.mark.parametrize(
    ('fault', 'error'),
    [
        ('frozen_monitor', 'ClusterUnreachable'),
        ('unresolvable_monitor', 'ClusterUnreachable'),
        ('wrong_key', 'ClusterRefused'),
        ('missing_pool', 'PoolUnusable'),
        ('lost_right_to_write', 'PoolUnusable'),
    ],
)
@pytest.mark.usefixtures('prefer_west_1')
def test_nova_builds_elsewhere_if_a_host_loses_its_cluster(
    fault,
    error,
    request,
    image,
    servers,
    placed,
    computes,
    configure,
    west,
    host_of,
    log_of,
):
    found = request.getfixturevalue(fault)
    others = west.clients('nova')
    configure('west-1', **ONE_SLOT, **SHORT, **found.options)
    log = log_of('compute-west-1')
    found.strike()
    if not found.seen:
        west.blocklist('nova', but=others)

    began = time.monotonic()
    (server,) = servers.boot(image.id, 'west')
    print(f'{time.monotonic() - began:.1f} s')
    assert log.lines('Instance failed to spawn', server.id)
    assert host_of(server) == 'west-2'
    assert west.parent(nova_servers.disk(server)) == clusters.of_glance(
        image.id
    )
    assert not (computes['west-1'].instances_path / server.id).exists()

    # It would wait for the slot for ever.
    failed = placed.fail(image.id, 'west-1')
    assert log.lines('Instance failed to spawn', failed.id)
    assert f'{error}: ' in log.text

    # Nova's scheduler has been told that builds fail there.
    began = time.monotonic()
    (second,) = servers.boot(image.id, 'west')
    print(f'then {time.monotonic() - began:.1f} s')
    assert host_of(second) == 'west-2'
    assert not log.lines(second.id)

    # For so long, it believes that something is refused.
    found.mend()
    time.sleep(handle.REFUSALS_BELIEVED)
    (again,) = placed.boot(image.id, 'west-1')
    assert host_of(again) == 'west-1'

    gone = [server, failed, second, again]
    servers.delete([server, second])
    placed.servers.delete([failed, again])
    assert {name for each in gone for name in of_server(west, each)} == set()


@pytest.mark.usefixtures('prefer_west_1')
def test_nova_builds_elsewhere_if_an_osd_freezes_during_a_build(
    image,
    servers,
    placed,
    configure,
    west,
    freeze,
    host_of,
    log_of,
):
    configure('west-1', **ONE_SLOT, **SHORT)
    log = log_of('compute-west-1')
    began = time.monotonic()

    thaw = freeze('ceph-osd-west')
    (server,) = servers.begin(image.id, 'west')
    log.wait_for('Cannot clean up after a failed build', server.id)
    print(f'{time.monotonic() - began:.1f} s')
    thaw()
    servers.wait_for(server)

    assert host_of(server) == 'west-2'
    assert west.parent(nova_servers.disk(server)) == clusters.of_glance(
        image.id
    )
    (again,) = placed.boot(image.id, 'west-1')
    assert host_of(again) == 'west-1'

    servers.delete([server])
    assert of_server(west, server) == set()


# What is not a failed build


def test_a_server_whose_disk_cannot_be_deleted_is_not_gone(
    image,
    servers,
    placed,
    admin,
    frozen_address,
    ceph_conf,
    configure,
    compute_changes,
    west,
):
    (server,) = placed.boot(image.id, 'west-1')
    disk = nova_servers.disk(server)
    away = ceph_conf(monitors=frozen_address)
    away.strike()
    configure('west-1', **away.options)

    admin.compute.delete_server(server)
    polling.until(
        lambda: admin.compute.get_server(server.id).status == 'ERROR',
        'the server is in ERROR',
    )
    assert disk in west.images('vms')

    compute_changes.restore()
    placed.servers.delete([server])
    assert disk not in west.images('vms')


# Disks that are made from files


@dataclasses.dataclass
class HeldProgram:
    """A program of a host, held up where a test wants it to be.

    :ivar script: to be in its place
    """

    script: str
    reached: object
    go: object

    def wait_for(self):
        polling.until(self.reached.exists, 'the program runs')

    def let_go(self):
        self.go.touch()


@pytest.fixture
def hold_rbd(compute_changes, computes, tmp_path):
    """Has west-1 hold an ``rbd import`` before it begins, or when it ends."""

    def hold(disk, *, when):
        real = tmp_path / 'rbd'
        shutil.copy('/usr/bin/rbd', real)
        reached, go = tmp_path / 'reached', tmp_path / 'go'
        wait = f'touch {reached}; until [ -e {go} ]; do sleep 0.1; done'
        before, after = (
            wait if when == at else ':' for at in ('begin', 'end')
        )
        script = (
            '#!/bin/sh\n'
            f'case "$*" in *{disk}*) {before};; esac\n'
            f'{real} "$@" || exit $?\n'
            f'case "$*" in *{disk}*) {after};; esac\n'
        )
        compute_changes.replace(computes['west-1'], '/usr/bin/rbd', script)
        return HeldProgram(script, reached, go)

    return hold


@pytest.fixture
def many_disks(admin):
    """The name of a flavor with an ephemeral and a swap disk."""
    flavor = admin.compute.create_flavor(
        name=f'test-{uuid.uuid4()}',
        ram=128,
        vcpus=1,
        disk=1,
        ephemeral=1,
        swap=16,
    )
    yield flavor.name
    admin.compute.delete_flavor(flavor)


@pytest.mark.parametrize(
    ('disk', 'when', 'daemon'),
    [
        ('disk.eph0', 'begin', 'ceph-osd-west'),
        ('disk.swap', 'begin', 'ceph-osd-west'),
        # The next that is asked for are the addresses of the monitors.
        ('disk.swap', 'end', 'ceph-mon-west'),
        ('disk.config', 'begin', 'ceph-mon-west'),
        ('disk.config', 'begin', 'ceph-osd-west'),
    ],
)
@pytest.mark.usefixtures('prefer_west_1')
def test_a_boot_with_many_disks_ends_wherever_the_cluster_freezes(
    disk,
    when,
    daemon,
    image,
    servers,
    configure,
    config_drives,
    many_disks,
    hold_rbd,
    west,
    freeze,
    host_of,
    log_of,
):
    configure('west-2', **config_drives)
    configure('west-1', **config_drives, **ONE_SLOT, **SHORT)
    held = hold_rbd(disk, when=when)
    log = log_of('compute-west-1')

    (server,) = servers.begin(
        image.id, 'west', flavor=many_disks, config_drive=True
    )
    held.wait_for()
    thaw = freeze(daemon)
    began = time.monotonic()
    held.let_go()
    log.wait_for('Instance failed to spawn', server.id)
    if daemon == 'ceph-osd-west':
        log.wait_for('Cannot clean up after a failed build', server.id)
    print(f'{time.monotonic() - began:.1f} s')
    thaw()
    servers.wait_for(server)

    assert host_of(server) == 'west-2'
    disks = {f'disk{kind}' for kind in ('', '.eph0', '.swap', '.config')}
    found = {name.partition('_')[2] for name in of_server(west, server)}
    # And perhaps something that was broken off, under another name.
    assert disks <= found
    servers.delete([server])
    assert of_server(west, server) == set()
