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

"""Nova's calls to RBD over the host's connection."""

from nova.storage import rbd_utils
import pytest
import rados
import rbd

from nova_rbd_multistore import disks
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import host
from tests.fakes import librados


@pytest.fixture
def library(options, monkeypatch):
    del options
    library = librados.Librados()
    library.pools['vms']['disk'] = librados.Image(size=1024)
    monkeypatch.setattr(rados, 'Rados', library.Rados)
    monkeypatch.setattr(rbd, 'Image', library.Image)
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


def test_an_open_disk_tells_its_size_and_grows(driver, library):
    with driver.opened('disk') as disk:
        assert disk.size() == 1024
        disk.resize(4096)
    assert driver.size('disk') == 4096
    assert library.open == 0
    assert len(library.connections) == 1


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
