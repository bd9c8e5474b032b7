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

"""One question to Glance, put to its endpoints in turn until one answers.

The only module that imports glanceclient. Its errors, and those of what lies
below it, end here, and become one of two kinds. What is no answer of Glance's
(no connection, a time-out, 5xx, not the promised JSON) is that endpoint's
failure: the next one is asked. A refusal (404, say) is Glance's word, and
final. Only where much depends on it, one more endpoint has to confirm it.

Boots ask good endpoints. What has become of the others is found out beside
the boots.
"""

from collections.abc import Callable, Iterator, Sequence, Set
from concurrent import futures
import contextlib
import dataclasses
import functools
from typing import Any, Generic, TypeVar

import glanceclient
from glanceclient import exc as glance_exc
from keystoneauth1 import adapter as ksa_adapter
from keystoneauth1 import exceptions as ksa_exc
from keystoneauth1 import plugin as ksa_plugin
from keystoneauth1 import session as ksa_session
from oslo_log import log as logging
import requests
import tenacity

from nova_rbd_multistore import answers
from nova_rbd_multistore import endpoints
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import image as image_values
from nova_rbd_multistore import logins
from nova_rbd_multistore import needs as need_values
from nova_rbd_multistore import rounds
from nova_rbd_multistore import task as task_values
from nova_rbd_multistore import text

LOG = logging.getLogger(__name__)

Raw = TypeVar('Raw')
Result = TypeVar('Result')
Answer = TypeVar('Answer')

#: Seconds between two rounds over all endpoints, when none has answered.
PAUSE = 1.0

#: Seconds for which a refusal is believed while others are asked in vain.
FRESH = 5.0

#: Seconds for an answer of /healthcheck, which nobody waits for so long. One
#: that hangs has taken a thread of its glance-api, and so would a second one.
#: It may also be lost on its way, and then another has to find that out.
HEALTH_TIMEOUT = 900.0

#: Whose options say in whose name Glance is asked, beside the user's.
SERVICE_USER = '[service_user]'
DEPUTY = '[rbd_multistore] auth_type'

#: Keystone's client has had no answer, or none that Keystone means.
_KEYSTONE_AWAY = (
    ksa_exc.ConnectionError,
    ksa_exc.DiscoveryFailure,
    ksa_exc.HttpServerError,
)


class Refused(Exception):
    """Glance said no, and another endpoint would say the same."""


class BadRequest(Refused):
    """400."""


class Unauthorized(Refused):
    """401."""


class Forbidden(Refused):
    """403."""


class NotFound(Refused):
    """404."""


class Conflict(Refused):
    """409."""


class OverLimit(Refused):
    """413."""


_REFUSALS: dict[type[Exception], type[Refused]] = {
    glance_exc.HTTPBadRequest: BadRequest,
    glance_exc.HTTPUnauthorized: Unauthorized,
    glance_exc.HTTPForbidden: Forbidden,
    glance_exc.HTTPNotFound: NotFound,
    glance_exc.HTTPConflict: Conflict,
    glance_exc.HTTPOverLimit: OverLimit,
}

#: There is no other endpoint to ask, or none that could make the copy.
_UNFIT = (
    exceptions.StoreUnknown,
    rounds.SourcesMissing,
    task_values.NoneLeft,
)

#: Or none that could tell.
_NOBODY_ELSE = (exceptions.GlanceUnavailable, *_UNFIT)

#: What Glance may refuse to any question about an image.
COMMON = (Unauthorized, Forbidden, NotFound)

#: All that glanceclient and what lies below it raise on no answer, or on one
#: that they cannot read (glanceclient looks into error bodies unasked).
_NO_ANSWER = (
    glance_exc.BaseException,
    glance_exc.HTTPException,
    ksa_exc.ClientException,
    requests.RequestException,
    AttributeError,
    KeyError,
    RecursionError,
    TypeError,
    ValueError,
)


