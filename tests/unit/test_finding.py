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

"""Images found in the local cluster, or brought there, for all boots."""

from concurrent import futures
import dataclasses
import threading
import time

from keystoneauth1 import token_endpoint
import pytest
import requests

from nova_rbd_multistore import access
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import finding
from nova_rbd_multistore import glance
from nova_rbd_multistore import image as image_values
from nova_rbd_multistore import pace
from nova_rbd_multistore import sharing
from nova_rbd_multistore import source
from nova_rbd_multistore.meter import Stage
from nova_rbd_multistore.meter import Step
from tests.fakes import endpoint as endpoints
from tests.fakes import glance_api
from tests.fakes import host as hosts
from tests.fakes import meter as meters

DEADLINE = 30

#: From glance.common.config, and what an operator may add.
DISK_FORMATS = (
    *('ami', 'ari', 'aki', 'vhd', 'vhdx', 'vmdk', 'raw', 'qcow2', 'vdi'),
    *('iso', 'ploop', 'root-tar'),
)
CONTAINER_FORMATS = (
    *('ami', 'ari', 'aki', 'bare', 'ovf', 'ova', 'docker', 'compressed'),
)


@pytest.fixture
def image(cloud):
    return cloud.api.add_image('file')


def record_of(this_host, context, image):
    return this_host.access.as_user_of(context).record(image.id)


def bring(this_host, context, image, **kwargs):
    images = this_host.access.as_user_of(context)
    record = images.record(image.id)
    user = access.user_of(context)
    with this_host.finder.start_wait(image.id, **kwargs) as waiting:
        return this_host.finder.bring(images, record, user, waiting)


def statuses(cloud):
    return [status for _, _, status in cloud.api.requests]


def test_the_fsid_is_asked_for_once(this_host, cloud):
    assert this_host.finder.fsid == 'fsid-west'
    cloud.west.away = True
    assert this_host.finder.fsid == 'fsid-west'


def test_an_fsid_not_to_be_had_is_asked_for_again(this_host, cloud):
    cloud.west.away = True
    with pytest.raises(exceptions.ClusterUnreachable):
        _ = this_host.finder.fsid
    cloud.west.away = False
    assert this_host.finder.fsid == 'fsid-west'


def find(this_host, context, image):
    images = this_host.access.as_user_of(context)
    return this_host.finder.find(images, image.id)


def asked(cloud):
    """The last parts of the paths that were asked for, in order."""
    return [path.rpartition('/')[2] for path in cloud.endpoints[0].paths]


@pytest.mark.parametrize('boots', [1, 2, 3])
def test_each_boot_asks_for_the_record_and_for_its_locations_once(
    this_host, cloud, context, boots
):
    image = cloud.api.add_image('west')
    for _ in range(boots):
        record, (found,) = find(this_host, context, image)
        assert record.id == found.image == image.id
    assert asked(cloud).count(image.id) == boots
    assert asked(cloud).count('locations') == boots


@pytest.mark.parametrize('boots', [1, 2])
def test_an_image_that_may_not_be_read_is_refused_before_anything_else(
    this_host, cloud, context, boots
):
    image = cloud.api.add_image('west')
    if boots > 1:
        find(this_host, context, image)
    image.status = 'deactivated'
    cloud.endpoints[0].answers['/locations'] = endpoints.error_page(
        403, 'no, thank you'
    )
    cloud.west.away = True
    with pytest.raises(exceptions.NotActive):
        find(this_host, context, image)


@pytest.mark.parametrize('boots', [1, 2])
@pytest.mark.parametrize(
    'fields',
    [
        *[{'disk_format': name} for name in (None, *DISK_FORMATS)],
        *[{'container_format': name} for name in (None, *CONTAINER_FORMATS)],
    ],
    ids=lambda fields: '{} {}'.format(*next(iter(fields.items()))),
)
def test_locations_are_looked_at_whatever_the_format(
    this_host, cloud, context, boots, fields
):
    image = cloud.api.add_image('file')
    if boots > 1:
        find(this_host, context, image)
    for name, value in fields.items():
        setattr(image, name, value)
    image.locations['west'] = 'rbd://fsid-west/vms/disk-of-another/snap'
    with pytest.raises(exceptions.LocationRefused):
        find(this_host, context, image)


