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

from lab import service


class Schema(service.Service):
    """Made, or brought up to date, once for each release of the service."""

    def __init__(
        self,
        lab: service.Lab,
        package: str,
        commands: Sequence[Sequence[str]],
    ) -> None:
        release = importlib.metadata.version(package)
        super().__init__(lab, f'{package}-schema', requires=('mariadb',))
        self._marker = lab.marker(f'{self.name}-{release}')
        self._commands = commands

    def start(self) -> None:
        if self._marker.exists():
            return
        for program, *arguments in self._commands:
            self.lab.run(
                self.name, self.lab.layout.program_file(program), *arguments
            )
        self._marker.touch()
