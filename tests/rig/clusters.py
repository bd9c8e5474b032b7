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

import base64
from collections.abc import Collection, Iterator
import configparser
import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import struct
import subprocess
import time
from typing import Any

import rados
import rbd
import tenacity

from lab import layout
from tests.rig import admin_socket
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


def write_key(conf: str | pathlib.Path, user: str, key: str) -> None:
    """Put a cephx user's key beside a ceph.conf, into ``<conf>.keyring``."""
    pathlib.Path(f'{conf}.keyring').write_text(
        f'[client.{user}]\nkey = {key}\n'
    )


def random_key() -> str:
    """A key that nobody has, of the type that all releases know."""
    secret = os.urandom(16)
    # Its type, and when it was made: seconds, and a part of one.
    head = struct.pack('<HIIH', 1, int(time.time()), 0, len(secret))
    return base64.b64encode(head + secret).decode()


def key_in(keyring: pathlib.Path) -> str:
    """The key of the one user in a keyring."""
    conf = configparser.ConfigParser(interpolation=None)
    conf.read(keyring)
    (user,) = conf.sections()
    return conf[user]['key']


class Cluster:
    """RBD images of one site, over a connection as client.admin.

    A context: the connection is closed with it.
    """

    def __init__(self, site: layout.Site) -> None:
        self.fsid = site.fsid
        self._conf = site.ceph_conf
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

    @property
    def connection(self) -> Any:
        """What librados itself has of it."""
        return self._rados

    def images(self, pool: str) -> set[str]:
        """The names of a pool's RBD images."""
        with self.pool(pool) as ioctx:
            return set(rbd.RBD().list(ioctx))

    def trash(self, pool: str) -> list[str]:
        """The names that the RBD images in a pool's trash have had."""
        with self.pool(pool) as ioctx:
            return [found['name'] for found in rbd.RBD().trash_list(ioctx)]

    def empty_trash(self, pool: str) -> None:
        """Remove from a pool's trash what nothing depends on."""
        with (
            self.pool(pool) as ioctx,
            contextlib.suppress(rbd.ImageHasSnapshots),
        ):
            rbd.RBD().trash_purge(ioctx)

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

    def allocated(self, pool: str, image: str, *, parents: bool = True) -> int:
        """Bytes of an image that have been written.

        :param parents: whether to count what it has of its parent
        """
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
                    include_parent=parents,
                    whole_object=True,
                )
        return sum(extents)

    @staticmethod
    def can_read(conf: str, user: str, disk: str) -> bool:
        """Whether a cephx user may read a disk's first bytes, as a guest."""
        with (
            rados.Rados(conffile=conf, rados_id=user) as cluster,
            cluster.open_ioctx('vms') as ioctx,
            rbd.Image(ioctx, disk, read_only=True) as opened,
        ):
            try:
                opened.read(0, 512)
            except rbd.PermissionError:
                return False
            return True

    def clones(self, image_id: str) -> list[str]:
        """The disks that are clones of a Glance image."""
        with self.pool('images') as ioctx:
            try:
                with rbd.Image(ioctx, image_id, read_only=True) as it:
                    # To open it at a snapshot that is not there has ended
                    # the process (librbd 16, a segmentation fault).
                    if all(of['name'] != 'snap' for of in it.list_snaps()):
                        return []
                    it.set_snap('snap')
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
        self,
        pool: str,
        image: str,
        snapshot: str | None = None,
        size: int | None = None,
    ) -> str:
        """SHA-256 of an image's bytes.

        :param size: of them, from the first; None for all
        """
        digest = hashlib.sha256()
        with (
            self.pool(pool) as ioctx,
            rbd.Image(ioctx, image, snapshot, read_only=True) as opened,
        ):
            size = opened.size() if size is None else size
            step = 8 << 20
            for offset in range(0, size, step):
                digest.update(opened.read(offset, min(step, size - offset)))
        return digest.hexdigest()

    def command(self, prefix: str, **arguments: object) -> Any:
        """Give the monitors a command, as the program ``ceph`` does."""
        return self._command(b'', prefix=prefix, **arguments)

    def _command(self, given: bytes, **arguments: object) -> Any:
        """The same, with what the program reads from a file."""
        code, answer, error = self._rados.mon_command(
            json.dumps({'format': 'json', **arguments}), given
        )
        assert code == 0, error
        return json.loads(answer or 'null')

    def stored(self, pool: str) -> int:
        """Bytes of data in a pool, as its quota counts them."""
        (stats,) = (
            found['stats']
            for found in self.command('df')['pools']
            if found['name'] == pool
        )
        return int(stats['stored'])

    def used(self) -> int:
        """Bytes that the cluster's OSD has allocated for data."""
        return self._count('bluestore', 'bluestore_allocated')

    def operations(self) -> int:
        """How many operations of clients the cluster's OSD has done."""
        return self._count('osd', 'op')

    def received(self) -> int:
        """How many bytes clients have sent to the cluster's OSD."""
        return self._count('osd', 'op_in_bytes')

    def sent(self) -> int:
        """How many bytes clients have got from the cluster's OSD."""
        return self._count('osd', 'op_out_bytes')

    def _count(self, logger: str, counter: str) -> int:
        command = {
            'prefix': 'perf dump',
            'format': 'json',
            'logger': logger,
            'counter': counter,
        }
        code, answer, error = self._rados.osd_command(
            0, json.dumps(command), b''
        )
        assert code == 0, error
        return int(json.loads(answer)[logger][counter])

    def clients(self, user: str) -> list[str]:
        """The addresses of a cephx user's connections."""
        conf = configparser.ConfigParser(interpolation=None)
        conf.read(self._conf)
        # Each command of librados to a monitor by its name costs the process
        # memory for good: 12 KiB with librados 16, 132 KiB with 20.
        sessions = admin_socket.ask(conf['mon']['admin_socket'], 'sessions')
        return [
            f'{address["addr"]}/{address["nonce"]}'
            for session in sessions
            if session['entity_name'] == f'client.{user}'
            for address in session['addrs']['addrvec']
        ]

    def blocklist(self, user: str, but: Collection[str] = ()) -> None:
        """Shut out all connections that a cephx user has.

        :param but: addresses of those that stay
        """
        clients = set(self.clients(user)) - set(but)
        assert clients, f'{user} has no connection'
        for address in clients:
            self.command('osd blocklist', blocklistop='add', addr=address)

    def fill(self) -> None:
        """Have it believe that it is full."""
        for ratio in ('nearfull', 'backfillfull', 'full'):
            self.command(f'osd set-{ratio}-ratio', ratio=0.0001)

    def empty(self) -> None:
        """Undo :meth:`fill`."""
        for ratio, share in (
            ('full', 0.95),
            ('backfillfull', 0.9),
            ('nearfull', 0.85),
        ):
            self.command(f'osd set-{ratio}-ratio', ratio=share)

    def make_pool(self, pool: str) -> None:
        """Make a pool for RBD."""
        self.command('osd pool create', pool=pool)
        with self.pool(pool) as ioctx:
            rbd.RBD().pool_init(ioctx, force=True)

    def remove_pool(self, pool: str) -> None:
        allowed = {'who': 'mon', 'name': 'mon_allow_pool_delete'}
        self.command('config set', **allowed, value='true')
        self.command(
            'osd pool delete',
            pool=pool,
            pool2=pool,
            yes_i_really_really_mean_it=True,
        )
        self.command('config rm', **allowed)

    def data_pool(self, pool: str, image: str) -> str:
        """The pool that an image's data is in."""
        with (
            self.pool(pool) as ioctx,
            rbd.Image(ioctx, image, read_only=True) as opened,
        ):
            name: str = self._rados.pool_reverse_lookup(opened.data_pool_id())
            return name

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

    def grant(self, name: str, osd_caps: str) -> None:
        """Give a cephx user other capabilities."""
        caps = ['osd', osd_caps, 'mon', 'profile rbd']
        self.command('auth caps', entity=f'client.{name}', caps=caps)

    def set_caps(self, name: str, caps: dict[str, str]) -> None:
        """Change what a cephx user may do, from its next connection on."""
        self.command(
            'auth caps',
            entity=f'client.{name}',
            caps=[word for pair in caps.items() for word in pair],
        )

    def set_key(self, name: str, key: str) -> None:
        """Have a cephx user be known by another key from now on."""
        caps = ''.join(
            f'caps {kind} = "{value}"\n'
            for kind, value in self.caps(name).items()
        )
        keyring = f'[client.{name}]\nkey = {key}\n{caps}'
        self._command(keyring.encode(), prefix='auth import')

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

    def clone(self, image: str, disk: str, pool: str = 'images') -> None:
        """Make a disk in Nova's pool a clone of an image's ``snap``."""
        with self.pool(pool) as images, self.pool('vms') as disks:
            rbd.RBD().clone(images, image, 'snap', disks, disk)

    def write(
        self, pool: str, image: str, content: bytes, offset: int = 0
    ) -> None:
        """Write to an RBD image, as a guest does."""
        with self.pool(pool) as ioctx, rbd.Image(ioctx, image) as opened:
            opened.write(content, offset)

    def snapshots(self, disk: str, pool: str = 'vms') -> dict[str, bool]:
        """A disk's snapshots, by name: whether each is protected."""
        with (
            self.pool(pool) as ioctx,
            rbd.Image(ioctx, disk, read_only=True) as image,
        ):
            return {
                found['name']: image.is_protected_snap(found['name'])
                for found in image.list_snaps()
            }

    def read(
        self, disk: str, length: int, offset: int = 0, *, pool: str = 'vms'
    ) -> bytes:
        with (
            self.pool(pool) as ioctx,
            rbd.Image(ioctx, disk, read_only=True) as image,
        ):
            return bytes(image.read(offset, length))

    @contextlib.contextmanager
    def opened(self, disk: str) -> Iterator[Any]:
        """Have a disk in Nova's pool open for changes, as a guest has it."""
        with self.pool('vms') as ioctx, rbd.Image(ioctx, disk) as image:
            yield image

    def leave_name(self, disk: str, *known_to: str) -> None:
        """Leave no more of an empty disk in Nova's pool than its name.

        :param known_to: which objects have it: ``rbd_id``, the pool's
            ``rbd_directory``, both or none
        """
        with self.opened(disk) as image:
            image_id: str = image.id()
        with self.pool('vms') as ioctx:
            ioctx.remove_object(f'rbd_header.{image_id}')
            with contextlib.suppress(rados.ObjectNotFound):
                ioctx.remove_object(f'rbd_object_map.{image_id}')
            if 'rbd_id' not in known_to:
                ioctx.remove_object(f'rbd_id.{disk}')
            if 'rbd_directory' not in known_to:
                pair = b''.join(
                    struct.pack('<I', len(text)) + text
                    for text in (disk.encode(), image_id.encode())
                )
                ioctx.execute('rbd_directory', 'rbd', 'dir_remove_image', pair)

    def has_part(self, disk: str, part: str) -> bool:
        """Whether a disk in Nova's pool has its ``rbd_id`` or ``rbd_header``.

        One question for the first, two for the second.
        """
        if part == 'rbd_id':
            return self.has_object('vms', f'rbd_id.{disk}')
        with self.pool('vms') as ioctx:
            try:
                _, answer = ioctx.execute(
                    f'rbd_id.{disk}', 'rbd', 'get_id', b''
                )
            except rados.ObjectNotFound:
                return False
        return self.has_object('vms', f'{part}.{answer[4:].decode()}')

    def is_watched(self, disk: str) -> bool:
        """Whether a client has a disk in Nova's pool open for changes."""
        return bool(self.watchers(disk))

    def watchers(self, disk: str) -> list[str]:
        """The addresses of the clients that have, as ``rbd status``."""
        with self.pool('vms') as ioctx:
            try:
                with rbd.Image(ioctx, disk, read_only=True) as image:
                    return [found['addr'] for found in image.watchers_list()]
            except rbd.ImageNotFound:
                return []

    def has_object(self, pool: str, name: str) -> bool:
        with self.pool(pool) as ioctx:
            try:
                ioctx.stat(name)
            except rados.ObjectNotFound:
                return False
            return True

    def create_snapshot(self, pool: str, image: str, snapshot: str) -> None:
        """Make a snapshot to clone from, as Glance does."""
        with self.pool(pool) as ioctx, rbd.Image(ioctx, image) as opened:
            opened.create_snap(snapshot)
            opened.protect_snap(snapshot)

    def run_rbd(self, *words: str) -> None:
        """Run the program rbd, as Glance's user."""
        subprocess.run(
            ['rbd', f'--conf={self._conf}', '--id=glance', *words],  # noqa: S607
            check=True,
            capture_output=True,
            timeout=60,
        )

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
            with (
                contextlib.suppress(rbd.ImageNotFound),
                rbd.Image(ioctx, image) as opened,
            ):
                for snapshot in list(opened.list_snaps()):
                    self._remove_snapshot(opened, snapshot['name'])
            # What has no header cannot be opened, but removed.
            with contextlib.suppress(rbd.ImageNotFound):
                rbd.RBD().remove(ioctx, image)

    def remove_snapshot(self, pool: str, image: str, snapshot: str) -> None:
        with self.pool(pool) as ioctx, rbd.Image(ioctx, image) as opened:
            self._remove_snapshot(opened, snapshot)

    @staticmethod
    def _remove_snapshot(opened: Any, snapshot: str) -> None:
        if opened.is_protected_snap(snapshot):
            opened.unprotect_snap(snapshot)
        opened.remove_snap(snapshot)
