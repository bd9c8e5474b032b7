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

"""Glance, as openstacksdk's image proxy brings its answers: for the client.

Kept in memory, with the rules of Glance 33 that the client meets: one import
of an image at a time, stores filled one after another, flags as text with
commas, pages, and answers as webob writes them.
"""

from collections.abc import Callable, Mapping
import dataclasses
import datetime
import html
import json
from typing import Any, Self
import urllib.parse
import uuid

from keystoneauth1 import exceptions as ksa_exceptions
import requests

MIB = 1024 * 1024

LOCK = 'os_glance_import_task'
IMPORTING = 'os_glance_importing_to_stores'
FAILED = 'os_glance_failed_import'

#: When tests begin.
BEGIN = datetime.datetime(2026, 1, 2, 12, 0, 0)


class Clock:
    """Time that passes while somebody sleeps.

    :ivar now: seconds
    """

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def utcnow(self) -> datetime.datetime:
        return BEGIN + datetime.timedelta(seconds=self.now)


@dataclasses.dataclass
class Copy:
    """An import under way.

    :ivar left: the stores that it has not come to the end of
    :ivar since: second at which it came to the first of them
    """

    image: str
    task: dict[str, Any]
    left: list[str]
    since: float
    all_must_succeed: bool


def stamp(moment: datetime.datetime) -> str:
    """A time, as Glance writes it."""
    return f'{moment:%Y-%m-%dT%H:%M:%SZ}'


class Access:
    """What Keystone tells of whoever has a token: roles, and the catalog.

    :param proxy: whose
    """

    def __init__(self, proxy: 'ImageProxy') -> None:
        self._proxy = proxy

    @property
    def auth(self) -> Self:
        return self

    def get_access(self, session: object) -> Self:
        assert session is self
        return self

    @property
    def service_catalog(self) -> Self:
        return self

    @property
    def role_names(self) -> list[str]:
        return ['admin', 'member'] if self._proxy.admin else ['member']

    def get_urls(self, **asked: str | None) -> list[str]:
        assert asked == {
            'service_type': 'image',
            'interface': 'public',
            'region_name': 'here',
        }
        return [*self._proxy.endpoints]


