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

import contextlib
import dataclasses
import http.server
import io
import logging
import threading

from keystoneauth1 import service_token
from keystoneauth1 import session as sessions
from keystoneauth1 import token_endpoint
from nova import exception
from nova.compute import task_states
from nova.image import glance as nova_glance
from nova.objects import instance
import pytest

from nova_rbd_multistore import beside
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import glance
from nova_rbd_multistore import pace
from nova_rbd_multistore import snapshots
from tests.fakes import disks
from tests.fakes import endpoint as endpoints
from tests.fakes import glance_api

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


def test_by_default_it_is_uploaded_where_glance_likes(context, image):
    fill(context, image, snapshots.Images())
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


# From its beginning


#: More than what an attempt that is refused can have put into a socket.
LONG = bytes(range(256)) * 65536


class Uploads:
    """A real server for Nova's real client; it refuses the first upload.

    :ivar url: its own
    :ivar stores: which store each upload was to go to
    :ivar kept: the bytes of those that were taken
    """

    def __init__(self):
        self.stores = []
        self.kept = []

    @contextlib.contextmanager
    def run(self):
        uploads = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def do_PUT(self):
                uploads.stores.append(self.headers['x-image-meta-store'])
                if len(uploads.stores) == 1:
                    # As a load balancer does that has no server behind it.
                    self.close_connection = True
                    self._say(503)
                    return
                uploads.kept.append(b''.join(self._chunks()))
                self._say(204)

            def do_GET(self):
                self.rfile.read(int(self.headers.get('Content-Length', 0)))
                schema = self.path == '/v2/schemas/image'
                self._say(200, SCHEMA if schema else RECORD)

            do_PATCH = do_GET  # noqa: N815

            def _chunks(self):
                while size := int(self.rfile.readline(), 16):
                    yield self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()

            def _say(self, status, body=b''):
                self.send_response(status)
                kind = 'application/json' if body else 'text/plain'
                self.send_header('Content-Type', kind)
                self.send_header('Content-Length', str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_args):
                """Say nothing."""

        with http.server.ThreadingHTTPServer(
            ('127.0.0.1', 0), Handler
        ) as server:
            # Or its end would wait for the connections that the client keeps.
            server.block_on_close = False
            self.url = f'http://127.0.0.1:{server.server_port}'
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()


SCHEMA = b'{"name": "image", "properties": {}}'
RECORD = b'{"id": "an-image", "status": "active"}'


@pytest.fixture
def uploads(options, monkeypatch):
    with Uploads().run() as uploads:
        options.config(group='glance', api_servers=[uploads.url])
        auth = token_endpoint.Token(uploads.url, 'a-token')
        monkeypatch.setattr(
            nova_glance,
            '_session_and_auth',
            lambda _context: (sessions.Session(), auth),
        )
        monkeypatch.setattr(nova_glance.time, 'sleep', lambda _seconds: None)
        yield uploads


def test_an_upload_that_is_tried_again_begins_at_the_beginning(
    context, uploads
):
    snapshots.Images().update(context, 'an-image', {}, io.BytesIO(LONG))
    assert uploads.stores == [None, None]
    assert uploads.kept == [LONG]


def test_so_does_one_into_the_store_of_the_site(context, uploads, monkeypatch):
    monkeypatch.setattr(
        glance.Glance, 'endpoint_with', lambda *_args: uploads.url
    )
    snapshots.SiteImages().update(context, 'an-image', {}, io.BytesIO(LONG))
    assert uploads.stores == ['west', 'west']
    assert uploads.kept == [LONG]


# Whether it is whole

GIB = 1 << 30

DISK = f'{SERVER}_disk'


@pytest.fixture
def disk(host, monkeypatch):
    """Sets how many bytes the disk of the server has, which is here."""
    found = disks.Disks(host.cluster)
    monkeypatch.setattr(snapshots.disks, 'RBDDriver', lambda _: found)
    host.cluster.disks['vms', DISK] = None

    def resize(size):
        found.sizes[DISK] = size

    return resize


@pytest.fixture
def require_whole(context):
    return lambda image: snapshots.require_whole(
        context, server(FOR_THE_USER[1]), image.id
    )


@pytest.mark.parametrize('rounded', [GIB, GIB - 1, GIB - 511])
def test_an_image_of_the_whole_disk_is_whole(
    cloud, disk, require_whole, rounded
):
    # What qemu-img makes of a disk is a number of sectors.
    disk(rounded)
    require_whole(cloud.api.add_image('west', size=GIB))


@pytest.mark.parametrize('size', [0, GIB - 65536, GIB - 512, GIB + 512])
def test_an_image_of_another_size_is_not(cloud, disk, require_whole, size):
    disk(GIB)
    image = cloud.api.add_image('west', size=size)
    with pytest.raises(exceptions.SnapshotIncomplete) as caught:
        require_whole(image)
    assert f'it has {size} bytes, and the disk {GIB}' in str(caught.value)
    assert image.id in str(caught.value)


def test_a_direct_snapshot_is_whole_when_glance_has_added_it(
    image, cloud, disk, require_whole
):
    disk(0)
    url = cloud.west.complete(image.id)
    cloud.api.add_location(
        glance_api.Requester(service=True), image.id, url, 'glance-a'
    )
    assert image.locations == {}
    require_whole(image)
    assert image.locations == {'west': url}


def test_one_that_glance_does_not_add_is_not(
    image, disk, require_whole, options
):
    options.config(group='libvirt', images_rbd_glance_copy_timeout=77)
    disk(GIB)
    with pytest.raises(
        exceptions.SnapshotIncomplete,
        match='it is queued, not active, after 77 s',
    ):
        require_whole(image)


