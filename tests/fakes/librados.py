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

"""librados and librbd without a cluster, for the errors that they raise.

What works on a real cluster is for the functional tests to show.
"""

from collections.abc import Callable, Iterator
import dataclasses
import functools
import json
import struct
from typing import Any, Self
import uuid

import rados
import rbd


@dataclasses.dataclass
class Image:
    """An RBD image.

    :ivar snapshots: whether each, by name, is protected
    :ivar data_pool: of its data, if that is not its own
    :ivar parent: pool and image that it is a clone of
    :ivar objects: of its data: the state of each in its object map
    :ivar parts: what there is of it: its name, its place in the directory of
        the pool, its header
    :ivar orphan: whether its parent is gone
    :ivar watchers: addresses of the clients that have it open for changes
    :ivar lockers: those of them that have its lock
    :ivar mirrored: whether it is one of a pair
    """

    snapshots: dict[str, bool] = dataclasses.field(default_factory=dict)
    features: int = rbd.RBD_FEATURE_LAYERING | rbd.RBD_FEATURE_OBJECT_MAP
    size: int = 0
    order: int = 22
    objects: list[int] = dataclasses.field(default_factory=list)
    data_pool: str | None = None
    parent: 'tuple[str, str, Image] | None' = None
    id: str = dataclasses.field(
        default_factory=lambda: uuid.uuid4().hex[:12], kw_only=True
    )
    parts: frozenset[str] = frozenset(
        {'rbd_id', 'rbd_directory', 'rbd_header'}
    )
    orphan: bool = False
    watchers: list[str] = dataclasses.field(default_factory=list)
    lockers: list[str] = dataclasses.field(default_factory=list)
    mirrored: bool = False


class Librados:
    """A cluster, and all that a process has open of it.

    :ivar pools: images by name, by pool
    :ivar unreadable: pools that our user may not read
    :ivar read_only: pools that our user may not write to
    :ivar locks: of objects other than images': who has each, as client and
        cookie, and until when, by pool, object and name
    :ivar now: seconds, by which locks run out
    :ivar faults: exceptions to raise instead of doing, by operation
    :ivar answers: of methods of the OSDs' class, in place of the true ones
    :ivar features: Ceph's option rbd_default_features
    :ivar version: of librbd
    :ivar clone_format: Ceph's option rbd_default_clone_format
    :ivar least_client: the oldest release that the cluster serves
    :ivar data_pool: Ceph's option rbd_default_data_pool
    :ivar data_pools: the same of a pool, which goes before that
    :ivar without_overwrites: erasure-coded pools that are no good for RBD
    :ivar asked: objects of data that were asked for
    :ivar calls: methods of the OSDs' class, and options of pools, that were
        asked for
    :ivar monitors: addresses as in ``ceph mon dump``
    :ivar connections: what each connection that was made was told
    :ivar open: ioctx and images that are open now
    :ivar opened: images that were opened, ever
    :ivar changes: what was done to disks as a whole: the operation, and
        seconds that each of its parts may take
    """

    def __init__(self) -> None:
        self.pools: dict[str, dict[str, Image]] = {'images': {}, 'vms': {}}
        self.unreadable: set[str] = set()
        self.read_only: set[str] = {'images'}
        self.locks: dict[
            tuple[str, str], dict[str, tuple[tuple[int, str], float]]
        ] = {}
        self.now = 1000.0
        self.faults: dict[str, Exception] = {}
        self.answers: dict[str, bytes] = {}
        self.features = '61'
        self.version = (1, 16, 0)
        self.clone_format = 'auto'
        self.least_client = 'luminous'
        self.data_pool = ''
        self.data_pools: dict[str, str] = {}
        self.without_overwrites: set[str] = set()
        self.asked: list[tuple[str, str]] = []
        self.calls: list[str] = []
        self._numbers: list[str] = []
        self.monitors = ['192.0.2.1:6789/0']
        self.connections: list[dict[str, Any]] = []
        self.open = 0
        self.opened = 0
        self.shut_down = 0
        self.changes: list[tuple[str, int]] = []
        # In place of rados.Rados, rbd.RBD and rbd.Image
        self.Rados = functools.partial(Handle, self)
        self.RBD = functools.partial(Cloner, self)
        self.Image = functools.partial(OpenImage, self)

    def number(self, pool: str) -> int:
        """The number of a pool, which it keeps."""
        if pool not in self._numbers:
            self._numbers.append(pool)
        return self._numbers.index(pool) + 1

    def pool_of(self, number: int) -> str | None:
        pool = self._numbers[number - 1]
        return pool if pool in self.pools else None

    def reach(self, operation: str) -> None:
        """Raise what is to go wrong with an operation."""
        fault = self.faults.get(operation)
        if fault is not None:
            raise fault


