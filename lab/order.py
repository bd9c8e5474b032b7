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

"""Services started side by side as far as they do not need each other."""

from collections.abc import Callable, Mapping, Sequence
import concurrent.futures
import graphlib
import threading

from lab import service

Action = Callable[[service.Service], None]


def in_order(
    services: Sequence[service.Service],
    action: Action,
    given_up: threading.Event,
) -> None:
    """Each service after those it requires."""
    _walk(
        services,
        action,
        given_up,
        {item.name: item.requires for item in services},
    )


def in_reverse(
    services: Sequence[service.Service],
    action: Action,
    given_up: threading.Event,
) -> None:
    """Each service after those that require it."""
    dependents: dict[str, list[str]] = {item.name: [] for item in services}
    for item in services:
        for name in item.requires:
            dependents[name].append(item.name)
    _walk(services, action, given_up, dependents)


def _walk(
    services: Sequence[service.Service],
    action: Action,
    given_up: threading.Event,
    predecessors: Mapping[str, Sequence[str]],
) -> None:
    by_name = {item.name: item for item in services}
    order = graphlib.TopologicalSorter(predecessors)
    order.prepare()
    running: dict[concurrent.futures.Future[None], str] = {}
    with concurrent.futures.ThreadPoolExecutor(len(services)) as pool:
        try:
            while order.is_active():
                for name in order.get_ready():
                    running[pool.submit(action, by_name[name])] = name
                finished, _ = concurrent.futures.wait(
                    running, return_when=concurrent.futures.FIRST_COMPLETED
                )
                for future in finished:
                    future.result()
                    order.done(running.pop(future))
        finally:
            # At the end nobody waits; after a failure, or Control-C, this
            # ends the waiting of all others, which leaving the pool awaits.
            given_up.set()
