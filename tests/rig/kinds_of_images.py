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

"""RBD images of the kinds that may look different to whoever asks for them."""

from collections.abc import Iterator, Sequence
import contextlib
import dataclasses
from typing import Any
import uuid

import rbd

MIB = 1 << 20
TIB = 1 << 40
#: Of objects, as Glance makes them by default.
ORDER = 23

_WITHOUT_MAP = rbd.RBD_FEATURE_LAYERING | rbd.RBD_FEATURE_EXCLUSIVE_LOCK
_WITH_MAP = (
    _WITHOUT_MAP | rbd.RBD_FEATURE_OBJECT_MAP | rbd.RBD_FEATURE_FAST_DIFF
)


@dataclasses.dataclass(frozen=True)
class Kind:
    """What there is of it.

    :ivar size: bytes, of which few are written
    :ivar object_map: whether it has one
    :ivar erasure_coded: whether its data is in a pool of such
    """

    size: int = 64 * MIB
    object_map: bool = True
    erasure_coded: bool = False


KINDS = {
    'small': Kind(),
    'of 10 TiB': Kind(size=10 * TIB),
    'without object map': Kind(object_map=False),
    'erasure-coded': Kind(erasure_coded=True),
}


@contextlib.contextmanager
def image(
    ioctx: Any, kind: Kind, data_pool: str | None, snapshots: Sequence[str]
) -> Iterator[str]:
    """Make one, with bytes in as many objects as it has snapshots.

    :param data_pool: of an erasure-coded one
    :param snapshots: their names: three
    :return: its name
    """
    name = f'kind-{uuid.uuid4()}'
    rbd.RBD().create(
        ioctx,
        name,
        kind.size,
        ORDER,
        old_format=False,
        features=_WITH_MAP if kind.object_map else _WITHOUT_MAP,
        data_pool=data_pool if kind.erasure_coded else None,
    )
    offsets = (0, 32 * MIB, kind.size - len(b'bytes'))
    try:
        with rbd.Image(ioctx, name) as opened:
            for snapshot, offset in zip(snapshots, offsets, strict=True):
                opened.write(b'bytes', offset)
                opened.create_snap(snapshot)
        yield name
    finally:
        with rbd.Image(ioctx, name) as opened:
            for found in list(opened.list_snaps()):
                opened.remove_snap(found['name'])
        rbd.RBD().remove(ioctx, name)
