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

"""Copies between kinds of stores, Cinder's among them.

One glance-api, with Glance's defaults, copies images of two sizes along each
route. Needs a lab ``--with cinder``.
"""

import contextlib
import pathlib
import tempfile
import time
from typing import Any

from benchmarks import ground as grounds
from benchmarks import machine
from benchmarks.copies import copier
from benchmarks.copies import traffic
from lab import cloud
from tests.rig import apis
from tests.rig import clusters
from tests.rig import polling
from tests.rig import volumes

#: MiB of an image, of which a quarter is data.
SIZES, QUICK_SIZES = (256, 1024), (16, 32)

ROUNDS = 3

#: Of Cinder's stores, fast is in the cluster of east, slow in that of west.
ROUTES = (
    traffic.Route('file', 'west', 'file to rbd'),
    traffic.Route('east', 'west', 'rbd to rbd'),
    traffic.Route('fast', 'west', 'cinder to rbd'),
    traffic.Route('slow', 'west', 'cinder to rbd, in one cluster'),
    traffic.Route('east', 'slow', 'rbd to cinder'),
)


class Copies:
    """Has a glance-api copy, and takes the copies away again."""

    def __init__(
        self,
        ground: grounds.Ground,
        api: apis.GlanceApi,
        at: list[clusters.Cluster],
    ) -> None:
        self._ground = ground
        self._api = api
        self._clusters = at
        admin = cloud.connect('admin', ground.where)
        self._volumes = volumes.Volumes(admin)

    def measure(self, image: str, route: traffic.Route) -> traffic.Copy:
        allocated = self._allocated()
        read, written = self._passed()
        seconds = self._ground.copy(image, self._api, route.target)
        read_then, written_then = self._passed()
        copy = traffic.Copy(
            seconds,
            read_then - read,
            written_then - written,
            self._allocated() - allocated,
        )
        self._drop(image, route.target)
        return copy

    def _drop(self, image: str, store: str) -> None:
        """It is not there if the copy failed, and then this fails."""
        before = len(self._volumes.of(image))
        self._ground.drop_copy(image, store)
        if store == 'slow':
            # Cinder deletes later what it is told to delete.
            polling.until(
                lambda: len(self._volumes.of(image)) < before,
                f'the volume of {image} is gone',
            )

    def _passed(self) -> tuple[float, float]:
        """MiB that the clusters have sent and received."""
        return (
            sum(cluster.sent() for cluster in self._clusters) / copier.MIB,
            sum(cluster.received() for cluster in self._clusters) / copier.MIB,
        )

    def _allocated(self) -> float:
        """MiB on the clusters' disks."""
        return sum(map(copier.settled, self._clusters)) / copier.MIB


def _glance(
    stack: contextlib.ExitStack, ground: grounds.Ground, where: pathlib.Path
) -> apis.GlanceApi:
    """One that attaches Cinder's volumes, in one process."""
    made = apis.GlanceApi(
        ground.where.glance_apis[0].directory,
        where / 'glance',
        {'DEFAULT': grounds.LOGGING},
        wrapper=('sh', str(ground.where.with_cinder_keyrings)),
    )
    stack.callback(made.kill)
    made.start()
    return made


def measure(quick: bool) -> dict[str, Any]:
    """What :data:`benchmarks.copies.traffic.SHEET` shows.

    :param quick: whether one copy of small images will do
    """
    facts = machine.facts()
    began = time.monotonic()
    sizes = QUICK_SIZES if quick else SIZES
    found: dict[str, dict[str, list[dict[str, float]]]] = {
        route.title: {str(size): [] for size in sizes} for route in ROUTES
    }
    with contextlib.ExitStack() as stack:
        where = pathlib.Path(
            stack.enter_context(tempfile.TemporaryDirectory('-bench'))
        )
        ground = stack.enter_context(grounds.Ground())
        copies = Copies(
            ground,
            _glance(stack, ground, where),
            [
                stack.enter_context(clusters.Cluster(site))
                for site in ground.where.sites
            ],
        )
        images: dict[tuple[str, int], str] = {}
        for size in sizes:
            path = where / f'image-{size}'
            copier.write_image(path, size)
            for store in dict.fromkeys(route.source for route in ROUTES):
                images[store, size] = ground.send(path, store)
        # The first time takes longer.
        for route in ROUTES:
            copies.measure(images[route.source, min(sizes)], route)
        for number in range(1 if quick else ROUNDS):
            for size in sizes:
                for route in ROUTES:
                    copy = copies.measure(images[route.source, size], route)
                    found[route.title][str(size)].append(copy.as_dict())
                    print(
                        f'{time.monotonic() - began:6.1f} s  '
                        f'round {number + 1}, {size} MiB, {route.title}: '
                        f'{copy.as_dict()}',
                        flush=True,
                    )
    return {
        'machine': facts,
        'quick': quick,
        'seconds': round(time.monotonic() - began),
        'sizes_mib': list(sizes),
        'routes': found,
    }
