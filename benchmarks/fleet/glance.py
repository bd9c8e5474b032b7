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

"""Glance's APIs in virtual time: each answer takes a worker, and a while.

The rules, records and words are those of the Glance that the unit tests have
(``tests/fakes``); recorded answers of a real one are held against them
by ``tests/unit/benchmarks``.
"""

from collections.abc import Callable, Mapping
import dataclasses
import io
from typing import Any

from keystoneauth1 import session as ksa_session
import requests

from benchmarks.fleet import clock as clocks
from tests.fakes import cluster as clusters
from tests.fakes import endpoint as endpoints
from tests.fakes import glance_api
from tests.fakes import network

#: Seconds that a worker is at it, by the end of the path: medians of the
#: lab's glance-api.
SECONDS = {'healthcheck': 0.005, 'import': 0.07}
SECONDS_OTHERWISE = 0.025

#: ``[wsgi] task_pool_threads``, Glance's default.
TASK_THREADS = 16

Latency = Callable[[str], float]


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """A :class:`network.Request`."""

    method: str
    url: str
    headers: Mapping[str, Any]
    body: str | None


class Glance:
    """Some glance-apis over one database, and what they were asked.

    :param stores: the cluster behind each store, None for a file store
    :param workers: of each glance-api: requests that it serves at a time
    :param bandwidth: of each glance-api for downloads, bytes a second
    :param rules: with what they answer, made of the stores by default
    :ivar rules: images, tasks and locks
    :ivar urls: of the glance-apis
    :ivar endpoints: what answers for each of them, by URL
    :ivar asked: when requests came
    :ivar slowest: seconds from a request to its answer, at most
    """

    def __init__(
        self,
        clock: clocks.Clock,
        stores: Mapping[str, clusters.Cluster | None],
        count: int,
        workers: int,
        bandwidth: float = float('inf'),
        rules: glance_api.GlanceApi | None = None,
    ) -> None:
        self.rules = rules or glance_api.GlanceApi(
            clock, stores, task_threads=TASK_THREADS
        )
        self.asked: list[float] = []
        self.slowest = 0.0
        self._clock = clock
        self._bandwidth = bandwidth
        names = [f'http://glance-{number + 1}:9292' for number in range(count)]
        self.urls = [f'{name}/' for name in names]
        self._workers = {
            url: clocks.Workers(clock, workers) for url in self.urls
        }
        self.endpoints = {
            url: endpoints.Endpoint(self.rules, name)
            for name, url in zip(names, self.urls, strict=True)
        }
        for endpoint in self.endpoints.values():
            endpoint.answers['/schemas/image'] = network.Answer(200, b'{}')
        self._sent_at = dict.fromkeys(self.urls, 0.0)

    def answer(
        self, api: str, request: Request, latency: Latency
    ) -> network.Answer:
        """Wait for a worker, and for what it says."""
        came = self._clock.now
        self.asked.append(came)
        with self._workers[api].one():
            self._clock.sleep(latency(request.url.rpartition('/')[2]))
            answer = self.endpoints[api](request)
        self.slowest = max(self.slowest, self._clock.now - came)
        return answer

    def download(self, api: str, size: int) -> None:
        """Wait for an image's data, behind those who asked before.

        In favour of whoever does this: it takes no worker.
        """
        self.asked.append(self._clock.now)
        began = max(self._sent_at[api], self._clock.now)
        self._sent_at[api] = began + size / self._bandwidth
        self._clock.sleep(self._sent_at[api] - self._clock.now)


class Session(ksa_session.Session):
    """Below the real glanceclient, in place of HTTP.

    :param latency: seconds of a worker for an answer, by the end of its path
    :param token: of the user, beside Nova's
    """

    def __init__(
        self, glance: Glance, latency: Latency, token: str = endpoints.USER
    ) -> None:
        super().__init__()
        self._glance = glance
        self._latency = latency
        self._token = token

    def request(
        self,
        url: str,
        method: str,
        *_others: Any,
        **options: Any,
    ) -> requests.Response:
        api = options['endpoint_override']
        tokens = {
            'X-Auth-Token': self._token,
            'X-Service-Token': endpoints.SERVICE,
        }
        request = Request(
            method,
            api.rstrip('/') + url,
            {**(options.get('headers') or {}), **tokens},
            options.get('data'),
        )
        answer = self._glance.answer(api, request, self._latency)
        response = requests.Response()
        response.status_code = answer.status
        response.headers.update(answer.headers)
        response.headers['Content-Type'] = answer.content_type
        response.encoding = 'utf-8'
        response.raw = io.BytesIO(answer.body)
        return response
