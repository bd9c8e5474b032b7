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

"""A server moves to another site: shelved here, unshelved there."""

import dataclasses
import os
import pathlib
import re
import subprocess
import textwrap

import pytest

from lab import cloud
from lab import layout
from tests.rig import relays
from tests.rig import servers as nova_servers

MIB = 1 << 20
GIB = 1 << 30

ROOT = pathlib.Path(__file__).parents[2]
PAGE = ROOT / 'doc' / 'source' / 'moving-a-server.rst'

HOSTS = {'east': {'east-1'}, 'west': {'west-1', 'west-2'}}


@pytest.fixture
def server(boot_with_data):
    return boot_with_data('east')


@pytest.fixture
def shelve(demo, servers):
    """Shelves a server; gives what is to be its disk again, an image."""

    def do(server):
        demo.compute.shelve_server(server)
        servers.wait_for(server, 'SHELVED_OFFLOADED')
        (image,) = demo.image.images(name=f'{server.name}-shelved')
        return image

    return do


@pytest.fixture
def unshelve(demo, servers):
    def do(server, zone):
        demo.compute.unshelve_server(server, availability_zone=zone)
        return servers.wait_for(server)

    return do


@pytest.fixture
def there_and_back(
    server, shelve, unshelve, demo, host_of, stores_of, east, west
):
    """Moves the server to west and to east again; which stores it was in."""

    def move():
        disk = nova_servers.disk(server)
        was = east.digest('vms', disk)
        between = []
        for zone, site, before in ('west', west, east), ('east', east, west):
            shelved = shelve(server)
            between.append(stores_of(shelved.id))
            assert disk not in before.images('vms')

            moved = unshelve(server, zone)

            assert moved.availability_zone == zone
            assert host_of(server) in HOSTS[zone]
            assert site.digest('vms', disk) == was
            # Nova flattens it, so as to delete the image in between.
            assert site.parent(disk) is None
            assert demo.image.find_image(shelved.id) is None
            for cluster in (east, west):
                assert shelved.id not in cluster.images('images')
        return between

    return move


@pytest.mark.long
def test_a_server_moves_to_another_site_and_back_with_its_data(there_and_back):
    assert there_and_back() == [{'file'}, {'file'}]


@pytest.mark.fault
def test_the_commands_of_the_page_move_a_server(
    server, demo, where, host_of, east, west
):
    disk = nova_servers.disk(server)
    was = east.digest('vms', disk)
    demo.compute.update_server(server, name='my-server')
    (block,) = re.findall(
        r"   :caption: As the server's user\n\n((?:   .*\n)+)",
        PAGE.read_text(),
    )
    account = dataclasses.asdict(cloud.account('demo', where))

    subprocess.run(
        [
            *('/bin/bash', '-e', '-c'),
            re.sub(r'^\$ ', '', textwrap.dedent(block), flags=re.MULTILINE),
        ],
        env={
            'PATH': f'{where.venv}/bin:{os.environ["PATH"]}',
            'OS_REGION_NAME': layout.REGION,
            'OS_IDENTITY_API_VERSION': '3',
            **{f'OS_{name.upper()}': said for name, said in account.items()},
        },
        check=True,
        timeout=300,
    )

    assert host_of(server) in HOSTS['west']
    assert west.digest('vms', disk) == was


@pytest.mark.fault
def test_a_server_moves_by_the_stores_of_the_sites(
    keep_snapshots, there_and_back
):
    keep_snapshots()
    assert there_and_back() == [{'east'}, {'west'}]


@pytest.mark.fault
def test_a_server_that_was_shelved_into_both_stores_moves_without_a_copy(
    keep_snapshots,
    server,
    shelve,
    unshelve,
    stores_of,
    east,
    west,
    log_of,
):
    keep_snapshots(copy_to='west')
    disk = nova_servers.disk(server)
    was = east.digest('vms', disk)
    shelving = log_of('compute-east-1')
    logs = [log_of(f'compute-{name}') for name in HOSTS['west']]
    shelved = shelve(server)
    shelving.wait_for(shelved.id, 'is in store west')
    assert stores_of(shelved.id) == {'east', 'west'}

    unshelve(server, 'west')

    assert west.digest('vms', disk) == was
    for log in logs:
        assert not log.lines('Glance copies image', shelved.id)


@pytest.mark.fault
def test_a_server_that_was_shelved_into_the_central_store_outlives_its_site(
    server, shelve, unshelve, stop, east, west
):
    disk = nova_servers.disk(server)
    was = east.digest('vms', disk)
    shelve(server)
    stop('compute-east-1')
    stop('ceph-osd-east')

    unshelve(server, 'west')

    assert west.digest('vms', disk) == was


@pytest.mark.fault
def test_a_server_whose_image_cannot_be_copied_stays_shelved_with_its_data(
    server, shelve, unshelve, demo, servers, log_of, east, west
):
    disk = nova_servers.disk(server)
    was = east.digest('vms', disk)
    shelved = shelve(server)
    logs = [log_of(f'compute-{name}') for name in HOSTS['west']]
    # What Glance trips over.
    west.create('images', shelved.id, MIB)

    demo.compute.unshelve_server(server, availability_zone='west')
    servers.wait_for(server, 'SHELVED_OFFLOADED')
    assert any(log.lines('Glance failed to copy', shelved.id) for log in logs)

    west.remove('images', shelved.id)
    unshelve(server, 'west')
    assert west.digest('vms', disk) == was


