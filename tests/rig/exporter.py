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

from collections.abc import Iterator, Mapping
import contextlib
import pathlib
import re
import socket
import subprocess
import sys

import requests

from tests.rig import openstack_program
from tests.rig import polling

PROGRAM = pathlib.Path(sys.executable).parent / 'nova-rbd-multistore-exporter'


def free_port() -> int:
    """A port of loopback that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port: int = probe.getsockname()[1]
        return port


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
    """What Prometheus is told, by names and labels as they stand there."""
    lines = re.findall(r'^image_replica_(\S+) (\S+)$', text, re.MULTILINE)
    return {name: float(value) for name, value in lines}


class Exporter:
    """One that serves.

    :ivar port: on loopback
    """

    def __init__(self, log: pathlib.Path) -> None:
        self.port = free_port()
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text()

    def told(self) -> dict[str, float]:
        """What it tells now; nothing if it does not listen yet."""
        try:
            answer = requests.get(
                f'http://127.0.0.1:{self.port}/metrics', timeout=60
            )
        except requests.ConnectionError:
            return {}
        answer.raise_for_status()
        return values(answer.text)

    def wait_for(self, name: str, value: float) -> None:
        """Wait until it tells so of something."""
        polling.until(
            lambda: self.told().get(name) == value, f'{name} is {value}'
        )

    @contextlib.contextmanager
    def serving(
        self, account: Mapping[str, str], *words: object
    ) -> Iterator[None]:
        """Have it serve, and wait until it does.

        :param account: by keystoneauth's names for its options
        :param words: more of its command line
        """
        with (
            self._log.open('a') as log,
            subprocess.Popen(
                [str(PROGRAM), '--address', str(self.port), *map(str, words)],
                env=openstack_program.environment(account),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            ) as process,
        ):
            try:
                polling.until(self.told, 'the exporter answers')
                yield
            finally:
                process.terminate()