class _Closed:
    """Something that is open within ``with``, or until closed."""

    def __init__(self, library: Librados) -> None:
        self.library = library
        library.open += 1

    def close(self) -> None:
        self.library.open -= 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


class Handle:
    """As ``rados.Rados``."""

    def __init__(self, library: Librados, rados_id: str | None) -> None:
        self._library = library
        self._conf: dict[str, str] = {}
        self._about = {'rados_id': rados_id, 'conf': self._conf}
        self._shut_down = False
        library.connections.append(self._about)

    @property
    def op_timeout(self) -> int:
        return int(self._conf.get('rados_osd_op_timeout', 0))

    def conf_read_file(self, path: str | None) -> None:
        self._library.reach('configure')
        self._about['conffile'] = path

    def conf_set(self, name: str, value: str) -> None:
        self._conf[name] = value

    def connect(self, timeout: float) -> None:
        assert timeout > 0
        assert 'conffile' in self._about
        self._library.reach('connect')

    def shutdown(self) -> None:
        assert not self._shut_down
        self._shut_down = True
        self._library.shut_down += 1

    def _require_connection(self) -> None:
        if self._shut_down:
            raise rados.RadosStateError('You cannot do that in state shutdown')

    def get_fsid(self) -> str:
        self._require_connection()
        self._library.reach('fsid')
        return 'fsid-west'

    def conf_get(self, option: str) -> str:
        return {
            'rbd_default_features': self._library.features,
            'rbd_default_data_pool': self._library.data_pool,
            'rbd_default_clone_format': self._library.clone_format,
        }[option]

    def get_instance_id(self) -> int:
        return id(self)

    def pool_reverse_lookup(self, number: int) -> str | None:
        return self._library.pool_of(number)

    def mon_command(
        self, command: str, _input: bytes, **_kwargs: Any
    ) -> tuple[int, bytes, str]:
        self._require_connection()
        fault = self._library.faults.get('monitors')
        if isinstance(fault, rados.OSError):
            # An answer, or none in time, is no exception of librados.
            return -fault.errno, b'', ''
        self._library.reach('monitors')
        if 'monitors say' in self._library.faults:
            return -13, b'', str(self._library.faults['monitors say'])
        answer: dict[str, Any]
        match json.loads(command)['prefix']:
            case 'mon dump':
                answer = {
                    'mons': [
                        {'addr': address} for address in self._library.monitors
                    ]
                }
            case 'osd get-require-min-compat-client':
                # Ceph heeds no format here.
                return 0, f'{self._library.least_client}\n'.encode(), ''
            case 'df':
                answer = {
                    'stats': {'total_bytes': 3 << 40},
                    'pools': [
                        {
                            'name': name,
                            'stats': {'max_avail': 1 << 40, 'bytes_used': 7},
                        }
                        for name in self._library.pools
                    ],
                }
        return 0, json.dumps(answer).encode(), ''

    def open_ioctx(self, pool: str) -> 'Ioctx':
        self._require_connection()
        self._library.reach('pool')
        if pool not in self._library.pools:
            raise rados.ObjectNotFound('error opening pool', errno=2)
        return Ioctx(self._library, pool, self)

    def open_ioctx2(self, number: int) -> 'Ioctx':
        pool = self._library.pool_of(number)
        if pool is None:
            raise rados.ObjectNotFound('error opening pool id', errno=2)
        return self.open_ioctx(pool)


