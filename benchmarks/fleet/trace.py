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

"""What computes asked Glance, and were told, second by second.

A trace is recorded on a real cloud (:mod:`benchmarks.fleet.record`) or in
virtual time (:mod:`benchmarks.fleet.replay`), by the same wrappers. Ids are
replaced by names, so that two traces can be compared.
"""

from collections.abc import Callable, Iterable, Mapping
import dataclasses
import json
import pathlib
from typing import Any, Self
import urllib.parse

from keystoneauth1 import session as ksa_session
import requests

from benchmarks.fleet import ours
from nova_rbd_multistore import arrival
from nova_rbd_multistore import image as image_values
from nova_rbd_multistore import location
from nova_rbd_multistore import task as task_values

#: What a look into the local cluster is called among the questions.
PROBE = 'probe'

#: And an attempt at the lead among the hosts of a site, and a look at it.
LEASE = 'lease'
LEASE_LOOK = 'look at lease'

OF_CLUSTER = (PROBE, LEASE, LEASE_LOOK)


@dataclasses.dataclass(frozen=True)
class Event:
    """One question of one host, and its answer.

    :ivar api: the glance-api that was asked, '' for one to the cluster
    :ivar began: seconds from the beginning of the trace; ``ended`` likewise
    :ivar answer: what our backend reads of it
    """

    host: str
    question: str
    api: str
    began: float
    ended: float
    status: int
    answer: Any

    @property
    def told(self) -> tuple[str, str, int, Any]:
        """What is the same in each run of the same story."""
        return self.question, self.api, self.status, self.answer


@dataclasses.dataclass(frozen=True)
class Host:
    """A compute host of the story.

    :ivar boots_at: second at which it boots its server
    :ivar seed: of what it chooses by chance
    """

    name: str
    store: str
    boots_at: float
    seed: int


@dataclasses.dataclass
class Trace:
    """A story, as it was recorded.

    :ivar size: of the image, in bytes
    :ivar poll_interval: of all hosts, in seconds
    """

    size: int
    poll_interval: float
    hosts: list[Host]
    events: list[Event] = dataclasses.field(default_factory=list)

    @classmethod
    def load(cls, path: pathlib.Path) -> Self:
        read = json.loads(path.read_text())
        return cls(
            read['size'],
            read['poll_interval'],
            [Host(**host) for host in read['hosts']],
            [Event(**event) for event in read['events']],
        )

    def save(self, path: pathlib.Path) -> None:
        """Write it as JSON, a line for each event."""
        story = dataclasses.asdict(self)
        events = ',\n'.join(map(json.dumps, story.pop('events')))
        head = json.dumps(story)[:-1]
        path.write_text(f'{head}, "events": [\n{events}\n]}}\n')

    def of(self, host: str) -> list[Event]:
        """What one host asked Glance, in order."""
        return [
            event
            for event in self.events
            if event.host == host and event.question not in OF_CLUSTER
        ]


class Names:
    """Names in place of ids, which differ from run to run."""

    def __init__(self, known: Mapping[str, str]) -> None:
        self._known = dict(known)
        self._tasks = 0

    def of_task(self, task: str | None) -> str | None:
        if task is not None and task not in self._known:
            self._tasks += 1
            self._known[task] = f'task-{self._tasks}'
        return task and self._known[task]

    def within(self, text: str) -> str:
        for known, name in self._known.items():
            text = text.replace(known, name)
        return text


