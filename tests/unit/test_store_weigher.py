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

"""Servers that get a new disk go where their image is, if all else is even."""

from nova import objects
from nova.scheduler import weights
import pytest
import requests

from nova_rbd_multistore import store_weigher
from tests.fakes import cells as nova_cells
from tests.fakes import glance_api
from tests.fakes import host as fake_hosts

NAME = 'nova_rbd_multistore.store_weigher.ImageStoreWeigher'


@pytest.fixture
def cells(monkeypatch):
    return nova_cells.Cells(monkeypatch)


@pytest.fixture
def hosts(cells):
    return cells.add_hosts()


@pytest.fixture
def weigher(options, cloud):
    del options
    return store_weigher.ImageStoreWeigher(
        fake_hosts.Access(cloud), cloud.clock.monotonic
    )


@pytest.fixture
def weigh(weigher, hosts, context):
    """The weight of each host for a server, as Nova adds it up."""

    def of(server, image=None, among=hosts, **fields):
        found = weights.HostWeightHandler().get_weighed_objects(
            [weigher],
            among,
            nova_cells.request(server, context, image, **fields),
        )
        return {weighed.obj.host: weighed.weight for weighed in found}

    return of


def asked(cloud):
    """What Glance was asked of images."""
    return [
        path
        for endpoint in cloud.endpoints
        for path in endpoint.paths
        if '/images/' in path
    ]


NOBODY = dict.fromkeys(['east-1', 'west-1', 'west-2', 'old'], 0)
WEST = {**NOBODY, 'west-1': 10, 'west-2': 10}


def test_nova_loads_it_by_its_name():
    found = weights.HostWeightHandler().get_matching_classes([NAME])
    assert found == [store_weigher.ImageStoreWeigher]


def test_nova_does_not_load_it_unasked():
    assert store_weigher.ImageStoreWeigher not in weights.all_weighers()


def test_nova_makes_it_from_its_options(options):
    del options
    assert isinstance(
        store_weigher.ImageStoreWeigher(), weights.BaseHostWeigher
    )


def test_hosts_whose_store_has_the_image_are_preferred(cells, weigh, cloud):
    image = cloud.api.add_image('file', 'west')
    assert weigh(cells.ask_for_server(), image.id) == WEST


def test_where_all_sites_have_it_none_is_preferred_to_another(
    cells, weigh, cloud
):
    image = cloud.api.add_image('east', 'west')
    found = weigh(cells.ask_for_server(), image.id)
    assert found['east-1'] == found['west-1'] == 10


def test_where_no_site_has_it_none_is_preferred(cells, weigh, cloud):
    image = cloud.api.add_image('file')
    assert weigh(cells.ask_for_server(), image.id) == NOBODY


def test_a_copy_under_way_is_none_yet(cells, weigh, cloud):
    image = cloud.api.add_image('file', 'west')
    image.properties[glance_api.LOCK] = 'task'
    image.properties[glance_api.IMPORTING] = 'west'
    assert weigh(cells.ask_for_server(), image.id) == NOBODY


def test_a_server_that_a_host_failed_to_build_is_as_good_as_new(
    cells, weigh, cloud
):
    image = cloud.api.add_image('file', 'west')
    assert weigh(cells.add_server(None), image.id) == WEST


def test_a_shelved_server_goes_where_its_snapshot_is(cells, weigh, cloud):
    image = cloud.api.add_image('east')
    snapshot = cloud.api.add_image('west')
    server = cells.add_server(None, shelved_image=snapshot.id)
    assert weigh(server, image.id) == WEST


def test_a_server_that_has_its_disk_is_not_sent_to_its_image(
    cells, weigh, cloud
):
    image = cloud.api.add_image('west')
    assert weigh(cells.add_server('east-1'), image.id) == NOBODY
    assert asked(cloud) == []


def test_for_a_server_on_a_volume_no_image_counts(cells, weigh, cloud):
    image = cloud.api.add_image('west')
    assert weigh(cells.ask_for_server(), image.id, is_bfv=True) == NOBODY
    assert weigh(cells.ask_for_server()) == NOBODY
    assert asked(cloud) == []


def test_where_all_hosts_are_of_one_site_glance_is_not_asked(
    cells, weigh, cloud, hosts
):
    image = cloud.api.add_image('west')
    found = weigh(cells.ask_for_server(), image.id, among=hosts[1:3])
    assert found == {'west-1': 0, 'west-2': 0}
    assert asked(cloud) == []


def test_many_servers_of_one_image_are_one_question(cells, weigh, cloud):
    image = cloud.api.add_image('west')
    for _ in range(10):
        assert weigh(cells.ask_for_server(), image.id) == WEST
    assert len(asked(cloud)) == 1


def test_an_answer_counts_for_some_seconds(cells, weigh, cloud):
    image = cloud.api.add_image('file')
    assert weigh(cells.ask_for_server(), image.id) == NOBODY
    cloud.api.images[image.id].locations |= {
        'west': f'rbd://fsid-west/images/{image.id}/snap'
    }
    assert weigh(cells.ask_for_server(), image.id) == NOBODY
    cloud.clock.sleep(store_weigher.REMEMBERED)
    assert weigh(cells.ask_for_server(), image.id) == WEST


def test_what_no_longer_counts_is_forgotten(cells, weigh, weigher, cloud):
    for _ in range(5):
        image = cloud.api.add_image('west')
        weigh(cells.ask_for_server(), image.id)
        cloud.clock.sleep(store_weigher.REMEMBERED)
    assert len(weigher._known) == 1


def fall_silent(cloud):
    for endpoint in cloud.endpoints:
        endpoint.fault = requests.ConnectionError('refused')


def test_without_glance_no_host_is_preferred(cells, weigh, cloud, caplog):
    image = cloud.api.add_image('west')
    fall_silent(cloud)
    assert weigh(cells.ask_for_server(), image.id) == NOBODY
    (warning,) = (
        record.getMessage()
        for record in caplog.records
        if record.name == store_weigher.__name__
    )
    assert warning.startswith('No host is preferred for having the image')


def test_an_image_that_the_user_does_not_see_prefers_no_host(
    cells, weigh, cloud
):
    image = cloud.api.add_image('west', owner='other', visibility='private')
    assert weigh(cells.ask_for_server(), image.id) == NOBODY


def test_glance_is_not_waited_for_as_long_as_a_boot_waits(
    options, monkeypatch
):
    options.config(group='glance', timeout=600)
    made = []
    monkeypatch.setattr(
        store_weigher.glance_access,
        'GlanceAccess',
        lambda timeout: made.append(timeout),
    )
    store_weigher.ImageStoreWeigher()
    assert made == [store_weigher.PATIENCE]


def test_the_option_says_how_much_it_counts(cells, weigh, cloud, options):
    options.config(group='rbd_multistore', image_store_weight_multiplier=0.5)
    image = cloud.api.add_image('west')
    assert weigh(cells.ask_for_server(), image.id)['west-1'] == 0.5


def test_an_aggregate_says_how_much_it_counts_for_its_hosts(
    cells, weigh, cloud, hosts
):
    hosts[1].aggregates = [
        objects.Aggregate(metadata={'image_store_weight_multiplier': '2'})
    ]
    image = cloud.api.add_image('west')
    found = weigh(cells.ask_for_server(), image.id)
    assert found == {**WEST, 'west-1': 2}