class EndOfACopy:
    """A copy ends when the locations are told, and the record is not yet."""

    def __init__(self, cloud, image):
        self._cloud = cloud
        self._image = image
        self._ended = threading.Event()

    def __call__(self, request):
        server = self._cloud.endpoints[0]
        if request.url.endswith(f'/{self._image.id}'):
            assert self._ended.wait(DEADLINE)
            return server(request)
        answer = server(request)
        if not self._ended.is_set():
            self._image.locations['west'] = self._cloud.west.complete(
                self._image.id
            )
            self._ended.set()
        return answer


def test_a_copy_that_ends_between_the_two_answers_is_found(
    this_host, cloud, context, image
):
    find(this_host, context, image)
    cloud.network.servers['glance-a:9292'] = EndOfACopy(cloud, image)
    record, (found,) = find(this_host, context, image)
    assert record.holds('west')
    assert found.fsid == 'fsid-west'


def test_a_copy_goes_to_our_store_and_is_there_on_return(
    this_host, cloud, context, image
):
    bring(this_host, context, image)
    assert record_of(this_host, context, image).holds('west')
    assert statuses(cloud) == [202]


@pytest.mark.parametrize('deputy', [None, endpoints.DEPUTY])
def test_a_copy_that_one_glance_api_cannot_make_is_made_by_the_next(
    this_host, cloud, context, image, deputy
):
    if deputy is not None:
        this_host.access.deputy = token_endpoint.Token('http://x', deputy)
    cloud.api.faults['glance-a'] = ('staging', 'staging is full')
    bring(this_host, context, image)
    makers = [task.endpoint for task in cloud.api.tasks.values()]
    assert makers == ['glance-a', 'glance-b']


def test_an_image_out_of_reach_of_each_glance_api_is_not_requested(
    this_host, cloud, context
):
    cloud.api.stores_of = {
        name: {'file', 'west'} for name in ('glance-a', 'glance-b')
    }
    with pytest.raises(exceptions.SourceOutOfReach):
        bring(this_host, context, cloud.api.add_image('east'))
    assert cloud.api.requests == []


@pytest.mark.parametrize('names', ['', None])
def test_an_image_whose_stores_are_hidden_is_not_out_of_reach(
    this_host, cloud, context, image, names
):
    # Glance itself will say what it cannot read.
    cloud.api.stores_of['glance-a'] = {'west'}
    show = cloud.api.show

    def hidden(*question):
        shown = show(*question)
        return {**shown, 'stores': names} if not statuses(cloud) else shown

    cloud.api.show = hidden
    bring(this_host, context, image)
    makers = [task.endpoint for task in cloud.api.tasks.values()]
    assert makers == ['glance-a', 'glance-b']


def test_a_copy_is_polled_and_given_up_as_configured(
    this_host, options, cloud, context, image
):
    options.config(
        group='libvirt',
        images_rbd_glance_copy_poll_interval=5,
        images_rbd_glance_copy_timeout=50,
    )
    cloud.west.hidden = True
    cloud.api.pace.upload = 1000
    with pytest.raises(exceptions.CopyTimedOut, match='50 s'):
        bring(this_host, context, image)
    shows = cloud.endpoints[0].paths.count(f'GET /v2/images/{image.id}')
    assert 9 <= shows <= 15


def test_a_copy_stalls_as_configured(
    this_host, options, cloud, context, image
):
    options.config(group='rbd_multistore', copy_stall_timeout=30)
    cloud.clock.after(1, cloud.api.kill)
    with pytest.raises(exceptions.CopyStalled, match='30 s'):
        bring(this_host, context, image)


def test_the_pool_of_glance_is_looked_into_as_often_as_configured(
    this_host, options, cloud, context, image
):
    options.config(
        group='rbd_multistore', copy_probe_interval=2, glance_rbd_pool='images'
    )
    cloud.api.pace.upload = 100
    looks = []
    for second in (20, 80):
        cloud.clock.after(second, lambda: looks.append(cloud.west.looks))
    bring(this_host, context, image)
    # With each of the four questions to Glance, too.
    assert 60 / 2 <= looks[1] - looks[0] <= 60 / 2 + 4


