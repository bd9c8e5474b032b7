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

"""A watch over servers' disks while somebody else makes and deletes them."""

from collections.abc import Sequence
import threading
from types import TracebackType

import rbd

from tests.rig import clusters

#: What Nova makes from an image. Swap, ephemeral disks and config drives,
#: which have names of their own, come from nothing.
_FROM_IMAGES = ('_disk', '_disk.rescue')
_INTERVAL = 1.0


class Watch:
    """Looks at the disks in Nova's pools every second, in a context."""

    def __init__(self, sites: Sequence[clusters.Cluster]) -> None:
        self._sites = sites
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look_on)
        #: Each disk that was there, and what it was a clone of, if anything.
        self.parents: dict[str, clusters.Parent | None] = {}

    def __enter__(self) -> 'Watch':
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _look_on(self) -> None:
        while not self._over.wait(_INTERVAL):
            for site in self._sites:
                self._look(site)

    def _look(self, site: clusters.Cluster) -> None:
        for disk in site.images('vms'):
            if not disk.endswith(_FROM_IMAGES):
                continue
            # Once found flat, a disk is not looked at again.
            if self.parents.get(disk, True) is None:
                continue
            try:
                parent = site.parent(disk)
                if parent is None:
                    # A disk that is being deleted loses its parent first.
                    self._over.wait(_INTERVAL)
                    parent = site.parent(disk)
                self.parents[disk] = parent
            except rbd.ImageNotFound:
                # Deleted since it was listed.
                continue
