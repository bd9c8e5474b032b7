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

"""Glance's image API: what we ask it, and on whose behalf.

Every answer is read into a value at once; which endpoint gives it is the
business of :mod:`asking`. Some questions are denied to users by Glance's
policies. A separate identity may ask these on the user's behalf, if there is
one; what it is told never goes beyond images that the user's own token has
just fetched.
"""

from collections.abc import Callable, Iterator
import contextlib
import dataclasses
import functools
from typing import Any, TypeVar
import urllib.parse

from keystoneauth1 import plugin as ksa_plugin
from oslo_log import log as logging

from nova_rbd_multistore import answers
from nova_rbd_multistore import asking
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import image as image_values
from nova_rbd_multistore import needs as need_values
from nova_rbd_multistore import rounds
from nova_rbd_multistore import source
from nova_rbd_multistore import task as task_values
from nova_rbd_multistore import text

LOG = logging.getLogger(__name__)

#: Gets an image's locations, and raises what :meth:`Glance.locations` raises.
Locations = Callable[[], tuple[image_values.ImageLocation, ...]]

Raw = TypeVar('Raw')
Answer = TypeVar('Answer')

#: What Glance may refuse to a request for a copy.
_COPY_REFUSALS = (
    *asking.COMMON,
    asking.BadRequest,
    asking.Conflict,
    asking.OverLimit,
)

#: How Glance puts it that another import holds the image. It says 409 to an
#: unknown store, too.
_LOCKED = ('active task', 'prior operation is still in progress')


@contextlib.contextmanager
def _refusals(
    image: str, forbidden: exceptions.NotForThisUser
) -> Iterator[None]:
    """Translate the refusals that any question about an image can meet."""
    try:
        yield
    except asking.Forbidden as exc:
        raise forbidden from exc
    except asking.NotFound as exc:
        raise exceptions.ImageGone(image) from exc
    except asking.Unauthorized as exc:
        raise exceptions.TokenRefused(image) from exc


@dataclasses.dataclass(slots=True)
class Records:
    """What this process has learned of Glance's records.

    :ivar hide_locations: whether the last one, of an image with data, showed
        no locations
    """

    hide_locations: bool = False