def test_the_wrong_pool_shows_no_arrival(
    this_host, options, cloud, context, image
):
    options.config(
        group='rbd_multistore',
        glance_rbd_pool='elsewhere',
        other_glance_rbd_pools=['fsid-west/images'],
    )
    began = cloud.clock.now
    bring(this_host, context, image)
    # So it is the poll that finds it.
    assert cloud.clock.now - began >= 12


def test_polls_of_one_host_vary(this_host, cloud, context, image):
    cloud.west.hidden = True
    cloud.api.pace.upload = 300
    bring(this_host, context, image)
    naps = {round(nap, 3) for nap in cloud.clock.naps}
    assert len(naps) > 5
    assert all(12 <= nap <= 18 for nap in naps)


def test_the_poll_asks_each_endpoint_once_without_further_rounds(
    this_host, cloud, context, image, monkeypatch
):
    retries = []
    request_copy = glance.Glance.request_copy

    def asked(images, *args):
        retries.append(images._asker._retries)
        return request_copy(images, *args)

    monkeypatch.setattr(glance.Glance, 'request_copy', asked)
    bring(this_host, context, image)
    assert retries == [0]


def test_imports_that_fail_everywhere_are_said_to_with_glances_words(
    this_host, cloud, context, image
):
    for endpoint in cloud.endpoints:
        endpoint.answers['/import'] = endpoints.error_page(
            500, 'The server has either erred'
        )
    began = cloud.clock.now
    with pytest.raises(exceptions.RequestFailed, match='HTTP 500'):
        bring(this_host, context, image)
    assert cloud.clock.now - began < 15


def test_an_import_that_fails_at_one_endpoint_is_made_at_the_next(
    this_host, cloud, context, image
):
    cloud.endpoints[0].answers['/import'] = endpoints.error_page(
        500, 'The server has either erred'
    )
    bring(this_host, context, image)
    assert statuses(cloud) == [202]


def test_a_deleted_server_ends_its_own_wait(this_host, cloud, context, image):
    cloud.api.pace.upload = 100

    def deleted():
        raise RuntimeError('the server was deleted')

    with pytest.raises(RuntimeError, match='the server was deleted'):
        bring(this_host, context, image, check=deleted)


def test_a_boot_that_waits_for_another_is_checked_as_often_as_a_poll(
    this_host, options, context, image
):
    options.config(group='libvirt', images_rbd_glance_copy_poll_interval=7)
    asked = {}

    class Copies(sharing.Shared):
        def do(self, **kwargs):
            asked.update(kwargs)

    def check():
        pass

    this_host.finder._copies = Copies()
    bring(this_host, context, image, check=check)
    assert asked['check'] is check
    assert asked['check_interval'] == 7
    assert asked['key'] == (image.id, 'west')


def test_boots_of_a_host_wait_together_until_they_may_ask(this_host, image):
    asked = {}

    class Turns(sharing.Shared):
        def do(self, **kwargs):
            asked.update(kwargs)

    def check():
        pass

    this_host.finder._turns = Turns()
    with this_host.finder.start_wait(image.id, check) as waiting:
        this_host.finder.wait_for_turn(waiting)
    assert asked['key'] == image.id
    assert asked['work'] == waiting.for_turn
    assert asked['check'] is check


def turns_waited_for(this_host, image):
    class Turns(sharing.Shared):
        def do(self, **kwargs):
            waited.append(kwargs['key'])

    waited = []
    this_host.finder._turns = Turns()
    with this_host.finder.start_wait(image.id) as waiting:
        this_host.finder.wait_for_turn(waiting)
    return waited


def test_the_next_boot_of_an_image_that_is_here_asks_at_once(
    this_host, cloud, context
):
    image = cloud.api.add_image('west')
    assert turns_waited_for(this_host, image) == [image.id]
    find(this_host, context, image)
    assert turns_waited_for(this_host, image) == []


