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

"""Each right that the documentation lists is there, and is needed.

A boot without it fails, and says which one to grant. Who has which is in
doc/source/security.rst, "Least privilege".
"""

import pytest

from tests.rig import clusters

#: What Nova's user of the lab may do to the OSDs.
OWN_POOL = 'profile rbd pool=vms'
GLANCE_S_POOL = 'profile rbd-read-only pool=images'


@pytest.fixture
def service_user_without_role(make_service_user):
    """Nova's service user as options, but without the role service."""
    account = make_service_user('member')
    return {
        f'service_user__{name}': account[name]
        for name in ('username', 'password')
    }


@pytest.fixture
def glance_with_policy(make_glance):
    """Runs a Glance whose policy file is the lab's without some lines."""

    def make(*dropped, **options):
        glance = make_glance(**options)
        glance.drop_policies(*dropped)
        return glance

    return make


def test_the_service_user_needs_no_role_but_service(admin):
    identity = admin.identity
    user = identity.find_user('nova', ignore_missing=False)

    roles = [
        identity.get_role(assignment.role['id']).name
        for assignment in identity.role_assignments(user_id=user.id)
    ]

    assert roles == ['service']


@pytest.mark.parametrize('site', ['east', 'west'])
def test_nova_needs_no_capability_but_these(request, site):
    caps = request.getfixturevalue(site).caps('nova')

    assert caps == {
        'mon': 'profile rbd',
        'osd': f'{OWN_POOL}, {GLANCE_S_POOL}',
    }


def test_with_these_capabilities_a_cold_image_is_booted(
    upload, demo_user, west, host_of_ceph_user
):
    image = upload()
    host = host_of_ceph_user(f'{OWN_POOL}, {GLANCE_S_POOL}')

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error is None, boot.message
    assert west.parent(boot.disk) == clusters.of_glance(image.id)


@pytest.mark.long
def test_without_the_role_service_glance_denies_the_locations(
    upload, make_host, demo_user, service_user_without_role
):
    image = upload(store='west')
    host = make_host('west-1', **service_user_without_role)

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error == 'LocationsForbidden'
    assert 'role service' in boot.message


def test_without_service_tokens_glance_denies_the_locations(
    upload, make_host, demo_user
):
    image = upload(store='west')
    host = make_host('west-1', service_user__send_service_user_token=False)

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error == 'LocationsForbidden'
    assert 'send_service_user_token' in boot.message


def test_without_the_policy_for_copies_the_copy_is_forbidden(
    upload, make_host, demo_user, glance_with_policy, copy_tasks
):
    image = upload()
    glance = glance_with_policy('copy_image')
    host = make_host('west-1', glance__endpoint_override=glance.url)

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error == 'CopyForbidden'
    assert 'policy copy_image' in boot.message[:120]
    assert copy_tasks(image.id) == []


@pytest.mark.parametrize(
    'store', ['file', pytest.param('west', marks=pytest.mark.long)]
)
def test_without_the_policy_for_locations_these_are_said_to_be_denied(
    upload, make_host, demo_user, glance_with_policy, copy_tasks, store
):
    image = upload(store=store)
    glance = glance_with_policy('fetch_image_location')
    host = make_host('west-1', glance__endpoint_override=glance.url)

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error == 'LocationsForbidden'
    assert 'policy fetch_image_location' in boot.message[:120]
    assert copy_tasks(image.id) == []


def test_without_the_cap_on_glances_pool_it_is_said_to_be_unreadable(
    upload, demo_user, host_of_ceph_user
):
    image = upload(store='west')

    (boot,) = host_of_ceph_user(OWN_POOL).boot(demo_user, image.id)

    assert boot.error == 'PoolUnreadable'
    assert 'ImageUnacceptable' not in boot.classes
    assert f'osd "{GLANCE_S_POOL}"' in boot.message


@pytest.mark.parametrize('own_pool', ['', 'profile rbd-read-only pool=vms, '])
def test_without_the_cap_on_novas_pool_it_is_said_to_be_unusable(
    upload, demo_user, host_of_ceph_user, own_pool
):
    image = upload(store='west')
    host = host_of_ceph_user(f'{own_pool}{GLANCE_S_POOL}')

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error == 'PoolUnusable'
    assert f'osd "{OWN_POOL}"' in boot.message


def test_without_the_cap_on_the_monitors_the_cluster_is_said_to_refuse(
    upload, demo_user, host_of_ceph_user
):
    image = upload(store='west')
    host = host_of_ceph_user(f'{OWN_POOL}, {GLANCE_S_POOL}', '')

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error == 'ClusterRefused'
    assert 'ImageUnacceptable' not in boot.classes
    assert 'mon "profile rbd"' in boot.message


@pytest.mark.long
def test_without_glances_own_cap_its_log_has_the_reason(
    upload, make_host, make_glance, demo_user, make_ceph_user
):
    image = upload()
    name, conf = make_ceph_user(GLANCE_S_POOL)
    glance = make_glance(
        west={'rbd_store_user': name, 'rbd_store_ceph_conf': conf}
    )
    host = make_host('west-1', glance__endpoint_override=glance.url)

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error == 'CopyFailed'
    assert "See glance-api's log" in boot.message
    assert 'permission' in glance.log
