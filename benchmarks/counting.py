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


"""What boots cost, counted where it is spent: in a contender's process."""

import sys
import threading
import time
from typing import Any

import rados
import rbd


class Counts:
    """Since the process began.

    :ivar connections: to a Ceph cluster
    :ivar subprocesses: programs run
    :ivar clones: when the clone of each disk began and ended, in seconds
        since the epoch
    """

    def __init__(self) -> None:
        self.connections = 0
        self.subprocesses = 0
        self.clones: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def connected(self) -> None:
        with self._lock:
            self.connections += 1

    def audited(self, event: str, _arguments: tuple[Any, ...]) -> None:
        if event == 'subprocess.Popen':
            with self._lock:
                self.subprocesses += 1


def install() -> Counts:
    """Count from now on, whoever imports rados and rbd."""
    counts = Counts()

    class Rados(rados.Rados):
        def connect(self, *args: Any, **kwargs: Any) -> Any:
            counts.connected()
            return super().connect(*args, **kwargs)

    class RBD(rbd.RBD):
        def clone(
            self,
            parent: Any,
            image: str,
            snapshot: str,
            child: Any,
            name: str,
            *args: Any,
            **kwargs: Any,
        ) -> Any:
            began = time.time()
            counts.clones[name] = (began, began)
            try:
                return super().clone(
                    parent, image, snapshot, child, name, *args, **kwargs
                )
            finally:
                counts.clones[name] = (began, time.time())

    rados.Rados = Rados
    rbd.RBD = RBD
    sys.addaudithook(counts.audited)
    return counts
