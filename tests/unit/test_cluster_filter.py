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

"""Servers with disks stay in their cluster; all others go anywhere."""

import subprocess
import sys

from nova.scheduler import filters
from nova.scheduler import host_manager
import pytest

from nova_rbd_multistore import cluster_filter
from tests.fakes import cells as nova_cells

NAME = 'nova_rbd_multistore.cluster_filter.SameClusterFilter'


@pytest.fixture
def cells(monkeypatch):
    return nova_cells.Cells(monkeypatch)


@pytest.fixture
def hosts(cells):
    return cells.add_hosts()


ALL = ['east-1', 'west-1', 'west-2', 'old']


def passing(hosts, server, **fields):
    """The hosts that Nova has left, of those given."""
    left = filters.HostFilterHandler().get_filtered_objects(
        [cluster_filter.SameClusterFilter()],
        hosts,
        nova_cells.request(server, **fields),
    )
    return [host.host for host in left]


def test_nova_loads_it_by_its_name():
    found = filters.HostFilterHandler().get_matching_classes([NAME])
    assert found == [cluster_filter.SameClusterFilter]


def test_nova_does_not_load_it_unasked():
    assert cluster_filter.SameClusterFilter not in filters.all_filters()


def test_it_is_loaded_where_there_is_no_ceph_and_no_libvirt():
    program = (
        'import sys\n'
        "for name in ('rados', 'rbd', 'libvirt'):\n"
        '    sys.modules[name] = None\n'
        'from nova_rbd_multistore import cluster_filter, store_weigher\n'
    )
    subprocess.run([sys.executable, '-c', program], check=True)


def test_a_server_stays_in_its_cluster(cells, hosts):
    assert passing(hosts, cells.add_server('west-1')) == ['west-1', 'west-2']


def test_so_it_does_if_its_own_host_is_not_among_those_to_choose_from(
    cells, hosts
):
    server = cells.add_server('west-1')
    others = [host for host in hosts if host.host != 'west-1']
    assert passing(others, server) == ['west-2']


def test_without_another_host_of_its_cluster_there_is_none(cells, hosts):
    server = cells.add_server('east-1')
    others = [host for host in hosts if host.host != 'east-1']
    assert passing(others, server) == []


def test_a_rebuild_passes_its_own_host(cells, hosts):
    server = cells.add_server('east-1')
    hints = {'_nova_check_type': ['rebuild']}
    assert passing(hosts[:1], server, scheduler_hints=hints) == ['east-1']


def test_a_new_server_goes_anywhere(cells, hosts):
    assert passing(hosts, cells.ask_for_server()) == ALL


def test_a_shelved_server_goes_anywhere(cells, hosts):
    server = cells.add_server(None, shelved_image='shelved')
    assert passing(hosts, server) == ALL


def test_a_server_with_no_disk_but_volumes_goes_anywhere(cells, hosts):
    assert passing(hosts, cells.add_server('west-1'), is_bfv=True) == ALL


def test_a_server_on_a_host_that_tells_no_cluster_goes_where_nova_sends_it(
    cells, hosts
):
    assert passing(hosts, cells.add_server('old')) == ALL


def test_a_host_that_has_not_reported_yet_is_in_no_cluster(cells, hosts):
    # Nova leaves out more than this of such a host.
    new = host_manager.HostState('new', 'new', 'cell')
    assert not hasattr(new, 'stats')
    assert passing([new], cells.add_server('west-1')) == []


def test_of_many_new_servers_one_is_looked_up(cells, hosts):
    handler = filters.HostFilterHandler()
    ours = cluster_filter.SameClusterFilter()
    first = nova_cells.request(cells.ask_for_server())
    assert handler.get_filtered_objects([ours], hosts, first, 0) == hosts
    for index in (1, 2):
        assert handler.get_filtered_objects([ours], hosts, None, index) == (
            hosts
        )
