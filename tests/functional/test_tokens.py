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

"""The user's token expires, or is revoked, while their server is built."""

import dataclasses
import time

from keystoneauth1.identity import v3
import pytest

from lab import cloud
from tests.rig import clusters
from tests.rig import relays

pytestmark = pytest.mark.fault

POLL = {'libvirt__images_rbd_glance_copy_poll_interval': 2}


def test_a_token_that_expires_during_the_wait_is_survived(
    upload, make_host, short_lived, west, hold_copy
):
    image = upload(size_mib=64)
    theirs = hold_copy(image.id, 'west')
    user, expires = short_lived()
    host = make_host('west-1', **POLL)
    host.start_waiting(user, image.id)

    time.sleep(max(expires + 2 - time.time(), 0))
    theirs.thaw()
    (boot,) = host.outcomes()

    assert boot.error is None, boot.message
    assert west.parent(boot.disk) == clusters.of_glance(image.id)


def test_without_a_service_token_an_expired_token_is_said_to_be_refused(
    upload, make_host, short_lived
):
    image = upload()
    user, expires = short_lived()
    host = make_host('west-1', service_user__send_service_user_token=False)

    host.start(user, [image.id], at=expires + 2)
    (boot,) = host.outcomes()

    assert boot.error == 'TokenRefused'
    assert 'send_service_user_token' in boot.message


def test_stock_nova_without_a_service_token_is_not_authorized(
    upload, make_stock_host, short_lived
):
    image = upload()
    user, expires = short_lived()
    host = make_stock_host(service_user__send_service_user_token=False)

    host.start(user, [image.id], at=expires + 2)
    (boot,) = host.outcomes()

    assert boot.error == 'ImageNotAuthorized'


def test_a_token_that_is_revoked_during_the_wait_ends_it(
    upload, make_host, make_glance, demo, demo_user, where, hold_copy
):
    image = upload(size_mib=64)
    hold_copy(image.id, 'west')
    # A Glance that asks Keystone each time, not every five minutes.
    glance = make_glance(keystone_authtoken={'token_cache_time': '-1'})
    auth = v3.Password(**dataclasses.asdict(cloud.account('demo', where)))
    token = auth.get_token(demo.session)
    user = dataclasses.replace(demo_user, auth_token=token)
    host = make_host('west-1', glance__endpoint_override=glance.url, **POLL)
    host.start_waiting(user, image.id)

    demo.session.delete(
        f'{where.auth_url}/auth/tokens', headers={'X-Subject-Token': token}
    )
    (boot,) = host.outcomes()

    assert boot.error == 'TokenRefused'


def test_a_keystone_that_fails_glance_for_some_seconds_is_waited_for(
    upload, make_host, make_glance, admin, demo, demo_user, where, west
):
    image = upload(store='west')
    with relays.Failing(where.url('keystone')).run() as keystone:
        glance = make_glance(
            keystone_authtoken={
                'auth_type': 'admin_token',
                'endpoint': f'{keystone.url}/v3',
                'token': admin.session.get_token(),
            }
        )
        # So it knows the user's token, and not yet Nova's.
        url = f'{glance.url}/v2/images/{image.id}'
        demo.session.get(url).raise_for_status()
        keystone.fails = True
        host = make_host('west-1', glance__endpoint_override=glance.url)
        host.start(demo_user, [image.id])
        host.wait_for_log('not authorized to complete fetch_image_location')
        keystone.fails = False
        (boot,) = host.outcomes()

    assert boot.error is None, boot.message
    assert west.parent(boot.disk) == clusters.of_glance(image.id)
