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

"""A question goes round: to one endpoint of Glance after another.

An endpoint may hang. While there is another, a small question waits for it for
a moment only; then the other is asked as well, and the first to answer is
heard.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent import futures
import dataclasses
import functools
from typing import Any, Generic, Protocol, TypeVar

from oslo_log import log as logging

from nova_rbd_multistore import answers
from nova_rbd_multistore import beside
from nova_rbd_multistore import endpoints
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import logins as login_values
from nova_rbd_multistore import meter as meters
from nova_rbd_multistore import needs as need_values
from nova_rbd_multistore import task as task_values
from nova_rbd_multistore import text

LOG = logging.getLogger(__name__)

Result = TypeVar('Result')
Answer = TypeVar('Answer')
Given = TypeVar('Given', covariant=True)

#: An answer may take this many times as long as the one before, until another
#: endpoint is asked as well.
SLACK = 2.0


class NoAnswer(Exception):
    """A server gave no answer; the message says what it gave."""


class Fault(NoAnswer):
    """A server is there, and failed at this (5xx); says with what status."""


class WantsPause(NoAnswer):
    """An endpoint wants no question for some seconds.

    :param said: what it said
    """

    def __init__(self, seconds: float, said: str) -> None:
        super().__init__(f'it wants no question for {seconds:.1f} s: {said}')
        self.seconds = seconds


class Sick(Exception):
    """An endpoint's health check says so; the message has the reason."""


class SourcesMissing(Exception):
    """No endpoint that has the store has one of the sources, too.

    :ivar stores: names of the stores of each endpoint
    """

    def __init__(self, stores: Sequence[frozenset[str]]) -> None:
        super().__init__()
        self.stores = stores


class Workers(Protocol):
    """Does work beside the thread that asks; see :mod:`beside`."""

    def start(self, work: Callable[[], Result]) -> futures.Future[Result]: ...

    def wait(
        self, awaited: Iterable[futures.Future[Any]], seconds: float
    ) -> None: ...


@dataclasses.dataclass(frozen=True)
class Means:
    """With what the questions of a process go round; times in seconds.

    :ivar known: what has been learned of endpoints
    :ivar workers: in which questions run
    :ivar clock: monotonic
    :ivar patience: until another endpoint is asked as well
    :ivar timeout: for an answer, and for pauses that endpoints want
    :ivar meter: hears of each answer
    :ivar logins: that are under way
    """

    known: endpoints.Endpoints
    workers: Workers
    clock: Callable[[], float]
    patience: float
    timeout: float
    meter: meters.Meter = meters.DEAF
    logins: login_values.Logins = dataclasses.field(
        default_factory=login_values.Logins
    )


class Question(Protocol[Given]):
    """What goes round; each method asks one endpoint, and notes the outcome.

    Each may raise :class:`NoAnswer` or MalformedAnswer.

    :ivar needs: what the endpoint must have, or not be
    """

    @property
    def needs(self) -> need_values.Needs: ...

    def answer(self, url: str) -> Given:
        """The answer itself, or a refusal, which is one too."""

    def stores(self, url: str) -> frozenset[str]:
        """The stores that the endpoint has."""

    def check_health(self, url: str) -> None:
        """Raises :class:`Sick` if it is."""


def ask_for_health(
    known: endpoints.Endpoints,
    question: Question[Any],
    url: str,
    check: futures.Future[None],
) -> None:
    """Ask for an endpoint's health, with what others have joined."""
    beside.settle(check, functools.partial(question.check_health, url))
    known.end_check(url)


def shown(url: str) -> str:
    """An endpoint for the log: no user information, no query."""
    # Not urlsplit(): it raises for some of what is none.
    address, _, _ = url.partition('?')
    return text.printable(text.without_credentials(address))


