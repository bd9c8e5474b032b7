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

from collections.abc import Callable
import dataclasses

#: Seconds until Glance is polled, first, when its answer must be due: its
#: record says within 0.1 s what the cluster shows.
FIRST_RECHECK = 0.1

#: Seconds for which Glance is polled again where its answer may be out of date
#: (replicated databases lag), or a moment's fault.
SETTLES_IN = 10.0

#: Polls of different hosts drift apart by this share of the interval.
JITTER = 0.2

#: While others copy, the next poll comes after this fraction of the time
#: already waited.
PATIENCE = 0.5

#: Intervals that pass between two polls at most.
LONGEST_PAUSE = 4


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
    """

    clock: Callable[[], float]
    sleep: Callable[[float], None]
    uniform: Callable[[float, float], float]


class Pace:
    """The pace of one wait, which begins when this is made."""

    def __init__(self, limits: Limits, time: Time) -> None:
        self._limits = limits
        self._time = time
        self._began = time.clock()
        self._moved = self._poll_at = self._check_at = self._began
        self._not_before = self._began
        # The last possible end of an interval, drift and all, in that time.
        self._longest_pause = limits.poll_interval * (
            LONGEST_PAUSE - 1 - JITTER
        )
        self._poll_by = self._began + self._longest_pause
        self._recheck = FIRST_RECHECK
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
        self._check_at = self._time.clock() + self._limits.poll_interval * (
            1 + JITTER
        )

    def polled(self) -> None:
        """Note that Glance is being polled."""
        self._poll_by = self._time.clock() + self._longest_pause

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
        now = self._time.clock()
        if self._unsettled_since is None:
            self._unsettled_since = now
            self.poll_at_once()
        elif now - self._unsettled_since < SETTLES_IN:
            self.poll_soon()
        else:
            return False
        return True

    def settled(self) -> None:
        """Note that Glance has said something else."""
        self._unsettled_since = None

    def poll_later(self, *, patiently: bool) -> None:
        """Poll after an interval.

        :param patiently: or after more of them, the longer the wait. Thousands
            may wait for one lock, and the first of a site to find it free asks
            for all of the site. So each polls ever less often: what all ask
            then grows with their number, hardly with the wait
        """
        self._recheck = FIRST_RECHECK
        now = self._time.clock()
        interval = pause = self._limits.poll_interval
        if patiently:
            pause = max(interval, PATIENCE * (now - self._began))
            pause = min(pause, LONGEST_PAUSE * interval)
        pause *= self._time.uniform(1 - JITTER, 1 + JITTER)
        # Poll once more at the moment a stall would be declared.
        self._poll_at = min(now + pause, max(self._ends_at, now + interval))

    def poll_not_within(self, seconds: float) -> None:
        """Do not poll for so long: Glance wants a pause."""
        self._not_before = self._time.clock() + seconds

    @property
    def poll_is_due(self) -> bool:
        """Whether to poll now."""
        return self._time.clock() >= max(self._poll_at, self._not_before)

    @property
    def poll_may_wait(self) -> bool:
        """Whether a poll is not overdue, so that it may be left out once."""
        return self._time.clock() < self._poll_by

    @property
    def check_is_due(self) -> bool:
        """Whether to check, poll or not, that the boot is still wanted."""
        return self._time.clock() >= self._check_at

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
    def is_over(self) -> bool:
        """Whether to give up."""
        return self._time.clock() >= self._ends_at

    @property
    def is_timed_out(self) -> bool:
        """Whether the whole time is over, and not only that of a stall."""
        return self.left <= 0

    def until_next(self, look: float) -> float:
        """Seconds until the next step of any kind is due.

        :param look: seconds until the next look into the cluster
        """
        now = self._time.clock()
        poll_at = max(self._poll_at, self._not_before)
        due = min(poll_at, self._check_at, self._ends_at)
        return max(min(due - now, look), 0.0)

    @property
    def _ends_at(self) -> float:
        return min(
            self._began + self._limits.timeout,
            self._moved + self._limits.stall_timeout,
        )
