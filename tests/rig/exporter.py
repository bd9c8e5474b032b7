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

"""The program ``nova-rbd-multistore-exporter``, run beside the lab."""

from collections.abc import Mapping
import contextlib
import pathlib
import subprocess
import sys

from tests.rig import metrics_ports
from tests.rig import openstack_program
from tests.rig import polling
from tests.rig import ports

PROGRAM = pathlib.Path(sys.executable).parent / 'nova-rbd-multistore-exporter'
PREFIX = 'image_replica_'


def once(
    account: Mapping[str, str], *words: object
) -> subprocess.CompletedProcess[str]:
    """Have the metrics printed once."""
    return subprocess.run(
        [str(PROGRAM), '--once', *map(str, words)],
        env=openstack_program.environment(account),
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
    )


def values(text: str) -> dict[str, float]:
    """What is told of images, by names and labels as they stand there."""
    return metrics_ports.values(text, PREFIX)


class Exporter:
    """One that serves.

    :ivar port: on loopback
    """

    def __init__(self, log: pathlib.Path) -> None:
        self.port = ports.free()
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text()

    def told(self) -> dict[str, float]:
        """What it tells now; nothing if it does not listen yet."""
        return metrics_ports.told(self.port, PREFIX)

    def wait_for(self, name: str, value: float) -> None:
        """Wait until it tells so of something."""
        polling.until(
            lambda: self.told().get(name) == value, f'{name} is {value}'
        )

    def serving(
        self, account: Mapping[str, str], *words: object
    ) -> contextlib.AbstractContextManager[None]:
        """Have it serve, from when it does until the end.

        :param account: by keystoneauth's names for its options
        :param words: more of its command line
        """
        return metrics_ports.serving(
            [PROGRAM, '--address', self.port, *words],
            self._log,
            self.told,
            openstack_program.environment(account),
        )
