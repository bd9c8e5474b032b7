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

"""Nobody gets by a boot what they could not have downloaded.

Glance, asked for an image's bytes with the user's token alone, is the judge:
what it gives is cloned, and of what it refuses nothing is copied or cloned.
Rights that go during the wait for a copy are in test_failed_copies.py and
test_tokens.py too.
"""

import dataclasses
import uuid

from keystoneauth1.identity import v3
import pytest
import requests

from lab import cloud
from tests.rig import clusters
from tests.rig import hosts

POLL = {'libvirt__images_rbd_glance_copy_poll_interval': 2}

#: Nova's option that lets an image be downloaded that cannot be cloned.
DOWNLOAD = {'workarounds__never_download_image_if_on_rbd': False}


def may_download(user, image_id, url):
    """Whether Glance gives the bytes for the user's token alone."""
    answer = requests.get(
        f'{url}/v2/images/{image_id}/file',
        headers={'X-Auth-Token': user.auth_token},
        timeout=60,
    )
    assert answer.status_code in (200, 401, 403, 404), answer.text
    return answer.status_code == 200


@pytest.fixture
def glance_url(where):
    return where.glance_apis[0].url


@pytest.fixture
def cold_and_local(upload):
    """Makes two images: one to be copied first, one to be cloned at once."""

    def make(**fields):
        return [upload(store=store, **fields) for store in ('file', 'west')]

    return make


@pytest.fixture
def assert_nothing_begun(admin, copy_tasks, west):
    """Fails if a boot has left a copy, or a trace of one, or a disk."""

    def check(boots):
        for boot in boots:
            record = admin.image.get(f'/images/{boot.image}').json()
            assert copy_tasks(boot.image) == []
            assert 'os_glance_import_task' not in record
            assert not record.get('os_glance_importing_to_stores')
            assert record['stores'] in ('file', 'west')
            assert west.clones(boot.image) == []
            assert boot.disk not in west.images('vms')

    return check


@pytest.fixture
def newcomer(admin, demo, where):
    """Makes users of demo's project with one role, and takes it from them.

    Gives each user, and what revokes the role.
    """
    project = demo.current_project_id
    made = []

    def make(role_name='member'):
        role = admin.identity.find_role(role_name, ignore_missing=False)
        password = uuid.uuid4().hex
        user = admin.identity.create_user(
            name=f'newcomer-{uuid.uuid4()}', password=password
        )
        made.append(user)
        admin.identity.assign_project_role_to_user(project, user, role)
        account = cloud.account('demo', where)
        account = dataclasses.replace(
            account, username=user.name, password=password
        )
        auth = v3.Password(**dataclasses.asdict(account))
        access = auth.get_access(demo.session)
        return hosts.User(
            access.user_id, access.project_id, access.auth_token
        ), lambda: admin.identity.unassign_project_role_from_user(
            project, user, role
        )

    yield make
    for user in made:
        admin.identity.delete_user(user)


# Whose image it is


def test_of_another_projects_private_image_nothing_is_copied_or_cloned(
    cold_and_local, make_host, other, user_of, glance_url, assert_nothing_begun
):
    images = cold_and_local(visibility='private')
    user = user_of(other)

    boots = make_host('west-1').boot(user, *[image.id for image in images])

    assert [boot.error for boot in boots] == ['ImageGone', 'ImageGone']
    assert not any(may_download(user, i.id, glance_url) for i in images)
    assert_nothing_begun(boots)


def test_nor_is_it_taken_from_what_another_boot_has_left_in_novas_cache(
    upload,
    make_host,
    other,
    user_of,
    west,
    leave_in_cache,
    assert_nothing_begun,
):
    image = upload(visibility='private')
    host = make_host('west-1', **DOWNLOAD)
    leave_in_cache(host, image.id)

    boots = host.boot(user_of(other), image.id)

    assert [boot.error for boot in boots] == ['ImageGone']
    assert_nothing_begun(boots)


