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

"""Ports where Prometheus is told, and programs that have one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import pathlib
import re
import subprocess

import requests

from tests.rig import polling


def values(text: str, prefix: str) -> dict[str, float]:
    """What is told, by names and labels as they stand there.

    :param prefix: of the names that count, left out
    """
    lines = re.findall(rf'^{prefix}(\S+) (\S+)$', text, re.MULTILINE)
    return {name: float(value) for name, value in lines}


def told(port: int, prefix: str) -> dict[str, float]:
    """What a port tells now; nothing if nobody listens there."""
    try:
        answer = requests.get(f'http://127.0.0.1:{port}/metrics', timeout=60)
    except requests.ConnectionError:
        return {}
    answer.raise_for_status()
    return values(answer.text, prefix)


@contextlib.contextmanager
def serving(
    command: Sequence[object],
    log: pathlib.Path,
    is_ready: Callable[[], object],
    environment: Mapping[str, str] | None = None,
) -> Iterator[None]:
    """Run a program that serves, from when it is ready until the end.

    :param environment: in place of this process' own
    """
    with (
        log.open('a') as output,
        subprocess.Popen(
            [str(word) for word in command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        ) as process,
    ):
        try:
            polling.until(is_ready, f'{command[0]} is ready')
            yield
        finally:
            process.terminate()
