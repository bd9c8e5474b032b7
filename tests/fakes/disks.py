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

"""The boot disks of a host, as Nova's own code handles them."""

from collections.abc import Callable

from nova_rbd_multistore import exceptions
from tests.fakes import cluster as clusters

GIB = 1024**3


class Disks:
    """In place of Nova's RBDDriver, on a cluster without the cluster.

    :ivar sizes: bytes by name; clones are a GiB
    :ivar snapshots: name of the disk, and of each of its snapshots
    :ivar rolled_back: the same of each that a disk was rolled back to
    :ivar imported: names of disks that were imported from a file
    :ivar parents: pool, image and snapshot of what disks are clones of
    """

    rbd_user = 'nova'
    ceph_conf = ''

    def __init__(self, cluster: clusters.Cluster, pool: str = 'vms') -> None:
        self._cluster = cluster
        self.pool = pool
        self.sizes: dict[str, int] = {}
        self.imported: list[str] = []
        self.snapshots: set[tuple[str, str]] = set()
        self.rolled_back: list[tuple[str, str]] = []
        self.parents: dict[str, tuple[str, str, str]] = {}

    def exists(self, name: str, snapshot: str | None = None) -> bool:
        if self._cluster.away:
            raise exceptions.ClusterUnreachable('[errno 110] timed out')
        if snapshot is not None:
            return (name, snapshot) in self.snapshots
        left = self._cluster.left.get((self.pool, name))
        return (self.pool, name) in self._cluster.disks or (
            left is not None and left.opens
        )

    def size(self, name: str) -> int:
        return self.sizes.get(name, GIB)

    def resize(self, name: str, size: int) -> None:
        self.sizes[name] = size

    def grow(
        self, name: str, size: int, check: Callable[[int], object]
    ) -> None:
        now = self.size(name)
        check(now)
        if now < size:
            self.resize(name, size)

    def parent_info(self, name: str) -> tuple[str, str, str]:
        return self.parents[name]

    def create_snap(self, name: str, snapshot: str) -> None:
        self.snapshots.add((name, snapshot))

    def remove_snap(
        self, name: str, snapshot: str, ignore_errors: bool = False
    ) -> None:
        del ignore_errors
        self.snapshots.remove((name, snapshot))

    def rollback_to_snap(self, name: str, snapshot: str) -> None:
        assert (name, snapshot) in self.snapshots
        self.rolled_back.append((name, snapshot))

    def of_server(self, server: str) -> list[str]:
        return [
            name
            for pool, name in self._cluster.disks
            if pool == self.pool and name.startswith(f'{server}_')
        ]

    def set_aside(self, server: str) -> dict[str, str]:
        disks = self._cluster.disks
        found = {name: f'aside.0.{name}' for name in self.of_server(server)}
        for name, aside in found.items():
            disks[self.pool, aside] = disks.pop((self.pool, name))
        return found

    def cleanup_volumes(self, filter_fn: Callable[[str], bool]) -> None:
        for pool, name in [*self._cluster.disks]:
            if pool == self.pool and filter_fn(name):
                if self._cluster.clients_of(pool, name):
                    raise exceptions.DiskNotRemoved(
                        pool, name, 'a client has it open'
                    )
                del self._cluster.disks[pool, name]

    def import_image(self, base: str, name: str) -> None:
        del base
        self.imported.append(name)
        self._cluster.disks[self.pool, name] = None
