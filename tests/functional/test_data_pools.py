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

"""Pools for data alone (rbd_default_data_pool), and the rights to them.

A clone, a resize and a look touch an image's metadata only. A guest would be
the first to meet a data pool that is not for it, as an I/O error.
"""

import contextlib
import uuid

import pytest

from nova_rbd_multistore import ceph
from nova_rbd_multistore import exceptions
from tests.rig import clusters
from tests.rig import polling

pytestmark = pytest.mark.fault

RIGHTS = 'profile rbd pool=vms, profile rbd-read-only pool=images'


@pytest.fixture
def data_pool(west):
    """A pool in west for data, which Glance may write to."""
    name = f'data-{uuid.uuid4()}'
    west.make_pool(name)
    was = west.caps('glance')
    west.set_caps(
        'glance', {**was, 'osd': f'{was["osd"]}, profile rbd pool={name}'}
    )
    yield name
    west.set_caps('glance', was)
    west.remove_pool(name)


@pytest.fixture
def glance(data_pool, make_glance, where, tmp_path):
    """A Glance whose images in west have their data in the data pool."""
    conf = tmp_path / 'ceph.conf'
    conf.write_text(
        where.sites[1].ceph_conf.read_text()
        + f'\n[client.glance]\nrbd_default_data_pool = {data_pool}\n'
    )
    return make_glance(west={'rbd_store_ceph_conf': str(conf)})


@pytest.fixture
def copied(data_pool, glance, upload, admin, west, copy_tasks):
    """An image that lies in west, with its data in the data pool."""
    image = upload()
    glance.request_copy(admin, image.id, 'west')
    polling.until(
        lambda: (
            [task['status'] for task in copy_tasks(image.id)] == ['success']
        ),
        'the image is in west',
    )
    assert west.data_pool('images', image.id) == data_pool
    return image


@pytest.mark.both_modes
def test_without_the_cap_on_glance_s_data_pool_it_is_named_with_the_cap(
    copied, demo_user, host_of_ceph_user, west, data_pool
):
    host = host_of_ceph_user(RIGHTS)

    (boot,) = host.boot(demo_user, copied.id)

    assert boot.error == 'PoolUnreadable'
    assert 'ImageUnacceptable' not in boot.classes
    assert data_pool in boot.message[:120]
    assert f'osd "profile rbd-read-only pool={data_pool}"' in boot.message
    assert boot.disk not in west.images('vms')


def test_stock_nova_boots_a_guest_on_data_that_it_cannot_read(
    copied, demo_user, make_stock_host, make_ceph_user, west
):
    name, conf = make_ceph_user(RIGHTS)
    host = make_stock_host(
        libvirt__images_rbd_ceph_conf=conf, libvirt__rbd_user=name
    )

    (boot,) = host.boot(demo_user, copied.id)

    assert boot.error is None, boot.message
    assert west.parent(boot.disk) == clusters.of_glance(copied.id)
    assert not west.can_read(conf, name, boot.disk)


def test_with_the_cap_on_glance_s_data_pool_it_boots(
    copied, demo_user, host_of_ceph_user, west, data_pool
):
    host = host_of_ceph_user(
        f'{RIGHTS}, profile rbd-read-only pool={data_pool}'
    )

    boots = host.boot(demo_user, *[copied.id] * 2)

    for boot in boots:
        assert boot.error is None, boot.message
        assert west.parent(boot.disk) == clusters.of_glance(copied.id)


def test_a_cold_image_is_copied_into_a_data_pool_and_booted(
    glance, data_pool, upload, demo_user, make_host, make_ceph_user, west
):
    image = upload()
    name, conf = make_ceph_user(
        f'{RIGHTS}, profile rbd-read-only pool={data_pool}'
    )
    host = make_host(
        'west-1',
        libvirt__images_rbd_ceph_conf=conf,
        libvirt__rbd_user=name,
        glance__api_servers=[glance.url],
    )

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error is None, boot.message
    assert west.data_pool('images', image.id) == data_pool
    assert west.parent(boot.disk) == clusters.of_glance(image.id)


@pytest.mark.parametrize('cap', ['', ', profile rbd-read-only pool={pool}'])
def test_without_the_cap_on_nova_s_data_pool_it_is_named_with_the_cap(
    data_pool, upload, demo_user, host_of_ceph_user, west, cap
):
    image = upload(store='west')
    host = host_of_ceph_user(
        RIGHTS + cap.format(pool=data_pool), rbd_default_data_pool=data_pool
    )

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error == 'DataPoolUnusable'
    assert 'ImageUnacceptable' not in boot.classes
    assert data_pool in boot.message[:120]
    assert f'osd "profile rbd pool={data_pool}"' in boot.message
    # Whoever may not write there could not remove it either.
    assert boot.disk not in west.images('vms')


def test_with_the_cap_on_nova_s_data_pool_its_disks_are_there(
    data_pool, upload, demo_user, host_of_ceph_user, west
):
    image = upload(store='west')
    host = host_of_ceph_user(
        f'{RIGHTS}, profile rbd pool={data_pool}',
        rbd_default_data_pool=data_pool,
    )

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error is None, boot.message
    assert west.data_pool('vms', boot.disk) == data_pool
    assert west.parent(boot.disk) == clusters.of_glance(image.id)


def test_a_disk_from_another_host_is_tried_where_it_is_to_run(
    data_pool, copied, demo_user, host_of_ceph_user, make_ceph_user
):
    rights = f'{RIGHTS}, profile rbd-read-only pool={data_pool}'
    (boot,) = host_of_ceph_user(rights).boot(demo_user, copied.id)

    for caps, error in ((rights, None), (RIGHTS, exceptions.PoolUnreadable)):
        name, conf = make_ceph_user(caps)
        here = ceph.Cluster(conf, name, 10, {})
        with (
            pytest.raises(error, match=f'rbd-read-only pool={data_pool}')
            if error
            else contextlib.nullcontext()
        ):
            here.check_disk('vms', boot.disk)


def test_a_data_pool_that_is_not_there_is_named(
    upload, demo_user, host_of_ceph_user, copy_tasks
):
    image = upload(store='west')
    host = host_of_ceph_user(RIGHTS, rbd_default_data_pool='nope')

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error == 'DataPoolUnusable'
    assert 'Data pool nope' in boot.message[:120]
    assert copy_tasks(image.id) == []
