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

"""Glance's image API: the only module that imports glanceclient.

Every question goes to one endpoint after the other until one answers, and
every answer is read into a value at once. What is no answer of Glance's (no
connection, a time-out, 5xx, not the promised JSON) is that endpoint's
failure; a refusal (403, say) is Glance's word, and final.

Whose question it is matters as much. What a user may not ask by Glance's
policies, a separate identity may ask for him, if there is one; what it is told
never goes beyond images that the user's own token has just fetched.
"""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import dataclasses
import enum
from typing import Any, Self, TypeVar
import urllib.parse

import glanceclient
from glanceclient import exc as glance_exc
from keystoneauth1 import exceptions as ksa_exc
from keystoneauth1 import plugin as ksa_plugin
from keystoneauth1 import session as ksa_session
from oslo_log import log as logging
import requests
import tenacity

from nova_rbd_multistore import endpoints
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import image as image_values
from nova_rbd_multistore import source
from nova_rbd_multistore import text

LOG = logging.getLogger(__name__)

Answer = TypeVar('Answer')

#: Glance said no, and another endpoint would say the same.
_REFUSALS: tuple[type[Exception], ...] = (
    glance_exc.HTTPUnauthorized,
    glance_exc.HTTPForbidden,
    glance_exc.HTTPNotFound,
)
#: The same, to a request for a copy.
_COPY_REFUSALS = (
    *_REFUSALS,
    glance_exc.HTTPBadRequest,
    glance_exc.HTTPConflict,
    glance_exc.HTTPOverLimit,
)

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


#: How Glance puts it that another import holds the image. It says 409 to an
#: unknown store, too.
_LOCKED = ('active task', 'prior operation is still in progress')

#: Keystone's client has had no answer, or none that Keystone means.
_KEYSTONE_AWAY = (
    ksa_exc.ConnectionError,
    ksa_exc.DiscoveryFailure,
    ksa_exc.HttpServerError,
)


class _EndpointFailed(Exception):
    """One endpoint gave no answer; the message says what it gave."""


class _StoreMissing(Exception):
    """One endpoint does not have the store."""


@contextlib.contextmanager
def _only_answers(
    refusals: tuple[type[Exception], ...] = _REFUSALS,
) -> Iterator[None]:
    try:
        yield
    except refusals:
        raise
    except _NO_ANSWER as exc:
        raise _EndpointFailed(
            # In this order: a cut could hide where the credentials end.
            text.printable(text.without_credentials(str(exc)))
        ) from exc


@contextlib.contextmanager
def _refusals(
    image: str, forbidden: exceptions.NotForThisUser
) -> Iterator[None]:
    """Say what a refusal means that any question about an image may get."""
    try:
        yield
    except glance_exc.HTTPForbidden as exc:
        raise forbidden from exc
    except glance_exc.HTTPNotFound as exc:
        raise exceptions.ImageGone(image) from exc
    except glance_exc.HTTPUnauthorized as exc:
        raise exceptions.TokenRefused(image) from exc


class Reply(enum.Enum):
    """What Glance says to a request for a copy."""

    #: 202: it has begun, or will.
    ACCEPTED = enum.auto()
    #: 409: another import of this image is under way, to any store.
    BUSY = enum.auto()
    #: 400: the store has the image already; or copy-image is not enabled.
    NOT_NEEDED = enum.auto()


@dataclasses.dataclass(frozen=True, slots=True)
class CopyReply:
    """Glance's answer to a request for a copy.

    :ivar request_id: of our request: Glance keeps it with the task
    :ivar reason: Glance's words, where it did not accept
    """

    reply: Reply
    request_id: str | None = None
    reason: str = ''