def test_the_boot_after_that_of_an_image_that_has_gone_waits_for_its_turn(
    this_host, cloud, context
):
    image = cloud.api.add_image('west', 'file')
    find(this_host, context, image)
    del image.locations['west']
    find(this_host, context, image)
    assert turns_waited_for(this_host, image) == [image.id]


def test_no_more_images_are_remembered_than_a_bound(
    this_host, cloud, context, monkeypatch
):
    monkeypatch.setattr(finding, 'REMEMBERED', 2)
    images = [cloud.api.add_image('west') for _ in range(3)]
    for image in images:
        find(this_host, context, image)
    assert [turns_waited_for(this_host, one) for one in images] == [
        [images[0].id],
        [images[1].id],
        [],
    ]


def test_a_boots_own_time_begins_when_it_does(
    this_host, options, cloud, context, image
):
    options.config(group='libvirt', images_rbd_glance_copy_timeout=300)
    left = []

    class Copies(sharing.Shared):
        def do(self, **kwargs):
            left.append(kwargs['time_left']())
            cloud.clock.advance(100)
            left.append(kwargs['time_left']())

    this_host.finder._copies = Copies()
    bring(this_host, context, image)
    assert left == [300, 200]


class Clock:
    """A clock that a test moves on, for threads that sleep by it."""

    def __init__(self):
        self._now = 0.0
        self._moved = threading.Condition()

    def now(self):
        return self._now

    def sleep(self, seconds):
        due = self._now + seconds
        with self._moved:
            assert self._moved.wait_for(lambda: self._now >= due, DEADLINE)

    def move_to(self, now):
        with self._moved:
            self._now = now
            self._moved.notify_all()


def test_a_boot_that_joins_late_goes_on_when_the_first_has_timed_out(
    this_host, cloud, context, image
):
    clock = Clock()
    finder = finding.Finder(
        cloud.west,
        'west',
        source.Pools('images'),
        'vms',
        # A poll for each move of the clock.
        pace.Limits(
            poll_interval=0.01,
            probe_interval=0.01,
            timeout=600,
            stall_timeout=10_000,
        ),
        pace.Time(clock.now, clock.sleep, lambda low, _high: low),
    )
    images = this_host.access.as_user_of(context)
    record = images.record(image.id)
    joined = threading.Event()
    cloud.api.pace.start = 1000

    def boot(**kwargs):
        with finder.start_wait(image.id, **kwargs) as waiting:
            return finder.bring(images, record, 'demo', waiting)

    with futures.ThreadPoolExecutor(2) as pool:
        first = pool.submit(boot)
        while not cloud.api.requests:
            time.sleep(0.001)
        clock.move_to(590)
        second = pool.submit(boot, check=joined.set)
        assert joined.wait(DEADLINE)
        clock.move_to(600)
        error = first.exception(DEADLINE)
        cloud.clock.advance(2000)
        while not second.done():
            clock.move_to(clock.now() + 0.05)
            time.sleep(0.001)
    assert isinstance(error, exceptions.CopyTimedOut)
    (found,) = second.result()
    assert found.image == image.id
    assert statuses(cloud).count(202) == 1


def test_boots_that_want_the_same_copy_at_once_have_it_made_once(
    this_host, cloud, context, image
):
    # The first asks when all others are about to.
    all_here = threading.Barrier(8)
    asked = threading.Event()
    images = this_host.access.as_user_of(context)
    record = images.record(image.id)

    class Slow(glance.Glance):
        """Glance, which takes its time to accept a request."""

        def __init__(self):
            pass

        def without_retries(self):
            return self

        def record(self, image):
            return images.record(image)

        def request_copy(self, *question):
            asked.set()
            all_here.wait(DEADLINE)
            return images.request_copy(*question)

        def locations(self, image):
            return images.locations(image)

    def bring(images):
        with this_host.finder.start_wait(image.id) as waiting:
            this_host.finder.bring(images, record, 'demo', waiting)

    def first_boot():
        bring(Slow())

    def other_boot():
        assert asked.wait(DEADLINE)
        all_here.wait(DEADLINE)
        bring(images)

    with futures.ThreadPoolExecutor(8) as pool:
        boots = [pool.submit(first_boot)]
        boots += [pool.submit(other_boot) for _ in range(7)]
        for future in boots:
            assert future.exception(DEADLINE) is None
    assert statuses(cloud).count(202) == 1


