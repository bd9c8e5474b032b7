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


"""Images in stores of type cinder boot as clones wherever servers are.

Needs ``tools/lab up --with cinder``: stores fast, in the cluster of site east,
and slow, in that of site west, beside the lab's others.
"""

import configparser
import dataclasses
import hashlib
import os

import pytest

from tests.rig import apis
from tests.rig import clusters
from tests.rig import database
from tests.rig import hosts
from tests.rig import image_files
from tests.rig import polling
from tests.rig import servers as nova_servers
from tests.rig import volumes as cinder_volumes

pytestmark = pytest.mark.cinder

POLL = {'libvirt__images_rbd_glance_copy_poll_interval': 2}


@pytest.fixture
def volumes(admin):
    return cinder_volumes.Volumes(admin)


@pytest.fixture
def locations(where):
    """Where an image lies by Glance's database."""
    return lambda image: cinder_volumes.locations(where, image.id)


@pytest.fixture
def upload_bytes(begin_image, demo, tmp_path):
    """Makes images in a store; gives each and SHA-256 of its bytes."""

    def make(store, size_mib=8):
        data = os.urandom(size_mib << 20)
        image_id = begin_image()
        path = tmp_path / image_id
        path.write_bytes(data)
        image_files.upload(demo, image_id, path, store)
        return demo.image.get_image(image_id), hashlib.sha256(data).hexdigest()

    return make


@pytest.fixture
def copy(admin, where, stores_of):
    """Has Glance copy an image to a store, and waits until it is there."""

    def to(image, store):
        answer = admin.image.post(
            f'/images/{image.id}/import',
            json={'method': {'name': 'copy-image'}, 'stores': [store]},
        )
        answer.raise_for_status()
        polling.until(
            lambda: store in stores_of(image.id), f'{store} has the image'
        )

    return to


def is_clone(cluster, boot):
    assert boot.error is None, boot.message
    return cluster.parent(boot.disk) == clusters.of_glance(boot.image)


# Where images can lie


@pytest.mark.parametrize('store', ['fast', 'slow'])
def test_an_image_that_only_cinder_has_boots_as_a_clone_on_both_sites(
    upload_bytes, servers, east, west, store, locations
):
    image, digest = upload_bytes(store)
    assert set(locations(image).values()) == {store}

    made = servers.boot(image.id, 'east', 'west')

    for cluster, server in zip((east, west), made, strict=True):
        parent = clusters.of_glance(image.id)
        assert cluster.parent(nova_servers.disk(server)) == parent
        assert cluster.digest('images', image.id, 'snap') == digest


def test_an_image_comes_back_from_cinder_as_it_was(
    upload_bytes, copy, make_host, admin, demo_user, east, stores_of
):
    image, digest = upload_bytes('east')
    copy(image, 'slow')
    admin.image.delete(f'/stores/east/{image.id}').raise_for_status()
    assert stores_of(image.id) == {'slow'}
    assert image.id not in east.images('images')

    (boot,) = make_host('east-1').boot(demo_user, image.id)

    assert is_clone(east, boot)
    assert east.digest('vms', boot.disk, size=image.size) == digest


def test_the_volumes_are_of_the_type_of_their_store(upload, volumes, where):
    for store in where.volume_stores:
        volume = volumes.the(upload(store=store.name).id)
        assert volumes.type_of(volume) == store.volume_type


# Locations without a store, as Glance wrote them before it had several


@pytest.fixture
def make_legacy(where, volumes):
    """Has an image's location be that of a Glance with one Cinder store."""

    def make(image):
        volume = volumes.the(image.id)
        database.place_image(
            where, image.id, [(f'cinder://{volume.id}', None)]
        )
        return volume

    return make


def test_an_old_location_boots_before_glance_has_rewritten_it(
    upload, make_legacy, make_host, demo_user, east, west, locations
):
    image = upload(store='fast')
    volume = make_legacy(image)

    # The boots are the first to read it, both at once.
    at = hosts.soon()
    made = [make_host(name) for name in ('east-1', 'west-1')]
    for host in made:
        host.start(demo_user, [image.id], at=at)
    boots = [host.outcomes()[0] for host in made]

    for cluster, boot in zip((east, west), boots, strict=True):
        assert is_clone(cluster, boot)
    found = locations(image)
    assert found.pop(f'cinder://fast/{volume.id}') == 'fast'
    assert set(found.values()) == {'east', 'west'}


