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

"""Guests find the monitors, whatever addresses these have.

The monitors' hosts and ports go through Nova's code into a disk's XML, through
libvirt into QEMU's words, and QEMU opens the disk with them alone.
"""

import contextlib
import ipaddress
import json
import subprocess
import sys

from nova.virt.libvirt import config as guest_config
import pytest

from lab import hypervisor
from lab import layout
from nova_rbd_multistore import ceph
from nova_rbd_multistore import disks
from tests.rig import guest_disk
from tests.rig import name_server
from tests.rig import small_cluster

pytestmark = pytest.mark.fault

#: Ceph's own ports of both versions of its messenger, and others.
MSGR1, MSGR2, OTHER = 6789, 3300, 17300

ASK = """
import json, sys
from nova_rbd_multistore import ceph
print(json.dumps(ceph.Cluster(sys.argv[1], 'nova', 10, {}).monitors()))
"""


@pytest.fixture
def run_cluster(tmp_path):
    """Runs a cluster whose monitor has these ports at this address."""
    with contextlib.ExitStack() as running:

        def run(host, **ports):
            cluster = small_cluster.SmallCluster(
                tmp_path / 'cluster', host, ports
            )
            running.enter_context(cluster.running())
            return cluster

        yield run


@pytest.fixture
def in_qemu_s_words(computes, tmp_path):
    """Has libvirt translate the XML of a disk: QEMU's options of it."""

    return lambda xml: guest_disk.options(computes['west-1'], xml, tmp_path)


def opens(options, conf):
    """Whether QEMU opens a disk by the monitors that it is told."""
    options = {**options, 'user': 'nova', 'conf': str(conf)}
    command = ('qemu-img', 'info', f'json:{json.dumps(options)}')
    said = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert 'virtual size: 8 MiB' in said.stdout, said.stderr
    return True


@pytest.mark.parametrize(
    ('host', 'ports', 'port'),
    [
        ('127.0.0.1', {'v2': MSGR2}, MSGR2),
        ('127.0.0.1', {'v2': OTHER}, OTHER),
        ('[::1]', {'v2': MSGR2}, MSGR2),
        ('[::1]', {'v2': MSGR2, 'v1': MSGR1}, MSGR1),
        ('[::1]', {'v2': OTHER, 'v1': OTHER + 1}, OTHER + 1),
    ],
    ids=['v2', 'v2-other-port', 'v2-ipv6', 'both-ipv6', 'both-ipv6-other'],
)
def test_a_guest_finds_the_monitors(
    run_cluster, in_qemu_s_words, host, ports, port
):
    cluster = run_cluster(host, **ports)
    driver = disks.RBDDriver(ceph.Cluster(str(cluster.conf), 'nova', 10, {}))

    disk = guest_config.LibvirtConfigGuestDisk()
    disk.source_type, disk.source_protocol = 'network', 'rbd'
    disk.source_name = 'vms/disk'
    disk.driver_format = 'raw'
    disk.target_dev, disk.target_bus = 'vda', 'virtio'
    disk.source_hosts, disk.source_ports = driver.get_mon_addrs()
    options = in_qemu_s_words(disk.to_xml())

    assert options['server'] == [{'host': host.strip('[]'), 'port': str(port)}]
    assert opens(options, cluster.conf_with())
    # For libguestfs, which wants IPv6 addresses so.
    assert driver.get_mon_addrs(strip_brackets=False)[0] == [host]


@pytest.fixture
def msgr2_alone(west):
    """The monitor of west speaks version 2 of the messenger alone."""
    v2, v1 = (
        f'{version}:{layout.HOST}:{layout.PORTS[name]}'
        for version, name in (
            ('v2', 'ceph-mon-west'),
            ('v1', 'ceph-mon-west-v1'),
        )
    )
    # It then starts itself anew.
    west.command('mon set-addrs', name='a', addrs=f'[{v2}]')
    yield layout.PORTS['ceph-mon-west']
    west.command('mon set-addrs', name='a', addrs=f'[{v2},{v1}]')


def test_a_server_boots_where_monitors_speak_version_2_alone(
    msgr2_alone, upload, servers, computes, host_of
):
    image = upload(store='west', os_shutdown_timeout='1')

    (server,) = servers.boot(image.id, 'west')

    guest = subprocess.run(
        hypervisor.inside(
            computes[host_of(server)], 'virsh', 'dumpxml', server.id
        ),
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    assert f"<host name='{layout.HOST}' port='{msgr2_alone}'/>" in guest


def test_monitors_that_are_named_in_the_dns_are_found(run_cluster, tmp_path):
    cluster = run_cluster('[::1]', v2=OTHER)
    conf = cluster.conf_with('mon_dns_srv_name = ceph-mon_example.test')
    records = {
        (
            '_ceph-mon._tcp.example.test',
            name_server.SRV,
        ): name_server.service(OTHER, 'a.example.test'),
        (
            'a.example.test',
            name_server.AAAA,
        ): ipaddress.ip_address('::1').packed,
    }

    with name_server.serving(records):
        said = name_server.run(
            [sys.executable, '-c', ASK, str(conf)], tmp_path
        )

    # Their addresses, for guests may not ask the DNS.
    assert json.loads(said) == [['[::1]', str(OTHER)]]


def test_of_several_monitors_one_need_not_answer(run_cluster):
    cluster = run_cluster('127.0.0.1', v2=MSGR2, v1=MSGR1)
    several = cluster.conf_with(
        'mon_host = [v2:127.0.0.2:3300,v1:127.0.0.2:6789],127.0.0.1'
    )

    hosts, ports = disks.RBDDriver(
        ceph.Cluster(str(several), 'nova', 10, {})
    ).get_mon_addrs()

    # What the cluster says, not what the file does.
    assert (hosts, ports) == (['127.0.0.1'], [str(MSGR1)])
