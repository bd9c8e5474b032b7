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

"""A site's Ceph cluster, as its operator sees it."""

from collections.abc import Iterator
import contextlib
import dataclasses
import hashlib
import json
from typing import Any

import rados
import rbd
import tenacity

from lab import layout
from tests.rig import polling


@dataclasses.dataclass(frozen=True)
class Parent:
    """What a disk is a copy-on-write clone of."""

    pool: str
    image: str
    snapshot: str


def of_glance(image_id: str) -> Parent:
    """What every clone of a Glance image is a clone of."""
    return Parent('images', image_id, 'snap')


class Cluster:
    """RBD images of one site, over a connection as client.admin.

    A context: the connection is closed with it.
    """

    def __init__(self, site: layout.Site) -> None:
        self.fsid = site.fsid
        self._rados = rados.Rados(
            conffile=str(site.ceph_conf),
            rados_id='admin',
            conf={
                'client_mount_timeout': '20',
                'rados_mon_op_timeout': '20',
                'rados_osd_op_timeout': '20',
            },
        )

    def __enter__(self) -> 'Cluster':
        self._rados.connect(timeout=20)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._rados.shutdown()

    @contextlib.contextmanager
    def pool(self, pool: str) -> Iterator[Any]:
        with self._rados.open_ioctx(pool) as ioctx:
            yield ioctx

    def images(self, pool: str) -> set[str]:
        """The names of a pool's RBD images."""
        with self.pool(pool) as ioctx:
            return set(rbd.RBD().list(ioctx))

    def objects(self, pool: str) -> set[str]:
        """The names of all objects in a pool."""
        with self.pool(pool) as ioctx:
            return {found.key for found in ioctx.list_objects()}

    def parent(self, disk: str) -> Parent | None:
        """What a disk in Nova's pool was cloned from; None if it is flat."""
        with (
            self.pool('vms') as ioctx,
            rbd.Image(ioctx, disk, read_only=True) as image,
        ):
            try:
                return Parent(*image.parent_info())
            except rbd.ImageNotFound:
                return None

    def allocated(self, pool: str, image: str) -> int:
        """Bytes of an image that have been written."""
        extents: list[int] = []
        with self.pool(pool) as ioctx:
            try:
                opened = rbd.Image(ioctx, image, read_only=True)
            except rbd.ImageNotFound:
                # It has its name first.
                return 0
            with opened:
                opened.diff_iterate(
                    0,
                    opened.size(),
                    None,
                    lambda _offset, length, exists: extents.append(
                        length if exists else 0
                    ),
                    whole_object=True,
                )
        return sum(extents)

    def clones(self, image_id: str) -> list[str]:
        """The disks that are clones of a Glance image."""
        with self.pool('images') as ioctx:
            try:
                with rbd.Image(ioctx, image_id, 'snap', read_only=True) as it:
                    return [name for _pool, name in it.list_children()]
            except rbd.ImageNotFound:
                return []

    def size(self, disk: str) -> int:
        with (
            self.pool('vms') as ioctx,
            rbd.Image(ioctx, disk, read_only=True) as image,
        ):
            return int(image.size())

    def digest(
        self, pool: str, image: str, snapshot: str | None = None
    ) -> str:
        """SHA-256 of an image's bytes."""
        digest = hashlib.sha256()
        with (
            self.pool(pool) as ioctx,
            rbd.Image(ioctx, image, snapshot, read_only=True) as opened,
        ):
            size, step = opened.size(), 8 << 20
            for offset in range(0, size, step):
                digest.update(opened.read(offset, min(step, size - offset)))
        return digest.hexdigest()

    def command(self, prefix: str, **arguments: object) -> Any:
        """Give the monitors a command, as the program ``ceph`` does."""
        code, answer, error = self._rados.mon_command(
            json.dumps({'prefix': prefix, 'format': 'json', **arguments}), b''
        )
        assert code == 0, error
        return json.loads(answer or 'null')

    def used(self) -> int:
        """Bytes that the cluster's OSD has allocated for data."""
        command = {
            'prefix': 'perf dump',
            'format': 'json',
            'logger': 'bluestore',
            'counter': 'bluestore_allocated',
        }
        code, answer, error = self._rados.osd_command(
            0, json.dumps(command), b''
        )
        assert code == 0, error
        return int(json.loads(answer)['bluestore']['bluestore_allocated'])

    def make_user(
        self, name: str, osd_caps: str, mon_caps: str = 'profile rbd'
    ) -> str:
        """A cephx user with these capabilities; its key."""
        caps = ['osd', osd_caps]
        if mon_caps:
            caps += ['mon', mon_caps]
        (user,) = self.command(
            'auth get-or-create', entity=f'client.{name}', caps=caps
        )
        return str(user['key'])

    def caps(self, name: str) -> dict[str, str]:
        """The capabilities of a cephx user, by kind of daemon."""
        (user,) = self.command('auth get', entity=f'client.{name}')
        caps: dict[str, str] = user['caps']
        return caps

    def remove_user(self, name: str) -> None:
        self.command('auth del', entity=f'client.{name}')

    def wait_for_health(self, check: str, *, present: bool = True) -> None:
        """Wait until the cluster has, or has no more, a health check."""
        polling.until(
            lambda: (check in self.command('health')['checks']) is present,
            f'{check}: {present}',
        )

    def create(self, pool: str, image: str, size: int) -> None:
        """Make an empty RBD image, as a broken copy leaves one."""
        with self.pool(pool) as ioctx:
            rbd.RBD().create(ioctx, image, size)

    def create_disk(self, disk: str, content: bytes, snapshot: str) -> None:
        """Make a disk in Nova's pool, with a snapshot to clone from."""
        with self.pool('vms') as ioctx:
            rbd.RBD().create(ioctx, disk, len(content))
            with rbd.Image(ioctx, disk) as image:
                image.write(content, 0)
        self.create_snapshot('vms', disk, snapshot)

    def create_snapshot(self, pool: str, image: str, snapshot: str) -> None:
        """Make a snapshot to clone from, as Glance does."""
        with self.pool(pool) as ioctx, rbd.Image(ioctx, image) as opened:
            opened.create_snap(snapshot)
            opened.protect_snap(snapshot)

    # Ceph lets go of a client that was killed after half a minute.
    @tenacity.retry(
        retry=tenacity.retry_if_exception_type(rbd.ImageBusy),
        stop=tenacity.stop_after_delay(60),
        wait=tenacity.wait_fixed(1),
        reraise=True,
    )
    def remove(self, pool: str, image: str) -> None:
        """Remove an RBD image and its snapshots, if it is there."""
        with self.pool(pool) as ioctx:
            try:
                with rbd.Image(ioctx, image) as opened:
                    for snapshot in list(opened.list_snaps()):
                        self._remove_snapshot(opened, snapshot['name'])
                rbd.RBD().remove(ioctx, image)
            except rbd.ImageNotFound:
                return

    def remove_snapshot(self, pool: str, image: str, snapshot: str) -> None:
        with self.pool(pool) as ioctx, rbd.Image(ioctx, image) as opened:
            self._remove_snapshot(opened, snapshot)

    @staticmethod
    def _remove_snapshot(opened: Any, snapshot: str) -> None:
        if opened.is_protected_snap(snapshot):
            opened.unprotect_snap(snapshot)
        opened.remove_snap(snapshot)