@contextlib.contextmanager
def only_answers(
    refusals: tuple[type[Refused], ...] = COMMON,
) -> Iterator[None]:
    """The net around calls of glanceclient and keystoneauth, and nothing else.

    :param refusals: that are an answer here
    :raises Refused: one of ``refusals``
    :raises NoAnswer: for whatever else goes wrong
    """
    try:
        yield
    except _NO_ANSWER as exc:
        # In this order: a cut could hide where the credentials end.
        said = text.printable(text.without_credentials(str(exc)))
        kind = _REFUSALS.get(type(exc))
        if kind is not None and issubclass(kind, refusals):
            raise kind(said) from exc
        status = getattr(exc, 'code', None)
        if isinstance(status, int) and status >= 500:
            words = said.removeprefix('HTTP ').removeprefix(str(status))
            raise rounds.Fault(f'HTTP {status} {words.lstrip()}') from exc
        raise rounds.NoAnswer(said) from exc


def _is_away(exc: BaseException | None) -> bool:
    """Whether Keystone is, by what its client raised."""
    # keystoneauth1 5.12 has no exception of its own for 429.
    too_many = getattr(exc, 'http_status', None) == 429
    return too_many or isinstance(exc, _KEYSTONE_AWAY)


def get_tokens(
    who: ksa_plugin.BaseAuthPlugin,
    session: ksa_session.Session,
    under_way: logins.Logins,
) -> None:
    """Have Keystone give somebody their tokens, unless they have some.

    :param under_way: the log-ins of this process that are
    :raises NoAnswer: if it does not
    """

    def get() -> None:
        with only_answers(refusals=()):
            who.get_headers(session)

    # The token of a user is there; their service user, all users have.
    under_way.join(getattr(who, 'service_auth', who), get)


def log_in(
    who: ksa_plugin.BaseAuthPlugin,
    session: ksa_session.Session,
    options: str,
    under_way: logins.Logins,
) -> None:
    """Have Keystone give somebody their tokens, unless they have some.

    :param under_way: the log-ins of this process that are
    :param options: that say who it is, of those who need Keystone
    :raises IdentityUnusable: if it refuses
    :raises KeystoneUnavailable: if it does not answer
    """
    try:
        get_tokens(who, session, under_way)
    except rounds.NoAnswer as exc:
        reason = str(exc)
        away = _is_away(exc.__cause__)
    else:
        return
    # Not in the handler: what keystoneauth raised may show the credentials of
    # a URL in a traceback, and tenants read what Nova keeps of one.
    LOG.error('Cannot log in with the identity of %s: %s', options, reason)
    if away:
        raise exceptions.KeystoneUnavailable(options)
    raise exceptions.IdentityUnusable(options, 'Keystone gives it no token')


def _warn_of(refused: dict[str, Refused]) -> None:
    """Say which endpoints refuse a question, and forget that."""
    while refused:
        endpoint, refusal = refused.popitem()
        # The other ones are how Glance says what is the case.
        if isinstance(refusal, COMMON):
            LOG.warning(
                'glance-api %s refuses: %s',
                endpoint,
                text.without_credentials(str(refusal)),
            )


class _Enough(tenacity.stop.stop_base):
    """Ends the rounds of a question.

    :param retries: further rounds when no endpoint answers; one in which they
        want a pause is none
    :param longest: seconds of all pauses
    """

    def __init__(self, retries: int, longest: float) -> None:
        self._retries = retries
        self._longest = longest
        self._paused = 0.0

    def __call__(self, state: tenacity.RetryCallState) -> bool:
        pause = _wanted_pause(state)
        self._paused += pause
        if not self._retries or self._paused > self._longest:
            return True
        if not pause:
            self._retries -= 1
        return False


def _wanted_pause(state: tenacity.RetryCallState) -> float:
    """Seconds for which all endpoints want no question, 0 if they do."""
    failed = state.outcome.exception() if state.outcome else None
    return getattr(failed, 'wait', 0.0)