class Follower(sharing.Shared):
    """Has the copy made by another boot, and tells what that one tells.

    :ivar asker: of this boot
    :ivar asked: what Glance was asked until the copy was there
    """

    def __init__(self, cloud, answer):
        self._cloud = cloud
        self._answer = answer

    def do(self, *, asker, work, **_kwargs):
        self.asker = asker
        work()
        self.asked = list(self._cloud.endpoints[0].paths)
        return self._answer


def test_a_copy_tells_where_the_image_lies(this_host, context, image):
    (found,) = bring(this_host, context, image)
    assert (found.fsid, found.pool, found.image, found.snapshot) == (
        'fsid-west',
        'images',
        image.id,
        'snap',
    )


def test_who_waited_for_a_boot_of_the_same_user_asks_nothing_more(
    this_host, cloud, context, image
):
    this_host.finder._copies = Follower(cloud, ['somewhere'])
    assert bring(this_host, context, image) == ['somewhere']
    assert cloud.endpoints[0].paths == this_host.finder._copies.asked


def test_who_waited_for_another_user_asks_for_himself(
    this_host, cloud, context, image
):
    this_host.finder._copies = Follower(cloud, None)
    (found,) = bring(this_host, context, image)
    assert found.image == image.id
    asked = cloud.endpoints[0].paths[len(this_host.finder._copies.asked) :]
    assert asked == [
        f'GET /v2/images/{image.id}',
        f'GET /v2/images/{image.id}/locations',
    ]


def test_who_waited_for_another_user_may_be_refused(
    this_host, cloud, context, image
):
    class Deactivating(Follower):
        def do(self, **kwargs):
            super().do(**kwargs)
            image.status = 'deactivated'

    this_host.finder._copies = Deactivating(cloud, None)
    with pytest.raises(exceptions.NotActive):
        bring(this_host, context, image)


def test_the_same_user_has_the_same_project_and_roles(
    this_host, cloud, context, image
):
    context.roles = ['member', 'reader']
    this_host.finder._copies = Follower(cloud, [])
    bring(this_host, context, image)
    assert this_host.finder._copies.asker == (
        'demo',
        'demo',
        frozenset({'member', 'reader'}),
    )


def leases_held(cloud):
    """Who leads after each second of a boot, by the lease's place."""
    seen = []

    def look():
        seen.append(dict(cloud.west.leases))
        cloud.clock.after(1, look)

    cloud.clock.after(0.5, look)
    return seen


def test_the_lead_is_had_in_novas_own_pool_by_the_images_id(
    this_host, options, cloud, context, image
):
    options.config(group='libvirt', images_rbd_pool='disks')
    seen = leases_held(cloud)
    bring(this_host, context, image)
    place = 'disks', f'nova-rbd-multistore.lead.{image.id}'
    assert {tuple(leases) for leases in seen[:10]} == {(place,)}
    assert cloud.west.leases == {}


def test_two_hosts_of_a_site_are_told_apart(this_host, cloud, context, image):
    owners = set()
    for found in (this_host, hosts.Host(cloud)):
        seen = leases_held(cloud)
        bring(found, context, image)
        owners |= {owner for owner, _ in seen[5].values()}
        cloud.api.kill()
        image.locations.pop('west')
        cloud.west.remove(image.id)
    assert len(owners) == 2


def test_a_copy_needs_no_lead(this_host, cloud, context, image):
    cloud.west.read_only.add('vms')
    bring(this_host, context, image)
    assert statuses(cloud) == [202]


@pytest.fixture
def mismatch(this_host, cloud, context, image):
    """One copy has shown that our store is another cluster."""
    cloud.api.stores['west'] = cloud.east
    with pytest.raises(exceptions.StoreNotLocal):
        bring(this_host, context, image)
    cloud.api.stores['west'] = cloud.west
    cloud.api.requests.clear()
    return cloud.api.add_image('file')


