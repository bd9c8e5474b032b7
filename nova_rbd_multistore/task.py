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

"""A copy in Glance: its answer to the request, and the task that makes it."""

from collections.abc import Mapping
import dataclasses
import datetime
import enum
from typing import Any, Self

from nova_rbd_multistore import answers
from nova_rbd_multistore import text


class Verdict(enum.Enum):
    """What Glance says to a request for a copy."""

    #: 202: it has begun, or will.
    ACCEPTED = enum.auto()
    #: 409: another import of this image is under way, to any store.
    BUSY = enum.auto()
    #: 400: the store has the image already; or copy-image is not enabled.
    NOT_NEEDED = enum.auto()


@dataclasses.dataclass(frozen=True, slots=True)
class CopyReply:
    """Glance's answer to a request for a copy.

    :ivar request_id: of our request: Glance keeps it with the task
    :ivar reason: Glance's words, where it did not accept
    :ivar endpoint: name of the glance-api that accepted, and makes the copy
    """

    verdict: Verdict
    request_id: str | None = None
    reason: str = ''
    endpoint: str = ''


class NoneLeft(Exception):
    """No glance-api that could make a copy is left to be asked for it."""


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

#: How Glance puts it that another request has taken a task's lock over: before
#: its copy began (glance.common.exception.TaskAbortedError), or after an hour
#: without a sign of life (``_bust_import_lock`` of glance.api.v2.images).
_LOST_LOCK = ('Task was aborted externally', 'Expired lock preempted')

#: How Glance puts it that a quota was used up when the copy was to begin:
#: glance.common.exception.LimitExceeded.
_OVER_QUOTA = 'a quota threshold was breached'

#: Glance's type of the task that adds a location to an image, and hashes the
#: data there: under the image's lock, and without a sign of life. A direct
#: snapshot of a server ends in one.
_LOCATION_IMPORT = 'location_import'

#: Glance's method of the imports that we request.
_COPY = 'copy-image'

#: As much of a foreign name as a sentence bears.
_NAME = 40

_LATEST = datetime.datetime.max - LOCK_KEPT_PENDING


@dataclasses.dataclass(frozen=True, slots=True)
class CopyTask:
    """One entry of ``GET /v2/images/{id}/tasks``.

    :ivar stores: names of the stores that it copies to, empty if not told
    :ivar message: progress while it runs, the reason if it failed
    :ivar request_id: of the request that made the task, or of what the
        client was doing for it: several tasks may have the same
    :ivar updated_at: last sign of life
    :ivar type: Glance's word for what it does, empty if not told
    :ivar method: of an import, empty if not told
    :ivar queue: the same stores in Glance's order: it fills one after another
    :ivar created_at: when it was asked for, None if not told
    """

    id: str
    status: TaskStatus
    message: str
    stores: frozenset[str]
    request_id: str | None
    updated_at: datetime.datetime
    type: str = ''
    method: str = ''
    queue: tuple[str, ...] = ()
    created_at: datetime.datetime | None = None

    @classmethod
    def from_answer(cls, entry: object) -> Self:
        """Read the JSON of a task.

        :raises answers.MalformedAnswer: naming the field that is not as
            promised
        """
        fields = answers.mapping(entry, 'a task is')
        try:
            status = TaskStatus(answers.words(fields, 'status'))
        except ValueError as exc:
            raise answers.MalformedAnswer(
                f'status of a task is {answers.shown(fields.get("status"))}'
            ) from exc
        queue = _task_stores(fields.get('input'))
        return cls(
            id=answers.identifier(fields, 'id'),
            status=status,
            # In this order: a cut could hide where the credentials end.
            message=text.printable(
                text.without_credentials(str(fields.get('message') or ''))
            ),
            stores=frozenset(queue),
            request_id=answers.optional_words(fields, 'request_id'),
            updated_at=answers.moment(fields, 'updated_at', _LATEST),
            type=text.printable(
                answers.optional_words(fields, 'type') or '', _NAME
            ),
            method=_import_method(fields.get('input')),
            queue=queue,
            created_at=_created_at(fields),
        )

    @property
    def queued(self) -> bool:
        """Whether Glance has accepted it, and not begun."""
        return self.status is TaskStatus.PENDING

    @property
    def copies(self) -> bool:
        """Whether it copies the image to a store, for all that is told."""
        return self.type != _LOCATION_IMPORT and self.method in (_COPY, '')

    @property
    def quiet(self) -> bool:
        """Whether it may be well, though nothing of it is to be seen.

        A copy that is queued has not begun; another import writes nothing
        that we look at, and gives no sign of life either.
        """
        return self.queued or not (self.finished or self.copies)

    def __str__(self) -> str:
        """What it does, for people."""
        if self.type == _LOCATION_IMPORT:
            return 'the hashing of a new location'
        if self.copies and self.stores:
            return f'a copy to store {", ".join(sorted(self.stores))}'
        return f'an import of method {self.method or "unknown"}'

    @property
    def finished(self) -> bool:
        """Whether nothing more will come of it."""
        return self.status in (TaskStatus.SUCCESS, TaskStatus.FAILURE)

    @property
    def lost_lock(self) -> bool:
        """Whether it failed because another task took the image's lock."""
        return self.status is TaskStatus.FAILURE and any(
            words in self.message for words in _LOST_LOCK
        )

    @property
    def over_quota(self) -> bool:
        """Whether it failed for a quota, which all glance-apis share."""
        return (
            self.status is TaskStatus.FAILURE and _OVER_QUOTA in self.message
        )

    @property
    def lock_kept_until(self) -> datetime.datetime:
        """When Glance lets another request take the image's lock over."""
        pending = self.status is TaskStatus.PENDING
        return self.updated_at + (LOCK_KEPT_PENDING if pending else LOCK_KEPT)


def _created_at(fields: Mapping[str, Any]) -> datetime.datetime | None:
    # Nothing depends on it but what people are told.
    try:
        return answers.moment(fields, 'created_at', _LATEST)
    except answers.MalformedAnswer:
        return None


def _task_stores(task_input: object) -> tuple[str, ...]:
    stores = (
        task_input.get('backend') if isinstance(task_input, Mapping) else None
    )
    if not isinstance(stores, list):
        return ()
    return tuple(store for store in stores if isinstance(store, str))


def _import_method(task_input: object) -> str:
    match task_input:
        case {'import_req': {'method': {'name': str(method)}}}:
            return text.printable(method, _NAME)
        case _:
            return ''


def copy_tasks(body: object) -> tuple[CopyTask, ...]:
    """Read the tasks of an image, ``{"tasks": […]}``.

    :raises answers.MalformedAnswer: if it is not a list of tasks
    """
    tasks = body.get('tasks') if isinstance(body, Mapping) else None
    if not isinstance(tasks, list):
        raise answers.MalformedAnswer(
            f'no list of tasks but {answers.shown(body)}'
        )
    return tuple(CopyTask.from_answer(task) for task in tasks)
