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

"""Guests are started when the cluster is there, and run on until then."""

import subprocess
import time

import pytest

from lab import hypervisor
from tests.rig import polling

pytestmark = pytest.mark.fault

#: Seconds; the first is Nova's own default.
TIMEOUTS = {
    'libvirt__rbd_connect_timeout': 5,
    'rbd_multistore__rados_mon_op_timeout': 5,
}

#: Seconds for which monitors are away: some times as long.
AWAY = 20


@pytest.fixture
def virsh(computes, host_of):
    """Has libvirt do something with the guest of a server: what it says."""

    def run(what, server):
        return subprocess.run(
            hypervisor.inside(
                computes[host_of(server)], 'virsh', what, server.id
            ),
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout.strip()

    return run


@pytest.fixture
def server(upload, servers):
    (booted,) = servers.boot(upload(store='west').id, 'west')
    return booted


def test_guests_are_resumed_when_the_cluster_comes_up_late(
    server,
    configure,
    stop,
    supervisor,
    freeze,
    virsh,
    host_of,
    log_of,
    servers,
    demo,
):
    """As after a power cut of the whole site."""
    host = host_of(server)
    configure(host, DEFAULT__resume_guests_state_on_host_boot=True, **TIMEOUTS)
    stop(f'compute-{host}')
    virsh('destroy', server)
    thaw = freeze('ceph-mon-west')
    log = log_of(f'compute-{host}')
    supervisor.start(f'compute-{host}')

    log.wait_for('Waiting for the Ceph cluster', server.id)
    time.sleep(AWAY)
    assert virsh('domstate', server) != 'running'
    thaw()

    log.wait_for('The Ceph cluster answers', server.id)
    polling.until(
        lambda: virsh('domstate', server) == 'running', 'the guest runs'
    )
    servers.wait_for(server)


def test_a_hard_reboot_without_monitors_leaves_the_guest(
    server, configure, freeze, virsh, host_of, log_of, servers, demo
):
    host = host_of(server)
    configure(host, **TIMEOUTS)
    log = log_of(f'compute-{host}')
    guest = virsh('domid', server)
    assert guest
    thaw = freeze('ceph-mon-west')

    demo.compute.reboot_server(server, 'HARD')
    log.wait_for('Waiting for the Ceph cluster', server.id)
    time.sleep(AWAY)
    assert virsh('domid', server) == guest
    thaw()

    servers.wait_for(server)
    assert virsh('domstate', server) == 'running'
    assert virsh('domid', server) != guest