def test_of_another_format_it_is_whole_when_it_is_active(
    cloud, disk, require_whole
):
    disk(GIB)
    require_whole(cloud.api.add_image('west', size=7, disk_format='qcow2'))


def test_so_is_one_of_a_disk_that_is_not_in_the_pool(
    host, cloud, disk, require_whole
):
    # In a file, from before the host had RBD.
    disk(GIB)
    del host.cluster.disks['vms', DISK]
    require_whole(cloud.api.add_image('west', size=7))


@pytest.fixture
def whole(cloud, disk):
    """An image of the whole disk, when the cluster goes away."""
    disk(GIB)
    image = cloud.api.add_image('west', size=GIB)
    cloud.west.away = True
    return image


def test_a_snapshot_is_kept_though_its_disk_cannot_be_looked_at(
    context, cloud, whole, caplog
):
    # From an error, Nova would delete it.
    began = cloud.clock.now
    snapshots.require_whole(context, server(FOR_THE_USER[0]), whole.id)
    assert cloud.clock.now - began == pytest.approx(pace.SETTLES_IN)
    (said,) = warnings(caplog)
    assert f'Cannot see whether snapshot {whole.id}' in said
    assert 'cannot be used' in said
    assert str(GIB) in said


@pytest.mark.parametrize(
    'task_state',
    [task_states.SHELVING_IMAGE_UPLOADING, task_states.RESIZE_MIGRATING],
)
def test_of_a_server_that_is_to_lose_its_disk_it_is_not(
    context, whole, task_state
):
    with pytest.raises(exceptions.ClusterUnreachable):
        snapshots.require_whole(context, server(task_state), whole.id)


@pytest.mark.parametrize('size', [GIB, GIB - 512])
def test_a_disk_that_can_be_looked_at_a_moment_later_is(
    context, cloud, disk, whole, size, caplog
):
    disk(size)
    cloud.clock.after(5, lambda: setattr(cloud.west, 'away', False))
    outcome = (
        contextlib.nullcontext()
        if size == GIB
        else pytest.raises(exceptions.SnapshotIncomplete)
    )
    with outcome:
        snapshots.require_whole(context, server(FOR_THE_USER[0]), whole.id)
    assert warnings(caplog) == []


def test_it_is_kept_when_nova_compute_stops_meanwhile(
    host, context, whole, monkeypatch
):
    def stop(_seconds):
        raise exceptions.HostStopping

    stopping = dataclasses.replace(host.time, sleep=stop)
    monkeypatch.setattr(host, 'time', stopping)
    snapshots.require_whole(context, server(FOR_THE_USER[0]), whole.id)


@pytest.mark.parametrize('away', ['glance', 'cluster'])
def test_nothing_is_whole_that_cannot_be_seen(
    cloud, disk, require_whole, away
):
    disk(GIB)
    image = cloud.api.add_image('west', size=GIB)
    if away == 'glance':
        cloud.network.servers.clear()
    else:
        cloud.west.away = True
    with pytest.raises(exceptions.HostError):
        require_whole(image)


@pytest.mark.parametrize('status', [401, 404])
def test_it_is_whole_though_glance_refuses_it_for_a_moment(
    cloud, disk, require_whole, status
):
    # While a glance-api has no answer of Keystone's, or its database lags.
    disk(GIB)
    image = cloud.api.add_image('west', size=GIB)
    for endpoint in cloud.endpoints:
        endpoint.fault = endpoints.error_page(status, 'not now')
        cloud.clock.after(2, lambda it=endpoint: setattr(it, 'fault', None))
    require_whole(image)


def test_it_is_whole_though_one_glance_api_goes_on_refusing_it(
    cloud, disk, require_whole
):
    disk(GIB)
    image = cloud.api.add_image('west', size=GIB)
    cloud.endpoints[0].fault = endpoints.error_page(401, 'by no token')
    require_whole(image)


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


def wanted():
    """The server, whose spawn waits, is not being deleted."""


def test_a_copy_of_that_image_ends_first(context, cloud):
    shelved = cloud.api.add_image('west')
    cloud.glance().request_copy(shelved.id, 'east')
    cloud.clock.advance(1)
    snapshots.wait_until_free(context, shelved.id, wanted)
    assert set(shelved.locations) == {'west', 'east'}


def test_a_server_that_is_deleted_meanwhile_is_not_kept(context, cloud):
    shelved = cloud.api.add_image('west')
    cloud.glance().request_copy(shelved.id, 'east')
    cloud.clock.advance(1)

    def deleted():
        raise exception.UnexpectedDeletingTaskStateError(
            instance_uuid=SERVER, expected={}, actual={}
        )

    # Its guest runs: an error would have Nova begin a second one.
    snapshots.wait_until_free(context, shelved.id, deleted)
    assert set(shelved.locations) == {'west'}


@pytest.mark.parametrize('fault', ['gone', 'away', 'any other'])
def test_a_server_is_unshelved_whatever_glance_says(
    host, context, cloud, monkeypatch, fault
):
    image = cloud.api.add_image('west')
    if fault == 'gone':
        del cloud.api.images[image.id]
    elif fault == 'away':
        cloud.network.servers.clear()
    else:

        def fail(_context):
            raise RuntimeError('nobody has thought of that')

        monkeypatch.setattr(host.access, 'as_user_of', fail)
    snapshots.wait_until_free(context, image.id, wanted)
