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

"""One glance-api, asked what it would do for boots. Nothing is changed.

Glance looks at a policy before it looks at what a request is for. So a request
that cannot be fulfilled, for a store that is not there, tells of the policy
and does nothing else.
"""

from collections.abc import Mapping
import contextlib
import enum
from typing import Any
import urllib.parse
import uuid

from nova_rbd_multistore import answers
from nova_rbd_multistore import asking
from nova_rbd_multistore import image as image_values
from nova_rbd_multistore import rounds
from nova_rbd_multistore import text

#: Images of one page of a list.
PAGE = 100

#: Glance reads a hash in hexadecimal digits after it has asked its policy.
_NO_HASH = 'not-a-hash'

#: What a policy makes of a request. Glance says 404 to whom it does not show
#: the image either, be it public: a user without any role.
_FORBIDDEN = (asking.Forbidden, asking.NotFound)

#: What Glance may say to a request that cannot be fulfilled.
_REFUSALS = (
    *asking.COMMON,
    asking.BadRequest,
    asking.Conflict,
    asking.OverLimit,
)


class Policy(enum.Enum):
    """What Glance's policy makes of a request."""

    ADMITS = enum.auto()
    FORBIDS = enum.auto()
    #: Glance said no before it came to the policy.
    UNASKED = enum.auto()


class Probe:
    """Puts questions to one glance-api, as somebody.

    Each may raise ``rounds.NoAnswer``, ``asking.Refused`` or
    ``answers.MalformedAnswer``.

    :param url: of the glance-api
    :param asker: asks as that somebody, with Nova's service token
    :param alone: asks with that one's own token alone
    """

    def __init__(
        self, url: str, asker: asking.Asker, alone: asking.Asker
    ) -> None:
        self._url = url
        self._asker = asker
        self._alone = alone

    @property
    def name(self) -> str:
        """The URL, fit for an operator's eyes."""
        return rounds.shown(self._url)

    def illness(self) -> str:
        """What the health check says, '' if it is well, or there is none."""
        said = self._asker.health(self._url)
        if said.status_code < 500:
            return ''
        words = text.printable(text.without_credentials(said.text), 120)
        return f'its health check says {said.status_code}: {words}'

    def stores(self) -> frozenset[str]:
        """The names of all its stores; none if it has not several."""
        try:
            body = self._get('/v2/info/stores')
        except asking.NotFound:
            return frozenset()
        return image_values.store_ids(body)

    def images(
        self, marker: str = '', **query: str
    ) -> list[image_values.ImageRecord]:
        """One page of a list of images.

        :param marker: id of the image after which it begins
        :param query: how the list is filtered and sorted
        """
        wanted = {**query, 'limit': str(PAGE)}
        if marker:
            wanted['marker'] = marker
        body = self._get(f'/v2/images?{urllib.parse.urlencode(wanted)}')
        images = body.get('images') if isinstance(body, Mapping) else None
        if not isinstance(images, list):
            raise answers.MalformedAnswer(
                f'no list of images but {answers.shown(body)}'
            )
        return [image_values.ImageRecord.from_answer(each) for each in images]

    def locations(
        self, image: str
    ) -> tuple[image_values.ImageLocation, ...] | None:
        """Where an image lies, None if the policy does not tell.

        :param image: one that whoever asks may boot
        """
        try:
            body = self._get(f'{_path(image)}/locations')
        except _FORBIDDEN:
            return None
        return image_values.image_locations(body)

    def shows_locations_alone(self, image: str) -> bool:
        """Whether it would tell that without a service token, too."""
        with contextlib.suppress(*_FORBIDDEN):
            self._get(f'{_path(image)}/locations', self._alone)
            return True
        return False

    def copies(self, image: str) -> tuple[Policy, str]:
        """Whether policy ``copy_image`` admits a copy, and what Glance says.

        Only for a glance-api with :meth:`stores`: one without would copy.

        :param image: one that is active
        """
        return self._copies(image, self._asker)

    def copies_alone(self, image: str) -> bool:
        """Whether it does without a service token, too."""
        policy, _ = self._copies(image, self._alone)
        return policy is Policy.ADMITS

    def _copies(self, image: str, asker: asking.Asker) -> tuple[Policy, str]:
        def request(client: Any) -> None:
            client.images.image_import(
                image,
                method='copy-image',
                stores=[f'no-store-{uuid.uuid4()}'],
                allow_failure=False,
            )

        try:
            asker.ask_one(self._url, request, _REFUSALS)
        except _FORBIDDEN as exc:
            return Policy.FORBIDS, str(exc)
        except asking.Conflict as exc:
            return Policy.ADMITS, str(exc)
        except (asking.BadRequest, asking.OverLimit) as exc:
            return Policy.UNASKED, str(exc)
        raise answers.MalformedAnswer('it copies to a store that it has not')

    def sets_locations(self, image: str) -> Policy:
        """Whether policy ``add_image_location`` admits a location.

        :param image: one that has no data. It gets none: the hash that is
            sent with the location is not one
        """

        def request(client: Any) -> None:
            client.http_client.post(
                f'{_path(image)}/locations',
                data={
                    'url': 'rbd://no/such/image/snap',
                    'validation_data': {
                        'os_hash_algo': 'sha512',
                        'os_hash_value': _NO_HASH,
                    },
                },
            )

        try:
            self._asker.ask_one(self._url, request, _REFUSALS)
        except _FORBIDDEN:
            return Policy.FORBIDS
        except asking.BadRequest as exc:
            return Policy.ADMITS if _NO_HASH in str(exc) else Policy.UNASKED
        except (asking.Conflict, asking.OverLimit):
            return Policy.UNASKED
        raise answers.MalformedAnswer('it takes a hash that is none')

    def _get(self, path: str, asker: asking.Asker | None = None) -> object:
        def fetch(client: Any) -> object:
            _, body = client.http_client.get(path)
            return body

        return (asker or self._asker).ask_one(self._url, fetch)


def _path(image: str) -> str:
    return f'/v2/images/{urllib.parse.quote(image, safe="")}'