class Asker:
    """Puts questions to Glance's endpoints.

    :param session: carries the requests, with the time-out of ``[glance]``
    :param auth: the user's identity, with Nova's service token beside it
    :param urls: Glance's endpoints, without a version
    :param means: with what questions go round
    :param sleep: waits between two rounds
    :param request_id: global request id, sent along for Glance's log
    :param retries: further rounds over all endpoints when all have failed
    """

    def __init__(
        self,
        session: ksa_session.Session,
        auth: ksa_plugin.BaseAuthPlugin,
        urls: Sequence[str],
        means: rounds.Means,
        *,
        sleep: Callable[[float], None],
        request_id: str | None = None,
        retries: int = 0,
    ) -> None:
        self._session = session
        self._auth = auth
        self._urls = tuple(dict.fromkeys(urls))
        self._means = means
        self._known = means.known
        self._sleep = sleep
        self._request_id = request_id
        self._retries = retries
        self._clients: dict[tuple[str, ksa_plugin.BaseAuthPlugin], Any] = {}

    def without_retries(self) -> 'Asker':
        """The same for a caller that asks again by itself."""
        return Asker(
            self._session,
            self._auth,
            self._urls,
            self._means,
            sleep=self._sleep,
            request_id=self._request_id,
        )

    def begin(self, work: Callable[[], Result]) -> Callable[[], Result]:
        """Begin ``work`` beside this thread; what waits for its outcome."""
        outcome = self._means.workers.start(work)

        def result() -> Result:
            while not outcome.done():
                self._means.workers.wait([outcome], self._means.timeout)
            return outcome.result()

        return result

    def forget_stores(self) -> None:
        """Have the next question about a store look at the stores again."""
        for url in self._urls:
            self._known.learn_stores(url, frozenset())

    def ask(
        self,
        fetch: Callable[[Any], Raw],
        read: Callable[[Raw], Answer],
        *,
        auth: ksa_plugin.BaseAuthPlugin | None = None,
        needs: need_values.Needs = need_values.NOTHING,
        refusals: tuple[type[Refused], ...] = COMMON,
        doubted: tuple[type[Refused], ...] = (),
    ) -> Answer:
        """Ask until one endpoint answers.

        :param fetch: gets the answer, given a glanceclient
        :param read: makes a value of it
        :param auth: the identity that asks, if it is the deputy
        :param needs: what the endpoint must have, or not be
        :param refusals: that are an answer to this question
        :param doubted: those that a second endpoint has to confirm, if there
            is one: it checks the right of whoever asks as well
        :raises Refused: one of ``refusals``
        :raises NoneLeft: if no endpoint is left but those to avoid
        :raises StoreUnknown: if no endpoint has the store
        :raises SourcesMissing: if none of those has one of the sources
        :raises IdentityUnusable: if Keystone refuses a token to ask with
        :raises GlanceUnavailable: if none answers, or Keystone does not
        """
        refused: dict[str, Refused] = {}

        def put(url: str) -> Answer:
            with only_answers(refusals):
                raw = fetch(self._client(url, auth or self._auth))
            return read(raw)

        def put_in_turn() -> Answer:
            # First, or a Keystone that is slow or away, or refuses, would make
            # glance-apis look so.
            who, options = (
                (self._auth, SERVICE_USER) if auth is None else (auth, DEPUTY)
            )
            log_in(who, self._session, options, self._means.logins)
            return rounds.Round(self._means, self._urls, question).run()

        question = _Question(self, self._means, put, needs, refused)
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(
                exceptions.GlanceUnavailable
            ),
            stop=_Enough(self._retries, self._means.timeout),
            wait=lambda state: _wanted_pause(state) or PAUSE,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            answer: Answer = attempts(put_in_turn)
        except Refused as exc:
            refusal = exc
        else:
            if needs.store is None:
                self._try_others(question)
            return answer
        first = frozenset(refused)
        _warn_of(refused)
        if not isinstance(refusal, doubted):
            raise refusal

        def ask_again(avoid: Set[str]) -> Answer:
            own = dataclasses.replace(needs, avoid=needs.avoid | avoid)
            question = _Question(self, self._means, put, own, refused)
            try:
                return rounds.Round(self._means, self._urls, question).run()
            finally:
                _warn_of(refused)

        began = self._means.clock()
        try:
            # Who finds the image busy, say, does not refuse it.
            return ask_again(first)
        except (*COMMON, *_NOBODY_ELSE) as exc:
            hung = isinstance(exc, exceptions.GlanceUnavailable)
        if hung and self._means.clock() - began > FRESH:
            # What was refused before that may be granted by now.
            with contextlib.suppress(*_UNFIT):
                return ask_again(
                    {rounds.shown(url) for url in self._urls} - first
                )
        raise refusal

    def _try_others(self, question: '_Question[Any]') -> None:
        """See what has become of the endpoints that boots do not ask."""
        if len(self._urls) == 1:
            return
        for url in self._urls:
            if not self._known.begin_trial(url):
                continue
            try:
                # Nobody waits for the outcome, which is noted.
                self._means.workers.start(
                    functools.partial(self._try, url, question)
                )
            except RuntimeError:
                # No more threads: another boot will.
                self._known.end_trial(url)

    def _try(self, url: str, question: '_Question[Any]') -> None:
        """Try one endpoint.

        By a question of a boot: one whose health check is good may still hang
        when it is asked for an image.
        """
        rank = self._known.rank(url)
        reason = None
        try:
            check: futures.Future[None] = futures.Future()
            if self._known.join_check(url, check) is check:
                rounds.ask_for_health(self._known, question, url, check)
                with contextlib.suppress(rounds.Sick):
                    check.result()
            if rank is endpoints.Rank.FAILED:
                # A refusal is an answer, too.
                with contextlib.suppress(Refused):
                    question.answer(url)
                LOG.info('glance-api %s answers again', rounds.shown(url))
        except (rounds.NoAnswer, answers.MalformedAnswer) as exc:
            reason = str(exc)
        finally:
            self._known.end_trial(url)
        # Not in the handler: oslo.log would say it twice.
        if reason is not None and rank is not self._known.rank(url):
            LOG.warning('glance-api %s failed: %s', rounds.shown(url), reason)

    def ask_one(
        self,
        url: str,
        fetch: Callable[[Any], Raw],
        refusals: tuple[type[Refused], ...] = COMMON,
    ) -> Raw:
        """Ask one endpoint, once, and learn nothing of it for others.

        :param fetch: gets the answer, given a glanceclient
        :param refusals: that are an answer to this question
        :raises Refused: one of ``refusals``
        :raises NoAnswer: if it does not answer
        """
        with only_answers(refusals):
            return fetch(self._client(url, self._auth))

    def stores(self, url: str) -> frozenset[str]:
        """The stores that one endpoint has.

        :raises NoAnswer: if it does not say
        """
        stores = _stores(self._client(url, self._auth), url)
        self._known.learn_stores(url, stores)
        return stores

    def health(
        self, url: str, timeout: float | None = None
    ) -> requests.Response:
        """What one endpoint's health check says.

        :param timeout: seconds, if not those of any other question
        :raises NoAnswer: if it says nothing
        """
        api = ksa_adapter.Adapter(
            _Session(self._session, self._means.timeout),
            auth=self._auth,
            endpoint_override=url,
            global_request_id=self._request_id,
        )
        with only_answers(refusals=()):
            return api.get(
                '/healthcheck',
                raise_exc=False,
                timeout=timeout or self._means.timeout,
            )

    def _client(self, url: str, auth: ksa_plugin.BaseAuthPlugin) -> Any:
        client = self._clients.get((url, auth))
        if client is None:
            client = self._clients[url, auth] = glanceclient.Client(
                '2',
                session=_Session(self._session, self._means.timeout),
                auth=auth,
                endpoint_override=url,
                global_request_id=self._request_id,
            )
        return client


