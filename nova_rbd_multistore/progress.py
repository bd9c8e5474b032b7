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

"""How far a copy has come: for the log, and to tell a stall."""

from collections.abc import Callable
import math
import re

from oslo_utils import units

#: What Glance writes into the task while it uploads to the target store.
_GLANCE_MESSAGE = re.compile(r'Copied (\d{1,12}) MiB', re.ASCII)


def bytes_in_message(message: str) -> int | None:
    """Bytes copied, as a task's message tells them; None if it doesn't."""
    match = _GLANCE_MESSAGE.search(message)
    return int(match[1]) * units.Mi if match else None


class Progress:
    """Bytes of a copy over time.

    :param total: size of the image in bytes, None if not known
    :param clock: monotonic, in seconds
    """

    def __init__(self, total: int | None, clock: Callable[[], float]) -> None:
        self._total = total
        self._clock = clock
        self._copied = 0
        self._first: tuple[float, int] | None = None
        self._is_over = False

    def saw(self, copied: int) -> None:
        """Note that ``copied`` bytes have arrived.

        Fewer than before are those of another try.
        """
        if self._first is None or self._is_over or copied < self._copied:
            self._first = (self._clock(), copied)
            self._is_over = False
        self._copied = copied

    def forget(self) -> None:
        """Take the bytes so far for those of a try that is over."""
        self._copied = 0
        self._is_over = True

    @property
    def copied(self) -> int:
        """Bytes that were there when last seen."""
        return self._copied

    @property
    def total(self) -> int | None:
        """Bytes of the whole, None if not known."""
        return self._total

    @property
    def watched(self) -> float:
        """Seconds since the first bytes were seen, of this try."""
        return self._clock() - self._first[0] if self._first else 0.0

    @property
    def left(self) -> float:
        """Seconds until all will have arrived, at the rate so far.

        Infinite while size or rate are not known, or nothing moves.
        """
        if not self._total:
            return math.inf
        missing = max(self._total - self._copied, 0)
        if not missing:
            return 0.0
        rate = self._rate()
        return missing / rate if rate > 0 else math.inf

    def __str__(self) -> str:
        """Percent, rate and time left, as far as they are known."""
        copied = f'{self._copied // units.Mi} MiB'
        if not self._total:
            return f'{copied} copied'
        share = min(self._copied / self._total, 1.0)
        line = f'{share:.0%} copied ({copied})'
        rate = self._rate()
        if rate <= 0:
            return line
        return f'{line}, {rate / units.Mi:.1f} MiB/s, {self.left:.0f} s left'

    def _rate(self) -> float:
        if self._first is None:
            return 0.0
        _, copied = self._first
        seconds = self.watched
        return (self._copied - copied) / seconds if seconds > 0 else 0.0
