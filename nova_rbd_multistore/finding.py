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

"""Find an image in the local cluster, or have it brought there.

What all boots of a host share: which copies are under way, and that the store
has turned out to be another cluster.
"""

from collections.abc import Callable, Hashable, Sequence
import functools
import math
from typing import Protocol, TypeVar
import uuid

from nova_rbd_multistore import arrival
from nova_rbd_multistore import copying
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import image as image_values
from nova_rbd_multistore import location
from nova_rbd_multistore import meter as meters
from nova_rbd_multistore import pace
from nova_rbd_multistore import sharing
from nova_rbd_multistore import source
from nova_rbd_multistore import transfer
from nova_rbd_multistore import wait

Answer = TypeVar('Answer')

#: Seconds for which no copy is requested, once the store has turned out to be
#: another cluster than ours: each would fill a store in vain.
MISMATCH_REMEMBERED = 300.0

#: Images remembered as lying in our cluster, at most.
REMEMBERED = 1000

#: Objects in Nova's pool that are the leases of images begin so.
LEASE_PREFIX = 'nova-rbd-multistore.lead.'


#: What Glance may say of a right for no reason but that Keystone does not
#: answer it: it goes on with those tokens that it has had checked of late.
DOUBTED = (exceptions.LocationsForbidden, exceptions.TokenRefused)


class Cluster(Protocol):
    """What finding needs of the local cluster; see :class:`ceph.Cluster`."""

    def fsid(self) -> str: ...

    def arrival(self, pool: str, image: str) -> arrival.Arrival: ...

    def hold_lease(
        self, pool: str, name: str, owner: str, seconds: int
    ) -> bool: ...

    def has_lease(self, pool: str, name: str) -> bool: ...

    def release_lease(self, pool: str, name: str) -> None: ...


class Images(copying.ImageService, Protocol):
    """What finding needs of Glance; see :class:`glance.Glance`."""

    def locations(
        self, image: str
    ) -> tuple[image_values.ImageLocation, ...]: ...

    def record_and_locations(
        self, image: str
    ) -> tuple[
        image_values.ImageRecord,
        Callable[[], tuple[image_values.ImageLocation, ...]],
    ]: ...

    def without_retries(self) -> copying.ImageService: ...


