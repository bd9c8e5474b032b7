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

"""A copy of an image into a store: request it, follow it, give it up.

Glance's rules, from its API reference and its source:

* One import of an image at a time, to any store: it holds the image's lock.
  A further request is refused (409), not queued. So who sees the lock waits,
  and asks when it is gone or nothing has moved for a while.
* The answer 202 comes with the lock; the work begins later.
* The record says which stores have the image. The lock's task says what
  became of a request: the flag ``os_glance_failed_import`` may be an old one.
* A glance-api that dies leaves lock, flags and task as they were. Its lock
  can be taken over, by a new request, after an hour.
* The lock is set before its task is stored: some ms before, or seconds on a
  glance-api that has just been started. A request that comes in between takes
  the lock for stale, and takes it over. Both are answered 202, and the first
  one's task is aborted. So 202 is not the end of the contest for the lock:
  what became of our request is decided by who holds it.

What a copy writes is seen in the local cluster first, at no cost to Glance:
so we look there often, and ask Glance seldom, but at once when it is done.
"""

from collections.abc import Callable, Iterable
import dataclasses
import math
from typing import Protocol

from oslo_log import log as logging
import tenacity

from nova_rbd_multistore import ceph
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import glance
from nova_rbd_multistore import image as image_values
from nova_rbd_multistore import progress
from nova_rbd_multistore import source

LOG = logging.getLogger(__name__)

Probe = Callable[[], ceph.Arrival]

#: Seconds until Glance is asked, first, when its answer must be due: it writes
#: it down within 0.1 s of what the cluster shows.
FIRST_RECHECK = 0.1

#: Seconds between two looks into the cluster when the snapshot may be close.
CLOSE_PROBE = 0.1

#: Seconds after which a snapshot is late, once all bytes have arrived: it
#: comes within one.
SNAPSHOT_DUE = 2.0

#: Seconds between two log entries about the progress of one copy.
LOG_INTERVAL = 10.0

#: Polls of different hosts drift apart by this share of the interval.
JITTER = 0.2

#: Who waits for others asks Glance again after this share of the wait so far.
PATIENCE = 0.5

#: Intervals that pass between two questions to Glance at most.
LONGEST_PAUSE = 4


class ImageService(Protocol):
    """What the engine asks Glance; see :class:`glance.Glance`."""

    def record(self, image: str) -> image_values.ImageRecord: ...

    def tasks(self, image: str) -> tuple[image_values.CopyTask, ...]: ...

    def request_copy(self, image: str, store: str) -> glance.CopyReply: ...


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """How often to look, and for how long; all in seconds.

    :ivar poll_interval: between two questions to Glance
    :ivar probe_interval: between two looks into the local cluster
    :ivar timeout: for the whole wait
    :ivar stall_timeout: without any sign of progress
    """

    poll_interval: float
    probe_interval: float
    timeout: float
    stall_timeout: float


@dataclasses.dataclass(frozen=True, slots=True)
class Time:
    """Clock, sleep and chance, so that tests run on their own.

    :ivar clock: monotonic, in seconds
    :ivar sleep: waits for some seconds
    :ivar uniform: a random number between two
    """

    clock: Callable[[], float]
    sleep: Callable[[float], None]
    uniform: Callable[[float, float], float]


