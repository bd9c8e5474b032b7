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

"""A Ceph cluster: Glance's images in it, and the boot disks."""

from collections.abc import Callable, Mapping
import contextlib
import dataclasses
import types

from nova_rbd_multistore import arrival
from nova_rbd_multistore import ceph
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import location
from nova_rbd_multistore import remains


@dataclasses.dataclass
class Image:
    """An RBD image that Glance writes."""

    size: int = 0
    snapshots: set[str] = dataclasses.field(default_factory=set)


class Cluster:
    """What :class:`ceph.Cluster` shows of a cluster, without the cluster.

    :param clock: in seconds, by which leases run out
    :ivar images: by pool and name
    :ivar disks: the source that each boot disk is a clone of, None if flat,
        by pool and name
    :ivar left: what there is of disks that are not whole, by pool and name
    :ivar away: whether the cluster does not answer
    :ivar hidden: whether Nova's user may not read Glance's pool
    :ivar looks: how often the cluster was probed
    :ivar leases: owner and end of each, by pool and name
    :ivar claims: how often a lease was to be taken or renewed
    :ivar read_only: pools that Nova's user may not write to
    :ivar unreadable: pools of data that Nova's user may not read, under
        Glance's images
    :ivar clones: of which version they are
    :ivar while_cloning: called in the middle of each clone
    :ivar clients: addresses from which disks are open, by pool and name
    """

    def __init__(
        self, fsid: str, clock: Callable[[], float] = lambda: 0.0
    ) -> None:
        self._fsid = fsid
        self._clock = clock
        self.images: dict[tuple[str, str], Image] = {}
        self.disks: dict[tuple[str, str], location.RbdLocation | None] = {}
        self.left: dict[tuple[str, str], remains.Remains] = {}
        self.away = False
        self.hidden = False
        self.looks = 0
        self.leases: dict[tuple[str, str], tuple[str, float]] = {}
        self.claims = 0
        self.read_only: set[str] = set()
        self.unreadable: set[str] = set()
        self.clones = 2
        self.while_cloning: Callable[[], None] = lambda: None
        self.clients: dict[tuple[str, str], list[str]] = {}

    def write(self, name: str, size: int, pool: str = 'images') -> None:
        """Note that so many bytes of an image have arrived."""
        self.images.setdefault((pool, name), Image()).size = size

    def complete(self, name: str, pool: str = 'images') -> str:
        """Make Glance's snapshot; return the location of the image."""
        image = self.images.setdefault((pool, name), Image())
        image.snapshots.add(arrival.GLANCE_SNAPSHOT)
        return f'rbd://{self._fsid}/{pool}/{name}/{arrival.GLANCE_SNAPSHOT}'

    def remove(self, name: str, pool: str = 'images') -> None:
        self.images.pop((pool, name), None)

    # As ceph.Cluster

    options: Mapping[str, str] = types.MappingProxyType({})

    def errors(
        self, pool: str | None = None, disk: str | None = None
    ) -> contextlib.AbstractContextManager[None]:
        del pool, disk
        return contextlib.nullcontext()

    def fsid(self) -> str:
        self._answer()
        return self._fsid

    def monitors(self) -> list[tuple[str, str]]:
        self._answer()
        return [('192.0.2.1', '6789')]

    def arrival(self, pool: str, image: str) -> arrival.Arrival:
        self.looks += 1
        self._answer()
        if self.hidden:
            raise arrival.ArrivalsHidden(f'no right to read {pool}')
        found = self.images.get((pool, image))
        if found is None:
            return arrival.ABSENT
        if arrival.GLANCE_SNAPSHOT in found.snapshots:
            return arrival.Arrival(exists=True, complete=True)
        return arrival.Arrival(exists=True, allocated=found.size)

    def hold_lease(
        self, pool: str, name: str, owner: str, seconds: int
    ) -> bool:
        self.claims += 1
        self._answer()
        self._check_writable(pool)
        holder, until = self.leases.get((pool, name), (owner, 0.0))
        if holder != owner and self._clock() < until:
            return False
        self.leases[pool, name] = owner, self._clock() + seconds
        return True

    def has_lease(self, pool: str, name: str) -> bool:
        self._answer()
        return (pool, name) in self.leases

    def release_lease(self, pool: str, name: str) -> None:
        self._answer()
        self._check_writable(pool)
        self.leases.pop((pool, name), None)

    def clone(
        self, source: location.RbdLocation, pool: str, name: str
    ) -> None:
        self._answer()
        if self.hidden:
            raise ceph.SourceDenied(source.pool, '[errno 1] not permitted')
        for data_pool in self.unreadable:
            raise ceph.SourceDenied(data_pool, '[errno 1] not permitted')
        found = self.images.get((source.pool, source.image))
        if found is None or source.snapshot not in found.snapshots:
            raise ceph.SourceMissing('[errno 2] RBD image not found')
        if (pool, name) in self.disks or (pool, name) in self.left:
            raise ceph.DiskExists(f'{pool}/{name}')
        self.while_cloning()
        self.disks[pool, name] = source

    def has_image(self, pool: str, name: str) -> bool:
        self._answer()
        return (pool, name) in self.disks or (pool, name) in self.left

    def remains(self, pool: str, name: str) -> remains.Remains | None:
        self._answer()
        if (pool, name) in self.disks:
            return remains.Remains(parent=bool(self.disks[pool, name]))
        return self.left.get((pool, name))

    def clients_of(self, pool: str, name: str) -> list[str]:
        self._answer()
        return self.clients.get((pool, name), [])

    def remove_disk(self, pool: str, name: str) -> None:
        self._answer()
        self._check_writable(pool)
        assert (pool, name) not in self.disks, 'that is a whole disk'
        left = self.left[pool, name]
        if left.watched or left.snapshots:
            raise ceph.DiskInUse(f'{pool}/{name}')
        del self.left[pool, name]

    def rename_disk(self, pool: str, name: str, new_name: str) -> None:
        self._answer()
        self._check_writable(pool)
        if (pool, name) in self.disks:
            self.disks[pool, new_name] = self.disks.pop((pool, name))
        else:
            self.left[pool, new_name] = self.left.pop((pool, name))

    def sizes(self, pool: str, most: int) -> dict[str, int]:
        self._answer()
        if self.hidden:
            raise arrival.ArrivalsHidden(f'no right to read {pool}')
        found = {
            name: image.size
            for (where, name), image in self.images.items()
            if where == pool
        }
        return dict(list(found.items())[:most])

    def check_new_disks(self, pool: str) -> None:
        self._answer()
        self._check_writable(pool)

    def check_image(self, source: location.RbdLocation) -> None:
        self._answer()
        if self.hidden:
            raise ceph.SourceDenied(source.pool, '[errno 1] not permitted')
        for data_pool in self.unreadable:
            raise ceph.SourceDenied(data_pool, '[errno 1] not permitted')
        if (source.pool, source.image) not in self.images:
            raise ceph.SourceMissing('[errno 2] RBD image not found')

    def clone_version(self) -> int:
        self._answer()
        return self.clones

    def check_disk(self, pool: str, name: str) -> None:
        self._answer()
        source = self.disks.get((pool, name))
        for data_pool in self.unreadable if source else ():
            raise exceptions.PoolUnreadable(str(source), data_pool)

    def _answer(self) -> None:
        if self.away:
            raise exceptions.ClusterUnreachable('[errno 110] timed out')

    def _check_writable(self, pool: str) -> None:
        if pool in self.read_only:
            raise exceptions.PoolUnusable(pool, '[errno 1] not permitted')


class Lease:
    """One that a host may have in the cluster of its site.

    :param owner: the host
    """

    def __init__(self, cluster: Cluster, owner: str) -> None:
        self._cluster = cluster
        self._owner = owner

    def hold(self, seconds: int) -> bool:
        return self._cluster.hold_lease('vms', 'lease', self._owner, seconds)

    def is_there(self) -> bool:
        return self._cluster.has_lease('vms', 'lease')

    def release(self) -> None:
        self._cluster.release_lease('vms', 'lease')
