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

"""Work that goes on beside the thread that wants its outcome."""

from collections.abc import Callable, Iterable
from concurrent import futures
import threading
from typing import Any, TypeVar

from oslo_context import context as oslo_context

Result = TypeVar('Result')


def start(work: Callable[[], Result]) -> futures.Future[Result]:
    """Begin ``work`` in a thread of its own.

    Works under native threads and eventlet alike. What it logs has the id of
    the request that this thread serves. Nobody need wait for it: an outcome
    that nobody asks for is forgotten, and a process that ends does not wait.

    :returns: returns what ``work`` returned, or raises what it raised
    """
    outcome: futures.Future[Result] = futures.Future()
    context = oslo_context.get_current()

    def run() -> None:
        if context is not None:
            context.update_store()
        settle(outcome, work)

    threading.Thread(target=run, name='beside', daemon=True).start()
    return outcome


def settle(
    outcome: futures.Future[Result], work: Callable[[], Result]
) -> None:
    """Do ``work``, whose result or error is the outcome."""
    try:
        result = work()
    except BaseException as exc:  # for whoever wants the result
        outcome.set_exception(exc)
        # The error has this frame, so they would be a circle.
        del outcome
    else:
        outcome.set_result(result)


def wait(outcomes: Iterable[futures.Future[Any]], seconds: float) -> None:
    """Wait until one of some outcomes is there, but so long at most."""
    futures.wait(outcomes, seconds, futures.FIRST_COMPLETED)
