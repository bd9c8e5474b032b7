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

"""Nova's scheduler, with this project's filter and weigher, and without."""

from openstack import exceptions as sdk_exceptions
import pytest

from tests.rig import polling
from tests.rig import servers as nova_servers
from tests.rig.servers import ANYWHERE

#: What a user has written, in the second half of a disk of 1 GiB.
MARKER = b'written by the user of this server'
PLACE = 600 << 20


@pytest.fixture
def by_site(schedule_by_site):
    schedule_by_site()


@pytest.fixture
def image_in(upload):
    """Makes an image in the store of a site."""
    return lambda store: upload(store=store, **nova_servers.SHUT_DOWN_AT_ONCE)


@pytest.fixture
def clusters(east, west):
    return {'east': east, 'west': west}


@pytest.fixture
def boot(servers, image_in, clusters):
    """A server without a zone, by its image on a site; marked."""

    def on(site):
        (server,) = servers.boot(image_in(site).id, ANYWHERE)
        disk = nova_servers.disk(server)
        clusters[site].write('vms', disk, MARKER, PLACE)
        return server

    return on


@pytest.fixture
def is_marked(clusters):
    """Whether a server's disk on a site has what the user has written."""

    def on(site, server):
        disk = nova_servers.disk(server)
        return clusters[site].read(disk, len(MARKER), PLACE) == MARKER

    return on


@pytest.fixture
def resize(demo):
    flavor = demo.compute.find_flavor('m1.small', ignore_missing=False)
    return lambda server: demo.compute.resize_server(server, flavor.id)


WEST = {'west-1', 'west-2'}


@pytest.mark.long
def test_a_resize_of_a_server_without_a_zone_stays_on_its_site(
    by_site, boot, servers, image_in, resize, host_of, is_marked
):
    server = boot('west')
    # Now the host of east is the emptiest: Nova prefers it.
    servers.boot(image_in('west').id, 'west')
    before = host_of(server)

    resize(server)
    servers.wait_for(server, 'VERIFY_RESIZE')

    assert {before, host_of(server)} == WEST
    assert is_marked('west', server)


@pytest.mark.fault
def test_without_the_filter_a_resize_is_sent_to_another_site(
    servers, image_in, resize, admin, host_of
):
    # One after the other, for Nova to take the emptier host.
    image = image_in('west')
    servers.boot(image.id, 'west')
    servers.boot(image.id, 'west')
    (server,) = servers.boot(image_in('east').id, ANYWHERE)
    assert host_of(server) == 'east-1'

    resize(server)

    # What becomes of it there is not the scheduler's business.
    def destination():
        migrations = admin.compute.migrations(instance_uuid=server.id)
        return next((found.dest_compute for found in migrations), None)

    assert polling.until(destination, 'Nova has chosen a host') in WEST


@pytest.mark.fault
def test_a_resize_without_room_on_the_site_changes_nothing(
    by_site, boot, servers, resize, demo, host_of, is_marked, log_of
):
    server = boot('east')
    log = log_of('nova-scheduler')

    resize(server)
    now = servers.wait_for(server)

    assert log.lines('Filter SameClusterFilter returned 0 hosts')
    assert host_of(server) == 'east-1'
    assert now.flavor.original_name == 'm1.tiny'
    assert is_marked('east', server)
    (action,) = (
        action
        for action in demo.compute.server_actions(server)
        if action.action == 'resize'
    )
    assert action.message == 'Error'


@pytest.mark.fault
@pytest.mark.parametrize('live', [False, True], ids=['cold', 'live'])
def test_an_administrator_moves_no_server_to_another_cluster(
    by_site, boot, servers, admin, host_of, is_marked, log_of, live
):
    server = boot('east')
    log = log_of('nova-scheduler')

    if live:
        # Nova looks for a host while the administrator waits.
        with pytest.raises(
            sdk_exceptions.BadRequestException, match='No valid host'
        ):
            admin.compute.live_migrate_server(
                server, host='west-1', block_migration='auto'
            )
    else:
        admin.compute.migrate_server(server, host='west-1')

    log.wait_for('Filter SameClusterFilter returned 0 hosts')
    servers.wait_for(server)
    assert host_of(server) == 'east-1'
    assert is_marked('east', server)


@pytest.mark.fault
def test_an_evacuation_goes_to_a_host_of_the_cluster(
    by_site, boot, servers, admin, host_of, is_marked, lose
):
    server = boot('west')
    before = host_of(server)
    lose(before, server)

    admin.compute.evacuate_server(server)

    # It is ACTIVE before, too, on a host that is gone.
    polling.until(lambda: host_of(server) != before, 'it has another host')
    # From API 2.95 on, Nova leaves it to its user to start it.
    servers.wait_for(server, 'SHUTOFF')
    assert {before, host_of(server)} == WEST
    assert is_marked('west', server)


@pytest.mark.fault
def test_an_evacuation_without_a_host_of_the_cluster_touches_no_disk(
    by_site, boot, admin, host_of, is_marked, west, lose
):
    server = boot('east')
    lose('east-1', server)

    admin.compute.evacuate_server(server)

    polling.until(
        lambda: admin.compute.get_server(server.id).status == 'ERROR',
        'Nova has found no host',
    )
    assert host_of(server) == 'east-1'
    assert is_marked('east', server)
    assert nova_servers.disk(server) not in west.images('vms')


@pytest.mark.fault
def test_a_shelved_server_may_be_unshelved_to_another_site(
    by_site, boot, servers, demo, host_of, is_marked
):
    server = boot('west')
    demo.compute.shelve_server(server)
    servers.wait_for(server, 'SHELVED_OFFLOADED')

    demo.compute.unshelve_server(server, availability_zone='east')
    servers.wait_for(server)

    assert host_of(server) == 'east-1'
    assert is_marked('east', server)


@pytest.mark.fault
def test_of_two_sites_that_fit_the_one_that_has_the_image_is_taken(
    schedule_by_site, servers, image_in, host_of, stores_of
):
    # Nova alone prefers the hosts of west now, which are emptier.
    servers.boot(image_in('east').id, 'east', flavor='m1.small')
    image = image_in('east')
    (server,) = servers.boot(image.id, ANYWHERE)
    assert host_of(server) in WEST
    assert stores_of(image.id) == {'east', 'west'}

    schedule_by_site()
    image = image_in('east')
    (server,) = servers.boot(image.id, ANYWHERE)

    assert host_of(server) == 'east-1'
    assert stores_of(image.id) == {'east'}
