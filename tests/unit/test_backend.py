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

"""The backend, as Nova's driver calls it, with Nova's real base class."""

from concurrent import futures
import contextlib
import datetime
import functools
import logging
import pathlib
import threading

from keystoneauth1 import token_endpoint
from nova import exception
from nova import objects
from nova.compute import task_states
from nova.compute import vm_states
import nova.conf
from nova.objects import flavor
from nova.virt.libvirt import imagebackend
import oslo_messaging as messaging
import pytest

from nova_rbd_multistore import backend
from nova_rbd_multistore import ceph
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import finding
from nova_rbd_multistore import remains
from nova_rbd_multistore.meter import Saw
from nova_rbd_multistore.meter import Step
from tests.fakes import disks
from tests.fakes import endpoint as endpoints
from tests.fakes import meter as meters

DEADLINE = 30
GIB = 1024**3

#: When a server was first up.
WHEN = datetime.datetime(2026, 11, 25, tzinfo=datetime.UTC)

UUIDS = [f'{number:08}-0000-4000-8000-000000000000' for number in range(4)]


def server(vm_state, task_state):
    return objects.Instance(
        uuid=UUIDS[0], vm_state=vm_state, task_state=task_state
    )


class Instances:
    """Nova's database of servers, as one host asks it.

    :ivar answer: the server now, or what asking raises
    """

    def __init__(self):
        self.answer = server(vm_states.BUILDING, task_states.SPAWNING)

    def get_by_uuid(self, context, uuid, expected_attrs):
        assert context.is_admin
        assert (uuid, expected_attrs) == (UUIDS[0], [])
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Boot:
    """What Nova's driver does for the root disk of a server.

    :ivar project: the server's
    :ivar launched_at: when the server was first up, None if it never was
    :ivar vm_state: that of the server
    :ivar host: where the server is, by Nova's database
    :ivar fetched: how often the image was downloaded
    :ivar disk_name: Nova's name for the disk
    :ivar had_ephemeral: GiB that the server had of ephemeral disks before it
        was resized
    """

    def __init__(self, cloud, context, uuid=UUIDS[0]):
        self.project = context.project_id
        self.launched_at = None
        self.vm_state = vm_states.BUILDING
        self.task_state = task_states.SPAWNING
        self.host = nova.conf.CONF.host
        self.disk_name = 'disk'
        self.context = context
        self.disks = disks.Disks(cloud.west)
        self._uuid = uuid
        self.fetched = 0
        self.had_ephemeral = 0
        self.refusals = []

    @functools.cached_property
    def disk(self):
        """Made by the options as they are when it is first needed."""
        disk = backend.Rbd(
            instance=objects.Instance(
                uuid=self._uuid,
                vm_state=self.vm_state,
                project_id=self.project,
                task_state=self.task_state,
                launched_at=self.launched_at,
                host=self.host,
                old_flavor=flavor.Flavor(ephemeral_gb=self.had_ephemeral),
            ),
            disk_name=self.disk_name,
        )
        disk.driver = self.disks
        return disk

    @property
    def name(self):
        return self.disk.rbd_name

    def run(self, image, size=None):
        self.disk.cache(
            fetch_func=self.fetch,
            context=self.context,
            filename='hash-of-the-image',
            image_id=image.id,
            size=size,
            trusted_certs=None,
        )

    def fetch(self, context, target, image_id, trusted_certs=None):
        """Clone, or download where that is allowed: Nova's fetch_func."""
        del trusted_certs
        try:
            self.disk.clone(context, image_id)
        except exception.ImageUnacceptable as exc:
            self.refusals.append(exc)
            if nova.conf.CONF.workarounds.never_download_image_if_on_rbd:
                raise
            self.fetched += 1
            pathlib.Path(target).parent.mkdir(parents=True, exist_ok=True)
            pathlib.Path(target).touch()


@pytest.fixture
def instances(monkeypatch):
    instances = Instances()
    monkeypatch.setattr(objects.Instance, 'get_by_uuid', instances.get_by_uuid)
    return instances


@pytest.fixture(autouse=True)
def host(this_host, options, instances, tmp_path):
    """A host that never downloads, unless a test lets it."""
    del instances
    options.config(instances_path=str(tmp_path))
    options.config(group='workarounds', never_download_image_if_on_rbd=True)
    return this_host


@pytest.fixture
def downloads(options):
    options.config(group='workarounds', never_download_image_if_on_rbd=False)


@pytest.fixture
def boot(cloud, context, host):
    del host
    return Boot(cloud, context)


@pytest.fixture
def image(cloud):
    """An image that lies in our store."""
    return cloud.api.add_image('file', 'west')


@pytest.fixture
def cold(cloud):
    """An image that lies elsewhere only."""
    return cloud.api.add_image('file')


def parent(cloud, boot):
    """What a server's disk is a clone of."""
    found = cloud.west.disks['vms', boot.name]
    return f'{found.pool}/{found.image}@{found.snapshot}'


def asked_for_copies(cloud):
    return [status for _, _, status in cloud.api.requests]


# Whose images are copied


@pytest.fixture
def of_another(cloud):
    """Makes images of another project that user demo may see."""

    def make(visibility, store='file'):
        return cloud.api.add_image(
            store,
            owner='somebody-else',
            visibility=visibility,
            members={'demo'} if visibility == 'shared' else set(),
        )

    return make


@pytest.mark.parametrize('visibility', ['shared', 'community'])
def test_strangers_boots_cost_an_owner_no_quota(
    boot, cloud, of_another, visibility
):
    image = of_another(visibility)
    with pytest.raises(
        exceptions.NotCopiedOnDemand, match=f'it is {visibility} '
    ):
        boot.run(image)
    assert asked_for_copies(cloud) == []
    assert cloud.api.usage('somebody-else') == 256


@pytest.mark.parametrize('visibility', ['shared', 'community'])
def test_they_do_where_such_images_are_admitted(
    boot, options, cloud, of_another, visibility
):
    options.config(group='rbd_multistore', copy_on_demand=[visibility])
    cloud.api.limits['somebody-else'] = 256
    boot.run(of_another(visibility))
    assert cloud.api.usage('somebody-else') == 512


def test_public_images_are_copied_on_demand(boot, cloud, of_another):
    boot.run(of_another('public'))
    assert asked_for_copies(cloud) == [202]


@pytest.mark.parametrize('visibility', ['shared', 'community'])
def test_images_of_others_boot_where_they_are(
    boot, cloud, of_another, visibility
):
    image = of_another(visibility, store='west')
    boot.run(image)
    assert parent(cloud, boot) == f'images/{image.id}@snap'


@pytest.mark.usefixtures('downloads')
def test_where_nova_may_it_downloads_them(boot, cloud, of_another):
    boot.run(of_another('community'))
    assert boot.fetched == 1
    assert asked_for_copies(cloud) == []


