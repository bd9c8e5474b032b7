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

"""HTTP without sockets, below the real keystoneauth and glanceclient."""

from collections.abc import Callable, Mapping
import dataclasses
import io
from typing import Any, Protocol
import urllib.parse

import requests
from requests import adapters
import urllib3


class Request(Protocol):
    """As much of ``requests.PreparedRequest`` as servers look at."""

    @property
    def method(self) -> str | None: ...

    @property
    def url(self) -> str | None: ...

    @property
    def headers(self) -> Mapping[str, Any]: ...

    @property
    def body(self) -> Any: ...


def address(request: Request) -> urllib.parse.SplitResult:
    """The parts of a request's URL."""
    return urllib.parse.urlsplit(request.url or '')


#: What answers the requests to one host.
Server = Callable[[Request], 'Answer']


@dataclasses.dataclass(frozen=True)
class Answer:
    """An HTTP answer; ``length`` to announce more than there is."""

    status: int
    body: bytes = b''
    content_type: str = 'application/json'
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    length: int | None = None


class Network(adapters.HTTPAdapter):
    """Takes each request to the server of its host, in this process.

    :ivar servers: by host, as in the URL (with the port, if any)
    :ivar timeout: seconds of the last request, if it had its own
    """

    def __init__(self) -> None:
        super().__init__()
        self.servers: dict[str, Server] = {}
        self.timeout: float | None = None

    def session(self) -> requests.Session:
        """A session of requests that leads nowhere but here."""
        session = requests.Session()
        self.mount_on(session)
        return session

    def mount_on(self, session: requests.Session) -> None:
        """Have a session of requests lead nowhere but here."""
        session.mount('http://', self)
        session.mount('https://', self)

    def send(
        self,
        request: requests.PreparedRequest,
        *_args: Any,
        timeout: Any = None,
        **_kwargs: Any,
    ) -> requests.Response:
        self.timeout = timeout
        host = address(request).netloc.rpartition('@')[2]
        server = self.servers.get(host)
        if server is None:
            raise requests.ConnectionError(
                f'[Errno 111] connection refused: {request.url}'
            )
        answer = server(request)
        length = len(answer.body) if answer.length is None else answer.length
        return self.build_response(
            request,
            urllib3.HTTPResponse(
                body=io.BytesIO(answer.body),
                headers={
                    'Content-Type': answer.content_type,
                    'Content-Length': str(length),
                    **answer.headers,
                },
                status=answer.status,
                preload_content=False,
            ),
        )
