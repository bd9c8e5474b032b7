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

"""Images that are no disk, or of which Glance tells oddly where they lie.

Locations are changed in Glance's database: its API makes such ones no more.
"""

import uuid

import pytest

from tests.rig import clusters
from tests.rig import database
from tests.rig import polling

pytestmark = pytest.mark.fault

DOWNLOAD = {'workarounds__never_download_image_if_on_rbd': False}


@pytest.fixture
def place(where):
    """Has an image lie elsewhere: URLs, each with its store's name or none."""
    placed = []

    def at(image_id, *locations):
        placed.append(image_id)
        database.place_image(where, image_id, locations)

    yield at
    for image_id in placed:
        # What is not there, Glance could not remove.
        database.place_image(where, image_id, [])


@pytest.fixture
def upload_old(upload, place, west):
    """Makes images as Glance did before it made snapshots."""

    def make(store):
        image = upload(store='west')
        west.remove_snapshot('images', image.id, 'snap')
        place(image.id, (f'rbd://{image.id}', store))
        return image

    return make


@pytest.fixture
def renamed_glance(make_glance, where):
    """A Glance that names the store of site west otherwise."""
    return make_glance(
        DEFAULT={'enabled_backends': 'file:file, east:rbd, dcn-west:rbd'},
        **{
            'dcn-west': {
                'rbd_store_ceph_conf': str(where.sites[1].ceph_conf),
                'rbd_store_user': 'glance',
                'rbd_store_pool': 'images',
            }
        },
    )


# Containers


@pytest.mark.both_modes
@pytest.mark.parametrize('container_format', ['compressed', 'ova'])
def test_an_image_in_a_container_is_refused_before_a_copy(
    upload, make_host, demo_user, west, copy_tasks, container_format
):
    images = [
        upload(store=store, container_format=container_format)
        for store in ('file', 'west')
    ]

    boots = make_host('west-1').boot(
        demo_user, *[image.id for image in images]
    )

    for boot in boots:
        assert boot.error == 'NotBare'
        assert f'container format {container_format}' in boot.message[:120]
        assert copy_tasks(boot.image) == []
        assert boot.disk not in west.images('vms')


def test_where_nova_may_download_it_unpacks_nothing(
    upload, make_host, demo_user, west
):
    image = upload(store='west', container_format='compressed')

    (boot,) = make_host('west-1', **DOWNLOAD).boot(
        demo_user, image.id, root_gib=0
    )

    assert boot.error is None, boot.message
    assert west.parent(boot.disk) is None
    packed = west.digest('images', image.id, 'snap')
    assert west.digest('vms', boot.disk) == packed


def test_stock_nova_clones_a_container_as_it_is(
    upload, make_stock_host, demo_user, west
):
    image = upload(store='west', container_format='compressed')

    (boot,) = make_stock_host().boot(demo_user, image.id)

    assert boot.error is None, boot.message
    assert west.parent(boot.disk) == clusters.of_glance(image.id)


# Locations of the old form


@pytest.mark.both_modes
@pytest.mark.parametrize('store', ['west', None])
def test_an_image_under_an_old_location_is_refused_before_a_copy(
    upload_old, make_host, demo_user, copy_tasks, store
):
    image = upload_old(store)

    (boot,) = make_host('west-1').boot(demo_user, image.id)

    assert boot.error == 'OldLocation'
    assert 'ImageUnacceptable' in boot.classes
    assert 'of the old form, without cluster and' in boot.message[:120]
    assert copy_tasks(image.id) == []


@pytest.mark.parametrize('store', ['west', None])
def test_where_nova_may_download_an_old_location_costs_a_flat_disk(
    upload_old, make_host, demo_user, west, store
):
    image = upload_old(store)

    (boot,) = make_host('west-1', **DOWNLOAD).boot(
        demo_user, image.id, root_gib=0
    )

    assert boot.error is None, boot.message
    assert west.parent(boot.disk) is None
    assert west.digest('vms', boot.disk) == west.digest('images', image.id)


def test_stock_nova_finds_no_location_in_an_old_one(
    upload_old, make_stock_host, demo_user
):
    image = upload_old('west')

    (boot,) = make_stock_host().boot(demo_user, image.id)

    assert boot.error == 'ImageUnacceptable'
    assert 'No image locations are accessible' in boot.message


def test_an_old_location_in_another_store_is_copied_like_any_other(
    upload_old, make_host, demo_user, east
):
    image = upload_old('west')

    (boot,) = make_host('east-1').boot(demo_user, image.id)

    assert boot.error is None, boot.message
    assert east.parent(boot.disk) == clusters.of_glance(image.id)


