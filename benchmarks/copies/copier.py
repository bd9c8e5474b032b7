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


"""Copies of one image to site west: by Glance, and by what it cannot beat."""

from collections.abc import Callable, Sequence
from concurrent import futures
import hashlib
import os
import pathlib
import subprocess
import time
import uuid

import rbd

from benchmarks import ground as grounds
from benchmarks.copies import figures
from benchmarks.copies import setups
from tests.rig import apis
from tests.rig import clusters
from tests.rig import polling

MIB = 1 << 20

#: MiB of data at the begin of each period of an image, a quarter of it.
PERIOD, DATA = 16, 4

#: MiB between two first writes to a clone, none of which meets an object that
#: another has met.
STEP = 64


def write_image(path: pathlib.Path, size_mib: int) -> None:
    """Make a raw image, a quarter of which is data: the rest are zeros."""
    with path.open('wb') as file:
        for start in range(0, size_mib, PERIOD):
            file.seek(start * MIB)
            file.write(os.urandom(DATA * MIB))
        file.truncate(size_mib * MIB)


class Copier:
    """Copies images to site west, and measures each way alike.

    :param image: a raw image, by path
    :param images: the same in Glance, as many as are copied at a time, by the
        store that they are in
    """

    def __init__(
        self,
        ground: grounds.Ground,
        image: pathlib.Path,
        images: dict[str, list[str]],
    ) -> None:
        self._ground = ground
        self._image = image
        self._images = images

    def by_glance(
        self,
        api: apis.GlanceApi,
        setup: setups.Setup,
        store: str,
        samples: figures.Samples,
    ) -> None:
        """Have Glance copy, and take the copies away again."""
        images = self._images[store][: setup.at_once]

        def copy() -> None:
            with futures.ThreadPoolExecutor(len(images)) as at_once:
                list(
                    at_once.map(
                        lambda image: self._ground.copy(image, api), images
                    )
                )

        self._measure(copy, images, samples)
        for image in images:
            self._ground.drop_copy(image)

    def by_rbd(self, store: str, samples: figures.Samples) -> None:
        """Do without Glance what it does at the least."""
        image = f'copied-{uuid.uuid4()}'
        east, west = self._ground.where.sites
        target = (
            *('rbd', '--conf', str(west.ceph_conf), '--id', 'admin'),
            *('--no-progress', 'import'),
        )

        def copy() -> None:
            if store == 'file':
                _run(*target, str(self._image), f'images/{image}')
            else:
                _pipe(
                    (
                        *('rbd', '--conf', str(east.ceph_conf)),
                        *('--id', 'admin', '--no-progress', 'export'),
                        *(f'images/{self._images[store][0]}@snap', '-'),
                    ),
                    (*target, '-', f'images/{image}'),
                )
            self._ground.west.create_snapshot('images', image, 'snap')

        try:
            self._measure(copy, [image], samples)
        finally:
            self._ground.west.remove('images', image)

    def checksums(self, samples: figures.Samples) -> None:
        """Compute what Glance computes of a copy: MD5 and SHA-512, twice."""
        began = time.monotonic()
        for _staged_and_stored in range(2):
            digests = hashlib.md5(usedforsecurity=False), hashlib.sha512()
            with self._image.open('rb') as file:
                while chunk := file.read(8 * MIB):
                    for digest in digests:
                        digest.update(chunk)
        samples.seconds.append(time.monotonic() - began)

    def _measure(
        self,
        copy: Callable[[], None],
        images: list[str],
        samples: figures.Samples,
    ) -> None:
        west = self._ground.west
        before = settled(west)
        began = time.monotonic()
        copy()
        samples.seconds.append(time.monotonic() - began)
        allocated = settled(west) - before
        samples.allocated.append(allocated / len(images) / MIB)
        samples.first_writes += first_writes(
            west, images[0], self._image.stat().st_size
        )


def first_writes(
    cluster: clusters.Cluster, image: str, size: int
) -> list[float]:
    """Milliseconds of first writes to the objects of a clone of an image."""
    disk = f'bench-{uuid.uuid4()}'
    taken = []
    with cluster.pool('images') as images, cluster.pool('vms') as disks:
        rbd.RBD().clone(images, image, 'snap', disks, disk)
        try:
            with rbd.Image(disks, disk) as opened:
                for offset in range(0, size, STEP * MIB):
                    began = time.monotonic()
                    opened.write(b'x' * 4096, offset)
                    opened.flush()
                    taken.append((time.monotonic() - began) * 1000)
        finally:
            rbd.RBD().remove(disks, disk)
    return taken


def settled(cluster: clusters.Cluster) -> int:
    """Bytes allocated, when what was removed has been freed."""
    seen = [-1]

    def unchanged() -> bool:
        seen.append(cluster.used())
        return seen[-1] == seen[-2]

    polling.until(unchanged, 'the same bytes allocated twice', pause=0.5)
    return seen[-1]


def _run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=300)


def _pipe(source: Sequence[str], target: Sequence[str]) -> None:
    with subprocess.Popen(source, stdout=subprocess.PIPE) as reading:
        subprocess.run(target, stdin=reading.stdout, check=True, timeout=300)
    if reading.returncode:
        raise subprocess.CalledProcessError(reading.returncode, source)
