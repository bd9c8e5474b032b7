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

"""When the next step of a wait for a copy is due; no step is made here."""

from collections.abc import Callable, Iterable
from concurrent import futures
import dataclasses
import datetime
import enum
import math
from typing import Any

from oslo_utils import timeutils

#: Seconds until Glance is polled, first, when its answer must be due: its
#: record says within 0.1 s what the cluster shows.
FIRST_RECHECK = 0.1

#: Seconds for which Glance is polled again where its answer may be out of date
#: (replicated databases lag), or a moment's fault.
SETTLES_IN = 10.0

#: Seconds after which Glance is asked once more whether an image is gone.
GONE_RECHECK = 1.0

#: Polls of different hosts drift apart by this share of the interval.
JITTER = 0.2

#: While others copy, the next poll comes after this fraction of the time
#: already waited.
PATIENCE = 0.5

#: Intervals that pass between two polls at most.
LONGEST_PAUSE = 4

#: Seconds between two polls of a host that polls for its whole site, at first.
EAGER_PAUSE = 0.6

#: Later this fraction of the time already waited, so that a long wait costs
#: few polls more than a short one.
EAGERNESS = 0.03

#: No copy of an image is taken to be done before this fraction of the time
#: that the quickest one took.
QUICKEST = 0.7

#: In place of a task's id.
_UNSEEN = ''


class Rhythm(enum.Enum):
    """How soon the next poll comes."""

    #: As soon as makes a difference: one host does that for all of its site.
    EAGER = enum.auto()
    #: After an interval.
    STEADY = enum.auto()
    #: After more intervals, the longer the wait. Thousands may wait for one
    #: lock, and the first of a site to find it free requests a copy for all of
    #: the site. So each polls ever less often: what all ask then grows with
    #: their number, hardly with the wait.
    PATIENT = enum.auto()
    #: As late after the last one as may be: another host polls for this one.
    RARE = enum.auto()


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """How often to look, and for how long; all in seconds.

    :ivar poll_interval: between two polls of Glance
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
    :ivar wait: waits for what others do, but for some seconds at most
    :ivar utcnow: what the clock on the wall says, without a zone
    """

    clock: Callable[[], float]
    sleep: Callable[[float], None]
    uniform: Callable[[float, float], float]
    wait: Callable[[Iterable[futures.Future[Any]], float], object] = (
        futures.wait
    )
    utcnow: Callable[[], datetime.datetime] = timeutils.utcnow


