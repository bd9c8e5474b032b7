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

"""An API of OpenStack: its own WSGI application, under gunicorn."""

from collections.abc import Mapping, Sequence
import pathlib
from typing import ClassVar
import urllib.error
import urllib.request

from lab import programs
from lab import service


class WsgiService(service.Service):
    """One process with several threads, and a port of its own."""

    # The module that has the application.
    module: ClassVar[str]
    threads: ClassVar[int] = 8
    # The page that is there when the service is ready.
    page: ClassVar[str] = '/'
    # What the application reads from its command line.
    arguments: Sequence[str] = ()

    @property
    def directory(self) -> pathlib.Path:
        """Where its configuration is."""
        return self.lab.layout.etc / self.name

    @property
    def _gunicorn_conf(self) -> pathlib.Path:
        return self.directory / 'gunicorn.conf.py'

    def command(self) -> Sequence[str]:
        """What runs the application."""
        return (self.lab.layout.program_file('gunicorn'),)

    def environment(self) -> Mapping[str, str]:
        """What tells the application where its configuration is."""
        return {}

    def files(self) -> Sequence[pathlib.Path]:
        """The configuration files on which it depends."""
        return ()

    def configure(self) -> None:
        self.lab.render(
            'gunicorn.conf.py.j2', self._gunicorn_conf, service=self
        )

    def daemons(self) -> Sequence[programs.Program]:
        # The applications read sys.argv themselves: it has to be bare.
        arguments = {'GUNICORN_CMD_ARGS': f'--config={self._gunicorn_conf}'}
        return (
            programs.Program(
                self.name,
                self.command(),
                arguments | dict(self.environment()),
                (self._gunicorn_conf, *self.files()),
            ),
        )

    def start(self) -> None:
        self.lab.supervisor.start(self.name)
        self.wait(self.answers, f'GET {self._url}')

    @property
    def _url(self) -> str:
        return self.lab.layout.url(self.name) + self.page

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(self._url, timeout=10):  # noqa: S310
                return True
        except urllib.error.HTTPError as error:
            # 300 Multiple Choices: the list of an API's versions.
            return error.code == 300
