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

#: From which on Nova lists hosts of cells that are away: but for them, it
#: leaves out such a cell without a word.
MICROVERSION = '2.69'

#: Hosts that are named, at most.
NAMED = 5

_LIST_RIGHT = (
    "It needs Nova's policy os_compute_api:servers:detail:get_all_tenants, "
    'which admits administrators.'
)
_SERVICES_RIGHT = (
    "It needs Nova's policy os_compute_api:os-services:list, which admits "
    'administrators.'
)


class Servers:
    """The servers of all projects.

    :param api: openstacksdk's compute proxy
    """

    def __init__(self, api: Any) -> None:
        self._api = api

    def count(self, image_id: str) -> int:
        """How many servers there are of an image, up to a page of them.

        :raises errors.Unreachable: if Nova does not know all servers
        """
        found, _ = self._page({'image': image_id})
        self._require_all_cells()
        return len(found)

    def images_since(self, moment: datetime.datetime) -> frozenset[str]:
        """The ids of images that servers are of, or have been since then.

        A request for each thousand servers, and for each thousand that were
        changed or deleted since.

        :raises errors.Unreachable: if Nova does not know all servers
        """
        since = f'{moment:%Y-%m-%dT%H:%M:%SZ}'
        self._require_all_cells()
        found = frozenset(
            image
            for asked in ({}, {'changes-since': since})
            for server in self._all(asked)
            if (image := _image_of(server)) is not None
        )
        # Lists of many servers take a while.
        self._require_all_cells()
        return found

    def _require_all_cells(self) -> None:
        """Make sure that no cell of Nova is away.

        Of servers, Nova tells that only in a list without pages and filters.
        """
        answer = self._ask(
            '/os-services',
            'see whether Nova knows all servers',
            _SERVICES_RIGHT,
            params={'binary': 'nova-compute'},
            microversion=MICROVERSION,
        )
        hosts = [
            text.printable(service.get('host'))
            for service in _entries(answer, 'services')
            if service.get('status') == 'UNKNOWN'
        ]
        if hosts:
            named = ', '.join(hosts[:NAMED])
            more = len(hosts) - NAMED
            raise errors.Unreachable(
                'Nova does not know the servers on '
                f'{named}{f" and {more} more" if more > 0 else ""}: the '
                'database of their cell does not answer it'
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
        answer = self._ask(
            '/servers/detail',
            "see all projects' servers",
            _LIST_RIGHT,
            params={'all_tenants': '1', 'limit': str(PAGE), **filters},
        )
        return _entries(answer, 'servers'), 'servers_links' in answer

    def _ask(
        self, path: str, what: str, right: str, **more: Any
    ) -> Mapping[str, Any]:
        """Nova's answer to one question.

        :param what: is asked, as in "may not …"
        :param right: that it takes, as a sentence
        """
        try:
            answer: requests.Response = self._api.request(
                path,
                'GET',
                raise_exc=False,
                redirect=False,
                timeout=TIMEOUT,
                **more,
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
            raise errors.NotAllowed(what, right)
        try:
            body = answer.json()
        except ValueError:
            body = None
        if answer.status_code != http.HTTPStatus.OK or not isinstance(
            body, Mapping
        ):
            raise errors.Unreachable(f'Nova fails: {answer.status_code}')
        return body


def _entries(answer: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """The entries of a list in an answer."""
    listed = answer.get(key)
    if not isinstance(listed, list):
        raise errors.Unreachable(f'Nova sends no list of {key}')
    return [entry for entry in listed if isinstance(entry, Mapping)]


def _image_of(server: Mapping[str, Any]) -> str | None:
    """The image that a server was made from; None if from a volume."""
    match server.get('image'):
        case {'id': str(image)}:
            return image
        case _:
            return None
