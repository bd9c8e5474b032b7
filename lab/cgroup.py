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

"""The control group in which every process of the lab lives.

A process may leave its parent, its session and its environment, as QEMU and
privsep's daemons do; its control group it keeps. So the kernel itself says
which processes are the lab's, also after the supervisor was killed, and ends
them all at one word.
"""

import pathlib
from typing import Final

import psutil
import tenacity

from lab import errors
from lab import layout

_MOUNTS: Final = pathlib.Path('/proc/self/mounts')


def _hierarchy() -> pathlib.Path:
    """Where version 2 of control groups is mounted."""
    for line in _MOUNTS.read_text().splitlines():
        _device, where, kind, *_options = line.split()
        if kind == 'cgroup2':
            return pathlib.Path(where)
    raise errors.NotPossible(
        'no cgroup2 file system is mounted, and the lab keeps its processes '
        'together by one: mount -t cgroup2 none /sys/fs/cgroup'
    )


class ControlGroup:
    """The processes of the lab in one root directory."""

    def __init__(self, where: layout.Layout) -> None:
        name = 'nova-rbd-lab' + str(where.root).replace('/', '-')
        self._path = _hierarchy() / name

    def make(self) -> None:
        try:
            self._path.mkdir(exist_ok=True)
        except OSError as error:
            raise errors.NotPossible(
                f'cannot make the control group {self._path}: {error}'
            ) from error

    def add(self, pid: int) -> None:
        """Move a process in; what it starts from now on is in too."""
        (self._path / 'cgroup.procs').write_text(str(pid))

    def pids(self) -> frozenset[int]:
        try:
            text = (self._path / 'cgroup.procs').read_text()
        except FileNotFoundError:
            return frozenset()
        return frozenset(int(pid) for pid in text.split())

    def kill(self) -> None:
        """End every process in it, and wait until they are gone."""
        if not self._path.exists():
            return
        (self._path / 'cgroup.kill').write_text('1')
        for attempt in tenacity.Retrying(
            stop=tenacity.stop_after_delay(30),
            wait=tenacity.wait_fixed(0.1),
            reraise=True,
        ):
            with attempt:
                if pids := self.pids():
                    raise errors.LabError(f'still alive: {sorted(pids)}')

    def remove(self) -> None:
        if self._path.exists():
            self._path.rmdir()


def lab_of(pid: int) -> str | None:
    """The root of the lab to which somebody's process belongs, if any."""
    try:
        environment: dict[str, str] = psutil.Process(pid).environ()
    except psutil.Error:
        return None
    return environment.get('NOVA_RBD_LAB_DIR')
