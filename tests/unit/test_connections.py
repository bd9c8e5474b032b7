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

"""Answers that trickle, over a pair of sockets."""

import contextlib
import itertools
import socket
import threading
import time

import pytest
import requests
from urllib3 import connectionpool

from nova_rbd_multistore import connections

#: Seconds for a whole answer, and between two pieces of it.
TIMEOUT, DRIP = 0.3, 0.05

HEAD = b'HTTP/1.1 200 OK\r\n'


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(TIMEOUT)
        yield ours, theirs


def send(sock, pieces):
    """Send pieces, each a while after the one before, until nobody listens."""

    def run():
        with contextlib.suppress(OSError):
            for piece in pieces:
                sock.sendall(piece)
                time.sleep(DRIP)

    threading.Thread(target=run, daemon=True).start()


def answer(sock):
    response = connections._Response(sock, method='GET')
    response.begin()
    return response.read()


def test_an_answer_is_read(pair):
    ours, theirs = pair
    theirs.sendall(HEAD + b'Content-Length: 5\r\n\r\nhello')
    assert answer(ours) == b'hello'


def test_an_answer_in_pieces_is_read(pair):
    ours, theirs = pair
    send(theirs, [HEAD, b'Content-Length: 5\r\n', b'\r\n', b'he', b'llo'])
    assert answer(ours) == b'hello'


@pytest.mark.parametrize(
    'pieces',
    [
        itertools.repeat(b'H'),
        itertools.chain([HEAD], itertools.repeat(b'X: y\r\n')),
        itertools.chain(
            [HEAD, b'Content-Length: 99999\r\n\r\n'], itertools.repeat(b'x')
        ),
    ],
    ids=['status', 'headers', 'body'],
)
def test_an_answer_that_trickles_for_ever_ends_in_time(pair, pieces):
    ours, theirs = pair
    send(theirs, pieces)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        answer(ours)
    assert TIMEOUT <= time.monotonic() - began < 20 * TIMEOUT


def test_no_answer_at_all_ends_in_time(pair):
    ours, _ = pair
    with pytest.raises(TimeoutError):
        answer(ours)


def test_without_a_time_out_there_is_no_limit(pair):
    ours, theirs = pair
    ours.settimeout(None)
    theirs.sendall(HEAD + b'Content-Length: 0\r\n\r\n')
    assert answer(ours) == b''


@pytest.mark.parametrize('scheme', ['http', 'https'])
def test_all_connections_of_a_session_are_limited(scheme):
    session = requests.Session()
    connections.limit(session)
    manager = session.adapters[f'{scheme}://'].poolmanager
    pool = manager.connection_from_url(f'{scheme}://glance:9292/')
    assert isinstance(pool, connectionpool.HTTPConnectionPool)
    assert pool.ConnectionCls.response_class is connections._Response


def test_a_session_with_other_adapters_is_left_alone():
    session = requests.Session()
    session.mount('file://', object())
    connections.limit(session)
