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

"""Images and servers' disks as they lie in the Ceph cluster of a site.

Read past OpenStack, as the cluster's administrator, and only read.
"""

from collections.abc import Iterator
import contextlib
import dataclasses
import hashlib
import pathlib
from typing import Self

import rados
import rbd

from lab.layout import Site

SECTOR = 512

_CHUNK = 4 << 20
_TIMEOUTS = {
    'client_mount_timeout': '30',
    'rados_mon_op_timeout': '30',
    'rados_osd_op_timeout': '30',
}


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A snapshot of an RBD image, as the parent of a clone is one."""

    pool: str
    image: str
    name: str

    @classmethod
    def of_glance(cls, image_id: str) -> Self:
        """The snapshot that Glance makes for others to clone."""
        return cls('images', image_id, 'snap')

    def __str__(self) -> str:
        return f'{self.pool}/{self.image}@{self.name}'


class Disks:
    """The open cluster of one site."""

    def __init__(self, cluster: rados.Rados) -> None:
        self._cluster = cluster
        self.fsid: str = cluster.get_fsid()

    def parent(self, server_id: str) -> Snapshot | None:
        """What a server's disk was cloned from; None if it is flat."""
        with self._opened('vms', disk_name(server_id)) as disk:
            try:
                return Snapshot(*disk.parent_info())
            except rbd.ImageNotFound:
                return None

    def digest(self, snapshot: Snapshot) -> str:
        """The SHA-256 of all bytes of a snapshot."""
        digest = hashlib.sha256()
        with self._opened(
            snapshot.pool, snapshot.image, snapshot.name
        ) as image:
            size = image.size()
            for offset in range(0, size, _CHUNK):
                digest.update(image.read(offset, min(_CHUNK, size - offset)))
        return digest.hexdigest()

    def changes(self, server_id: str, original: pathlib.Path) -> list[int]:
        """Offsets of the sectors in which a disk is not like a file.

        What the disk has beyond the file's end doesn't count.
        """
        found: list[int] = []
        with (
            self._opened('vms', disk_name(server_id)) as disk,
            original.open('rb') as file,
        ):
            offset = 0
            while expected := file.read(_CHUNK):
                actual = disk.read(offset, len(expected))
                if actual != expected:
                    found.extend(
                        offset + at
                        for at in range(0, len(expected), SECTOR)
                        if actual[at : at + SECTOR]
                        != expected[at : at + SECTOR]
                    )
                offset += len(expected)
        return found

    @contextlib.contextmanager
    def _opened(
        self, pool: str, name: str, snapshot: str | None = None
    ) -> Iterator[rbd.Image]:
        with (
            self._cluster.open_ioctx(pool) as ioctx,
            rbd.Image(ioctx, name, snapshot=snapshot, read_only=True) as image,
        ):
            yield image


def disk_name(server_id: str) -> str:
    """The name that Nova gives to the root disk of a server."""
    return f'{server_id}_disk'


@contextlib.contextmanager
def connected(site: Site) -> Iterator[Disks]:
    with rados.Rados(
        conffile=str(site.ceph_conf), rados_id='admin', conf=_TIMEOUTS
    ) as cluster:
        yield Disks(cluster)
