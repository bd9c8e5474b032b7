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

"""Tempest's own suite: what of it is chosen, and what became of it."""

import csv
import dataclasses
import io
import pathlib
import subprocess
from typing import IO

HERE = pathlib.Path(__file__).parent
INCLUDED = HERE / 'included.txt'
EXCLUDED = HERE / 'excluded.txt'
PASSING = HERE / 'passing.txt'

_WITHOUT_EXCLUDED = f'--exclude-list={EXCLUDED}'
#: Seconds for all of it on a busy machine.
_DEADLINE = 1800.0
_WORKERS = 2


@dataclasses.dataclass(frozen=True)
class Exclusion:
    """A regular expression over the ids of tests, and why.

    An id is a name, and tags in brackets: '$' does not end a name.
    """

    regex: str
    reason: str


def exclusions() -> list[Exclusion]:
    """What excluded.txt says, in the format of stestr's exclude list."""
    lines = EXCLUDED.read_text().splitlines()
    parts = [line.partition('#') for line in lines if line.strip()]
    return [
        Exclusion(regex.strip(), reason.strip()) for regex, _, reason in parts
    ]


def passing() -> list[str]:
    """The names of the tests that have to pass."""
    return PASSING.read_text().splitlines()


class Suite:
    """Tempest in a directory, configured by the tempest.conf in it."""

    def __init__(self, directory: pathlib.Path) -> None:
        self._directory = directory

    @property
    def output(self) -> pathlib.Path:
        """What tempest printed, with the traceback of each failure."""
        return self._directory / 'output.txt'

    def included(self) -> set[str]:
        """The names of the tests that included.txt chooses."""
        return self._list()

    def chosen(self) -> set[str]:
        """The names of those of them that excluded.txt leaves."""
        return self._list(_WITHOUT_EXCLUDED)

    def run(self) -> dict[str, str]:
        """Run what is included and not excluded; each test's outcome.

        That is 'success', 'skip' or 'failure'. A class that was skipped, or
        failed, as a whole has one by the name 'setUpClass (...)', and its
        tests have none.
        """
        with self.output.open('w') as output:
            # That a test failed is for its outcome to say.
            self._tempest(
                output,
                _WITHOUT_EXCLUDED,
                f'--concurrency={_WORKERS}',
                check=False,
            )
        return {
            _name(row['test']): row['status']
            for row in csv.DictReader(io.StringIO(self._last_run()))
        }

    def _list(self, *options: str) -> set[str]:
        with self.output.open('w+') as output:
            # Not even a list is to be had without the place for outcomes.
            self._output('stestr', 'init')
            self._tempest(output, '--list-tests', *options, check=True)
            output.seek(0)
            return {
                _name(line) for line in output if line.startswith('tempest.')
            }

    def _tempest(self, output: IO[str], *options: str, check: bool) -> None:
        subprocess.run(
            [
                *('tempest', 'run', '--config-file=tempest.conf'),
                *(f'--include-list={INCLUDED}', *options),
            ],
            cwd=self._directory,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=check,
            timeout=_DEADLINE,
        )

    def _last_run(self) -> str:
        """The table of outcomes that stestr has recorded."""
        recorded = self._output('stestr', 'last', '--subunit')
        return self._output('subunit2csv', given=recorded).decode()

    def _output(self, *command: str, given: bytes | None = None) -> bytes:
        return subprocess.run(
            command,
            cwd=self._directory,
            input=given,
            stdout=subprocess.PIPE,
            timeout=_DEADLINE,
        ).stdout


def _name(test_id: str) -> str:
    """A test without its tags, which tempest appends in brackets."""
    return test_id.strip().partition('[')[0]
