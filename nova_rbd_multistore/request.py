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

"""A boot's own request for a copy, and what becomes of it.

Glance sets an image's lock before it stores the lock's task: some milliseconds
before, or seconds on a glance-api that has just been started. A request in
between takes the lock for stale, and takes it over. Both are answered 202, and
the first one's task is aborted. So an accepted request has not won: the task
that holds the lock decides what becomes of it.

The glance-api that accepts a request makes the copy. If the copy fails,
another may be able to make it, and the request is made again.
"""

from collections.abc import Iterable
import enum

from nova_rbd_multistore import image as image_values
from nova_rbd_multistore import task as task_values


class State(enum.Enum):
    """How far the request has come."""

    #: Not made, or lost.
    NONE = enum.auto()
    #: Glance said that another goes first, or that there is nothing to do.
    REFUSED = enum.auto()
    #: Glance said that it copies.
    ACCEPTED = enum.auto()


class Request:
    """The request of one boot for a copy to one store, made again if need be.

    :param store: name of the store
    :ivar state: how far it has come
    :ivar id: of the last request that was accepted, where Glance told it
    :ivar endpoint: name of the glance-api that accepted it
    :ivar losses: how often it was accepted, and lost
    :ivar refusals: how often it was refused since the image was seen locked
    :ivar failures: what became of each copy that a glance-api had begun, and
        could not make
    :ivar tried: names of these glance-apis
    """

    def __init__(self, store: str) -> None:
        self._store = store
        self._stores: frozenset[str] = frozenset()
        self._locks: set[str] = set()
        self._over: set[str] = set()
        self.state = State.NONE
        self.id: str | None = None
        self.endpoint = ''
        self.losses = 0
        self.refusals = 0
        self.failures: list[str] = []
        self.tried: frozenset[str] = frozenset()

    @property
    def accepted(self) -> bool:
        return self.state is State.ACCEPTED

    def refuse(self) -> None:
        """Note that Glance did not accept it."""
        self.state = State.REFUSED
        self.refusals += 1

    def accept(
        self,
        request_id: str | None,
        record: image_values.ImageRecord,
        endpoint: str = '',
    ) -> None:
        """Note that Glance accepted it.

        :param record: the image as it was seen last before
        :param endpoint: name of the glance-api that accepted it
        """
        self.state = State.ACCEPTED
        self.id = request_id
        self.endpoint = endpoint
        self._stores = record.stores
        self._locks.clear()

    def saw_lock(self, holder: str) -> None:
        """Note which task holds the image."""
        self._locks.add(holder)
        self.refusals = 0

    def task(
        self, tasks: Iterable[task_values.CopyTask]
    ) -> task_values.CopyTask | None:
        """The task of the request, None if it is not among ``tasks``."""
        return max(
            (
                task
                for task in tasks
                if self.id in (task.request_id, None)
                and self._store in task.stores
                and task.id not in self._over
            ),
            # A server that was built elsewhere before has earlier ones.
            key=lambda task: task.updated_at,
            default=None,
        )

    def is_lost(
        self,
        task: task_values.CopyTask | None,
        record: image_values.ImageRecord,
    ) -> bool:
        """Whether it came to nothing because another task took the lock.

        :param task: its task, None if Glance does not show it
        :param record: the image as it is now, not held by that task
        """
        flagged = self._store in record.failed
        if task is None:
            # Somebody has tried, if the flag is set.
            return not flagged
        if task.lost_lock:
            return True
        # Glance begins a task before it drops the lock at its end.
        if task.status is task_values.TaskStatus.PENDING:
            return self._was_overtaken(task, record)
        # Where the lock goes in the moment in which the task begins, Glance
        # calls that an internal error, as it calls much else. So once only,
        # and not for a task that was seen with the lock, or that has tried.
        return (
            task.status is task_values.TaskStatus.FAILURE
            and not flagged
            and not self.losses
            and task.id not in self._locks
            and self._was_overtaken(task, record)
        )

    def _was_overtaken(
        self, task: task_values.CopyTask, record: image_values.ImageRecord
    ) -> bool:
        """Whether another task was at work since the request was accepted."""
        return bool(self.others(task) or record.stores - self._stores)

    def others(self, task: task_values.CopyTask) -> set[str]:
        """The other tasks that were seen to hold the image since then."""
        return self._locks - {task.id}

    def lose(
        self, task: task_values.CopyTask | None, *, image_is_held: bool
    ) -> None:
        """Take it for one that Glance did not accept, or that was not made.

        :param image_is_held: whether another task has the lock now
        """
        self._end(task)
        self.losses += 1
        if image_is_held:
            self.refuse()

    def reopen(self, task: task_values.CopyTask | None) -> None:
        """Make it once more: the lock of what held the image has expired.

        :param task: its own, None if it was not accepted
        """
        self._end(task)

    def fail(self, task: task_values.CopyTask | None, reason: str) -> None:
        """Note that its glance-api could not make the copy.

        :param task: its task, None if Glance does not show it
        """
        self._end(task)
        self.failures.append(reason)
        self.tried |= {self.endpoint}

    def _end(self, task: task_values.CopyTask | None) -> None:
        if task is not None:
            self._over.add(task.id)
        self.state = State.NONE
