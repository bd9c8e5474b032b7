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

"""A compute fails, or is not needed any more, while a copy is on its way."""

from collections.abc import Iterator
import datetime
import subprocess
from typing import Any

import pytest

from lab import hypervisor
from tests.functional import clusters
from tests.functional import polling
from tests.functional import servers as nova_servers

pytestmark = pytest.mark.fault


@pytest.fixture
def restart(supervisor, admin) -> Any:
    """Starts a nova-compute anew, and waits until it reports."""

    def reported(host: str) -> datetime.datetime:
        (service,) = admin.compute.services(binary='nova-compute', host=host)
        return datetime.datetime.fromisoformat(service.updated_at)

    def anew(compute: Any) -> None:
        supervisor.stop(compute.program)
        before = reported(compute.name)
        supervisor.start(compute.program)
        polling.until(
            lambda: reported(compute.name) > before, f'{compute.name} reports'
        )

    return anew


#: Of a cephx user that may look at everything that Nova sees, no more.
READER = {
    'mon': 'profile rbd',
    'mgr': 'profile rbd-read-only pool=vms',
    'osd': 'profile rbd-read-only pool=vms, profile rbd-read-only pool=images',
}


@pytest.fixture
def reader(where, west) -> Iterator[str]:
    """A cephx user of site west, with its key in place."""
    entity = 'client.reader'
    caps = [text for cap in READER.items() for text in cap]
    (auth,) = west.command('auth get-or-create', entity=entity, caps=caps)
    keyring = where.sites[1].keyring(entity)
    keyring.touch(mode=0o600)
    keyring.write_text(f'[{entity}]\nkey = {auth["key"]}\n')
    yield entity.removeprefix('client.')
    keyring.unlink()
    west.command('auth rm', entity=entity)


@pytest.fixture
def run_as(restart, tmp_path) -> Iterator[Any]:
    """Has one compute use Ceph as another user than all others.

    Its nova.conf is replaced in its own mount name space.
    """
    changed = []

    def run(compute, *command):
        subprocess.run(
            hypervisor.inside(compute, *command), check=True, timeout=30
        )

    def change(compute, user):
        conf = tmp_path / 'nova.conf'
        conf.touch(mode=0o600)
        text = compute.nova_conf.read_text()
        assert 'rbd_user = nova\n' in text
        conf.write_text(
            text.replace('rbd_user = nova\n', f'rbd_user = {user}\n')
        )
        run(compute, 'mount', '--bind', str(conf), str(compute.nova_conf))
        changed.append(compute)
        restart(compute)

    yield change
    for compute in changed:
        run(compute, 'umount', str(compute.nova_conf))
        restart(compute)


def test_nova_tries_another_host_when_one_may_not_write_to_its_pool(
    upload, servers, computes, reader, run_as, west, host_of, log_of
):
    image = upload()
    parent = clusters.of_glance(image.id)
    log = log_of('compute-west-1')
    run_as(computes['west-1'], reader)

    # The second goes to the host that the first has not gone to.
    booted = [servers.boot(image.id, 'west')[0] for _ in range(2)]

    assert {host_of(server) for server in booted} == {'west-2'}
    disks = [nova_servers.disk(server) for server in booted]
    assert {west.parent(disk) for disk in disks} == {parent}
    assert log.lines('PoolUnusable', 'Pool vms')


def test_a_copy_goes_on_when_the_compute_that_asked_for_it_is_killed(
    upload,
    servers,
    east,
    log_of,
    supervisor,
    stores_of,
    copy_tasks,
    demo,
):
    image = upload(size_mib=512)
    log = log_of('compute-east-1')
    (server,) = servers.begin(image.id, 'east')
    log.wait_for('Glance copies image', image.id)

    supervisor.kill('compute-east-1')
    assert 'east' not in stores_of(image.id)
    polling.until(
        lambda: 'east' in stores_of(image.id), 'the image is in store east'
    )
    supervisor.start('compute-east-1')

    # So does stock Nova with a build that was cut off, and gives no reason.
    polling.until(
        lambda: demo.compute.get_server(server).status == 'ERROR',
        'the server is in ERROR',
    )
    assert nova_servers.disk(server) not in east.images('vms')

    (again,) = servers.boot(image.id, 'east')

    parent = clusters.of_glance(image.id)
    assert east.parent(nova_servers.disk(again)) == parent
    assert len(copy_tasks(image.id)) == 1


def test_a_server_that_is_deleted_during_a_copy_is_gone_at_the_next_poll(
    upload, servers, west, hold_copy, log_of, host_of
):
    image = upload(size_mib=64)
    hold_copy(image.id, 'west')
    logs = {name: log_of(f'compute-{name}') for name in ('west-1', 'west-2')}
    (server,) = servers.begin(image.id, 'west')
    log = logs[polling.until(lambda: host_of(server), 'Nova chose a host')]
    log.wait_for('is being copied for somebody else', server.id)

    servers.delete([server])

    assert nova_servers.disk(server) not in west.images('vms')
