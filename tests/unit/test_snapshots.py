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

"""Snapshots, as Nova's driver hands them to Nova's image API."""

import io
import logging

from keystoneauth1 import service_token
from keystoneauth1 import token_endpoint
from nova.compute import task_states
from nova.image import glance as nova_glance
from nova.objects import instance
import pytest

from nova_rbd_multistore import beside
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import snapshots
from tests.fakes import endpoint as endpoints

DATA = b'the bytes of a disk'

SERVER = '00000000-0000-4000-8000-000000000000'


@pytest.fixture(autouse=True)
def host(this_host, options, cloud, monkeypatch):
    """A host whose Nova asks the glance-apis of the cloud, too."""
    options.config(group='glance', api_servers=list(cloud.urls))

    def session_and_auth(context):
        auth = service_token.ServiceTokenAuthWrapper(
            token_endpoint.Token('http://not-from-here', context.auth_token),
            token_endpoint.Token('http://nor-from-here', endpoints.SERVICE),
        )
        return cloud.session, auth

    monkeypatch.setattr(nova_glance, '_session_and_auth', session_and_auth)
    return this_host


@pytest.fixture
def image(cloud):
    """One that waits for the data of a snapshot."""
    return cloud.api.begin_image()


def fill(context, image, images=None, data=DATA, **metadata):
    """What Nova's driver does when it has made a snapshot."""
    (images or snapshots.SiteImages()).update(
        context,
        image.id,
        {'disk_format': 'raw', 'container_format': 'bare', **metadata},
        data and io.BytesIO(data),
        purge_props=False,
    )


def warnings(caplog, level=logging.WARNING):
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= level and record.name == snapshots.__name__
    ]


# Into which store


def test_a_snapshot_is_uploaded_into_the_store_of_the_site(
    context, image, cloud
):
    fill(context, image, name='of a server')
    assert set(image.locations) == {'west'}
    assert image.status == 'active'
    assert image.size == len(DATA)
    assert image.properties['name'] == 'of a server'


def test_an_upload_of_novas_own_goes_to_the_default_store(context, image):
    fill(context, image, nova_glance.API())
    assert set(image.locations) == {'file'}


@pytest.mark.parametrize('has_it', [0, 1])
def test_it_is_uploaded_where_the_store_is_known(
    context, image, cloud, has_it
):
    cloud.api.stores_of[f'glance-{"ba"[has_it]}'] = {'file', 'east'}
    fill(context, image)
    assert set(image.locations) == {'west'}
    uploads = [
        [path for path in endpoint.paths if path.startswith('PUT')]
        for endpoint in cloud.endpoints
    ]
    assert len(uploads[has_it]) == 1
    assert uploads[1 - has_it] == []


@pytest.mark.parametrize('has_it', [0, 1])
def test_a_direct_snapshot_is_told_where_its_store_is_known(
    context, image, cloud, has_it
):
    # Another glance-api would add a location of no store, which nobody could
    # copy, or none.
    cloud.api.stores_of[f'glance-{"ba"[has_it]}'] = {'file', 'east'}
    url = cloud.west.complete(image.id)
    fill(context, image, data=None, location=url)
    cloud.clock.advance(10)
    assert image.locations == {'west': url}


def test_where_no_glance_has_the_store_the_data_is_kept_all_the_same(
    context, image, cloud, caplog
):
    for name in ('glance-a', 'glance-b'):
        cloud.api.stores_of[name] = {'file', 'east'}
    fill(context, image)
    assert set(image.locations) == {'file'}
    (said,) = warnings(caplog)
    assert f'Snapshot {image.id} may get into another store than west' in said
    assert str(exceptions.StoreUnknown('west')) in said


# Into further stores


@pytest.fixture
def begun(monkeypatch):
    """The work that was begun beside the snapshot, and is done by calls."""
    begun = []
    monkeypatch.setattr(beside, 'start', begun.append)
    return begun


def server(task_state):
    return instance.Instance(uuid=SERVER, task_state=task_state)


FOR_THE_USER = [
    task_states.IMAGE_UPLOADING,
    task_states.SHELVING_IMAGE_UPLOADING,
]


@pytest.mark.parametrize('task_state', FOR_THE_USER)
def test_a_snapshot_is_copied_beside_the_call(
    context, cloud, options, begun, task_state
):
    options.config(
        group='rbd_multistore', snapshot_copy_stores=['east', 'file']
    )
    snapshot = cloud.api.add_image('west')
    snapshots.copy_on(context, server(task_state), snapshot.id)
    assert cloud.api.requests == []
    (work,) = begun
    work()
    assert set(snapshot.locations) == {'west', 'east', 'file'}


def test_by_default_it_is_not_copied(context, cloud, begun):
    snapshot = cloud.api.add_image('west')
    snapshots.copy_on(context, server(FOR_THE_USER[0]), snapshot.id)
    assert begun == []


@pytest.mark.parametrize(
    'task_state', [task_states.RESIZE_PREP, task_states.RESIZE_MIGRATING]
)
def test_what_nova_makes_for_a_resize_to_another_cell_is_not_copied(
    context, cloud, options, begun, task_state
):
    options.config(group='rbd_multistore', snapshot_copy_stores=['east'])
    snapshot = cloud.api.add_image('west')
    snapshots.copy_on(context, server(task_state), snapshot.id)
    assert begun == []


def test_a_snapshot_is_well_though_nobody_can_be_asked_for_copies(
    host, context, options, begun, monkeypatch, caplog
):
    options.config(group='rbd_multistore', snapshot_copy_stores=['east'])

    def ambiguous(context):
        raise exceptions.RegionAmbiguous(['one', 'two'])

    monkeypatch.setattr(host.access, 'as_user_of', ambiguous)
    snapshots.copy_on(context, server(FOR_THE_USER[0]), 'an-image')
    assert begun == []
    (said,) = warnings(caplog)
    assert 'Cannot copy snapshot an-image' in said


# Before Nova deletes the image of a server that was unshelved


def test_a_copy_of_that_image_ends_first(context, cloud):
    shelved = cloud.api.add_image('west')
    cloud.glance().request_copy(shelved.id, 'east')
    cloud.clock.advance(1)
    snapshots.wait_until_free(context, shelved.id)
    assert set(shelved.locations) == {'west', 'east'}


@pytest.mark.parametrize('fault', ['gone', 'away'])
def test_a_server_is_unshelved_whatever_glance_says(context, cloud, fault):
    image = cloud.api.add_image('west')
    if fault == 'gone':
        del cloud.api.images[image.id]
    else:
        cloud.network.servers.clear()
    snapshots.wait_until_free(context, image.id)