class Pace:
    """The pace of one wait, which begins when this is made."""

    def __init__(self, limits: Limits, time: Time) -> None:
        self._limits = limits
        self._time = time
        self._began = time.clock()
        self._moved = self._poll_at = self._began
        self._check_at = self._check_from = self._began
        self._inquired_at = -math.inf
        self._held_by: str | None = _UNSEEN
        self._held_since: float | None = None
        self._quickest: float | None = None
        self._polled_at = self._began
        self._not_before = self._began
        self._recheck = FIRST_RECHECK
        self._met_at = self._began
        self._unsettled_since: float | None = None

    def watch(self) -> None:
        """Begin to watch.

        The wait began with the boot; that nothing moves can be said only of
        what has been watched, and another boot may have done that until now.
        """
        self._poll_at = self._time.clock()
        self.moved()
        self.checked()

    def moved(self) -> None:
        """Note a sign of progress."""
        self._moved = self._time.clock()

    def checked(self) -> None:
        """Note a check of the boot; the next is due in an interval or so."""
        now, interval = self._time.clock(), self._limits.poll_interval
        self._check_from = now + interval * (1 - JITTER)
        self._check_at = now + interval * (1 + JITTER)

    def inquired(self) -> None:
        """Note that Glance is asked why nothing moves."""
        self._inquired_at = self._time.clock()

    def saw_holder(self, task: str | None) -> None:
        """Note which task holds the image, to learn how long that takes."""
        if task == self._held_by:
            return
        now = self._time.clock()
        if self._held_since is not None:
            took = now - self._held_since
            self._quickest = min(took, self._quickest or took)
        # Nobody has seen when the first one began.
        began = task is not None and self._held_by != _UNSEEN
        self._held_since = now if began else None
        self._held_by = task

    def polled(self) -> None:
        """Note that Glance is being polled."""
        self._polled_at = self._time.clock()

    @property
    def polled_long_ago(self) -> bool:
        """Whether that was an interval ago, or more."""
        since = self._time.clock() - self._polled_at
        return since >= self._limits.poll_interval

    def poll_now(self) -> None:
        """Poll with the next step."""
        self._poll_at = self._time.clock()

    def poll_soon(self) -> None:
        """Poll when an answer may be there; each time, wait twice as long."""
        self._poll_at = self._time.clock() + self._recheck
        self._recheck = min(self._recheck * 2, self._limits.poll_interval)

    def poll_at_once(self) -> None:
        """Poll when an answer must be there, then as by :meth:`poll_soon`."""
        self._recheck = FIRST_RECHECK
        self.poll_soon()

    def poll_again(self) -> bool:
        """Poll soon, for Glance may say something else then.

        :returns: False if it has had its time, and is not to be polled again
        """
        if self._unsettled_since is None:
            self._unsettled_since = self._met_at = self._time.clock()
            self.poll_at_once()
        elif self._polled_at - self._unsettled_since < SETTLES_IN:
            # Not by the time of the answer: one glance-api may have failed at
            # once, and then another hung for a minute.
            self.poll_soon()
        else:
            return False
        return True

    @property
    def has_just_met(self) -> bool:
        """Whether polls for something else have only just begun."""
        return (
            self._unsettled_since is not None
            and self._time.clock() - self._met_at < SETTLES_IN
        )

    def settled(self) -> None:
        """Note that Glance has said something else."""
        self._unsettled_since = None

    def poll_later(self, rhythm: Rhythm) -> None:
        """Poll after a while."""
        self._recheck = FIRST_RECHECK
        now = self._time.clock()
        # Who follows one leader after another does not put its poll off.
        since = self._polled_at if rhythm is Rhythm.RARE else now
        pause = self._pause(rhythm)
        pause *= self._time.uniform(1 - JITTER, 1 + JITTER)
        # Poll once more at the moment a stall would be declared.
        latest = max(self._ends_at, now + self._limits.poll_interval)
        self._poll_at = min(since + pause, latest)

    def _pause(self, rhythm: Rhythm) -> float:
        interval = self._limits.poll_interval
        match rhythm:
            case Rhythm.EAGER:
                pause = max(EAGER_PAUSE, EAGERNESS * self.waited)
                pause = max(min(pause, interval), self._until_free)
                return min(pause, LONGEST_PAUSE * interval)
            case Rhythm.STEADY:
                return interval
            case Rhythm.PATIENT:
                pause = max(interval, PATIENCE * self.waited)
                return min(pause, LONGEST_PAUSE * interval)
            case Rhythm.RARE:
                return LONGEST_PAUSE * interval

    def poll_not_within(self, seconds: float) -> None:
        """Do not poll for so long: Glance wants a pause."""
        self._not_before = self._time.clock() + seconds
        if self._unsettled_since is not None:
            # It could not say anything else meanwhile.
            self._unsettled_since += seconds

    @property
    def poll_is_due(self) -> bool:
        """Whether to poll now."""
        return self._time.clock() >= max(self._poll_at, self._not_before)

    @property
    def poll_may_wait(self) -> bool:
        """Whether a poll is not overdue, so that it may be left out once."""
        # The last possible end of an interval, drift and all, in that time.
        longest = self._limits.poll_interval * (LONGEST_PAUSE - 1 - JITTER)
        return self._time.clock() < self._polled_at + longest

    @property
    def check_is_due(self) -> bool:
        """Whether to check, poll or not, that the boot is still wanted."""
        return self._time.clock() >= self._check_at

    @property
    def check_goes_with_poll(self) -> bool:
        """Whether to check that with a poll; not with each of eager ones."""
        return self._time.clock() >= self._check_from

    @property
    def waited(self) -> float:
        """Seconds since the beginning."""
        return self._time.clock() - self._began

    @property
    def left(self) -> float:
        """Seconds until the whole time is over."""
        return self._limits.timeout - self.waited

    @property
    def still_for(self) -> float:
        """Seconds since the last sign of progress."""
        return self._time.clock() - self._moved

    @property
    def stands_still(self) -> bool:
        """Whether nothing has moved since about the last poll."""
        return self.still_for >= self._limits.poll_interval * (1 - JITTER)

    @property
    def inquiry_is_due(self) -> bool:
        """Whether that was an interval ago: not with each of eager polls."""
        since = self._time.clock() - self._inquired_at
        return since >= self._limits.poll_interval * (1 - JITTER)

    @property
    def is_over(self) -> bool:
        """Whether to give up."""
        return self._time.clock() >= self._ends_at

    @property
    def is_timed_out(self) -> bool:
        """Whether the whole time is over, and not only that of a stall."""
        return self.left <= 0

    def until_next(self, *others: float) -> float:
        """Seconds until the next step of any kind is due.

        :param others: seconds until steps that are not of this pace
        """
        now = self._time.clock()
        poll_at = max(self._poll_at, self._not_before)
        due = min(poll_at, self._check_at, self._ends_at)
        return max(min(due - now, *others), 0.0)

    @property
    def _until_free(self) -> float:
        """Seconds for which the image is not going to be free, at least."""
        if self._held_since is None or self._quickest is None:
            return 0.0
        likely = self._held_since + QUICKEST * self._quickest
        return likely - self._time.clock()

    @property
    def _ends_at(self) -> float:
        return min(
            self._began + self._limits.timeout,
            self._moved + self._limits.stall_timeout,
        )
