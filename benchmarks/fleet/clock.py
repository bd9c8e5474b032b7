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

"""Virtual time, shared by thousands of synchronous programs."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
import contextlib
import datetime
import heapq
import itertools
import math
from typing import Any, Protocol, TypeVar

import greenlet

from nova_rbd_multistore import beside

Result = TypeVar('Result')

_EPOCH = datetime.datetime(2026, 1, 1)


class Clock:
    """Runs programs as greenlets; time passes when all of them sleep.

    What falls due at one moment runs in the order in which it was asked for,
    so that a run is the same each time.

    :ivar now: seconds since the beginning
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._hub = greenlet.getcurrent()
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()

    def monotonic(self) -> float:
        return self.now

    def utcnow(self) -> datetime.datetime:
        return _EPOCH + datetime.timedelta(seconds=self.now)

    def after(self, seconds: float, event: Callable[[], object]) -> None:
        """Have ``event`` run when so much time has passed."""
        at = self.now + seconds
        if seconds > 0:
            # However little that is: who waits for what is left of a time
            # would wait for ever.
            at = max(at, math.nextafter(self.now, math.inf))
        heapq.heappush(self._due, (at, next(self._order), event))

    def start(self, program: Callable[[], object]) -> None:
        """Run a program that may sleep, beginning at this moment."""
        self.after(0.0, greenlet.greenlet(program, self._hub).switch)

    def sleep(self, seconds: float) -> None:
        """Let other programs run for some seconds."""
        self.after(seconds, greenlet.getcurrent().switch)
        self.wait()

    def wait(self) -> None:
        """Let other programs run until one has this one go on."""
        self._hub.switch()

    def run(self) -> None:
        """Run all programs to their ends.

        :raises Exception: what one of them raises
        """
        while self._due:
            self.now, _, event = heapq.heappop(self._due)
            event()


class Workers:
    """So many at a time; the others wait in line."""

    def __init__(self, clock: Clock, count: int) -> None:
        self._clock = clock
        self._idle = count
        self._line: deque[greenlet.greenlet] = deque()

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Have a worker, as soon as one is free."""
        if self._idle:
            self._idle -= 1
        else:
            self._line.append(greenlet.getcurrent())
            self._clock.wait()
        try:
            yield
        finally:
            if self._line:
                self._clock.after(0.0, self._line.popleft().switch)
            else:
                self._idle += 1


class Host(Protocol):
    """On which programs run: a clock, or what stands in for it."""

    def after(self, seconds: float, event: Callable[[], object]) -> None: ...

    def start(self, program: Callable[[], object]) -> None: ...

    def wait(self) -> None: ...


class Programs:
    """Work beside a program, each piece a program of its own."""

    def __init__(self, clock: Host) -> None:
        self._clock = clock

    def start(self, work: Callable[[], Result]) -> futures.Future[Result]:
        """Begin ``work`` at this moment."""
        outcome: futures.Future[Result] = futures.Future()
        self._clock.start(lambda: beside.settle(outcome, work))
        return outcome

    def wait(
        self, awaited: Iterable[futures.Future[Any]], seconds: float
    ) -> None:
        """Let other programs run until one has ended, or for some seconds."""
        wanted = list(awaited)
        if not wanted or any(one.done() for one in wanted):
            return
        waiting = greenlet.getcurrent()
        woken = False

        def wake(_: object = None) -> None:
            nonlocal woken
            if not woken:
                woken = True
                self._clock.after(0.0, waiting.switch)

        for one in wanted:
            one.add_done_callback(wake)
        self._clock.after(seconds, wake)
        self._clock.wait()
