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

import signal

import pytest

from tests.rig import clusters
from tests.rig import polling
from tests.rig import servers as nova_servers

pytestmark = pytest.mark.fault


def test_a_copy_goes_on_when_the_compute_that_asked_for_it_is_killed(
    upload,
    servers,
    east,
    log_of,
    stop,
    supervisor,
    stores_of,
    copy_tasks,
    demo,
):
    image = upload(size_mib=512)
    log = log_of('compute-east-1')
    (server,) = servers.begin(image.id, 'east')
    log.wait_for('Glance copies image', image.id)

    stop('compute-east-1', signal.SIGKILL)
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


def test_a_compute_that_is_stopped_leaves_its_boot_to_another_host(
    upload, servers, west, hold_copy, log_of, configure, supervisor, host_of
):
    hosts = ('west-1', 'west-2')
    for host in hosts:
        # Nova keeps 20 s of this for the end.
        configure(host, DEFAULT__manager_shutdown_timeout=25)
    image = upload(size_mib=64)
    theirs = hold_copy(image.id, 'west')
    logs = {host: log_of(f'compute-{host}') for host in hosts}
    (server,) = servers.begin(image.id, 'west')
    polling.until(
        lambda: any(
            log.lines('Waiting for image', server.id) for log in logs.values()
        ),
        'one of them waits',
    )
    (stopped,) = (
        host
        for host, log in logs.items()
        if log.lines('Waiting for image', server.id)
    )
    (other,) = (host for host in hosts if host != stopped)

    supervisor.signal(f'compute-{stopped}', signal.SIGTERM)
    logs[other].wait_for('Waiting for image', server.id)
    theirs.thaw()
    servers.wait_for(server)

    assert host_of(server) == other
    parent = clusters.of_glance(image.id)
    assert west.parent(nova_servers.disk(server)) == parent


def test_a_server_that_is_deleted_during_a_copy_is_gone_at_the_next_poll(
    upload, servers, east, hold_copy, log_of
):
    image = upload(size_mib=64)
    theirs = hold_copy(image.id, 'east')
    log = log_of('compute-east-1')
    begun = servers.begin(image.id, 'east', 'east')
    asking = log.wait_for('Waiting for image', image.id)
    deleted, left = sorted(begun, key=lambda server: server.id not in asking)

    servers.delete([deleted])

    assert log.lines('not waiting any longer', deleted.id)
    assert nova_servers.disk(deleted) not in east.images('vms')

    # The other, which had left the asking to it, goes on by itself.
    theirs.thaw()
    servers.wait_for(left)
    parent = clusters.of_glance(image.id)
    assert east.parent(nova_servers.disk(left)) == parent


def test_stock_nova_deletes_a_server_only_after_its_copy(
    upload, servers, configure_stock, stores_of, copy_tasks
):
    configure_stock('east-1', libvirt__images_rbd_glance_copy_poll_interval=2)
    image = upload(size_mib=512)
    begun = servers.begin(image.id, 'east')
    polling.until(lambda: copy_tasks(image.id), 'Nova has asked for a copy')
    assert 'east' not in stores_of(image.id)

    servers.delete(begun)

    assert 'east' in stores_of(image.id)