class Round(Generic[Answer]):
    """One question, put to each endpoint once, until one answers.

    :param urls: of the endpoints
    """

    def __init__(
        self, means: Means, urls: Sequence[str], question: Question[Answer]
    ) -> None:
        self._means = means
        self._known = means.known
        self._urls = urls
        self._question = question
        # A request for a copy is work, and takes a glance-api that was just
        # started some seconds.
        self._is_small = question.needs.store is None
        self._left = [
            url
            for url in self._known.order(urls)
            if shown(url) not in question.needs.avoid
        ]
        self._claims: dict[str, futures.Future[None]] = {}
        self._asked_later: set[str] = set()
        self._hung: set[str] = set()
        self._open: dict[futures.Future[Answer], tuple[str, float]] = {}
        self._failed: dict[str, str] = {}
        self._fault: str | None = None
        self._lacking: dict[str, str] = {}

    def run(self) -> Answer:
        """The answer.

        :raises Refused: one of those of the question
        :raises NoneLeft: if no endpoint is left but those to avoid
        :raises StoreUnknown: if no endpoint has the store
        :raises SourcesMissing: if none of those has one of the sources
        :raises StoreUnavailable: if none answers of those that have them
        :raises GlanceUnavailable: if none answers
        """
        try:
            while self._left:
                url = self._next()
                if url is None:
                    break
                if not self._is_usable(url):
                    continue
                patience = self._patience(url)
                asked = self._start(url)
                # None for one that seems to hang: the next is asked at once.
                heard = self._hear(asked, patience) if patience else None
                if heard is not None:
                    return heard.result()
            for outcome in list(self._open):
                heard = self._hear(outcome, self._means.timeout)
                if heard is not None:
                    return heard.result()
        finally:
            for url, claim in self._claims.items():
                self._known.release(url, claim)
        raise self._failure()

    # Which endpoint

    def _next(self) -> str | None:
        """Which to ask now, None if all that are left want a pause."""
        began = self._means.clock()
        while True:
            ready = [url for url in self._left if not self._known.wait(url)]
            if not ready:
                return None
            if self._is_small:
                ready = self._known.sort(ready)
            else:
                ready = self._known.latest_first(ready)[:1]
            claim: futures.Future[None] = futures.Future()
            url = self._known.take(ready, claim, began)
            if url is None:
                left = began + self._longest(ready) - self._means.clock()
                if left > 0:
                    self._means.workers.wait(self._known.awaited(ready), left)
                    continue
                url = self._known.latest_first(ready)[0]
            self._left.remove(url)
            self._claims[url] = claim
            return url

    def _longest(self, urls: Sequence[str]) -> float:
        """Seconds to await the answers that others wait for.

        Longer than those wait themselves: then it is known who hangs.
        """
        if all(map(self._known.is_limited, urls)):
            return self._means.timeout
        if self._open:
            # An answer of its own may come before those.
            return 0.0
        return 2 * self._shortest

    def _is_usable(self, url: str) -> bool:
        """Whether to put the question to an endpoint now."""
        try:
            if self._wants_health(url):
                self._check_health(url)
            if not self._is_small:
                return self._has_stores(url)
        except (Sick, NoAnswer, answers.MalformedAnswer) as exc:
            reason = exc.with_traceback(None)
        else:
            return True
        # Not in the handler: oslo.log would say it twice.
        if isinstance(reason, Sick):
            LOG.warning('glance-api %s failed: %s', shown(url), reason)
            self._ask_later(url)
        else:
            self._fail(url, reason)
        return False

    def _wants_health(self, url: str) -> bool:
        # Where there is no other to turn to, the answer itself tells.
        # Nor is there time for it once one hangs.
        if not self._left or self._hung:
            return False
        rank = self._known.rank(url)
        if self._is_small:
            return rank is endpoints.Rank.UNKNOWN
        return rank <= endpoints.Rank.UNKNOWN and not self._known.is_healthy(
            url
        )

    def _check_health(self, url: str) -> None:
        # Each question takes a thread of a glance-api whose check hangs.
        mine: futures.Future[None] = futures.Future()
        check = self._known.join_check(url, mine)
        if check is mine:
            ask = functools.partial(
                ask_for_health, self._known, self._question, url, mine
            )
            try:
                self._means.workers.start(ask)
            except RuntimeError:
                # No more threads.
                self._known.end_check(url)
                raise
        seconds = self._patience_with(url)
        if not self._is_done_within(seconds, check, url):
            # As good as the answer that it is; perhaps a good one comes late.
            self._known.note_sick(url)
            raise Sick(f'/healthcheck: no answer within {seconds:.1f} s')

    def _has_stores(self, url: str) -> bool:
        # A request for a copy is waited for long: first see that whoever gets
        # it is alive.
        alive = len(self._urls) == 1 or self._known.answered_within(
            url, self._shortest
        )
        if alive and not self._lacks(url):
            return True
        look = functools.partial(self._question.stores, url)
        seconds = self._patience_with(url)
        if not self._ends_within(seconds, look, url):
            self._known.failed(url)
            self._ask_later(url)
            raise NoAnswer(f'its stores: no answer within {seconds:.1f} s')
        lacking = self._lacks(url)
        if lacking:
            self._lacking[url] = lacking
            # It was slow at first, no more.
            self._failed.pop(url, None)
        return not lacking

    def _lacks(self, url: str) -> str:
        return self._question.needs.lacking(self._known.stores(url))

    def _ends_within(
        self, seconds: float, work: Callable[[], object], url: str
    ) -> bool:
        """Do work that an endpoint has to answer; whether it has."""
        return self._is_done_within(
            seconds, self._means.workers.start(work), url
        )

    def _is_done_within(
        self, seconds: float, outcome: futures.Future[Any], url: str
    ) -> bool:
        self._means.workers.wait([outcome], seconds)
        if not outcome.done():
            self._hangs(url, outcome)
            return False
        outcome.result()
        return True

    def _ask_later(self, url: str) -> None:
        """Ask it once more when the others have failed."""
        if url not in self._asked_later:
            self._asked_later.add(url)
            self._left.append(url)

    # The question

    def _start(self, url: str) -> futures.Future[Answer]:
        began = self._means.clock()
        ask = functools.partial(self._question.answer, url)
        if len(self._urls) > 1:
            outcome = self._means.workers.start(ask)
        else:
            # Nobody else could be asked meanwhile: no need of a thread.
            outcome = futures.Future()
            beside.settle(outcome, ask)
        self._open[outcome] = url, began
        return outcome

    def _hear(
        self, asked: futures.Future[Answer], seconds: float
    ) -> futures.Future[Answer] | None:
        """Wait for one answer, or another that comes before; None if none has.

        :param seconds: to wait, counted from the question
        :raises Refused: if that is the answer
        """
        while asked in self._open:
            url, began = self._open[asked]
            left = began + seconds - self._means.clock()
            if left <= 0 and not asked.done():
                if self._known.answered_within(url, seconds / 2):
                    # Others have just had theirs: it is slow, no more.
                    self._hung.add(url)
                else:
                    self._hangs(url, asked)
                    self._known.failed(url)
                self._fail(url, NoAnswer(f'no answer within {seconds:.1f} s'))
                if seconds >= self._means.timeout:
                    del self._open[asked]
                break
            self._means.workers.wait(self._open, max(left, 0.0))
            for outcome in [one for one in self._open if one.done()]:
                url, began = self._open.pop(outcome)
                try:
                    outcome.result()
                except (NoAnswer, answers.MalformedAnswer) as exc:
                    reason = exc.with_traceback(None)
                except BaseException:
                    # The error has this frame: they would be a circle.
                    del outcome, asked
                    raise
                else:
                    if self._is_small:
                        self._known.took = self._means.clock() - began
                    return outcome
                # Not in the handler: oslo.log would say it twice.
                self._fail(url, reason)
        return None

    @property
    def _shortest(self) -> float:
        """Seconds to wait for one where there are others.

        Where all take long, nothing is won by asking more of them.
        """
        return min(
            max(self._means.patience, SLACK * self._known.took),
            self._means.timeout,
        )

    def _patience(self, url: str) -> float:
        """Seconds to wait for an answer before another endpoint is asked."""
        if not (self._is_small and self._left):
            return self._means.timeout
        return 0.0 if self._known.hangs(url) else self._shortest

    def _patience_with(self, url: str) -> float:
        """The same for what is asked before a question."""
        # One that owes an answer is asked again when the others have failed.
        others = set(self._left) - self._hung
        if others and url not in self._hung:
            return self._shortest
        return self._means.timeout

    def _hangs(self, url: str, outcome: futures.Future[Any]) -> None:
        self._hung.add(url)
        self._known.owes(url)
        outcome.add_done_callback(lambda _: self._known.end_trial(url))

    def _fail(self, url: str, reason: Exception) -> None:
        if url not in self._failed:
            LOG.warning('glance-api %s failed: %s', shown(url), reason)
        self._failed[url] = str(reason)
        if isinstance(reason, Fault):
            self._fault = str(reason)

    def _failure(self) -> Exception:
        """Log what each has said; the error that this is."""
        wanted = {
            url: wait for url in self._urls if (wait := self._known.wait(url))
        }
        if not self._failed and not wanted:
            unfit = self._unfit()
            if unfit is not None:
                return unfit
        said = _list(
            {
                **self._lacking,
                **{
                    url: f'it wants no question for {wait:.1f} s'
                    for url, wait in wanted.items()
                },
                **self._failed,
            }
        )
        if wanted:
            # No error yet: whoever asks will wait, and ask again.
            LOG.info('No glance-api wants to answer now: %s', said)
        else:
            LOG.error(
                'No glance-api answered: %s',
                said or 'there is no endpoint for the service type "image"',
            )
        wait = min(wanted.values(), default=0.0)
        if self._lacking:
            return exceptions.StoreUnavailable(
                self._question.needs.store or '',
                len(self._urls),
                len(self._lacking),
                self._fault,
                wait,
            )
        return exceptions.GlanceUnavailable(len(self._urls), self._fault, wait)

    def _unfit(self) -> Exception | None:
        """What is wrong where endpoints were left out, and none failed."""
        needs = self._question.needs
        if self._lacking:
            LOG.warning(
                'Passed over for want of a store: %s', _list(self._lacking)
            )
        if any(shown(url) in needs.avoid for url in self._urls):
            return task_values.NoneLeft()
        stores = [self._known.stores(url) for url in self._lacking]
        if any(needs.store in found for found in stores):
            return SourcesMissing(stores)
        if self._lacking:
            return exceptions.StoreUnknown(needs.store or '')
        return None


def _list(said: Mapping[str, str]) -> str:
    return '; '.join(f'{shown(url)}: {words}' for url, words in said.items())
