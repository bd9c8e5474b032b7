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

"""What the scheduler's filter and weigher learn of a server."""

import pytest

from nova_rbd_multistore import server
from tests.fakes import cells as nova_cells


@pytest.fixture
def cells(monkeypatch):
    made = nova_cells.Cells(monkeypatch)
    made.add_host('west-1', nova_cells.WEST)
    made.add_host('old', None)
    return made


def found(name, **fields):
    return server.of_request(nova_cells.request(name, **fields))


def test_a_server_that_is_in_no_cell_is_new(cells):
    assert found(cells.ask_for_server()) is None


def test_a_server_that_no_database_knows_is_new(cells):
    # The scheduler is asked before the API has stored it.
    assert found('00000000-0000-4000-8000-000000000000') is None


def test_a_server_that_was_deleted_meanwhile_is_nobodys(cells):
    name = cells.add_server('west-1')
    cells.remove_server(name)
    assert found(name) is None


def test_a_server_on_a_host_is_in_the_cluster_of_that_host(cells):
    assert found(cells.add_server('west-1')) == server.Server(
        on_host=True, cluster='fsid-west', has_data=True, shelved_image=None
    )


def test_a_server_on_a_host_of_another_driver_is_in_no_known_cluster(cells):
    it = found(cells.add_server('old'))
    assert it.on_host
    assert it.cluster == ''


def test_a_server_whose_host_is_no_more_is_in_no_known_cluster(cells):
    name = cells.add_server('west-1')
    cells.remove_host('west-1')
    it = found(name)
    assert it.on_host
    assert it.cluster == ''


def test_a_server_that_was_shelved_is_on_no_host_and_has_an_image(cells):
    it = found(cells.add_server(None, shelved_image='shelved'))
    assert not it.on_host
    assert it.cluster == ''
    assert it.shelved_image == 'shelved'


@pytest.mark.parametrize(('ephemeral', 'has_data'), [(0, False), (1, True)])
def test_beside_a_volume_a_server_may_have_data_in_an_ephemeral_disk(
    cells, ephemeral, has_data
):
    it = found(cells.add_server('west-1', ephemeral=ephemeral), is_bfv=True)
    assert it.has_data == has_data