class Glance:
    """Glance as one user of the cloud sees it.

    :param session: carries the requests, with the time-out of ``[glance]``
    :param auth: the user's identity, with Nova's service token beside it
    :param deputy: identity that asks for locations, copies and their tasks in
        the user's stead, where Glance's policies deny him these; None to ask
        as the user for everything
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
        deputy: ksa_plugin.BaseAuthPlugin | None = None,
        request_id: str | None = None,
        retries: int = 0,
    ) -> None:
        self._session = session
        self._auth = auth
        self._deputy = deputy
        self._urls = tuple(urls)
        self._known = known
        self._sleep = sleep
        self._request_id = request_id
        self._retries = retries
        self._clients: dict[tuple[str, ksa_plugin.BaseAuthPlugin], Any] = {}

    def without_retries(self) -> Self:
        """The same Glance for a caller that asks again by itself."""
        return type(self)(
            self._session,
            self._auth,
            self._urls,
            self._known,
            sleep=self._sleep,
            deputy=self._deputy,
            request_id=self._request_id,
        )

    def record(self, image: str) -> image_values.ImageRecord:
        """The image's record, as of now.

        :raises ImageGone: if there is no such image for this user
        :raises TokenRefused: if the user's token is not valid (any more)
        :raises GlanceUnavailable: if no endpoint answers
        """

        def read(client: Any) -> image_values.ImageRecord:
            # Not images.get(): it would ask for the schema too, which we
            # don't use: the record is read by image_values.
            _, body = client.http_client.get(_path(image))
            record = image_values.ImageRecord.from_answer(body)
            if record.id.lower() != image.lower():
                raise image_values.MalformedAnswer('record of another image')
            return record

        with _refusals(image, forbidden=exceptions.ImageGone(image)):
            return self._ask(read)

    def locations(self, image: str) -> tuple[image_values.ImageLocation, ...]:
        """The image's locations, from the location API (API 2.17).

        :raises LocationsForbidden: by policy ``fetch_image_location``
        :raises ImageGone: if there is no such image for this user
        :raises TokenRefused: if the user's token is not valid (any more)
        :raises IdentityUnusable: if the deputy cannot ask
        :raises GlanceUnavailable: if no endpoint answers
        """

        def read(client: Any) -> tuple[image_values.ImageLocation, ...]:
            # Not images.get_image_locations(): it would ask for the API's
            # versions each time.
            _, body = client.http_client.get(_path(image, 'locations'))
            return image_values.image_locations(body)

        with _refusals(image, forbidden=exceptions.LocationsForbidden(image)):
            return self._ask_for_user(image, read)

    def tasks(self, image: str) -> tuple[image_values.CopyTask, ...]:
        """The image's tasks that who asks for copies may see.

        As the user, those of his project.

        :raises ImageGone: if there is no such image for this user
        :raises TokenRefused: if the user's token is not valid (any more)
        :raises IdentityUnusable: if the deputy cannot ask
        :raises GlanceUnavailable: if no endpoint answers
        """

        def read(client: Any) -> tuple[image_values.CopyTask, ...]:
            _, body = client.http_client.get(_path(image, 'tasks'))
            return image_values.copy_tasks(body)

        with _refusals(image, forbidden=exceptions.ImageGone(image)):
            return self._ask_for_user(image, read)

    def request_copy(self, image: str, store: str) -> CopyReply:
        """Ask Glance to copy the image to ``store``.

        :raises StoreUnknown: if no endpoint has the store
        :raises CopyForbidden: by policy ``copy_image``
        :raises CopyOverQuota: if the user's image quota is used up
        :raises ImageGone: if there is no such image for this user
        :raises TokenRefused: if the user's token is not valid (any more)
        :raises IdentityUnusable: if the deputy cannot ask
        :raises GlanceUnavailable: if no endpoint answers
        """

        def ask(client: Any) -> CopyReply:
            # One store, and it must succeed: only then does the task fail
            # when the copy does, and say why.
            answer = client.images.image_import(
                image,
                method='copy-image',
                stores=[store],
                allow_failure=False,
            )
            (request_id,) = answer.request_ids
            return CopyReply(
                Reply.ACCEPTED, request_id and text.printable(request_id)
            )

        forbidden = exceptions.CopyForbidden(image, store)
        try:
            with _refusals(image, forbidden=forbidden):
                return self._ask_for_user(image, ask, store)
        except glance_exc.HTTPConflict as exc:
            reason = text.printable(exc)
            if not any(words in reason for words in _LOCKED):
                # Perhaps the store is no longer there: the next look at the
                # stores tells.
                for url in self._urls:
                    self._known.learn_stores(url, frozenset())
            return CopyReply(Reply.BUSY, reason=reason)
        except glance_exc.HTTPBadRequest as exc:
            return CopyReply(Reply.NOT_NEEDED, reason=text.printable(exc))
        except glance_exc.HTTPOverLimit as exc:
            if self._deputy is not None:
                # Glance charges who asks.
                raise exceptions.IdentityUnusable(
                    'the image quota of its project is used up'
                ) from exc
            raise exceptions.CopyOverQuota(image, store) from exc

    def _ask_for_user(
        self,
        image: str,
        question: Callable[[Any], Answer],
        store: str | None = None,
    ) -> Answer:
        """Put a question that Glance's policies may deny the user.

        A deputy may see images that the user does not. So the user's own token
        fetches the record of this very image right before each question: once
        a boot would not do, for his right may be withdrawn during it; and
        here, so that no caller can leave it out. Of an image that he may see
        but not read, being deactivated, the deputy asks nothing either.
        """
        if self._deputy is None:
            return self._ask(question, store)
        record = self.record(image)
        source.require_active(record)
        log_in(self._deputy, self._session)
        try:
            return self._ask(question, store, self._deputy)
        except _REFUSALS as exc:
            refusal = exc
        # Unless the image has gone in this moment.
        self.record(image)
        reason = text.printable(refusal)
        # Not in the handler: oslo.log would add the error as it is.
        LOG.error(
            'Glance refuses the identity of [rbd_multistore] auth_type: %s. '
            'With its default policies, it needs the role admin',
            reason,
        )
        raise exceptions.IdentityUnusable(reason) from refusal

    def _ask(
        self,
        question: Callable[[Any], Answer],
        store: str | None = None,
        auth: ksa_plugin.BaseAuthPlugin | None = None,
    ) -> Answer:
        rounds = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(
                exceptions.GlanceUnavailable
            ),
            stop=tenacity.stop_after_attempt(1 + self._retries),
            wait=tenacity.wait_fixed(1),
            sleep=self._sleep,
            reraise=True,
        )
        answer: Answer = rounds(
            self._ask_all, question, store, auth or self._auth
        )
        return answer

    def _ask_all(
        self,
        question: Callable[[Any], Answer],
        store: str | None,
        auth: ksa_plugin.BaseAuthPlugin,
    ) -> Answer:
        """Put a question to the endpoints, in turn, until one answers."""
        failed: dict[str, str] = {}
        missing = []
        for url in self._known.order(self._urls):
            try:
                return self._ask_one(url, question, store, auth)
            except _StoreMissing:
                missing.append(url)
            except _EndpointFailed as exc:
                self._known.failed(url)
                failed[url] = str(exc)
        if missing and not failed:
            raise exceptions.StoreUnknown(store or '')
        LOG.error(
            'No glance-api answered: %s',
            '; '.join(
                [f'{_shown(url)}: {why}' for url, why in failed.items()]
                + [f'{_shown(url)}: no store {store}' for url in missing]
            )
            or 'there is no endpoint for the service type "image"',
        )
        raise exceptions.GlanceUnavailable(len(self._urls))

    def _ask_one(
        self,
        url: str,
        question: Callable[[Any], Answer],
        store: str | None,
        auth: ksa_plugin.BaseAuthPlugin,
    ) -> Answer:
        client = self._client(url, self._auth)
        try:
            with _only_answers():
                # Where there is no other to turn to, the answer itself tells.
                if len(self._urls) > 1 and not self._known.is_healthy(url):
                    _check_health(client)
                    self._known.healthy(url)
                if store and not self._known.has_store(url, store):
                    self._known.learn_stores(url, _stores(client, url))
                    if not self._known.has_store(url, store):
                        raise _StoreMissing(url)
            with _only_answers(_COPY_REFUSALS if store else _REFUSALS):
                return question(self._client(url, auth))
        except _EndpointFailed as exc:
            LOG.warning('glance-api %s failed: %s', _shown(url), exc)
            raise

    def _client(self, url: str, auth: ksa_plugin.BaseAuthPlugin) -> Any:
        client = self._clients.get((url, auth))
        if client is None:
            client = self._clients[url, auth] = glanceclient.Client(
                '2',
                session=self._session,
                auth=auth,
                endpoint_override=url,
                global_request_id=self._request_id,
            )
        return client


def log_in(
    deputy: ksa_plugin.BaseAuthPlugin, session: ksa_session.Session
) -> None:
    """Have Keystone give the deputy a token, unless he has one.

    :raises IdentityUnusable: if it refuses
    :raises KeystoneUnavailable: if it does not answer
    """
    try:
        with _only_answers(refusals=()):
            deputy.get_token(session)
    except _EndpointFailed as exc:
        reason = str(exc)
        away = isinstance(exc.__cause__, _KEYSTONE_AWAY)
    else:
        return
    # Not in the handler: what keystoneauth raised may show the credentials of
    # a URL in a traceback, and tenants read what Nova keeps of one.
    LOG.error(
        'Cannot log in with the identity of [rbd_multistore] auth_type: %s',
        reason,
    )
    if away:
        raise exceptions.KeystoneUnavailable
    raise exceptions.IdentityUnusable('Keystone gives it no token')


def _check_health(client: Any) -> None:
    """Ask ``/healthcheck`` (oslo.middleware): only 5xx means sick.

    A glance-api without that application takes the path for a version of its
    API, and answers 300 with those that it has.
    """
    with contextlib.suppress(*_COPY_REFUSALS, glance_exc.HTTPMultipleChoices):
        client.http_client.get('/healthcheck')


def _stores(client: Any, url: str) -> frozenset[str]:
    """The stores of one glance-api; none if it has not several (404).

    Without those that are Glance's own, if it should show them.
    """
    try:
        _, body = client.http_client.get('/v2/info/stores')
    except glance_exc.HTTPNotFound:
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


def _path(image: str, *below: str) -> str:
    parts = (urllib.parse.quote(image, safe=''), *below)
    return '/v2/images/' + '/'.join(parts)


def _shown(url: str) -> str:
    """An endpoint for the log: no user information, no query."""
    # Not urlsplit(): it raises for some of what is none.
    address, _, _ = url.partition('?')
    return text.printable(text.without_credentials(address))
