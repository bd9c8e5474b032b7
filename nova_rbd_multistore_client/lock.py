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


"""A lock whose task Glance does not show: is it dead, or about to begin?"""

from collections.abc import Callable, Iterable

from nova_rbd_multistore import task as task_values

#: Seconds after which a lock is taken for dead whose task nobody has seen.
#: Glance sets a lock first and stores the task some seconds later; of a lock
#: without a task, it lets any request take possession.
HIDDEN = 60.0


class HiddenLock:
    """Looks at an image's lock again and again.

    :param clock: monotonic, in seconds
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock: str | None = None
        self._since = 0.0

    def is_hidden(
        self, lock: str | None, tasks: Iterable[task_values.CopyTask]
    ) -> bool:
        """Note what is seen now; whether the lock's task is not among it.

        :param lock: that the record shows
        :param tasks: of the image that Glance shows
        """
        if any(task.id == lock for task in tasks):
            lock = None
        if lock != self._lock:
            self._lock, self._since = lock, self._clock()
        return lock is not None

    def is_dead(self) -> bool:
        """Whether the lock that was seen last has been hidden for long."""
        return self._lock is not None and self._clock() - self._since >= HIDDEN

    def forget(self) -> None:
        """Begin anew, as after a request that should have taken it over."""
        self._since = self._clock()
