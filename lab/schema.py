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

"""The tables of a service in its database."""

from collections.abc import Sequence
import importlib.metadata
import pathlib

from lab import service


class Schema(service.Service):
    """Made, or brought up to date, once for each release of the service.

    :param commands: that do it, each a program and its arguments
    :param venv: the environment that the service is in, if not the lab's
    """

    def __init__(
        self,
        lab: service.Lab,
        package: str,
        commands: Sequence[Sequence[str]],
        venv: pathlib.Path | None = None,
    ) -> None:
        super().__init__(lab, f'{package}-schema', requires=('mariadb',))
        self._package = package
        self._commands = commands
        self._venv = venv

    def start(self) -> None:
        release = _release(self._package, self._venv)
        marker = self.lab.marker(f'{self.name}-{release}')
        if marker.exists():
            return
        for program, *arguments in self._commands:
            self.lab.run(
                self.name, self.lab.layout.program_file(program), *arguments
            )
        marker.touch()


def _release(package: str, venv: pathlib.Path | None) -> str:
    if venv is None:
        return importlib.metadata.version(package)
    sites = [str(path) for path in venv.glob('lib/python*/site-packages')]
    (found,) = importlib.metadata.distributions(name=package, path=sites)
    return found.version
