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
failure: the next one is asked. A refusal (403, say) is Glance's word, and
final.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
from typing import Any, TypeVar

import glanceclient
from glanceclient import exc as glance_exc
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
from nova_rbd_multistore import task as task_values
from nova_rbd_multistore import text

LOG = logging.getLogger(__name__)

Raw = TypeVar('Raw')
Answer = TypeVar('Answer')


class NoAnswer(Exception):
    """A server gave no answer; the message says what it gave."""


class Fault(NoAnswer):
    """A server is there, and failed at this (5xx); says with what status."""


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


class SourcesMissing(Exception):
    """No endpoint that has the store has one of the sources, too.

    :ivar stores: names of the stores of each endpoint
    """

    def __init__(self, stores: Sequence[frozenset[str]]) -> None:
        super().__init__()
        self.stores = stores


class _StoresMissing(Exception):
    """One endpoint does not have the stores that a question needs.

    :ivar stores: names of those that it has
    """

    def __init__(self, stores: frozenset[str]) -> None:
        super().__init__()
        self.stores = stores


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
        kind = _REFUSALS.get(type(exc))
        if kind is not None and issubclass(kind, refusals):
            raise kind(text.printable(exc)) from exc
        # In this order: a cut could hide where the credentials end.
        said = text.printable(text.without_credentials(str(exc)))
        status = getattr(exc, 'code', None)
        if isinstance(status, int) and status >= 500:
            words = said.removeprefix('HTTP ').removeprefix(str(status))
            raise Fault(f'HTTP {status} {words.lstrip()}') from exc
        raise NoAnswer(said) from exc


