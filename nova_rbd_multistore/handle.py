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

"""A handle that all threads share, replaced when it is of no use any more.

Of what use it is shows while somebody works with it. Whoever does goes on with
theirs; the next to come gets a new one, and the last to leave closes the old.
"""

from collections.abc import Callable
import enum
from typing import Generic, TypeVar

Handle = TypeVar('Handle')
Content = TypeVar('Content')

#: Seconds for which a handle is kept though something was refused on it: a
#: right that is missing for good would else cost a new handle at each try.
REFUSALS_BELIEVED = 10.0


class Ended(Exception):
    """No handle is lent any more."""


class Verdict(enum.Enum):
    """What somebody's work has shown of their handle."""

    #: Nothing bad.
    GOOD = enum.auto()
    #: Something was refused. A new one may have rights that this has not.
    REFUSED = enum.auto()
    #: It does not work any more.
    LOST = enum.auto()


class Loan(Generic[Handle]):
    """A handle, and those who work with it.

    :param since: when it was opened
    :param lasting: whether others may take it as well
    """

    def __init__(
        self, handle: Handle, since: float, *, lasting: bool = True
    ) -> None:
        self.handle = handle
        self.since = since
        self.refused = False
        #: Whether nobody may take it any more. Never unset.
        self.retired = not lasting
        #: What replaces it.
        self.successor: _Slot[Loan[Handle]] = _Slot()
        # An entry for each user: append and pop of a list are atomic.
        self._users: list[None] = [] if lasting else [None]
        self._unclaimed = [None]

    def join(self) -> bool:
        """Become one more user, unless it is retired."""
        self._users.append(None)
        # Whoever retires it looks for users after that: so they see us here,
        # or we see that it is retired.
        return not self.retired

    def leave(self) -> None:
        self._users.pop()

    def claim_to_close(self) -> bool:
        """Be the one that closes it, if nobody works with it or will.

        :returns: whether that is so. Nobody else is told the same
        """
        return self.retired and not self._users and self.claim()

    def claim(self) -> bool:
        """Be the one that closes it, whoever works with it.

        :returns: whether that is so. Nobody else is told the same
        """
        try:
            self._unclaimed.pop()
        except IndexError:
            return False
        return True


class SharedHandle(Generic[Handle]):
    """Lends one handle to all that want it at a time.

    There is no lock, for that would have to suit green and native threads
    alike. Loans form a chain instead, each with one successor at most, and a
    loan that is retired stays so: whatever is said late, and of which loan, it
    harms no other.

    :param open_one: opens a handle. Blocks; several threads may be in it
    :param close: closes one. Blocks
    :param clock: in seconds
    """

    def __init__(
        self,
        open_one: Callable[[], Handle],
        close: Callable[[Handle], None],
        clock: Callable[[], float],
    ) -> None:
        self._open_one = open_one
        self._close = close
        self._clock = clock
        #: Where the present loan is, or a retired one whose successors lead
        #: there.
        self._present: _Slot[Loan[Handle]] = _Slot()
        #: Entries, for append to a list is atomic.
        self._given_up: list[Verdict] = []
        #: Those that are not closed yet, as a set whose changes are atomic.
        self._open: dict[Loan[Handle], None] = {}
        self._has_ended = False

    @property
    def given_up(self) -> dict[Verdict, int]:
        """How many were given up since the start, and why."""
        return {
            verdict: self._given_up.count(verdict)
            for verdict in (Verdict.LOST, Verdict.REFUSED)
        }

    def take(self) -> Loan[Handle]:
        """The handle, until it is given back; opened if there is none.

        :raises Ended: after :meth:`end`
        """
        slot = self._present
        while not self._has_ended:
            loan = slot.content() or self._fill(slot)
            if self._is_outdated(loan):
                self._give_up(loan, Verdict.REFUSED)
                self._close_unused(loan)
            if not loan.retired:
                self._present = slot
                if loan.join():
                    return loan
                self._leave(loan)
            slot = loan.successor
        raise Ended

    def take_own(self, open_one: Callable[[], Handle]) -> Loan[Handle]:
        """A handle that nobody else gets, closed when it is given back.

        :raises Ended: after :meth:`end`
        """
        return self._lend(open_one, lasting=False)

    def give_back(self, loan: Loan[Handle], verdict: Verdict) -> None:
        """End a loan, and say what it has shown of the handle."""
        match verdict:
            case Verdict.REFUSED:
                loan.refused = True
            case Verdict.LOST:
                self._give_up(loan, verdict)
        self._leave(loan)

    def _give_up(self, loan: Loan[Handle], verdict: Verdict) -> None:
        if not loan.retired:
            self._given_up.append(verdict)
        loan.retired = True

    def end(self) -> None:
        """Close each handle, also one in use, and lend none any more.

        For the end of the process, when nobody can go on with theirs.
        """
        self._has_ended = True
        for loan in list(self._open):
            loan.retired = True
            if loan.claim():
                self._close_loan(loan)

    def _fill(self, slot: '_Slot[Loan[Handle]]') -> Loan[Handle]:
        opened = self._lend(self._open_one, lasting=True)
        loan = slot.fill(opened)
        if loan is not opened and opened.claim():
            # Two have opened one, and the other was first.
            self._close_loan(opened)
        return loan

    def _lend(
        self, open_one: Callable[[], Handle], *, lasting: bool
    ) -> Loan[Handle]:
        if self._has_ended:
            raise Ended
        loan = Loan(open_one(), self._clock(), lasting=lasting)
        self._open[loan] = None
        # Whoever ends this looks for those that are open after that: so they
        # see this one, or we see the end.
        if self._has_ended:
            if loan.claim():
                self._close_loan(loan)
            raise Ended
        return loan

    def _is_outdated(self, loan: Loan[Handle]) -> bool:
        age = self._clock() - loan.since
        return loan.refused and age >= REFUSALS_BELIEVED

    def _leave(self, loan: Loan[Handle]) -> None:
        loan.leave()
        self._close_unused(loan)

    def _close_unused(self, loan: Loan[Handle]) -> None:
        if loan.claim_to_close():
            self._close_loan(loan)

    def _close_loan(self, loan: Loan[Handle]) -> None:
        del self._open[loan]
        self._close(loan.handle)


class _Slot(Generic[Content]):
    """A place for one thing, which stays there for good."""

    def __init__(self) -> None:
        self._content: dict[None, Content] = {}

    def content(self) -> Content | None:
        return self._content.get(None)

    def fill(self, content: Content) -> Content:
        """Put something there; return what is there then."""
        return self._content.setdefault(None, content)
