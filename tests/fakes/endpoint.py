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

"""One glance-api process, in good health or bad."""

from collections.abc import Callable
import json
from typing import Any
import urllib.parse

import requests

from tests.fakes import clock as clocks
from tests.fakes import glance_api
from tests.fakes import network

USER = 'token-of-demo'
SERVICE = 'token-of-nova'
#: Of a separate identity: an administrator, in a project of its own.
DEPUTY = 'token-of-deputy'

_ERROR_PAGE = """<html>
 <head>
  <title>{title}</title>
 </head>
 <body>
  <h1>{title}</h1>
  {explanation}<br /><br />


 </body>
</html>"""

_REASONS = {
    400: 'Bad Request',
    401: 'Unauthorized',
    403: 'Forbidden',
    404: 'Not Found',
    409: 'Conflict',
    413: 'Request Entity Too Large',
    500: 'Internal Server Error',
    503: 'Service Unavailable',
}


def error_page(status: int, explanation: str) -> network.Answer:
    """An error as Glance (webob) writes it."""
    title = f'{status} {_REASONS[status]}'
    page = _ERROR_PAGE.format(title=title, explanation=explanation)
    return network.Answer(status, page.encode(), 'text/html; charset=UTF-8')


#: Seconds after which the client gives a request up.
TIMEOUT = 60.0

#: Of an endpoint that hangs: no answer comes.
FOR_EVER = float('inf')

#: A Glance without a health check takes the path for an unknown version.
NO_HEALTHCHECK = network.Answer(300, b'{"versions": []}')

#: As much of the schema of images as glanceclient needs.
_SCHEMA = {
    'name': 'image',
    'properties': {
        name: {}
        for name in (
            *('id', 'name', 'status', 'owner', 'visibility', 'size', 'tags'),
            *('disk_format', 'container_format', 'virtual_size', 'schema'),
        )
    },
    'additionalProperties': {'type': 'string'},
}

HEALTHY = network.Answer(200, b'OK', 'text/plain; charset=UTF-8')
SICK = network.Answer(503, b'FILE PATH MISSING', 'text/plain; charset=UTF-8')


class Endpoint:
    """Answers for Glance, behind the check of the tokens.

    :param api: what it answers from
    :param name: by which that knows it
    :param clock: that runs on while it takes its time
    :param timeout: seconds that the request under way has, if its own
    :ivar answers: answers or exceptions of its own, by the end of the path
    :ivar seconds: that an answer takes, by the end of the path
    :ivar fault: answer or exception to everything, None to be well
    :ivar expired: whether the user's token is good beside a service token
        only
    :ivar users: the project of each token
    :ivar asked: requests so far
    """

    def __init__(
        self,
        api: glance_api.GlanceApi,
        name: str = '',
        clock: clocks.Clock | None = None,
        timeout: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._api = api
        self._name = name
        self._clock = clock
        self._timeout = timeout
        self.answers: dict[str, network.Answer | Exception] = {
            '/healthcheck': HEALTHY
        }
        self.seconds: dict[str, float] = {}
        self.fault: network.Answer | Exception | None = None
        self.expired = False
        self.users = {USER: 'demo'}
        self.asked: list[network.Request] = []

    @property
    def paths(self) -> list[str]:
        """Methods and paths that were asked for."""
        return [
            f'{request.method} {network.address(request).path}'
            for request in self.asked
        ]

    def __call__(self, request: network.Request) -> network.Answer:
        self.asked.append(request)
        path = network.address(request).path
        self._take_time(path)
        own = self.fault or next(
            (
                answer
                for end, answer in self.answers.items()
                if path.endswith(end)
            ),
            None,
        )
        if isinstance(own, Exception):
            raise own
        if own is not None:
            return own
        try:
            return self._answer(request, path.partition('/v2/')[2])
        except glance_api.Refusal as refusal:
            return error_page(refusal.status, refusal.explanation)

    def _take_time(self, path: str) -> None:
        seconds = sum(
            seconds
            for end, seconds in self.seconds.items()
            if path.endswith(end)
        )
        timeout = self._timeout() or TIMEOUT
        if seconds:
            assert self._clock is not None
            self._clock.idle(min(seconds, timeout))
        if seconds >= timeout:
            raise requests.ReadTimeout('no answer in time')

    def _answer(self, request: network.Request, path: str) -> network.Answer:
        requester = self._requester(request)
        address = network.address(request)
        given = request.headers.get('X-OpenStack-Request-ID')
        headers = {
            'x-openstack-request-id': text(given)
            or f'req-{self._api.new_id()}'
        }
        no_json = 'text/html; charset=UTF-8'
        body: Any
        match [request.method or '', *path.split('/')]:
            case ['GET', '']:
                body = {'versions': [{'id': 'v2.17', 'status': 'SUPPORTED'}]}
            case ['GET', 'schemas', 'image']:
                body = _SCHEMA
            case ['GET', 'info', 'stores']:
                body = self._api.show_stores(self._name)
            case ['PATCH', 'images', image]:
                body = self._api.change(
                    requester, image, json.loads(request.body)
                )
            case ['PUT', 'images', image, 'file']:
                self._api.upload(
                    requester,
                    image,
                    sum(map(len, request.body)),
                    text(request.headers.get('x-image-meta-store')),
                    self._name,
                )
                return network.Answer(204, b'', no_json, headers)
            case ['GET', 'images']:
                query = dict(urllib.parse.parse_qsl(address.query))
                body = self._api.list_images(
                    requester,
                    limit=int(query.pop('limit')),
                    **query,
                )
            case ['POST', 'images', image, 'locations']:
                told = json.loads(request.body)
                self._api.add_location(
                    requester,
                    image,
                    told['url'],
                    self._name,
                    told.get('validation_data', {}).get('os_hash_value'),
                )
                return network.Answer(202, b'', no_json, headers)
            case ['DELETE', 'images', image]:
                self._api.delete(requester, image)
                return network.Answer(204, b'', no_json, headers)
            case [_, 'images', image]:
                body = self._api.show(requester, image, self._name)
            case [_, 'images', image, 'locations']:
                body = self._api.locations(requester, image, self._name)
            case [_, 'images', image, 'tasks']:
                body = self._api.show_tasks(requester, image, self._name)
            case [_, 'images', image, 'import']:
                request_id = self._api.import_image(
                    requester, image, json.loads(request.body), self._name
                )
                return network.Answer(
                    202,
                    content_type=no_json,
                    headers={'x-openstack-request-id': request_id},
                )
            case _:
                raise glance_api.Refusal(404, 'The resource was not found')
        return network.Answer(200, json.dumps(body).encode(), headers=headers)

    def _requester(self, request: network.Request) -> glance_api.Requester:
        service = text(request.headers.get('X-Service-Token'))
        user = text(request.headers.get('X-Auth-Token'))
        request_id = text(request.headers.get('X-OpenStack-Request-ID'))
        if user == DEPUTY:
            return glance_api.Requester(
                project='deputy', admin=True, request_id=request_id
            )
        project = self.users.get(user or '')
        if project is None or service not in (None, SERVICE):
            raise glance_api.Refusal(401, 'This server could not verify')
        if self.expired and service is None:
            raise glance_api.Refusal(401, 'This server could not verify')
        return glance_api.Requester(
            project=project,
            service=service is not None,
            request_id=request_id,
        )


def text(header: str | bytes | None) -> str | None:
    return header.decode() if isinstance(header, bytes) else header