class Asker:
    """Puts questions to Glance's endpoints.

    :param session: carries the requests, with the time-out of ``[glance]``
    :param auth: the user's identity, with Nova's service token beside it
    :param urls: Glance's endpoints, without a version
    :param known: what this process has learned of endpoints
    :param request_id: global request id, sent along for Glance's log
    :param retries: further rounds over all endpoints when all have failed
    :param sleep: waits one second between two rounds
    """

    def __init__(
        self,
        session: ksa_session.Session,
        auth: ksa_plugin.BaseAuthPlugin,
        urls: Sequence[str],
        known: endpoints.Endpoints,
        *,
        sleep: Callable[[float], None],
        request_id: str | None = None,
        retries: int = 0,
    ) -> None:
        self.session = session
        self._auth = auth
        self._urls = tuple(urls)
        self._known = known
        self._sleep = sleep
        self._request_id = request_id
        self._retries = retries
        self._clients: dict[tuple[str, ksa_plugin.BaseAuthPlugin], Any] = {}

    def without_retries(self) -> 'Asker':
        """The same for a caller that asks again by itself."""
        return Asker(
            self.session,
            self._auth,
            self._urls,
            self._known,
            sleep=self._sleep,
            request_id=self._request_id,
        )

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
        needs: endpoints.Needs = endpoints.NOTHING,
        refusals: tuple[type[Refused], ...] = COMMON,
    ) -> Answer:
        """Ask until one endpoint answers.

        :param fetch: gets the answer, given a glanceclient
        :param read: makes a value of it
        :param auth: the identity that asks, if it is not the user
        :param needs: what the endpoint must have, or not be
        :param refusals: that are an answer to this question
        :raises Refused: one of ``refusals``
        :raises NoneLeft: if no endpoint is left but those to avoid
        :raises StoreUnknown: if no endpoint has the store
        :raises SourcesMissing: if none of those has one of the sources
        :raises GlanceUnavailable: if none answers
        """
        rounds = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(
                exceptions.GlanceUnavailable
            ),
            stop=tenacity.stop_after_attempt(1 + self._retries),
            wait=tenacity.wait_fixed(1),
            sleep=self._sleep,
            reraise=True,
        )

        def ask_one(url: str) -> Answer:
            self._require_usable(url, needs)
            with only_answers(refusals):
                raw = fetch(self._client(url, auth or self._auth))
            return read(raw)

        found: Answer = rounds(self._ask_in_turn, ask_one, needs)
        return found

    def _ask_in_turn(
        self, ask_one: Callable[[str], Answer], needs: endpoints.Needs
    ) -> Answer:
        failed: dict[str, str] = {}
        lacking: dict[str, frozenset[str]] = {}
        fault = None
        for url in self._known.order(self._urls):
            if _shown(url) in needs.avoid:
                continue
            try:
                return ask_one(url)
            except _StoresMissing as exc:
                lacking[url] = exc.stores
            except (NoAnswer, answers.MalformedAnswer) as exc:
                failed[url] = str(exc)
                LOG.warning('glance-api %s failed: %s', _shown(url), exc)
                if isinstance(exc, Fault):
                    fault = str(exc)
                    if needs.store:
                        # It may be well but for copies, as with quotas that
                        # are half configured. The next poll tells.
                        continue
                self._known.failed(url)
        if not failed:
            self._say_why_none_fits(needs, lacking)
        failed |= {url: needs.lacking(has) for url, has in lacking.items()}
        LOG.error(
            'No glance-api answered: %s',
            _list(failed)
            or 'there is no endpoint for the service type "image"',
        )
        raise exceptions.GlanceUnavailable(len(self._urls), fault)

    def _say_why_none_fits(
        self, needs: endpoints.Needs, lacking: Mapping[str, frozenset[str]]
    ) -> None:
        """Raise what is wrong where endpoints were left out, and none failed.

        :param lacking: those that lack a store, with the stores that they have
        """
        if lacking:
            LOG.warning(
                'Passed over for want of a store: %s',
                _list({u: needs.lacking(has) for u, has in lacking.items()}),
            )
        if any(_shown(url) in needs.avoid for url in self._urls):
            raise task_values.NoneLeft
        if any(needs.store in stores for stores in lacking.values()):
            raise SourcesMissing(list(lacking.values()))
        if lacking:
            raise exceptions.StoreUnknown(needs.store or '')

    def _require_usable(self, url: str, needs: endpoints.Needs) -> None:
        client = self._client(url, self._auth)
        # Where there is no other to turn to, the answer itself tells.
        if len(self._urls) > 1 and not self._known.is_healthy(url):
            with only_answers():
                _check_health(client)
            self._known.note_healthy(url)
        if needs.lacking(self._known.stores(url)):
            stores = _stores(client, url)
            self._known.learn_stores(url, stores)
            if needs.lacking(stores):
                raise _StoresMissing(stores)

    def _client(self, url: str, auth: ksa_plugin.BaseAuthPlugin) -> Any:
        client = self._clients.get((url, auth))
        if client is None:
            client = self._clients[url, auth] = glanceclient.Client(
                '2',
                session=self.session,
                auth=auth,
                endpoint_override=url,
                global_request_id=self._request_id,
            )
        return client


def _check_health(client: Any) -> None:
    """Ask ``/healthcheck`` (oslo.middleware): only 5xx means sick.

    A glance-api without that application takes the path for a version of its
    API, and answers 300 with those that it has.
    """
    with contextlib.suppress(*_REFUSALS, glance_exc.HTTPMultipleChoices):
        client.http_client.get('/healthcheck')


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
            _shown(url),
            text.printable(', '.join(sorted(reserved))),
        )
    return stores - reserved


def endpoint_of(client: Any) -> str:
    """The name of the endpoint that a glanceclient asks."""
    return _shown(client.http_client.endpoint_override)


def _list(said: Mapping[str, str]) -> str:
    return '; '.join(f'{_shown(url)}: {words}' for url, words in said.items())


def _shown(url: str) -> str:
    """An endpoint for the log: no user information, no query."""
    # Not urlsplit(): it raises for some of what is none.
    address, _, _ = url.partition('?')
    return text.printable(text.without_credentials(address))
