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

"""Log-ins that many threads want at a time, and one does for all.

keystoneauth has one thread try after another, each for as long as Keystone
does not answer.
"""

from collections.abc import Callable, Hashable, Iterable
from concurrent import futures
import contextlib
from typing import Any

#: Waits until one of some outcomes is there, but for some seconds at most.
Wait = Callable[[Iterable[futures.Future[Any]], float], object]

#: Seconds between two looks at what another thread does.
LOOK = 60.0


class _Abandoned(Exception):
    """The thread at it ended for a reason of its own."""


class Logins:
    """The log-ins of a process that are under way.

    :param wait: waits for the one at work
    """

    def __init__(self, wait: Wait = futures.wait) -> None:
        self._wait = wait
        self._running: dict[Hashable, futures.Future[None]] = {}

    def join(self, who: Hashable, log_in: Callable[[], None]) -> None:
        """Have ``log_in`` done, by this thread or by the one that is at it.

        :param who: the identity, the same for all that want it
        :raises Exception: what ``log_in`` raised: for all, since it is about
            an identity that they share
        """
        while True:
            outcome: futures.Future[None] = futures.Future()
            running = self._running.setdefault(who, outcome)
            if running is outcome:
                self._do(who, outcome, log_in)
                return
            while not running.done():
                self._wait([running], LOOK)
            with contextlib.suppress(_Abandoned):
                running.result()
                return

    def _do(
        self,
        who: Hashable,
        outcome: futures.Future[None],
        log_in: Callable[[], None],
    ) -> None:
        try:
            log_in()
        except BaseException as exc:
            del self._running[who]
            # The end of this thread is not that of others.
            is_ours = not isinstance(exc, Exception)
            outcome.set_exception(_Abandoned() if is_ours else exc)
            raise
        del self._running[who]
        outcome.set_result(None)
