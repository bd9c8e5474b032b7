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

"""Connections whose answers come in time, and from where they were asked for.

Python's time-outs are for one piece of an answer: a server that trickles bytes
would hold a thread for ever. keystoneauth follows redirects, with all tokens,
to another host, and from https to http too. requests reads the whole
environment twice for each request, to look for proxies: a fifth of what a
request costs the processor.
"""

from collections.abc import Callable, Iterable
import functools
import http.client
import io
import socket
import time
from typing import Any
import urllib.parse

import requests

from nova_rbd_multistore import text

#: What Keystone's tokens go in.
_TOKENS = ('X-Auth-Token', 'X-Service-Token')


class Pieces(io.RawIOBase):
    """The pieces of what a peer sends, until its time is over.

    :param pieces: where they come from
    :param sock: the socket behind it
    :param seconds: time for all of them
    :raises TimeoutError: when they are read after that
    """

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
            raise TimeoutError('it took too long as a whole')
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
            pieces = Pieces(self.fp.detach(), sock, seconds)
            self.fp = io.BufferedReader(pieces)


def limit(session: requests.Session) -> None:
    """Have the time-outs of a session's requests limit whole answers."""
    adapters: Iterable[Any] = session.adapters.values()
    for adapter in adapters:
        if hasattr(adapter, 'poolmanager'):
            _limit_pools(adapter.poolmanager)
            adapter.proxy_manager_for = _limiting(adapter.proxy_manager_for)


def _limiting(make: Callable[..., Any]) -> Callable[..., Any]:
    """What makes managers of pools, changed to make limited ones."""

    def make_limited(*args: Any, **kwargs: Any) -> Any:
        manager = make(*args, **kwargs)
        _limit_pools(manager)
        return manager

    return make_limited


def _limit_pools(manager: Any) -> None:
    manager.pool_classes_by_scheme = {
        scheme: _limited(pool)
        for scheme, pool in manager.pool_classes_by_scheme.items()
    }


@functools.cache
def _limited(pool: type[Any]) -> type[Any]:
    connection = pool.ConnectionCls
    if connection.response_class is _Response:
        return pool
    limited = type(
        connection.__name__, (connection,), {'response_class': _Response}
    )
    # Named as urllib3's own: errors show the name.
    return type(pool.__name__, (pool,), {'ConnectionCls': limited})


def refuse_redirects(session: requests.Session) -> None:
    """Have a session's requests with a token fail where they are redirected.

    They would take the token to wherever the answer says. Logging in to
    Keystone takes none along.
    """
    hooks: list[Any] = session.hooks['response']
    if _refuse_redirect not in hooks:
        hooks.append(_refuse_redirect)


def _refuse_redirect(
    response: requests.Response, *_args: Any, **_kwargs: Any
) -> None:
    # 300 is Glance's list of its versions, and leads nowhere.
    if not 300 < response.status_code < 400:
        return
    if any(name in response.request.headers for name in _TOKENS):
        response.close()
        there = text.without_credentials(response.headers.get('Location', ''))
        raise requests.TooManyRedirects(
            f'HTTP {response.status_code}: it redirects to '
            f'"{text.printable(there, 120)}", where no token goes'
        )


def read_environment_once(session: requests.Session) -> None:
    """Have a session look for proxies and CAs once for each server.

    What it finds is in the process's environment, and stays as it was when the
    first request went to that server.
    """
    # Any, for it is to be a method.
    altered: Any = session
    read = altered.merge_environment_settings

    @functools.cache
    def found(origin: str, *settings: Any) -> dict[str, Any]:
        settings_there: dict[str, Any] = read(origin, {}, *settings)
        return settings_there

    def merge(
        url: str, proxies: dict[str, str] | None, *settings: Any
    ) -> dict[str, Any]:
        if proxies:
            merged: dict[str, Any] = read(url, proxies, *settings)
            return merged
        parts = urllib.parse.urlsplit(url)
        once = found(f'{parts.scheme}://{parts.netloc}', *settings)
        # Whoever gets them may alter them.
        return {**once, 'proxies': dict(once['proxies'])}

    altered.merge_environment_settings = merge
