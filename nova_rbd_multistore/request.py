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
before, or seconds on a glance-api that has just been started. A request that
comes in between takes the lock for stale, and takes it over. Both are answered
202, and the first one's task is aborted. So an accepted request has not won:
what becomes of it is decided by who holds the lock.
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
    """The request of one boot for a copy to one store.

    :param store: name of the store
    :ivar state: how far it has come
    :ivar id: of the last request that was accepted, where Glance told it
    :ivar losses: how often it was accepted, and lost
    """

    def __init__(self, store: str) -> None:
        self._store = store
        self._had_failed = False
        self._locks: set[str] = set()
        self._lost: set[str] = set()
        self.state = State.NONE
        self.id: str | None = None
        self.losses = 0

    @property
    def accepted(self) -> bool:
        return self.state is State.ACCEPTED

    def refuse(self) -> None:
        """Note that Glance did not accept it."""
        self.state = State.REFUSED

    def accept(
        self, request_id: str | None, record: image_values.ImageRecord
    ) -> None:
        """Note that Glance accepted it.

        :param record: the image as it was seen last before
        """
        self.state = State.ACCEPTED
        self.id = request_id
        self._had_failed = self._store in record.failed
        self._locks.clear()

    def saw_lock(self, holder: str) -> None:
        """Note which task holds the image."""
        self._locks.add(holder)

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
                and task.id not in self._lost
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
        """Whether it ended for want of the lock, rather than of a good copy.

        :param task: its task, not at work any more; None if Glance does not
            show it
        :param record: the image as it is now
        """
        if self._store in record.failed and not self._had_failed:
            # Glance had the lock when it set this flag: it has tried.
            return False
        if task is None:
            return True
        return task.status is task_values.TaskStatus.FAILURE and (
            task.lost_lock or bool(self.others(task))
        )

    def others(self, task: task_values.CopyTask | None) -> set[str]:
        """The other tasks that were seen to hold the image since then."""
        return self._locks - {task.id if task else ''}

    def lose(self, task: task_values.CopyTask | None) -> None:
        """Take it for one that was never made."""
        if task is not None:
            self._lost.add(task.id)
        self.losses += 1
        self.state = State.NONE
