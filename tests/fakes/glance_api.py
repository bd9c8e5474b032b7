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

"""Glance, kept in memory: its records, its rules, its words on the wire.

The rules are those of Glance 33, from glance.api.v2.images and
glance.async_.flows.api_image_import, in their order in time.
"""

from collections import deque
from collections.abc import Callable, Mapping
import dataclasses
import datetime
import functools
import json
from typing import Any, Protocol
import uuid

from nova_rbd_multistore import task as task_values
from tests.fakes import cluster as clusters

MIB = 1024 * 1024

#: What Glance says of a failure in the store's driver.
INTERNAL_ERROR = 'Task failed due to Internal Error'
#: What it says when the image's lock is not the task's (any more).
ABORTED = 'Task was aborted externally'
#: What it says of a task whose lock has aged, and was taken over.
PREEMPTED = 'Expired lock preempted'

#: What it says of a quota that was used up when the copy was to begin.
OVER_QUOTA = (
    'The request returned a 413 Request Entity Too Large. This generally '
    'means that rate limiting or a quota threshold was breached.\n\nThe '
    'response body:\nProject demo is over a limit for image_stage_total'
)

LOCK = 'os_glance_import_task'
IMPORTING = 'os_glance_importing_to_stores'
FAILED = 'os_glance_failed_import'


class Clock(Protocol):
    """Time as it passes for copies.

    :ivar now: seconds
    """

    now: float

    def utcnow(self) -> datetime.datetime: ...

    def sleep(self, seconds: float) -> None: ...

    def after(self, seconds: float, event: Callable[[], None], /) -> None: ...


class Refusal(Exception):
    """An answer from 400 on."""

    def __init__(self, status: int, explanation: str) -> None:
        super().__init__(f'HTTP {status}: {explanation}')
        self.status = status
        self.explanation = explanation


@dataclasses.dataclass(frozen=True)
class Requester:
    """The user of a request.

    :ivar service: whether a service token came along
    """

    project: str = 'demo'
    admin: bool = False
    service: bool = False
    request_id: str | None = None


@dataclasses.dataclass
class Image:
    """A row of Glance's database; locations are URLs by store."""

    id: str
    owner: str = 'demo'
    visibility: str = 'public'
    status: str = 'active'
    disk_format: str | None = 'raw'
    container_format: str | None = 'bare'
    size: int = 256 * MIB
    locations: dict[str, str] = dataclasses.field(default_factory=dict)
    properties: dict[str, Any] = dataclasses.field(default_factory=dict)

    def merge(self, name: str, store: str) -> None:
        stores = set(filter(None, self._listed(name))) | {store}
        self.properties[name] = ','.join(sorted(stores))

    def subtract(self, name: str, store: str) -> None:
        stores = set(filter(None, self._listed(name))) - {store}
        # The property stays, empty: so does Glance's.
        self.properties[name] = ','.join(sorted(stores))

    def _listed(self, name: str) -> list[str]:
        listed: list[str] = self.properties.get(name, '').split(',')
        return listed


@dataclasses.dataclass
class Task:
    """A task that holds, or has held, an image's lock.

    :ivar store: that a copy goes to, '' where it is none
    :ivar method: of an import, None for a task of another type
    """

    id: str
    image: str
    store: str
    owner: str
    request_id: str
    updated_at: datetime.datetime
    status: str = 'pending'
    message: str = ''
    type: str = 'api_image_import'
    method: str | None = 'copy-image'
    endpoint: str = ''

    @property
    def input(self) -> dict[str, Any]:
        """What it was told."""
        if self.method is None:
            return {'image_id': self.image, 'loc_url': 'rbd://a/b/c/d'}
        return {
            'image_id': self.image,
            'import_req': {'method': {'name': self.method}},
            'backend': [self.store] if self.store else [],
        }


@dataclasses.dataclass
class Pace:
    """How long each part of a copy takes, in seconds.

    :ivar load: from taking the lock to storing its task: some ms, but 1.5 to
        2.5 s for the first copy of a glance-api that has just been started
    """

    load: float = 0.0
    start: float = 0.2
    staging: float = 2.0
    upload: float = 8.0
    snapshot: float = 0.0
    record: float = 0.04
    revert: float = 0.01
    close: float = 0.01


