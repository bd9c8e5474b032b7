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

"""Work that many boots of a host want done, and one does for all."""

from collections.abc import Callable, Hashable, Iterable
from concurrent import futures
import math
from typing import Any, Generic, TypeVar

from nova_rbd_multistore import exceptions

Result = TypeVar('Result')

#: Waits until one of some outcomes is there, but for some seconds at most.
Wait = Callable[[Iterable[futures.Future[Any]], float], object]

#: Seconds for which a thread that is out of time waits on: the one at work has
#: most likely begun with it, and is taking its last look for all of them.
LAST_LOOK = 1.0


class _Abandoned(Exception):
    """The doer of the work stopped for a reason of its own."""


class _TooLate(Exception):
    """The doer's time was over, and with it the work."""

    def __init__(
        self, reason: exceptions.ImageError | exceptions.HostError
    ) -> None:
        super().__init__()
        self.reason = reason


class _OutOfTime(Exception):
    """This thread's time is over, whoever does the work."""


class Shared(Generic[Result]):
    """Does a piece of work once for all threads that want it at a time.

    Works under native threads and eventlet alike.

    :param wait: waits for the one at work
    """

    def __init__(self, wait: Wait = futures.wait) -> None:
        self._wait = wait
        self._running: dict[
            Hashable, tuple[Hashable, futures.Future[Result]]
        ] = {}

    def do(
        self,
        key: Hashable,
        asker: Hashable,
        work: Callable[[], Result],
        *,
        check: Callable[[], None],
        check_interval: float,
        time_left: Callable[[], float] = lambda: math.inf,
    ) -> Result | None:
        """Have ``work`` done, by this thread or by the one that is at it.

        :param key: what the work is, the same for all that want it
        :param asker: on whose behalf
        :param check: raises if this thread need not wait any longer
        :param check_interval: seconds between two checks
        :param time_left: seconds that this thread may still wait. Then it does
            the work itself, which must see that there is no time left
        :returns: what ``work`` returned, or None if it was done on behalf of
            another asker: what that one was told is not for this one's eyes
        :raises ImageError: what ``work`` raised. What it raised for another
            asker's rights (NotForThisUser), or for a token (TokenRefused), is
            not passed on: this thread then tries for itself. Nor is it for
            want of time (CopyTimedOut), if this thread has some left
        :raises HostError: what ``work`` raised; not if that was at the end of
            the other thread's time, and this one has some left
        """
        while True:
            outcome: futures.Future[Result] = futures.Future()
            doer, running = self._running.setdefault(key, (asker, outcome))
            if running is outcome:
                return self._work(key, outcome, work, time_left)
            try:
                result = self._await(running, check, check_interval, time_left)
            except (_Abandoned, exceptions.TokenRefused):
                continue
            except _TooLate as exc:
                late = exc.reason
            except _OutOfTime:
                return work()
            except exceptions.NotForThisUser:
                if doer == asker:
                    raise
                continue
            else:
                return result if doer == asker else None
            # Not in the handler: the two would be each other's context.
            if time_left() <= 0:
                raise late

    def _work(
        self,
        key: Hashable,
        outcome: futures.Future[Result],
        work: Callable[[], Result],
        time_left: Callable[[], float],
    ) -> Result:
        try:
            result = work()
        except (exceptions.ImageError, exceptions.HostError) as exc:
            del self._running[key]
            late = isinstance(exc, exceptions.CopyTimedOut) or (
                isinstance(exc, exceptions.HostError) and time_left() <= 0
            )
            outcome.set_exception(_TooLate(exc) if late else exc)
            raise
        except BaseException:
            del self._running[key]
            outcome.set_exception(_Abandoned())
            raise
        del self._running[key]
        outcome.set_result(result)
        return result

    def _await(
        self,
        running: futures.Future[Result],
        check: Callable[[], None],
        check_interval: float,
        time_left: Callable[[], float],
    ) -> Result:
        while True:
            left = max(time_left() + LAST_LOOK, 0.0)
            self._wait([running], min(check_interval, left))
            if running.done():
                return running.result()
            if not left:
                raise _OutOfTime
            check()
