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


@pytest.mark.parametrize('scheme', ['http', 'https'])
def test_so_are_those_through_a_proxy(scheme):
    session = requests.Session()
    connections.limit(session)
    for _ in range(2):
        adapter = session.get_adapter(f'{scheme}://glance:9292/')
        manager = adapter.proxy_manager_for('http://proxy:3128')
        pool = manager.connection_from_url(f'{scheme}://glance:9292/')
        assert isinstance(pool, connectionpool.HTTPConnectionPool)
        assert pool.ConnectionCls.response_class is connections._Response
        assert type(pool).__name__ == f'{scheme.upper()}ConnectionPool'


def test_a_proxy_that_trickles_ends_in_time():
    proxy = socket.create_server(('127.0.0.1', 0))
    host, port = proxy.getsockname()

    def serve():
        client, _ = proxy.accept()
        client.recv(65536)
        head = HEAD + b'Content-Length: 400\r\n\r\n'
        send(client, itertools.chain([head], itertools.repeat(b'x')))

    session = requests.Session()
    connections.limit(session)
    threading.Thread(target=serve, daemon=True).start()
    began = time.monotonic()
    with proxy, pytest.raises(requests.RequestException):
        session.get(
            'http://glance:9292/',
            proxies={'http': f'http://{host}:{port}'},
            timeout=TIMEOUT,
        )
    assert TIMEOUT <= time.monotonic() - began < 20 * TIMEOUT


def test_a_session_with_other_adapters_is_left_alone():
    session = requests.Session()
    session.mount('file://', object())
    connections.limit(session)


# The environment


@pytest.fixture
def clean_environment(monkeypatch):
    for name in ('http_proxy', 'HTTP_PROXY', 'no_proxy', 'NO_PROXY'):
        monkeypatch.delenv(name, raising=False)
    for name in ('REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE'):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.fixture
def session():
    made = requests.Session()
    connections.read_environment_once(made)
    return made


def settings(session, url='http://glance:9292/v2/images/1', proxies=None):
    # As requests calls it.
    return session.merge_environment_settings(url, proxies, None, True, None)


def test_a_proxy_of_the_environment_is_taken(clean_environment, session):
    clean_environment.setenv('http_proxy', 'http://proxy:3128')
    clean_environment.setenv('no_proxy', 'near')
    clean_environment.setenv('REQUESTS_CA_BUNDLE', '/etc/ssl/ours.pem')
    far = settings(session)
    near = settings(session, 'http://near:9292/v2/images/1')
    assert far['proxies']['http'] == 'http://proxy:3128'
    assert 'http' not in near['proxies']
    assert far['verify'] == near['verify'] == '/etc/ssl/ours.pem'


def test_the_environment_is_read_once_for_a_server(clean_environment, session):
    found = settings(session)
    found['proxies']['http'] = 'http://by-whoever-got-them'
    clean_environment.setenv('http_proxy', 'http://proxy:3128')
    assert settings(session, 'http://glance:9292/v2/images/2') == {
        **found,
        'proxies': {},
    }
    assert settings(session, 'http://other:9292/')['proxies']


def test_proxies_of_one_request_are_not_kept(clean_environment, session):
    of_one = settings(session, proxies={'http': 'http://proxy:3128'})
    assert of_one['proxies'] == {'http': 'http://proxy:3128'}
    assert settings(session)['proxies'] == {}


def test_all_is_as_requests_has_it(clean_environment, session):
    assert settings(session) == settings(requests.Session())