class Recorder:
    """Notes what one host asks.

    :param began: when the trace began, by ``clock``
    """

    def __init__(
        self,
        trace: Trace,
        host: str,
        names: Names,
        clock: Callable[[], float],
        began: float,
    ) -> None:
        self._trace = trace
        self._host = host
        self._names = names
        self._clock = clock
        self._began = began

    def now(self) -> float:
        return round(self._clock() - self._began, 4)

    def asked(
        self, url: str, method: str, began: float, answer: requests.Response
    ) -> None:
        """Note a question to a glance-api."""
        parts = urllib.parse.urlsplit(url)
        self._note(
            self._names.within(f'{method} {parts.path}'),
            self._names.within(parts.netloc),
            began,
            answer.status_code,
            self._read(parts.path.rpartition('/')[2], answer),
        )

    def looked(self, began: float, arrival: arrival.Arrival) -> None:
        """Note a look into the cluster."""
        self._note(PROBE, '', began, 0, dataclasses.asdict(arrival))

    def held(self, began: float, held: bool) -> None:
        """Note an attempt to get the lead."""
        self._note(LEASE, '', began, 0, held)

    def looked_at_lease(self, began: float, there: bool) -> None:
        """Note a look at the lead."""
        self._note(LEASE_LOOK, '', began, 0, there)

    def _note(
        self, question: str, api: str, began: float, status: int, told: Any
    ) -> None:
        self._trace.events.append(
            Event(self._host, question, api, began, self.now(), status, told)
        )

    def _read(self, path_end: str, answer: requests.Response) -> Any:
        if answer.status_code != 200:
            return None
        match path_end:
            case 'healthcheck':
                return None
            case 'stores':
                return sorted(image_values.store_ids(answer.json()))
            case 'locations':
                return self._locations(
                    image_values.image_locations(answer.json())
                )
            case 'tasks':
                return self._tasks(task_values.copy_tasks(answer.json()))
            case _:
                return self._record(
                    image_values.ImageRecord.from_answer(answer.json())
                )

    def _locations(
        self, locations: Iterable[image_values.ImageLocation]
    ) -> list[tuple[str | None, str]]:
        return [
            (
                entry.store,
                self._names.within(entry.url)
                if isinstance(location.parse(entry.url), location.RbdLocation)
                else urllib.parse.urlsplit(entry.url).scheme,
            )
            for entry in locations
        ]

    def _tasks(
        self, tasks: Iterable[task_values.CopyTask]
    ) -> list[dict[str, Any]]:
        return [
            {
                'id': self._names.of_task(task.id),
                'status': task.status.value,
                'stores': sorted(task.stores),
                'message': task.message,
            }
            for task in sorted(tasks, key=lambda task: task.updated_at)
        ]

    def _record(self, record: image_values.ImageRecord) -> dict[str, Any]:
        return {
            'status': record.status,
            'disk_format': record.disk_format,
            'size': record.size,
            'stores': sorted(record.stores),
            'importing': sorted(record.importing),
            'failed': sorted(record.failed),
            'lock': self._names.of_task(record.lock),
        }


class Session(ksa_session.Session):
    """Another session, with notes of what goes through it."""

    def __init__(
        self, session: ksa_session.Session, recorder: Recorder
    ) -> None:
        super().__init__()
        self._inner = session
        self._recorder = recorder

    def request(
        self, url: str, method: str, *others: Any, **options: Any
    ) -> requests.Response:
        began = self._recorder.now()
        answer = self._inner.request(url, method, *others, **options)
        base = options['endpoint_override'].rstrip('/')
        self._recorder.asked(base + url, method, began, answer)
        return answer


class Cluster:
    """Another cluster, with notes of what it shows and grants."""

    def __init__(self, cluster: ours.Cluster, recorder: Recorder) -> None:
        self._cluster = cluster
        self._recorder = recorder

    def fsid(self) -> str:
        return self._cluster.fsid()

    def clone(
        self, source: location.RbdLocation, pool: str, name: str
    ) -> None:
        self._cluster.clone(source, pool, name)

    def hold_lease(
        self, pool: str, name: str, owner: str, seconds: int
    ) -> bool:
        began = self._recorder.now()
        held = self._cluster.hold_lease(pool, name, owner, seconds)
        self._recorder.held(began, held)
        return held

    def has_lease(self, pool: str, name: str) -> bool:
        began = self._recorder.now()
        there = self._cluster.has_lease(pool, name)
        self._recorder.looked_at_lease(began, there)
        return there

    def release_lease(self, pool: str, name: str) -> None:
        self._cluster.release_lease(pool, name)

    def arrival(self, pool: str, image: str) -> arrival.Arrival:
        began = self._recorder.now()
        arrival = self._cluster.arrival(pool, image)
        self._recorder.looked(began, arrival)
        return arrival
