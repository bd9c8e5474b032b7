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
from typing import Self

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
    """

    verdict: Verdict
    request_id: str | None = None
    reason: str = ''


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
        return cls(
            id=answers.identifier(fields, 'id'),
            status=status,
            message=text.printable(fields.get('message') or ''),
            stores=_task_stores(fields.get('input')),
            request_id=answers.optional_words(fields, 'request_id'),
            updated_at=answers.moment(fields, 'updated_at', _LATEST),
        )

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
    def lock_kept_until(self) -> datetime.datetime:
        """When Glance lets another request take the image's lock over."""
        pending = self.status is TaskStatus.PENDING
        return self.updated_at + (LOCK_KEPT_PENDING if pending else LOCK_KEPT)


def _task_stores(task_input: object) -> frozenset[str]:
    stores = (
        task_input.get('backend') if isinstance(task_input, Mapping) else None
    )
    if not isinstance(stores, list):
        return frozenset()
    return frozenset(store for store in stores if isinstance(store, str))


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
