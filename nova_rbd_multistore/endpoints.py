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

"""The endpoints of Glance, and what this process knows of each.

A cloud may run several glance-apis over one database. Any of them can answer
any question; each can be down, hang, be sick, or without one of the stores.
What is known orders them, and says which boot finds out more: one at a time,
or none, where a trial beside the boots will do.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent import futures
import dataclasses
import enum
import random
import time

#: Seconds for which an endpoint that answered is taken to answer again. Beyond
#: that, one boot asks it and the others await its answer: it may hang by now.
FRESH = 0.05

#: Pauses are longer than an endpoint wants by up to this share.
SPREAD = 0.5

_NEVER = float('-inf')


class Rank(enum.IntEnum):
    """How good an endpoint is, as far as that is known."""

    #: Answers, or its health was good.
    GOOD = 0
    #: Not asked yet.
    UNKNOWN = 1
    #: Its health check says so, or hangs. It may well answer questions.
    SICK = 2
    #: Gave no good answer to the last question, or none in time.
    FAILED = 3


@dataclasses.dataclass(slots=True)
class _Knowledge:
    failed: bool = False
    sick: bool | None = None
    answered_at: float = _NEVER
    checked_at: float = _NEVER
    rests_until: float = _NEVER
    not_before: float = _NEVER
    limited_until: float = _NEVER
    stores: frozenset[str] = frozenset()


class Endpoints:
    """What was learned of Glance's endpoints, for all threads of a process.

    An endpoint is its URL. Each fact is one assignment, and what only one may
    have is one ``setdefault``, so threads need no lock, and green and native
    threads may share an object.

    :param rest: seconds for which a failure or an answer of the health check
        is remembered
    :param clock: monotonic, in seconds
    :param shuffle: shuffles a list in place
    :param uniform: a random number between two
    :ivar took: seconds until the last answer that was awaited
    """

    def __init__(
        self,
        rest: float,
        clock: Callable[[], float] = time.monotonic,
        shuffle: Callable[[list[str]], None] = random.shuffle,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._rest = rest
        self._clock = clock
        self._shuffle = shuffle
        self._uniform = uniform
        self._known: dict[str, _Knowledge] = {}
        self._claims: dict[str, futures.Future[None]] = {}
        self._trials: dict[str, object] = {}
        self._checks: dict[str, futures.Future[None]] = {}
        self.took = 0.0

    # In which order

    def order(self, urls: Iterable[str]) -> list[str]:
        """``urls`` in the order to ask: random, but the better ones first."""
        order = list(dict.fromkeys(urls))
        self._shuffle(order)
        return self.sort(order)

    def sort(self, urls: Iterable[str]) -> list[str]:
        """The same as of now: of equals, the first stays the first."""
        return sorted(urls, key=lambda url: (self.rank(url), self._rests(url)))

    def latest_first(self, urls: Iterable[str]) -> list[str]:
        """``urls``, the better first; of equals, which answered last."""
        return sorted(
            urls,
            key=lambda url: (self.rank(url), -self._of(url).answered_at),
        )

    def are_well(self) -> dict[str, bool]:
        """Whether each that was asked is well, as far as that is known."""
        return {url: self.rank(url) < Rank.SICK for url in list(self._known)}

    def rank(self, url: str) -> Rank:
        """How good an endpoint is."""
        known = self._of(url)
        if known.failed:
            return Rank.FAILED
        if known.sick:
            return Rank.SICK
        if known.sick is None and known.answered_at == _NEVER:
            return Rank.UNKNOWN
        return Rank.GOOD

    def _rests(self, url: str) -> float:
        return self._of(url).rests_until if self._of(url).failed else 0.0

    # What it did

    def answered(self, url: str) -> None:
        """Note that an endpoint gave a good answer."""
        known = self._of(url)
        known.failed = False
        known.answered_at = self._clock()
        self._end_claim(url)

    def failed(self, url: str) -> None:
        """Note that an endpoint gave no good answer."""
        known = self._of(url)
        known.failed = True
        known.rests_until = self._clock() + self._rest
        self._end_claim(url)

    def owes(self, url: str) -> None:
        """Note that an endpoint's answer is still due.

        Until :meth:`end_trial`, nobody tries it.
        """
        self._trials.setdefault(url, object())

    def hangs(self, url: str) -> bool:
        """Whether it failed or is sick, and owes an answer.

        Or it is being tried, which may find that out any moment.
        """
        return self.rank(url) >= Rank.SICK and url in self._trials

    def answered_within(self, url: str, seconds: float) -> bool:
        """Whether its last answer was good, and not longer ago."""
        known = self._of(url)
        return (
            not known.failed and self._clock() - known.answered_at <= seconds
        )

    # Health

    def note_healthy(self, url: str) -> None:
        """Remember that an endpoint's health check was good."""
        self._note_health(url, sick=False)

    def note_sick(self, url: str) -> None:
        """Remember that it was not."""
        self._note_health(url, sick=True)
        self._of(url).rests_until = self._clock() + self._rest
        self._end_claim(url)

    def _note_health(self, url: str, *, sick: bool) -> None:
        known = self._of(url)
        known.sick = sick
        known.checked_at = self._clock()

    def is_healthy(self, url: str) -> bool:
        """Whether an endpoint's health was good a short while ago."""
        known = self._of(url)
        return (
            known.sick is False
            and self._clock() < known.checked_at + self._rest
        )

    def join_check(
        self, url: str, check: futures.Future[None]
    ) -> futures.Future[None]:
        """What ends when a question for an endpoint's health does.

        That of one that is not answered yet, or else ``check``: then whoever
        gets that asks, and calls :meth:`end_check` in the end.
        """
        return self._checks.setdefault(url, check)

    def end_check(self, url: str) -> None:
        """Let others ask for its health."""
        self._checks.pop(url, None)

    # Who asks

    def take(
        self, urls: Sequence[str], claim: futures.Future[None], since: float
    ) -> str | None:
        """The one of ``urls`` to ask now, None to await others' answers.

        Of an endpoint that has not answered of late, one boot finds out
        whether it still does. The others take one that has, or wait: where
        one of many hangs, only one boot meets it. Whoever takes one has to
        note what it did, or to :meth:`release` it.

        :param urls: in the order to ask
        :param claim: a new one, for others to wait for
        :param since: when whoever asks began: who has answered since then is
            there, however long it took to hear of it
        """
        choice = [url for url in urls if self._is_able(url)] or urls
        for url in choice:
            open_to_all = (
                len(urls) == 1
                or (len(choice) == 1 and url not in self._claims)
                or self.hangs(url)
                or self.answered_within(url, max(self._clock() - since, FRESH))
            )
            if open_to_all and not self.is_limited(url):
                return url
            if self._claims.setdefault(url, claim) is claim:
                return url
        return None

    def _is_able(self, url: str) -> bool:
        return self.rank(url) is not Rank.FAILED and url not in self._trials

    def awaited(self, urls: Iterable[str]) -> list[futures.Future[None]]:
        """What ends when others' questions to ``urls`` do."""
        claims = map(self._claims.get, urls)
        return [claim for claim in claims if claim is not None]

    def release(self, url: str, claim: futures.Future[None]) -> None:
        """Let others ask what :meth:`take` gave, unless they do already."""
        if self._claims.get(url) is claim:
            self._end_claim(url)

    def _end_claim(self, url: str) -> None:
        claim = self._claims.pop(url, None)
        if claim is not None:
            claim.set_result(None)

    # Trials beside the boots

    def begin_trial(self, url: str) -> bool:
        """Whether to try an endpoint now, beside the boots.

        One that failed or is sick, when it has rested; and one of which
        nothing is known. One trial at a time: :meth:`end_trial` ends it.
        None while its health is asked for, which tells.
        """
        known = self._of(url)
        if url in self._checks:
            return False
        if self._clock() < max(known.rests_until, known.not_before):
            return False
        if self.rank(url) is Rank.GOOD:
            return False
        mine = object()
        return self._trials.setdefault(url, mine) is mine

    def end_trial(self, url: str) -> None:
        """Let others try it."""
        self._trials.pop(url, None)

    # What it asks for

    def told_to_wait(self, url: str, seconds: float) -> None:
        """Remember that an endpoint wants no question for some seconds.

        For as long as a failure is remembered, it is then asked one question
        at a time: all that waited would be refused again.
        """
        known = self._of(url)
        # Hosts that were told the same would all come back at once.
        seconds *= self._uniform(1, 1 + SPREAD)
        known.not_before = self._clock() + seconds
        known.limited_until = known.not_before + self._rest
        self._end_claim(url)

    def is_limited(self, url: str) -> bool:
        """Whether an endpoint wants few questions."""
        return self._clock() < self._of(url).limited_until

    def wait(self, url: str) -> float:
        """Seconds for which an endpoint still wants no question, or 0."""
        return max(self._of(url).not_before - self._clock(), 0.0)

    # Stores

    def learn_stores(self, url: str, stores: frozenset[str]) -> None:
        """Remember the names of the stores that an endpoint has."""
        self._of(url).stores = stores

    def stores(self, url: str) -> frozenset[str]:
        """The names of the stores that an endpoint is known to have.

        A store that was there stays until glance-api restarts. One that was
        not may be there now: nobody is refused by what is remembered.
        """
        return self._of(url).stores

    def _of(self, url: str) -> _Knowledge:
        return self._known.setdefault(url, _Knowledge())