class _Question(Generic[Answer]):
    """A question as it goes round; what endpoints do is noted.

    :param put: puts it to one endpoint
    :param refused: gets what endpoints refuse
    """

    def __init__(
        self,
        asker: Asker,
        means: rounds.Means,
        put: Callable[[str], Answer],
        needs: need_values.Needs,
        refused: dict[str, Refused],
    ) -> None:
        self._asker = asker
        self._known = means.known
        self._meter = means.meter
        self._put = put
        self._refused = refused
        self.needs = needs

    def answer(self, url: str) -> Answer:
        with self._noting(url):
            answer = self._put(url)
        self._known.answered(url)
        return answer

    def stores(self, url: str) -> frozenset[str]:
        with self._noting(url):
            stores = self._asker.stores(url)
        self._known.answered(url)
        return stores

    def check_health(self, url: str) -> None:
        """Only 5xx means sick (oslo.middleware).

        A glance-api without that application takes the path for a version of
        its API, and answers 300 with those that it has.
        """
        with self._noting(url):
            said = self._asker.health(url, HEALTH_TIMEOUT)
        if said.status_code < 500:
            self._known.note_healthy(url)
            return
        self._known.note_sick(url)
        raise rounds.Sick(
            f'its health check says {said.status_code}: '
            + text.printable(text.without_credentials(said.text))
        )

    @contextlib.contextmanager
    def _noting(self, url: str) -> Iterator[None]:
        """Note what is no good answer."""
        try:
            yield
        except Refused as exc:
            self._refused[rounds.shown(url)] = exc.with_traceback(None)
            self._meter.answer(url, type(exc).__name__)
            self._known.answered(url)
            raise
        except rounds.WantsPause as exc:
            self._meter.answer(url, 'WantsPause')
            self._known.told_to_wait(url, exc.seconds)
            raise
        except rounds.Fault:
            self._meter.answer(url, 'Fault')
            # It may be well but for copies, as with quotas that are half
            # configured. The next poll tells.
            if not self.needs.store:
                self._known.failed(url)
            raise
        except (rounds.NoAnswer, answers.MalformedAnswer) as exc:
            self._meter.answer(url, type(exc).__name__)
            self._known.failed(url)
            raise
        self._meter.answer(url, 'Good')