@pytest.mark.parametrize('status', ['pending', 'accepted', 'rejected'])
def test_a_member_of_a_shared_image_boots_it_as_he_may_download_it(
    cold_and_local, make_host, demo, other, user_of, west, glance_url, status
):
    """Glance hides from lists, but not from who knows the id."""
    images = cold_and_local(visibility='shared')
    user = user_of(other)
    for image in images:
        demo.image.add_member(image.id, member_id=user.project_id)
        other.image.update_member(user.project_id, image.id, status=status)

    host = make_host(
        'west-1', rbd_multistore__copy_on_demand=['shared'], **POLL
    )
    boots = host.boot(user, *[i.id for i in images])

    assert all(may_download(user, i.id, glance_url) for i in images)
    assert [boot.error for boot in boots] == [None, None]
    for boot in boots:
        assert west.parent(boot.disk) == clusters.of_glance(boot.image)


def test_a_share_that_was_withdrawn_is_none(
    cold_and_local,
    make_host,
    demo,
    other,
    user_of,
    glance_url,
    assert_nothing_begun,
):
    images = cold_and_local(visibility='shared')
    user = user_of(other)
    for image in images:
        demo.image.add_member(image.id, member_id=user.project_id)
        other.image.update_member(user.project_id, image.id, status='accepted')
        demo.image.remove_member(user.project_id, image.id)

    boots = make_host('west-1').boot(user, *[image.id for image in images])

    assert [boot.error for boot in boots] == ['ImageGone', 'ImageGone']
    assert not any(may_download(user, i.id, glance_url) for i in images)
    assert_nothing_begun(boots)


@pytest.mark.parametrize('options', [{}, DOWNLOAD], ids=['', 'download'])
def test_of_a_deactivated_image_nothing_is_copied_or_cloned(
    cold_and_local,
    make_host,
    admin,
    demo_user,
    glance_url,
    assert_nothing_begun,
    options,
):
    images = cold_and_local()
    for image in images:
        admin.image.deactivate_image(image.id)

    boots = make_host('west-1', **options).boot(
        demo_user, *[image.id for image in images]
    )

    assert [boot.error for boot in boots] == ['NotActive', 'NotActive']
    assert not any(may_download(demo_user, i.id, glance_url) for i in images)
    assert_nothing_begun(boots)


def test_of_a_deleted_image_nothing_is_copied_or_cloned(
    cold_and_local, make_host, demo, demo_user, glance_url, west
):
    images = cold_and_local()
    for image in images:
        demo.image.delete_image(image.id)

    boots = make_host('west-1').boot(
        demo_user, *[image.id for image in images]
    )

    assert [boot.error for boot in boots] == ['ImageGone', 'ImageGone']
    for boot in boots:
        assert not may_download(demo_user, boot.image, glance_url)
        assert boot.disk not in west.images('vms')
        assert boot.image not in west.images('images')


# Who the user is


def test_a_user_whose_role_was_revoked_gets_nothing(
    cold_and_local, make_host, make_glance, newcomer, assert_nothing_begun
):
    images = cold_and_local()
    # A Glance that asks Keystone each time, not every five minutes.
    glance = make_glance(keystone_authtoken={'token_cache_time': '-1'})
    user, revoke = newcomer()
    assert may_download(user, images[0].id, glance.url)
    revoke()

    boots = make_host('west-1', glance__endpoint_override=glance.url).boot(
        user, *[image.id for image in images]
    )

    assert [boot.error for boot in boots] == ['TokenRefused', 'TokenRefused']
    assert not any(may_download(user, i.id, glance.url) for i in images)
    assert_nothing_begun(boots)