def test_glance_rewrites_an_old_location_when_it_is_read(
    upload, make_legacy, make_host, demo, demo_user, west, locations
):
    image = upload(store='fast')
    volume = make_legacy(image)

    demo.image.get(f'/images/{image.id}').raise_for_status()

    assert locations(image) == {f'cinder://fast/{volume.id}': 'fast'}
    (boot,) = make_host('west-1').boot(demo_user, image.id)
    assert is_clone(west, boot)


def test_an_old_location_is_left_if_its_type_is_of_no_store(
    upload, make_legacy, make_host, demo_user, volumes, west, locations
):
    image = upload(store='fast')
    volume = make_legacy(image)

    with volumes.renamed_type('glance-fast', 'glance-quick'):
        (boot,) = make_host('west-1', **POLL).boot(demo_user, image.id)

    assert boot.error == 'StoreNotNamed'
    assert locations(image) == {f'cinder://{volume.id}': None}
    # With the name that Glance knows again, the next boot goes well.
    (again,) = make_host('west-1', **POLL).boot(demo_user, image.id)
    assert is_clone(west, again)
    assert locations(image)[f'cinder://fast/{volume.id}'] == 'fast'


# Types, volumes and Cinder itself that are not as they were


def test_a_store_of_a_type_that_is_not_there_keeps_nothing_and_can_be_read(
    upload, make_glance, make_host, demo_user, admin, copy_tasks, west
):
    image = upload(store='fast')
    glance = make_glance(fast={'cinder_volume_type': 'no-such-type'})
    host = make_host('west-1', glance__endpoint_override=glance.url, **POLL)

    (boot,) = host.boot(demo_user, image.id)
    other = upload(store='east')
    glance.request_copy(admin, other.id, 'fast')
    polling.until(
        lambda: copy_tasks(other.id)[0]['status'] == 'failure',
        'Glance fails to add it',
    )

    assert is_clone(west, boot)
    assert 'Invalid `cinder_volume_type no-such-type`' in glance.log


def test_a_type_that_is_renamed_stops_no_boot(
    upload, make_host, demo_user, volumes, west
):
    image = upload(store='fast')

    with volumes.renamed_type('glance-fast', 'glance-quick'):
        (boot,) = make_host('west-1').boot(demo_user, image.id)

    assert is_clone(west, boot)


def test_a_volume_that_was_deleted_in_cinder_is_said_to_be_gone(
    upload, make_host, demo_user, volumes, copy_tasks
):
    image = upload(store='fast')
    volumes.delete(volumes.the(image.id))

    (boot,) = make_host('west-1', **POLL).boot(demo_user, image.id)

    assert boot.error == 'CopyFailed'
    assert 'glance-api 1 and 2 of 2: ' in boot.message[:120]
    assert {task['status'] for task in copy_tasks(image.id)} == {'failure'}


def test_a_volume_that_was_altered_in_cinder_is_not_copied(
    upload_bytes, make_host, demo_user, volumes, east, west
):
    """Nor is what Glance leaves of such a copy in the cluster ever cloned."""
    image, digest = upload_bytes('fast')
    volume = f'volume-{volumes.the(image.id).id}'
    original = east.read(volume, 512, pool='volumes')
    host = make_host('west-1', **POLL)

    east.write('volumes', volume, b'x' * 512)
    (altered,) = host.boot(demo_user, image.id)
    east.write('volumes', volume, original)
    (blocked,) = host.boot(demo_user, image.id)
    west.remove('images', image.id)
    (again,) = host.boot(demo_user, image.id)

    assert altered.error == 'CopyFailed'
    assert 'os_hash_value of uploaded data is different' in altered.message
    assert blocked.error == 'CopyFailed'
    assert 'remove what a broken copy left' in blocked.message
    assert is_clone(west, again)
    assert west.digest('vms', again.disk, size=image.size) == digest


def test_a_volume_that_something_else_uses_is_said(
    upload, make_host, demo_user, volumes, west
):
    image = upload(store='fast')

    with volumes.attached(volumes.the(image.id)):
        (boot,) = make_host('west-1', **POLL).boot(demo_user, image.id)

    print(f'{boot.seconds:.1f} s')
    assert boot.error == 'CopyFailed'
    assert 'glance-api 1 and 2 of 2: ' in boot.message[:120]
    (again,) = make_host('west-1').boot(demo_user, image.id)
    assert is_clone(west, again)


@dataclasses.dataclass
class Cinder:
    """Its API and the service that knows the clusters."""

    supervisor: object
    where: object
    log_of: object
    down: list = dataclasses.field(default_factory=list)

    def stop(self, *daemons):
        self.supervisor.stop(*daemons)
        self.down += daemons

    def crash(self, daemon):
        self.supervisor.kill(daemon)
        self.down.append(daemon)

    def start(self):
        log = self.log_of('cinder-volume')
        self.supervisor.start(*self.down)
        if 'cinder-api' in self.down:
            apis.wait_for(self.where.url('cinder-api'))
        if 'cinder-volume' in self.down:
            log.wait_for('Driver post RPC initialization completed')
        self.down.clear()


