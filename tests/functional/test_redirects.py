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
"""A glance-api that sends whoever asks it to another host.

As one that was taken over does, or a name server that lies. With keystoneauth
as it is, both tokens of a boot go there.
"""

import pytest

from tests.rig import certificates
from tests.rig import relays
from tests.rig import strange_servers

pytestmark = pytest.mark.fault


@pytest.fixture(scope='module')
def authority(tmp_path_factory):
    return certificates.Authority(tmp_path_factory.mktemp('authority'))


@pytest.fixture(params=['http', 'https'])
def redirecting(request, authority):
    """Runs a server that sends whoever asks it elsewhere."""
    tls = None
    if request.param == 'https':
        tls = certificates.serving(authority.issue('glance'))
    return lambda there: strange_servers.redirecting(there, tls)


@pytest.mark.both_modes
def test_the_tokens_of_a_boot_follow_no_redirect(
    upload, make_host, demo_user, redirecting, authority
):
    image = upload(store='west')
    with (
        strange_servers.thief() as (thief, stolen),
        redirecting(thief) as url,
    ):
        host = make_host(
            'west-1',
            glance__endpoint_override=url,
            glance__cafile=str(authority.cafile),
            glance__num_retries=0,
        )

        (boot,) = host.boot(demo_user, image.id)

    assert stolen == []
    assert boot.error == 'GlanceUnavailable'
    assert f'HTTP 307: it redirects to "{thief}/v2/images/' in host.log


def test_nor_do_those_of_a_download_by_novas_own_client(
    upload, make_host, demo_user, west, where
):
    image = upload(disk_format='qcow2')
    with (
        strange_servers.thief() as (thief, stolen),
        relays.DownloadsElsewhere(where.glance_apis[0].url, thief).run() as (
            relay
        ),
    ):
        host = make_host(
            'west-1',
            glance__api_servers=[relay.url],
            workarounds__never_download_image_if_on_rbd=False,
        )

        (boot,) = host.boot(demo_user, image.id)

    assert stolen == []
    assert relay.redirected == [f'/v2/images/{image.id}/file']
    assert boot.error == 'UnknownConnectionError'
    assert boot.disk not in west.images('vms')