def test_a_role_that_is_revoked_during_the_wait_ends_it(
    upload, make_host, make_glance, newcomer, hold_copy, west
):
    image = upload(size_mib=64)
    theirs = hold_copy(image.id, 'west')
    glance = make_glance(keystone_authtoken={'token_cache_time': '-1'})
    user, revoke = newcomer()
    host = make_host('west-1', glance__endpoint_override=glance.url, **POLL)
    host.start(user, [image.id])
    host.wait_for_log('Waiting for image')

    revoke()
    theirs.thaw()
    (boot,) = host.outcomes()

    assert boot.error == 'TokenRefused'
    assert not may_download(user, image.id, glance.url)
    assert west.clones(image.id) == []


def test_a_reader_who_may_not_download_may_not_boot_either(
    upload, newcomer, demo, where, glance_url
):
    """They see the image: it is Nova's API that keeps them off."""
    image = upload(store='west')
    user, _ = newcomer('reader')
    flavor = demo.compute.find_flavor('m1.tiny', ignore_missing=False)

    answer = requests.post(
        f'{demo.compute.get_endpoint()}/servers',
        json={
            'server': {
                'name': 'of-a-reader',
                'imageRef': image.id,
                'flavorRef': flavor.id,
                'networks': 'none',
            }
        },
        headers={
            'X-Auth-Token': user.auth_token,
            'OpenStack-API-Version': 'compute 2.37',
        },
        timeout=60,
    )

    assert answer.status_code == 403
    assert not may_download(user, image.id, glance_url)


def test_an_administrator_boots_what_he_may_download_as_when_he_evacuates(
    cold_and_local, make_host, admin, user_of, west, glance_url, copy_tasks
):
    """Another project's: Nova evacuates in the administrator's name."""
    images = cold_and_local(visibility='private')
    user = dataclasses.replace(user_of(admin), roles=('admin',))

    boots = make_host('west-1', **POLL).boot(user, *[i.id for i in images])

    assert all(may_download(user, i.id, glance_url) for i in images)
    assert [boot.error for boot in boots] == [None, None]
    for boot in boots:
        assert west.parent(boot.disk) == clusters.of_glance(boot.image)
    (task,) = copy_tasks(images[0].id)
    assert task['owner'] == user.project_id


# What the user sends along


def test_without_a_service_token_the_policy_that_it_opens_is_closed(
    cold_and_local, make_host, demo_user, assert_nothing_begun
):
    images = cold_and_local()
    host = make_host('west-1', service_user__send_service_user_token=False)

    boots = host.boot(demo_user, *[image.id for image in images])

    assert {boot.error for boot in boots} == {'LocationsForbidden'}
    assert_nothing_begun(boots)


def test_a_service_token_without_a_users_token_opens_nothing(
    cold_and_local, make_host, demo_user, assert_nothing_begun
):
    images = cold_and_local()
    nobody = dataclasses.replace(demo_user, auth_token=None)

    boots = make_host('west-1').boot(nobody, *[image.id for image in images])

    assert [boot.error for boot in boots] == ['TokenRefused', 'TokenRefused']
    assert_nothing_begun(boots)


@pytest.mark.parametrize('required', ['true', 'false'])
def test_a_users_own_token_is_no_service_token(
    upload, make_glance, demo_user, copy_tasks, required
):
    """Whatever service_token_roles_required says: the policy asks too."""
    image = upload()
    glance = make_glance(
        keystone_authtoken={'service_token_roles_required': required}
    )
    of_image = f'{glance.url}/v2/images/{image.id}'
    both = {
        'X-Auth-Token': demo_user.auth_token,
        'X-Service-Token': demo_user.auth_token,
    }

    record = requests.get(of_image, headers=both, timeout=60)
    locations = requests.get(f'{of_image}/locations', headers=both, timeout=60)
    copy = requests.post(
        f'{of_image}/import',
        json={'method': {'name': 'copy-image'}, 'stores': ['west']},
        headers=both,
        timeout=60,
    )

    assert record.status_code == 200
    assert locations.status_code == 403
    assert copy.status_code == 403
    assert copy_tasks(image.id) == []
