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

from collections.abc import Iterator
import contextlib
import dataclasses

from tests.fakes import cluster as clusters

GIB = 1024**3


class Disks:
    """In place of Nova's RBDDriver, on a cluster without the cluster.

    :ivar sizes: bytes by name; clones are a GiB
    :ivar imported: names of disks that were imported from a file
    """

    rbd_user = 'nova'
    ceph_conf = ''

    def __init__(self, cluster: clusters.Cluster, pool: str = 'vms') -> None:
        self._cluster = cluster
        self.pool = pool
        self.sizes: dict[str, int] = {}
        self.imported: list[str] = []

    def exists(self, name: str) -> bool:
        return (self.pool, name) in self._cluster.disks

    def size(self, name: str) -> int:
        return self.sizes.get(name, GIB)

    def resize(self, name: str, size: int) -> None:
        self.sizes[name] = size

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator['OpenDisk']:
        yield OpenDisk(self, name)

    def import_image(self, base: str, name: str) -> None:
        del base
        self.imported.append(name)
        self._cluster.disks[self.pool, name] = None


@dataclasses.dataclass
class OpenDisk:
    """As Nova's RBDVolumeProxy."""

    disks: Disks
    name: str

    def size(self) -> int:
        return self.disks.size(self.name)

    def resize(self, size: int) -> None:
        self.disks.resize(self.name, size)
