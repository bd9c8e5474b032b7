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

from collections.abc import Callable, Hashable
from concurrent import futures

from nova_rbd_multistore import exceptions


class _Abandoned(Exception):
    """Who did the work stopped for a reason of his own."""


class Shared:
    """Does a piece of work once for all threads that want it at a time.

    Works under native threads and eventlet alike.
    """

    def __init__(self) -> None:
        self._running: dict[Hashable, tuple[Hashable, futures.Future[None]]]
        self._running = {}

    def do(
        self,
        key: Hashable,
        asker: Hashable,
        work: Callable[[], None],
        *,
        check: Callable[[], None],
        check_interval: float,
    ) -> None:
        """Have ``work`` done, by this thread or by the one that is at it.

        :param key: what the work is, the same for all that want it
        :param asker: on whose behalf
        :param check: raises if this thread need not wait any longer
        :param check_interval: seconds between two checks
        :raises ImageError: what ``work`` raised. What it raised for another
            asker's rights (NotForThisUser), or for a token (TokenRefused), is
            not passed on: this thread then tries for itself
        :raises HostError: what ``work`` raised
        """
        while True:
            outcome: futures.Future[None] = futures.Future()
            doer, running = self._running.setdefault(key, (asker, outcome))
            if running is outcome:
                self._work(key, outcome, work)
                return
            try:
                _await(running, check, check_interval)
            except (_Abandoned, exceptions.TokenRefused):
                continue
            except exceptions.NotForThisUser:
                if doer == asker:
                    raise
                continue
            return

    def _work(
        self,
        key: Hashable,
        outcome: futures.Future[None],
        work: Callable[[], None],
    ) -> None:
        try:
            work()
        except (exceptions.ImageError, exceptions.HostError) as exc:
            del self._running[key]
            outcome.set_exception(exc)
            raise
        except BaseException:
            del self._running[key]
            outcome.set_exception(_Abandoned())
            raise
        del self._running[key]
        outcome.set_result(None)


def _await(
    running: futures.Future[None],
    check: Callable[[], None],
    check_interval: float,
) -> None:
    while True:
        try:
            return running.result(timeout=check_interval)
        except TimeoutError:
            check()