@pytest.mark.fault
@pytest.mark.parametrize('to_own_store', [False, True])
def test_a_shelved_disk_is_whole_though_its_upload_was_refused_once(
    configure, server, shelve, unshelve, where, east, to_own_store
):
    disk = nova_servers.disk(server)
    was = east.digest('vms', disk)
    with relays.NoServerAtFirst(where.glance_apis[0].url).run() as relay:
        configure(
            'east-1',
            glance__endpoint_override=relay.url,
            rbd_multistore__snapshots_to_own_store=to_own_store,
        )
        shelved = shelve(server)
        assert relay.uploads == [f'/v2/images/{shelved.id}/file'] * 2

        unshelve(server, 'east')

    assert east.digest('vms', disk) == was


@pytest.mark.fault
def test_a_server_whose_image_is_not_whole_is_not_shelved(
    configure,
    server,
    demo,
    servers,
    images_to_remove,
    host_of,
    log_of,
    where,
    east,
):
    disk = nova_servers.disk(server)
    log = log_of('compute-east-1')
    with relays.LosesTheBeginning(where.glance_apis[0].url).run() as relay:
        configure('east-1', glance__endpoint_override=relay.url)
        demo.compute.shelve_server(server)
        servers.wait_for(server)
        (image,) = demo.image.images(name=f'{server.name}-shelved')
        images_to_remove.append(image.id)

        assert log.lines('does not have the whole disk', f'the disk {GIB}')
        assert host_of(server) == 'east-1'
        assert disk in east.images('vms')
        demo.compute.reboot_server(server, 'HARD')
        servers.wait_for(server)


#: MiB of a disk, and of what is in it, with all else: records, headers.
DISK, LITTLE = 1024, 64


@pytest.fixture
def carried(east, west):
    """Gives the MiB that clusters have sent and received since it was asked.

    By what clusters' OSDs count.
    """
    clusters = {'east': east, 'west': west}
    before = {}

    def since():
        now = {}
        for site, cluster in clusters.items():
            now[f'from {site}'] = cluster.sent() // MIB
            now[f'to {site}'] = cluster.received() // MIB
        counted = {name: now[name] - before.get(name, 0) for name in now}
        before.update(now)
        return {
            name: pytest.approx(mib, abs=LITTLE)
            for name, mib in counted.items()
        }

    since()
    return since


def routes(**mib):
    """What is carried, by route; nothing on those that are not named."""
    names = ('from_east', 'to_east', 'from_west', 'to_west')
    return {name.replace('_', ' '): mib.get(name, 0) for name in names}


@pytest.mark.fault
def test_by_default_a_shelved_disk_goes_to_the_central_store_and_back(
    server, shelve, unshelve, carried, where
):
    shelved = shelve(server)
    # Zeros are not read from a cluster, but uploaded.
    assert (where.images / shelved.id).stat().st_size == DISK * MIB
    assert carried() == routes()

    unshelve(server, 'west')
    # What comes from there: Nova flattens the clone.
    assert carried() == routes(to_west=DISK, from_west=DISK)


@pytest.mark.fault
def test_a_disk_shelved_in_its_sites_store_crosses_the_line_once_at_most(
    keep_snapshots, server, shelve, unshelve, carried, where
):
    keep_snapshots()
    shelved = shelve(server)
    assert not (where.images / shelved.id).exists()
    assert carried() == routes(to_east=DISK)

    unshelve(server, 'east')
    assert carried() == routes(from_east=DISK)

    shelve(server)
    assert carried() == routes(to_east=DISK)

    unshelve(server, 'west')
    assert carried() == routes(from_east=DISK, to_west=DISK, from_west=DISK)


@pytest.fixture
def leave_disk(west):
    """Leaves in west what an attempt to unshelve a server there has left."""

    def leave(server):
        disk = nova_servers.disk(server)
        west.create('vms', disk, GIB)
        west.write('vms', disk, b'of another time' * MIB)

    return leave


@pytest.mark.fault
def test_an_older_disk_on_the_other_site_is_not_taken_for_the_server_s(
    server, shelve, unshelve, leave_disk, servers, log_of, east, west
):
    disk = nova_servers.disk(server)
    was = east.digest('vms', disk)
    shelve(server)
    leave_disk(server)
    logs = [log_of(f'compute-{name}') for name in HOSTS['west']]

    unshelve(server, 'west')

    assert west.digest('vms', disk) == was
    assert any(log.lines(f'Renamed disk {disk}') for log in logs)
    servers.delete([server])
    left = [name for name in west.images('vms') if name.startswith(server.id)]
    assert left == []


@pytest.mark.fault
def test_stock_nova_takes_an_older_disk_and_deletes_the_server_s_data(
    configure_stock, server, shelve, unshelve, leave_disk, demo, east, west
):
    for name in HOSTS['west']:
        configure_stock(name)
    disk = nova_servers.disk(server)
    was = east.digest('vms', disk)
    shelved = shelve(server)
    leave_disk(server)

    unshelve(server, 'west')

    assert west.digest('vms', disk) != was
    assert demo.image.find_image(shelved.id) is None
