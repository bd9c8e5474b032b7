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

"""What is the matter with one image in one store."""

from collections.abc import Iterable
import dataclasses
import datetime
import enum

from nova_rbd_multistore import image as image_values
from nova_rbd_multistore import progress
from nova_rbd_multistore import task as task_values

#: For how long a copy may give no sign of life and still count as a copy.
#: While Glance uploads, it gives one each minute; while it stages, none.
SILENCE = datetime.timedelta(minutes=10)


class State(enum.Enum):
    """What a store has of an image, in the words that are shown."""

    YES = 'yes'
    NO = 'no'
    COPYING = 'copying'
    FAILED = 'failed'
    #: The store has it not, and no copy can be requested now.
    LOCKED = 'locked'


@dataclasses.dataclass(frozen=True, slots=True)
class Cell:
    """One image in one store.

    :ivar percent: of a copy, None where that is not known
    :ivar queued: whether a copy has not begun yet
    :ivar reason: of a failure, '' where Glance does not tell
    :ivar until: when a lock can be taken over at the latest, UTC; None where
        Glance does not show it
    """

    state: State
    percent: int | None = None
    queued: bool = False
    reason: str = ''
    until: datetime.datetime | None = None

    def __str__(self) -> str:
        """For people."""
        return self._words(f'{self.until:%H:%M} UTC' if self.until else '')

    @property
    def exact(self) -> str:
        """For programs: the same, with the whole of a time."""
        return self._words(
            f'{self.until:%Y-%m-%dT%H:%M:%SZ}' if self.until else ''
        )

    def _words(self, until: str) -> str:
        match self.state:
            case State.COPYING if self.queued:
                return 'copying (queued)'
            case State.COPYING if self.percent is not None:
                return f'copying {self.percent} %'
            case State.FAILED if self.reason:
                return f'failed: {self.reason}'
            case State.LOCKED if until:
                return f'locked until {until}'
            case _:
                return self.state.value


YES = Cell(State.YES)
NO = Cell(State.NO)


def needs_tasks(record: image_values.ImageRecord) -> bool:
    """Whether an image's tasks tell more than its record does."""
    return record.lock is not None or bool(record.failed - record.stores)


def of(
    record: image_values.ImageRecord,
    tasks: Iterable[task_values.CopyTask],
    store: str,
    now: datetime.datetime,
) -> Cell:
    """What is the matter with an image in ``store``.

    :param tasks: those of the image that Glance shows this account
    :param now: UTC, without a zone
    """
    if record.holds(store):
        return YES
    tasks = tuple(tasks)
    if record.lock is None:
        if store not in record.failed:
            return NO
        return Cell(State.FAILED, reason=_failure(tasks, store))
    task = next((task for task in tasks if task.id == record.lock), None)
    if task is None:
        if store in record.importing:
            return Cell(State.COPYING)
        return Cell(State.LOCKED)
    until = task.lock_kept_until
    brings = store in record.importing or store in task.stores
    if task.finished or not brings or _is_silent(task, now):
        return Cell(State.LOCKED, until=until)
    if task.queued:
        return Cell(State.COPYING, queued=True)
    if record.importing and store not in record.importing:
        # Its turn is over; other stores are still to be filled.
        return Cell(State.FAILED if store in record.failed else State.COPYING)
    return Cell(State.COPYING, percent=_percent(record, task, store))


def _is_silent(task: task_values.CopyTask, now: datetime.datetime) -> bool:
    return not task.queued and now - task.updated_at > SILENCE


def _percent(
    record: image_values.ImageRecord, task: task_values.CopyTask, store: str
) -> int | None:
    """How much has arrived, as Glance tells it of one store at a time."""
    copied = progress.bytes_in_message(task.message)
    if copied is None or not record.size:
        return None
    current = current_store(record, task)
    if store != current:
        return 0
    if copied >= record.size and current != task.queue[0]:
        # That is still what was said of the store before.
        return None
    return min(100 * copied // record.size, 100)


def current_store(
    record: image_values.ImageRecord, task: task_values.CopyTask
) -> str | None:
    """The store that a task copies to now: Glance fills one after another.

    None where the record does not tell.
    """
    left = [store for store in task.queue if store in record.importing]
    return left[0] if left else None


def _failure(tasks: Iterable[task_values.CopyTask], store: str) -> str:
    """Why the last copy to ``store`` failed, as far as Glance tells."""
    failed = [
        task
        for task in tasks
        if task.status is task_values.TaskStatus.FAILURE
        and task.copies
        and store in task.stores
    ]
    if not failed:
        return ''
    return max(failed, key=lambda task: task.updated_at).message