class Finder:
    """Between Glance's store and the Ceph cluster of one host.

    :param store: name of the host's store in Glance, '' if copies are not
        wanted
    :param pools: where images may lie
    :param own_pool: in which Nova keeps its disks
    :param meter: hears how long things take
    """

    def __init__(
        self,
        cluster: Cluster,
        store: str,
        pools: source.Pools,
        own_pool: str,
        limits: pace.Limits,
        time: pace.Time,
        meter: meters.Meter = meters.DEAF,
    ) -> None:
        self._cluster = cluster
        self._meter = meter
        self.store = store
        self._pools = pools
        self._own_pool = own_pool
        self._limits = limits
        self._time = time
        self._copies: sharing.Shared[list[location.RbdLocation]] = (
            sharing.Shared(time.wait)
        )
        self._turns: sharing.Shared[None] = sharing.Shared(time.wait)
        self._here_of_late: set[str] = set()
        self._fsid: str | None = None
        self._mismatch: tuple[float, frozenset[str]] | None = None
        self._owner = str(uuid.uuid4())

    @property
    def fsid(self) -> str:
        """The id of the local cluster.

        :raises ClusterUnreachable: if it does not answer
        """
        # Not a cached_property: its lock would have the boots of a host time
        # out one after another while the cluster is away.
        if self._fsid is None:
            self._fsid = self._cluster.fsid()
        return self._fsid

    def start_wait(
        self,
        image: str,
        check: Callable[[], None] = lambda: None,
        server: str | None = None,
    ) -> wait.Wait:
        """The wait of one boot for an image, a context; it begins now.

        :param check: raises if the boot need not wait any longer; called about
            once a poll interval
        :param server: uuid of the server to be booted, for the log
        """
        return wait.Wait(
            image,
            functools.partial(self._look, image),
            _Lease(self._cluster, self._own_pool, image, self._owner),
            self._limits,
            self._time,
            check,
            server,
        )

    def _look(self, image: str) -> arrival.Arrival:
        """How far an image has come, seen in our cluster.

        :raises ArrivalsHidden: if that cannot be seen
        :raises ClusterUnreachable: if our cluster does not answer
        """
        saw = meters.Saw.FAILED
        try:
            found = self._cluster.arrival(self._pools.glance, image)
            if found.complete:
                saw = meters.Saw.WHOLE
            else:
                saw = meters.Saw.PART if found.exists else meters.Saw.NOTHING
        except arrival.ArrivalsHidden:
            saw = meters.Saw.HIDDEN
            raise
        finally:
            self._meter.look(saw)
        return found

    def make_transfer(
        self,
        images: Images,
        image: str,
        stores: Sequence[str],
        server: str | None = None,
    ) -> transfer.Transfer:
        """The way of an image into further stores, which has not begun.

        :param images: Glance, as the user whose image it is
        :param server: uuid of the server whose snapshot it is, for the log
        """
        return transfer.Transfer(
            image,
            stores,
            images.without_retries(),
            self._limits,
            self._time,
            server,
        )

    def wait_until_active(
        self, images: Images, image: str
    ) -> image_values.ImageRecord:
        """The record of an image that gets its data: see :mod:`transfer`.

        It is waited for as long as by a boot.

        :param images: Glance, as a user who may see it
        """
        return transfer.wait_until_active(
            image, images, self._limits.timeout, self._time
        )

    def wait_until_free(
        self, images: Images, image: str, check: Callable[[], None]
    ) -> None:
        """Return when an image can be deleted: see :mod:`transfer`.

        :param images: Glance, as a user who may see it
        :param check: raises if there is no need to wait any longer
        """
        transfer.wait_until_free(
            image, images, self._limits, self._time, check
        )

    def wait_for_turn(self, waiting: wait.Wait) -> None:
        """Return when a boot may ask Glance for its image.

        Of all boots that wait on this host, one looks. None does if the last
        boot of the image has found it here: if it has gone since, Glance says
        so to each host once.

        :param waiting: that of the boot
        :raises ClusterUnreachable: if our cluster does not answer
        """
        if self.store and waiting.image not in self._here_of_late:
            with self._meter.time(meters.Step.TURN):
                self._turns.do(
                    key=waiting.image,
                    asker=None,
                    work=waiting.for_turn,
                    check=waiting.check,
                    check_interval=self._limits.poll_interval,
                )

    def find(
        self, images: Images, image: str
    ) -> tuple[image_values.ImageRecord, list[location.RbdLocation]]:
        """The record of an image to be cloned, and where it lies here.

        :param images: Glance, as the user of the boot
        :raises ImageError: if the image is not for this user or not to be
            cloned, or as :meth:`here`
        :raises HostError: as :meth:`here`
        """
        with self._meter.time(meters.Step.FIND):
            return self._find(images, image)

    def _find(
        self, images: Images, image: str
    ) -> tuple[image_values.ImageRecord, list[location.RbdLocation]]:
        record, wait_for_locations = self._ask_until(
            lambda: images.record_and_locations(image), lambda _: True
        )
        source.require_active(record)
        try:
            locations = wait_for_locations()
        except DOUBTED:
            locations = self._locations(images, record)
        # Before the format: one that cannot be cloned may be downloaded.
        found = self._among(locations, record)
        source.require_cloneable(record)
        if not found and record.holds(self.store):
            # A copy may have ended between the answers, which come in any
            # order: the locations may be of before, the record of after it.
            found = self.here(images, record)
        elif not found:
            self._require_known_stores(locations, record)
        self._remember(image, found)
        return record, found

    def here(
        self, images: Images, record: image_values.ImageRecord
    ) -> list[location.RbdLocation]:
        """Where in our cluster the image lies, in Glance's order.

        :param images: Glance, as the user who may see ``record``
        :raises LocationRefused: if a location may be of somebody else's data
        :raises OldLocation: if our store has the image without a snapshot
        :raises StoreNotNamed: if Glance could not copy the image
        :raises StoreNotLocal: if our store has the image, in another cluster
        :raises ImageError: if its locations are not for this user
        :raises HostError: if Glance or our cluster does not answer
        """
        # Its owner may have put the store's name beside any location: no
        # reason to deny copies to others.
        return self._here(images, record, remember=False)

    def bring(
        self,
        images: Images,
        record: image_values.ImageRecord,
        user: Hashable,
        waiting: wait.Wait,
    ) -> list[location.RbdLocation]:
        """Have the image copied to our store; return where it then lies.

        Of all boots that want this, one requests and follows; the others wait
        for its outcome. What it was told in the end about the image serves all
        boots of the same user; a boot of another user asks for itself.

        :param images: Glance, as the user of the boot
        :param user: who that is
        :param waiting: that of the boot
        :raises StoreNotLocal: if our store was another cluster of late
        :raises ImageError: see :meth:`copying.Copy.run`
        :raises HostError: see :meth:`copying.Copy.run`
        """
        if self._mismatch and self._time.clock() < self._mismatch[0]:
            raise exceptions.StoreNotLocal(
                record.id, self.store, self.fsid, self._mismatch[1]
            )
        place = location.RbdLocation(
            self.fsid, self._pools.glance, record.id, arrival.GLANCE_SNAPSHOT
        )
        following = copying.Copy(
            record, self.store, place, images.without_retries(), waiting
        )

        def copy() -> list[location.RbdLocation]:
            with self._meter.follow(following):
                arrived = following.run()
            if following.seen_whole and not arrived.locations:
                # Glance would tell what we have seen happen.
                return [place]
            return self._here(images, arrived, remember=True)

        with self._meter.time(meters.Step.COPY):
            found = self._copies.do(
                key=(record.id, self.store),
                asker=user,
                work=copy,
                check=waiting.check,
                check_interval=self._limits.poll_interval,
                time_left=lambda: following.time_left,
            )
        if found is None:
            record = self._ask_until(
                lambda: images.record(record.id),
                lambda record: record.holds(self.store) or not record.active,
            )
            source.require_cloneable(record)
            found = self._here(images, record, remember=True)
        return found

    def _here(
        self,
        images: Images,
        record: image_values.ImageRecord,
        *,
        remember: bool,
    ) -> list[location.RbdLocation]:
        """As :meth:`here`.

        :param remember: whether Glance has just brought the image into our
            store, so that a mismatch is true of other images too
        """
        locations = self._locations(images, record)
        found = self._among(locations, record)
        if found:
            return found
        self._require_known_stores(locations, record)
        if record.holds(self.store):
            if not self._are_of(locations, record):
                # Of one that was deactivated meanwhile, Glance shows none.
                source.require_active(images.record(record.id))
            elsewhere = source.clusters(locations, self.store)
            if remember and self._are_of(locations, record):
                self._mismatch = (
                    self._time.clock() + MISMATCH_REMEMBERED,
                    elsewhere,
                )
            raise exceptions.StoreNotLocal(
                record.id, self.store, self.fsid, elsewhere
            )
        return found

    def _locations(
        self, images: Images, record: image_values.ImageRecord
    ) -> tuple[image_values.ImageLocation, ...]:
        """Where the image lies, as of its record or later."""
        return record.locations or self._ask_until(
            lambda: images.locations(record.id),
            lambda locations: self._are_of(locations, record),
        )

    def _ask_until(
        self, ask: Callable[[], Answer], is_of_now: Callable[[Answer], bool]
    ) -> Answer:
        """Ask Glance, again if its answer is older than what is known.

        Another glance-api than before may have answered, from a replica of the
        database that lags behind. Or it was told by Keystone of neither token,
        or not of Nova's service token beside the user's. After a while, it is
        believed.
        """
        believe_at = math.inf
        pause = pace.FIRST_RECHECK
        while True:
            # Not by the time of the answer, which may be an old one: this
            # process, too, may stand still.
            is_believed = self._time.clock() >= believe_at
            try:
                answer = ask()
            except DOUBTED:
                if is_believed:
                    raise
            else:
                if is_believed or is_of_now(answer):
                    return answer
            # From the first answer on, which may have taken a minute.
            believe_at = min(believe_at, self._time.clock() + pace.SETTLES_IN)
            self._time.sleep(pause)
            pause *= 2

    def _are_of(
        self,
        locations: tuple[image_values.ImageLocation, ...],
        record: image_values.ImageRecord,
    ) -> bool:
        """Whether one is in our store, if the record says so."""
        return not record.holds(self.store) or any(
            entry.store in (self.store, None) for entry in locations
        )

    def _remember(self, image: str, found: list[location.RbdLocation]) -> None:
        if not found:
            self._here_of_late.discard(image)
            return
        if len(self._here_of_late) >= REMEMBERED:
            self._here_of_late.clear()
        self._here_of_late.add(image)

    def _require_known_stores(
        self,
        locations: tuple[image_values.ImageLocation, ...],
        record: image_values.ImageRecord,
    ) -> None:
        """Check that Glance can tell in which stores the image lies.

        :raises OldLocation: if one is older than stores
        :raises StoreNotNamed: if one does not name its store
        """
        if source.has_old_form(locations, self.store):
            raise exceptions.OldLocation(record.id)
        if self.store and not all(entry.store for entry in locations):
            # Glance 33 trips over it, and answers each request with 500.
            raise exceptions.StoreNotNamed(record.id, self.store)

    def _among(
        self,
        locations: tuple[image_values.ImageLocation, ...],
        record: image_values.ImageRecord,
    ) -> list[location.RbdLocation]:
        return source.local_sources(record, locations, self.fsid, self._pools)


class _Lease:
    """Of the lead in the wait for one image, in the cluster of the site."""

    def __init__(
        self, cluster: Cluster, pool: str, image: str, owner: str
    ) -> None:
        self._cluster = cluster
        self._pool = pool
        self._name = LEASE_PREFIX + image
        self._owner = owner

    def hold(self, seconds: int) -> bool:
        return self._cluster.hold_lease(
            self._pool, self._name, self._owner, seconds
        )

    def is_there(self) -> bool:
        return self._cluster.has_lease(self._pool, self._name)

    def release(self) -> None:
        self._cluster.release_lease(self._pool, self._name)
