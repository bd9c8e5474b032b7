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

"""Glance, by openstacksdk's image proxy: the only module that asks it.

Every method is one request, but those that say otherwise. They raise
``errors.Unreachable`` where Glance gives no answer of use, and
``errors.NotAllowed`` where the account has not the right.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import html
import http
import json
import re
from typing import Any, TypeVar
import urllib.parse

from keystoneauth1 import exceptions as ksa_exceptions
import requests

from nova_rbd_multistore import image as image_values
from nova_rbd_multistore import task as task_values
from nova_rbd_multistore import text
from nova_rbd_multistore_client import errors
from nova_rbd_multistore_client import image as client_image
from nova_rbd_multistore_client import reading
from nova_rbd_multistore_client import store as client_store

Answer = TypeVar('Answer')

#: Images a page: as many as Glance gives (``api_limit_max``).
PAGE = 1000

#: Seconds for which Glance may send nothing, unless a caller says otherwise.
TIMEOUT = 60.0

#: The same while a store deletes data: Glance answers when that is done.
DELETE_TIMEOUT = 600.0

#: The same for one answer about one glance-api, which may be away.
CHECK_TIMEOUT = 20.0

#: What a user can do about a glance-api that is away.
ANOTHER = (
    'Set OS_IMAGE_ENDPOINT_OVERRIDE (with clouds.yaml: the '
    'image_endpoint_override of the cloud) to the URL of a glance-api that '
    'works.'
)

_TAG = re.compile(r'<[^>]*>')
#: What webob writes around Glance's words: the status, twice.
_STATUS = re.compile(r'<head>.*?</head>|<h1>.*?</h1>', re.DOTALL)

_COPY_RIGHT = (
    "Glance's policy copy_image admits administrators, unless an operator has "
    'changed it: ask one of them to have it copied.'
)
_DELETE_RIGHT = (
    "It needs Glance's policies get_image_location and delete_image_location, "
    'which admit administrators.'
)
_DETAIL_RIGHT = (
    "It needs Glance's policy stores_info_detail, which admits administrators."
)
_LOCATIONS_RIGHT = (
    "It needs Glance's policy fetch_image_location, which admits "
    'administrators and services.'
)


class Glance:
    """Glance, with the rights of the user of this command.

    :param api: openstacksdk's image proxy
    :param timeout: seconds for which it may send nothing
    :ivar requests: how many were sent
    """

    def __init__(self, api: Any, timeout: float = TIMEOUT) -> None:
        self._api = api
        self._timeout = timeout
        self.requests = 0

    def stores(self) -> tuple[client_store.Store, ...]:
        """The stores that users may name, Glance's own left out.

        :raises errors.NotFound: if this Glance has but one, without a name
        """
        answer = self._ask('GET', '/info/stores', 'list stores')
        if answer.status_code == http.HTTPStatus.NOT_FOUND:
            raise errors.NotFound(
                'This Glance has no stores that have names: [DEFAULT] '
                'enabled_backends is not set in glance-api.conf.'
            )
        return self._read(answer, client_store.stores)

    def store_details(self) -> tuple[client_store.Store, ...]:
        """The same, with each one's driver, and an RBD store's pool."""
        answer = self._ask(
            'GET',
            '/info/stores/detail',
            'see in which pool a store keeps its images',
            right=_DETAIL_RIGHT,
        )
        return self._read(answer, client_store.stores)

    def image(self, image_id: str) -> client_image.Image:
        """One image, by its id.

        :raises errors.NotFound: if this account sees none of that id
        """
        answer = self._ask('GET', f'/images/{_quoted(image_id)}', 'see images')
        if answer.status_code == http.HTTPStatus.NOT_FOUND:
            raise errors.NotFound(
                f'No image {text.printable(image_id)} that this account may '
                'see'
            )
        return self._read(answer, client_image.Image.from_answer)

    def find(self, name: str) -> client_image.Image:
        """One image, by its id or its name; four requests at most.

        Names of images that Glance lists by itself go first: else any user
        could take them, with an image that is open to the community.

        :raises errors.NotFound: if this account sees no such image
        :raises errors.SeveralImages: if several have that name
        """
        with contextlib.suppress(errors.NotFound):
            return self.image(name)
        for listed in (self.images, self.every_image):
            found = [i for i in listed({'name': name}) if i.name == name]
            if found:
                break
        else:
            raise errors.NotFound(
                f'No image {text.printable(name)} that this account may see'
            )
        if len(found) > 1:
            raise errors.SeveralImages(name, sorted(i.id for i in found))
        return found[0]

    def images(
        self, filters: Mapping[str, str] | None = None
    ) -> Iterator[client_image.Image]:
        """The images that Glance lists; a request for each thousand.

        Not those that are hidden, nor, from administrators either, those of
        other projects that are open to the community.

        :param filters: of Glance's list
        """
        asked: dict[str, str] = {'limit': str(PAGE), **(filters or {})}
        while True:
            answer = self._ask('GET', '/images', 'list images', params=asked)
            yield from self._read(answer, client_image.images)
            marker = _next_marker(answer)
            if marker is None or marker == asked.get('marker'):
                return
            asked['marker'] = marker

    def every_image(
        self, filters: Mapping[str, str] | None = None
    ) -> Iterator[client_image.Image]:
        """All images that this account may see, those left out there too."""
        for hidden in ('false', 'true'):
            yield from self.images(
                {'visibility': 'all', **(filters or {}), 'os_hidden': hidden}
            )

    def tasks(self, image_id: str) -> tuple[task_values.CopyTask, ...]:
        """The image's tasks that Glance shows this account.

        Other projects' are shown to administrators alone.
        """
        answer = self._ask(
            'GET', f'/images/{_quoted(image_id)}/tasks', 'see tasks'
        )
        if answer.status_code == http.HTTPStatus.NOT_FOUND:
            # Glance before 23 has no such list; or the image is gone.
            return ()
        return self._read(answer, task_values.copy_tasks)

    def locations(
        self, image_id: str
    ) -> tuple[image_values.ImageLocation, ...]:
        """Where an image lies, as URLs of the stores.

        :raises errors.NotFound: if the image is gone
        :raises errors.Unreachable: if this Glance does not tell of any image
        """
        answer = self._ask(
            'GET',
            f'/images/{_quoted(image_id)}/locations',
            'see where an image lies',
            right=_LOCATIONS_RIGHT,
        )
        if answer.status_code == http.HTTPStatus.NOT_FOUND:
            # Either there is no such image, or there is no such question.
            self.image(image_id)
            raise errors.Unreachable(
                f'Glance does not tell where image {image_id} lies: '
                f'404 {told(answer)}'
            )
        return self._read(answer, image_values.image_locations)

    def request_copy(
        self, image_id: str, into: Sequence[str]
    ) -> task_values.CopyReply:
        """Ask for a copy into several stores at once.

        :raises errors.NotFound: if the image is gone
        :raises errors.Refused: if a quota is used up
        """
        answer = self._ask(
            'POST',
            f'/images/{_quoted(image_id)}/import',
            'have images copied',
            right=_COPY_RIGHT,
            json={
                'method': {'name': 'copy-image'},
                'stores': list(into),
                # Else one store that fails takes the others' data with it.
                # Of a single one, Glance then tells the reason.
                'all_stores_must_succeed': len(into) == 1,
            },
        )
        match answer.status_code:
            case http.HTTPStatus.ACCEPTED:
                return task_values.CopyReply(task_values.Verdict.ACCEPTED)
            case http.HTTPStatus.CONFLICT:
                verdict = task_values.Verdict.BUSY
            case http.HTTPStatus.BAD_REQUEST:
                verdict = task_values.Verdict.NOT_NEEDED
            case http.HTTPStatus.NOT_FOUND:
                raise errors.NotFound(f'No image {image_id} any more')
            case _:
                raise errors.Refused('copy the image', told(answer))
        return task_values.CopyReply(verdict, reason=told(answer))

    def delete_copy(self, image_id: str, store: str) -> None:
        """Delete an image's data from one store.

        :raises errors.NotFound: if it is not in that store
        :raises errors.Refused: if Glance does not, as while it is in use
        """
        what = f'delete the image from store {store}'
        answer = self._ask(
            'DELETE',
            f'/stores/{_quoted(store)}/{_quoted(image_id)}',
            what,
            right=_DELETE_RIGHT,
            timeout=DELETE_TIMEOUT,
        )
        if answer.status_code == http.HTTPStatus.NOT_FOUND:
            raise errors.NotFound(told(answer))
        if answer.status_code >= http.HTTPStatus.BAD_REQUEST:
            raise errors.Refused(what, told(answer))

    def endpoints(self) -> tuple[str, ...]:
        """The URLs of Glance in the catalog, of this region and interface.

        Where there is no catalog, the one that is asked.
        """
        access = self._access()
        if access is None:
            with _no_answer('Glance', ANOTHER):
                return (_root(str(self._api.get_endpoint())),)
        urls = access.service_catalog.get_urls(
            service_type='image',
            interface=self._api.interface or 'public',
            region_name=self._api.region_name,
        )
        return tuple(dict.fromkeys(_root(url) for url in urls))

    def roles(self) -> tuple[str, ...]:
        """The names of this account's roles in its project."""
        access = self._access()
        return () if access is None else tuple(access.role_names)

    def _access(self) -> Any:
        """What Keystone tells of this account, None where there is none."""
        auth = self._api.session.auth
        if not hasattr(auth, 'get_access'):
            return None
        with _no_answer('Keystone'):
            return auth.get_access(self._api.session)

    def first_byte(self, endpoint: str, image_id: str) -> reading.Reading:
        """Ask one glance-api for the first byte of an image's data.

        Not for a range of it: the RBD driver gives none.

        :param endpoint: URL of the glance-api
        """
        try:
            answer = self._send(
                'GET',
                f'/v2/images/{_quoted(image_id)}/file',
                endpoint_override=_root(endpoint),
                stream=True,
            )
        except (ksa_exceptions.ClientException, requests.RequestException):
            return reading.Reading(status=None)
        with answer:
            if answer.status_code != http.HTTPStatus.OK:
                return reading.Reading(answer.status_code, told(answer))
            try:
                data = next(answer.iter_content(1), b'')
            except requests.RequestException:
                # It had promised data, and its store has none.
                data = b''
        return reading.Reading(answer.status_code, got_data=bool(data))

    def stores_of(self, endpoint: str) -> frozenset[str] | None:
        """The stores that one glance-api has; None if it does not say."""
        try:
            answer = self._send(
                'GET', '/v2/info/stores', endpoint_override=_root(endpoint)
            )
            if answer.status_code != http.HTTPStatus.OK:
                return None
            return image_values.store_ids(answer.json())
        except (
            ksa_exceptions.ClientException,
            requests.RequestException,
            ValueError,
        ):
            return None

    def _ask(
        self, method: str, path: str, what: str, right: str = '', **more: Any
    ) -> requests.Response:
        """Glance's answer to one question, unless it has none for anybody.

        :param what: is asked, as in "may not …"
        :param right: that it takes, as a sentence
        """
        with _no_answer('Glance', ANOTHER):
            answer = self._send(method, path, **more)
        match answer.status_code:
            case http.HTTPStatus.UNAUTHORIZED:
                raise errors.NotAllowed(
                    what, 'Glance does not accept its token: log in again.'
                )
            case http.HTTPStatus.FORBIDDEN:
                raise errors.NotAllowed(
                    what, f'{right} Glance says: {told(answer)}'.strip()
                )
            case status if status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
                raise errors.Unreachable(
                    f'Glance fails: {status} {told(answer)}'
                )
        return answer

    def _send(self, method: str, path: str, **more: Any) -> requests.Response:
        self.requests += 1
        if 'endpoint_override' in more:
            more |= {'timeout': CHECK_TIMEOUT, 'connect_retries': 0}
        answer: requests.Response = self._api.request(
            path,
            method,
            raise_exc=False,
            # A token must not follow wherever an answer points.
            redirect=False,
            **{'timeout': self._timeout, **more},
        )
        return answer

    def _read(
        self,
        answer: requests.Response,
        parse: Callable[[object], Answer],
    ) -> Answer:
        """The value of a good answer.

        :raises errors.Unreachable: if the answer is not one of Glance's
        """
        if answer.status_code != http.HTTPStatus.OK:
            raise errors.Unreachable(
                f'Glance fails: {answer.status_code} {told(answer)}'
            )
        try:
            return parse(answer.json())
        except ValueError as exc:
            # answers.MalformedAnswer is one.
            raise errors.Unreachable(
                f'Glance sends what is no answer: {text.printable(exc)}'
            ) from exc