def test_a_servers_own_images_are_copied_whoever_evacuates_it(
    boot, cloud, of_another
):
    boot.project = 'somebody-else'
    boot.run(of_another('community'))
    assert asked_for_copies(cloud) == [202]


# Find and clone


def test_an_image_in_our_store_is_cloned(boot, cloud, image):
    boot.run(image)
    assert parent(cloud, boot) == f'images/{image.id}@snap'
    assert asked_for_copies(cloud) == []


def test_an_image_elsewhere_is_copied_to_our_store_and_cloned(
    boot, cloud, cold
):
    boot.run(cold)
    assert parent(cloud, boot) == f'images/{cold.id}@snap'
    assert asked_for_copies(cloud) == [202]
    assert list(cold.locations) == ['file', 'west']


def test_locations_shown_in_the_record_are_not_asked_for(boot, cloud, image):
    cloud.api.show_locations = True
    boot.run(image)
    assert not any('locations' in path for path in cloud.endpoints[0].paths)


def test_locations_hidden_by_default_are_asked_for(boot, cloud, image):
    boot.run(image)
    assert cloud.endpoints[0].paths[-1].endswith('/locations')


def test_where_a_copy_was_seen_to_arrive_is_not_asked_for(boot, cloud, cold):
    boot.run(cold)
    asked = [path.rpartition('/')[2] for path in cloud.endpoints[0].paths]
    assert asked.count('locations') == 1
    assert asked.index('locations') < asked.index('import')


def test_where_a_copy_went_unseen_is_asked_for(boot, options, cloud, cold):
    options.config(
        group='rbd_multistore',
        glance_rbd_pool='another',
        other_glance_rbd_pools=['fsid-west/images'],
    )
    boot.run(cold)
    assert parent(cloud, boot) == f'images/{cold.id}@snap'
    asked = [path.rpartition('/')[2] for path in cloud.endpoints[0].paths]
    assert asked.count('locations') == 2


def test_what_lay_in_our_cluster_before_is_not_taken_for_a_copy(
    boot, cloud, cold
):
    cloud.west.complete(cold.id)
    cloud.api.stores['west'] = cloud.east
    with pytest.raises(exceptions.StoreNotLocal):
        boot.run(cold)
    assert cloud.west.disks == {}


def test_a_clone_is_taken_from_the_first_location_that_works(
    boot, options, cloud, image
):
    options.config(
        group='rbd_multistore', other_glance_rbd_pools=['fsid-west/more']
    )
    image.locations['west-2'] = cloud.west.complete(image.id, pool='more')
    cloud.west.remove(image.id)
    boot.run(image)
    assert parent(cloud, boot) == f'more/{image.id}@snap'
    assert asked_for_copies(cloud) == []


def test_a_store_of_another_name_in_our_cluster_will_do(boot, cloud):
    image = cloud.api.add_image('file')
    image.locations['dcn-old'] = cloud.west.complete(image.id)
    boot.run(image)
    assert asked_for_copies(cloud) == []


@pytest.mark.parametrize('disk_format', ['raw', 'iso'])
def test_raw_and_iso_images_are_cloned(boot, cloud, disk_format):
    image = cloud.api.add_image('file', disk_format=disk_format)
    boot.run(image)
    assert parent(cloud, boot)


def test_any_other_format_is_refused_before_a_copy_is_asked_for(boot, cloud):
    image = cloud.api.add_image('file', disk_format='qcow2')
    with pytest.raises(exceptions.NotRaw, match='qcow2'):
        boot.run(image)
    assert asked_for_copies(cloud) == []


@pytest.mark.parametrize('store', ['file', 'west'])
def test_an_image_in_a_container_is_refused_like_one_that_is_not_raw(
    boot, cloud, store
):
    image = cloud.api.add_image(store, container_format='compressed')
    with pytest.raises(exceptions.NotBare, match='compressed'):
        boot.run(image)
    assert asked_for_copies(cloud) == []
    assert cloud.west.disks == {}


def test_an_image_that_is_not_active_is_refused(boot, cloud, image):
    image.status = 'deactivated'
    with pytest.raises(exceptions.NotActive):
        boot.run(image)
    assert cloud.west.disks == {}


def test_a_snapshot_that_vanishes_is_copied_again_if_glance_lets_it(
    boot, cloud, image
):
    # Glance still lists it: nothing is copied, and the error says so.
    cloud.west.remove(image.id)
    with pytest.raises(exceptions.NotInCluster, match='data is missing'):
        boot.run(image)
    assert asked_for_copies(cloud) == [400]


def test_a_snapshot_that_vanishes_between_look_and_clone_is_copied_again(
    boot, cloud, image
):
    def vanish():
        cloud.west.while_cloning = lambda: None
        cloud.west.remove(image.id)
        del image.locations['west']

    clone = cloud.west.clone

    def too_late(*args):
        if 'west' in image.locations and not asked_for_copies(cloud):
            vanish()
        clone(*args)

    cloud.west.clone = too_late
    boot.run(image)
    assert asked_for_copies(cloud) == [202]
    assert parent(cloud, boot) == f'images/{image.id}@snap'


@pytest.mark.parametrize('store', ['west', ''])
def test_an_image_that_we_may_not_read_makes_nova_try_another_host(
    boot, options, cloud, image, store
):
    options.config(group='libvirt', images_rbd_glance_store_name=store)
    cloud.west.hidden = True
    with pytest.raises(
        exceptions.PoolUnreadable, match='rbd-read-only pool=images'
    ):
        boot.run(image)
    assert asked_for_copies(cloud) == []


@pytest.mark.parametrize('store', ['west', ''])
def test_an_image_whose_data_we_may_not_read_names_the_pool_of_the_data(
    boot, options, cloud, image, store
):
    options.config(group='libvirt', images_rbd_glance_store_name=store)
    cloud.west.unreadable.add('images-data')
    with pytest.raises(
        exceptions.PoolUnreadable, match='rbd-read-only pool=images-data'
    ):
        boot.run(image)
    assert asked_for_copies(cloud) == []
    assert cloud.west.disks == {}


def test_a_disk_that_is_there_is_not_booted_where_its_data_is_not_readable(
    boot, cloud, image
):
    # Another host has made it.
    boot.run(image)
    cloud.west.unreadable.add('images-data')
    with pytest.raises(exceptions.PoolUnreadable, match='images-data'):
        boot.run(image, size=2 * GIB)
    assert boot.disks.sizes == {}