def test_a_copy_there_and_back_renews_an_old_location(
    upload_old, make_host, admin, demo_user, west, copy_tasks
):
    """What trouble-shooting tells to do."""
    image = upload_old('west')
    admin.image.post(
        f'/images/{image.id}/import',
        json={'method': {'name': 'copy-image'}, 'stores': ['file']},
    ).raise_for_status()
    polling.until(
        lambda: (
            [task['status'] for task in copy_tasks(image.id)] == ['success']
        ),
        'the image is in another store',
    )
    admin.image.delete(f'/stores/west/{image.id}').raise_for_status()

    (boot,) = make_host('west-1').boot(demo_user, image.id)

    assert boot.error is None, boot.message
    assert west.parent(boot.disk) == clusters.of_glance(image.id)


# Stores


def test_a_location_without_a_store_is_cloned_if_it_is_in_our_cluster(
    upload, place, make_host, demo_user, west, copy_tasks, stores_of
):
    image = upload(store='west')
    place(image.id, (f'rbd://{west.fsid}/images/{image.id}/snap', None))

    (boot,) = make_host('west-1').boot(demo_user, image.id)

    assert boot.error is None, boot.message
    assert west.parent(boot.disk) == clusters.of_glance(image.id)
    assert copy_tasks(image.id) == []
    # Glance tells the store by cluster and pool.
    assert stores_of(image.id) == {'west'}


def test_an_image_of_which_glance_names_no_store_is_refused_before_a_copy(
    upload, place, make_host, demo_user, admin, copy_tasks
):
    image = upload(store='west')
    place(image.id, (f'rbd://{uuid.uuid4()}/images/{image.id}/snap', None))
    # Why no copy is requested: Glance trips over it.
    answer = admin.image.post(
        f'/images/{image.id}/import',
        json={'method': {'name': 'copy-image'}, 'stores': ['west']},
    )
    assert answer.status_code == 500

    (boot,) = make_host('west-1').boot(demo_user, image.id)

    assert boot.error == 'StoreNotNamed'
    assert 'has a location that names no store' in boot.message[:120]
    assert copy_tasks(image.id) == []


def test_the_next_location_of_a_store_is_tried(
    upload, place, make_host, demo_user, west, copy_tasks
):
    image = upload(store='west')
    place(
        image.id,
        (f'rbd://{west.fsid}/vms/{image.id}/snap', 'west'),
        (f'rbd://{uuid.uuid4()}/images/{image.id}/snap', 'west'),
        (f'rbd://{image.id}', 'west'),
        (f'rbd://{west.fsid}/images/{image.id}/snap', 'west'),
    )
    host = make_host(
        'west-1', rbd_multistore__other_glance_rbd_pools=[f'{west.fsid}/vms']
    )

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error is None, boot.message
    assert west.parent(boot.disk) == clusters.of_glance(image.id)
    assert f'Cannot clone image {image.id} from vms/' in host.log
    assert copy_tasks(image.id) == []


def test_only_the_cluster_in_which_our_store_has_the_image_is_named(
    upload, place, make_host, demo_user, east, west
):
    image, north = upload(store='east'), str(uuid.uuid4())
    place(
        image.id,
        (f'rbd://{east.fsid}/images/{image.id}/snap', 'east'),
        (f'rbd://{north}/images/{image.id}/snap', 'west'),
    )

    (boot,) = make_host('west-1').boot(demo_user, image.id)

    assert boot.error == 'StoreNotLocal'
    assert west.fsid in boot.message
    assert f'lies in {north}.' in boot.message


def test_a_store_of_another_type_is_said_to_be_in_no_cluster(
    upload, make_host, demo_user
):
    image = upload(store='file')
    host = make_host('west-1', libvirt__images_rbd_glance_store_name='file')

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error == 'StoreNotLocal'
    assert 'lies in no Ceph cluster' in boot.message


def test_a_store_that_is_renamed_keeps_its_images(
    upload, make_host, renamed_glance, demo_user, west, copy_tasks
):
    image = upload(store='west')
    host = make_host(
        'west-1',
        glance__api_servers=[renamed_glance.url],
        libvirt__images_rbd_glance_store_name='dcn-west',
    )

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error is None, boot.message
    assert west.parent(boot.disk) == clusters.of_glance(image.id)
    assert copy_tasks(image.id) == []


def test_a_store_that_was_renamed_in_glance_alone_is_named(
    upload, make_host, renamed_glance, demo_user, west, copy_tasks
):
    warm, cold = upload(store='west'), upload(store='file')
    host = make_host('west-1', glance__api_servers=[renamed_glance.url])

    (warm_boot, cold_boot) = host.boot(demo_user, warm.id, cold.id)

    # The cluster tells where an image is, not the store's name.
    assert warm_boot.error is None, warm_boot.message
    assert west.parent(warm_boot.disk) == clusters.of_glance(warm.id)
    assert cold_boot.error == 'StoreUnknown'
    assert 'no store named west' in cold_boot.message[:120]
    assert copy_tasks(cold.id) == []
