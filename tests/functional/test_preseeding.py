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

"""Images copied before they are needed: "openstack aggregate cache image"."""

import pytest

from tests.rig import clusters
from tests.rig import servers as nova_servers

pytestmark = pytest.mark.long


@pytest.fixture
def cache(admin, log_of):
    """Has an image cached for a zone; what nova-conductor says at the end."""

    def on_hosts_of(zone, image_id):
        log = log_of('nova-conductor')
        aggregate = admin.compute.find_aggregate(zone, ignore_missing=False)
        admin.compute.aggregate_precache_images(aggregate, image_id)
        return log.wait_for('Image pre-cache operation', image_id, 'completed')

    return on_hosts_of


def downloads(computes):
    """What lies in the computes' image caches."""
    return {
        path
        for compute in computes.values()
        for path in compute.instances_path.glob('_base/*')
    }


def test_an_administrator_has_an_image_copied_once_for_a_site(
    cache, upload, servers, computes, west, stores_of, copy_tasks
):
    image = upload(size_mib=64)
    before = downloads(computes)

    said = cache('west', image.id)

    # One host had it copied, the other found it there.
    assert '1 cached, 1 existing, 0 errors' in said
    assert stores_of(image.id) == {'file', 'west'}
    assert len(copy_tasks(image.id)) == 1
    # Nova's own driver adds to these, which no boot from RBD ever reads.
    assert downloads(computes) == before

    (server,) = servers.boot(image.id, 'west')

    parent = clusters.of_glance(image.id)
    assert west.parent(nova_servers.disk(server)) == parent
    assert len(copy_tasks(image.id)) == 1


def test_so_is_one_that_others_boots_do_not_have_copied(
    cache, upload, make_host, other, user_of, west, copy_tasks
):
    image = upload(visibility='community')
    host = make_host('west-1')
    (boot,) = host.boot(user_of(other), image.id)
    assert boot.error == 'NotCopiedOnDemand'
    assert copy_tasks(image.id) == []

    cache('west', image.id)
    (boot,) = host.boot(user_of(other), image.id)

    assert boot.error is None, boot.message
    assert west.parent(boot.disk) == clusters.of_glance(image.id)


def test_an_image_that_is_there_is_not_copied_again(cache, upload, copy_tasks):
    image = upload(store='west')

    said = cache('west', image.id)

    assert '0 cached, 2 existing, 0 errors' in said
    assert copy_tasks(image.id) == []


def test_an_image_that_cannot_be_cloned_is_an_error_on_every_host(
    cache, upload, log_of, stores_of
):
    image = upload(disk_format='qcow2')
    logs = [log_of(f'compute-{name}') for name in ('west-1', 'west-2')]

    said = cache('west', image.id)

    assert '0 cached, 0 existing, 2 errors' in said
    for log in logs:
        assert log.lines('Failed to cache image', 'Only raw and iso images')
    assert stores_of(image.id) == {'file'}


@pytest.mark.fault
def test_a_copy_that_fails_is_an_error_with_its_reason(
    cache, upload, log_of, west
):
    image = upload()
    west.create('images', image.id, 1 << 20)
    logs = [log_of(f'compute-{name}') for name in ('west-1', 'west-2')]

    said = cache('west', image.id)

    assert '0 cached, 0 existing, 2 errors' in said
    for log in logs:
        assert log.lines('Failed to cache image', 'Task failed due to')


@pytest.mark.fault
def test_stock_nova_fills_file_caches_and_goes_flat(
    cache, upload, servers, configure_stock, computes, east, stores_of
):
    image = upload()
    configure_stock('east-1')

    said = cache('east', image.id)

    assert '1 cached, 0 existing, 0 errors' in said
    assert stores_of(image.id) == {'file'}
    (cached,) = computes['east-1'].instances_path.glob('_base/*')

    (server,) = servers.boot(image.id, 'east')

    assert east.parent(nova_servers.disk(server)) is None
    cached.unlink()
