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

"""Who may set where an image lies.

The user other has the password of Nova's service user, from a compute that
they have taken over, and is after a private image of the user demo.
"""

import hashlib
import uuid

import pytest
import requests

from tests.rig import clusters
from tests.rig import polling
from tests.rig import servers as nova_servers


@pytest.fixture
def other_token(other, user_of):
    return user_of(other).auth_token


@pytest.fixture
def nova_token(nova_account, token_of):
    return token_of(nova_account)


@pytest.fixture
def set_location(images_to_remove, other_token):
    """Makes an image of user other, and asks a Glance to say where it lies.

    Gives the image's address, and what Glance answers.
    """

    def ask(glance_url, location, service_token):
        headers = {'X-Auth-Token': other_token}
        answer = requests.post(
            f'{glance_url}/v2/images',
            json={
                'name': f'test-{uuid.uuid4()}',
                'disk_format': 'raw',
                'container_format': 'bare',
            },
            headers=headers,
            timeout=60,
        )
        answer.raise_for_status()
        image = f'{glance_url}/v2/images/{answer.json()["id"]}'
        images_to_remove.append(answer.json()['id'])
        answer = requests.post(
            f'{image}/locations',
            json={'url': location},
            headers={**headers, 'X-Service-Token': service_token},
            timeout=60,
        )
        return image, answer.status_code

    return ask


@pytest.fixture
def get(other_token):
    """Asks Glance as user other alone."""

    def ask(url):
        return requests.get(
            url, headers={'X-Auth-Token': other_token}, timeout=60
        )

    return ask


@pytest.mark.fault
@pytest.mark.parametrize('site', ['east', 'west'])
def test_by_glance_s_default_a_stolen_service_token_opens_every_store(
    request,
    upload,
    location_glance,
    set_location,
    get,
    other_token,
    nova_token,
    site,
):
    """To read it, and to delete it: the store does not ask whose it is."""
    cluster = request.getfixturevalue(site)
    private = upload(store=site, visibility='private')
    digest = cluster.digest('images', private.id)
    assert (
        get(f'{location_glance.url}/v2/images/{private.id}').status_code == 404
    )

    image, status = set_location(
        location_glance.url,
        f'rbd://{cluster.fsid}/images/{private.id}/snap',
        nova_token,
    )

    assert status == 202
    polling.until(
        lambda: (
            get(image).json()['status'] == 'active'
            and 'os_glance_import_task' not in get(image).json()
        ),
        'the image is active',
    )
    stolen = get(f'{image}/file').content
    assert hashlib.sha256(stolen).hexdigest() == digest
    requests.delete(
        image, headers={'X-Auth-Token': other_token}, timeout=60
    ).raise_for_status()
    assert private.id not in cluster.images('images')


@pytest.mark.parametrize('site', ['east', 'west'])
def test_by_our_policy_no_service_token_sets_a_location(
    request, upload, where, set_location, get, nova_token, site
):
    cluster = request.getfixturevalue(site)
    private = upload(store=site, visibility='private')

    image, status = set_location(
        where.glance_apis[0].url,
        f'rbd://{cluster.fsid}/images/{private.id}/snap',
        nova_token,
    )

    assert status == 403
    record = get(image).json()
    assert record['status'] == 'queued'
    assert 'os_glance_import_task' not in record
    assert get(f'{image}/file').status_code == 204


@pytest.fixture
def location_role(admin):
    """A role of Keystone for whoever is to set locations."""
    role = admin.identity.create_role(name='image_location')
    yield role.name
    admin.identity.delete_role(role)


@pytest.mark.fault
def test_whoever_is_to_set_locations_can_be_given_a_role_for_it(
    location_glance,
    set_location,
    location_role,
    make_service_user,
    token_of,
    nova_token,
    west,
    images_to_remove,
):
    """As Cinder's service user, say; Nova's own does not have it."""
    location_glance.add_policies(
        add_image_location=f'role:admin or service_roles:{location_role}'
    )
    name = str(uuid.uuid4())
    west.create('images', name, 8 << 20)
    west.create_snapshot('images', name, 'snap')
    location = f'rbd://{west.fsid}/images/{name}/snap'
    cinders = token_of(make_service_user('service', location_role))

    _image, status = set_location(location_glance.url, location, cinders)
    _image, denied = set_location(location_glance.url, location, nova_token)

    images_to_remove.append(name)
    assert (status, denied) == (202, 403)


# Direct snapshots


@pytest.fixture
def snapshot(
    configure, nova_may_write, upload, servers, demo, images_to_remove
):
    """Has Nova make a snapshot of a server, by way of a glance-api."""

    def make(glance_url):
        for name in ('west-1', 'west-2'):
            configure(name, glance__endpoint_override=glance_url)
        image = upload(store='west', os_shutdown_timeout='1')
        (server,) = servers.boot(image.id, 'west')
        made = demo.compute.create_server_image(server, f'of-{server.id}')
        images_to_remove.append(made.id)
        servers.wait_for(server)
        return made.id

    return make


@pytest.mark.long
def test_a_direct_snapshot_fails_where_nova_may_not_set_locations(
    snapshot, where, demo, log_of, west
):
    """Where its user may write to Glance's pool: else Nova tries none."""
    logs = [log_of(f'compute-west-{number}') for number in (1, 2)]

    image_id = snapshot(where.glance_apis[0].url)

    assert demo.image.find_image(image_id) is None
    assert image_id not in west.images('images')
    assert any(log.lines('ImageNotAuthorized', image_id) for log in logs)


@pytest.mark.long
def test_a_direct_snapshot_is_made_where_nova_may_set_locations(
    snapshot, location_glance, demo, servers, west, stores_of
):
    image_id = snapshot(location_glance.url)

    # The glance-api that hashes it would be asked to delete it, too.
    polling.until(
        lambda: demo.image.get_image(image_id).hash_value,
        'the snapshot is active, and hashed',
    )
    assert stores_of(image_id) == {'west'}
    (booted,) = servers.boot(image_id, 'west')
    parent = clusters.of_glance(image_id)
    assert west.parent(nova_servers.disk(booted)) == parent