class Ioctx(_Closed):
    """As ``rados.Ioctx``.

    :param handle: the connection that it is of
    """

    def __init__(self, library: Librados, pool: str, handle: Handle) -> None:
        super().__init__(library)
        self.pool = pool
        self._client = id(handle)
        self.op_timeout = handle.op_timeout

    def change(self, operation: str) -> None:
        """Do something to a disk as a whole."""
        self.library.reach(operation)
        self.library.changes.append((operation, self.op_timeout))

    def lock_exclusive(
        self,
        key: str,
        name: str,
        cookie: str,
        desc: str,
        duration: int,
        flags: int,
    ) -> None:
        """As the OSDs' class ``lock``; a lock makes its object, too.

        :param duration: in whole seconds, for ever if 0
        :param flags: 1 to renew what the same client has by the same cookie
        """
        assert desc.isprintable()
        self._write('lock_exclusive')
        locks = self.library.locks.setdefault((self.pool, key), {})
        ours = self._client, cookie
        holder, until = locks.get(name, (None, 0.0))
        if holder is not None and (not until or until > self.library.now):
            if holder != ours:
                raise rados.ObjectBusy(f'failed to lock {key}', errno=16)
            if not flags & 1:
                raise rados.ObjectExists(f'failed to lock {key}', errno=17)
        locks[name] = ours, duration and self.library.now + duration

    def remove_object(self, key: str) -> bool:
        self._write('remove_object')
        if key.startswith('rbd_data.'):
            self.library.asked.append((self.pool, key))
        kind, _, name = key.partition('.')
        if kind == 'rbd_id':
            self._remove_part(name, kind)
            return True
        if self.library.locks.pop((self.pool, key), None) is None:
            raise rados.ObjectNotFound(f'failed to remove {key}', errno=2)
        return True

    def _write(self, operation: str) -> None:
        self.library.reach(operation)
        if self.pool in self.library.read_only | self.library.unreadable:
            raise rados.PermissionError(f'error calling {operation}', errno=1)

    def get_pool_id(self) -> int:
        return self.library.number(self.pool)

    def alignment(self) -> int | None:
        # Of appended bytes; none where an object can be overwritten.
        return 8192 if self.pool in self.library.without_overwrites else None

    def stat(self, name: str) -> None:
        if (self.pool, name) in self.library.locks:
            self.library.reach('stat')
        else:
            self._find(name, 'stat')

    def execute(
        self, name: str, of: str, method: str, data: bytes, length: int
    ) -> tuple[int, bytes]:
        assert of == 'rbd'
        self.library.calls.append(method)
        self.library.reach(method)
        if name == 'rbd_directory':
            # Its methods are about the image that the argument names.
            name = f'rbd_directory.{_first_text(data)}'
        image = self._find(name, method)
        answer = self.library.answers.get(method)
        if answer is None:
            answer = getattr(self, f'_{method}')(image, data)
        if len(answer) > length:
            raise rados.OSError(f'failed to read {name}', errno=34)
        return len(answer), answer

    def _find(self, name: str, operation: str) -> Image:
        self.library.reach(operation)
        if self.pool in self.library.unreadable:
            raise rados.PermissionError(f'error calling {operation}', errno=1)
        kind, _, of = name.partition('.')
        if kind == 'rbd_data':
            # No image has any bytes.
            self.library.asked.append((self.pool, name))
            raise rados.ObjectNotFound(f'error calling {operation}', errno=2)
        for image_name, image in self.library.pools[self.pool].items():
            found = False
            match kind:
                case 'rbd_id' | 'rbd_directory':
                    found = of == image_name
                case 'rbd_header':
                    found = of == image.id
                case 'rbd_object_map':
                    found = of == image.id and bool(
                        image.features & rbd.RBD_FEATURE_OBJECT_MAP
                    )
            if found and kind in image.parts | {'rbd_object_map'}:
                return image
        raise rados.ObjectNotFound(f'error calling {operation}', errno=2)

    # Answers as of Ceph 16, in its encoding

    @staticmethod
    def _get_id(image: Image, _data: bytes) -> bytes:
        return struct.pack('<I', len(image.id)) + image.id.encode()

    _dir_get_id = _get_id

    def _get_data_pool(self, image: Image, _data: bytes) -> bytes:
        if image.data_pool is None:
            return struct.pack('<q', -1)
        return struct.pack('<q', self.library.number(image.data_pool))

    def _dir_remove_image(self, image: Image, data: bytes) -> bytes:
        self._write('dir_remove_image')
        assert data.endswith(image.id.encode())
        self._remove_part(_first_text(data), 'rbd_directory')
        return b''

    def _remove_part(self, name: str, part: str) -> None:
        images = self.library.pools[self.pool]
        if name not in images or part not in images[name].parts:
            raise rados.ObjectNotFound(f'failed to remove {part}', errno=2)
        images[name].parts -= {part}
        if not images[name].parts:
            del images[name]

    @staticmethod
    def _get_snapcontext(image: Image, _data: bytes) -> bytes:
        numbers = range(1, len(image.snapshots) + 1)
        return struct.pack(
            f'<QI{len(numbers)}Q',
            max(numbers, default=0),
            len(numbers),
            *reversed(numbers),
        )

    @staticmethod
    def _get_snapshot_name(image: Image, data: bytes) -> bytes:
        (number,) = struct.unpack('<Q', data)
        name: bytes = list(image.snapshots)[number - 1].encode()
        return struct.pack('<I', len(name)) + name

    @staticmethod
    def _get_size(image: Image, data: bytes) -> bytes:
        assert struct.unpack('<Q', data) == (2**64 - 2,)
        return struct.pack('<BQ', image.order, image.size)

    @staticmethod
    def _object_map_load(image: Image, data: bytes) -> bytes:
        assert not data
        count = len(image.objects)
        states = bytearray(-(-count // 4))
        for at, state in enumerate(image.objects):
            states[at // 4] |= state << 6 - 2 * (at % 4)
        head = struct.pack('<IBBIQ', 14, 1, 1, 8, count)
        return head + states + bytes(4)


def _first_text(data: bytes) -> str:
    (length,) = struct.unpack('<I', data[:4])
    return data[4 : 4 + length].decode()


class Cloner:
    """As ``rbd.RBD``."""

    def __init__(self, library: Librados) -> None:
        self._library = library

    def clone(
        self,
        parent: Ioctx,
        image: str,
        snapshot: str,
        child: Ioctx,
        name: str,
        features: int,
    ) -> None:
        self._library.reach('clone')
        if parent.pool in self._library.unreadable:
            raise rbd.PermissionError('error creating clone', errno=1)
        found = self._library.pools[parent.pool].get(image)
        if found is None or snapshot not in found.snapshots:
            raise rbd.ImageNotFound('error creating clone', errno=2)
        if not found.snapshots[snapshot]:
            raise rbd.InvalidArgument('error creating clone', errno=22)
        if child.pool in self._library.read_only:
            raise rbd.PermissionError('error creating clone', errno=1)
        if name in self._library.pools[child.pool]:
            raise rbd.ImageExists('error creating clone', errno=17)
        data_pool = (
            self._library.data_pools.get(child.pool, self._library.data_pool)
            or child.pool
        )
        if data_pool not in self._library.pools:
            raise rbd.ImageNotFound('error creating clone', errno=2)
        if data_pool in self._library.without_overwrites:
            raise rbd.InvalidArgument('error creating clone', errno=22)
        # Whether we may write there is not looked at.
        self._library.pools[child.pool][name] = Image(
            features=features,
            data_pool=None if data_pool == child.pool else data_pool,
            parent=(parent.pool, image, found),
        )
        child.change('clone')

    def config_get(self, ioctx: Ioctx, option: str) -> str:
        assert option == 'rbd_default_data_pool'
        self._library.calls.append('config_get')
        self._library.reach('config_get')
        if ioctx.pool in self._library.unreadable:
            raise rbd.PermissionError('error getting config', errno=1)
        try:
            return self._library.data_pools[ioctx.pool]
        except KeyError:
            raise KeyError(f'no config {option} for pool') from None

    def list(self, ioctx: Ioctx) -> list[str]:
        self._library.reach('list')
        if ioctx.pool in self._library.unreadable:
            raise rbd.PermissionError('error listing images', errno=1)
        return list(self._library.pools[ioctx.pool])

    def remove(self, ioctx: Ioctx, name: str) -> None:
        images = self._library.pools[ioctx.pool]
        if name not in images:
            raise rbd.ImageNotFound('error removing image', errno=2)
        image = images[name]
        assert 'rbd_header' in image.parts, 'librbd would open that'
        if ioctx.pool in self._library.read_only:
            raise rbd.PermissionError('error removing image', errno=1)
        if image.watchers:
            raise rbd.ImageBusy('error removing image', errno=16)
        if image.snapshots:
            raise rbd.ImageHasSnapshots('error removing image', errno=39)
        ioctx.change('remove')
        del images[name]

    def version(self) -> tuple[int, int, int]:
        return self._library.version

    def rename(self, ioctx: Ioctx, name: str, to: str) -> None:
        self._library.reach('rename')
        images = self._library.pools[ioctx.pool]
        if name not in images:
            raise rbd.ImageNotFound('error renaming image', errno=2)
        if to in images:
            raise rbd.ImageExists('error renaming image', errno=17)
        images[to] = images.pop(name)


class OpenImage(_Closed):
    """As ``rbd.Image``."""

    def __init__(
        self,
        library: Librados,
        ioctx: Ioctx,
        name: str,
        snapshot: str | None = None,
        read_only: bool = False,
    ) -> None:
        library.reach('open')
        if ioctx.pool in library.unreadable:
            raise rbd.PermissionError('error opening image', errno=1)
        image = library.pools[ioctx.pool].get(name)
        if (
            image is None
            or image.orphan
            or not {'rbd_id', 'rbd_header'} <= image.parts
            or snapshot not in (None, *image.snapshots)
        ):
            raise rbd.ImageNotFound('error opening image', errno=2)
        super().__init__(library)
        library.opened += 1
        self._pool = ioctx.pool
        self._image = image
        self._ioctx = ioctx
        self._read_only = read_only

    def data_pool_id(self) -> int:
        return self.library.number(self._image.data_pool or self._pool)

    def parent_info(self) -> tuple[str, str, str]:
        self.library.reach('parent_info')
        if self._image.parent is None:
            raise rbd.ImageNotFound('error getting parent info', errno=2)
        pool, image, _ = self._image.parent
        return pool, image, 'snap'

    def parent_id(self) -> str:
        assert self._image.parent is not None
        return self._image.parent[2].id

    def resize(self, size: int) -> None:
        assert not self._read_only
        self.library.reach('resize')
        self._image.size = size

    def size(self) -> int:
        self.library.reach('size')
        return self._image.size

    def watchers_list(self) -> Iterator[dict[str, Any]]:
        assert self._read_only, 'its own watch would be among them'
        return iter(
            [
                {'addr': address, 'id': _client(address), 'cookie': 1}
                for address in self._image.watchers
            ]
        )

    def features(self) -> int:
        return self._image.features

    def list_lockers(self) -> dict[str, Any] | list[Any]:
        if not self._image.lockers:
            return []
        return {
            'tag': 'internal',
            'exclusive': True,
            'lockers': [
                (f'client.{_client(address)}', 'auto 1', address)
                for address in self._image.lockers
            ],
        }

    def mirror_image_get_info(self) -> dict[str, Any]:
        state = (
            rbd.RBD_MIRROR_IMAGE_ENABLED
            if self._image.mirrored
            else rbd.RBD_MIRROR_IMAGE_DISABLED
        )
        return {'global_id': '', 'state': state, 'primary': True}

    def diff_iterate(
        self,
        offset: int,
        length: int,
        from_snapshot: str | None,
        note: Callable[[int, int, bool], object],
        include_parent: bool = True,
        whole_object: bool = False,
    ) -> None:
        assert (from_snapshot, include_parent) == (None, False)
        assert whole_object
        self.library.reach('diff')
        assert offset + length <= self._image.size
        step = 1 << self._image.order
        for number, state in enumerate(self._image.objects):
            begin = number * step
            if state & 1 and offset <= begin < offset + length:
                note(begin, min(step, self._image.size - begin), True)

    def flatten(self) -> None:
        self._change('flatten')

    def list_snaps(self) -> list[dict[str, Any]]:
        found = [
            {'name': name, 'namespace': rbd.RBD_SNAP_NAMESPACE_TYPE_USER}
            for name in self._image.snapshots
        ]
        if self._image.mirrored:
            mirror = rbd.RBD_SNAP_NAMESPACE_TYPE_MIRROR
            found.append({'name': '.mirror.primary.1', 'namespace': mirror})
        return found

    def is_protected_snap(self, name: str) -> bool:
        return self._image.snapshots[name]

    def create_snap(self, name: str) -> None:
        if name in self._image.snapshots:
            raise rbd.ImageExists('error creating snapshot', errno=17)
        self._change('create_snap')
        self._image.snapshots[name] = False

    def protect_snap(self, name: str) -> None:
        self._change('protect_snap')
        self._image.snapshots[name] = True

    def unprotect_snap(self, name: str) -> None:
        self._change('unprotect_snap')
        self._image.snapshots[name] = False

    def remove_snap(self, name: str) -> None:
        assert not self._image.snapshots[name]
        self._change('remove_snap')
        del self._image.snapshots[name]

    def rollback_to_snap(self, name: str) -> None:
        assert name in self._image.snapshots
        self._change('rollback_to_snap')

    def _change(self, operation: str) -> None:
        assert not self._read_only
        self._ioctx.change(operation)


def _client(address: str) -> int:
    """The number that the cluster has for a client."""
    return int(address.rpartition('/')[2])
