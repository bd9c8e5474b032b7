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


"""Processes on the virtual clock: frozen, killed, and started again."""

from collections.abc import Callable
import contextlib
import random
from typing import Any

import greenlet
from keystoneauth1 import exceptions as ksa_exc
import requests

from benchmarks.fleet import clock as clocks
from benchmarks.fleet import glance
from benchmarks.fleet import ours
from nova_rbd_multistore import arrival
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import location
from tests.fakes import cluster as clusters
from tests.fakes import endpoint as endpoints
from tests.fakes import network
from tests.simulation import stories

Kind = stories.Kind

#: Seconds after which a cluster that does not answer is given up.
OP_TIMEOUT = 5.0

#: Seconds that one takes for an answer, and that a sluggish one does.
OP_SECONDS = (0.002, 0.01)
SLUGGISH = 1.0

#: Seconds that a slow glance-api takes for an answer, at most.
SLOW = 3.0

#: Seconds that a busy one asks for.
PAUSE = 3

#: How often a user's token is not among those that Glance has had checked.
UNKNOWN = 0.2


class Killed(BaseException):
    """The process is no more."""


class Process:
    """A compute host's process: what it does, it does only while it lives.

    Stands in for its clock.
    """

    def __init__(self, clock: clocks.Clock) -> None:
        self._clock = clock
        self._frozen_until = 0.0
        self.is_dead = False

    @property
    def now(self) -> float:
        return self._clock.now

    def monotonic(self) -> float:
        return self._clock.now

    def sleep(self, seconds: float) -> None:
        self._clock.after(seconds, greenlet.getcurrent().switch)
        self.wait()

    def wait(self) -> None:
        self._clock.wait()
        self.go_on()

    def after(self, seconds: float, event: Callable[[], object]) -> None:
        self._clock.after(seconds, event)

    def start(self, program: Callable[[], object]) -> None:
        self._clock.start(program)

    def go_on(self) -> None:
        """Wait while the process is frozen.

        :raises Killed: if it was killed
        """
        while self._clock.now < self._frozen_until and not self.is_dead:
            self._clock.sleep(self._frozen_until - self._clock.now)
        if self.is_dead:
            raise Killed

    def freeze(self, seconds: float) -> None:
        self._frozen_until = max(self._frozen_until, self.now + seconds)

    def kill(self) -> None:
        self.is_dead = True


class Cluster(ours.Cluster):
    """A site's cluster as one host sees it, and as long as that takes.

    :param faults: those that the cluster has now
    """

    def __init__(
        self,
        cluster: clusters.Cluster,
        faults: set[Kind],
        process: Process,
        rng: random.Random,
    ) -> None:
        self._cluster = cluster
        self._faults = faults
        self._process = process
        self._rng = rng

    def fsid(self) -> str:
        self._ask()
        return self._cluster.fsid()

    def arrival(self, pool: str, image: str) -> arrival.Arrival:
        self._ask()
        return self._cluster.arrival(pool, image)

    def hold_lease(
        self, pool: str, name: str, owner: str, seconds: int
    ) -> bool:
        self._ask()
        held = self._cluster.hold_lease(pool, name, owner, seconds)
        self._may_lose_answer()
        return held

    def has_lease(self, pool: str, name: str) -> bool:
        self._ask()
        return self._cluster.has_lease(pool, name)

    def release_lease(self, pool: str, name: str) -> None:
        self._ask()
        self._cluster.release_lease(pool, name)
        self._may_lose_answer()

    def clone(
        self, source: location.RbdLocation, pool: str, name: str
    ) -> None:
        self._ask()
        self._cluster.clone(source, pool, name)
        self._may_lose_answer()

    def _may_lose_answer(self) -> None:
        """After what was done; what only looks is asked again anyway."""
        if Kind.DISTANT in self._faults and self._rng.random() < 0.5:
            self._process.sleep(OP_TIMEOUT)
            raise exceptions.ClusterUnreachable('[errno 110] timed out')

    def _ask(self) -> None:
        if self._process.is_dead:
            raise Killed
        if Kind.AWAY in self._faults:
            self._process.sleep(OP_TIMEOUT)
            raise exceptions.ClusterUnreachable('[errno 110] timed out')
        seconds = self._rng.uniform(*OP_SECONDS)
        if Kind.SLUGGISH in self._faults:
            seconds = SLUGGISH
        self._process.sleep(seconds)


