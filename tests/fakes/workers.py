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

"""Work beside the thread that wants it, on a clock that tests move."""

from collections.abc import Callable, Iterable
from concurrent import futures
import functools
from typing import Any, TypeVar

import greenlet

from nova_rbd_multistore import beside
from tests.fakes import clock as clocks

Result = TypeVar('Result')


class Workers:
    """Does each piece of work at once, until it has to wait for something.

    :param wait: whether work may have to wait. If not, it is done by whoever
        begins it, and nothing switches
    """

    def __init__(self, clock: clocks.Clock, wait: Callable[[], bool]) -> None:
        self._clock = clock
        self._may_wait = wait

    def start(self, work: Callable[[], Result]) -> futures.Future[Result]:
        outcome: futures.Future[Result] = futures.Future()
        if self._may_wait():
            run = functools.partial(beside.settle, outcome, work)
            greenlet.greenlet(run).switch()
        else:
            beside.settle(outcome, work)
        return outcome

    def wait(
        self, awaited: Iterable[futures.Future[Any]], seconds: float
    ) -> None:
        wanted = list(awaited)
        self._clock.advance_until(
            lambda: not wanted or any(one.done() for one in wanted), seconds
        )
