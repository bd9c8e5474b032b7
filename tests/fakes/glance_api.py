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
glance.async_.flows.api_image_import, in their order in time. What shows that
the real Glance keeps each of them is a table of the contributor's guide
(doc/source/contributor/simulation.rst).
"""

from collections import deque
from collections.abc import Callable, Mapping
import contextlib
import copy
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
    """A row of Glance's database; locations are URLs by store.

    :ivar members: projects that it is shared with
    """

    id: str
    owner: str = 'demo'
    visibility: str = 'public'
    status: str = 'active'
    disk_format: str | None = 'raw'
    container_format: str | None = 'bare'
    size: int = 256 * MIB
    locations: dict[str, str] = dataclasses.field(default_factory=dict)
    properties: dict[str, Any] = dataclasses.field(default_factory=dict)
    members: set[str] = dataclasses.field(default_factory=set)

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

    :ivar stores: that a copy goes to, one after another; () where it is none
    :ivar method: of an import, None for a task of another type
    :ivar must_all: whether it ends, and is taken back, when one store fails
    :ivar unfinished: why the store at hand is not going to have its snapshot
    :ivar lost: whether it is going to have the data, and Glance no record
    """

    id: str
    image: str
    stores: tuple[str, ...]
    owner: str
    request_id: str
    updated_at: datetime.datetime
    status: str = 'pending'
    message: str = ''
    type: str = 'api_image_import'
    method: str | None = 'copy-image'
    endpoint: str = ''
    must_all: bool = True
    unfinished: str | None = None
    lost: bool = False

    @property
    def input(self) -> dict[str, Any]:
        """What it was told."""
        if self.method is None:
            return {'image_id': self.image, 'loc_url': 'rbd://a/b/c/d'}
        return {
            'image_id': self.image,
            'import_req': {'method': {'name': self.method}},
            'backend': list(self.stores),
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


@dataclasses.dataclass
class _Process:
    """One glance-api, as far as its copies go.

    :ivar idle: threads for copies that have nothing to do
    :ivar starts: how often it was started again
    :ivar put_off: what it would have done while it is frozen, None if it is
        not
    """

    idle: int
    starts: int = 0
    queue: deque[tuple[Image, Task]] = dataclasses.field(default_factory=deque)
    put_off: list[Callable[[], None]] | None = None


class GlanceApi:
    """All glance-apis of a cloud: they share database and stores.

    Each may have some of the stores only, a replica of the database that lags
    behind, and a fault of its own.

    :param stores: the cluster behind each store, None for a file store
    :param task_threads: how many copies each of them works on at a time, of
        whichever images; the others are pending (``[wsgi]
        task_pool_threads``)
    :param new_id: makes an id
    :ivar pace: of the copies from now on
    :ivar failures: of the copies to come: where (``staging``, ``upload``,
        ``half-way`` in it, ``whole`` before its snapshot, ``lost`` after it),
        and why
    :ivar faults: the same by endpoint: all copies that it makes fail so
    :ivar stores_of: names of stores by endpoint, of those that have not all
    :ivar loads: seconds from a lock to its task by endpoint, of those that
        were just started
    :ivar show_locations: Glance's ``show_multiple_locations``
    :ivar limits: ``image_size_total`` of projects, in MiB, of those that have
        one
    :ivar admits_copy: policy ``copy_image``
    :ivar admits_locations: policy ``fetch_image_location``
    :ivar admits_setting: policy ``add_image_location``, but for what Glance's
        code wants beside it
    :ivar import_methods: ``enabled_import_methods``
    :ivar requests: copies that were asked for: second, store, answer
    """

    def __init__(
        self,
        clock: Clock,
        stores: Mapping[str, clusters.Cluster | None],
        task_threads: int = 16,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self.clock = clock
        self.new_id = new_id
        self.stores = dict(stores)
        self.images: dict[str, Image] = {}
        self.tasks: dict[str, Task] = {}
        self.pace = Pace()
        self.failures: list[tuple[str, str]] = []
        self.faults: dict[str, tuple[str, str]] = {}
        self.stores_of: dict[str, set[str]] = {}
        self.loads: dict[str, float] = {}
        self.show_locations = False
        self.limits: dict[str, int] = {}
        self.admits_copy: Callable[[Requester], bool] = _service_or_admin
        self.admits_locations: Callable[[Requester], bool] = _service_or_admin
        self.admits_setting: Callable[[Requester], bool] = lambda _: True
        self.import_methods = {'glance-direct', 'copy-image'}
        self.requests: list[tuple[float, str, int]] = []
        self._task_threads = task_threads
        self._processes: dict[str, _Process] = {}
        self._replicas: dict[str, tuple[dict[str, Image], dict[str, Task]]]
        self._replicas = {}

    def add_image(self, *stores: str, **fields: Any) -> Image:
        """Upload an image to some stores."""
        image = Image(self.new_id(), **fields)
        self.images[image.id] = image
        for store in stores or ('file',):
            self._locate(image, store)
        return image

    def begin_image(self, **fields: Any) -> Image:
        """Make an image without data, as Nova does for a snapshot."""
        image = Image(self.new_id(), status='queued', size=0, **fields)
        self.images[image.id] = image
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
            id=self.new_id(),
            image=image.id,
            stores=(),
            owner=owner,
            request_id=f'req-{self.new_id()}',
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

    def kill(self, endpoint: str | None = None) -> None:
        """End all copies as ``kill -9`` does: nothing is cleaned up.

        :param endpoint: the glance-api to kill, None for all
        """
        for name in [*self._processes] if endpoint is None else [endpoint]:
            starts = self._process(name).starts
            self._processes[name] = _Process(self._task_threads, starts + 1)

    def freeze(self, endpoint: str) -> None:
        """Have its copies stand still, as SIGSTOP does."""
        process = self._process(endpoint)
        process.put_off = process.put_off or []

    def thaw(self, endpoint: str) -> None:
        """Have them go on."""
        process = self._process(endpoint)
        steps, process.put_off = process.put_off or [], None
        for step in steps:
            step()

    def occupy(self, endpoint: str = '') -> Callable[[], None]:
        """Have all threads of a glance-api that are idle do something else.

        :returns: has them idle again
        """
        process = self._process(endpoint)
        taken, process.idle = process.idle, 0

        def release() -> None:
            process.idle += taken
            self._use_threads(endpoint)

        return release

    def lag(self, endpoint: str, seconds: float) -> None:
        """Have a glance-api read from a replica that is behind.

        :param seconds: from one moment at which it catches up to the next; 0
            to read what is
        """
        if not seconds:
            self._replicas.pop(endpoint, None)
            return
        mine = copy.deepcopy((self.images, self.tasks))
        self._replicas[endpoint] = mine

        def catch_up() -> None:
            if self._replicas.get(endpoint) is mine:
                self.lag(endpoint, seconds)

        self.clock.after(seconds, catch_up)

    def _process(self, endpoint: str) -> _Process:
        return self._processes.setdefault(
            endpoint, _Process(self._task_threads)
        )

    # The API

    def show(
        self, requester: Requester, image_id: str, endpoint: str = ''
    ) -> dict[str, Any]:
        """``GET /v2/images/{id}``."""
        image = self._visible(requester, image_id, endpoint)
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

    def list_images(
        self,
        requester: Requester,
        *,
        limit: int,
        marker: str | None = None,
        status: str | None = None,
        sort: str = 'created_at:desc',
    ) -> dict[str, Any]:
        """``GET /v2/images``: a page of those that the requester may see."""
        seen = []
        for image in reversed(self.images.values()):
            with contextlib.suppress(Refusal):
                seen.append(self._visible(requester, image.id))
        if sort == 'size:desc':
            seen.sort(key=lambda image: -image.size)
        listed = [image.id for image in seen if status in (None, image.status)]
        if marker:
            listed = listed[listed.index(marker) + 1 :]
        return {
            'images': [self.show(requester, each) for each in listed[:limit]]
        }

    def locations(
        self, requester: Requester, image_id: str, endpoint: str = ''
    ) -> list[dict[str, Any]]:
        """``GET /v2/images/{id}/locations``."""
        image = self._visible(requester, image_id, endpoint)
        if not self.admits_locations(requester):
            raise Refusal(403, 'You are not authorized to complete this')
        if image.status == 'deactivated' and not requester.admin:
            return []
        return self._locations(image)

    def show_tasks(
        self, requester: Requester, image_id: str, endpoint: str = ''
    ) -> dict[str, Any]:
        """``GET /v2/images/{id}/tasks``: those of the requester's project."""
        self._visible(requester, image_id, endpoint)
        _, tasks = self._replicas.get(endpoint, (self.images, self.tasks))
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
                for task in tasks.values()
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

    def change(
        self, requester: Requester, image_id: str, patch: list[dict[str, Any]]
    ) -> dict[str, Any]:
        """``PATCH /v2/images/{id}``: adds or replaces properties.

        Or adds a location, at once, where locations may be shown: Nova 31 adds
        that of a direct snapshot so.
        """
        image = self._visible(requester, image_id)
        for step in patch:
            assert step['op'] in ('add', 'replace')
            if step['path'] == '/locations/-':
                url = step['value']['url']
                image.locations[self._store_of(url, '')] = url
                image.status = 'active'
                continue
            image.properties[step['path'].removeprefix('/')] = step['value']
        return self.show(requester, image_id)

    def delete(self, requester: Requester, image_id: str) -> None:
        """``DELETE /v2/images/{id}``.

        What a copy of it is writing stays, and belongs to nobody then. Where a
        disk is a clone of it, the data before that store is gone already.
        """
        image = self._visible(requester, image_id)
        if image.owner != requester.project:
            raise Refusal(403, 'You are not authorized to complete delete')
        for store in list(image.locations):
            cluster = self.stores[store]
            if cluster is not None:
                if _has_clones(cluster, image):
                    raise Refusal(
                        409,
                        f'Image {image.id} could not be deleted because it is '
                        'in use: The image cannot be deleted because it has '
                        'snapshot(s).',
                    )
                cluster.remove(image.id)
            del image.locations[store]
        del self.images[image_id]

    def upload(
        self,
        requester: Requester,
        image_id: str,
        size: int,
        store: str | None = None,
        endpoint: str = '',
    ) -> None:
        """``PUT /v2/images/{id}/file``.

        :param store: None for the default store, which is the first
        """
        store = store or next(iter(self.stores))
        if store not in self._stores_of(endpoint):
            raise Refusal(400, f'Store for identifier {store} not found')
        image = self._visible(requester, image_id)
        if image.status != 'queued':
            raise Refusal(409, f'Image status transition from {image.status}')
        image.size = size
        self._locate(image, store)
        image.status = 'active'

    def add_location(
        self,
        requester: Requester,
        image_id: str,
        url: str,
        endpoint: str = '',
        os_hash: str | None = None,
    ) -> None:
        """``POST /v2/images/{id}/locations``; a task of Glance's does it.

        :param url: one in a store of the endpoint (to others, Glance gives no
            store)
        :param os_hash: of the data that is there, in hexadecimal digits
        """
        image = self._visible(requester, image_id)
        if image.status != 'queued':
            raise Refusal(
                409,
                "It's not allowed to add locations if image status is "
                f'{image.status}.',
            )
        if not self.admits_setting(requester):
            raise Refusal(403, 'You are not authorized to add_image_location')
        if not requester.service:
            raise Refusal(403, 'http store must be enabled')
        if os_hash is not None and not _is_hexadecimal(os_hash):
            raise Refusal(
                400,
                f'os_hash_value ({os_hash}) is not a valid hexadecimal value',
            )
        store = self._store_of(url, endpoint)

        def locate() -> None:
            image.locations[store] = url
            image.status = 'active'

        # Then the image's hash is computed.
        self.hold(image, self.pace.start + self.pace.staging)
        self._after(self.pace.start, locate)

    def _store_of(self, url: str, endpoint: str) -> str:
        """The store of an endpoint that a location is in."""
        (store,) = (
            store
            for store in self._stores_of(endpoint)
            if (cluster := self.stores[store]) is not None
            and url.startswith(f'rbd://{cluster.fsid()}/images/')
        )
        return store

    def import_image(
        self,
        requester: Requester,
        image_id: str,
        body: dict[str, Any],
        endpoint: str = '',
    ) -> str:
        """``POST /v2/images/{id}/import``; returns the request's id.

        Method copy-image.
        """
        assert body['method'] == {'name': 'copy-image'}
        status = 202
        try:
            return self._import(
                requester,
                image_id,
                tuple(body['stores']),
                body.get('all_stores_must_succeed', True),
                endpoint,
            )
        except Refusal as refusal:
            status = refusal.status
            raise
        finally:
            self.requests += [
                (self.clock.now, store, status) for store in body['stores']
            ]

    def _import(
        self,
        requester: Requester,
        image_id: str,
        stores: tuple[str, ...],
        must_all: bool,
        endpoint: str,
    ) -> str:
        if 'copy-image' not in self.import_methods:
            raise Refusal(400, "Unknown import method name 'copy-image'.")
        # Of whoever asks; what is copied counts for the image's owner.
        used = self.usage(requester.project)
        limit = self.limits.get(requester.project, used)
        if used > limit:
            raise Refusal(
                413,
                f'Project {requester.project} is over a limit for '
                f'[Resource image_size_total is over limit of {limit} due to '
                f'current usage {used} and delta 0]',
            )
        image = self._visible(requester, image_id)
        if image.status != 'active':
            raise Refusal(
                409, 'Only images with status active can be targeted'
            )
        if not self.admits_copy(requester):
            raise Refusal(403, 'You are not authorized to complete copy_image')
        stale = self._enforce_lock(image) if LOCK in image.properties else None
        for store in stores:
            if store not in self._stores_of(endpoint):
                raise Refusal(409, f'Store for identifier {store} not found')
        for store in image.locations:
            if store in stores:
                raise Refusal(
                    400, f"Image is already present at store '{store}'"
                )
        # Glance takes the id that the client sends for its own.
        request_id = requester.request_id or f'req-{self.new_id()}'
        task = Task(
            id=self.new_id(),
            image=image.id,
            stores=stores,
            owner=requester.project,
            request_id=request_id,
            updated_at=self.clock.utcnow(),
            endpoint=endpoint,
            must_all=must_all,
        )
        image.properties[LOCK] = task.id
        for store in stale.stores if stale else ():
            if image.owner != requester.project and not requester.admin:
                # As that user. The lock stays, of a task that is not stored.
                raise Refusal(
                    403, "You are not permitted to modify 'extra_properties'"
                )
            image.subtract(IMPORTING, store)
            image.subtract(FAILED, store)
        # Until the task is stored, any other request takes the lock over.
        load = self.loads.get(endpoint, self.pace.load)
        if load:
            self.clock.sleep(load)
        self.tasks[task.id] = task
        self._process(endpoint).queue.append((image, task))
        self._use_threads(endpoint)
        return request_id

    def _enforce_lock(self, image: Image) -> Task | None:
        """The task that loses the lock, if there still is one."""
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
        del image.properties[LOCK]
        return task

    # The copy, in its pool thread

    def _use_threads(self, endpoint: str) -> None:
        process = self._process(endpoint)
        while process.queue and process.idle:
            process.idle -= 1
            image, task = process.queue.popleft()
            self._then(
                self.pace.start, task, functools.partial(self._start, image)
            )

    def _free_thread(self, task: Task) -> None:
        self._process(task.endpoint).idle += 1
        self._use_threads(task.endpoint)

    def _start(self, image: Image, task: Task) -> None:
        self._say(task, 'processing', '')
        if not self._holds(image, task):
            self._say(task, 'failure', ABORTED)
            self._free_thread(task)
            return
        for store in task.stores:
            image.merge(IMPORTING, store)
            image.subtract(FAILED, store)
        self._then(
            self.pace.staging, task, functools.partial(self._staged, image)
        )

    def _holds(self, image: Image, task: Task) -> bool:
        """Whether a task still has the lock, and there is still an image."""
        return (
            image.id in self.images and image.properties.get(LOCK) == task.id
        )

    def _staged(self, image: Image, task: Task) -> None:
        if set(self._stores_of(task.endpoint)) & set(image.locations):
            where, why = self._failure_of(task)
        else:
            # Its log: "Image not found in any configured store".
            where, why = 'staging', INTERNAL_ERROR
        if where == 'staging':
            # No store was begun, so nothing of them is reverted.
            self._unlock(image, task, why)
        else:
            self._fill(image, task, task.stores[0], where, why)

    def _failure_of(self, task: Task) -> tuple[str, str]:
        if task.endpoint in self.faults:
            return self.faults[task.endpoint]
        return self.failures.pop(0) if self.failures else ('', '')

    def _fill(
        self, image: Image, task: Task, store: str, where: str, why: str
    ) -> None:
        """Begin with one store."""
        task.unfinished = why if where == 'whole' else None
        task.lost = where == 'lost'
        cluster = self.stores[store]
        if cluster is not None and ('images', image.id) in cluster.images:
            # Duplicate: the driver leaves it as it is.
            self._fail(image, task, store, why or INTERNAL_ERROR)
        elif where == 'upload':
            self._revert(image, task, store, why)
        else:
            self._upload(image, task, store, 0.0)
        if where == 'half-way':
            self._then(
                self.pace.upload / 2,
                task,
                lambda task: self._revert(image, task, store, why),
            )

    def _upload(
        self, image: Image, task: Task, store: str, seconds: float
    ) -> None:
        if store in image.properties[FAILED].split(','):
            return
        share = min(seconds / self.pace.upload, 1.0)
        written = int(image.size * share) // MIB * MIB
        cluster = self.stores[store]
        if cluster is not None:
            cluster.write(image.id, written)
        if share >= 1.0:
            why = task.unfinished
            self._then(
                self.pace.snapshot,
                task,
                lambda task: (
                    self._uploaded(image, task, store)
                    if why is None
                    else self._revert(image, task, store, why)
                ),
            )
            return
        if seconds and seconds % 60 == 0:
            if task.status != 'processing':
                self._revert(image, task, store, ABORTED)
                return
            self._say(task, 'processing', f'Copied {written // MIB} MiB')
        step = min(1.0, self.pace.upload / 16, self.pace.upload - seconds)
        self._then(
            step,
            task,
            lambda task: self._upload(image, task, store, seconds + step),
        )

    def _uploaded(self, image: Image, task: Task, store: str) -> None:
        cluster = self.stores[store]
        if cluster is not None:
            cluster.complete(image.id)
        self._then(
            self.pace.record,
            task,
            lambda task: self._finish(image, task, store),
        )

    def _finish(self, image: Image, task: Task, store: str) -> None:
        if not self._holds(image, task):
            # It may not save the location: the data stays, and is nobody's.
            self._unlock(image, task, ABORTED)
            return
        if not task.lost:
            self._locate(image, store)
        image.subtract(IMPORTING, store)
        self._go_on(image, task, store)

    def _go_on(self, image: Image, task: Task, store: str) -> None:
        """After a store: with the next, or to the end."""
        rest = task.stores[task.stores.index(store) + 1 :]
        if rest:
            self._fill(image, task, rest[0], *self._failure_of(task))
            return

        def close(task: Task) -> None:
            self._say(task, 'success', f'Copied {image.size // MIB} MiB')
            self._drop_lock(image, task)
            self._free_thread(task)

        self._then(self.pace.close, task, close)

    def _revert(
        self, image: Image, task: Task, store: str, reason: str
    ) -> None:
        cluster = self.stores[store]
        if cluster is not None:
            cluster.remove(image.id)
        self._fail(image, task, store, reason)

    def _fail(self, image: Image, task: Task, store: str, reason: str) -> None:
        goes_on = self._holds(image, task)
        if goes_on:
            image.subtract(IMPORTING, store)
            image.merge(FAILED, store)
        if goes_on and task.must_all:
            # Stores that were not begun stay among those under way.
            done = task.stores[: task.stores.index(store)]
            for earlier in reversed(done):
                self._take_back(image, earlier)
            goes_on = False
        self._then(
            self.pace.revert,
            task,
            lambda task: (
                self._go_on(image, task, store)
                if goes_on
                else self._unlock(image, task, reason)
            ),
        )

    def _take_back(self, image: Image, store: str) -> None:
        """Remove what a copy has brought, unless a disk is a clone of it."""
        cluster = self.stores[store]
        if cluster is not None:
            if _has_clones(cluster, image):
                return
            cluster.remove(image.id)
        image.locations.pop(store, None)

    def _unlock(self, image: Image, task: Task, reason: str) -> None:
        self._drop_lock(image, task)

        def close(task: Task) -> None:
            self._say(task, 'failure', reason)
            self._free_thread(task)

        self._then(self.pace.close, task, close)

    def _drop_lock(self, image: Image, task: Task) -> None:
        if image.properties.get(LOCK) == task.id:
            del image.properties[LOCK]

    def _then(
        self, seconds: float, task: Task, step: Callable[[Task], None]
    ) -> None:
        """Have the task's glance-api take a step, if it is there then."""
        self._after(seconds, lambda: step(task), task.endpoint)

    def _after(
        self, seconds: float, step: Callable[[], None], endpoint: str = ''
    ) -> None:
        starts = self._process(endpoint).starts

        def unless_killed() -> None:
            process = self._process(endpoint)
            if starts != process.starts:
                return
            if process.put_off is None:
                step()
            else:
                process.put_off.append(unless_killed)

        self.clock.after(seconds, unless_killed)

    def _say(self, task: Task, status: str, message: str) -> None:
        task.status = status
        task.message = message
        task.updated_at = self.clock.utcnow()

    # Records

    def usage(self, project: str) -> int:
        """MiB of a project's images, each counted once for each store."""
        return sum(
            image.size * len(image.locations) // MIB
            for image in self.images.values()
            if image.owner == project
        )

    def _visible(
        self, requester: Requester, image_id: str, endpoint: str = ''
    ) -> Image:
        images, _ = self._replicas.get(endpoint, (self.images, self.tasks))
        image = images.get(image_id)
        if image is None or not (
            image.visibility in ('public', 'community')
            or requester.project in image.members
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


def _has_clones(cluster: clusters.Cluster, image: Image) -> bool:
    return any(
        parent is not None and parent.image == image.id
        for parent in cluster.disks.values()
    )


def _is_hexadecimal(digits: str) -> bool:
    try:
        bytes.fromhex(digits)
    except ValueError:
        return False
    return True


def _service_or_admin(requester: Requester) -> bool:
    return requester.service or requester.admin


def wire(answer: object) -> Any:
    """An answer as it comes out of the wire."""
    return json.loads(json.dumps(answer))