class Glance:
    """Glance as one user of the cloud sees it.

    :param asker: puts the user's questions to the endpoints
    :param deputy: identity that asks for locations, copies and their tasks on
        the user's behalf, where Glance's policies deny the user these; None to
        ask as the user for everything
    :param records: what is known of them, shared by all users
    """

    def __init__(
        self,
        asker: asking.Asker,
        deputy: ksa_plugin.BaseAuthPlugin | None = None,
        records: Records | None = None,
    ) -> None:
        self._asker = asker
        self._deputy = deputy
        self._records = records or Records()

    def without_retries(self) -> 'Glance':
        """The same Glance for a caller that asks again by itself."""
        return Glance(
            self._asker.without_retries(), self._deputy, self._records
        )

    def record(
        self, image: str, *, confirm: bool = False
    ) -> image_values.ImageRecord:
        """The image's record, as of now.

        :param confirm: whether a second endpoint has to confirm a refusal
        :raises ImageGone: if there is no such image for this user
        :raises TokenRefused: if the user's token is not valid (any more)
        :raises IdentityUnusable: if Nova cannot ask
        :raises GlanceUnavailable: if no endpoint answers
        """

        def read(body: object) -> image_values.ImageRecord:
            record = image_values.ImageRecord.from_answer(body)
            if record.id.lower() != image.lower():
                raise answers.MalformedAnswer('record of another image')
            return record

        # Not images.get(): it would ask for the schema too, which we don't
        # use: the record is read by image_values.
        with _refusals(image, forbidden=exceptions.ImageGone(image)):
            found = self._asker.ask(
                _get(image), read, doubted=asking.COMMON if confirm else ()
            )
        if found.active:
            self._records.hide_locations = found.locations is None
        return found

    def record_and_locations(
        self, image: str
    ) -> tuple[image_values.ImageRecord, Locations]:
        """The image's record, and what gets its locations.

        Asks for both at once where records are known to hide the locations.
        What the record's question raises goes first: what the other one raises
        is raised by who wants the locations.

        :raises ImageGone: see :meth:`record`
        :raises TokenRefused: see :meth:`record`
        :raises IdentityUnusable: see :meth:`record`
        :raises GlanceUnavailable: see :meth:`record`
        """
        locations: Locations = functools.partial(self.locations, image)
        # A deputy asks nothing before the user's own question is answered.
        if self._deputy is None and self._records.hide_locations:
            locations = self._asker.begin(locations)
        record = self.record(image)
        shown = record.locations
        return record, locations if shown is None else lambda: shown

    def locations(self, image: str) -> tuple[image_values.ImageLocation, ...]:
        """The image's locations, from the location API (API 2.17).

        :raises LocationsForbidden: by policy ``fetch_image_location``
        :raises ImageGone: if there is no such image for this user
        :raises TokenRefused: if the user's token is not valid (any more)
        :raises IdentityUnusable: if the deputy, or Nova itself, cannot ask
        :raises GlanceUnavailable: if no endpoint answers
        """
        # Not images.get_image_locations(): it would ask for the API's versions
        # each time.
        with _refusals(image, forbidden=exceptions.LocationsForbidden(image)):
            return self._ask_for_user(
                image,
                _get(image, 'locations'),
                image_values.image_locations,
                # One may be the only one that Keystone does not answer.
                doubted=(asking.Forbidden,),
            )

    def tasks(self, image: str) -> tuple[task_values.CopyTask, ...]:
        """The image's tasks visible to whoever requests copies.

        Without a deputy: those of the user's project.

        :raises ImageGone: if there is no such image for this user
        :raises TokenRefused: if the user's token is not valid (any more)
        :raises IdentityUnusable: if the deputy, or Nova itself, cannot ask
        :raises GlanceUnavailable: if no endpoint answers
        """
        with _refusals(image, forbidden=exceptions.ImageGone(image)):
            return self._ask_for_user(
                image, _get(image, 'tasks'), task_values.copy_tasks
            )

    def request_copy(
        self,
        image: str,
        store: str,
        sources: frozenset[str] = frozenset(),
        avoid: frozenset[str] = frozenset(),
    ) -> task_values.CopyReply:
        """Ask Glance to copy the image to ``store``.

        The endpoint that accepts it makes the copy.

        :param sources: names of the stores that hold the image: an endpoint
            that has none of them could not read it. Empty if not known
        :param avoid: names of endpoints that are not to be asked
        :raises NoneLeft: if no endpoint is left but those to avoid
        :raises StoreUnknown: if no endpoint has the store
        :raises SourceOutOfReach: if none of those has one of the sources
        :raises CopyForbidden: by policy ``copy_image``
        :raises CopyOverQuota: if the user's image quota is used up
        :raises ImageGone: if there is no such image for this user
        :raises TokenRefused: if the user's token is not valid (any more)
        :raises IdentityUnusable: if the deputy, or Nova itself, cannot ask
        :raises GlanceUnavailable: if no endpoint answers
        """

        def start(client: Any) -> tuple[list[str | None], str]:
            # One store, and it must succeed: only then does the task fail
            # when the copy does, and say why.
            accepted = client.images.image_import(
                image,
                method='copy-image',
                stores=[store],
                allow_failure=False,
            )
            return list(accepted.request_ids), asking.endpoint_of(client)

        ask = functools.partial(
            self._ask_for_user,
            image,
            start,
            _accepted,
            need_values.Needs(store, sources, avoid),
            _COPY_REFUSALS,
        )
        forbidden = exceptions.CopyForbidden(image, store)
        try:
            with _refusals(image, forbidden=forbidden):
                return ask(doubted=(asking.Unauthorized, asking.Forbidden))
        except rounds.SourcesMissing as exc:
            raise exceptions.SourceOutOfReach(
                image, store, sources, exc.stores
            ) from exc
        except asking.Conflict as exc:
            reason = str(exc)
            if not any(words in reason for words in _LOCKED):
                # Perhaps the store is no longer there: the next look at the
                # stores tells.
                self._asker.forget_stores()
            return task_values.CopyReply(
                task_values.Verdict.BUSY, reason=reason
            )
        except asking.BadRequest as exc:
            return task_values.CopyReply(
                task_values.Verdict.NOT_NEEDED, reason=str(exc)
            )
        except asking.OverLimit as exc:
            if self._deputy is not None:
                # Glance charges the identity that requests.
                raise exceptions.IdentityUnusable(
                    asking.DEPUTY, 'the image quota of its project is used up'
                ) from exc
            raise exceptions.CopyOverQuota(image, store) from exc

    def endpoint_with(self, store: str, image: str) -> str:
        """The URL of an endpoint that has ``store``, to upload an image to.

        :raises StoreUnknown: if none has
        :raises TokenRefused: if the user's token is not valid (any more)
        :raises IdentityUnusable: if Nova cannot ask
        :raises GlanceUnavailable: if no endpoint answers
        """

        def name(client: Any) -> str:
            url: str = client.http_client.endpoint_override
            return url

        with _refusals(image, forbidden=exceptions.ImageGone(image)):
            # Which has the store is asked on the way.
            return self._asker.ask(name, str, needs=need_values.Needs(store))

    def _ask_for_user(
        self,
        image: str,
        fetch: Callable[[Any], Raw],
        read: Callable[[Raw], Answer],
        needs: need_values.Needs = need_values.NOTHING,
        refusals: tuple[type[asking.Refused], ...] = asking.COMMON,
        doubted: tuple[type[asking.Refused], ...] = (),
    ) -> Answer:
        """Ask what Glance's policies may deny the user.

        A deputy may see images that the user does not. So the user's own token
        fetches the record of this very image right before each question: once
        a boot would not do, for the right may be withdrawn during it; and
        here, so that no caller can leave it out. If the user may see the image
        but not read it, because it is deactivated, the deputy asks nothing
        either.
        """
        ask = functools.partial(
            self._asker.ask,
            fetch,
            read,
            needs=needs,
            refusals=refusals,
            doubted=doubted,
        )
        if self._deputy is None:
            return ask()
        source.require_active(self.record(image))
        try:
            return ask(auth=self._deputy)
        except asking.COMMON as exc:
            refusal = exc
        # Unless the image has gone in this moment.
        self.record(image)
        # Not in the handler: oslo.log would add the error as it is.
        LOG.error(
            'Glance refuses the identity of [rbd_multistore] auth_type: %s. '
            'With its default policies, it needs the role admin; without it, '
            'it sees no private image of others',
            refusal,
        )
        raise exceptions.IdentityUnusable(
            asking.DEPUTY, str(refusal)
        ) from refusal


def _accepted(
    answer: tuple[list[str | None], str],
) -> task_values.CopyReply:
    request_ids, endpoint = answer
    request_id = next(iter(request_ids), None)
    return task_values.CopyReply(
        task_values.Verdict.ACCEPTED,
        request_id and text.printable(request_id),
        endpoint=endpoint,
    )


def _get(image: str, *below: str) -> Callable[[Any], object]:
    parts = (urllib.parse.quote(image, safe=''), *below)
    path = '/v2/images/' + '/'.join(parts)

    def fetch(client: Any) -> object:
        _, body = client.http_client.get(path)
        return body

    return fetch
