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

"""Prometheus comes and asks, over HTTP.

Whoever reaches the port may also hold it up. That is all they can do: they
take neither threads nor the time of the process without bound.
"""

from collections.abc import Callable
import io
import ipaddress
import socket
import socketserver
import threading
import time
from typing import Any
from wsgiref import simple_server

from oslo_log import log as logging
import prometheus_client

from nova_rbd_multistore import connections

LOG = logging.getLogger(__name__)

#: Seconds that whoever asks has for their whole question.
PATIENCE = 10.0
#: Questions at once. Others wait in the system's queue.
AT_ONCE = 8
#: Seconds until the next attempt where no connection could be accepted.
PAUSE = 1.0


class _Handler(simple_server.WSGIRequestHandler):
    """Answers one question, and logs nothing."""

    server: '_Server'

    def setup(self) -> None:
        super().setup()
        pieces = connections.Pieces(
            self.rfile.detach(), self.connection, self.server.patience
        )
        self.rfile = io.BufferedReader(pieces)

    def log_message(self, *_args: Any) -> None:
        pass


class _Server(socketserver.ThreadingMixIn, simple_server.WSGIServer):
    daemon_threads = True
    patience = PATIENCE

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.free = threading.Semaphore(AT_ONCE)

    def server_bind(self) -> None:
        # Not http.server's, which asks the DNS for a name that nobody uses:
        # nova-compute would start when that has answered.
        socketserver.TCPServer.server_bind(self)
        name, port = self.server_address[:2]
        self.server_name, self.server_port = str(name), int(port)
        self.setup_environ()

    def process_request_thread(self, request: Any, client: Any) -> None:
        try:
            super().process_request_thread(request, client)
        finally:
            self.free.release()

    def handle_error(self, _request: Any, client: Any) -> None:
        LOG.debug('Cannot answer %s', client, exc_info=True)


class _ServerOfIPv6(_Server):
    address_family = socket.AF_INET6


class Port:
    """A port where whoever asks is answered.

    :param address: ``<host>:<port>``
    :param told: what they are told from
    :param patience: seconds that they have for a whole question
    :param sleep: waits so many seconds
    :raises OSError: if that address is not to be had
    """

    def __init__(
        self,
        address: str,
        told: prometheus_client.CollectorRegistry,
        patience: float = PATIENCE,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._address = address
        self._sleep = sleep
        self._fails = False
        host, _, port = address.rpartition(':')
        host = host.strip('[]')
        self._server = simple_server.make_server(
            host,
            int(port),
            prometheus_client.make_wsgi_app(told),
            _ServerOfIPv6 if _is_ipv6(host) else _Server,
            _Handler,
        )
        self._server.patience = patience

    def answer_all(self) -> None:
        """Answer until the process ends, each question in a thread."""
        # Not serve_forever(): under eventlet, its selector may be one that
        # stops the whole process.
        while True:
            self.answer_next()

    def answer_next(self) -> None:
        """Accept one connection, and answer it in a thread of its own."""
        self._server.free.acquire()
        try:
            request, client = self._server.get_request()
        except OSError as exc:
            self._server.free.release()
            self._wait_after(exc)
            return
        self._fails = False
        try:
            self._server.process_request(request, client)
        except Exception:
            # No thread was to be had.
            self._server.free.release()
            self._server.handle_error(request, client)
            self._server.shutdown_request(request)

    def _wait_after(self, exc: OSError) -> None:
        if not self._fails:
            LOG.warning(
                'Cannot accept connections at %s, where metrics are served: '
                '%s. Trying again each second.',
                self._address,
                exc,
            )
        self._fails = True
        self._sleep(PAUSE)


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False
