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

"""What the lab's programs log."""

import pathlib

from tests.rig import polling


class Log:
    """The part of a log file that is yet to be written."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self._begin = path.stat().st_size

    @property
    def text(self) -> str:
        with self._path.open('rb') as file:
            file.seek(self._begin)
            return file.read().decode(errors='replace')

    def lines(self, *texts: str) -> list[str]:
        """The lines that have all of these in them."""
        return [
            line
            for line in self.text.splitlines()
            if all(text in line for text in texts)
        ]

    def wait_for(self, *texts: str) -> str:
        """Wait for a line that has all of these in it."""
        lines = polling.until(
            lambda: self.lines(*texts), f'{texts} in {self._path}'
        )
        return lines[0]