@contextlib.contextmanager
def _no_answer(who: str, advice: str = '') -> Iterator[None]:
    try:
        yield
    except (
        ksa_exceptions.ClientException,
        requests.RequestException,
    ) as exc:
        reason = text.printable(text.without_credentials(str(exc)))
        raise errors.Unreachable(
            f'{who} does not answer: {reason.rstrip(".")}. {advice}'.strip()
        ) from exc


def told(answer: requests.Response) -> str:
    """Glance's words in an answer, on one line."""
    body = answer.text[:4000]
    try:
        fields = json.loads(body)
    except ValueError:
        fields = None
    if isinstance(fields, Mapping):
        body = str(fields.get('message') or body)
    words = html.unescape(_TAG.sub(' ', _STATUS.sub(' ', body)))
    line = (
        ' '.join(words.split()) or http.HTTPStatus(answer.status_code).phrase
    )
    return text.printable(text.without_credentials(line))


def _quoted(word: str) -> str:
    return urllib.parse.quote(word, safe='')


def _root(url: str) -> str:
    return re.sub(r'/v2(\.\d+)?/?$', '', url.rstrip('/'))


def _next_marker(answer: requests.Response) -> str | None:
    """The last image of this page, if there is another page."""
    following = answer.json().get('next')
    if not isinstance(following, str):
        return None
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(following).query)
    markers: list[str] = query.get('marker', [])
    return markers[0] if markers else None
