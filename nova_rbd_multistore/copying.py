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
* The glance-api that accepts a request makes the copy, and may fail for a
  reason of its own: then another is asked, each once.
* The record says which stores have the image. The lock's task says what
  became of a request: the flag ``os_glance_failed_import`` may be an old one.
* A glance-api that dies leaves lock, flags and task as they were. Its lock
  can be taken over, by a new request, after an hour.

What a copy writes is seen in the local cluster first, at no cost to Glance:
so we look there often, and poll Glance seldom, but at once when it is done.
While the image is copied to another site, there is nothing to be seen: one
host of each site then polls for all (:mod:`lead`).
"""

from typing import Protocol

from nova_rbd_multistore import arrival
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import holder as holders
from nova_rbd_multistore import image as image_values
from nova_rbd_multistore import journal
from nova_rbd_multistore import lead
from nova_rbd_multistore import location
from nova_rbd_multistore import meter
from nova_rbd_multistore import pace
from nova_rbd_multistore import request
from nova_rbd_multistore import source
from nova_rbd_multistore import task as task_values
from nova_rbd_multistore import wait
from nova_rbd_multistore import watch


class ImageService(Protocol):
    """What a copy needs of Glance; see :class:`glance.Glance`."""

    def record(
        self, image: str, *, confirm: bool = False
    ) -> image_values.ImageRecord: ...

    def tasks(self, image: str) -> tuple[task_values.CopyTask, ...]: ...

    def request_copy(
        self,
        image: str,
        store: str,
        sources: frozenset[str],
        avoid: frozenset[str],
    ) -> task_values.CopyReply: ...


class Copy:
    """One image on its way into one store, as one boot follows it.

    :param record: the image, not in the store when last seen
    :param store: name of the store
    :param place: where in our cluster the copy will lie; None if it goes to
        another
    :param images: Glance, as the user of the boot
    :param waiting: how the boot waits, and for how long it has
    """

    def __init__(
        self,
        record: image_values.ImageRecord,
        store: str,
        place: location.RbdLocation | None,
        images: ImageService,
        waiting: wait.Wait,
    ) -> None:
        self._image = record.id
        self._record = record
        self._store = store
        self._place = place
        self._images = images
        self._limits = waiting.limits
        self._time = waiting.time
        self._check = waiting.check
        self._pace = waiting.pace
        # The record.
        self._pace.polled()
        self._watch = watch.Watch(
            waiting.probe,
            record.size,
            self._limits.probe_interval,
            self._time.clock,
        )
        self._request = request.Request(store)
        self._lead = waiting.lead
        self._expiry = holders.Expiry(self._time)
        self._holding: task_values.CopyTask | None = None
        self._obstacle: exceptions.CopyError | exceptions.HostError | None
        self._obstacle = None
        self._journal = journal.Journal(
            self._image, store, waiting.about_server, self._time.clock
        )

    @property
    def seen_whole(self) -> bool:
        """Whether the local cluster has the image, and had it not before."""
        return self._watch.seen_whole

    @property
    def time_left(self) -> float:
        """Seconds until the boot gives up, whatever moves."""
        return self._pace.left

    @property
    def stage(self) -> meter.Stage:
        """How far it is, as far as the boot has seen."""
        if self._watch.sign is not watch.Sign.NONE:
            return meter.Stage.ARRIVING
        if self._holding is not None and self._holding.queued:
            return meter.Stage.QUEUED
        if self._request.accepted or self._store in self._record.importing:
            return meter.Stage.STAGING
        if self._record.lock:
            return meter.Stage.LOCKED
        return meter.Stage.REQUESTED

    @property
    def copied(self) -> int:
        """Bytes that have arrived."""
        return self._watch.progress.copied

    @property
    def total(self) -> int | None:
        """Bytes of the image, None if not known."""
        return self._watch.progress.total

    def run(self) -> image_values.ImageRecord:
        """Return the image's record when the store has the image.

        :raises CopyFailed: if Glance says that our copy failed, in each
            glance-api that could make it
        :raises CopyRefused: if Glance refuses it for the stall timeout
        :raises CopyStalled: if nothing moves for the stall timeout
        :raises CopyTimedOut: after the whole timeout
        :raises RequestFailed: if Glance fails at each request for it
        :raises ImageError: if the image is no longer there for this user
        :raises HostError: if Glance, or the store in it, is not there
        """
        try:
            return self._run()
        except exceptions.ImageGone as exc:
            gone = exc
        finally:
            # Whatever ended the wait: if others wait on, another host leads.
            self._lead.resign()
        # Not in the handler: oslo.log would say it twice.
        if self._request.accepted and self._place is not None:
            self._journal.gone(self._request, self._place)
        raise gone

    def _run(self) -> image_values.ImageRecord:
        # Another boot may have followed the copy until now.
        read_long_ago = self._pace.polled_long_ago
        self._pace.watch()
        self._journal.begins()
        self._look_into_cluster()
        # What lay there before may be the rest of a copy that died.
        self._watch.distrust_bytes()
        self._pace.saw_holder(self._record.lock)
        if self._record.lock and not read_long_ago:
            self._wait_for_holder(f'task {self._record.lock} holds it')
            self._poll_as_due()
        elif not self._pace.is_timed_out:
            self._request_copy()
        while self._pace.is_timed_out or not self._look():
            if self._pace.is_over and self._look_last():
                break
            self._time.sleep(
                self._pace.until_next(
                    self._watch.until_next_look, self._lead.until_due
                )
            )
        self._journal.arrived(self._pace.waited)
        return self._record

    # Request

    def _request_copy(self) -> None:
        """Request the copy: it is ours, or somebody else's goes first."""
        try:
            reply = self._images.request_copy(
                self._image,
                self._store,
                # Whoever holds the lock may bring the image to further stores.
                frozenset() if self._record.lock else self._record.stores,
                self._request.tried,
            )
        except task_values.NoneLeft:
            raise self._failure() from None
        except exceptions.CopyForbidden as exc:
            # Perhaps for a moment: while Keystone does not answer it, Glance
            # takes Nova's service token for none. Or by no policy: whoever
            # takes over the lock of a dead task has to remove its flags, which
            # Glance forbids all but the image's owner. The lock is of no task
            # then, and free.
            self._meet(self._forbidden(exc))
            return
        except exceptions.TokenRefused:
            # Nor does Glance know a token then that it has not had checked of
            # late.
            if not self._pace.poll_again():
                raise
            return
        except exceptions.GlanceUnavailable as exc:
            self._obstacle = exc
            if self._request.failures:
                # Not for long: those that answer have failed.
                self._meet(self._failure(exc.fault or _silence(exc)))
            elif exc.fault is None:
                self._lead.resign()
                self._poll_later()
            else:
                # Of imports of several images at once, Glance answers some
                # with 500: MariaDB ends one of two transactions that wait for
                # each other (set_property_atomic), and Glance does not try
                # again.
                self._meet(
                    exceptions.RequestFailed(
                        self._image, self._store, exc.fault
                    )
                )
            self._pace.poll_not_within(exc.wait)
            return
        match reply.verdict:
            case task_values.Verdict.ACCEPTED:
                self._pace.settled()
                self._obstacle = None
                self._request.accept(
                    reply.request_id, self._record, reply.endpoint
                )
                self._pace.moved()
                self._journal.accepted(self._request)
                self._watch.await_new_copy()
                # So that nobody of this site polls for what is on its way.
                self._lead.take()
                self._poll_as_due()
            case task_values.Verdict.BUSY:
                self._pace.settled()
                self._obstacle = exceptions.CopyRefused(
                    self._image, self._store, reply.reason
                )
                self._request.refuse()
                self._wait_for_holder(reply.reason)
                self._poll_as_due()
            case task_values.Verdict.NOT_NEEDED:
                self._request.refuse()
                if not isinstance(self._obstacle, exceptions.CopyFailed):
                    # Glance says something else than before.
                    self._pace.settled()
                self._meet(self._failure(reply.reason))

    def _meet(
        self, obstacle: exceptions.CopyError | exceptions.HostError
    ) -> None:
        """Ask again soon; raise ``obstacle`` if it stays."""
        self._obstacle = obstacle
        if self._record.lock:
            # Whoever holds the image may bring it without our request.
            self._poll_later()
        elif not self._pace.poll_again():
            raise obstacle

    def _wait_for_holder(self, reason: str) -> None:
        self._journal.waits(reason)
        self._journal.has_part(self._lead.role)
        self._lead.strive()

    # Follow

    def _look(self) -> bool:
        """See whether the image is there, in the cluster or in Glance."""
        self._look_into_cluster()
        self._keep_up_lead()
        poll, check = self._pace.poll_is_due, self._pace.check_is_due
        may_wait = self._pace.poll_may_wait
        if not (poll or check):
            return False
        if check or (
            self._pace.check_goes_with_poll
            and self._watch.sign is not watch.Sign.DUE
        ):
            # Otherwise the boot is about to go on, and Nova itself checks.
            self._check()
            self._pace.checked()
        if not poll:
            return False
        if self._watch.sign is watch.Sign.ARRIVING and may_wait:
            # Whoever writes there is alive, and not done: no news in Glance,
            # except that the user may have lost the right to the image.
            self._poll_later()
            self._watch.distrust_bytes()
            return False
        return self._poll()

    def _look_into_cluster(self) -> None:
        try:
            changed = self._watch.look()
        except arrival.ArrivalsHidden as exc:
            self._journal.hidden(exc, self._limits.poll_interval)
            # A follower has to see what its leader has brought about.
            self._lead.withdraw()
            return
        except exceptions.ClusterUnreachable as exc:
            self._journal.unseen(exc)
            return
        if not changed:
            return
        self._pace.moved()
        if self._watch.sign is watch.Sign.DUE:
            self._pace.poll_at_once()
        self._journal.progress(self._watch.progress)

    def _keep_up_lead(self) -> None:
        before = self._lead.role
        self._lead.keep_up()
        if (
            self._lead.role is before
            or self._request.accepted
            or self._watch.sign is watch.Sign.DUE
        ):
            return
        self._journal.has_part(self._lead.role)
        if self._lead.role is lead.Role.LEADER:
            # The image may be free since the last leader's last poll.
            self._pace.poll_now()
        elif self._lead.role is lead.Role.FOLLOWER:
            self._poll_later()

    def _poll(self) -> bool:
        self._pace.polled()
        try:
            record = self._ask_record()
            source.require_cloneable(record)
            if record != self._record:
                self._pace.moved()
            self._record = record
            self._pace.saw_holder(record.lock)
            if record.holds(self._store):
                return True
            if record.lock:
                self._request.saw_lock(record.lock)
                self._follow_holder()
            elif self._request.accepted:
                self._judge_ours()
            else:
                self._request_copy()
        except exceptions.TokenRefused:
            if not self._pace.poll_again():
                raise
        except exceptions.GlanceUnavailable as exc:
            # It may come back, and a copy goes on without being polled.
            # Another host may have a better way to it.
            self._lead.resign()
            self._pace.settled()
            self._poll_as_due()
            self._pace.poll_not_within(exc.wait)
        return False

    def _ask_record(self) -> image_values.ImageRecord:
        """The record as it is now."""
        try:
            return self._images.record(self._image)
        except exceptions.ImageGone:
            if not self._request.accepted:
                raise
        return self._confirmed()

    def _ask_tasks(self) -> tuple[task_values.CopyTask, ...]:
        """The image's tasks as they are now."""
        try:
            return self._images.tasks(self._image)
        except exceptions.ImageGone:
            if not self._request.accepted:
                raise
        self._confirmed()
        return self._images.tasks(self._image)

    def _confirmed(self) -> image_values.ImageRecord:
        """The record of an image that is gone, says one glance-api.

        It may read from a replica that lags, or be broken: a copy of ours is
        not given up for its word alone.
        """
        self._time.sleep(pace.GONE_RECHECK)
        return self._images.record(self._image, confirm=True)

    def _follow_holder(self) -> None:
        """Look after the task that holds the image."""
        self._pace.settled()
        self._poll_as_due()
        if not (self._pace.stands_still and self._pace.inquiry_is_due):
            return
        self._pace.inquired()
        if self._request.state is request.State.NONE:
            # Its glance-api may be long dead: then Glance lets our request
            # take the lock over.
            self._request_copy()
            if self._request.state is not request.State.NONE:
                return
        # The cluster shows nothing new: Glance may stage the image, or copy
        # it to another store, or be dead. What does its task say?
        tasks = self._ask_tasks()
        holder = self._holder(tasks)
        if holder is None:
            return
        if self._request.accepted:
            ours = self._request.task(tasks)
            # Unless we see neither: then the lock may be ours.
            if (ours or holder.task) and ours != holder.task:
                self._lose_if_lost(ours)
        self._expiry.saw(holder)
        if self._expiry.has_passed and self._may_be_dead(holder):
            self._take_over(holder)
            return
        if holder.task != self._holding or holder.quiet:
            self._pace.moved()
        if holder.quiet or not holder.brings:
            self._journal.held(holder)
        self._holding = holder.task
        if holder.copied is not None:
            self._watch.told(holder.copied)
        if holder.brings:
            self._journal.progress(self._watch.progress)

    def _may_be_dead(self, holder: holders.Holder) -> bool:
        """Whether to have an expired lock taken over."""
        if not self._request.accepted:
            return True
        # Glance stages an image without a sign of life: we would end our own
        # copy.
        return holder.task is not None and holder.task.queued

    def _take_over(self, holder: holders.Holder) -> None:
        """Request a copy, though something holds the image."""
        self._journal.expired(holder)
        self._expiry.asked()
        self._request.reopen(holder.task if self._request.accepted else None)
        self._request_copy()

    def _holder(
        self, tasks: tuple[task_values.CopyTask, ...]
    ) -> holders.Holder | None:
        """What holds the image, None if nothing does."""
        return holders.Holder.of(
            self._record,
            tasks,
            self._store,
            watched=self._place is not None and self._watch.answered,
        )

    def _judge_ours(self) -> None:
        """The lock is gone and the image not there: what of our request?"""
        ours = self._request.task(self._ask_tasks())
        if ours is not None and not ours.finished:
            if self._lose_if_lost(ours):
                self._request_copy()
            else:
                # Glance drops the lock a moment before it closes the task.
                self._pace.poll_soon()
            return
        failed = ours and ours.status is task_values.TaskStatus.FAILURE
        if not failed and self._pace.poll_again():
            # Glance may show the record, or the task, a moment late.
            return
        if self._lose_if_lost(ours):
            self._request_copy()
            return
        if ours is None:
            reason = 'its task is gone'
        elif ours.status is task_values.TaskStatus.FAILURE:
            reason = ours.message or 'it gives no reason'
        else:
            reason = 'it says success, but the store does not have the image'
        self._journal.failed(self._request, ours, reason)
        self._request.fail(ours, reason)
        self._look_into_cluster()
        if self._watch.sees_anything or (ours is not None and ours.over_quota):
            # Of our copy nothing is left by now: what lies there is in the
            # way of any other, too.
            raise self._failure()
        # The reason may lie in that glance-api: its staging area, its files,
        # its way to the store that it copies from.
        self._pace.moved()
        self._pace.settled()
        self._request_copy()

    def _forbidden(
        self, exc: exceptions.CopyForbidden
    ) -> exceptions.CopyError:
        """What it is that glance-apis forbid the copy."""
        if not self._request.failures:
            return exc
        # Those that do not have failed at it.
        return self._failure('it forbids the copy (policy copy_image)')

    def _failure(self, *reasons: str) -> exceptions.CopyFailed:
        return exceptions.CopyFailed(
            self._image, self._store, *self._request.failures, *reasons
        )

    def _lose_if_lost(self, ours: task_values.CopyTask | None) -> bool:
        """Go on as if our request had not been accepted, if it was lost."""
        if not self._request.is_lost(ours, self._record):
            return False
        self._journal.lost(self._request, ours)
        self._request.lose(ours, image_is_held=bool(self._record.lock))
        self._watch.await_nothing()
        return True

    # Pace

    def _poll_later(self) -> None:
        self._pace.poll_later(self._rhythm)

    @property
    def _rhythm(self) -> pace.Rhythm:
        if not self._request.accepted:
            match self._lead.role:
                case lead.Role.LEADER if self._waits_for_lock:
                    return pace.Rhythm.EAGER
                case lead.Role.LEADER:
                    return pace.Rhythm.STEADY
                case lead.Role.FOLLOWER:
                    return pace.Rhythm.RARE
        return self._rhythm_alone

    @property
    def _rhythm_alone(self) -> pace.Rhythm:
        """That of a host which polls for itself."""
        if self._request.accepted or not self._watch.sees:
            return pace.Rhythm.STEADY
        return pace.Rhythm.PATIENT

    @property
    def _waits_for_lock(self) -> bool:
        """Whether nothing but a poll shows when we can have our copy."""
        if self._watch.sign is watch.Sign.ARRIVING:
            return False
        if self._record.lock and self._store in self._record.importing:
            # Somebody's copy to our own store: the cluster will show it.
            return False
        # Glance also gives the answer of a lock for other reasons.
        return self._request.refusals <= 1

    def _poll_as_due(self) -> None:
        if self._watch.sign is watch.Sign.DUE:
            self._pace.poll_soon()
        else:
            self._poll_later()

    # Give up

    def _look_last(self) -> bool:
        """See once more whether the image is there; if not, give up.

        :returns: False if the wait goes on all the same, for something has
            moved, or may be well though it does not
        """
        before, self._record = self._record, self._ask_record()
        source.require_cloneable(self._record)
        if self._record.holds(self._store):
            return True
        tasks = self._ask_tasks()
        holder = self._holder(tasks)
        if self._pace.is_timed_out:
            raise self._timed_out(holder)
        # A glance-api that was frozen answers late, and copies on as it does.
        self._look_into_cluster()
        told_more = (
            holder is not None
            and self._holding is not None
            and holder.task != self._holding
        )
        if (
            self._pace.is_over
            and self._record == before
            and not told_more
            # A request may have taken all that time, and be worth another.
            and not self._pace.has_just_met
            and not (holder and holder.quiet)
        ):
            stalled = self._stalled(holder, tasks)
            if stalled is not None:
                raise stalled
        self._pace.moved()
        return False

    def _timed_out(
        self, holder: holders.Holder | None
    ) -> exceptions.CopyError | exceptions.HostError:
        if isinstance(self._obstacle, exceptions.CopyForbidden):
            # The end of what holds the image would not help this user.
            return self._obstacle
        limit, so_far = self._limits.timeout, str(self._watch.progress)
        if holder is not None:
            return holder.timed_out(limit, so_far)
        if isinstance(self._obstacle, exceptions.HostError):
            return self._obstacle
        return exceptions.CopyTimedOut(self._image, self._store, limit, so_far)

    def _stalled(
        self,
        holder: holders.Holder | None,
        tasks: tuple[task_values.CopyTask, ...],
    ) -> exceptions.CopyError | exceptions.HostError | None:
        """What stands in the way, None if Glance shows nothing."""
        limit = self._limits.stall_timeout
        if isinstance(self._obstacle, exceptions.CopyForbidden):
            return self._obstacle
        if holder is not None:
            return holder.stalled(limit)
        if not self._request.accepted:
            return self._obstacle
        ours = self._request.task(tasks)
        if ours is None or ours.finished:
            return None
        return exceptions.CopyStalled(
            self._image,
            self._store,
            limit,
            ours.id,
            holds=False,
            since=ours.updated_at,
            until=None,
        )


def _silence(exc: exceptions.GlanceUnavailable) -> str:
    """What is to be said of glance-apis that gave no answer."""
    if exc.wait:
        return 'it wants no request yet (Retry-After)'
    return 'it does not answer'
