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

"""What a service of the lab is.

To add one: write a module with a subclass of Service, its configuration
files in lab/templates, and name the class in lab/services.py.
"""

import abc
from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
import logging
import os
import pathlib
import subprocess
import threading
import time
from typing import Any, ClassVar

import tenacity

from lab import credentials
from lab import errors
from lab import files
from lab import layout
from lab import programs
from lab import settings

LOG = logging.getLogger(__name__)

_BEGAN = time.monotonic()


@dataclasses.dataclass(frozen=True)
class Lab:
    """What every service has to know of the lab it is part of."""

    layout: layout.Layout
    credentials: credentials.Credentials
    settings: settings.Settings
    # Set when one service failed: the others need not wait any longer.
    given_up: threading.Event = dataclasses.field(
        default_factory=threading.Event
    )

    @functools.cached_property
    def supervisor(self) -> programs.Supervisor:
        return programs.Supervisor(self.layout)

    def render(
        self, template: str, path: pathlib.Path, **values: object
    ) -> None:
        """Write a configuration file from its template."""
        known: dict[str, Any] = {
            'credentials': self.credentials,
            'database': self.database,
            'host': layout.HOST,
            'layout': self.layout,
            'ports': layout.PORTS,
            'region': layout.REGION,
            'settings': self.settings,
        }
        files.write(path, files.render(template, known | values))

    def database(self, name: str, user: str) -> str:
        """The URL by which a service reaches a database of its own."""
        password = self.credentials.database(user)
        address = f'{layout.HOST}:{layout.PORTS["mariadb"]}'
        return (
            f'mysql+pymysql://{user}:{password}@{address}/{name}?charset=utf8'
        )

    def marker(self, deed: str) -> pathlib.Path:
        """A file that is there once something was done for good."""
        self.layout.done.mkdir(exist_ok=True)
        return self.layout.done / deed

    def run(
        self,
        log: str,
        *command: str | os.PathLike[str],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Run a program to its end; what it prints goes to a log."""
        path = self.layout.log_of(log)
        inherited = programs.environment(self.layout)
        with files.append(path) as output:
            done = subprocess.run(
                command,
                cwd=self.layout.root,
                env=inherited | dict(environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
                umask=0o077,
            )
        if done.returncode:
            raise errors.CommandFailed(
                f'{" ".join(map(str, command))} ended with '
                f'{done.returncode}. {files.end(path)}'
            )


class Service(abc.ABC):
    """A part of the lab that is started, and stopped, as one."""

    # The programs outside the virtual environment that it cannot do without.
    executables: ClassVar[Sequence[str]] = ()

    def __init__(
        self, lab: Lab, name: str, requires: Sequence[str] = ()
    ) -> None:
        self.lab = lab
        self.name = name
        # The services that have to answer before this one can start.
        self.requires = requires

    def configure(self) -> None:
        """Write the configuration files; nothing runs yet."""
        return

    def daemons(self) -> Sequence[programs.Program]:
        """The daemons, once the configuration files are there."""
        return ()

    @abc.abstractmethod
    def start(self) -> None:
        """See to it that the service answers, whatever was before."""

    def running(self) -> Sequence[str]:
        """Which of its daemons run."""
        known = self.lab.supervisor.status()
        return [
            name for name in self._names() if name in known and known[name].pid
        ]

    def stop(self) -> None:
        """Leave nothing that runs."""
        self.lab.supervisor.stop(*self._names())

    def _names(self) -> list[str]:
        return [program.name for program in self.daemons()]

    def say(self, text: str) -> None:
        """Tell of progress."""
        elapsed = time.monotonic() - _BEGAN
        LOG.info('%6.1f s  %-16s %s', elapsed, self.name, text)

    def wait(
        self,
        answer: Callable[[], bool],
        what: str,
        *daemons: str,
        seconds: float = 240,
    ) -> None:
        """Wait for an answer, as long as the daemons live that are to give it.

        An exception of the answer's own counts as none, and is shown if
        there never is one.
        """
        names = daemons or tuple(self._names())
        logs = [self.lab.layout.log_of(name) for name in names]

        def check() -> None:
            for name, log in zip(names, logs, strict=True):
                if not self.lab.supervisor.state(name).alive:
                    raise errors.ServiceFailed(
                        f'{name} died. {files.end(log)}'
                    )
            if not answer():
                raise TimeoutError(what)

        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_delay(seconds)
            | tenacity.stop_when_event_set(self.lab.given_up),
            wait=tenacity.wait_fixed(0.3),
            retry=tenacity.retry_if_not_exception_type(errors.ServiceFailed),
        )
        try:
            retrying(check)
        except tenacity.RetryError as error:
            ends = '\n'.join(files.end(log) for log in logs)
            raise errors.ServiceFailed(
                f'{self.name}: waited {seconds:.0f} s in vain: {what} '
                f'({error.last_attempt.exception()!r}). {ends}'
            ) from error
