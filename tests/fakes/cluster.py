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

from collections.abc import Callable
import contextlib
import dataclasses

from nova_rbd_multistore import arrival
from nova_rbd_multistore import ceph
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import location


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
    :ivar away: whether the cluster does not answer
    :ivar hidden: whether Nova's user may not read Glance's pool
    :ivar looks: how often the cluster was probed
    :ivar leases: owner and end of each, by pool and name
    :ivar claims: how often a lease was to be taken or renewed
    :ivar read_only: pools that Nova's user may not write to
    :ivar while_cloning: called in the middle of each clone
    """

    def __init__(
        self, fsid: str, clock: Callable[[], float] = lambda: 0.0
    ) -> None:
        self._fsid = fsid
        self._clock = clock
        self.images: dict[tuple[str, str], Image] = {}
        self.disks: dict[tuple[str, str], location.RbdLocation | None] = {}
        self.away = False
        self.hidden = False
        self.looks = 0
        self.leases: dict[tuple[str, str], tuple[str, float]] = {}
        self.claims = 0
        self.read_only: set[str] = set()
        self.while_cloning: Callable[[], None] = lambda: None

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

    def errors(
        self, pool: str | None = None
    ) -> contextlib.AbstractContextManager[None]:
        del pool
        return contextlib.nullcontext()

    def fsid(self) -> str:
        self._answer()
        return self._fsid

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

    def release_lease(self, pool: str, name: str) -> None:
        self._answer()
        self._check_writable(pool)
        self.leases.pop((pool, name), None)

    def clone(
        self, source: location.RbdLocation, pool: str, name: str
    ) -> None:
        self._answer()
        if self.hidden:
            raise ceph.SourceDenied('[errno 1] RBD permission error')
        found = self.images.get((source.pool, source.image))
        if found is None or source.snapshot not in found.snapshots:
            raise ceph.SourceMissing('[errno 2] RBD image not found')
        if (pool, name) in self.disks:
            raise ceph.DiskExists(f'{pool}/{name}')
        self.while_cloning()
        self.disks[pool, name] = source

    def _answer(self) -> None:
        if self.away:
            raise exceptions.ClusterUnreachable('[errno 110] timed out')

    def _check_writable(self, pool: str) -> None:
        if pool in self.read_only:
            raise exceptions.PoolUnusable(pool, '[errno 1] not permitted')
