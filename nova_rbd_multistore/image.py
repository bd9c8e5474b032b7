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

"""Glance's answers about an image, read once into values.

Everything here is as Glance's image API v2 sends it. In particular
``stores``, ``os_glance_importing_to_stores`` and ``os_glance_failed_import``
are comma-separated *strings* of store names.
"""

from collections.abc import Mapping
import dataclasses
import datetime
import enum
from typing import Any, Self

from oslo_utils import timeutils

from nova_rbd_multistore import text

#: Glance keeps names with this prefix for stores of its own.
RESERVED_PREFIX = 'os_glance_'

#: Of Glance's database: a signed integer of 64 bits, a column of 255.
MAX_SIZE = 2**63 - 1
MAX_IDENTIFIER = 255

#: Both are plain bytes on a disk, so a clone of them is a boot disk.
CLONEABLE_FORMATS = frozenset({'raw', 'iso'})


class MalformedAnswer(ValueError):
    """An answer that is not what Glance's API promises."""


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise MalformedAnswer(f'{name} is not a text but {_shown(value)}')
    return value


def _identifier(fields: Mapping[str, Any], name: str) -> str:
    # Ids go into log entries and error messages as they are.
    value = _text(fields, name)
    if not value.isprintable() or len(value) > MAX_IDENTIFIER:
        raise MalformedAnswer(f'{name} is no id but {_shown(value)}')
    return value


def _optional_text(fields: Mapping[str, Any], name: str) -> str | None:
    return None if fields.get(name) in (None, '') else _text(fields, name)


def _stores(fields: Mapping[str, Any], name: str) -> frozenset[str]:
    value = fields.get(name) or ''
    if not isinstance(value, str):
        raise MalformedAnswer(
            f'{name} is not a comma-separated text but {_shown(value)}'
        )
    return frozenset(
        store for item in value.split(',') if (store := item.strip())
    )


def _size(fields: Mapping[str, Any]) -> int | None:
    value = fields.get('size')
    if value is None:
        return None
    if (
        isinstance(value, bool)
        or not isinstance(value, int)
        or not 0 <= value <= MAX_SIZE
    ):
        raise MalformedAnswer(f'size is not a byte count but {_shown(value)}')
    return value


def _shown(value: object) -> str:
    return text.printable(repr(value)[:80], limit=60)


def is_reserved(store: str) -> bool:
    """Whether Glance keeps a store's name for itself.

    Its staging area and its tasks' are stores too. Glance never shows them,
    nor lets an operator name a store so; what is in them is no image yet.
    """
    return store.startswith(RESERVED_PREFIX)


@dataclasses.dataclass(frozen=True, slots=True)
class ImageLocation:
    """One place where an image's data lies.

    :ivar store: name of the store, None where the location does not tell
    """

    url: str
    store: str | None = None

    @classmethod
    def from_answer(cls, answer: object) -> Self:
        """Read the JSON of a location, ``{"url": …, "metadata": …}``.

        :raises MalformedAnswer: if it has no URL
        """
        if not isinstance(answer, Mapping):
            raise MalformedAnswer(f'a location is {_shown(answer)}')
        url = _text(answer, 'url')
        match answer.get('metadata'):
            case {'store': str(store)}:
                return cls(url, store)
            case _:
                return cls(url)


@dataclasses.dataclass(frozen=True, slots=True)
class ImageRecord:
    """An image as ``GET /v2/images/{id}`` shows it.

    :ivar size: bytes, None where Glance does not know
    :ivar stores: names of the stores that hold the data
    :ivar reserved: names among them that Glance keeps for itself: they hold
        nothing that anybody may use
    :ivar importing: names of the stores that a copy goes to. Glance leaves
        names behind when staging fails: they mean something only under a lock
    :ivar failed: names of the stores that a copy did not reach, until the
        next copy to them has begun
    :ivar lock: id of the task that holds the image's import lock
    :ivar locations: None where the record does not show them
    """

    id: str
    status: str
    owner: str | None = None
    disk_format: str | None = None
    container_format: str | None = None
    size: int | None = None
    stores: frozenset[str] = frozenset()
    reserved: frozenset[str] = frozenset()
    importing: frozenset[str] = frozenset()
    failed: frozenset[str] = frozenset()
    lock: str | None = None
    locations: tuple[ImageLocation, ...] | None = None

    @classmethod
    def from_answer(cls, answer: object) -> Self:
        """Read the JSON of an image.

        :raises MalformedAnswer: naming the field that is not as promised
        """
        if not isinstance(answer, Mapping):
            raise MalformedAnswer(f'no image record but {_shown(answer)}')
        stores = _stores(answer, 'stores')
        reserved = frozenset(filter(is_reserved, stores))
        return cls(
            id=_identifier(answer, 'id'),
            status=_text(answer, 'status'),
            owner=_optional_text(answer, 'owner'),
            disk_format=_optional_text(answer, 'disk_format'),
            container_format=_optional_text(answer, 'container_format'),
            size=_size(answer),
            stores=stores - reserved,
            reserved=reserved,
            importing=_stores(answer, 'os_glance_importing_to_stores'),
            failed=_stores(answer, 'os_glance_failed_import'),
            lock=_optional_text(answer, 'os_glance_import_task'),
            locations=cls._locations(answer),
        )

    @staticmethod
    def _locations(
        answer: Mapping[str, Any],
    ) -> tuple[ImageLocation, ...] | None:
        # direct_url alone is one location of perhaps many, and which one
        # follows the stores' weights: it can say yes, but never no.
        if answer.get('locations'):
            return image_locations(answer['locations'])
        return None

    @property
    def active(self) -> bool:
        """Whether users may read the data."""
        return self.status == 'active'

    @property
    def cloneable(self) -> bool:
        """Whether the bytes of the image are the bytes of a disk."""
        return self.disk_format in CLONEABLE_FORMATS

    def holds(self, store: str) -> bool:
        """Whether ``store`` has the whole image."""
        return store in self.stores and not (
            self.lock and store in self.importing
        )


