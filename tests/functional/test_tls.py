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
"""Glance behind TLS, with the certificate of a private authority.

``[glance] cafile``, ``certfile``, ``keyfile`` and ``insecure`` are Nova's own
options, and mean here what they mean there.
"""

import pytest

from tests.rig import apis
from tests.rig import certificates
from tests.rig import clusters


@pytest.fixture(scope='module')
def authority(tmp_path_factory):
    return certificates.Authority(tmp_path_factory.mktemp('authority'))


@pytest.fixture(scope='module')
def serve(where, authority, tmp_path_factory):
    """Runs Glance behind TLS, demanding certificates of its clients or not."""
    running = []

    def start(demanding):
        glance = apis.GlanceApi(
            where.glance_apis[0].directory,
            tmp_path_factory.mktemp('glance'),
            {},
            certificates.Tls(authority, authority.issue('glance'), demanding),
        )
        running.append(glance)
        glance.start()
        return glance

    yield start
    for glance in running:
        glance.kill()


@pytest.fixture(scope='module')
def glance(serve):
    return serve(demanding=False)


@pytest.fixture(scope='module')
def demanding_glance(serve):
    return serve(demanding=True)


def failures(host, glance):
    """What the log of a host has to say of a Glance that failed."""
    return [
        line
        for line in host.log.splitlines()
        if f'glance-api {glance.url} failed: ' in line
    ]


def test_a_cold_image_is_copied_and_cloned_over_tls(
    upload, make_host, demo_user, west, glance, authority
):
    image = upload()
    host = make_host(
        'west-1',
        glance__endpoint_override=glance.url,
        glance__cafile=str(authority.cafile),
    )

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error is None, boot.message
    assert west.parent(boot.disk) == clusters.of_glance(image.id)
    assert f'POST /v2/images/{image.id}/import' in glance.requests
    assert f'GET /v2/images/{image.id}/locations' in glance.requests


def test_the_authority_of_a_glance_that_is_not_known_is_said(
    upload, make_host, demo_user, glance
):
    image = upload(store='west')
    host = make_host(
        'west-1',
        glance__endpoint_override=glance.url,
        glance__num_retries=0,
    )

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error == 'GlanceUnavailable'
    (line,) = failures(host, glance)
    assert 'certificate verify failed' in line


def test_insecure_takes_any_certificate(
    upload, make_host, demo_user, west, glance
):
    image = upload(store='west')
    host = make_host(
        'west-1',
        glance__endpoint_override=glance.url,
        glance__insecure=True,
    )

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error is None, boot.message
    assert west.parent(boot.disk) == clusters.of_glance(image.id)


def test_a_certificate_of_our_own_is_shown_where_one_is_demanded(
    upload, make_host, demo_user, west, demanding_glance, authority
):
    image = upload(store='west')
    ours = authority.issue('nova')
    host = make_host(
        'west-1',
        glance__endpoint_override=demanding_glance.url,
        glance__cafile=str(authority.cafile),
        glance__certfile=str(ours.certfile),
        glance__keyfile=str(ours.keyfile),
    )

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error is None, boot.message
    assert west.parent(boot.disk) == clusters.of_glance(image.id)


def test_a_certificate_that_is_demanded_and_missing_is_said(
    upload, make_host, demo_user, demanding_glance, authority
):
    image = upload(store='west')
    host = make_host(
        'west-1',
        glance__endpoint_override=demanding_glance.url,
        glance__cafile=str(authority.cafile),
        glance__num_retries=0,
    )

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error == 'GlanceUnavailable'
    (line,) = failures(host, demanding_glance)
    assert 'certificate required' in line