def test_after_a_mismatch_no_copy_is_asked_for_for_a_while(
    this_host, cloud, context, mismatch
):
    with pytest.raises(exceptions.StoreNotLocal) as caught:
        bring(this_host, context, mismatch)
    assert 'fsid-west' in str(caught.value)
    assert 'fsid-east' in str(caught.value)
    assert statuses(cloud) == []


def test_a_mismatch_is_forgotten_after_a_while(
    this_host, cloud, context, mismatch
):
    cloud.clock.advance(finding.MISMATCH_REMEMBERED)
    bring(this_host, context, mismatch)
    assert statuses(cloud) == [202]


# A replica of Glance's database that lags behind


class Behind(glance.Glance):
    """Glance, whose locations are of another time than its records.

    :param seconds: for which they stay so
    """

    def __init__(self, images, clock, seconds):
        self._images = images
        self._clock = clock
        self._until = clock.now + seconds

    def record(self, image):
        return self._images.record(image)

    def locations(self, image):
        found = self._images.locations(image)
        if self._clock.now >= self._until:
            return found
        return tuple(entry for entry in found if entry.store != 'west')


def here_behind(this_host, cloud, context, seconds):
    image = cloud.api.add_image('file', 'west')
    images = this_host.access.as_user_of(context)
    behind = Behind(images, cloud.clock, seconds)
    return this_host.finder.here(behind, images.record(image.id))


def test_who_waited_for_another_user_is_told_of_the_copy_later(
    this_host, cloud, context, image
):
    class BehindOnce(Follower):
        def do(self, **kwargs):
            cloud.endpoints[0].asked.clear()
            super().do(**kwargs)
            # The replica of its glance-api has not seen the copy.
            url = image.locations.pop('west')
            cloud.clock.after(6, lambda: image.locations.update({'west': url}))

    this_host.finder._copies = BehindOnce(cloud, None)
    (found,) = bring(this_host, context, image)
    assert found.fsid == 'fsid-west'


def test_locations_that_are_older_than_the_record_are_asked_for_again(
    this_host, cloud, context
):
    (found,) = here_behind(this_host, cloud, context, 6)
    assert found.fsid == 'fsid-west'


def test_locations_that_stay_older_are_believed(this_host, cloud, context):
    began = cloud.clock.now
    with pytest.raises(exceptions.StoreNotLocal):
        here_behind(this_host, cloud, context, 1000)
    assert cloud.clock.now - began <= 2 * pace.SETTLES_IN


def test_an_image_that_is_deactivated_between_answers_is_said_to_be(
    this_host, cloud, context
):
    image = cloud.api.add_image('file', 'west')
    images = this_host.access.as_user_of(context)
    record = images.record(image.id)
    image.status = 'deactivated'
    with pytest.raises(exceptions.NotActive):
        this_host.finder.here(images, record)


def test_a_host_takes_old_locations_for_no_mismatch(
    this_host, cloud, context, image
):
    images = this_host.access.as_user_of(context)
    image.locations['west'] = cloud.west.complete(image.id)
    behind = Behind(images, cloud.clock, 1000)
    with pytest.raises(exceptions.StoreNotLocal):
        this_host.finder._here(behind, images.record(image.id), remember=True)
    assert bring(this_host, context, cloud.api.add_image('file'))


# A Glance that Keystone does not answer


class Keyless(glance.Glance):
    """Glance, which takes a token for none.

    :param error: what it says: of the user's token, or of Nova's beside it
    :param seconds: for which it does
    :param takes: seconds that it takes to say so, each time
    """

    def __init__(self, images, clock, error, seconds, takes=()):
        self._images = images
        self._takes = list(takes)
        self._clock = clock
        self._error = error
        self._until = clock.now + seconds

    def record_and_locations(self, image):
        return self.record(image), lambda: self.locations(image)

    def record(self, image):
        if self._error is exceptions.TokenRefused:
            self._refuse(image)
        return self._images.record(image)

    def locations(self, image):
        self._refuse(image)
        return self._images.locations(image)

    def _refuse(self, image):
        if self._takes:
            self._clock.advance(self._takes.pop(0))
        if self._clock.now < self._until:
            raise self._error(image)


