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

"""Time that passes only when somebody sleeps."""

from collections.abc import Callable
import datetime
import heapq
import itertools

import greenlet

from nova_rbd_multistore import pace

_EPOCH = datetime.datetime(2026, 1, 1)


class Clock:
    """A clock whose ``sleep`` moves it on and runs what falls due meanwhile.

    It can stand in for the ``time`` module.

    :ivar now: seconds
    :ivar naps: what was slept, nap by nap
    :ivar ahead: seconds by which a host's idea of UTC is ahead of this clock
    """

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.naps: list[float] = []
        self.ahead = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def monotonic(self) -> float:
        return self.now

    def utcnow(self) -> datetime.datetime:
        return _EPOCH + datetime.timedelta(seconds=self.now)

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Let time pass without anybody's sleeping."""
        end = self.now + seconds
        while self._events and self._events[0][0] <= end:
            self.now, _, event = heapq.heappop(self._events)
            event()
        # An event may have slept itself, and for longer.
        self.now = max(self.now, end)

    def idle(self, seconds: float) -> None:
        """Wait, in a greenlet while others let time pass."""
        waiting = greenlet.getcurrent()
        starter = waiting.parent
        if starter is None:
            self.advance(seconds)
            return

        def go_on() -> None:
            waiting.parent = greenlet.getcurrent()
            waiting.switch()

        self.after(seconds, go_on)
        starter.switch()

    def advance_until(
        self, condition: Callable[[], bool], seconds: float
    ) -> None:
        """Let time pass until something is so, but so much at most."""
        end = self.now + seconds
        while not condition():
            if not self._events or self._events[0][0] > end:
                self.advance(max(end - self.now, 0.0))
                return
            self.advance(max(self._events[0][0] - self.now, 0.0))

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        """Have ``event`` run when so much time has passed."""
        due = (self.now + seconds, next(self._order), event)
        heapq.heappush(self._events, due)

    def time(
        self,
        uniform: Callable[[float, float], float] = lambda a, b: (a + b) / 2,
    ) -> pace.Time:
        """What the engine wants of time; jitter in the middle by default."""
        return pace.Time(
            self.monotonic,
            self.sleep,
            uniform,
            utcnow=lambda: (
                self.utcnow() + datetime.timedelta(seconds=self.ahead)
            ),
        )
