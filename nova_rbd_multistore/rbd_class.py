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

"""What the OSDs' object class ``rbd`` answers, in Ceph's encoding.

An RBD image is a few RADOS objects, and librbd opens it by calling methods
of that class on them. OSDs serve the librbd of other releases too, so these
methods and their answers stay as they are (``get_snapshot_name`` is one that
only older ones call): see ``src/cls/rbd/cls_rbd.cc`` of Ceph, and its
developer guide for the encoding, little-endian throughout.

Why not librbd itself: it opens the image first. Milliseconds of one look by
this class and by librbd, the median of up to 200 that took turns
(``benchmarks.looks``, on a busy machine); all images but the first arrive::

    cluster of              16.2.15       18.2.7       20.2.4       20.2.4
    client of               16.2.15       18.2.7      16.2.15       20.2.4
    whole, 64 MiB         0.9    5.8   1.3    6.1   0.7    4.2   1.3   10.2
    64 MiB                1.9    8.5   2.6   11.8   1.7    5.8   3.8   18.2
    10 TiB               14.1   3051   6.9    394   5.0   1202   6.2    166
    no object map         2.4    7.0   2.3    8.9   1.8    5.9   2.7   11.0
    erasure-coded         2.2    8.3   2.2    6.8   1.7    6.5   5.2   23.7

A boot looks twice a second, on each host that waits, and up to ten times when
the last bytes are near. Of newer clients librbd is quicker at large images,
and as far behind at others: so the class stays, three to eight times as quick,
and more the larger an image is. An image in the trash has
no name, so nothing is looked up of it.

Each function raises ValueError for an answer that it does not understand.
"""

import dataclasses
import struct

#: In place of a snapshot's number: the image itself (``CEPH_NOSNAP``).
NO_SNAPSHOT = (1 << 64) - 2

_U32 = struct.Struct('<I')
_U64 = struct.Struct('<Q')
_I64 = struct.Struct('<q')
_SNAPSHOTS = struct.Struct('<QI')
_SIZE = struct.Struct('<BQ')
# Length of the head, its version, oldest version that can read it, length of
# what follows, number of objects.
_OBJECT_MAP = struct.Struct('<IBBIQ')
_OBJECT_MAP_HEAD = _OBJECT_MAP.size - _U32.size
_OBJECT_MAP_VERSION = 1
_OBJECTS_PER_BYTE = 4
#: The lower of an object's two bits: it exists, unchanged (3) or not (1)
#: since the last snapshot.
_EXISTS = b'\x55'


@dataclasses.dataclass(frozen=True, slots=True)
class Size:
    """The size of an image, in bytes.

    :ivar whole: size of the image
    :ivar of_object: size of each object of its data, but for the last
    """

    whole: int
    of_object: int

    @property
    def object_map_length(self) -> int:
        """The most bytes that its object map takes, checksums and all."""
        objects = -(-self.whole // self.of_object)
        states = -(-objects // _OBJECTS_PER_BYTE)
        return 64 + states + states // 512


def number(value: int) -> bytes:
    """An argument: the number of a snapshot."""
    return _U64.pack(value)


def name(value: str) -> bytes:
    """An argument: the name of an image, or its id."""
    encoded = value.encode()
    return _U32.pack(len(encoded)) + encoded


def first_object(pool: int, image_id: str) -> str:
    """Name of the first object of an image's data in a pool of its own.

    :param pool: the number of the image's pool
    """
    return f'rbd_data.{pool}.{image_id}.{0:016x}'


def text(answer: bytes) -> str:
    """Answer of ``get_id``, ``dir_get_id`` and ``get_snapshot_name``."""
    (length,) = _unpack(_U32, answer)
    return _part(answer, _U32.size, length).decode()


def snapshots(answer: bytes) -> tuple[int, ...]:
    """Answer of ``get_snapcontext``: the numbers of the image's snapshots."""
    _, count = _unpack(_SNAPSHOTS, answer)
    numbers = _part(answer, _SNAPSHOTS.size, count * _U64.size)
    return tuple(each for (each,) in _U64.iter_unpack(numbers))


def size(answer: bytes) -> Size:
    """Answer of ``get_size``."""
    order, whole = _unpack(_SIZE, answer)
    # Ceph's own limits for an image.
    if not 12 <= order <= 25:
        raise ValueError(f'objects of 2^{order} bytes')
    return Size(whole, 1 << order)


def data_pool(answer: bytes) -> int | None:
    """Answer of ``get_data_pool``: the number of the pool of the image's data.

    None if that is the image's own pool.
    """
    (pool,) = _unpack(_I64, answer)
    return None if pool < 0 else pool


def written_objects(answer: bytes) -> int:
    """Answer of ``object_map_load``: how many objects exist."""
    head, _, compatible, _, objects = _unpack(_OBJECT_MAP, answer)
    if head < _OBJECT_MAP_HEAD or compatible > _OBJECT_MAP_VERSION:
        raise ValueError(f'an object map of version {compatible}')
    length = -(-objects // _OBJECTS_PER_BYTE)
    states = _part(answer, _U32.size + head, length)
    exist = int.from_bytes(states) & int.from_bytes(_EXISTS * len(states))
    return exist.bit_count()


def _unpack(structure: struct.Struct, answer: bytes) -> tuple[int, ...]:
    return structure.unpack(_part(answer, 0, structure.size))


def _part(answer: bytes, begin: int, length: int) -> bytes:
    part = answer[begin : begin + length]
    if len(part) != length:
        raise ValueError(f'{len(answer)} bytes, where more were announced')
    return part
