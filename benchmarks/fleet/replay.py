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

"""A trace of the lab, told again by the simulator.

Glance's part is played by the simulator's Glance, whose copies take as long
as the recorded ones; the hosts' part by the engine. Ceph shows and grants what
it did in the lab, and each answer comes when it came there. What is asked of
Glance, of which API and in which order, and what it answers, comes out of the
simulation.
"""

from collections.abc import Callable, Iterable, Mapping
import dataclasses
import functools
import random
from typing import Any

from keystoneauth1 import token_endpoint

from benchmarks.fleet import clock as clocks
from benchmarks.fleet import glance
from benchmarks.fleet import ours
from benchmarks.fleet import trace
from nova_rbd_multistore import arrival
from tests.fakes import cluster as clusters
from tests.fakes import glance_api

#: The source of the copies.
SOURCE = 'file'


def replay(recorded: trace.Trace) -> trace.Trace:
    """Have the recorded hosts boot in virtual time."""
    clock = clocks.Clock()
    sites = {
        host.store: clusters.Cluster(f'fsid-{host.store}', clock.monotonic)
        for host in recorded.hosts
    }
    apis = glance.Glance(
        clock,
        {SOURCE: None, **dict(sorted(sites.items()))},
        count=2,
        workers=len(recorded.hosts),
    )
    image = apis.rules.add_image(SOURCE, size=recorded.size)
    for at, pace in paces(recorded):
        clock.after(at, functools.partial(setattr, apis.rules, 'pace', pace))
    known = {image.id: '{image}'}
    for number, url in enumerate(apis.urls):
        known[url.split('/')[2]] = f'glance-{number + 1}'
    for store, cluster in sites.items():
        known[cluster.fsid()] = f'{{fsid-{store}}}'
    names = trace.Names(known)

    replayed = dataclasses.replace(recorded, events=[])
    for host in recorded.hosts:
        recorder = trace.Recorder(
            replayed, host.name, names, clock.monotonic, 0.0
        )
        of_host = [
            event for event in recorded.events if event.host == host.name
        ]
        booting = ours.Compute(
            host.name,
            host.store,
            trace.Cluster(
                _Cluster(sites[host.store], clock, of_host),
                recorder,
            ),
            trace.Session(
                glance.Session(apis, _in_time(clock, recorded.of(host.name))),
                recorder,
            ),
            token_endpoint.Token('http://keystone', 'token'),
            apis.urls,
            dataclasses.replace(
                ours.LIMITS, poll_interval=recorded.poll_interval
            ),
            clock,
            clocks.Programs(clock),
            random.Random(host.seed),
            clock.utcnow,
        )
        clock.after(
            host.boots_at,
            functools.partial(
                clock.start, functools.partial(booting.boot, image.id)
            ),
        )
    clock.run()
    return replayed


def paces(recorded: trace.Trace) -> list[tuple[float, glance_api.Pace]]:
    """How long each recorded copy took, part by part, and from when on.

    What nobody saw happen is taken to have happened in the middle between
    the last look before it and the first after it.
    """
    paces = []
    free = 0.0
    for asked in recorded.events:
        if not asked.question.endswith('/import') or asked.status != 202:
            continue
        (store,) = [
            host.store for host in recorded.hosts if host.name == asked.host
        ]
        copy = _Copy(recorded, store, asked.ended)
        paces.append(((free + asked.began) / 2, copy.pace))
        free = copy.closed
    return paces


class _Copy:
    """A recorded copy.

    :param begins: when it was asked for
    :ivar pace: how long each part of it took
    :ivar closed: when the image was free again
    """

    def __init__(
        self, recorded: trace.Trace, store: str, begins: float
    ) -> None:
        of_site = {host.name for host in recorded.hosts if host.store == store}
        later = [event for event in recorded.events if event.ended > begins]
        self._begins = begins
        self._store = store
        self._looks = [
            event
            for event in later
            if event.question == trace.PROBE and event.host in of_site
        ]
        self._records = [
            event
            for event in later
            if event.question == 'GET /v2/images/{image}'
        ]

        began = self._first(self._records, self._is_importing)
        there = self._first(self._looks, lambda look: look['exists'])
        complete = self._first(self._looks, lambda look: look['complete'])
        listed = self._first(self._records, self._is_listed)
        self.closed = self._first(self._records, lambda rec: not rec['lock'])
        began = min(began, there)
        listed = max(listed, complete)
        self.pace = glance_api.Pace(
            start=began - begins,
            staging=there - began,
            upload=complete - there,
            record=listed - complete,
            close=self.closed - listed,
        )

    def _is_importing(self, record: Mapping[str, Any]) -> bool:
        return self._store in record['importing']

    def _is_listed(self, record: Mapping[str, Any]) -> bool:
        return self._store in record['stores']

    def _first(
        self,
        events: Iterable[trace.Event],
        is_so: Callable[[Mapping[str, Any]], bool],
    ) -> float:
        before = self._begins
        for event in sorted(events, key=lambda event: event.ended):
            if is_so(event.answer):
                return (before + event.ended) / 2
            before = event.ended
        # Nobody was there to see it.
        return before + 1.0


class _Cluster:
    """A cluster that says what the lab's said, as long as that goes.

    How the bytes of a copy drip in is Ceph's affair, and who of two hosts that
    want the lead at once is the first.
    """

    def __init__(
        self,
        cluster: clusters.Cluster,
        clock: clocks.Clock,
        events: list[trace.Event],
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._looks, self._leases, self._lease_looks = (
            iter([event for event in events if event.question == question])
            for question in trace.OF_CLUSTER
        )
        self.fsid = cluster.fsid
        self.clone = cluster.clone
        self.release_lease = cluster.release_lease

    def hold_lease(
        self, pool: str, name: str, owner: str, seconds: int
    ) -> bool:
        held = next(self._leases, None)
        if held is None:
            return self._cluster.hold_lease(pool, name, owner, seconds)
        self._clock.sleep(max(held.ended - self._clock.now, 0.0))
        return bool(held.answer)

    def has_lease(self, pool: str, name: str) -> bool:
        there = next(self._lease_looks, None)
        if there is None:
            return self._cluster.has_lease(pool, name)
        self._clock.sleep(max(there.ended - self._clock.now, 0.0))
        return bool(there.answer)

    def arrival(self, pool: str, image: str) -> arrival.Arrival:
        seen = next(self._looks, None)
        if seen is None:
            return self._cluster.arrival(pool, image)
        self._clock.sleep(max(seen.ended - self._clock.now, 0.0))
        return arrival.Arrival(**seen.answer)


def _in_time(
    clock: clocks.Clock, events: Iterable[trace.Event]
) -> glance.Latency:
    """Has each answer come when it came in the lab."""
    ends = (event.ended for event in events)
    return lambda _path: max(next(ends, 0.0) - clock.now, 0.0)