class Refusal(Exception):
    """An answer from 400 on."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class ImageProxy:
    """Glance, behind the calls that the client makes.

    :ivar images: records by id, as JSON without locations
    :ivar tasks: by id of the image
    :ivar data: what each glance-api says when asked for data: a status, or
        None if it does not answer; those that are not here have it
    :ivar locations: by id of the image, where its data is not where its
        stores put new images
    :ivar admin: whether the account is an administrator: of project admin,
        and of project demo if it is none
    :ivar tasks_shown: whether it sees any task
    :ivar tells_locations: whether there is a question for these at all
    :ivar start: seconds until a copy begins
    :ivar pace: seconds that a copy to one store takes
    :ivar failures: why copies fail, by store
    :ivar asked: the requests: method and path
    :ivar endpoints: URLs of glance-apis in the catalog
    :ivar silent_until: second until which it accepts requests, and says
        nothing
    :ivar away_until: second until which nothing listens
    :ivar deletion: seconds that a store takes to delete data, for which the
        answer has to be awaited
    :ivar gone: ids of images that are listed, and deleted before anything
        else is asked of them
    """

    interface = 'public'
    region_name = 'here'

    def __init__(self, *stores: str, admin: bool = True) -> None:
        self.clock = Clock()
        self.stores = {name: {'id': name} for name in stores or ('east',)}
        self.images: dict[str, dict[str, Any]] = {}
        self.tasks: dict[str, list[dict[str, Any]]] = {}
        self.data: dict[str, int | None] = {}
        self.locations: dict[str, list[dict[str, Any]]] = {}
        self.in_use: set[tuple[str, str]] = set()
        self.gone: set[str] = set()
        self.admin = admin
        self.tasks_shown = True
        self.tells_locations = True
        self.start = 1.0
        self.pace = 10.0
        self.silent_until = 0.0
        self.away_until = 0.0
        self.deletion = 0.0
        self.failures: dict[str, str] = {}
        self.asked: list[tuple[str, str]] = []
        self.endpoints = ['http://glance-1/v2/', 'http://glance-2']
        self.session = Access(self)
        self._copies: dict[str, Copy] = {}
        self._routes: list[tuple[str, str, Callable[..., Any]]] = [
            ('GET', 'info/stores', self._list_stores),
            ('GET', 'info/stores/detail', self._detail_stores),
            ('GET', 'images', self._list_images),
            ('GET', 'images/{}', self._show),
            ('GET', 'images/{}/tasks', self._list_tasks),
            ('GET', 'images/{}/locations', self._list_locations),
            ('GET', 'images/{}/file', self._first_byte),
            ('POST', 'images/{}/import', self._import),
            ('DELETE', 'stores/{}/{}', self._delete),
        ]

    def add(self, name: str = '', *stores: str, **fields: Any) -> str:
        """An image that is in some stores; its id."""
        image_id: str = fields.pop('id', str(uuid.uuid4()))
        created = stamp(self.clock.utcnow())
        self.images[image_id] = {
            'id': image_id,
            'name': name,
            'status': 'active',
            'owner': 'demo',
            'visibility': 'public',
            'disk_format': 'raw',
            'container_format': 'bare',
            'size': 256 * MIB,
            'tags': [],
            'protected': False,
            'os_hidden': False,
            'created_at': created,
            'updated_at': created,
            'stores': ','.join(stores),
            **fields,
        }
        return image_id

    def add_task(
        self, image_id: str, *stores: str, **fields: Any
    ) -> dict[str, Any]:
        """A task of a copy."""
        task = {
            'id': str(uuid.uuid4()),
            'type': 'api_image_import',
            'status': 'processing',
            'message': '',
            'updated_at': stamp(self.clock.utcnow()),
            'input': {
                'import_req': {'method': {'name': 'copy-image'}},
                'backend': list(stores),
            },
            **fields,
        }
        self.tasks.setdefault(image_id, []).append(task)
        return task

    def lock(
        self, image_id: str, *stores: str, **fields: Any
    ) -> dict[str, Any]:
        """Have a copy hold an image for ever: its task."""
        task = self.add_task(image_id, *stores, **fields)
        self.images[image_id] |= {
            LOCK: task['id'],
            IMPORTING: ','.join(stores),
        }
        return task

    def held(self, image_id: str) -> set[str]:
        """The stores that have an image."""
        return set(_listed(self.images[image_id], 'stores'))

    def request(
        self, path: str, method: str, **more: Any
    ) -> requests.Response:
        """A request, as ``openstack.proxy.Proxy.request`` takes it."""
        assert more.pop('raise_exc') is False
        assert more.pop('redirect') is False
        self.asked.append((method, path))
        self._keep_waiting(more.pop('timeout', None), method)
        self._go_on()
        endpoint = more.pop('endpoint_override', None)
        if endpoint is not None:
            path = path.removeprefix('/v2')
            if self.data.get(endpoint, 200) is None:
                raise ksa_exceptions.ConnectFailure(f'{endpoint} is away')
        for verb, pattern, answer in self._routes:
            found = _match(pattern, path)
            if verb == method and found is not None:
                try:
                    return _response(*answer(*found, endpoint, **more))
                except Refusal as refusal:
                    return _error(refusal)
        return _error(Refusal(404, 'no such resource'))

    def _keep_waiting(self, timeout: float | None, method: str) -> None:
        """Give no answer yet; none at all if the client loses patience."""
        if self.clock.now < self.away_until:
            raise ksa_exceptions.ConnectFailure(
                'Unable to establish connection to http://glance-1/v2/images'
            )
        takes = max(
            self.silent_until - self.clock.now,
            self.deletion if method == 'DELETE' else 0.0,
        )
        assert timeout is not None, 'it may hang for ever'
        if takes > 0:
            self.clock.sleep(min(takes, timeout))
        if takes > timeout:
            raise ksa_exceptions.ConnectTimeout(
                'Request to http://glance-1/v2/images timed out'
            )

    def _list_stores(self, _endpoint: str | None, **_more: Any) -> Any:
        return 200, {
            'stores': [
                {'id': name, **fields} for name, fields in self.stores.items()
            ]
        }

    def _detail_stores(self, endpoint: str | None, **_more: Any) -> Any:
        self._require_admin()
        return self._list_stores(endpoint)

    def _list_images(
        self, _endpoint: str | None, params: Mapping[str, str]
    ) -> Any:
        hidden = params.get('os_hidden', 'false') == 'true'
        found = [
            image
            for image in self.images.values()
            if image['os_hidden'] is hidden
            and params.get('name') in (None, image['name'])
            and self._lists(image, params.get('visibility'))
            and _since(params.get('updated_at')) <= image['updated_at']
        ]
        ids = [image['id'] for image in found]
        first = ids.index(params['marker']) + 1 if 'marker' in params else 0
        limit = min(int(params['limit']), 1000)
        page = found[first : first + limit]
        body: dict[str, Any] = {'images': page}
        if len(page) == limit:
            query = urllib.parse.urlencode(
                {**params, 'marker': page[-1]['id']}
            )
            body['next'] = f'/v2/images?{query}'
        return 200, body

    def _lists(self, image: Mapping[str, Any], asked: str | None) -> bool:
        """Whether a list has an image, as ``_image_get_all`` decides.

        :param asked: the visibility that the list is to be limited to
        """
        own = image['owner'] == ('admin' if self.admin else 'demo')
        visibility = image['visibility']
        if asked is None and visibility == 'community' and not own:
            return False
        return asked in (None, 'all', visibility) and (
            self.admin or own or visibility in ('public', 'community')
        )

    def _image(self, image_id: str) -> dict[str, Any]:
        if image_id not in self.images or image_id in self.gone:
            raise Refusal(404, f'No image found with ID {image_id}')
        return self.images[image_id]

    def _show(self, image_id: str, _endpoint: str | None, **_more: Any) -> Any:
        return 200, self._image(image_id)

    def _list_tasks(
        self, image_id: str, _endpoint: str | None, **_more: Any
    ) -> Any:
        self._image(image_id)
        tasks = self.tasks.get(image_id, []) if self.tasks_shown else []
        return 200, {'tasks': tasks}

    def _list_locations(
        self, image_id: str, _endpoint: str | None, **_more: Any
    ) -> Any:
        if not self.tells_locations:
            raise Refusal(404, 'The resource could not be found.')
        self._require_admin()
        self._image(image_id)
        if image_id in self.locations:
            return 200, self.locations[image_id]
        return 200, [
            {'url': self._url(image_id, store), 'metadata': {'store': store}}
            for store in sorted(self.held(image_id))
        ]

    def _url(self, image_id: str, store: str) -> str:
        """Where a store has an image that it has stored today."""
        details: Any = self.stores.get(store, {}).get('properties')
        if details is None:
            return f'file:///{store}/{image_id}'
        return f'rbd://{details["fsid"]}/{details["pool"]}/{image_id}/snap'

    def _first_byte(
        self, image_id: str, endpoint: str, *, stream: bool, **_more: Any
    ) -> Any:
        assert stream
        self._image(image_id)
        status = self.data.get(endpoint, 200)
        assert status is not None
        if status >= 400:
            raise Refusal(status, 'no data')
        return status, b'x' if status == 200 else b''

    def _import(
        self, image_id: str, _endpoint: str | None, **more: Any
    ) -> Any:
        body = more['json']
        image = self._image(image_id)
        if not self.admin:
            raise Refusal(403, 'You are not authorized to complete copy_image')
        if image['status'] != 'active':
            raise Refusal(
                409, 'Only images with status active can be targeted'
            )
        self._take_over(image)
        for store in body['stores']:
            if store not in self.stores:
                raise Refusal(409, f'Store {store} is unknown')
            if store in self.held(image_id):
                raise Refusal(
                    400, f"Image is already present at store '{store}'"
                )
        task = self.add_task(image_id, *body['stores'], status='pending')
        image[LOCK] = task['id']
        self._copies[image_id] = Copy(
            image_id,
            task,
            list(body['stores']),
            self.clock.now + self.start,
            body['all_stores_must_succeed'],
        )
        return 202, b''

    def _take_over(self, image: dict[str, Any]) -> None:
        """Drop a lock that has aged, as ``_enforce_import_lock`` does."""
        if LOCK not in image:
            return
        for task in self.tasks.get(image['id'], []):
            if task['id'] != image[LOCK]:
                continue
            hours = 2 if task['status'] == 'pending' else 1
            age = self.clock.utcnow() - datetime.datetime.strptime(
                task['updated_at'], '%Y-%m-%dT%H:%M:%SZ'
            )
            if age < datetime.timedelta(hours=hours):
                raise Refusal(409, 'Image has active task')
        del image[LOCK]

    def _delete(
        self, store: str, image_id: str, _endpoint: str | None, **_more: Any
    ) -> Any:
        image = self._image(image_id)
        self._require_admin()
        held = self.held(image_id)
        if len(held) == 1:
            raise Refusal(403, 'Cannot delete image data from the only store')
        if store not in held:
            raise Refusal(404, f'Image {image_id} is not stored in {store}')
        if (image_id, store) in self.in_use:
            raise Refusal(409, 'The data could not be deleted: in use')
        image['stores'] = ','.join(sorted(held - {store}))
        return 204, b''

    def _require_admin(self) -> None:
        if not self.admin:
            raise Refusal(403, 'You are not authorized to complete this')

    def _go_on(self) -> None:
        """Bring all copies to where they are by now."""
        for copy in [*self._copies.values()]:
            while copy.left and self.clock.now >= copy.since:
                self._begin(copy)
                if self.clock.now < copy.since + self.pace:
                    share = (self.clock.now - copy.since) / self.pace
                    size = self.images[copy.image]['size']
                    copy.task['message'] = (
                        f'Copied {int(share * size) // MIB} MiB'
                    )
                    break
                self._end_store(copy)

    def _begin(self, copy: Copy) -> None:
        copy.task['updated_at'] = stamp(self.clock.utcnow())
        if copy.task['status'] != 'pending':
            return
        copy.task['status'] = 'processing'
        image = self.images[copy.image]
        image['updated_at'] = stamp(self.clock.utcnow())
        image[IMPORTING] = ','.join(copy.left)
        image[FAILED] = ','.join(
            store for store in _listed(image, FAILED) if store not in copy.left
        )

    def _end_store(self, copy: Copy) -> None:
        image = self.images[copy.image]
        store = copy.left.pop(0)
        copy.since += self.pace
        reason = self.failures.get(store)
        if reason is None:
            image['stores'] = ','.join([*_listed(image, 'stores'), store])
        else:
            image[FAILED] = ','.join([*_listed(image, FAILED), store])
            if copy.all_must_succeed:
                copy.left.clear()
                copy.task |= {'status': 'failure', 'message': reason}
        image[IMPORTING] = ','.join(copy.left)
        if not copy.left:
            if copy.task['status'] != 'failure':
                copy.task |= {'status': 'success', 'message': ''}
            if image.get(LOCK) == copy.task['id']:
                del image[LOCK]
            del self._copies[copy.image]


def _listed(image: Mapping[str, Any], name: str) -> list[str]:
    return [store for store in image.get(name, '').split(',') if store]


def _since(updated_at: str | None) -> str:
    return (updated_at or '').removeprefix('gte:')


def _match(pattern: str, path: str) -> list[str] | None:
    words, found = path.strip('/').split('/'), []
    if len(words) != len(pattern.split('/')):
        return None
    for word, wanted in zip(words, pattern.split('/'), strict=True):
        if wanted == '{}':
            found.append(urllib.parse.unquote(word))
        elif word != wanted:
            return None
    return found


def _response(status: int, body: object) -> requests.Response:
    answer = requests.Response()
    answer.status_code = status
    answer._content = (
        body if isinstance(body, bytes) else json.dumps(body).encode()
    )
    answer._content_consumed = True
    return answer


def _error(refusal: Refusal) -> requests.Response:
    """As webob writes it, whatever the client accepts."""
    return _response(
        refusal.status,
        (
            f'<html>\n <head>\n  <title>{refusal.status} Refused</title>\n'
            f' </head>\n <body>\n  <h1>{refusal.status} Refused</h1>\n'
            f'  {html.escape(str(refusal))}<br /><br />\n\n\n </body>\n</html>'
        ).encode(),
    )
