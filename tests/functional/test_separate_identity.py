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

"""A Glance with its default policies, and an identity to ask in users' stead.

The identity is an administrator, who sees every image; it must not see for
users what they do not see themselves. At the end, both ways to ask Glance,
with the defaults that its source announces.
"""

from keystoneauth1.identity import v3
import pytest
import requests

from tests.rig import clusters

POLL = {'libvirt__images_rbd_glance_copy_poll_interval': 2}


@pytest.fixture
def make_identity(make_service_user):
    """Makes identities with roles: the options to log in by."""

    def make(*roles):
        options = {'auth_type': 'password', **make_service_user(*roles)}
        return {
            f'rbd_multistore__{name}': text for name, text in options.items()
        }

    return make


@pytest.fixture
def deputy(make_identity):
    """An administrator."""
    return make_identity('admin')


@pytest.fixture
def default_glance(make_glance):
    """One with Glance's default policies, for it has no policy file."""
    return make_glance(oslo_policy={'policy_file': 'there-is-none.yaml'})


@pytest.fixture
def make_deputed(make_host, default_glance, deputy):
    """Makes hosts with the separate identity, and options that differ."""

    def make(**options):
        return make_host(
            'west-1',
            **{
                'glance__endpoint_override': default_glance.url,
                **POLL,
                **deputy,
                **options,
            },
        )

    return make


#: What the identity asks, by the ends of the paths.
QUESTIONS = ('locations', 'import', 'tasks')


def asked_for(glance, image):
    """What was asked about an image beside its record."""
    return [
        question
        for question in QUESTIONS
        if f'/v2/images/{image.id}/{question} ' in glance.requests
    ]


@pytest.mark.long
def test_with_default_policies_no_boot_gets_on_without_it(
    upload, make_host, default_glance, demo_user
):
    image = upload(store='west')
    host = make_host('west-1', glance__endpoint_override=default_glance.url)

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error == 'LocationsForbidden'


def test_an_image_is_copied_and_cloned_by_way_of_the_separate_identity(
    upload, make_deputed, admin, demo_user, west, copy_tasks
):
    images = [upload(store=store) for store in ('file', 'west')]

    boots = make_deputed().boot(demo_user, *[image.id for image in images])

    assert [boot.error for boot in boots] == [None, None]
    for boot in boots:
        assert west.parent(boot.disk) == clusters.of_glance(boot.image)
    # The copy's task is the identity's, and so is what Glance counts.
    (task,) = copy_tasks(images[0].id)
    service = admin.identity.find_project('service', ignore_missing=False)
    assert task['owner'] == service.id


def test_of_another_projects_private_image_the_identity_asks_nothing(
    upload, make_deputed, default_glance, other, user_of, copy_tasks, west
):
    images = [
        upload(store=store, visibility='private') for store in ('file', 'west')
    ]

    boots = make_deputed().boot(
        user_of(other), *[image.id for image in images]
    )

    assert [boot.error for boot in boots] == ['ImageGone', 'ImageGone']
    for boot, image in zip(boots, images, strict=True):
        assert f'GET /v2/images/{image.id} ' in default_glance.requests
        assert asked_for(default_glance, image) == []
        assert copy_tasks(image.id) == []
        assert boot.disk not in west.images('vms')


def test_a_right_withdrawn_during_the_wait_ends_what_the_identity_may_ask(
    upload, make_deputed, demo, other, user_of, hold_copy, west
):
    image = upload(size_mib=64, visibility='shared')
    user = user_of(other)
    demo.image.add_member(image.id, member_id=user.project_id)
    theirs = hold_copy(image.id, 'west')
    host = make_deputed(rbd_multistore__copy_on_demand=['shared'])
    host.start(user, [image.id])
    host.wait_for_log('Waiting for image')

    demo.image.remove_member(user.project_id, image.id)
    theirs.thaw()
    (boot,) = host.outcomes()

    assert boot.error == 'ImageGone'
    assert west.clones(image.id) == []


@pytest.mark.long
def test_a_password_that_is_wrong_is_said_and_not_shown(
    upload, make_deputed, demo_user, deputy
):
    image = upload(store='west')
    host = make_deputed(rbd_multistore__password='a wrong password')

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error == 'IdentityUnusable'
    assert 'ImageUnacceptable' not in boot.classes
    assert 'Cannot log in with the identity of [rbd_multistore]' in host.log
    assert 'a wrong password' not in host.log + boot.message


@pytest.mark.long
def test_an_identity_that_glance_refuses_is_said_to_be_of_no_use(
    upload, make_deputed, make_identity, demo_user, default_glance
):
    image = upload(store='west')

    host = make_deputed(**make_identity('service'))
    (boot,) = host.boot(demo_user, image.id)

    assert boot.error == 'IdentityUnusable'
    assert asked_for(default_glance, image) == ['locations']
    assert 'Glance refuses the identity of [rbd_multistore]' in host.log


