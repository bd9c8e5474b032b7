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

Which is asked first is chance: many images are booted, so that each is.
"""

import pytest

from tests.rig import clusters
from tests.rig import polling

POLL = {'libvirt__images_rbd_glance_copy_poll_interval': 2}

#: By one in two thousand, all of them go to one glance-api first.
MANY = 12


@pytest.fixture
def urls(where):
    return [api.url for api in where.glance_apis]


def boot_many(host, user, west, images):
    """Boot all images at once, and check that each disk is a clone."""
    boots = host.boot(user, *(image.id for image in images))
    for boot in boots:
        assert boot.error is None, boot.message
        assert west.parent(boot.disk) == clusters.of_glance(boot.image)


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
