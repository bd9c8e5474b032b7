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


"""What is noted of a machine that is slow by itself."""

import contextlib
import http.server
import socket
import threading
import time

import pytest

from tests.nemesis import events
from tests.nemesis import slowness


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers at once."""

    def do_GET(self):
        self.send_response(300)
        self.end_headers()

    def log_message(self, *_args):
        """Say nothing."""


@pytest.fixture
def journal(tmp_path):
    return events.Journal(tmp_path / 'history.jsonl')


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(slowness, 'LOOKS', 0.01)
    monkeypatch.setattr(slowness, 'GIVEN_UP', 0.3)
    monkeypatch.setattr(slowness, 'QUICK', 0.2)


@contextlib.contextmanager
def hanging():
    """The URL of what takes connections, and says nothing."""
    with socket.create_server(('127.0.0.1', 0)) as server:
        yield f'http://127.0.0.1:{server.getsockname()[1]}'


@contextlib.contextmanager
def answering():
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f'http://127.0.0.1:{server.server_port}'
        server.shutdown()
        thread.join()


def noted(journal):
    return {event.about for event in journal.events()}


def wait_for(what, journal):
    ends_at = time.monotonic() + 30
    while what not in noted(journal):
        assert time.monotonic() < ends_at
        time.sleep(0.02)


def test_what_hangs_is_noted_and_what_answers_or_is_down_is_not(journal):
    with hanging() as hangs, answering() as answers:
        urls = {
            'hangs': hangs,
            'answers': answers,
            'down': 'http://127.0.0.1:9',
        }
        with slowness.Watch(urls, journal).run():
            wait_for('hangs', journal)
    (first, *_) = (each for each in journal.events() if each.about == 'hangs')
    assert first.what == 'slow'
    assert first.details['seconds'] > 0.2
    assert not noted(journal) & {'answers', 'down'} - {'sleep'}


def test_a_sleep_that_ends_late_is_noted(journal, monkeypatch):
    monkeypatch.setattr(slowness, 'LATE', -1.0)
    with slowness.Watch({}, journal).run():
        wait_for('sleep', journal)
    assert noted(journal) == {'sleep'}
    assert time.time() - journal.events()[0].at < 60.0
