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

"""Nova's servers, by openstacksdk's compute proxy, and their images."""

from collections.abc import Iterator, Mapping
import datetime
import http
from typing import Any

from keystoneauth1 import exceptions as ksa_exceptions
import requests

from nova_rbd_multistore import text
from nova_rbd_multistore_client import errors

#: Servers a page: as many as Nova gives ([api] max_limit).
PAGE = 1000

#: Seconds for which Nova may send nothing: for one of its cells that is away
#: it waits for a minute, and may do so twice.
TIMEOUT = 180.0

_RIGHT = (
    "It needs Nova's policy os_compute_api:servers:detail:get_all_tenants, "
    'which admits administrators.'
)


class Servers:
    """The servers of all projects.

    :param api: openstacksdk's compute proxy
    """

    def __init__(self, api: Any) -> None:
        self._api = api

    def count(self, image_id: str) -> int:
        """How many servers there are of an image, up to a page of them."""
        found, _ = self._page({'image': image_id})
        return len(found)

    def images_since(self, moment: datetime.datetime) -> frozenset[str]:
        """The ids of images that servers are of, or have been since then.

        A request for each thousand servers, and for each thousand that were
        changed or deleted since.
        """
        since = f'{moment:%Y-%m-%dT%H:%M:%SZ}'
        return frozenset(
            image
            for asked in ({}, {'changes-since': since})
            for server in self._all(asked)
            if (image := _image_of(server)) is not None
        )

    def _all(self, filters: Mapping[str, str]) -> Iterator[Mapping[str, Any]]:
        asked = dict(filters)
        while True:
            page, more = self._page(asked)
            yield from page
            if not page or not more:
                return
            asked['marker'] = str(page[-1].get('id'))

    def _page(
        self, filters: Mapping[str, str]
    ) -> tuple[list[Mapping[str, Any]], bool]:
        """Servers, and whether there are more."""
        try:
            answer: requests.Response = self._api.request(
                '/servers/detail',
                'GET',
                params={'all_tenants': '1', 'limit': str(PAGE), **filters},
                raise_exc=False,
                redirect=False,
                timeout=TIMEOUT,
            )
        except (
            ksa_exceptions.ClientException,
            requests.RequestException,
        ) as exc:
            reason = text.printable(text.without_credentials(str(exc)))
            raise errors.Unreachable(
                f'Nova does not answer: {reason}'
            ) from exc
        if answer.status_code == http.HTTPStatus.FORBIDDEN:
            raise errors.NotAllowed("see all projects' servers", _RIGHT)
        try:
            body = answer.json()
            found = body['servers']
            more = 'servers_links' in body
        except (ValueError, KeyError, TypeError) as exc:
            raise errors.Unreachable(
                f'Nova fails: {answer.status_code}'
            ) from exc
        return [entry for entry in found if isinstance(entry, Mapping)], more


def _image_of(server: Mapping[str, Any]) -> str | None:
    """The image that a server was made from; None if from a volume."""
    match server.get('image'):
        case {'id': str(image)}:
            return image
        case _:
            return None
