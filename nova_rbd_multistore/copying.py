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
  A further request is refused (409), not queued. So a boot that sees the lock
  waits, and requests when it is gone or nothing has moved for a while.
* The answer 202 comes with the lock; the work begins later. The lock may be
  lost meanwhile (:mod:`request`).
* The record says which stores have the image. The lock's task says what
  became of a request: the flag ``os_glance_failed_import`` may be an old one.
* A glance-api that dies leaves lock, flags and task as they were. Its lock
  can be taken over, by a new request, after an hour.

What a copy writes is seen in the local cluster first, at no cost to Glance:
so we look there often, and poll Glance seldom, but at once when it is done.
"""

from collections.abc import Callable
from typing import Protocol

from oslo_log import log as logging

from nova_rbd_multistore import arrival
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import image as image_values
from nova_rbd_multistore import pace
from nova_rbd_multistore import progress
from nova_rbd_multistore import request
from nova_rbd_multistore import source
from nova_rbd_multistore import task as task_values
from nova_rbd_multistore import watch

LOG = logging.getLogger(__name__)

#: So many requests without an answer are repeated at once. Of imports of
#: several images at once, Glance answers some with 500: MariaDB ends one of
#: two transactions that wait for each other (``set_property_atomic``), and
#: Glance does not try again. For any other reason, more would not help.
QUICK_REQUESTS = 2

#: Seconds between two log entries about the progress of one copy.
LOG_INTERVAL = 10.0


class ImageService(Protocol):
    """What a copy needs of Glance; see :class:`glance.Glance`."""

    def record(self, image: str) -> image_values.ImageRecord: ...

    def tasks(self, image: str) -> tuple[task_values.CopyTask, ...]: ...

    def request_copy(
        self, image: str, store: str
    ) -> task_values.CopyReply: ...


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
        probe: watch.Probe,
        limits: pace.Limits,
        time: pace.Time,
        check: Callable[[], None],
        server: str | None = None,
    ) -> None:
        self._log = logging.KeywordArgumentAdapter(
            LOG.logger, {'instance_uuid': server} if server else {}
        )
        self._image = record.id
        self._record = record
        self._store = store
        self._images = images
        self._limits = limits
        self._time = time
        self._check = check
        self._pace = pace.Pace(limits, time)
        self._watch = watch.Watch(
            probe, record.size, limits.probe_interval, time.clock
        )
        self._request = request.Request(store)
        self._quick_requests = QUICK_REQUESTS
        self._holder: task_values.CopyTask | None = None
        self._unneeded = False
        self._logged = time.clock()

    @property
    def seen_whole(self) -> bool:
        """Whether the local cluster has the image, and had it not before."""
        return self._watch.seen_whole

    def run(self) -> image_values.ImageRecord:
        """Return the image's record when the store has the image.

        :raises CopyFailed: if Glance says that our copy failed
        :raises CopyStalled: if nothing moves for the stall timeout
        :raises CopyTimedOut: after the whole timeout
        :raises ImageError: if the image is no longer there for this user
        :raises HostError: if Glance, or the store in it, is not there
        """
        # Another boot may have followed the copy until now.
        read_long_ago = self._pace.waited >= self._limits.poll_interval
        self._pace.watch()
        self._logged = self._time.clock()
        self._look_into_cluster()
        # What lay there before may be the rest of a copy that died.
        self._watch.distrust_bytes()
        if self._record.lock and not read_long_ago:
            self._log_holder(f'task {self._record.lock}')
            self._poll_as_due()
        else:
            self._request_copy()
        while not self._look():
            if self._pace.is_over:
                self._give_up()
                break
            self._time.sleep(
                self._pace.until_next(self._watch.until_next_look)
            )
        self._log.info(
            'Image %s is in store %s, %.1f s after the boot asked for it',
            self._image,
            self._store,
            self._pace.waited,
        )
        return self._record

    # Request

    def _request_copy(self) -> None:
        """Request the copy: it is ours, or somebody else's goes first."""
        try:
            reply = self._images.request_copy(self._image, self._store)
        except exceptions.GlanceUnavailable:
            if self._quick_requests and not self._record.lock:
                self._quick_requests -= 1
                self._pace.poll_soon()
            else:
                self._poll_later()
            return
        match reply.verdict:
            case task_values.Verdict.ACCEPTED:
                self._request.accept(reply.request_id, self._record)
                self._pace.moved()
                self._log.info(
                    'Glance copies image %s to store %s (its request %s)',
                    self._image,
                    self._store,
                    reply.request_id,
                )
                self._watch.await_new_copy()
                self._poll_as_due()
            case task_values.Verdict.BUSY:
                self._request.refuse()
                self._log_holder(reply.reason)
                self._poll_as_due()
            case task_values.Verdict.NOT_NEEDED:
                self._request.refuse()
                if self._unneeded:
                    raise exceptions.CopyFailed(
                        self._image, self._store, reply.reason
                    )
                self._unneeded = True
                self._pace.poll_soon()

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
        self._look_into_cluster()
        poll, check = self._pace.poll_is_due, self._pace.check_is_due
        may_wait = self._pace.poll_may_wait
        if not (poll or check):
            return False
        if check or self._watch.sign is not watch.Sign.DUE:
            # Otherwise the boot is about to go on, and Nova itself checks.
            self._check()
            self._pace.checked()
        if not poll:
            return False
        if self._watch.sign is watch.Sign.ARRIVING and may_wait:
            # Whoever writes there is alive, and not done: no news in Glance,
            # except that the user may have lost the right to the image.
            self._watch.distrust_bytes()
            self._poll_later()
            return False
        return self._poll()

    def _look_into_cluster(self) -> None:
        try:
            changed = self._watch.look()
        except arrival.ArrivalsHidden as exc:
            self._log.warning(
                'Cannot watch images arrive (%s): learning of the end of a '
                'copy from Glance alone, every %.0f s. Check [rbd_multistore] '
                'glance_rbd_pool and the cephx cap "profile rbd-read-only" '
                'on that pool',
                exc,
                self._limits.poll_interval,
            )
            return
        except exceptions.ClusterUnreachable as exc:
            self._log.debug('Cannot look for image %s: %s', self._image, exc)
            return
        if not changed:
            return
        self._pace.moved()
        if self._watch.sign is watch.Sign.DUE:
            self._pace.poll_at_once()
        self._log_progress()

    def _poll(self) -> bool:
        self._pace.polled()
        try:
            record = self._images.record(self._image)
            source.require_cloneable(record)
            if record != self._record:
                self._pace.moved()
            self._record = record
            if record.holds(self._store):
                return True
            if record.lock:
                self._request.saw_lock(record.lock)
                self._follow_holder(record.lock)
            elif self._request.accepted:
                self._judge_ours()
            else:
                self._request_copy()
        except exceptions.GlanceUnavailable:
            # It may come back, and a copy goes on without being polled.
            self._poll_later()
        return False

    def _follow_holder(self, lock: str) -> None:
        """Look after the task that holds the image."""
        self._poll_as_due()
        if not self._pace.stands_still:
            return
        if self._request.state is request.State.NONE:
            # Its glance-api may be long dead: then Glance lets our request
            # take the lock over.
            self._request_copy()
            return
        # The cluster shows nothing new: Glance may stage the image, or copy
        # it to another store, or be dead. What does its task say?
        tasks = self._images.tasks(self._image)
        holder = _find(tasks, lock)
        if self._request.accepted:
            ours = self._request.task(tasks)
            # Unless we see neither: then the lock may be ours.
            if (ours or holder) and ours != holder:
                self._lose_if_lost(ours)
        unseen = holder is None and self._store not in self._record.importing
        if holder != self._holder or unseen:
            # Unseen: another project's copy to another store. Nothing of it
            # is to be seen here, so it cannot be said to stand still.
            self._pace.moved()
        self._holder = holder
        copied = progress.bytes_in_message(holder.message) if holder else None
        if copied is not None:
            self._watch.told(copied)
        self._log_progress()

    def _judge_ours(self) -> None:
        """The lock is gone and the image not there: what of our request?"""
        ours = self._request.task(self._images.tasks(self._image))
        if self._lose_if_lost(ours):
            self._request_copy()
            return
        if ours is not None and not ours.finished:
            # Glance drops the lock a moment before it closes the task.
            self._pace.poll_soon()
            return
        if ours is None:
            reason = 'its task is gone'
        elif ours.status is task_values.TaskStatus.FAILURE:
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
            self._request.id,
        )
        raise exceptions.CopyFailed(self._image, self._store, reason)

    def _lose_if_lost(self, ours: task_values.CopyTask | None) -> bool:
        """Go on as if our request had not been accepted, if it was lost."""
        if not self._request.is_lost(ours, self._record):
            return False
        if not self._request.losses:
            self._log.warning(
                'Glance accepted the copy of image %s to store %s (request '
                '%s), and did not make it: %s. Requesting the copy again when '
                'the image is free',
                self._image,
                self._store,
                self._request.id,
                self._loss(ours),
            )
        self._request.lose(ours, image_is_held=bool(self._record.lock))
        self._watch.await_nothing()
        return True

    def _loss(self, ours: task_values.CopyTask | None) -> str:
        if ours is None:
            return 'its task is gone'
        loss = f'its task {ours.id} is {ours.status.value}'
        if ours.message:
            loss += f', "{ours.message}"'
        others = ', '.join(sorted(self._request.others(ours)))
        if others:
            loss += f'; task {others} was seen to hold the image'
        return loss

    # Pace

    def _poll_later(self) -> None:
        self._pace.poll_later(
            patiently=not self._request.accepted and self._watch.sees
        )

    def _poll_as_due(self) -> None:
        if self._watch.sign is watch.Sign.DUE:
            self._pace.poll_soon()
        else:
            self._poll_later()

    # Give up

    def _give_up(self) -> None:
        """Take a last look, then say what kept the copy from arriving."""
        self._record = record = self._images.record(self._image)
        source.require_cloneable(record)
        if record.holds(self._store):
            return
        if self._pace.is_timed_out:
            raise exceptions.CopyTimedOut(
                self._image,
                self._store,
                self._limits.timeout,
                str(self._watch.progress),
            )
        holder = _find(self._images.tasks(self._image), record.lock)
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
            self._watch.progress,
        )


def _find(
    tasks: tuple[task_values.CopyTask, ...], task_id: str | None
) -> task_values.CopyTask | None:
    return next((task for task in tasks if task.id == task_id), None)