def find_keyless(this_host, cloud, context, *how):
    image = cloud.api.add_image('file', 'west')
    images = this_host.access.as_user_of(context)
    keyless = Keyless(images, cloud.clock, *how)
    _, found = this_host.finder.find(keyless, image.id)
    return found


@pytest.mark.parametrize('error', finding.DOUBTED)
def test_who_is_refused_for_a_moment_asks_again(
    this_host, cloud, context, error
):
    (found,) = find_keyless(this_host, cloud, context, error, 6)
    assert found.fsid == 'fsid-west'


@pytest.mark.parametrize('takes', [(30,), (0, 30)])
@pytest.mark.parametrize('error', finding.DOUBTED)
def test_so_does_who_had_to_wait_for_a_refusal(
    this_host, cloud, context, error, takes
):
    (found,) = find_keyless(this_host, cloud, context, error, 30.15, takes)
    assert found.fsid == 'fsid-west'


@pytest.mark.parametrize('error', finding.DOUBTED)
def test_who_is_refused_for_longer_is(this_host, cloud, context, error):
    began = cloud.clock.now
    with pytest.raises(error):
        find_keyless(this_host, cloud, context, error, 1000)
    assert cloud.clock.now - began <= 2 * pace.SETTLES_IN


# Odd locations


def here(this_host, context, image):
    images = this_host.access.as_user_of(context)
    return this_host.finder.here(images, images.record(image.id))


def test_an_image_only_under_an_old_location_is_an_error_of_the_image(
    this_host, cloud, context
):
    image = cloud.api.add_image('east')
    image.locations['west'] = f'rbd://{image.id}'
    with pytest.raises(exceptions.OldLocation, match='the old form'):
        here(this_host, context, image)


def test_an_old_location_in_another_store_is_copied_like_any_other(
    this_host, cloud, context, image
):
    image.locations['file'] = f'rbd://{image.id}'
    assert here(this_host, context, image) == []
    (found,) = bring(this_host, context, image)
    assert found.fsid == 'fsid-west'


def test_an_old_location_beside_a_new_one_does_not_matter(
    this_host, cloud, context
):
    image = cloud.api.add_image('west')
    image.locations['old'] = f'rbd://{image.id}'
    (found,) = here(this_host, context, image)
    assert found.image == image.id


def test_a_store_that_is_no_rbd_store_is_not_our_cluster(
    this_host, options, context, image
):
    options.config(group='libvirt', images_rbd_glance_store_name='file')
    with pytest.raises(
        exceptions.StoreNotLocal, match='lies in no Ceph cluster'
    ):
        here(this_host, context, image)


def test_only_the_cluster_of_our_store_is_named(this_host, cloud, context):
    image = cloud.api.add_image('east')
    image.locations['west'] = f'rbd://fsid-of-north/images/{image.id}/snap'
    with pytest.raises(
        exceptions.StoreNotLocal, match=r'lies in fsid-of-north\.'
    ):
        here(this_host, context, image)


class Located(glance.Glance):
    """Glance, which tells other locations of an image."""

    def __init__(self, *entries):
        self._entries = entries

    def locations(self, _image):
        return tuple(
            image_values.ImageLocation(url, store)
            for url, store in self._entries
        )


@pytest.mark.parametrize(
    'url', ['rbd://fsid-of-north/images/{}/snap', 'file:///x/{}']
)
def test_an_image_of_which_glance_names_no_store_is_not_copied(
    this_host, context, image, url
):
    record = record_of(this_host, context, image)
    images = Located(
        (f'file:///y/{image.id}', 'file'), (url.format(image.id), None)
    )
    with pytest.raises(exceptions.StoreNotNamed, match='names no store'):
        this_host.finder.here(images, record)


def test_an_old_location_that_names_no_store_may_be_of_ours(
    this_host, context, image
):
    record = record_of(this_host, context, image)
    images = Located((f'rbd://{image.id}', None))
    with pytest.raises(exceptions.OldLocation):
        this_host.finder.here(images, record)


