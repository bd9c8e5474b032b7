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
import threading

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

    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f'http://127.0.0.1:{server.server_port}', lambda: len(asked)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
