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

"""Prometheus itself, which scrapes what a test runs."""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import json
import pathlib
import shutil
from typing import Any

import requests

from tests.rig import metrics_ports
from tests.rig import ports


class Prometheus:
    """One that keeps what it has scraped as long as the test takes.

    :param where: directory for all that it writes
    :param targets: ports of loopback to scrape, by the names of the jobs
    :param rules: files of alert rules
    """

    def __init__(
        self,
        where: pathlib.Path,
        targets: Mapping[str, Sequence[int]],
        rules: Sequence[pathlib.Path] = (),
    ) -> None:
        self._where = where
        self._targets = targets
        self._rules = rules
        self._url = f'http://127.0.0.1:{ports.free()}'

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Have it scrape once a second."""
        program = shutil.which('prometheus')
        assert program, 'tools/install.sh installs it'
        self._where.mkdir()
        conf = self._where / 'prometheus.yml'
        # JSON is YAML, too.
        conf.write_text(json.dumps(self._conf()))
        with metrics_ports.serving(
            [
                program,
                f'--config.file={conf}',
                f'--storage.tsdb.path={self._where / "data"}',
                f'--web.listen-address={self._url.removeprefix("http://")}',
            ],
            self._where / 'log',
            self._all_are_up,
        ):
            yield

    def _conf(self) -> dict[str, Any]:
        return {
            'global': {
                'scrape_interval': '1s',
                'evaluation_interval': '1s',
            },
            'rule_files': [str(path) for path in self._rules],
            'scrape_configs': [
                {
                    'job_name': name,
                    'static_configs': [
                        {'targets': [f'127.0.0.1:{port}' for port in ports]}
                    ],
                }
                for name, ports in self._targets.items()
            ],
        }

    def _all_are_up(self) -> bool:
        try:
            found = self._get('query', query='up')['result']
        except requests.ConnectionError:
            return False
        wanted = sum(map(len, self._targets.values()))
        return sum(int(each['value'][1]) for each in found) == wanted

    def over_time(
        self, query: str, begin: float, end: float, step: int = 1
    ) -> list[tuple[dict[str, str], list[tuple[float, float]]]]:
        """The labels and the points of each series that a query gives.

        :param begin: seconds since the epoch
        :param step: seconds
        """
        found = self._get(
            'query_range', query=query, start=begin, end=end, step=step
        )
        return [
            (
                series['metric'],
                [(moment, float(value)) for moment, value in series['values']],
            )
            for series in found['result']
        ]

    def rules(self) -> list[dict[str, Any]]:
        """All rules, and how their evaluation went."""
        return [
            rule
            for group in self._get('rules')['groups']
            for rule in group['rules']
        ]

    def _get(self, what: str, **asked: object) -> dict[str, Any]:
        answer = requests.get(
            f'{self._url}/api/v1/{what}',
            params={name: str(value) for name, value in asked.items()},
            timeout=60,
        )
        body: dict[str, Any] = answer.json()
        assert body.get('status') == 'success', body
        data: dict[str, Any] = body['data']
        return data
