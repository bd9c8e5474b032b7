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

"""The DevStack plugin on a DevStack that is made of its published parts."""

from collections.abc import Mapping, Sequence
import configparser
import os
import pathlib
import shlex
import subprocess
from typing import Final

HERE: Final = pathlib.Path(__file__).parent

#: What stack.sh does up to the start of the services, as far as it matters
#: here. devstack-plugin-ceph comes first in each phase.
CONFIGURE: Final = (
    'stack pre-install',
    'configure_glance',
    'configure_nova',
    'stack install',
    'config_glance',
    'config_nova',
    'stack post-config',
)
STACK: Final = (*CONFIGURE, 'start_nova_compute', 'stack extra')


class Failed(Exception):
    """A phase of the plugin failed: what it said."""


class Stack:
    """One machine's DevStack, below a directory of its own.

    :param root: the directory, which is / for DevStack
    :param paste: Glance's glance-api-paste.ini
    :param localrc: variables as local.conf sets them
    :ivar programs: directory of programs that only write down their arguments
    """

    def __init__(
        self,
        root: pathlib.Path,
        paste: str,
        localrc: Mapping[str, str] | None = None,
    ) -> None:
        self.root = root
        self.localrc = dict(localrc or {})
        source = root / 'opt/stack/glance/etc/glance-api-paste.ini'
        source.parent.mkdir(parents=True)
        source.write_text(paste)
        self.calls_file = root / 'calls'
        self.calls_file.touch()
        self.image_states = root / 'image-states'
        self.image_states.write_text('active\n')
        self.programs = root / 'bin'
        self.programs.mkdir()
        for name in ('cephadm', 'python3'):
            program = self.programs / name
            program.write_text(
                f'#!/bin/bash\necho {name} "${{@@Q}}" >> "$CALLS"\n'
            )
            program.chmod(0o755)
        (root / 'etc/ceph2').mkdir(parents=True)

    @property
    def etc(self) -> pathlib.Path:
        return self.root / 'etc'

    @property
    def store(self) -> pathlib.Path:
        """The directory of the file store."""
        return self.root / 'opt/stack/data/glance/fast'

    def run(self, steps: Sequence[str] = STACK) -> str:
        """Run steps in one shell; what they print.

        :raises Failed: when one fails, or if unstack or clean, which go on all
            the same, complain
        """
        (self.root / 'localrc').write_text(
            ''.join(
                f'{name}={shlex.quote(value)}\n'
                for name, value in self.localrc.items()
            )
        )
        done = subprocess.run(
            [str(HERE / 'run.sh'), *steps],
            env={
                **os.environ,
                'STACK': str(self.root),
                'PATH': f'{self.programs}:{os.environ["PATH"]}',
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        complains = steps[0] in ('unstack', 'clean') and done.stderr
        if done.returncode or complains:
            raise Failed(done.stderr)
        return done.stdout

    @property
    def calls(self) -> list[str]:
        """What it would have done to the machine."""
        return self.calls_file.read_text().splitlines()

    def conf(self, name: str) -> configparser.ConfigParser:
        """A file below /etc, such as nova/nova.conf."""
        parser = configparser.ConfigParser(interpolation=None)
        with (self.etc / name).open() as file:
            parser.read_file(file)
        return parser

    def files(self) -> dict[str, str]:
        """The configuration files, by name, and what is in them."""
        return {
            str(path.relative_to(self.etc)): path.read_text()
            for path in sorted(self.etc.rglob('*'))
            if path.is_file()
        }
