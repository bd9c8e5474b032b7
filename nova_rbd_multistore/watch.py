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

"""One image, watched as it arrives in the local cluster."""

from collections.abc import Callable
import enum
import math

from nova_rbd_multistore import arrival
from nova_rbd_multistore import progress

Probe = Callable[[], arrival.Arrival]

#: Seconds between two looks into the cluster when the snapshot may be close.
CLOSE_PROBE = 0.1

#: Seconds after which a snapshot is late, once all bytes have arrived: it
#: comes within one.
SNAPSHOT_DUE = 2.0


class Sign(enum.Enum):
    """What the cluster tells of the copy that is awaited."""

    #: Nothing.
    NONE = enum.auto()
    #: Somebody writes it, and is not done.
    ARRIVING = enum.auto()
    #: It is complete, or gone again: Glance is about to say which.
    DUE = enum.auto()


class Watch:
    """Looks at an image in the local cluster, and remembers what it saw.

    :param probe: tells how much has arrived
    :param size: of the image in bytes, None if not known
    :param interval: seconds between two looks
    :param clock: monotonic, in seconds
    :ivar answered: whether the last look showed what there is
    :ivar sign: what the last change meant
    :ivar progress: the bytes that were seen or told
    """

    def __init__(
        self,
        probe: Probe,
        size: int | None,
        interval: float,
        clock: Callable[[], float],
    ) -> None:
        self._probe: Probe | None = probe
        self._size = size
        self._interval = interval
        self._clock = clock
        self._arrival = arrival.ABSENT
        self._was_incomplete = False
        self._full_at: float | None = None
        self.answered = False
        self.sign = Sign.NONE
        self.progress = progress.Progress(size, clock)

    @property
    def sees(self) -> bool:
        """Whether the cluster can be looked into."""
        return self._probe is not None

    @property
    def seen_whole(self) -> bool:
        """Whether the local cluster has the image, and had it not before.

        What lay there all the time may be of another time.
        """
        return self._was_incomplete and self._arrival.complete

    @property
    def sees_anything(self) -> bool:
        """Whether something of the image's name lay there at the last look."""
        return self._arrival.exists

    def look(self) -> bool:
        """Look into the cluster; return whether anything has changed.

        :raises arrival.ArrivalsHidden: if that cannot be seen; later looks see
            nothing, and raise nothing
        :raises ClusterUnreachable: if the cluster does not answer
        """
        self.answered = False
        if self._probe is None:
            return False
        try:
            now = self._probe()
        except arrival.ArrivalsHidden:
            self._probe = None
            raise
        self.answered = True
        before, self._arrival = self._arrival, now
        if not now.complete:
            self._was_incomplete = True
        if now == before:
            return False
        if now.allocated is not None:
            self.progress.saw(now.allocated)
            full = self._size and now.allocated >= self._size
            self._full_at = self._clock() if full else None
        elif not now.exists:
            self.progress.forget()
        due = now.complete or not now.exists
        self.sign = Sign.DUE if due else Sign.ARRIVING
        return True

    def distrust_bytes(self) -> None:
        """Take what has arrived for nobody's work until more of it comes."""
        if self.sign is Sign.ARRIVING:
            self.sign = Sign.NONE

    def told(self, copied: int) -> None:
        """Note how many bytes have been copied by what Glance says."""
        self.progress.saw(copied)

    def await_new_copy(self) -> None:
        """Take what lies there for the rest of another copy.

        Glance trips over it, and says so soon.
        """
        self.sign = Sign.DUE if self._arrival.exists else Sign.NONE
        self.progress.forget()

    def await_nothing(self) -> None:
        """Take what lies there for no sign until it changes."""
        self.sign = Sign.NONE

    @property
    def until_next_look(self) -> float:
        """Seconds, infinite where there is nothing to be seen."""
        if self._probe is None:
            return math.inf
        if self._arrival.allocated is None:
            return self._interval
        return min(self._interval, max(self._until_close, CLOSE_PROBE))

    @property
    def _until_close(self) -> float:
        """Seconds for which a look would tell little, of bytes that arrive."""
        if self._full_at is not None:
            late = self._clock() >= self._full_at + SNAPSHOT_DUE
            return math.inf if late else 0.0
        # By half of the way each time, so that a copy which gets faster does
        # not end unseen; and from the first bytes on, to learn how fast it is.
        return min(self.progress.left / 2, self.progress.watched)
