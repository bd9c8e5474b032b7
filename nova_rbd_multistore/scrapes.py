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

"""Prometheus comes and asks, over HTTP."""

import ipaddress
import socket
import socketserver
from typing import Any
from wsgiref import simple_server

from oslo_log import log as logging
import prometheus_client

LOG = logging.getLogger(__name__)

#: Seconds that whoever asks has for their question.
_PATIENCE = 10


class _Handler(simple_server.WSGIRequestHandler):
    """Answers one question, and logs nothing.

    ``timeout`` is of the class above: nobody keeps a thread for ever.
    """

    timeout = _PATIENCE

    def log_message(self, *_args: Any) -> None:
        pass


class _Server(socketserver.ThreadingMixIn, simple_server.WSGIServer):
    daemon_threads = True


class _ServerOfIPv6(_Server):
    address_family = socket.AF_INET6


class Port:
    """A port where whoever asks is answered.

    :param address: ``<host>:<port>``
    :param told: what they are told from
    :raises OSError: if that address is not to be had
    """

    def __init__(
        self, address: str, told: prometheus_client.CollectorRegistry
    ) -> None:
        host, _, port = address.rpartition(':')
        host = host.strip('[]')
        self._server = simple_server.make_server(
            host,
            int(port),
            prometheus_client.make_wsgi_app(told),
            _ServerOfIPv6 if _is_ipv6(host) else _Server,
            _Handler,
        )

    def answer_all(self) -> None:
        """Answer until the process ends, each question in a thread."""
        # Not serve_forever(): under eventlet, its selector may be one that
        # stops the whole process.
        while True:
            try:
                request, client = self._server.get_request()
            except OSError:
                continue
            try:
                self._server.process_request(request, client)
            except Exception:
                LOG.debug('Cannot answer %s', client, exc_info=True)
                self._server.shutdown_request(request)


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False
