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

"""HTTP servers that are no Glance, though they stand where one should be."""

from collections.abc import Callable, Iterator
import contextlib
import http.server
import socketserver
import ssl
import threading
import time

import requests

#: What each kind of stranger says to everything: status, type, body.
ANSWERS = {
    'HTML': (200, 'text/html', b'<html><body>Welcome to nginx!</body></html>'),
    'truncated JSON': (200, 'application/json', b'{"id": "1e2f3e84-379b'),
    'JSON of the wrong types': (
        200,
        'application/json',
        b'{"id": 7, "status": [], "stores": ["west"]}',
    ),
    'no body': (200, 'application/json', b''),
    'another answer': (200, 'application/json', b'[1, 2, 3]'),
    'an error page': (502, 'text/html', b'<h1>502 Bad Gateway</h1>'),
}


@contextlib.contextmanager
def answering(
    status: int, content_type: str, body: bytes
) -> Iterator[tuple[str, Callable[[], int]]]:
    """The URL of such a server, and how often it was asked."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.rfile.read(int(self.headers.get('Content-Length') or 0))
            self.send_response(status)
            self.send_header('Content-Type', content_type)
            self.send_header('Content-Length', str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    with serving(Handler) as address:
        yield address, lambda: len(asked)


class LateServer:
    """A server before Glance whose images are of a moment ago.

    As from a replica of the database that lags: what has changed in a record,
    its locations or its tasks is shown some seconds after it was first asked
    for.

    :param url: of the glance-api that has the truth
    :ivar answers: method, path and status of each
    """

    def __init__(self, url: str, seconds: float) -> None:
        self._glance = url
        self._seconds = seconds
        self._lock = threading.Lock()
        self._shown: dict[str, requests.Response] = {}
        self._changed: dict[str, float] = {}
        self.answers: list[tuple[str, str, int]] = []

    def answer(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> requests.Response:
        """What Glance says, or said a moment ago."""
        now = requests.request(
            method,
            self._glance + path,
            headers=headers,
            data=body,
            timeout=60,
        )
        if method == 'GET' and path.startswith('/v2/images/'):
            now = self._late(path, now)
        self.answers.append((method, path, now.status_code))
        return now

    def _late(self, path: str, now: requests.Response) -> requests.Response:
        with self._lock:
            shown = self._shown.setdefault(path, now)
            if now.content == shown.content:
                return shown
            since = self._changed.setdefault(path, time.monotonic())
            if time.monotonic() - since < self._seconds:
                return shown
            del self._changed[path]
            self._shown[path] = now
            return now


@contextlib.contextmanager
def late(url: str, seconds: float) -> Iterator[tuple[str, LateServer]]:
    """The URL of a server that tells what was so some seconds ago."""
    glance = LateServer(url, seconds)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
            headers = {
                name: value
                for name, value in self.headers.items()
                if name.lower() not in ('host', 'connection')
            }
            answer = glance.answer(self.command, self.path, headers, body)
            self.send_response(answer.status_code)
            for name in ('Content-Type', 'X-Openstack-Request-Id'):
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            self.send_header('Content-Length', str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    with serving(Handler) as address:
        yield address, glance


@contextlib.contextmanager
def thief() -> Iterator[tuple[str, list[str]]]:
    """The URL of a server that is after tokens, and the names of those sent.

    Not the tokens themselves: a test that fails would show them.
    """
    stolen: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get('Content-Length') or 0))
            stolen.extend(
                name for name in self.headers if name.endswith('-Token')
            )
            self.send_error(404)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    with serving(Handler) as address:
        yield address, stolen


@contextlib.contextmanager
def redirecting(
    there: str, tls: ssl.SSLContext | None = None
) -> Iterator[str]:
    """The URL of a server that sends whoever asks it to another address.

    :param tls: by which to serve it, None for none
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get('Content-Length') or 0))
            self.send_response(307)
            self.send_header('Location', there + self.path)
            self.send_header('Content-Length', '0')
            self.end_headers()

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    with serving(Handler, tls=tls) as address:
        yield address


@contextlib.contextmanager
def serving(
    handler: type[socketserver.BaseRequestHandler],
    kind: type[socketserver.TCPServer] = http.server.ThreadingHTTPServer,
    tls: ssl.SSLContext | None = None,
) -> Iterator[str]:
    """Serve until the end; the URL."""
    server = kind(('127.0.0.1', 0), handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    # Or its end would wait for clients that keep their connections.
    server.daemon_threads = True  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        scheme = 'https' if tls else 'http'
        yield f'{scheme}://127.0.0.1:{server.server_address[1]}'
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