class _Session(ksa_session.Session):
    """Another session, which hears it when an endpoint wants a pause.

    glanceclient keeps no header of an error.

    :param longest: seconds of a pause, whatever the endpoint says
    """

    def __init__(self, session: ksa_session.Session, longest: float) -> None:
        super().__init__(session=session.session)
        self._inner = session
        self._longest = longest

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        response = self._inner.request(*args, **kwargs)
        if response.status_code in (429, 503):
            seconds = answers.retry_after(
                response.headers.get('Retry-After'), self._longest
            )
            if seconds:
                said = text.without_credentials(response.text)
                raise rounds.WantsPause(
                    seconds,
                    f'HTTP {response.status_code} {text.printable(said, 80)}',
                )
        return response


def _stores(client: Any, url: str) -> frozenset[str]:
    """The stores of one glance-api; none if it has not several (404).

    Without those that are Glance's own, if it should show them.
    """
    try:
        with only_answers():
            _, body = client.http_client.get('/v2/info/stores')
    except NotFound:
        return frozenset()
    stores = image_values.store_ids(body)
    reserved = frozenset(filter(image_values.is_reserved, stores))
    if reserved:
        LOG.warning(
            'glance-api %s is misconfigured: it offers %s, names that Glance '
            'keeps for stores of its own. Nothing is copied there',
            rounds.shown(url),
            text.printable(', '.join(sorted(reserved))),
        )
    return stores - reserved


def endpoint_of(client: Any) -> str:
    """The name of the endpoint that a glanceclient asks."""
    return rounds.shown(client.http_client.endpoint_override)
