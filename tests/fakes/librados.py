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
    :ivar objects: of its data: the state of each in its object map
    """

    snapshots: dict[str, bool] = dataclasses.field(default_factory=dict)
    features: int = rbd.RBD_FEATURE_LAYERING | rbd.RBD_FEATURE_OBJECT_MAP
    size: int = 0
    order: int = 22
    objects: list[int] = dataclasses.field(default_factory=list)
    id: str = dataclasses.field(
        default_factory=lambda: uuid.uuid4().hex[:12], kw_only=True
    )


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
    :ivar monitors: addresses as in ``ceph mon dump``
    :ivar connections: arguments of each connection that was made
    :ivar open: ioctx and images that are open now
    :ivar opened: images that were opened, ever
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
        self.monitors = ['192.0.2.1:6789/0']
        self.connections: list[dict[str, Any]] = []
        self.open = 0
        self.opened = 0
        self.shut_down = 0
        # In place of rados.Rados, rbd.RBD and rbd.Image
        self.Rados = Handles(Handle, self)
        self.RBD = functools.partial(Cloner, self)
        self.Image = functools.partial(OpenImage, self)

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


class Handles(functools.partial['Handle']):
    """As the class ``rados.Rados``."""

    DEFAULT_CONF_FILES = rados.Rados.DEFAULT_CONF_FILES


class Handle:
    """As ``rados.Rados``."""

    def __init__(self, library: Librados, **arguments: Any) -> None:
        library.reach('configure')
        library.connections.append(arguments)
        self._library = library

    def connect(self, timeout: float) -> None:
        assert timeout > 0
        self._library.reach('connect')

    def shutdown(self) -> None:
        self._library.shut_down += 1

    def get_fsid(self) -> str:
        self._library.reach('fsid')
        return 'fsid-west'

    def conf_get(self, option: str) -> str:
        assert option == 'rbd_default_features'
        return self._library.features

    def mon_command(
        self, command: str, _input: bytes, **_kwargs: Any
    ) -> tuple[int, bytes, str]:
        assert json.loads(command)['prefix'] == 'mon dump'
        self._library.reach('monitors')
        if 'monitors say' in self._library.faults:
            return -13, b'', str(self._library.faults['monitors say'])
        mons = [{'addr': address} for address in self._library.monitors]
        return 0, json.dumps({'mons': mons}).encode(), ''

    def open_ioctx(self, pool: str) -> 'Ioctx':
        self._library.reach('pool')
        if pool not in self._library.pools:
            raise rados.ObjectNotFound('error opening pool', errno=2)
        return Ioctx(self._library, pool, id(self))


class Ioctx(_Closed):
    """As ``rados.Ioctx``.

    :param client: whose connection it is of
    """

    def __init__(self, library: Librados, pool: str, client: int) -> None:
        super().__init__(library)
        self.pool = pool
        self._client = client

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
        if self.library.locks.pop((self.pool, key), None) is None:
            raise rados.ObjectNotFound(f'failed to remove {key}', errno=2)
        return True

    def _write(self, operation: str) -> None:
        self.library.reach(operation)
        if self.pool in self.library.read_only:
            raise rados.PermissionError(f'error calling {operation}', errno=1)

    def stat(self, name: str) -> None:
        self._find(name, 'stat')

    def execute(
        self, name: str, of: str, method: str, data: bytes, length: int
    ) -> tuple[int, bytes]:
        assert of == 'rbd'
        self.library.reach(method)
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
        for image_name, image in self.library.pools[self.pool].items():
            match kind:
                case 'rbd_id':
                    found = of == image_name
                case 'rbd_header':
                    found = of == image.id
                case 'rbd_object_map':
                    found = of == image.id and bool(
                        image.features & rbd.RBD_FEATURE_OBJECT_MAP
                    )
            if found:
                return image
        raise rados.ObjectNotFound(f'error calling {operation}', errno=2)

    # Answers as of Ceph 16, in its encoding

    @staticmethod
    def _get_id(image: Image, _data: bytes) -> bytes:
        return struct.pack('<I', len(image.id)) + image.id.encode()

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
        self._library.pools[child.pool][name] = Image(features=features)


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
        if image is None or snapshot not in (None, *image.snapshots):
            raise rbd.ImageNotFound('error opening image', errno=2)
        super().__init__(library)
        library.opened += 1
        self._image = image
        self._read_only = read_only

    def resize(self, size: int) -> None:
        assert not self._read_only
        self._image.size = size

    def size(self) -> int:
        return self._image.size