class Api:
    """One glance-api as a process, with the faults that it has now.

    :ivar faults: with their details
    :ivar starts: how often it was started again
    """

    def __init__(self) -> None:
        self.faults: dict[Kind, str] = {}
        self.starts = 0
        self._waiting: list[greenlet.greenlet] = []

    def wait_while_frozen(self, clock: clocks.Clock) -> None:
        while Kind.FROZEN in self.faults:
            self._waiting.append(greenlet.getcurrent())
            clock.wait()

    def thaw(self, clock: clocks.Clock) -> None:
        waiting, self._waiting = self._waiting, []
        for program in waiting:
            clock.after(0.0, program.switch)


class Apis(glance.Glance):
    """Glance-apis that come and go.

    :param rng: which answers get lost
    :ivar processes: by URL
    """

    def __init__(
        self, *args: Any, clock: clocks.Clock, rng: random.Random, **kw: Any
    ) -> None:
        super().__init__(clock, *args, **kw)
        self.processes = {url: Api() for url in self.urls}
        self._programs = clocks.Programs(clock)
        self._rng = rng

    def answer(
        self, api: str, request: glance.Request, latency: glance.Latency
    ) -> network.Answer:
        """As a client sees it, who waits for so long only."""
        process = self.processes[api]
        if process.faults.keys() & {Kind.DOWN, Kind.KILLED}:
            raise ksa_exc.ConnectFailure(f'{api}: connection refused')
        if not process.faults.keys() & {Kind.FROZEN, Kind.SLOW, Kind.COLD}:
            return self._serve(api, request, latency)
        # The server will do what it was asked, whoever still waits.
        outcome = self._programs.start(
            lambda: self._serve(api, request, latency)
        )
        self._programs.wait([outcome], endpoints.TIMEOUT)
        if not outcome.done():
            outcome.add_done_callback(lambda late: late.exception())
            raise ksa_exc.ConnectTimeout(f'{api}: no answer in time')
        return outcome.result()

    def _serve(
        self, api: str, request: glance.Request, latency: glance.Latency
    ) -> network.Answer:
        process = self.processes[api]
        starts = process.starts

        def live() -> None:
            process.wait_while_frozen(self._clock)
            if process.starts != starts:
                raise ksa_exc.ConnectFailure(f'{api}: connection reset')

        live()
        if Kind.SLOW in process.faults:
            self._clock.sleep(self._rng.uniform(0.1, SLOW))
        own = self._own(process, request)
        if own is not None:
            self._clock.sleep(latency(''))
            return own
        answer = super().answer(api, request, latency)
        live()
        if Kind.LOSSY in process.faults and self._rng.random() < 0.5:
            raise ksa_exc.ConnectFailure(f'{api}: connection reset')
        if Kind.CUT in process.faults:
            with contextlib.suppress(IndexError):
                return network.Answer(
                    answer.status, answer.body[: len(answer.body) // 2]
                )
        return answer

    def _own(
        self, process: Api, request: network.Request
    ) -> network.Answer | None:
        """What it answers to anything, or to this."""
        if Kind.BUSY in process.faults:
            return network.Answer(
                503, b'', headers={'Retry-After': str(PAUSE)}
            )
        if Kind.PAGE in process.faults:
            page = b'<html>Bad Gateway</html>'
            return network.Answer(502, page, 'text/html')
        if Kind.FAILING in process.faults:
            return endpoints.error_page(500, 'it fails')
        path = network.address(request).path
        if path.endswith('/healthcheck') and Kind.SICK in process.faults:
            return endpoints.SICK
        if path.endswith('/import') and Kind.DEADLOCKED in process.faults:
            return endpoints.error_page(500, 'Deadlock found')
        if Kind.TOKENLESS in process.faults:
            return self._without_service_token(path)
        return None

    def _without_service_token(self, path: str) -> network.Answer | None:
        """Glance goes on with the user's, if it has had that checked."""
        if '/v2/' in path and self._rng.random() < UNKNOWN:
            return endpoints.error_page(401, 'This server could not verify')
        if path.endswith(('/import', '/locations')):
            return endpoints.error_page(403, 'You are not authorized')
        return None


class Session(glance.Session):
    """The way of one user's questions from one host.

    :param note: told of each question: when, to whom, what, and the status
    """

    def __init__(
        self,
        apis: Apis,
        latency: glance.Latency,
        token: str,
        process: Process,
        note: Callable[[float, str, str, int], None],
    ) -> None:
        super().__init__(apis, latency, token)
        self._process = process
        self._note = note

    def request(
        self, url: str, method: str, *others: Any, **options: Any
    ) -> requests.Response:
        if self._process.is_dead:
            raise Killed
        began, api = self._process.now, options['endpoint_override']
        status = 0
        try:
            response = super().request(url, method, *others, **options)
            status = response.status_code
        finally:
            self._note(began, api, f'{method} {url}', status)
            self._process.go_on()
        return response
