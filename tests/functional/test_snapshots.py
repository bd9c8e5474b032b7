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

"""Snapshots of servers, which stay on the site, and go on from there."""

import pytest

from tests.rig import clusters
from tests.rig import polling
from tests.rig import servers as nova_servers

pytestmark = pytest.mark.fault

WEST = ('west-1', 'west-2')

MIB = 1 << 20
GIB = 1 << 30

STANDARD = 'Performing standard snapshot because direct snapshot failed'


@pytest.fixture
def make_server(boot_with_data):
    return lambda: boot_with_data('west')


@pytest.fixture
def begin_snapshot(demo, images_to_remove):
    """Asks for a snapshot of a server; its id."""

    def begin(server):
        image = demo.compute.create_server_image(server, f'of-{server.id}')
        images_to_remove.append(image.id)
        return image.id

    return begin


@pytest.fixture
def snapshot(begin_snapshot, demo, servers):
    """Makes a snapshot of a server; its id."""

    def make(server):
        image_id = begin_snapshot(server)
        servers.wait_for(server)
        # Glance itself adds a direct snapshot's location, and hashes it.
        polling.until(
            lambda: demo.image.get_image(image_id).hash_value,
            'the snapshot has its data',
        )
        return image_id

    return make


@pytest.fixture
def logs(log_of):
    """What the computes of west log from now on."""
    return [log_of(f'compute-{name}') for name in WEST]


@pytest.fixture
def check_boot(servers, west, copy_tasks):
    """Boots from a snapshot in west: a clone at once, of the disk's bytes."""

    def check(image_id, server):
        was = west.digest('vms', nova_servers.disk(server))
        (booted,) = servers.boot(image_id, 'west')
        disk = nova_servers.disk(booted)
        assert west.parent(disk) == clusters.of_glance(image_id)
        assert west.digest('vms', disk) == was
        assert copy_tasks(image_id) == []

    return check


def test_a_snapshot_goes_to_the_store_of_its_site_and_boots_without_a_copy(
    keep_snapshots,
    make_server,
    snapshot,
    logs,
    stores_of,
    check_boot,
    where,
    demo,
):
    keep_snapshots(*WEST)
    server = make_server()

    image_id = snapshot(server)

    # The lab's computes may only read Glance's pool.
    assert any(log.lines(STANDARD) for log in logs)
    assert stores_of(image_id) == {'west'}
    assert not (where.images / image_id).exists()
    assert demo.image.get_image(image_id).size == GIB
    check_boot(image_id, server)


def test_a_snapshot_of_stock_nova_crosses_the_line_twice(
    configure_stock, make_server, snapshot, stores_of, servers, where, west
):
    for name in WEST:
        configure_stock(name)
    server = make_server()

    image_id = snapshot(server)
    assert stores_of(image_id) == {'file'}
    assert (where.images / image_id).stat().st_size == GIB

    servers.boot(image_id, 'west')
    assert stores_of(image_id) == {'file', 'west'}


def test_a_direct_snapshot_is_one_of_the_sites_store(
    keep_snapshots,
    nova_may_write,
    location_glance,
    make_server,
    snapshot,
    logs,
    stores_of,
    check_boot,
    where,
):
    keep_snapshots(*WEST, glance__endpoint_override=location_glance.url)
    server = make_server()

    image_id = snapshot(server)

    assert not any(log.lines(STANDARD) for log in logs)
    assert stores_of(image_id) == {'west'}
    assert not (where.images / image_id).exists()
    check_boot(image_id, server)


def test_a_flat_disk_gets_direct_snapshots_too(
    keep_snapshots,
    nova_may_write,
    location_glance,
    make_server,
    snapshot,
    demo,
    servers,
    west,
    logs,
    stores_of,
    check_boot,
):
    keep_snapshots(*WEST, glance__endpoint_override=location_glance.url)
    server = make_server()
    demo.compute.shelve_server(server)
    servers.wait_for(server, 'SHELVED_OFFLOADED')
    demo.compute.unshelve_server(server)
    servers.wait_for(server)
    assert west.parent(nova_servers.disk(server)) is None

    image_id = snapshot(server)

    # Nova by itself would ask Glance where the server's image lies.
    assert not any(log.lines(STANDARD) for log in logs)
    assert stores_of(image_id) == {'west'}
    check_boot(image_id, server)


def test_a_server_is_unshelved_on_its_site_without_a_copy(
    keep_snapshots, make_server, demo, servers, logs, stores_of, west
):
    keep_snapshots(*WEST)
    server = make_server()
    disk = nova_servers.disk(server)
    was = west.digest('vms', disk)
    demo.compute.shelve_server(server)
    servers.wait_for(server, 'SHELVED_OFFLOADED')
    (shelved,) = demo.image.images(name=f'{server.name}-shelved')
    assert stores_of(shelved.id) == {'west'}

    demo.compute.unshelve_server(server)
    servers.wait_for(server)

    assert west.digest('vms', disk) == was
    assert any(log.lines('Cloned disk', shelved.id) for log in logs)
    assert not any(log.lines('Glance copies', shelved.id) for log in logs)
    assert shelved.id not in west.images('images')


def test_a_snapshot_is_copied_on_while_its_server_goes_on(
    keep_snapshots, make_server, snapshot, logs, stores_of, where
):
    keep_snapshots(*WEST, copy_to='file')
    server = make_server()

    image_id = snapshot(server)
    assert not any(log.lines(image_id, 'is in store file') for log in logs)

    polling.until(
        lambda: stores_of(image_id) == {'west', 'file'},
        'the snapshot is in store file as well',
    )
    assert (where.images / image_id).stat().st_size == GIB


def test_a_copy_of_a_snapshot_that_fails_is_an_error_and_can_be_listed(
    keep_snapshots,
    make_server,
    begin_snapshot,
    servers,
    logs,
    stores_of,
    east,
    demo,
):
    keep_snapshots(*WEST, copy_to='east, file')
    server = make_server()

    image_id = begin_snapshot(server)
    # What Glance trips over.
    east.create('images', image_id, MIB)
    servers.wait_for(server)

    polling.until(
        lambda: any(
            log.lines('Cannot copy snapshot', image_id, 'to store east')
            for log in logs
        ),
        'an ERROR in the log',
    )
    polling.until(
        lambda: stores_of(image_id) == {'west', 'file'},
        'it is in the other store',
    )
    listed = demo.image.get('/images', params={'image_type': 'snapshot'})
    (found,) = (
        image for image in listed.json()['images'] if image['id'] == image_id
    )
    assert set(found['stores'].split(',')) == {'west', 'file'}
    assert found['os_glance_failed_import'] == 'east'
