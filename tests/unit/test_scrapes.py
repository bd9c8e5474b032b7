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

import errno
import socket
import threading
import time

import prometheus_client
import pytest
import requests

from nova_rbd_multistore import beside
from nova_rbd_multistore import scrapes


@pytest.fixture
def address():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return f'127.0.0.1:{probe.getsockname()[1]}'


@pytest.fixture
def serve(address):
    """A function: answer at the address, in a thread."""

    def serve(**settings):
        registry = prometheus_client.CollectorRegistry()
        prometheus_client.Gauge('pigs', 'That fly', registry=registry).set(1)
        port = scrapes.Port(address, registry, **settings)
        beside.start(port.answer_all)
        return port

    return serve


def connect(address):
    host, port = address.split(':')
    return socket.create_connection((host, int(port)), timeout=60)


def is_cut_off(peer):
    """Say a little more."""
    try:
        peer.sendall(b'G')
    except OSError:
        return True
    time.sleep(0.05)
    return False


def is_answered(address):
    answer = requests.get(f'http://{address}/metrics', timeout=60)
    return 'pigs 1.0' in answer.text


def test_who_trickles_a_question_is_cut_off(serve, address):
    serve(patience=1)

    with connect(address) as peer:
        assert any(is_cut_off(peer) for _ in range(200))
    assert is_answered(address)


def test_who_is_cut_off_leaves_no_trace_on_the_terminal(serve, address, capfd):
    serve(patience=0.1)

    with connect(address) as peer:
        assert peer.recv(1) == b''

    assert is_answered(address)
    assert capfd.readouterr().err == ''


def test_many_who_say_nothing_take_few_threads(serve, address):
    serve()
    before = threading.active_count()

    peers = [connect(address) for _ in range(3 * scrapes.AT_ONCE)]
    with peers[-1]:
        while threading.active_count() < before + scrapes.AT_ONCE:
            time.sleep(0.01)
        # Time in which there would be more.
        time.sleep(0.5)
        assert threading.active_count() == before + scrapes.AT_ONCE
        for peer in peers[:-1]:
            peer.close()
        assert is_answered(address)


def test_where_no_connection_can_be_accepted_it_waits_and_says_so_once(
    serve, address, monkeypatch, caplog
):
    slept = []
    registry = prometheus_client.CollectorRegistry()
    port = scrapes.Port(address, registry, sleep=slept.append)

    def none_left(_server):
        raise OSError(errno.EMFILE, 'Too many open files')

    monkeypatch.setattr(scrapes._Server, 'get_request', none_left)
    # More often than there are questions at once.
    for _ in range(scrapes.AT_ONCE + 2):
        port.answer_next()

    assert slept == [scrapes.PAUSE] * (scrapes.AT_ONCE + 2)
    (record,) = caplog.records
    assert 'Too many open files' in record.getMessage()
    assert address in record.getMessage()


def test_no_name_is_asked_of_the_dns(monkeypatch, address):
    """It may not answer, and nova-compute starts after that."""
    monkeypatch.setattr(socket, 'getfqdn', lambda *_args: pytest.fail('asked'))
    scrapes.Port(address, prometheus_client.CollectorRegistry())
