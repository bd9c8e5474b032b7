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

"""Connections whose answers come within a time as a whole, or not at all.

Python's time-outs are for one piece of an answer: a server that trickles bytes
would hold a thread for ever.
"""

import http.client
import io
import socket
import time
from typing import Any

import requests
from urllib3 import connection
from urllib3 import connectionpool


class _Pieces(io.RawIOBase):
    """The pieces of an answer, until its time is over."""

    def __init__(
        self, pieces: io.RawIOBase, sock: socket.socket, seconds: float
    ) -> None:
        super().__init__()
        self._pieces = pieces
        self._sock = sock
        self._deadline = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError('the answer took too long as a whole')
        self._sock.settimeout(left)
        return self._pieces.readinto(buffer)

    def close(self) -> None:
        self._pieces.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        # What is meant for one piece is the time of all.
        seconds = sock.gettimeout()
        if seconds is not None:
            pieces = _Pieces(self.fp.detach(), sock, seconds)
            self.fp = io.BufferedReader(pieces)


class _Connection(connection.HTTPConnection):
    response_class = _Response


class _TLSConnection(connection.HTTPSConnection):
    response_class = _Response


class HTTPConnectionPool(connectionpool.HTTPConnectionPool):
    # Named as urllib3's own: errors show the name.
    ConnectionCls = _Connection


class HTTPSConnectionPool(connectionpool.HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


def limit(session: requests.Session) -> None:
    """Have the time-outs of a session's requests limit whole answers.

    Not of those that go through a proxy.
    """
    for adapter in session.adapters.values():
        manager: Any = getattr(adapter, 'poolmanager', None)
        if manager is not None:
            manager.pool_classes_by_scheme = {
                'http': HTTPConnectionPool,
                'https': HTTPSConnectionPool,
            }