def image_locations(answer: object) -> tuple[ImageLocation, ...]:
    """Read a list of locations.

    :raises MalformedAnswer: if it is not such a list
    """
    if not isinstance(answer, list):
        raise MalformedAnswer(f'no list of locations but {_shown(answer)}')
    return tuple(ImageLocation.from_answer(entry) for entry in answer)


def store_ids(answer: object) -> frozenset[str]:
    """Read the names of the stores from ``GET /v2/info/stores``.

    :raises MalformedAnswer: if it is not a list of stores
    """
    stores = answer.get('stores') if isinstance(answer, Mapping) else None
    if not isinstance(stores, list):
        raise MalformedAnswer(f'no list of stores but {_shown(answer)}')
    ids = set()
    for store in stores:
        if not isinstance(store, Mapping):
            raise MalformedAnswer(f'a store is {_shown(store)}')
        ids.add(_text(store, 'id'))
    return frozenset(ids)


class TaskStatus(enum.Enum):
    """What became of a task, in Glance's words."""

    PENDING = 'pending'
    PROCESSING = 'processing'
    SUCCESS = 'success'
    FAILURE = 'failure'


#: For how long without a sign of life Glance keeps a task's lock, from
#: glance.api.v2.images (``_enforce_import_lock``).
LOCK_KEPT = datetime.timedelta(minutes=60)
LOCK_KEPT_PENDING = datetime.timedelta(minutes=120)

#: How Glance puts it that another request has taken a task's lock over, before
#: its copy began: glance.common.exception.TaskAbortedError, and
#: ``_bust_import_lock`` of glance.api.v2.images.
_LOST_LOCK = ('Task was aborted externally', 'Expired lock preempted')

_LATEST = datetime.datetime.max - LOCK_KEPT_PENDING


@dataclasses.dataclass(frozen=True, slots=True)
class CopyTask:
    """One entry of ``GET /v2/images/{id}/tasks``.

    :ivar stores: names of the stores that it copies to, empty if not told
    :ivar message: progress while it runs, the reason if it failed
    :ivar request_id: of the request that made the task, or of what the
        client was doing for it: several tasks may have the same
    :ivar updated_at: last sign of life
    """

    id: str
    status: TaskStatus
    message: str
    stores: frozenset[str]
    request_id: str | None
    updated_at: datetime.datetime

    @classmethod
    def from_answer(cls, answer: object) -> Self:
        """Read the JSON of a task.

        :raises MalformedAnswer: naming the field that is not as promised
        """
        if not isinstance(answer, Mapping):
            raise MalformedAnswer(f'a task is {_shown(answer)}')
        try:
            status = TaskStatus(_text(answer, 'status'))
        except ValueError as exc:
            raise MalformedAnswer(
                f'status of a task is {_shown(answer.get("status"))}'
            ) from exc
        return cls(
            id=_identifier(answer, 'id'),
            status=status,
            message=text.printable(answer.get('message') or ''),
            stores=_task_stores(answer.get('input')),
            request_id=_optional_text(answer, 'request_id'),
            updated_at=_time(answer, 'updated_at'),
        )

    @property
    def finished(self) -> bool:
        """Whether nothing more will come of it."""
        return self.status in (TaskStatus.SUCCESS, TaskStatus.FAILURE)

    @property
    def lost_lock(self) -> bool:
        """Whether it failed for another had taken the image's lock over."""
        return self.status is TaskStatus.FAILURE and any(
            words in self.message for words in _LOST_LOCK
        )

    @property
    def lock_kept_until(self) -> datetime.datetime:
        """When Glance lets another request take the image's lock over."""
        pending = self.status is TaskStatus.PENDING
        return self.updated_at + (LOCK_KEPT_PENDING if pending else LOCK_KEPT)


def _time(fields: Mapping[str, Any], name: str) -> datetime.datetime:
    value = _text(fields, name)
    try:
        # OverflowError: a time zone may lead out of the calendar.
        time = timeutils.normalize_time(timeutils.parse_isotime(value))
    except (OverflowError, ValueError) as exc:
        raise MalformedAnswer(f'{name} is {_shown(value)}') from exc
    if time > _LATEST:
        raise MalformedAnswer(f'{name} is {_shown(value)}')
    return time


def _task_stores(task_input: object) -> frozenset[str]:
    stores = (
        task_input.get('backend') if isinstance(task_input, Mapping) else None
    )
    if not isinstance(stores, list):
        return frozenset()
    return frozenset(store for store in stores if isinstance(store, str))


def copy_tasks(answer: object) -> tuple[CopyTask, ...]:
    """Read the tasks of an image, ``{"tasks": […]}``.

    :raises MalformedAnswer: if it is not a list of tasks
    """
    tasks = answer.get('tasks') if isinstance(answer, Mapping) else None
    if not isinstance(tasks, list):
        raise MalformedAnswer(f'no list of tasks but {_shown(answer)}')
    return tuple(CopyTask.from_answer(task) for task in tasks)