def test_a_disk_is_not_resized_to_a_host_where_its_data_is_not_readable(
    boot, cloud, image
):
    boot.run(image)
    boot.disk.create_snap('before')
    cloud.west.unreadable.add('images-data')
    with pytest.raises(exceptions.PoolUnreadable, match='images-data'):
        boot.disk.create_snap('nova-resize')
    assert boot.disks.snapshots == {(boot.name, 'before')}


def test_a_location_that_we_may_not_read_does_not_prevent_a_copy(
    boot, cloud, image
):
    # In a store of ours under another name, say: in the same pool, where
    # Glance finds the name taken.
    image.locations['fast'] = image.locations.pop('west')
    cloud.west.hidden = True
    with pytest.raises(exceptions.CopyFailed):
        boot.run(image)
    assert set(asked_for_copies(cloud)) == {202}


def test_an_image_deactivated_during_the_copy_is_not_cloned(boot, cloud, cold):
    cloud.clock.after(1, lambda: setattr(cold, 'status', 'deactivated'))
    with pytest.raises(exceptions.NotActive):
        boot.run(cold)
    assert cloud.west.disks == {}


# Another host of the site asks first


@pytest.fixture
def led(cloud, cold):
    """Another host asks about an image that arrives 10 s later.

    That is before any boot asks by itself, after a poll interval.
    """

    def arrive():
        cold.locations['west'] = cloud.west.complete(cold.id)

    lease = 'vms', f'{finding.LEASE_PREFIX}{cold.id}'
    cloud.west.hold_lease(*lease, 'another', 600)
    cloud.clock.after(10, arrive)


@pytest.mark.usefixtures('led')
def test_a_boot_leaves_the_asking_to_another_host_until_the_image_arrives(
    boot, cloud, cold
):
    began = cloud.clock.now
    boot.run(cold)
    assert 10 <= cloud.clock.now - began <= 11
    assert parent(cloud, boot) == f'images/{cold.id}@snap'
    assert asked_for_copies(cloud) == []
    assert [path.rpartition('/')[2] for path in cloud.endpoints[0].paths] == [
        *('healthcheck', cold.id, 'locations')
    ]


@pytest.mark.usefixtures('led')
def test_whoever_waited_for_another_host_needs_a_right_of_their_own(
    boot, cloud, cold
):
    cold.owner, cold.visibility = 'somebody-else', 'private'
    with pytest.raises(exceptions.ImageGone):
        boot.run(cold)
    assert cloud.west.disks == {}


@pytest.mark.usefixtures('led')
def test_a_caller_who_wants_no_copy_waits_for_no_other_host(
    boot, cloud, context, cold
):
    began = cloud.clock.now
    with pytest.raises(exceptions.NotInLocalStore):
        boot.disk.clone(context, cold.id, copy_to_store=False)
    assert cloud.clock.now == began


@pytest.mark.usefixtures('led')
def test_without_a_store_a_boot_waits_for_no_other_host(
    boot, options, cloud, cold
):
    options.config(group='libvirt', images_rbd_glance_store_name='')
    began = cloud.clock.now
    with pytest.raises(exceptions.NotInLocalStore):
        boot.run(cold)
    assert cloud.clock.now == began


# No copies


def test_without_a_store_an_image_elsewhere_is_not_copied(
    boot, options, cloud, cold
):
    options.config(group='libvirt', images_rbd_glance_store_name='')
    with pytest.raises(exceptions.NotInLocalStore):
        boot.run(cold)
    assert asked_for_copies(cloud) == []


def test_without_a_store_an_image_in_our_cluster_is_cloned(
    boot, options, cloud, image
):
    options.config(group='libvirt', images_rbd_glance_store_name='')
    boot.run(image)
    assert parent(cloud, boot)


def test_a_caller_may_want_no_copy(boot, cloud, context, cold):
    with pytest.raises(exceptions.NotInLocalStore):
        boot.disk.clone(context, cold.id, copy_to_store=False)
    assert asked_for_copies(cloud) == []


# Always clone first


def test_a_file_left_by_an_earlier_download_keeps_nobody_from_cloning(
    boot, cloud, image, tmp_path
):
    base = tmp_path / '_base'
    base.mkdir()
    (base / 'hash-of-the-image').touch()
    boot.run(image)
    assert parent(cloud, boot) == f'images/{image.id}@snap'
    assert boot.disks.imported == []


def test_a_clone_needs_no_fetch(boot, image):
    boot.run(image)
    assert boot.fetched == 0
    assert boot.refusals == []


def test_two_clones_of_one_image_go_side_by_side(cloud, context, image):
    # Each waits, in the middle of its clone, for the other to be there too.
    both = threading.Barrier(2)
    cloud.west.while_cloning = lambda: both.wait(DEADLINE)
    boots = [Boot(cloud, context, uuid) for uuid in UUIDS[:2]]
    with futures.ThreadPoolExecutor(2) as pool:
        running = [pool.submit(boot.run, image) for boot in boots]
        for future in running:
            assert future.exception(DEADLINE) is None
    assert len(cloud.west.disks) == 2


def test_a_disk_that_is_there_asks_glance_nothing(boot, cloud, image):
    cloud.west.disks['vms', boot.name] = None
    boot.run(image)
    assert cloud.endpoints[0].asked == []
    assert boot.fetched == 0


def test_a_disk_without_an_image_goes_novas_way(boot, cloud):
    made = []

    def make(target, **kwargs):
        assert kwargs == {'ephemeral_size': 1}
        pathlib.Path(target).touch()
        made.append(target)

    boot.disk.cache(
        fetch_func=make, filename='ephemeral_1_default', ephemeral_size=1
    )
    assert len(made) == 1
    assert boot.disks.imported == [boot.name]
    assert cloud.endpoints[0].asked == []


def test_a_clone_is_grown_to_the_flavors_disk(boot, image):
    boot.run(image, size=5 * GIB)
    assert boot.disks.sizes[boot.name] == 5 * GIB


def test_a_clone_of_the_flavors_size_is_left_as_it_is(boot, image):
    boot.run(image, size=GIB)
    assert boot.disks.sizes == {}


