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

"""Copies that one glance-api cannot make, and another can.

Which is asked first is chance: images are booted until it was the one.
"""

import re

import pytest

from tests.rig import clusters
from tests.rig import polling

POLL = {'libvirt__images_rbd_glance_copy_poll_interval': 2}

#: All of them ask the other glance-api first once in four thousand times.
MANY = 12


@pytest.fixture
def urls(where):
    return [api.url for api in where.glance_apis]


@pytest.fixture
def without_files(make_glance, where):
    """Makes glance-apis with a file store that the others do not share."""
    return lambda: make_glance(disks={where.images: '64m'})


def boot_many(host, user, west, images):
    """Boot all images at once, and check that each disk is a clone."""
    boots = host.boot(user, *(image.id for image in images))
    for boot in boots:
        assert boot.error is None, boot.message
        assert west.parent(boot.disk) == clusters.of_glance(boot.image)


@pytest.fixture
def boot_until_first(upload, make_host, demo_user, west, urls):
    """Boots images, which all must be clones, until a glance-api was first.

    Each on a host that was just started, and knows nothing of either.
    """

    def boot(glance, **of_image):
        for _ in range(MANY):
            image = upload(**of_image)
            host = make_host(
                'west-1', glance__api_servers=[glance.url, urls[0]], **POLL
            )
            boot_many(host, demo_user, west, [image])
            if makers(host, image)[0] == glance.url:
                return host, image
        raise AssertionError(f'{glance.url} was never the first')

    return boot


def makers(host, image):
    """The glance-apis that were to copy an image for a host, in turn."""
    return re.findall(
        f'Glance copies image {image.id} .*, glance-api (.*)\\)', host.log
    )


@pytest.mark.long
def test_a_copy_whose_file_one_glance_api_does_not_have_is_made_by_the_next(
    without_files, boot_until_first, urls, copy_tasks
):
    without = without_files()

    host, image = boot_until_first(without, size_mib=1)

    assert makers(host, image) == [without.url, urls[0]]
    assert sorted(task['status'] for task in copy_tasks(image.id)) == [
        'failure',
        'success',
    ]


@pytest.mark.fault
@pytest.mark.both_modes
def test_a_copy_that_no_glance_api_can_make_is_tried_in_each_and_names_each(
    upload, make_host, without_files, demo_user, copy_tasks
):
    image = upload()
    apis = [without_files(), without_files()]
    urls = [api.url for api in apis]
    host = make_host('west-1', glance__api_servers=urls, **POLL)

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error == 'CopyFailed'
    assert (
        'glance-api 1 and 2 of 2: Task failed due to Internal Error'
    ) in boot.message[:120]
    assert sorted(makers(host, image)) == sorted(urls)
    assert len(copy_tasks(image.id)) == 2
    errors = [
        line
        for line in host.log.splitlines()
        if 'Glance failed to copy image' in line
    ]
    assert len(errors) == 2
    for url in urls:
        assert any(f'glance-api {url})' in line for line in errors)
        assert url not in boot.message


@pytest.mark.fault
def test_all_boots_of_a_host_share_the_copy_of_the_next_glance_api(
    upload, make_host, without_files, demo_user, copy_tasks
):
    image = upload()
    host = make_host(
        'west-1',
        glance__api_servers=[without_files().url, without_files().url],
        **POLL,
    )

    boots = host.boot(demo_user, *[image.id] * 4)

    assert {boot.error for boot in boots} == {'CopyFailed'}
    assert len(copy_tasks(image.id)) == 2


@pytest.mark.fault
def test_a_copy_for_which_one_staging_disk_is_full_is_made_by_the_next(
    make_glance, boot_until_first, tmp_path, urls
):
    staging = tmp_path / 'staging'
    staging.mkdir()
    full = make_glance(
        disks={staging: '4m'},
        os_glance_staging_store={'filesystem_store_datadir': str(staging)},
    )

    host, image = boot_until_first(full, size_mib=8)

    assert makers(host, image) == [full.url, urls[0]]


@pytest.mark.fault
def test_a_copy_whose_source_one_glance_api_cannot_reach_is_made_by_the_next(
    make_glance, boot_until_first, tmp_path, where, urls
):
    astray = make_glance(
        east={'rbd_store_ceph_conf': str(lead_nowhere(where, tmp_path))}
    )

    host, image = boot_until_first(astray, size_mib=1, store='east')

    assert makers(host, image) == [astray.url, urls[0]]


def lead_nowhere(where, tmp_path):
    """A ceph.conf for site east at whose address there is no monitor."""
    text = where.sites[0].ceph_conf.read_text()
    path = tmp_path / 'ceph.conf'
    path.write_text(
        re.sub(
            '^mon_host = .*$',
            'mon_host = 127.0.0.1:9\nclient_mount_timeout = 3',
            text,
            flags=re.M,
        )
    )
    return path


@pytest.mark.fault
def test_what_lies_in_the_pool_is_in_the_way_of_every_glance_api(
    upload, make_host, demo_user, west, urls, copy_tasks
):
    image = upload()
    west.create('images', image.id, 1 << 20)
    host = make_host('west-1', glance__api_servers=urls)

    (boot,) = host.boot(demo_user, image.id)

    assert len(urls) == 2
    assert boot.error == 'CopyFailed'
    assert 'glance-api' not in boot.message[:120]
    assert len(makers(host, image)) == 1
    assert len(copy_tasks(image.id)) == 1


# Edges whose Glance has few stores


@pytest.fixture
def central(make_glance):
    return make_glance(
        DEFAULT={'enabled_backends': 'file:file, east:rbd, west:rbd'}
    )


@pytest.fixture
def edge(make_glance):
    """A glance-api of site west, which knows nothing of site east."""
    return make_glance(DEFAULT={'enabled_backends': 'file:file, west:rbd'})


@pytest.mark.fault
@pytest.mark.parametrize('first', ['central', 'edge'])
def test_a_glance_api_without_the_image_s_stores_is_passed_over(
    upload, make_host, central, edge, demo_user, west, first, copy_tasks
):
    images = [upload(size_mib=1, store='east') for _ in range(MANY)]
    apis = [central.url, edge.url]
    if first == 'edge':
        apis.reverse()
    host = make_host('west-1', glance__api_servers=apis, **POLL)

    boot_many(host, demo_user, west, images)

    assert '/import' not in edge.requests
    assert 'GET /v2/info/stores' in edge.requests
    assert [len(copy_tasks(image.id)) for image in images] == [1] * MANY


@pytest.mark.fault
@pytest.mark.both_modes
def test_an_image_that_no_glance_api_here_can_read_is_said_to_be_out_of_reach(
    upload,
    make_host,
    central,
    edge,
    admin,
    demo_user,
    west,
    stores_of,
    copy_tasks,
):
    image = upload(store='east')
    options = {'glance__api_servers': [edge.url], **POLL}
    host = make_host('west-1', **options)

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error == 'SourceOutOfReach'
    # Another host may have another Glance.
    assert 'ImageUnacceptable' not in boot.classes
    assert 'it lies in east, and they have file, west' in boot.message[:120]
    assert f'{edge.url}: none of the stores east' in host.log
    assert copy_tasks(image.id) == []

    # What the message says: at the central site, to a store of the edge.
    central.request_copy(admin, image.id, 'file')
    polling.until(lambda: 'file' in stores_of(image.id), 'the copy has ended')
    (again,) = make_host('west-1', **options).boot(demo_user, image.id)

    assert again.error is None, again.message
    assert west.parent(again.disk) == clusters.of_glance(image.id)