class GlanceApi:
    """All glance-apis of a cloud: they share database and stores.

    Each may have some of the stores only, and a fault of its own.

    :param stores: the cluster behind each store, None for a file store
    :param task_threads: how many copies are worked on at a time, of whichever
        images; the others are pending (``[wsgi] task_pool_threads``)
    :ivar pace: of the copies from now on
    :ivar failures: of the copies to come: where (``staging``, ``upload``,
        ``half-way`` in it, ``whole`` before its snapshot, ``lost`` after it),
        and why
    :ivar faults: the same by endpoint: all copies that it makes fail so
    :ivar stores_of: names of stores by endpoint, of those that have not all
    :ivar show_locations: Glance's ``show_multiple_locations``
    :ivar over_quota: whether ``image_size_total`` is used up
    :ivar admits_copy: policy ``copy_image``
    :ivar admits_locations: policy ``fetch_image_location``
    :ivar requests: copies that were asked for: second, store, answer
    """

    def __init__(
        self,
        clock: Clock,
        stores: Mapping[str, clusters.Cluster | None],
        task_threads: int = 16,
    ) -> None:
        self.clock = clock
        self.stores = dict(stores)
        self.images: dict[str, Image] = {}
        self.tasks: dict[str, Task] = {}
        self.pace = Pace()
        self.failures: list[tuple[str, str]] = []
        self.faults: dict[str, tuple[str, str]] = {}
        self.stores_of: dict[str, set[str]] = {}
        self.show_locations = False
        self.over_quota = False
        self.admits_copy: Callable[[Requester], bool] = _service_or_admin
        self.admits_locations: Callable[[Requester], bool] = _service_or_admin
        self.requests: list[tuple[float, str, int]] = []
        self._task_threads = task_threads
        self._idle_threads = task_threads
        self._queue: deque[tuple[Image, Task]] = deque()
        self._boots = 0
        self._lost = False
        self._unfinished: str | None = None

    def add_image(self, *stores: str, **fields: Any) -> Image:
        """Upload an image to some stores."""
        image = Image(str(uuid.uuid4()), **fields)
        self.images[image.id] = image
        for store in stores or ('file',):
            self._locate(image, store)
        return image

    def hold(
        self,
        image: Image,
        seconds: float,
        *,
        owner: str = 'demo',
        method: str | None = None,
    ) -> Task:
        """Have another task than a copy hold an active image's lock.

        :param method: of an import; without one, Glance hashes a location
            that was added. Neither gives a sign of life
        """
        task = Task(
            id=str(uuid.uuid4()),
            image=image.id,
            store='',
            owner=owner,
            request_id=f'req-{uuid.uuid4()}',
            updated_at=self.clock.utcnow(),
            status='processing',
            type='api_image_import' if method else 'location_import',
            method=method,
        )
        self.tasks[task.id] = task
        image.properties[LOCK] = task.id

        def close() -> None:
            del image.properties[LOCK]
            self._say(task, 'success', '')

        self._after(seconds, close)
        return task

    def kill(self) -> None:
        """End all copies as ``kill -9`` does: nothing is cleaned up."""
        self._boots += 1
        self._idle_threads = self._task_threads
        self._queue.clear()

    # The API

    def show(self, requester: Requester, image_id: str) -> dict[str, Any]:
        """``GET /v2/images/{id}``."""
        image = self._visible(requester, image_id)
        shown = {
            'id': image.id,
            'name': 'an image',
            'status': image.status,
            'owner': image.owner,
            'visibility': image.visibility,
            'disk_format': image.disk_format,
            'container_format': image.container_format,
            'size': image.size,
            'virtual_size': None,
            'tags': [],
            'self': f'/v2/images/{image.id}',
            'schema': '/v2/schemas/image',
            **image.properties,
        }
        if self.show_locations:
            shown['locations'] = self._locations(image)
        if image.locations:
            shown['stores'] = ','.join(image.locations)
        return shown

    def locations(
        self, requester: Requester, image_id: str
    ) -> list[dict[str, Any]]:
        """``GET /v2/images/{id}/locations``."""
        image = self._visible(requester, image_id)
        if not self.admits_locations(requester):
            raise Refusal(403, 'You are not authorized to complete this')
        return self._locations(image)

    def show_tasks(
        self, requester: Requester, image_id: str
    ) -> dict[str, Any]:
        """``GET /v2/images/{id}/tasks``: those of the requester's project."""
        self._visible(requester, image_id)
        return {
            'tasks': [
                {
                    'id': task.id,
                    'type': task.type,
                    'status': task.status,
                    'owner': task.owner,
                    'image_id': task.image,
                    'request_id': task.request_id,
                    'updated_at': f'{task.updated_at:%Y-%m-%dT%H:%M:%S.%f}',
                    'input': task.input,
                    'result': None,
                    'message': task.message,
                }
                for task in self.tasks.values()
                if task.image == image_id
                and (requester.admin or task.owner == requester.project)
            ]
        }

    def show_stores(self, endpoint: str = '') -> dict[str, Any]:
        """``GET /v2/info/stores``."""
        stores = [{'id': store} for store in self._stores_of(endpoint)]
        return {'stores': stores}

    def _stores_of(self, endpoint: str) -> list[str]:
        mine = self.stores_of.get(endpoint, self.stores)
        return [store for store in self.stores if store in mine]

    def import_image(
        self,
        requester: Requester,
        image_id: str,
        body: dict[str, Any],
        endpoint: str = '',
    ) -> str:
        """``POST /v2/images/{id}/import``; returns the request's id.

        Method copy-image to one store, which must succeed.
        """
        assert body['method'] == {'name': 'copy-image'}
        assert body.get('all_stores_must_succeed', True)
        (store,) = body['stores']
        try:
            request_id = self._import(requester, image_id, store, endpoint)
        except Refusal as refusal:
            self.requests.append((self.clock.now, store, refusal.status))
            raise
        self.requests.append((self.clock.now, store, 202))
        return request_id

    def _import(
        self, requester: Requester, image_id: str, store: str, endpoint: str
    ) -> str:
        if self.over_quota:
            raise Refusal(413, 'Project is over a limit for image_size_total')
        image = self._visible(requester, image_id)
        if image.status != 'active':
            raise Refusal(
                409, 'Only images with status active can be targeted'
            )
        if not self.admits_copy(requester):
            raise Refusal(403, 'You are not authorized to complete copy_image')
        if LOCK in image.properties:
            self._enforce_lock(image)
        if store not in self._stores_of(endpoint):
            raise Refusal(409, f'Store for identifier {store} not found')
        if store in image.locations:
            raise Refusal(400, f"Image is already present at store '{store}'")
        # Glance takes the id that the client sends for its own.
        request_id = requester.request_id or f'req-{uuid.uuid4()}'
        task = Task(
            id=str(uuid.uuid4()),
            image=image.id,
            store=store,
            owner=requester.project,
            request_id=request_id,
            updated_at=self.clock.utcnow(),
            endpoint=endpoint,
        )
        image.properties[LOCK] = task.id
        # Until the task is stored, any other request takes the lock over.
        if self.pace.load:
            self.clock.sleep(self.pace.load)
        self.tasks[task.id] = task
        self._queue.append((image, task))
        self._use_threads()
        return request_id

    def _enforce_lock(self, image: Image) -> None:
        task = self.tasks.get(image.properties[LOCK])
        if task is not None:
            kept = (
                task_values.LOCK_KEPT_PENDING
                if task.status == 'pending'
                else task_values.LOCK_KEPT
            )
            if self.clock.utcnow() - task.updated_at < kept:
                raise Refusal(409, 'Image has active task')
            if task.status in ('pending', 'processing'):
                self._say(task, 'failure', PREEMPTED)
            image.subtract(IMPORTING, task.store)
            image.subtract(FAILED, task.store)
        del image.properties[LOCK]

    # The copy, in its pool thread

    def _use_threads(self) -> None:
        while self._queue and self._idle_threads:
            self._idle_threads -= 1
            self._after(
                self.pace.start,
                functools.partial(self._start, *self._queue.popleft()),
            )

    def _free_thread(self) -> None:
        self._idle_threads += 1
        self._use_threads()

    def _start(self, image: Image, task: Task) -> None:
        self._say(task, 'processing', '')
        if image.properties.get(LOCK) != task.id:
            self._say(task, 'failure', ABORTED)
            self._free_thread()
            return
        image.merge(IMPORTING, task.store)
        image.subtract(FAILED, task.store)
        self._after(self.pace.staging, lambda: self._staged(image, task))

    def _staged(self, image: Image, task: Task) -> None:
        where, why = self._failure_of(image, task)
        self._unfinished = why if where == 'whole' else None
        if where == 'staging':
            # Nothing of the store's was begun, so nothing of it is reverted.
            self._unlock(image, task, why)
        elif where == 'upload':
            self._revert(image, task, why)
        else:
            self._upload(image, task, 0.0)
        if where == 'half-way':
            self._after(
                self.pace.upload / 2, lambda: self._revert(image, task, why)
            )
        self._lost = where == 'lost'

    def _failure_of(self, image: Image, task: Task) -> tuple[str, str]:
        if not set(self._stores_of(task.endpoint)) & set(image.locations):
            # Its log: "Image not found in any configured store".
            return 'staging', INTERNAL_ERROR
        if task.endpoint in self.faults:
            return self.faults[task.endpoint]
        return self.failures.pop(0) if self.failures else ('', '')

    def _upload(self, image: Image, task: Task, seconds: float) -> None:
        if task.store in image.properties[FAILED].split(','):
            return
        share = min(seconds / self.pace.upload, 1.0)
        written = int(image.size * share) // MIB * MIB
        cluster = self.stores[task.store]
        if cluster is not None:
            cluster.write(image.id, written)
        if share >= 1.0:
            why = self._unfinished
            self._after(
                self.pace.snapshot,
                lambda: (
                    self._uploaded(image, task)
                    if why is None
                    else self._revert(image, task, why)
                ),
            )
            return
        if seconds and seconds % 60 == 0:
            self._say(task, 'processing', f'Copied {written // MIB} MiB')
        step = min(1.0, self.pace.upload / 16, self.pace.upload - seconds)
        self._after(step, lambda: self._upload(image, task, seconds + step))

    def _uploaded(self, image: Image, task: Task) -> None:
        cluster = self.stores[task.store]
        if cluster is not None:
            cluster.complete(image.id)
        self._after(self.pace.record, lambda: self._finish(image, task))

    def _finish(self, image: Image, task: Task) -> None:
        if not self._lost:
            self._locate(image, task.store)
        image.subtract(IMPORTING, task.store)

        def close() -> None:
            self._say(task, 'success', f'Copied {image.size // MIB} MiB')
            del image.properties[LOCK]
            self._free_thread()

        self._after(self.pace.close, close)

    def _revert(self, image: Image, task: Task, reason: str) -> None:
        cluster = self.stores[task.store]
        if cluster is not None:
            cluster.remove(image.id)
        image.subtract(IMPORTING, task.store)
        image.merge(FAILED, task.store)
        self._after(
            self.pace.revert, lambda: self._unlock(image, task, reason)
        )

    def _unlock(self, image: Image, task: Task, reason: str) -> None:
        del image.properties[LOCK]

        def close() -> None:
            self._say(task, 'failure', reason)
            self._free_thread()

        self._after(self.pace.close, close)

    def _after(self, seconds: float, step: Callable[[], None]) -> None:
        boots = self._boots

        def unless_killed() -> None:
            if boots == self._boots:
                step()

        self.clock.after(seconds, unless_killed)

    def _say(self, task: Task, status: str, message: str) -> None:
        task.status = status
        task.message = message
        task.updated_at = self.clock.utcnow()

    # Records

    def _visible(self, requester: Requester, image_id: str) -> Image:
        image = self.images.get(image_id)
        if image is None or not (
            image.visibility == 'public'
            or image.owner == requester.project
            or requester.admin
        ):
            raise Refusal(404, f'No image found with ID {image_id}')
        return image

    def _locate(self, image: Image, store: str) -> None:
        cluster = self.stores[store]
        image.locations[store] = (
            f'file:///var/lib/glance/images/{image.id}'
            if cluster is None
            else cluster.complete(image.id)
        )

    def _locations(self, image: Image) -> list[dict[str, Any]]:
        return [
            {'url': url, 'metadata': {'store': store}}
            for store, url in image.locations.items()
        ]


def _service_or_admin(requester: Requester) -> bool:
    return requester.service or requester.admin


def wire(answer: object) -> Any:
    """An answer as it comes out of the wire."""
    return json.loads(json.dumps(answer))
