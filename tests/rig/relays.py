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

"""Servers that hang, and relays that stand before a real server."""

from collections.abc import Iterable, Iterator, Mapping
import contextlib
import http.client
import http.server
import itertools
import socketserver
import threading
import time
from typing import Self
import urllib.parse

from tests.rig import strange_servers

#: Seconds after which a relay waits for no answer any more.
GIVEN_UP = 600.0


@contextlib.contextmanager
def hanging(drip: bytes = b'', pause: float = 0.5) -> Iterator[str]:
    """The URL of a server that takes requests, and never finishes an answer.

    :param drip: what it sends every ``pause`` seconds, if it sends anything
    """
    over = threading.Event()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            if drip:
                self.request.sendall(b'HTTP/1.1 200 OK\r\n')
            with contextlib.suppress(OSError):
                while not over.wait(pause):
                    self.request.sendall(drip)

    with strange_servers.serving(
        Handler, socketserver.ThreadingTCPServer
    ) as url:
        try:
            yield url
        finally:
            over.set()


class Relay:
    """Stands before a real server, and lets requests through or does not.

    :param behind: URL of that server
    :ivar url: its own
    :ivar passed: requests that it has let through
    :ivar refused: those that it has not
    """

    url: str

    def __init__(self, behind: str) -> None:
        self._behind = urllib.parse.urlsplit(behind)
        self.passed: list[str] = []
        self.refused: list[str] = []

    def hold_up(self, path: str, /) -> float:
        """Seconds for which a request is refused, 0 to let it through."""
        del path
        return 0.0

    @contextlib.contextmanager
    def run(self) -> Iterator[Self]:
        """Serve until the end."""
        relay = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def do_GET(self) -> None:
                body = self._body()
                seconds = relay.hold_up(self.path)
                if seconds:
                    relay.refused.append(self.path)
                    self._say(429, {'Retry-After': f'{seconds:.0f}'}, b'')
                    return
                relay.passed.append(self.path)
                self._say(*relay.ask(self, body))

            do_POST = do_PUT = do_PATCH = do_GET  # noqa: N815

            def _body(self) -> bytes | Iterable[bytes]:
                if self.headers.get('Transfer-Encoding') == 'chunked':
                    # Whatever is not read of it would be the next request.
                    self.close_connection = True
                    return self._chunks()
                return self.rfile.read(
                    int(self.headers.get('Content-Length') or 0)
                )

            def _chunks(self) -> Iterator[bytes]:
                while size := int(self.rfile.readline(), 16):
                    yield self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()

            def _say(
                self, status: int, headers: Mapping[str, str], body: bytes
            ) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header('Content-Length', str(len(body)))
                if self.close_connection:
                    self.send_header('Connection', 'close')
                # Perhaps nobody waits for it any more.
                with contextlib.suppress(ConnectionError):
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_args: object) -> None:
                """Say nothing."""

        with strange_servers.serving(Handler) as self.url:
            yield self

    def ask(
        self,
        request: http.server.BaseHTTPRequestHandler,
        body: bytes | Iterable[bytes],
    ) -> tuple[int, dict[str, str], bytes]:
        """What the server behind answers."""
        assert self._behind.hostname is not None
        connection = http.client.HTTPConnection(
            self._behind.hostname, self._behind.port, timeout=GIVEN_UP
        )
        with contextlib.closing(connection):
            headers = {
                name: value
                for name, value in request.headers.items()
                if name.lower() not in ('host', 'connection')
            }
            connection.request(
                request.command,
                request.path,
                body,
                headers,
                encode_chunked='Transfer-Encoding' in request.headers,
            )
            answer = connection.getresponse()
            said = {
                name: value
                for name, value in answer.getheaders()
                if name.lower().startswith(('content-type', 'x-openstack'))
            }
            return answer.status, said, answer.read()


class Limiter(Relay):
    """Lets so many requests through in each second, and refuses the rest."""

    def __init__(self, behind: str, rate: int) -> None:
        super().__init__(behind)
        self._rate = rate
        self._one_at_a_time = threading.Lock()
        self._second = 0
        self._let_through = 0

    def hold_up(self, _path: str, /) -> float:
        with self._one_at_a_time:
            second = int(time.monotonic())
            if second != self._second:
                self._second, self._let_through = second, 0
            self._let_through += 1
            return float(self._let_through > self._rate)


class Slow(Relay):
    """Passes each request on late, as a server does that has much to do."""

    def __init__(self, behind: str, seconds: float) -> None:
        super().__init__(behind)
        self._seconds = seconds

    def hold_up(self, _path: str, /) -> float:
        time.sleep(self._seconds)
        return 0.0


class DownloadsElsewhere(Relay):
    """Sends whoever downloads an image to another address.

    :param there: that address
    :ivar redirected: paths of these downloads
    """

    def __init__(self, behind: str, there: str) -> None:
        super().__init__(behind)
        self._there = there
        self.redirected: list[str] = []

    def ask(
        self,
        request: http.server.BaseHTTPRequestHandler,
        body: bytes | Iterable[bytes],
    ) -> tuple[int, dict[str, str], bytes]:
        if not request.path.endswith('/file'):
            return super().ask(request, body)
        self.redirected.append(request.path)
        return 307, {'Location': self._there + request.path}, b''


class NoServerAtFirst(Relay):
    """Refuses the first upload, as a load balancer without a server does.

    :ivar uploads: paths of all uploads
    """

    def __init__(self, behind: str) -> None:
        super().__init__(behind)
        self.uploads: list[str] = []

    def ask(
        self,
        request: http.server.BaseHTTPRequestHandler,
        body: bytes | Iterable[bytes],
    ) -> tuple[int, dict[str, str], bytes]:
        if request.command == 'PUT':
            self.uploads.append(request.path)
            if len(self.uploads) == 1:
                return 503, {}, b''
        return super().ask(request, body)


class LosesTheBeginning(Relay):
    """Passes uploads on without the first of what comes."""

    def ask(
        self,
        request: http.server.BaseHTTPRequestHandler,
        body: bytes | Iterable[bytes],
    ) -> tuple[int, dict[str, str], bytes]:
        if request.command == 'PUT':
            assert not isinstance(body, bytes)
            body = itertools.islice(body, 1, None)
        return super().ask(request, body)


class Failing(Relay):
    """Answers 500 for as long as it is to.

    :ivar fails: whether it is
    """

    def __init__(self, behind: str) -> None:
        super().__init__(behind)
        self.fails = False

    def ask(
        self,
        request: http.server.BaseHTTPRequestHandler,
        body: bytes | Iterable[bytes],
    ) -> tuple[int, dict[str, str], bytes]:
        return (500, {}, b'') if self.fails else super().ask(request, body)


class Unwell(Relay):
    """Never answers ``/healthcheck``, as where a file system hangs."""

    def __init__(self, behind: str) -> None:
        super().__init__(behind)
        self._over = threading.Event()

    @contextlib.contextmanager
    def run(self) -> Iterator[Self]:
        with super().run():
            try:
                yield self
            finally:
                self._over.set()

    def hold_up(self, path: str, /) -> float:
        if path.endswith('/healthcheck'):
            self._over.wait()
        return 0.0
