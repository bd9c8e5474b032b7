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

"""Measure a look for an image: ``python -m benchmarks.looks``.

By the OSDs' class rbd, as the driver looks, and by librbd, which would tell
the same: whether Glance's snapshot is there and, until it is, how many objects
are. Each in turn, so that a busy moment of the machine meets both. Needs the
lab, up; as root. Prints a line for each kind of image.
"""

from collections.abc import Callable
import contextlib
import statistics
import time
from typing import Any

import rados
import rbd

from lab import ceph_root
from lab import layout
from lab import settings
from nova_rbd_multistore import arrival
from nova_rbd_multistore import ceph
from tests.rig import clusters
from tests.rig import erasure_coding
from tests.rig import kinds_of_images

#: Looks of each kind, or as many as fit into some seconds.
TIMES, SECONDS = 200, 10
POOL = 'images'
_OBJECT = 1 << kinds_of_images.ORDER
#: Without Glance's, so that objects are counted; and with it.
_ARRIVING = ('first', 'second', 'third')
_WHOLE = ('first', 'second', arrival.GLANCE_SNAPSHOT)


def _by_librbd(ioctx: Any, name: str) -> arrival.Arrival:
    """What :meth:`nova_rbd_multistore.ceph.Cluster.arrival` tells."""
    with rbd.Image(ioctx, name, read_only=True) as image:
        for snapshot in image.list_snaps():
            if snapshot['name'] == arrival.GLANCE_SNAPSHOT:
                return arrival.Arrival(exists=True, complete=True)
        if not image.features() & rbd.RBD_FEATURE_OBJECT_MAP:
            return arrival.Arrival(exists=True)
        size, objects = image.size(), 0

        def count(_offset: int, length: int, exists: bool) -> None:
            nonlocal objects
            objects += -(-length // _OBJECT) if exists else 0

        image.diff_iterate(0, size, None, count, whole_object=True)
    return arrival.Arrival(exists=True, allocated=min(objects * _OBJECT, size))


def _milliseconds(look: Callable[[], object]) -> float:
    began = time.perf_counter()
    look()
    return (time.perf_counter() - began) * 1000


def _measure(
    cluster: ceph.Cluster, ioctx: Any, name: str
) -> tuple[float, ...]:
    """Milliseconds by the class and by librbd, half of all looks within."""
    assert cluster.arrival(POOL, name) == _by_librbd(ioctx, name)
    pairs: list[tuple[float, float]] = []
    until = time.monotonic() + SECONDS
    while len(pairs) < TIMES and (not pairs or time.monotonic() < until):
        pairs.append(
            (
                _milliseconds(lambda: cluster.arrival(POOL, name)),
                _milliseconds(lambda: _by_librbd(ioctx, name)),
            )
        )
    return tuple(statistics.median(each) for each in zip(*pairs, strict=True))


def main() -> None:
    where = layout.Layout.from_environment()
    site = where.sites[1]
    chosen = settings.Settings.load(where)
    inside = ceph_root.inside(where) if chosen.ceph_20 else ()
    conf = str(site.ceph_conf)
    nova = ceph.Cluster(conf, 'nova', 20, {})
    with contextlib.ExitStack() as stack:
        west = stack.enter_context(clusters.Cluster(site))
        data_pool = stack.enter_context(
            erasure_coding.pool(west.connection, inside, where.tests)
        )
        handle = stack.enter_context(
            rados.Rados(conffile=conf, rados_id='nova')
        )
        ioctx = stack.enter_context(handle.open_ioctx(POOL))
        versions = west.command('version')['version'].split()[2]
        client = '.'.join(map(str, ceph.librbd_version()))
        print(f'Ceph {versions}, librbd {client}: class, librbd (ms)')
        for word, kind in kinds_of_images.KINDS.items():
            for state, snapshots in (
                ('arriving', _ARRIVING),
                ('whole', _WHOLE),
            ):
                with (
                    west.pool(POOL) as images,
                    kinds_of_images.image(
                        images, kind, data_pool, snapshots
                    ) as name,
                ):
                    figures = _measure(nova, ioctx, name)
                print(
                    f'{word:20} {state:9}',
                    *(f'{each:8.2f}' for each in figures),
                    flush=True,
                )
    nova.close()


if __name__ == '__main__':
    main()
