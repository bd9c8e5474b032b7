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

"""The lab's daemons, run by supervisor.

A daemon that dies stays dead and is seen to be dead: no program is restarted
behind the back of whoever killed it to see what happens. `tools/lab up`
starts what is not running.
"""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import enum
import hashlib
import http.client
import os
import pathlib
import signal
import subprocess
from typing import Any, Final
import xmlrpc.client

import supervisor.states
import supervisor.xmlrpc
import tenacity

from lab import cgroup
from lab import errors
from lab import files
from lab import layout
from lab import rpc

_PATH: Final = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'


def environment(where: layout.Layout) -> dict[str, str]:
    """All that a program of the lab inherits from us."""
    return {
        'HOME': '/root',
        'LANG': 'C.UTF-8',
        'NOVA_RBD_LAB_DIR': str(where.root),
        'PATH': f'{where.venv}/bin:{_PATH}',
        'PYTHONUNBUFFERED': '1',
    }


class State(enum.IntEnum):
    """What supervisor says of a program."""

    STOPPED = supervisor.states.ProcessStates.STOPPED
    STARTING = supervisor.states.ProcessStates.STARTING
    RUNNING = supervisor.states.ProcessStates.RUNNING
    # Died at once, and is to be tried again.
    BACKOFF = supervisor.states.ProcessStates.BACKOFF
    STOPPING = supervisor.states.ProcessStates.STOPPING
    # Ended, or was killed, after it had been running.
    EXITED = supervisor.states.ProcessStates.EXITED
    # Died at once.
    FATAL = supervisor.states.ProcessStates.FATAL
    UNKNOWN = supervisor.states.ProcessStates.UNKNOWN

    @property
    def alive(self) -> bool:
        return self in supervisor.states.RUNNING_STATES


@dataclasses.dataclass(frozen=True)
class Program:
    """A daemon to be run, in the foreground, as its own process."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    # It has to be restarted when one of these changes.
    files: Sequence[pathlib.Path] = ()
    # How long it may take to end in good order.
    patience: int = 20

    @property
    def digest(self) -> str:
        """Changes with the files, so that supervisor sees a new program."""
        digest = hashlib.sha256()
        for path in self.files:
            digest.update(path.read_bytes())
        return digest.hexdigest()[:16]


@dataclasses.dataclass(frozen=True)
class Status:
    """How a program fares."""

    name: str
    state: State
    # 0 while it does not run.
    pid: int
    # Seconds since the epoch.
    started: int

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> 'Status':
        """From what supervisor tells of a process."""
        state = State(info['state'])
        return cls(info['name'], state, info['pid'], info['start'])


class Supervisor:
    """The supervisor of one lab, spoken to over its unix socket."""

    def __init__(self, where: layout.Layout) -> None:
        self._layout = where
        self._group = cgroup.ControlGroup(where)
        self._socket = where.run / 'supervisor.sock'
        self._conf = where.etc / 'supervisord.conf'
        self._rpc = rpc.Rpc(self._socket)

    def is_running(self) -> bool:
        try:
            self._rpc.call('getState')
        except (OSError, http.client.HTTPException):
            return False
        return True

    def configure(self, programs: Iterable[Program]) -> None:
        """Know these programs; stop those that changed or are no more."""
        text = files.render(
            'supervisord.conf.j2',
            {
                'layout': self._layout,
                'socket': self._socket,
                'programs': list(programs),
            },
        )
        files.write(self._conf, text)
        if not self.is_running():
            self._launch()
            return
        [[added, changed, removed]] = self._rpc.call('reloadConfig')
        self.stop(*changed, *removed)
        for name in (*changed, *removed):
            self._rpc.call('removeProcessGroup', name)
        for name in (*changed, *added):
            self._rpc.call('addProcessGroup', name)

    def _launch(self) -> None:
        # A supervisor that was killed leaves its daemons behind.
        self._group.kill()
        self._group.make()
        self._socket.parent.mkdir(parents=True, exist_ok=True)
        log = self._layout.log_of('supervisord')
        with files.append(log) as output:
            daemon = subprocess.Popen(
                [
                    self._layout.program_file('supervisord'),
                    '--nodaemon',
                    f'--configuration={self._conf}',
                ],
                cwd=self._layout.root,
                env=environment(self._layout),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=0o077,
            )
        # In time: it starts no program before it is told to.
        self._group.add(daemon.pid)
        for attempt in tenacity.Retrying(
            stop=tenacity.stop_after_delay(30),
            wait=tenacity.wait_fixed(0.1),
            reraise=True,
        ):
            with attempt:
                if not self.is_running():
                    raise errors.ServiceFailed(
                        f'supervisord does not answer. {files.end(log)}'
                    )

    def status(self) -> dict[str, Status]:
        """Every program's, by its name; none while supervisor is down."""
        if not self.is_running():
            return {}
        return {
            info['name']: Status.of(info)
            for info in self._rpc.call('getAllProcessInfo')
        }

    def _status_of(self, name: str) -> Status:
        try:
            return Status.of(self._rpc.call('getProcessInfo', name))
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != supervisor.xmlrpc.Faults.BAD_NAME:
                raise
            known = ', '.join(self.status())
            raise errors.LabError(
                f'no program {name!r} in the lab; there are: {known}'
            ) from fault

    def state(self, name: str) -> State:
        return self._status_of(name).state

    def pid(self, name: str) -> int:
        """0 if the program does not run."""
        return self._status_of(name).pid

    def started(self, name: str) -> int:
        """Seconds since the epoch."""
        return self._status_of(name).started

    def start(self, *names: str) -> None:
        """Start those that do not run. They may not answer yet."""
        for name in names:
            if not self.state(name).alive:
                self._rpc.call('startProcess', name, False)

    def stop(self, *names: str) -> None:
        """Stop those that run, all at once, and wait until they ended."""
        for name in self._running(names):
            self._rpc.call('stopProcess', name, False)
        for attempt in tenacity.Retrying(
            stop=tenacity.stop_after_delay(60),
            wait=tenacity.wait_fixed(0.1),
            reraise=True,
        ):
            with attempt:
                if left := self._running(names):
                    raise errors.ServiceFailed(
                        f'cannot stop {", ".join(left)}'
                    )

    def _running(self, names: Iterable[str]) -> list[str]:
        """Which of these have a process, if it is ending, too."""
        known = self.status()
        return [name for name in names if name in known and known[name].pid]

    def restart(self, *names: str) -> None:
        self.stop(*names)
        self.start(*names)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to all processes of a program.

        To all: a gunicorn that is killed alone has a worker left, which
        notices, and ends in good order.
        """
        if pid := self.pid(name):
            # Each child of supervisor leads a process group.
            os.killpg(pid, number)

    def kill(self, name: str) -> None:
        self.signal(name, signal.SIGKILL)

    def shut_down(self) -> None:
        """End supervisor and whatever process of the lab is left."""
        if self.is_running():
            self._rpc.call('shutdown')
        self._group.kill()
        self._group.remove()
