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
"""Glance's quotas, with the limits of Keystone (``use_keystone_limits``).

Glance checks the quota of the project that requests a copy, and counts the
copy for the project that owns the image.
"""

import dataclasses

import pytest

from lab import cloud
from lab import layout
from tests.rig import clusters

POLL = {'libvirt__images_rbd_glance_copy_poll_interval': 2}

SIZE = 'image_size_total'

#: Of a project that has none of its own.
LIMITS = {
    SIZE: 100_000,
    'image_stage_total': 100_000,
    'image_count_total': 1000,
    'image_count_uploading': 1000,
}


@pytest.fixture
def endpoint(admin):
    """Glance's in the catalog: limits are those of its service and region."""
    service = admin.identity.find_service('glance', ignore_missing=False)
    return next(admin.identity.endpoints(service_id=service.id))


@pytest.fixture
def limit(admin, endpoint):
    """Limits the MiB of a project's images."""
    made = []

    def create(kind, *entries):
        where = {'service_id': endpoint.service_id, 'region_id': layout.REGION}
        answer = admin.identity.post(
            f'/{kind}', json={kind: [{**where, **entry} for entry in entries]}
        )
        answer.raise_for_status()
        made.extend(f'/{kind}/{entry["id"]}' for entry in answer.json()[kind])

    create(
        'registered_limits',
        *[
            {'resource_name': name, 'default_limit': default}
            for name, default in LIMITS.items()
        ],
    )
    yield lambda who, mebibytes: create(
        'limits',
        {
            'project_id': who.current_project_id,
            'resource_name': SIZE,
            'resource_limit': mebibytes,
        },
    )
    for path in reversed(made):
        admin.identity.delete(path).raise_for_status()


@pytest.fixture
def glance(make_glance, endpoint, limit, where):
    """A glance-api that asks Keystone for limits, as an administrator."""
    account = dataclasses.asdict(cloud.account('admin', where))
    return make_glance(
        DEFAULT={'use_keystone_limits': 'true'},
        oslo_limit={
            'auth_type': 'password',
            'endpoint_id': endpoint.id,
            **account,
        },
    )


@pytest.fixture
def host_with(make_host, glance):
    """Makes a host in west, with options."""
    return lambda **options: make_host(
        'west-1', glance__endpoint_override=glance.url, **POLL, **options
    )


@pytest.fixture
def used(glance):
    """The MiB that a project's images count for."""

    def look(who):
        answer = who.session.get(f'{glance.url}/v2/info/usage')
        return answer.json()['usage'][SIZE]['usage']

    return look


@pytest.fixture
def may_upload(glance, images_to_remove):
    """Whether Glance takes a further image of a project."""

    def upload(who):
        image = who.session.post(
            f'{glance.url}/v2/images',
            json={
                'name': 'one more',
                'disk_format': 'raw',
                'container_format': 'bare',
            },
        ).json()
        images_to_remove.append(image['id'])
        answer = who.session.put(
            f'{glance.url}/v2/images/{image["id"]}/file',
            data=b'more',
            headers={'Content-Type': 'application/octet-stream'},
            raise_exc=False,
        )
        assert answer.status_code in (204, 413), answer.text
        return answer.status_code == 204

    return upload


def test_strangers_boots_use_up_nobodys_quota(
    upload, host_with, limit, used, may_upload, demo, other, user_of
):
    image = upload(size_mib=8, visibility='community')
    before = used(demo)
    limit(demo, before + 4)

    (boot,) = host_with().boot(user_of(other), image.id)

    assert boot.error == 'NotCopiedOnDemand'
    assert 'community' in boot.message[:120]
    assert used(demo) == before
    assert may_upload(demo)


@pytest.mark.fault
def test_where_such_images_are_admitted_they_do(
    upload, host_with, limit, used, may_upload, demo, other, user_of, west
):
    image = upload(size_mib=8, visibility='community')
    before = used(demo)
    limit(demo, before + 4)
    host = host_with(rbd_multistore__copy_on_demand=['community'])

    (boot,) = host.boot(user_of(other), image.id)

    assert boot.error is None, boot.message
    assert west.parent(boot.disk) == clusters.of_glance(image.id)
    assert used(demo) == before + 8
    assert not may_upload(demo)


@pytest.mark.fault
def test_an_owner_beyond_their_quota_gets_no_copies(
    upload, host_with, limit, used, demo, demo_user, copy_tasks
):
    image = upload()
    limit(demo, used(demo) - 1)

    (boot,) = host_with().boot(demo_user, image.id)

    assert boot.error == 'CopyOverQuota'
    assert 'image quota of this project is used up' in boot.message[:120]
    assert copy_tasks(image.id) == []


@pytest.mark.fault
def test_nor_do_they_get_an_owner_around_their_own(
    upload, host_with, limit, used, demo, other, user_of, copy_tasks
):
    stranger = user_of(other)
    images = [upload(visibility=name) for name in ('community', 'shared')]
    demo.image.add_member(images[1].id, member_id=stranger.project_id)
    limit(demo, used(demo) - 1)

    boots = host_with().boot(stranger, *[image.id for image in images])

    assert [boot.error for boot in boots] == ['NotCopiedOnDemand'] * 2
    assert [copy_tasks(image.id) for image in images] == [[], []]