@pytest.mark.long
def test_an_application_credential_can_be_limited_to_these_questions(
    upload,
    make_host,
    make_glance,
    demo,
    demo_user,
    deputy,
    west,
    limit_account,
):
    """What a thief has of it are locations, copies and their tasks."""
    image = upload(store='west')
    glance = make_glance(
        oslo_policy={'policy_file': 'there-is-none.yaml'},
        # Access rules are checked by services that know what they are.
        keystone_authtoken={'service_type': 'image'},
    )
    account = {
        name.removeprefix('rbd_multistore__'): value
        for name, value in deputy.items()
    }
    del account['auth_type']
    limited = limit_account(
        account,
        *('GET /v2/images/*/locations', 'POST /v2/images/*/import'),
        'GET /v2/images/*/tasks',
    )
    host = make_host(
        'west-1',
        glance__endpoint_override=glance.url,
        rbd_multistore__auth_type='v3applicationcredential',
        **{f'rbd_multistore__{name}': v for name, v in limited.items()},
    )

    (boot,) = host.boot(demo_user, image.id)
    token = v3.ApplicationCredential(**limited).get_token(demo.session)
    download = requests.get(
        f'{glance.url}/v2/images/{image.id}/file',
        headers={'X-Auth-Token': token},
        timeout=60,
    )

    assert boot.error is None, boot.message
    assert west.parent(boot.disk) == clusters.of_glance(image.id)
    assert download.status_code == 401


@pytest.mark.long
def test_nova_compute_says_at_its_start_as_whom_it_asks(
    configure, deputy, admin, log_of
):
    user = admin.identity.find_user(
        deputy['rbd_multistore__username'], ignore_missing=False
    )
    log = log_of('compute-west-1')

    configure('west-1', DEFAULT__debug='true', **deputy)

    log.wait_for('Asking Glance for locations and copies', user.id)
    # Nova logs its options then.
    assert log.lines('transport_url', '****')
    assert deputy['rbd_multistore__password'] not in log.text


# Glance's newest defaults


@pytest.fixture
def make_newest_glance(make_glance):
    """Runs a Glance to which an administrator is no service any more.

    As a comment in its source announces (glance/policies/base.py). Without
    the lab's lines on some policies, and with others.
    """

    def make(*dropped, **added):
        glance = make_glance()
        glance.drop_policies(*dropped)
        glance.add_policies(service_api='role:service', **added)
        return glance

    return make


@pytest.fixture
def assert_cloned(west):
    """Fails unless each boot's disk is a clone of its image."""

    def check(boots):
        assert [boot.message for boot in boots if boot.error] == []
        for boot in boots:
            assert west.parent(boot.disk) == clusters.of_glance(boot.image)

    return check


@pytest.mark.fault
@pytest.mark.parametrize('visibility', ['private', 'community'])
def test_with_both_tokens_newest_defaults_change_nothing(
    upload,
    make_newest_glance,
    make_host,
    demo_user,
    assert_cloned,
    visibility,
):
    images = [
        upload(store=store, visibility=visibility)
        for store in ('file', 'west')
    ]
    glance = make_newest_glance()
    host = make_host('west-1', glance__endpoint_override=glance.url, **POLL)

    boots = host.boot(demo_user, *[image.id for image in images])

    assert_cloned(boots)


@pytest.mark.fault
def test_an_identity_that_is_a_service_alone_serves_public_images_alone(
    upload,
    make_newest_glance,
    make_deputed,
    make_identity,
    demo_user,
    assert_cloned,
):
    glance = make_newest_glance(
        'copy_image',
        'fetch_image_location',
        copy_image='role:admin or role:service',
    )
    images = [
        upload(store=store, visibility=visibility)
        for visibility in ('community', 'private')
        for store in ('file', 'west')
    ]
    host = make_deputed(
        glance__endpoint_override=glance.url, **make_identity('service')
    )

    boots = host.boot(demo_user, *[image.id for image in images])

    assert_cloned(boots[:2])
    assert [boot.error for boot in boots[2:]] == ['IdentityUnusable'] * 2


@pytest.mark.fault
def test_an_administrator_has_to_be_a_service_as_well(
    upload,
    make_newest_glance,
    make_deputed,
    make_identity,
    demo_user,
    assert_cloned,
):
    glance = make_newest_glance('copy_image', 'fetch_image_location')
    images = [
        upload(store=store, visibility='private') for store in ('file', 'west')
    ]
    of_glance = {'glance__endpoint_override': glance.url}

    denied = make_deputed(**of_glance).boot(demo_user, images[0].id)
    both = make_identity('admin', 'service')
    boots = make_deputed(**of_glance, **both).boot(
        demo_user, *[image.id for image in images]
    )

    assert [boot.error for boot in denied] == ['IdentityUnusable']
    assert_cloned(boots)