class Copy:
    """One image on its way into one store, as one boot follows it.

    :param record: the image, not in the store when last seen
    :param store: name of the store
    :param images: Glance, as the user of the boot
    :param probe: tells how much has arrived in the local cluster
    :param check: raises if the boot need not wait any longer
    :param server: uuid of the server to be booted, for the log
    """

    def __init__(
        self,
        record: image_values.ImageRecord,
        store: str,
        images: ImageService,
        probe: Probe,
        limits: Limits,
        time: Time,
        check: Callable[[], None],
        server: str | None = None,
    ) -> None:
        self._log = logging.KeywordArgumentAdapter(
            LOG.logger, {'instance_uuid': server} if server else {}
        )
        self._image = record.id
        self._store = store
        self._images = images
        self._probe: Probe | None = probe
        self._limits = limits
        self._time = time
        self._check = check

        self._began = time.clock()
        self._moved = self._logged = self._began
        self._poll_at = self._check_at = self._began
        # The last possible end of an interval, drift and all, in that time.
        self._longest_pause = limits.poll_interval * (
            LONGEST_PAUSE - 1 - JITTER
        )
        self._ask_by = self._began + self._longest_pause
        self._due = self._arriving = False
        self._recheck = FIRST_RECHECK
        self._progress = progress.Progress(record.size, time.clock)

        self._record: image_values.ImageRecord = record
        self._arrival = ceph.ABSENT
        self._was_incomplete = False
        self._full_at: float | None = None
        self._holder: image_values.CopyTask | None = None
        self._asked = self._accepted = False
        self._request_id: str | None = None
        self._unneeded = False
        self._had_failed = False
        self._locks: set[str] = set()
        self._lost: set[str] = set()
        self._losses = 0

    @property
    def seen_whole(self) -> bool:
        """Whether the local cluster has the image, and had it not before.

        What lay there all the time may be of another time.
        """
        return self._was_incomplete and self._arrival.complete

    def run(self) -> image_values.ImageRecord:
        """Return the image's record when the store has the image.

        :raises CopyFailed: if Glance says that our copy failed
        :raises CopyStalled: if nothing moves for the stall timeout
        :raises CopyTimedOut: after the whole timeout
        :raises ImageError: if the image is no longer there for this user
        :raises HostError: if Glance, or the store in it, is not there
        """
        # The wait began with the boot; that nothing moves can be said only of
        # what we have watched, and somebody else may have followed until now.
        self._moved = self._logged = self._poll_at = self._time.clock()
        self._check_later()
        if self._probe is not None:
            self._look_into_cluster(self._probe)
            # What lay there before may be the rest of a copy that died.
            self._arriving = False
        read_long_ago = self._moved - self._began >= self._limits.poll_interval
        if self._record.lock and not read_long_ago:
            # Glance would say no more than that.
            self._log_holder(f'task {self._record.lock}')
            self._poll_as_due()
        else:
            self._request()
        looks = tenacity.Retrying(
            retry=tenacity.retry_if_result(lambda arrived: not arrived),
            wait=lambda _state: self._until_next_look(),
            stop=lambda _state: self._is_over(),
            sleep=self._time.sleep,
            retry_error_callback=lambda _state: self._give_up(),
        )
        looks(self._look)
        self._log.info(
            'Image %s is in store %s, %.1f s after the boot asked for it',
            self._image,
            self._store,
            self._time.clock() - self._began,
        )
        return self._record

    # Request

    def _request(self) -> None:
        """Ask for the copy: it is ours, or somebody else's goes first."""
        try:
            reply = self._images.request_copy(self._image, self._store)
        except exceptions.GlanceUnavailable:
            self._poll_later()
            return
        self._asked = True
        match reply.reply:
            case glance.Reply.ACCEPTED:
                self._accepted = True
                self._had_failed = self._store in self._record.failed
                self._locks.clear()
                self._has_moved()
                self._request_id = reply.request_id
                self._log.info(
                    'Glance copies image %s to store %s (its request %s)',
                    self._image,
                    self._store,
                    self._request_id,
                )
                # What lies there already is not of this copy: Glance will
                # trip over it, and say so soon.
                self._due = self._arrival.exists
                self._arriving = False
                self._poll_as_due()
            case glance.Reply.BUSY:
                self._log_holder(reply.reason)
                self._poll_as_due()
            case glance.Reply.NOT_NEEDED:
                if self._unneeded:
                    raise exceptions.CopyFailed(
                        self._image, self._store, reply.reason
                    )
                self._unneeded = True
                self._poll_soon()

    def _log_holder(self, reason: str) -> None:
        self._log.info(
            'Image %s is being copied for somebody else: waiting until store '
            '%s has it or Glance lets us ask (%s)',
            self._image,
            self._store,
            reason,
        )

    # Follow

    def _look(self) -> bool:
        """See whether the image is there, in the cluster or in Glance."""
        if self._probe is not None:
            self._look_into_cluster(self._probe)
        now = self._time.clock()
        if now < min(self._poll_at, self._check_at):
            return False
        if not self._due or now >= self._check_at:
            # Else the boot is about to go on, and Nova itself will see.
            self._check()
            self._check_later()
        if now < self._poll_at:
            return False
        if self._arriving and now < self._ask_by:
            # Whoever writes there is alive, and not done: no news in Glance,
            # but that the user may have lost his right to the image.
            self._arriving = False
            self._poll_later()
            return False
        return self._ask_glance()

    def _look_into_cluster(self, probe: Probe) -> None:
        try:
            arrival = probe()
        except ceph.ArrivalsHidden as exc:
            self._log.warning(
                'Cannot watch images arrive (%s): learning of the end of a '
                'copy from Glance alone, every %.0f s. Check [rbd_multistore] '
                'glance_rbd_pool and the cephx cap "profile rbd-read-only" '
                'on that pool',
                exc,
                self._limits.poll_interval,
            )
            self._probe = None
            return
        except exceptions.ClusterUnreachable as exc:
            self._log.debug('Cannot look for image %s: %s', self._image, exc)
            return
        before, self._arrival = self._arrival, arrival
        if not arrival.complete:
            self._was_incomplete = True
        if arrival == before:
            return
        self._has_moved()
        if arrival.allocated is not None:
            self._progress.saw(arrival.allocated)
            full = self._record.size and arrival.allocated >= self._record.size
            self._full_at = self._time.clock() if full else None
        # Complete: done. Gone again: Glance has cleaned up after a failure.
        # Either way Glance is about to say so.
        self._due = arrival.complete or not arrival.exists
        self._arriving = not self._due
        if self._due:
            self._recheck = FIRST_RECHECK
            self._poll_soon()
        self._log_progress()

    def _ask_glance(self) -> bool:
        self._ask_by = self._time.clock() + self._longest_pause
        try:
            record = self._images.record(self._image)
            source.require_cloneable(record)
            if record != self._record:
                self._has_moved()
            self._record = record
            if record.holds(self._store):
                return True
            if record.lock:
                self._locks.add(record.lock)
                self._follow_holder(record.lock)
            elif self._accepted:
                self._judge_ours()
            else:
                self._request()
        except exceptions.GlanceUnavailable:
            # It may come back, and a copy goes on without our asking.
            self._poll_later()
        return False

    def _follow_holder(self, lock: str) -> None:
        """Look after the task that holds the image."""
        self._poll_as_due()
        still_for = self._time.clock() - self._moved
        if still_for < self._limits.poll_interval * (1 - JITTER):
            return
        if not self._asked:
            # Its glance-api may be long dead: then Glance lets our request
            # take the lock over.
            self._request()
            return
        if self._due:
            return
        # The cluster shows nothing: Glance may stage the image, or copy it
        # to another store, or be dead. What does its task say?
        tasks = self._images.tasks(self._image)
        if self._accepted:
            ours = self._ours(tasks)
            if (
                ours is not None
                and ours.finished
                and ours.id != lock
                and self._is_lost(ours)
            ):
                self._lose(ours)
        holder = {task.id: task for task in tasks}.get(lock)
        unseen = holder is None and self._store not in self._record.importing
        if holder != self._holder or unseen:
            # Unseen: another project's copy to another store. Nothing of it
            # is to be seen here, so it cannot be said to stand still.
            self._has_moved()
        self._holder = holder
        copied = progress.bytes_in_message(holder.message) if holder else None
        if copied is not None:
            self._progress.saw(copied)
        self._log_progress()

    def _judge_ours(self) -> None:
        """The lock is gone and the image not there: what of our request?"""
        ours = self._ours(self._images.tasks(self._image))
        if ours is not None and not ours.finished:
            # Glance drops the lock a moment before it closes the task.
            self._poll_soon()
            return
        if self._is_lost(ours):
            self._lose(ours)
            if self._losses == 1:
                self._request()
            else:
                # Then again, and never in a hurry.
                self._poll_later()
            return
        if ours is None:
            reason = 'its task is gone'
        elif ours.status is image_values.TaskStatus.FAILURE:
            reason = ours.message or 'it gives no reason'
        else:
            reason = 'it says success, but the store does not have the image'
        self._log.error(
            'Glance failed to copy image %s to store %s: %s (task %s, '
            'request %s)',
            self._image,
            self._store,
            reason,
            ours.id if ours else 'unknown',
            self._request_id,
        )
        raise exceptions.CopyFailed(self._image, self._store, reason)

    def _ours(
        self, tasks: Iterable[image_values.CopyTask]
    ) -> image_values.CopyTask | None:
        """The task of our last request, None if it is not among them."""
        return max(
            (
                task
                for task in tasks
                if self._request_id in (task.request_id, None)
                and self._store in task.stores
                and task.id not in self._lost
            ),
            # A server that was built elsewhere before has earlier ones.
            key=lambda task: task.updated_at,
            default=None,
        )

    def _is_lost(self, ours: image_values.CopyTask | None) -> bool:
        """Whether our task ended for want of the lock, not of the copy.

        :param ours: the task, not at work any more; None if it is not told
        """
        if self._store in self._record.failed and not self._had_failed:
            # Glance had the lock when it set this flag: it has tried.
            return False
        if ours is None:
            return True
        return ours.status is image_values.TaskStatus.FAILURE and (
            ours.lost_lock or bool(self._locks - {ours.id})
        )

    def _lose(self, ours: image_values.CopyTask | None) -> None:
        """Take our request for one that was never accepted."""
        if ours is not None:
            self._lost.add(ours.id)
        if not self._losses:
            others = self._locks - {ours.id if ours else ''}
            self._log.warning(
                'Glance accepted the copy of image %s to store %s (request '
                '%s), and did not make it: %s; the lock of the image was '
                'seen with %s. Requesting the copy again when the image is '
                'free',
                self._image,
                self._store,
                self._request_id,
                f'its task {ours.id} says "{ours.message}"'
                if ours
                else 'its task is gone',
                f'task {", ".join(sorted(others))}' if others else 'no other',
            )
        self._losses += 1
        self._asked = self._accepted = False

    def _task(self, task_id: str | None) -> image_values.CopyTask | None:
        tasks = {task.id: task for task in self._images.tasks(self._image)}
        return tasks.get(task_id or '')

    def _has_moved(self) -> None:
        self._moved = self._time.clock()

    # Pace

    def _poll_later(self) -> None:
        self._recheck = FIRST_RECHECK
        now = self._time.clock()
        interval = pause = self._limits.poll_interval
        if not self._accepted and self._probe is not None:
            # Thousands may wait for one lock, and the first of a site to find
            # it free asks for all of the site. So each asks ever less often:
            # what all ask then grows with their number, hardly with the wait.
            waited = PATIENCE * (now - self._began)
            pause = min(max(interval, waited), LONGEST_PAUSE * interval)
        pause *= self._time.uniform(1 - JITTER, 1 + JITTER)
        # Nothing is said to stand still without a look at that moment.
        self._poll_at = min(now + pause, max(self._ends_at(), now + interval))

    def _check_later(self) -> None:
        """Check with the next poll, unless that is long hence."""
        self._check_at = self._time.clock() + self._limits.poll_interval * (
            1 + JITTER
        )

    def _poll_soon(self) -> None:
        self._poll_at = self._time.clock() + self._recheck
        self._recheck = min(self._recheck * 2, self._limits.poll_interval)

    def _poll_as_due(self) -> None:
        if self._due:
            self._poll_soon()
        else:
            self._poll_later()

    def _until_next_look(self) -> float:
        now = self._time.clock()
        waits = [at - now for at in (self._poll_at, self._check_at)]
        waits.append(self._ends_at() - now)
        if self._probe is not None:
            waits.append(self._limits.probe_interval)
            if self._arrival.allocated is not None:
                waits.append(max(self._until_close(now), CLOSE_PROBE))
        return max(min(waits), 0.0)

    def _until_close(self, now: float) -> float:
        """Seconds for which a look would tell little, of bytes that arrive."""
        if self._full_at is not None:
            return 0.0 if now < self._full_at + SNAPSHOT_DUE else math.inf
        # By half of the way each time, so that a copy which gets faster does
        # not end unseen; and from the first bytes on, to learn how fast it is.
        return min(self._progress.left / 2, self._progress.watched)

    # Give up

    def _ends_at(self) -> float:
        return min(
            self._began + self._limits.timeout,
            self._moved + self._limits.stall_timeout,
        )

    def _is_over(self) -> bool:
        return self._time.clock() >= self._ends_at()

    def _give_up(self) -> None:
        """Take a last look, then say what kept the copy from arriving."""
        self._record = record = self._images.record(self._image)
        source.require_cloneable(record)
        if record.holds(self._store):
            return
        if self._time.clock() - self._began >= self._limits.timeout:
            raise exceptions.CopyTimedOut(
                self._image,
                self._store,
                self._limits.timeout,
                str(self._progress),
            )
        holder = self._task(record.lock)
        raise exceptions.CopyStalled(
            self._image,
            self._store,
            self._limits.stall_timeout,
            holder.id if holder else record.lock,
            holder.updated_at if holder else None,
            holder.lock_kept_until if holder else None,
        )

    def _log_progress(self) -> None:
        now = self._time.clock()
        if now - self._logged < LOG_INTERVAL:
            return
        self._logged = now
        self._log.info(
            'Copy of image %s to store %s: %s',
            self._image,
            self._store,
            self._progress,
        )