def test_an_image_larger_than_the_flavors_disk_is_refused(boot, image):
    with pytest.raises(exception.FlavorDiskSmallerThanImage):
        boot.run(image, size=GIB // 2)


# What a clone that broke off has left

LEFT = {
    'name': remains.Remains(
        header=False, opens=False, parent=False, written=False
    ),
    'header': remains.Remains(parent=False, written=False),
    'clone': remains.Remains(written=False),
}
SHUT = remains.Remains(opens=False, parent=False, written=False)
OPEN = remains.Remains(written=False, watched=True)


@pytest.fixture(params=LEFT)
def left(request, boot, cloud):
    """What there is of the server's disk before it boots."""
    cloud.west.left['vms', boot.name] = LEFT[request.param]
    return request.param


def test_what_a_broken_clone_left_is_removed_and_cloned_anew(
    left, boot, cloud, image, caplog
):
    boot.run(image, size=5 * GIB)
    assert parent(cloud, boot) == f'images/{image.id}@snap'
    assert boot.disks.sizes[boot.name] == 5 * GIB
    assert cloud.west.left == {}
    assert 'Removed disk' in caplog.text
    assert boot.name in caplog.text


def test_what_a_broken_clone_left_does_not_prevent_a_copy(
    left, boot, cloud, cold
):
    boot.run(cold)
    assert parent(cloud, boot) == f'images/{cold.id}@snap'
    assert asked_for_copies(cloud) == [202]


@pytest.mark.usefixtures('downloads')
def test_what_a_broken_clone_left_does_not_prevent_a_download(boot, cloud):
    cloud.west.left['vms', boot.name] = LEFT['header']
    boot.run(cloud.api.add_image('file', disk_format='qcow2'))
    assert boot.disks.imported == [boot.name]


@pytest.mark.parametrize('state', ['name', 'header'])
def test_of_a_server_that_has_run_nothing_is_removed(
    boot, cloud, image, state
):
    boot.launched_at = WHEN
    cloud.west.left['vms', boot.name] = LEFT[state]
    with pytest.raises(exceptions.DiskUnusable, match=boot.name):
        boot.run(image)
    assert cloud.west.left['vms', boot.name] == LEFT[state]


def test_a_clone_without_a_byte_of_a_server_that_has_run_is_its_disk(
    boot, cloud, image
):
    boot.launched_at = WHEN
    cloud.west.left['vms', boot.name] = LEFT['clone']
    boot.run(image)
    assert cloud.west.left['vms', boot.name] == LEFT['clone']
    assert cloud.endpoints[0].asked == []


@pytest.mark.parametrize('launched_at', [None, WHEN])
def test_a_disk_that_was_written_to_is_used(boot, cloud, image, launched_at):
    boot.launched_at = launched_at
    used = remains.Remains(parent=False)
    cloud.west.left['vms', boot.name] = used
    boot.run(image)
    assert cloud.west.left['vms', boot.name] == used
    assert cloud.endpoints[0].asked == []


@pytest.mark.parametrize(
    ('state', 'reason'),
    [(SHUT, 'cannot be opened'), (OPEN, 'a client has it open')],
)
def test_what_is_not_certain_to_be_nobodys_is_named(
    boot, cloud, image, state, reason
):
    cloud.west.left['vms', boot.name] = state
    with pytest.raises(exceptions.DiskUnusable, match=reason):
        boot.run(image)
    assert cloud.west.left['vms', boot.name] == state


def test_a_disk_that_is_opened_before_it_is_removed_is_named(
    boot, cloud, image
):
    cloud.west.left['vms', boot.name] = LEFT['header']
    remove = cloud.west.remove_disk

    def opened_first(pool, name):
        cloud.west.left[pool, name] = OPEN
        remove(pool, name)

    cloud.west.remove_disk = opened_first
    with pytest.raises(exceptions.DiskUnusable, match='a client has opened'):
        boot.run(image)
    assert cloud.west.left['vms', boot.name] == OPEN


@pytest.mark.parametrize('state', ['header', 'clone'])
def test_a_disk_that_another_host_makes_meanwhile_is_named(
    boot, cloud, image, state
):
    clone = cloud.west.clone

    def too_late(source, pool, name):
        cloud.west.left[pool, name] = LEFT[state]
        clone(source, pool, name)

    cloud.west.clone = too_late
    with pytest.raises(exceptions.DiskUnusable, match='made during this boot'):
        boot.run(image)
    assert cloud.west.left['vms', boot.name] == LEFT[state]


def test_what_was_removed_by_another_meanwhile_is_cloned(boot, cloud, image):
    cloud.west.left['vms', boot.name] = LEFT['name']
    look = cloud.west.remains

    def gone_meanwhile(pool, name):
        cloud.west.left.clear()
        return look(pool, name)

    cloud.west.remains = gone_meanwhile
    boot.run(image)
    assert parent(cloud, boot) == f'images/{image.id}@snap'


# What is there when a server is unshelved


@pytest.fixture
def shelved(boot):
    boot.vm_state = vm_states.SHELVED_OFFLOADED
    boot.launched_at = WHEN
    return boot


@pytest.mark.parametrize('written', [True, False])
def test_an_older_disk_of_a_shelved_server_is_not_its_disk(
    shelved, cloud, image, caplog, written
):
    older = remains.Remains(written=written)
    cloud.west.left['vms', shelved.name] = older
    shelved.disks.parents[shelved.name] = ('images', 'another', 'snap')
    shelved.run(image)
    assert parent(cloud, shelved) == f'images/{image.id}@snap'
    ((_, name), kept) = cloud.west.left.popitem()
    assert kept == older
    # Nova removes a server's disks by the beginning of their names.
    assert name.startswith('aside.')
    assert name.endswith(shelved.name)
    assert f'Renamed disk {shelved.name} in pool vms to {name}' in caplog.text


def test_nor_is_an_older_config_drive_its_config_drive(shelved, cloud, caplog):
    """Nova takes the one that is there, and the network may be another."""
    shelved.disk_name = 'disk.config'
    older = remains.Remains(parent=False)
    cloud.west.left['vms', shelved.name] = older
    shelved.disk.make_way()
    assert not shelved.disk.exists()
    ((_, name), kept) = cloud.west.left.popitem()
    assert kept == older
    assert name.startswith('aside.')
    assert name.endswith('_disk.config')
    assert f'Renamed disk {shelved.name} in pool vms to {name}' in caplog.text


def test_where_there_is_none_nothing_is_in_the_way(shelved, cloud, caplog):
    shelved.disk_name = 'disk.config'
    shelved.disk.make_way()
    assert cloud.west.left == {}
    assert caplog.text == ''


def test_an_older_disk_that_is_flat_is_not_its_disk_either(
    shelved, cloud, image
):
    cloud.west.left['vms', shelved.name] = remains.Remains(parent=False)
    shelved.run(image)
    assert parent(cloud, shelved) == f'images/{image.id}@snap'


@pytest.mark.parametrize('written', [True, False])
def test_what_an_attempt_to_unshelve_has_left_goes_so_that_its_image_can(
    shelved, cloud, image, caplog, written
):
    """It is a clone of the image that Nova deletes in the end."""
    cloud.west.left['vms', shelved.name] = remains.Remains(written=written)
    shelved.disks.parents[shelved.name] = ('images', image.id, 'snap')
    shelved.run(image)
    assert parent(cloud, shelved) == f'images/{image.id}@snap'
    assert cloud.west.left == {}
    assert f'Removed disk {shelved.name} in pool vms' in caplog.text


@pytest.mark.parametrize(
    ('state', 'reason'),
    [
        (remains.Remains(watched=True), 'its server is shelved, and a client'),
        (SHUT, 'cannot be opened'),
    ],
)
def test_what_may_be_somebody_s_stays_though_its_server_is_shelved(
    shelved, cloud, image, state, reason
):
    cloud.west.left['vms', shelved.name] = state
    with pytest.raises(exceptions.DiskUnusable, match=reason):
        shelved.run(image)
    assert cloud.west.left == {('vms', shelved.name): state}


def test_a_disk_that_is_gone_meanwhile_is_in_nobodys_way(
    shelved, cloud, image
):
    cloud.west.left['vms', shelved.name] = remains.Remains()

    def look(pool, name):
        cloud.west.left.clear()

    cloud.west.remains = look
    shelved.run(image)
    assert parent(cloud, shelved) == f'images/{image.id}@snap'


@pytest.mark.parametrize('state', ['name', 'header'])
def test_what_an_attempt_to_unshelve_left_before_it_was_a_clone_goes_too(
    shelved, cloud, image, caplog, state
):
    cloud.west.left['vms', shelved.name] = LEFT[state]
    shelved.run(image)
    assert parent(cloud, shelved) == f'images/{image.id}@snap'
    assert cloud.west.left == {}
    assert f'Removed disk {shelved.name} in pool vms' in caplog.text


def test_a_name_that_only_the_directory_of_the_pool_has_goes(
    shelved, cloud, image
):
    """A removal that broke off has left it; the clone would find it taken."""
    cloud.west.left['vms', shelved.name] = LEFT['name']
    cloud.west.has_image = lambda _pool, _name: False
    shelved.run(image)
    assert parent(cloud, shelved) == f'images/{image.id}@snap'


@pytest.mark.parametrize('state', [*LEFT, 'open'])
def test_what_a_client_has_just_opened_stays_though_its_server_is_shelved(
    shelved, cloud, image, state
):
    state = LEFT.get(state, OPEN)
    cloud.west.left['vms', shelved.name] = state
    shelved.disks.parents[shelved.name] = ('images', image.id, 'snap')

    def opened_first(pool, name):
        raise ceph.DiskInUse(f'{pool}/{name}')

    cloud.west.remove_disk = opened_first
    with pytest.raises(exceptions.DiskUnusable, match='server is shelved'):
        shelved.run(image)
    assert cloud.west.left == {('vms', shelved.name): state}


def test_a_boot_whose_disk_is_not_there_looks_for_nothing_else(
    boot, cloud, image
):
    cloud.west.remains = None
    boot.run(image)
    assert parent(cloud, boot)


# What is there when a server is rebuilt or rescued


@pytest.fixture
def active(boot):
    """A boot of a server that has been up."""
    boot.vm_state = vm_states.ACTIVE
    boot.launched_at = WHEN
    return boot


@pytest.fixture
def rebuilt(active):
    active.task_state = task_states.REBUILD_SPAWNING
    return active


@pytest.fixture
def rescued(active):
    active.task_state = task_states.RESCUING
    active.disk_name = 'disk.rescue'
    return active


@pytest.fixture(params=['rebuilt', 'rescued'])
def renewed(request):
    """One whose older disk Nova should have removed."""
    return request.getfixturevalue(request.param)


def test_a_disk_that_is_gone_is_made_anew(renewed, cloud, image):
    renewed.run(image)
    assert parent(cloud, renewed) == f'images/{image.id}@snap'


@pytest.mark.parametrize(
    ('state', 'reason'),
    [
        (remains.Remains(snapshots=('backup',)), 'it has snapshot backup'),
        (remains.Remains(watched=True), 'a client has it open'),
    ],
)
def test_no_new_guest_gets_the_disk_that_was_to_go(
    renewed, cloud, image, state, reason
):
    cloud.west.left['vms', renewed.name] = state
    with pytest.raises(
        exceptions.DiskNotRemoved, match=f'{renewed.name} .*: {reason}'
    ):
        renewed.run(image)
    assert cloud.west.left == {('vms', renewed.name): state}
    assert cloud.endpoints[0].asked == []


def test_nor_an_ephemeral_or_swap_disk(renewed, cloud):
    state = remains.Remains(watched=True)
    cloud.west.left['vms', renewed.name] = state
    with pytest.raises(exceptions.DiskNotRemoved):
        renewed.disk.cache(
            fetch_func=None, context=renewed.context, filename='swap_1'
        )
    assert renewed.disks.imported == []


@pytest.mark.parametrize(
    'left', [remains.Remains(), LEFT['header'], LEFT['clone'], SHUT]
)
def test_a_disk_that_a_rebuild_has_left_is_not_removed_unseen(
    rebuilt, cloud, image, left
):
    cloud.west.left['vms', rebuilt.name] = left
    with pytest.raises(exceptions.DiskNotRemoved, match=rebuilt.name):
        rebuilt.run(image)
    assert cloud.west.left == {('vms', rebuilt.name): left}


def test_a_name_without_a_header_is_in_no_rebuild_s_way(
    rebuilt, cloud, image, caplog
):
    """Neither Nova nor ``rbd ls`` find it: each rebuild would fail again."""
    cloud.west.left['vms', rebuilt.name] = LEFT['name']
    rebuilt.run(image)
    assert parent(cloud, rebuilt) == f'images/{image.id}@snap'
    assert cloud.west.left == {}
    assert f'Removed disk {rebuilt.name} in pool vms' in caplog.text
    assert 'a name without a header' in caplog.text


def test_one_that_gets_its_header_at_this_moment_is(rebuilt, cloud, image):
    cloud.west.left['vms', rebuilt.name] = LEFT['name']

    def opened_first(pool, name):
        raise ceph.DiskInUse(f'{pool}/{name}')

    cloud.west.remove_disk = opened_first
    with pytest.raises(exceptions.DiskNotRemoved, match='it is still there'):
        rebuilt.run(image)


@pytest.mark.parametrize('left', [remains.Remains(), *LEFT.values()])
def test_what_an_earlier_rescue_has_left_goes(
    rescued, cloud, image, caplog, left
):
    cloud.west.left['vms', rescued.name] = left
    rescued.run(image)
    assert parent(cloud, rescued) == f'images/{image.id}@snap'
    assert cloud.west.left == {}
    assert f'Removed disk {rescued.name} in pool vms' in caplog.text


def test_an_evacuated_server_keeps_its_disk(rebuilt, cloud, image):
    rebuilt.host = 'the-host-that-is-down'
    state = remains.Remains()
    cloud.west.left['vms', rebuilt.name] = state
    rebuilt.run(image)
    assert cloud.west.left == {('vms', rebuilt.name): state}


@pytest.fixture
def evacuated(rebuilt):
    rebuilt.host = 'the-host-that-is-down'
    return rebuilt


def test_also_one_that_is_flat_and_was_never_written(evacuated, cloud, image):
    """As of a server that boots from the network, and was unshelved."""
    cloud.west.left['vms', evacuated.name] = LEFT['header']
    evacuated.run(image)
    assert cloud.west.left == {('vms', evacuated.name): LEFT['header']}


@pytest.mark.parametrize('left', [LEFT['name'], SHUT])
def test_it_does_not_start_on_what_is_no_disk(evacuated, cloud, image, left):
    cloud.west.left['vms', evacuated.name] = left
    with pytest.raises(exceptions.DiskUnusable):
        evacuated.run(image)
    assert cloud.west.left == {('vms', evacuated.name): left}


def test_nor_on_what_a_new_disk_may_have_begun_with(
    evacuated, cloud, image, options
):
    options.config(group='rbd_multistore', evacuate_to_new_disk=True)
    cloud.west.left['vms', evacuated.name] = LEFT['header']
    with pytest.raises(exceptions.DiskUnusable, match='it is empty'):
        evacuated.run(image)


def test_a_rescue_leaves_the_disk_that_is_rescued(rescued, cloud, image):
    rescued.disk_name = 'disk'
    state = remains.Remains()
    cloud.west.left['vms', rescued.name] = state
    rescued.run(image)
    assert cloud.west.left == {('vms', rescued.name): state}


# Servers that come from another host


def resized_here(boot):
    boot.launched_at = WHEN
    boot.task_state = task_states.RESIZE_FINISH


def test_a_disk_that_did_not_come_with_its_server_is_not_made_anew(
    boot, cloud, image
):
    resized_here(boot)
    with pytest.raises(exceptions.DiskMissing, match=boot.name):
        boot.run(image)
    assert cloud.west.disks == {}
    assert cloud.endpoints[0].asked == []


@pytest.mark.usefixtures('downloads')
def test_nor_is_it_downloaded(boot, image):
    resized_here(boot)
    with pytest.raises(exceptions.DiskMissing):
        boot.run(image)
    assert boot.fetched == 0


def test_nor_does_it_get_a_snapshot(boot):
    with pytest.raises(exceptions.DiskMissing, match=boot.name):
        boot.disk.create_snap('nova-resize')
    assert boot.disks.snapshots == set()


@pytest.mark.parametrize(
    ('name', 'had', 'made'),
    [
        ('disk.eph0', 1, False),
        ('disk.eph1', 1, False),
        ('disk.local', 1, False),
        ('disk.local', 0, True),
        # What is in it nobody misses.
        ('disk.swap', 1, True),
    ],
)
def test_an_ephemeral_disk_that_did_not_come_is_not_replaced_by_an_empty_one(
    boot, cloud, name, had, made
):
    resized_here(boot)
    boot.disk_name, boot.had_ephemeral = name, had
    refused = pytest.raises(exceptions.DiskMissing, match=boot.name)
    with contextlib.nullcontext() if made else refused:
        boot.disk.cache(lambda *_args, **_kwargs: None, 'filename')
    assert (('vms', boot.name) in cloud.west.disks) == made


def test_an_ephemeral_disk_that_came_is_used(boot, cloud):
    resized_here(boot)
    boot.disk_name, boot.had_ephemeral = 'disk.eph0', 1
    cloud.west.disks['vms', boot.name] = None
    boot.disk.cache(lambda *_args, **_kwargs: None, 'filename')
    assert boot.disks.imported == []


@pytest.fixture
def snapped(boot, cloud):
    """A server whose disk has a snapshot of a resize."""
    boot.launched_at = WHEN
    boot.vm_state = vm_states.ACTIVE
    boot.task_state = task_states.RESIZE_REVERTING
    cloud.west.disks['vms', f'{UUIDS[0]}_disk'] = None
    boot.disks.snapshots.add((f'{UUIDS[0]}_disk', 'nova-resize'))
    return boot


def revert(boot):
    boot.disk.rollback_to_snap('nova-resize')
    boot.disk.remove_snap('nova-resize')


def test_a_resize_that_is_reverted_takes_the_disk_back(snapped, caplog):
    revert(snapped)
    assert snapped.disks.rolled_back == [(snapped.name, 'nova-resize')]
    assert snapped.disks.snapshots == set()
    assert caplog.messages == []


def test_a_restart_before_a_resize_has_its_snapshot_rolls_nothing_back(
    snapped, caplog
):
    # Nova reverts that resize. The snapshot is of one before.
    snapped.task_state = task_states.RESIZE_MIGRATING
    before = set(snapped.disks.snapshots)
    revert(snapped)
    assert snapped.disks.rolled_back == []
    assert snapped.disks.snapshots == before
    (line,) = caplog.messages
    assert line.startswith('Not rolling back')
    assert f'disk {snapped.name} in pool vms' in line


def test_nor_does_it_miss_that_snapshot(snapped):
    # Nova would leave the guest off.
    snapped.task_state = task_states.RESIZE_MIGRATING
    snapped.disks.snapshots.clear()
    revert(snapped)


def test_a_disk_that_came_with_its_server_is_used(boot, cloud, image):
    cloud.west.disks['vms', boot.name] = None
    resized_here(boot)
    boot.run(image)
    assert cloud.west.disks == {('vms', boot.name): None}


# Failures


def test_a_failed_clone_is_final_where_nothing_is_downloaded(
    boot, cloud, cold
):
    cloud.api.failures += [('upload', 'disk full')] * 2
    with pytest.raises(exceptions.CopyFailed, match='disk full'):
        boot.run(cold)
    assert boot.fetched == 0
    assert asked_for_copies(cloud) == [202, 202]


@pytest.mark.usefixtures('downloads')
def test_after_a_failed_clone_nova_downloads_where_it_may(
    boot, cloud, cold, caplog
):
    cloud.api.failures += [('upload', 'disk full')] * 2
    boot.run(cold)
    assert boot.fetched == 1
    assert boot.disks.imported == [boot.name]
    assert 'Downloading instead of cloning' in caplog.text


@pytest.mark.usefixtures('downloads')
def test_the_download_path_asks_glance_for_no_second_copy(boot, cloud, cold):
    cloud.api.failures += [('upload', 'disk full')] * 2
    boot.run(cold)
    (refusal,) = boot.refusals
    assert isinstance(refusal, exceptions.CopyFailed)
    # One of each glance-api.
    assert asked_for_copies(cloud) == [202, 202]


@pytest.mark.usefixtures('downloads')
def test_a_download_is_cached_as_nova_does(cloud, context, cold, tmp_path):
    cloud.api.failures += [('upload', 'disk full')] * 2
    Boot(cloud, context, UUIDS[0]).run(cold)
    assert (tmp_path / '_base' / 'hash-of-the-image').exists()


@pytest.mark.usefixtures('downloads')
@pytest.mark.parametrize(
    ('field', 'value', 'error'),
    [
        ('visibility', 'private', exceptions.ImageGone),
        ('status', 'deactivated', exceptions.NotActive),
    ],
)
def test_what_its_user_may_not_read_is_not_taken_from_novas_cache(
    boot, cloud, image, tmp_path, field, value, error
):
    left = tmp_path / '_base' / 'hash-of-the-image'
    left.parent.mkdir()
    left.touch()
    image.owner = 'somebody-else'
    setattr(image, field, value)
    with pytest.raises(error):
        boot.run(image)
    assert cloud.west.disks == {}


def test_a_separate_identity_asks_for_locations_and_copies_alone(
    host, boot, cloud, cold
):
    host.access.service = None
    host.access.deputy = token_endpoint.Token('', endpoints.DEPUTY)
    boot.run(cold)
    assert parent(cloud, boot) == f'images/{cold.id}@snap'
    asked_by_deputy = [
        path
        for request, path in zip(
            cloud.endpoints[0].asked, cloud.endpoints[0].paths, strict=True
        )
        if endpoints.text(request.headers['X-Auth-Token']) == endpoints.DEPUTY
    ]
    below = f'/v2/images/{cold.id}'
    assert asked_by_deputy == [
        f'GET {below}/locations',
        f'POST {below}/import',
    ]


@pytest.mark.parametrize('download', [True, False])
def test_a_location_under_a_foreign_name_is_refused_whatever_is_allowed(
    boot, options, cloud, cold, download
):
    options.config(
        group='workarounds', never_download_image_if_on_rbd=not download
    )
    cloud.west.complete('disk-of-somebody-else', pool='vms')
    cold.locations['west'] = 'rbd://fsid-west/vms/disk-of-somebody-else/snap'
    with pytest.raises(exceptions.LocationRefused):
        boot.run(cold)
    assert cloud.west.disks == {}
    assert boot.fetched == 0
    assert asked_for_copies(cloud) == []


@pytest.mark.usefixtures('downloads')
@pytest.mark.parametrize(
    'fields', [{'disk_format': 'ami'}, {'container_format': 'docker'}]
)
def test_nor_is_it_downloaded_for_its_format(boot, cloud, cold, fields):
    for name, value in fields.items():
        setattr(cold, name, value)
    cold.locations['west'] = 'rbd://fsid-west/vms/disk-of-somebody-else/snap'
    with pytest.raises(exceptions.LocationRefused):
        boot.run(cold)
    assert boot.fetched == 0


@pytest.mark.usefixtures('downloads')
@pytest.mark.parametrize('disk_format', ['raw', 'qcow2'])
def test_where_locations_are_hidden_nothing_is_downloaded(
    host, boot, cold, disk_format
):
    cold.disk_format = disk_format
    host.access.service = None
    with pytest.raises(exceptions.LocationsForbidden):
        boot.run(cold)
    assert boot.fetched == 0


@pytest.mark.usefixtures('downloads')
def test_who_lost_his_right_while_another_asked_gets_no_download(
    boot, cloud, cold, monkeypatch
):
    def fail(*_args, **_kwargs):
        # What another boot of this host, with a right of its own, found out.
        cloud.api.images.pop(cold.id)
        raise exceptions.CopyFailed(cold.id, 'west', 'no space left')

    monkeypatch.setattr(finding.Finder, 'bring', fail)
    with pytest.raises(exceptions.ImageGone):
        boot.run(cold)
    assert boot.fetched == 0


def test_what_cannot_be_cloned_is_logged_on_one_line(
    boot, options, cloud, image, caplog
):
    options.config(
        group='rbd_multistore', trusted_clone_pools=['fsid-west/a\npool']
    )
    image.locations['x'] = f'rbd://fsid-west/a%0Apool/{image.id}/s%E2%80%A8p'
    image.locations = dict(reversed(image.locations.items()))
    boot.run(image)
    assert f'from a pool/{image.id}@s p' in caplog.text


def test_a_location_that_claims_our_store_stops_no_copies_of_others(
    boot, cloud, context, cold
):
    bait = cloud.api.add_image('file')
    bait.locations['west'] = f'rbd://fsid-east/images/{bait.id}/snap'
    with pytest.raises(exceptions.StoreNotLocal):
        Boot(cloud, context, UUIDS[1]).run(bait)
    boot.run(cold)
    assert parent(cloud, boot) == f'images/{cold.id}@snap'


def test_a_trusted_pool_is_cloned_from_under_any_name(
    boot, options, cloud, cold
):
    options.config(
        group='rbd_multistore', trusted_clone_pools=['fsid-west/golden']
    )
    cloud.west.complete('debian-12', pool='golden')
    cold.locations['golden'] = 'rbd://fsid-west/golden/debian-12/snap'
    boot.run(cold)
    assert parent(cloud, boot) == 'golden/debian-12@snap'


@pytest.mark.parametrize('download', [True, False])
def test_a_cluster_that_does_not_answer_makes_nova_try_another_host(
    boot, options, cloud, image, download
):
    options.config(
        group='workarounds', never_download_image_if_on_rbd=not download
    )
    cloud.west.away = True
    with pytest.raises(exceptions.ClusterUnreachable) as caught:
        boot.run(image)
    assert not isinstance(caught.value, exception.ImageUnacceptable)
    assert boot.fetched == 0


@pytest.mark.usefixtures('downloads')
def test_a_glance_that_does_not_answer_makes_nova_try_another_host(
    boot, cloud, image
):
    for endpoint in cloud.endpoints:
        endpoint.fault = endpoints.error_page(503, 'away')
    with pytest.raises(exceptions.GlanceUnavailable):
        boot.run(image)
    assert boot.fetched == 0


def test_a_store_that_is_another_cluster_names_both(boot, cloud, cold):
    cloud.api.stores['west'] = cloud.east
    with pytest.raises(exceptions.StoreNotLocal) as caught:
        boot.run(cold)
    assert 'fsid-west' in str(caught.value)
    assert 'fsid-east' in str(caught.value)


def test_a_store_that_is_another_cluster_gets_no_further_copies(
    cloud, context, cold
):
    cloud.api.stores['west'] = cloud.east
    with pytest.raises(exceptions.StoreNotLocal):
        Boot(cloud, context).run(cold)
    another = cloud.api.add_image('file')
    with pytest.raises(exceptions.StoreNotLocal):
        Boot(cloud, context, UUIDS[1]).run(another)
    assert asked_for_copies(cloud) == [202]


def test_without_a_service_token_locations_stay_hidden(boot, host, image):
    host.access.service = None
    with pytest.raises(exceptions.LocationsForbidden):
        boot.run(image)


def test_without_a_service_token_a_copy_is_forbidden(boot, host, cloud, cold):
    host.access.service = None
    cloud.api.show_locations = True
    with pytest.raises(exceptions.CopyForbidden):
        boot.run(cold)


def test_an_image_that_is_gone_is_not_found_for_nova(boot, cloud, image):
    # On a resize, Nova then takes the disk from the source host.
    cloud.api.images.clear()
    with pytest.raises(exception.ImageNotFound):
        boot.run(image)


def test_the_clone_is_logged_with_image_and_disk(boot, image, caplog):
    caplog.set_level(logging.INFO)
    boot.run(image)
    assert f'Cloned disk {boot.name} from image {image.id}' in caplog.text


# The server is deleted


@pytest.fixture
def slow_copy(cloud):
    cloud.api.pace.upload = 100


@pytest.mark.usefixtures('slow_copy')
def test_a_server_that_is_gone_ends_the_wait(boot, cloud, cold, instances):
    instances.answer = exception.InstanceNotFound(instance_id=UUIDS[0])
    with pytest.raises(exception.InstanceNotFound):
        boot.run(cold)
    assert cloud.west.disks == {}


@pytest.mark.usefixtures('downloads', 'slow_copy')
@pytest.mark.parametrize(
    'states',
    [
        (vm_states.ACTIVE, task_states.DELETING),
        # With reclaim_instance_interval.
        (vm_states.ACTIVE, task_states.SOFT_DELETING),
        (vm_states.SOFT_DELETED, None),
    ],
)
def test_a_server_being_deleted_ends_the_wait(boot, cold, instances, states):
    instances.answer = server(*states)
    with pytest.raises(exception.UnexpectedDeletingTaskStateError):
        boot.run(cold)
    assert boot.fetched == 0


@pytest.mark.usefixtures('slow_copy')
def test_a_conductor_that_does_not_answer_ends_no_wait(
    boot, cloud, cold, instances, caplog
):
    instances.answer = messaging.MessagingTimeout('no conductor')
    boot.run(cold)
    assert parent(cloud, boot)
    assert 'no conductor' in caplog.text


def test_a_disk_without_a_server_waits_for_nobody(cloud, context, cold):
    # Nova makes them by path: for rescue, and to remove disks.
    disk = backend.Rbd(path='vms/a-disk')
    disk.driver = disks.Disks(cloud.west)
    disk.clone(context, cold.id)
    assert ('vms', 'a-disk') in cloud.west.disks


# Direct snapshots


@pytest.fixture
def own_store(options):
    options.config(
        group='rbd_multistore',
        snapshots_to_own_store=True,
        glance_rbd_pool='glance',
    )


@pytest.mark.usefixtures('own_store')
def test_a_direct_snapshot_is_made_in_the_pool_of_the_sites_store(
    boot, context
):
    # Whatever the disk is a clone of; it may be none (disks.Disks has not
    # even the call for that).
    pool = boot.disk._get_parent_pool(context, 'an-image', 'fsid-west')
    assert pool == 'glance'


@pytest.mark.usefixtures('own_store')
def test_where_that_pool_is_not_to_be_seen_there_is_no_direct_snapshot(
    boot, context, cloud
):
    cloud.west.hidden = True
    with pytest.raises(exception.ImageUnacceptable, match='glance_rbd_pool'):
        boot.disk._get_parent_pool(context, 'an-image', 'fsid-west')


def test_without_the_option_nova_finds_the_pool(boot, context, monkeypatch):
    monkeypatch.setattr(
        imagebackend.Rbd, '_get_parent_pool', lambda *args: args[1:]
    )
    found = boot.disk._get_parent_pool(context, 'an-image', 'fsid-west')
    assert found == (context, 'an-image', 'fsid-west')


def test_it_is_novas_backend_in_all_else():
    assert issubclass(backend.Rbd, imagebackend.Rbd)
    assert backend.Rbd.SUPPORTS_CLONE


# What is measured


@pytest.fixture
def meter(host):
    host.meter = meters.Meter()
    return host.meter


def test_a_clone_is_measured(meter, boot, image):
    boot.run(image)
    assert meter.boots == [('clone', True)]
    assert meter.steps == [Step.TURN, Step.FIND, Step.CLONE]
    assert meter.looks == [Saw.WHOLE]


def test_a_copy_and_its_clone_are_measured(meter, boot, cold):
    boot.run(cold)
    assert meter.boots == [('copy_and_clone', True)]
    assert meter.steps == [Step.TURN, Step.FIND, Step.COPY, Step.CLONE]
    assert {Saw.NOTHING, Saw.PART, Saw.WHOLE} == set(meter.looks)


@pytest.mark.usefixtures('downloads')
def test_a_download_is_measured(meter, boot, cloud):
    boot.run(cloud.api.add_image(disk_format='qcow2'))
    assert meter.boots == [('download', True)]


def test_an_error_is_measured_by_its_class(meter, boot, cloud):
    with pytest.raises(exceptions.NotRaw):
        boot.run(cloud.api.add_image(disk_format='qcow2'))
    assert meter.boots == [('NotRaw', False)]


def test_a_look_that_fails_is_measured(meter, boot, cloud, image):
    cloud.west.away = True
    with pytest.raises(exceptions.ClusterUnreachable):
        boot.run(image)
    assert meter.boots == [('ClusterUnreachable', False)]


def test_a_server_that_is_deleted_is_measured_as_such(
    meter, boot, cloud, cold, instances
):
    cloud.api.pace.staging = 40
    instances.answer = exception.InstanceNotFound(instance_id=UUIDS[0])
    with pytest.raises(exception.InstanceNotFound):
        boot.run(cold)
    assert meter.boots == [('deleted', False)]


def test_an_error_of_nova_s_is_another(meter, boot, image, monkeypatch):
    def fit(self, size):
        raise exception.FlavorDiskSmallerThanImage(flavor_size=0, image_size=1)

    monkeypatch.setattr(backend.Rbd, '_fit', fit)
    with pytest.raises(exception.FlavorDiskSmallerThanImage):
        boot.run(image, size=1)
    assert meter.boots == [('other', False)]


def test_a_disk_that_is_there_is_no_boot(meter, boot, image):
    boot.run(image)
    meter.boots.clear()
    boot.run(image)
    assert meter.boots == []


def test_a_disk_without_an_image_is_no_boot(meter, boot):
    boot.disk.cache(
        fetch_func=lambda *_, **__: None,
        context=boot.context,
        filename='swap_1',
        size=GIB,
    )
    assert meter.boots == []
