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


"""What is compared: stock Nova, this driver, and bare librbd.

Each contender is a compute host of its own, a process that makes boot disks to
order.
"""

from collections.abc import Mapping
from concurrent import futures
import dataclasses
import itertools
import json
import os
import pathlib
import subprocess
import sys
import threading
from typing import Any, Self
import uuid

from lab import layout
from tests.rig import hosts

#: Seconds after which an answer is not to be expected any more.
DEADLINE = 300.0

STOCK, OURS, BARE = 'stock', 'ours', 'bare'


@dataclasses.dataclass(frozen=True)
class Boot:
    """One boot disk; moments are seconds since the epoch.

    :ivar clone: when its clone began and ended, None if there was none
    """

    disk: str
    began: float
    ended: float
    clone: tuple[float, float] | None
    error: str | None

    @property
    def seconds(self) -> float:
        return self.ended - self.began

    def require_success(self) -> Self:
        """The boot itself.

        :raises RuntimeError: with its error, if it failed
        """
        if self.error:
            raise RuntimeError(self.error)
        return self


@dataclasses.dataclass(frozen=True)
class Counts:
    """What a contender has used so far, and takes now."""

    connections: int
    subprocesses: int
    threads: int
    resident: int
    polling: int


class Contender:
    """A process with Nova's driver, ours, or neither.

    :param kind: STOCK, OURS or BARE
    :param like: the lab's compute whose nova.conf it has
    :param where: directory for its state and its log
    :param options: of nova.conf, by ``section.name``, that differ
    :ivar disks: names of the disks that it was to make
    """

    def __init__(
        self,
        kind: str,
        like: layout.Compute,
        where: pathlib.Path,
        options: Mapping[str, Any],
    ) -> None:
        state = where / 'state'
        (state / 'instances').mkdir(parents=True)
        hosts.write_options(where / 'options.conf', options)
        self.disks: list[str] = []
        self._numbers = itertools.count()
        self._awaited: dict[int, futures.Future[dict[str, Any]]] = {}
        self._log = where / 'nova.log'
        self._output = (where / 'output').open('w')
        self._process = subprocess.Popen(
            [sys.executable, '-m', 'benchmarks.contender_process'],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._output,
            env={**os.environ, 'OS_NOVA_DISABLE_EVENTLET_PATCHING': 'true'},
            text=True,
            bufsize=1,
        )
        self._started = self._order(
            # The second overrides the first.
            confs=[str(like.nova_conf), str(where / 'options.conf')],
            state_path=str(state),
            log=str(self._log),
            driver=hosts.STOCK if kind == STOCK else hosts.OURS,
            bare=kind == BARE,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def wait_until_started(self) -> None:
        self._started.result(DEADLINE)

    def start(
        self,
        user: hosts.User,
        image: str,
        *,
        root_gib: int = 1,
        at: float = 0.0,
        get: bool = True,
        locations: bool = False,
        copy: bool = False,
    ) -> futures.Future[dict[str, Any]]:
        """Begin to make a boot disk; :func:`boot_of` reads the outcome.

        :param at: seconds since the epoch, to begin together with others
        :param get: whether the bare one asks Glance, too
        :param locations: whether it asks for the locations as well
        :param copy: whether the bare one has Glance copy the image first
        """
        server = str(uuid.uuid4())
        self.disks.append(f'{server}_disk')
        return self._order(
            order='boot',
            server=server,
            image=image,
            root_gib=root_gib,
            at=at,
            get=get,
            locations=locations,
            copy=copy,
            user=dataclasses.asdict(user),
        )

    def boot(self, user: hosts.User, image: str, **how: Any) -> Boot:
        """Make one boot disk."""
        return boot_of(self.start(user, image, **how))

    def describe(self, image: str) -> float:
        """Seconds to describe a disk for libvirt."""
        answer = self._order(
            order='describe', server=str(uuid.uuid4()), image=image, root_gib=1
        )
        return float(answer.result(DEADLINE)['seconds'])

    def use_glance(self, url: str) -> None:
        """Ask another glance-api from now on."""
        self._order(order='use-glance', url=url).result(DEADLINE)

    @property
    def log(self) -> str:
        """What its nova.log says."""
        return self._log.read_text()

    def counts(self) -> Counts:
        return Counts(**self._order(order='count').result(DEADLINE))

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._output.close()

    def _order(self, **order: Any) -> futures.Future[dict[str, Any]]:
        number = next(self._numbers)
        answer = self._awaited[number] = futures.Future()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({'number': number, **order}))
        self._process.stdin.write('\n')
        return answer

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer = json.loads(line)
            awaited = self._awaited.pop(answer['number'])
            if 'failure' in answer:
                awaited.set_exception(RuntimeError(answer['failure']))
            else:
                awaited.set_result(answer['result'])
        said = pathlib.Path(self._output.name).read_text()[-2000:]
        gone = RuntimeError(f'the contender has ended: {said}')
        for awaited in self._awaited.values():
            awaited.set_exception(gone)


def boot_of(started: futures.Future[dict[str, Any]]) -> Boot:
    """Wait for a boot that was begun."""
    return Boot(**started.result(DEADLINE))
