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

"""A boot disk is a copy-on-write clone, wherever its image lay before."""

import pytest

from tests.rig import clusters
from tests.rig import hosts


def test_an_image_in_another_store_is_copied_and_cloned(
    upload, make_host, demo_user, west, copy_tasks, stores_of
):
    image = upload()

    (boot,) = make_host('west-1').boot(demo_user, image.id)

    assert boot.error is None, boot.message
    assert west.parent(boot.disk) == clusters.Parent(
        'images', image.id, 'snap'
    )
    assert stores_of(image.id) == {'file', 'west'}
    assert len(copy_tasks(image.id)) == 1


def test_an_image_in_the_local_store_is_cloned_without_a_copy(
    upload, make_host, demo_user, west, copy_tasks
):
    image = upload(store='west')

    (boot,) = make_host('west-1').boot(demo_user, image.id)

    assert west.parent(boot.disk) == clusters.Parent(
        'images', image.id, 'snap'
    )
    assert copy_tasks(image.id) == []


def test_each_site_clones_in_its_own_cluster(
    upload, make_host, demo_user, east, west
):
    image = upload()

    (in_east,) = make_host('east-1').boot(demo_user, image.id)
    (in_west,) = make_host('west-1').boot(demo_user, image.id)

    assert east.parent(in_east.disk).image == image.id
    assert west.parent(in_west.disk).image == image.id
    digest = east.digest('images', image.id, 'snap')
    assert west.digest('images', image.id, 'snap') == digest


def test_a_clone_has_the_flavor_s_size(upload, make_host, demo_user, west):
    image = upload(size_mib=8)

    (boot,) = make_host('west-1').boot(demo_user, image.id, root_gib=2)

    assert west.size(boot.disk) == 2 << 30


def test_an_iso_is_cloned_like_a_raw_image(upload, make_host, demo_user, west):
    image = upload(disk_format='iso')

    (boot,) = make_host('west-1').boot(demo_user, image.id)

    assert boot.error is None, boot.message
    assert west.parent(boot.disk).image == image.id


def test_another_format_is_refused_before_a_copy_is_asked_for(
    upload, make_host, demo_user, copy_tasks
):
    image = upload(disk_format='qcow2')

    (boot,) = make_host('west-1').boot(demo_user, image.id)

    assert boot.error == 'NotRaw'
    assert 'qcow2' in boot.message[:120]
    assert copy_tasks(image.id) == []


def test_without_a_store_name_no_copy_is_asked_for(
    upload, make_host, demo_user, copy_tasks
):
    image = upload()
    host = make_host('west-1', libvirt__images_rbd_glance_store_name='')

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error == 'NotInLocalStore'
    assert copy_tasks(image.id) == []


def test_an_image_left_in_nova_s_file_cache_does_not_prevent_the_clone(
    upload, make_host, demo_user, west, leave_in_cache
):
    image = upload(store='west')
    host = make_host('west-1')
    leave_in_cache(host, image.id)

    (boot,) = host.boot(demo_user, image.id)

    assert west.parent(boot.disk) == clusters.Parent(
        'images', image.id, 'snap'
    )


def test_stock_nova_goes_flat_when_its_file_cache_has_the_image(
    upload, make_host, demo_user, west, leave_in_cache
):
    image = upload(store='west')
    host = make_host('west-1', driver=hosts.STOCK)
    leave_in_cache(host, image.id)

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error is None, boot.message
    assert west.parent(boot.disk) is None


def test_stock_nova_is_blind_with_glance_s_secure_defaults(
    upload, make_host, demo_user
):
    image = upload(store='west')

    (boot,) = make_host('west-1', driver=hosts.STOCK).boot(demo_user, image.id)

    assert boot.error == 'ImageUnacceptable'
    assert 'No image locations are accessible' in boot.message


def test_a_failed_clone_is_answered_by_one_download_where_nova_may(
    upload, make_host, demo_user, west, copy_tasks
):
    image = upload(disk_format='qcow2')
    host = make_host(
        'west-1', workarounds__never_download_image_if_on_rbd=False
    )

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error is None, boot.message
    assert west.parent(boot.disk) is None
    assert copy_tasks(image.id) == []


@pytest.mark.both_modes
def test_both_thread_modes_boot(upload, make_host, demo_user, west):
    image = upload()

    boots = make_host('west-1').boot(demo_user, image.id, image.id)

    assert [boot.error for boot in boots] == [None, None]
    assert all(west.parent(boot.disk) for boot in boots)
