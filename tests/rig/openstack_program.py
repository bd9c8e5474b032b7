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

"""The program ``openstack``, run as a user runs it."""

from collections.abc import Mapping
import copy
import dataclasses
import json
import os
import pathlib
import subprocess
from typing import Any, Self

from lab import cloud
from lab import layout


@dataclasses.dataclass(frozen=True)
class Done:
    """How it has ended.

    :ivar status: its exit status
    """

    status: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A table, printed as JSON."""
        found: list[dict[str, Any]] = json.loads(self.out)
        return found


def environment(account: Mapping[str, str]) -> dict[str, str]:
    """What a program finds in its environment to log in by.

    Not on the command line: others may read that.

    :param account: by keystoneauth's names for its options
    """
    ours = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith('OS_')
    }
    return ours | {
        **{f'OS_{name.upper()}': value for name, value in account.items()},
        'OS_IDENTITY_API_VERSION': '3',
        'OS_REGION_NAME': layout.REGION,
    }


class OpenStack:
    """``openstack``, as one of the lab's users.

    :param program: its path
    """

    def __init__(
        self, program: pathlib.Path, user: str, where: layout.Layout
    ) -> None:
        self._program = program
        self._environment = environment(
            dataclasses.asdict(cloud.account(user, where))
        )

    def having(self, **more: str) -> Self:
        """The same with more in its environment."""
        altered = copy.copy(self)
        altered._environment = self._environment | more
        return altered

    def run(self, *words: object, timeout: float = 300.0) -> Done:
        """Run a command until it ends."""
        done = subprocess.run(
            [str(self._program), *map(str, words)],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def start(self, *words: object) -> subprocess.Popen[str]:
        """Start a command, and do not wait for it."""
        return subprocess.Popen(
            [str(self._program), *map(str, words)],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            stdin=subprocess.DEVNULL,
        )

    def replica(self, *words: object, timeout: float = 300.0) -> Done:
        """Run a command of ours, which prints its table as JSON."""
        name, *arguments = words
        return self.run(
            *('image', 'replica', name, '-f', 'json', *arguments),
            timeout=timeout,
        )