@pytest.fixture
def cinder(supervisor, where, log_of, images_to_remove):
    """Runs again before the images are removed."""
    made = Cinder(supervisor, where, log_of)
    yield made
    made.start()


@pytest.mark.parametrize('daemon', ['cinder-api', 'cinder-volume'])
def test_a_copy_that_needs_cinder_fails_while_it_is_down(
    upload, make_host, demo_user, cinder, west, daemon
):
    image = upload(store='fast')
    cinder.stop(daemon)

    (boot,) = make_host('west-1', **POLL).boot(demo_user, image.id)
    cinder.start()
    (again,) = make_host('west-1').boot(demo_user, image.id)

    print(f'{boot.seconds:.1f} s')
    assert boot.error == 'CopyFailed'
    assert 'glance-api 1 and 2 of 2: ' in boot.message[:120]
    assert is_clone(west, again)


@pytest.fixture
def detach_at_the_end(volumes, images_to_remove, cinder):
    """Or Glance would not delete the images."""
    yield
    for image_id in images_to_remove:
        for volume in volumes.of(image_id):
            volumes.detach(volume)


@pytest.mark.usefixtures('detach_at_the_end')
@pytest.mark.parametrize('daemon', ['cinder-api', 'cinder-volume'])
def test_a_copy_goes_on_when_cinder_goes_down_and_the_volume_stays_attached(
    upload_bytes,
    make_glance,
    make_host,
    demo_user,
    cinder,
    west,
    volumes,
    daemon,
):
    image, digest = upload_bytes('fast', size_mib=512)
    glance = make_glance()
    host = make_host('west-1', glance__endpoint_override=glance.url, **POLL)
    host.start(demo_user, [image.id])
    polling.until(
        lambda: 0 < glance.staged < image.size,
        'it is being staged',
        pause=0.005,
    )

    cinder.crash(daemon)
    (boot,) = host.outcomes()
    cinder.start()

    assert is_clone(west, boot)
    assert west.digest('vms', boot.disk, size=image.size) == digest
    # Glance could not end what it had begun.
    assert volumes.the(image.id).status == 'in-use'


def test_images_elsewhere_boot_while_cinder_is_down(
    upload, make_host, demo_user, cinder, west
):
    local, remote = upload(store='west'), upload(store='east')
    cinder.stop('cinder-api', 'cinder-volume')

    boots = make_host('west-1').boot(demo_user, local.id, remote.id)

    for boot in boots:
        assert is_clone(west, boot)


@pytest.fixture
def glance_with(where, make_glance):
    """Runs a glance-api with the lab's stores but fast, and others for it."""
    conf = configparser.ConfigParser(interpolation=None, strict=False)
    conf.read(where.glance_apis[0].directory / 'glance-api.conf')
    kept = [
        store
        for store in conf['DEFAULT']['enabled_backends'].split(', ')
        if store != 'fast:cinder'
    ]

    def make(*names):
        backends = [*kept, *(f'{name}:cinder' for name in names)]
        options = {
            option: conf['fast'][option]
            for option in conf['fast']
            if option not in conf.defaults()
        }
        return make_glance(
            DEFAULT={'enabled_backends': ', '.join(backends)},
            **dict.fromkeys(names, options),
        )

    return make


def test_an_image_of_a_store_that_another_replaced_is_found_in_that(
    upload, glance_with, make_host, demo_user, west, volumes, locations
):
    image = upload(store='fast')
    volume = volumes.the(image.id)
    glance = glance_with('quick')
    host = make_host('west-1', glance__endpoint_override=glance.url)

    (boot,) = host.boot(demo_user, image.id)

    assert is_clone(west, boot)
    assert locations(image)[f'cinder://quick/{volume.id}'] == 'quick'


def test_an_image_of_a_store_that_was_retired_boots_from_where_else_it_is(
    upload, copy, glance_with, make_host, demo_user, west
):
    only_there, elsewhere = upload(store='fast'), upload(store='fast')
    copy(elsewhere, 'east')
    glance = glance_with()
    host = make_host('west-1', glance__endpoint_override=glance.url, **POLL)

    lost, found = host.boot(demo_user, only_there.id, elsewhere.id)

    assert lost.error == 'SourceOutOfReach'
    assert 'it lies in fast, and they have' in lost.message[:120]
    assert is_clone(west, found)
