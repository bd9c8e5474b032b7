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

"""What holds an image in Glance, as far as Glance shows it.

A copy that is queued, an import by another method and the hashing of a new
location hold it without a sign of life: their silence says nothing. Nor does
that of a task which is not shown: it may be any of these, or a copy to other
stores. Only of a copy to one store, which can be looked into, would something
be seen all the same.
"""

from collections.abc import Iterable
import dataclasses
import datetime
import math
from typing import Self

from nova_rbd_multistore import exceptions
from nova_rbd_multistore import image as image_values
from nova_rbd_multistore import pace
from nova_rbd_multistore import progress as progresses
from nova_rbd_multistore import task as task_values


@dataclasses.dataclass(frozen=True, slots=True)
class Holder:
    """The task that has an image's lock.

    :ivar store: in which somebody waits for the image
    :ivar brings: whether it copies the image there
    :ivar filling: whether it is at that store by now, of those it copies to
    :ivar watched: whether it could not be at work unseen
    :ivar lock: its id
    :ivar task: None where Glance does not show it
    """

    image: str
    store: str
    brings: bool
    filling: bool
    watched: bool
    lock: str
    task: task_values.CopyTask | None

    @classmethod
    def of(
        cls,
        record: image_values.ImageRecord,
        tasks: Iterable[task_values.CopyTask],
        store: str,
        *,
        watched: bool,
    ) -> Self | None:
        """What holds the image, None if nothing does.

        :param tasks: those of the image that Glance shows
        :param watched: whether what is written to ``store`` is seen
        """
        if record.lock is None:
            return None
        task = next((task for task in tasks if task.id == record.lock), None)
        if task is None:
            brings = store in record.importing
            # It fills one store after another, and may be at one before ours.
            watched = watched and record.importing <= {store}
        else:
            brings = task.copies and store in (task.stores or {store})
        filling = brings and _at(record, task) in (store, None)
        return cls(
            record.id, store, brings, filling, watched, record.lock, task
        )

    @property
    def quiet(self) -> bool:
        """Whether it may be well, though nothing of it is to be seen."""
        if self.task is not None:
            return self.task.quiet
        return not (self.brings and self.watched)

    @property
    def copied(self) -> int | None:
        """Bytes that it has brought to the store, None if it does not tell."""
        if self.task is None or not self.filling:
            return None
        return progresses.bytes_in_message(self.task.message)

    def __str__(self) -> str:
        """What it does, for people."""
        if self.task is None:
            return 'a task that Glance does not show'
        when = f'{self.task.updated_at:%H:%M:%S} UTC'
        if self.task.queued:
            return f'{self.task}, queued since {when}'
        return f'{self.task}, last heard of at {when}'

    def stalled(self, seconds: float) -> exceptions.CopyStalled:
        """Why no image came, if nothing has moved for so many seconds."""
        return exceptions.CopyStalled(
            self.image,
            self.store,
            seconds,
            self.lock,
            holds=True,
            since=self.task.updated_at if self.task else None,
            until=self.task.lock_kept_until if self.task else None,
        )

    def timed_out(
        self, seconds: float, progress: str
    ) -> exceptions.CopyTimedOut:
        """Why no image came in so many seconds.

        :param progress: of the copy, for people
        """
        if not self.brings:
            return exceptions.ImageHeld(
                self.image,
                self.store,
                seconds,
                str(self),
                self.lock,
                self.task.lock_kept_until if self.task else None,
            )
        if self.task is not None and self.task.queued:
            return exceptions.CopyQueued(
                self.image,
                self.store,
                seconds,
                self.lock,
                self.task.updated_at,
                self.task.lock_kept_until,
            )
        return exceptions.CopyTimedOut(
            self.image, self.store, seconds, progress
        )


def _at(
    record: image_values.ImageRecord, task: task_values.CopyTask | None
) -> str | None:
    """The store that a task is filling, None if it is not told."""
    queue = task.queue if task else ()
    return next((store for store in queue if store in record.importing), None)


class Expiry:
    """When Glance lets a request take the lock of what holds an image.

    A lock is kept for a while after its task's last sign of life, by clocks
    that may not agree with ours. So what is reckoned from these is cut short
    by the time that we have seen no such sign ourselves; and who has asked too
    early asks again.
    """

    def __init__(self, time: pace.Time) -> None:
        self._time = time
        self._sign: tuple[str, task_values.CopyTask | None] | None = None
        self._at = math.inf

    def saw(self, holder: Holder) -> None:
        """Note what holds the image, and its last sign of life."""
        sign = holder.lock, holder.task
        if sign == self._sign:
            return
        self._sign = sign
        self._in(self._kept(holder.task))

    def asked(self) -> None:
        """Note a request: it takes the lock, or has come too early."""
        self._in(task_values.LOCK_KEPT)

    @property
    def has_passed(self) -> bool:
        """Whether to ask."""
        return self._time.clock() >= self._at

    def _kept(self, task: task_values.CopyTask | None) -> datetime.timedelta:
        """For how long the lock is still kept, at most."""
        if task is None:
            return task_values.LOCK_KEPT
        return min(
            task.lock_kept_until - self._time.utcnow(),
            task.lock_kept_until - task.updated_at,
        )

    def _in(self, time: datetime.timedelta) -> None:
        self._at = self._time.clock() + time.total_seconds()