def test_a_location_in_our_cluster_need_not_name_its_store(
    this_host, context, image
):
    record = record_of(this_host, context, image)
    images = Located((f'rbd://fsid-west/images/{image.id}/snap', None))
    (found,) = this_host.finder.here(images, record)
    assert found.image == image.id


def test_where_no_copies_are_wanted_no_store_is_missed(
    this_host, options, context, image
):
    options.config(group='libvirt', images_rbd_glance_store_name='')
    record = record_of(this_host, context, image)
    assert this_host.finder.here(Located(('file:///x', None)), record) == []


# What is measured


@pytest.fixture
def meter(this_host):
    this_host.meter = meters.Meter()
    return this_host.meter


def stages(cloud, meter, *seconds):
    """The stages of the copies that are awaited at some times from now."""
    found = []
    for second in seconds:
        cloud.clock.after(
            second, lambda: found.extend(copy.stage for copy in meter.copies)
        )
    return found


def test_a_copy_is_measured_as_it_goes_on(
    this_host, cloud, context, meter, image
):
    cloud.api.pace = glance_api.Pace(start=0.2, staging=20, upload=20)
    # The second look comes by chance, after 36 s at the latest.
    found = stages(cloud, meter, 10, 38)
    bytes_seen = []
    cloud.clock.after(
        38,
        lambda: bytes_seen.extend(
            (copy.copied, copy.total) for copy in meter.copies
        ),
    )
    bring(this_host, context, image)
    assert found == [Stage.STAGING, Stage.ARRIVING]
    ((copied, total),) = bytes_seen
    assert 0 < copied < total == image.size
    assert meter.copies == []
    assert meter.steps == [Step.COPY]


def test_what_else_holds_an_image_is_measured(
    this_host, cloud, context, meter, image
):
    cloud.api.hold(image, 60)
    found = stages(cloud, meter, 30)
    bring(this_host, context, image)
    assert found == [Stage.LOCKED]


def test_somebody_s_copy_to_our_store_is_measured_as_one(
    this_host, cloud, context, meter, image
):
    cloud.api.pace = glance_api.Pace(start=0.2, staging=40)
    cloud.api.import_image(
        glance_api.Requester(project='other', service=True),
        image.id,
        {'method': {'name': 'copy-image'}, 'stores': ['west']},
    )
    cloud.clock.advance(1)
    found = stages(cloud, meter, 20)
    bring(this_host, context, image)
    assert found == [Stage.STAGING]


def test_a_copy_that_is_queued_is_measured_as_such(
    this_host, cloud, context, meter, image
):
    for endpoint in ('glance-a', 'glance-b'):
        cloud.clock.after(100, cloud.api.occupy(endpoint))
    found = stages(cloud, meter, 80)
    bring(this_host, context, image)
    assert found == [Stage.QUEUED]


def test_each_answer_of_glance_is_measured_by_its_kind(cloud, image):
    heard = meters.Meter()
    cloud.means = dataclasses.replace(cloud.means, meter=heard)
    first, second = cloud.urls
    images = cloud.glance()

    images.record(image.id)
    with pytest.raises(exceptions.ImageGone):
        images.record('00000000-0000-4000-8000-000000000000')
    cloud.endpoints[0].fault = endpoints.error_page(500, 'database')
    images.record(image.id)

    kinds = [kind for url, kind in heard.answers if url == first]
    assert set(kinds) == {'Good', 'NotFound', 'Fault'}
    assert (second, 'Good') in heard.answers


def test_an_endpoint_that_is_away_is_measured(cloud, image):
    heard = meters.Meter()
    cloud.means = dataclasses.replace(cloud.means, meter=heard)
    cloud.endpoints[0].fault = requests.ConnectionError('refused')

    cloud.glance().record(image.id)

    assert (cloud.urls[0], 'NoAnswer') in heard.answers
    assert cloud.known.are_well() == {
        cloud.urls[0]: False,
        cloud.urls[1]: True,
    }
