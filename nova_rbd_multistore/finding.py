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

from collections.abc import Callable, Collection, Hashable
import functools
from typing import Protocol
import uuid

from nova_rbd_multistore import arrival
from nova_rbd_multistore import copying
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import image as image_values
from nova_rbd_multistore import location
from nova_rbd_multistore import pace
from nova_rbd_multistore import sharing
from nova_rbd_multistore import source

#: Seconds for which no copy is requested, once the store has turned out to be
#: another cluster than ours: each would fill a store in vain.
MISMATCH_REMEMBERED = 300.0

#: Objects in Nova's pool that are the leases of images begin so.
LEASE_PREFIX = 'nova-rbd-multistore.lead.'


class Cluster(Protocol):
    """What finding needs of the local cluster; see :class:`ceph.Cluster`."""

    def fsid(self) -> str: ...

    def arrival(self, pool: str, image: str) -> arrival.Arrival: ...

    def hold_lease(
        self, pool: str, name: str, owner: str, seconds: int
    ) -> bool: ...

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
    :param pool: of the cluster, in which that store keeps its images
    :param own_pool: in which Nova keeps its disks
    :param trusted_pools: pools from which an image may be cloned or copied
        under any name
    """

    def __init__(
        self,
        cluster: Cluster,
        store: str,
        pool: str,
        own_pool: str,
        trusted_pools: Collection[str],
        limits: pace.Limits,
        time: pace.Time,
    ) -> None:
        self._cluster = cluster
        self.store = store
        self._pool = pool
        self._own_pool = own_pool
        self._trusted_pools = trusted_pools
        self._limits = limits
        self._time = time
        self._copies: sharing.Shared[list[location.RbdLocation]] = (
            sharing.Shared()
        )
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

    def find(
        self, images: Images, image: str
    ) -> tuple[image_values.ImageRecord, list[location.RbdLocation]]:
        """The record of an image to be cloned, and where it lies here.

        :param images: Glance, as the user of the boot
        :raises ImageError: if the image is not for this user or not to be
            cloned, or as :meth:`here`
        :raises HostError: as :meth:`here`
        """
        record, wait_for_locations = images.record_and_locations(image)
        source.require_cloneable(record)
        locations = wait_for_locations()
        found = self._among(locations, record)
        if not found and record.holds(self.store):
            # A copy may have ended between the answers, which come in any
            # order: the locations may be of before, the record of after it.
            found = self.here(images, record)
        elif not found:
            self._require_known_stores(locations, record)
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
        check: Callable[[], None] = lambda: None,
        server: str | None = None,
    ) -> list[location.RbdLocation]:
        """Have the image copied to our store; return where it then lies.

        Of all boots that want this, one requests and follows; the others wait
        for its outcome. What it was told in the end about the image serves all
        boots of the same user; a boot of another user asks for itself.

        :param images: Glance, as the user of the boot
        :param user: who that is
        :param check: raises if the caller need not wait any longer; called
            about as often as Glance is polled
        :param server: uuid of the server to be booted, for the log
        :raises StoreNotLocal: if our store was another cluster of late
        :raises ImageError: see :meth:`copying.Copy.run`
        :raises HostError: see :meth:`copying.Copy.run`
        """
        if self._mismatch and self._time.clock() < self._mismatch[0]:
            raise exceptions.StoreNotLocal(
                record.id, self.store, self.fsid, self._mismatch[1]
            )
        following = copying.Copy(
            record,
            self.store,
            images.without_retries(),
            functools.partial(self._cluster.arrival, self._pool, record.id),
            self._limits,
            self._time,
            check,
            server,
            _Lease(self._cluster, self._own_pool, record.id, self._owner),
        )

        def copy() -> list[location.RbdLocation]:
            arrived = following.run()
            if following.seen_whole and not arrived.locations:
                # Glance would tell what we have seen happen.
                return [
                    location.RbdLocation(
                        self.fsid,
                        self._pool,
                        arrived.id,
                        arrival.GLANCE_SNAPSHOT,
                    )
                ]
            return self._here(images, arrived, remember=True)

        found = self._copies.do(
            key=(record.id, self.store),
            asker=user,
            work=copy,
            check=check,
            check_interval=self._limits.poll_interval,
            time_left=lambda: following.time_left,
        )
        if found is None:
            record = images.record(record.id)
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
        locations = record.locations or images.locations(record.id)
        found = self._among(locations, record)
        if found:
            return found
        self._require_known_stores(locations, record)
        if record.holds(self.store):
            elsewhere = source.clusters(locations, self.store)
            if remember:
                self._mismatch = (
                    self._time.clock() + MISMATCH_REMEMBERED,
                    elsewhere,
                )
            raise exceptions.StoreNotLocal(
                record.id, self.store, self.fsid, elsewhere
            )
        return found

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
        return source.local_sources(
            record, locations, self.fsid, self._trusted_pools
        )


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

    def release(self) -> None:
        self._cluster.release_lease(self._pool, self._name)
