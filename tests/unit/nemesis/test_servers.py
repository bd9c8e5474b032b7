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


"""What is left of the servers of a run."""

import random
import types

import pytest
import requests

from tests.nemesis import events
from tests.nemesis import faults
from tests.nemesis import servers


class Nova:
    """Has servers, and answers nothing to the first question."""

    def __init__(self, *ids):
        self.compute = self
        self.ids = set(ids)
        self.status = 'ACTIVE'
        self._fails = True

    def servers(self, **_how):
        if self._fails:
            self._fails = False
            raise requests.Timeout('no answer')
        return [types.SimpleNamespace(id=server) for server in self.ids]

    def delete_server(self, server, **_how):
        self.ids.discard(server)

    def find_server(self, server, **_how):
        if server == 'lost':
            raise requests.Timeout('no answer')

    def get_server(self, server):
        return types.SimpleNamespace(
            id=server, status=self.status, task_state=None, fault=None
        )

    def find_flavor(self, *_names, **_how):
        return types.SimpleNamespace(id='a-flavor')

    def create_server(self, **_how):
        self.ids.add('made')
        return types.SimpleNamespace(id='made')

    def reboot_server(self, _server, _how):
        self.status = 'ERROR'


@pytest.fixture
def journal(tmp_path):
    return events.Journal(tmp_path / 'history.jsonl')


def test_servers_of_which_no_answer_told_are_deleted_and_noted(
    monkeypatch, journal
):
    nova = Nova('known', 'lost')
    monkeypatch.setattr(faults, 'connect', lambda *_: nova)
    monkeypatch.setattr(servers.polling.time, 'sleep', lambda _: None)
    users = servers.Servers(None, list, None, journal)
    users._made.append('known')
    users.end()
    assert nova.ids == set()
    (deleted,) = [each for each in journal.events() if each.what == 'servers']
    assert deleted.details['ids'] == ['known', 'lost']


class Chance(random.Random):
    """Draws the first of all, and so many numbers in turn."""

    def __init__(self, *numbers):
        super().__init__(0)
        self._numbers = list(numbers)

    def randrange(self, *_limits):
        return self._numbers.pop(0)


@pytest.fixture
def live_one(monkeypatch, journal):
    """Have one server, by some numbers that are drawn: what is noted."""
    monkeypatch.setattr(servers.polling.time, 'sleep', lambda _: None)
    monkeypatch.setattr(servers, 'STEP', 0.0)
    image = types.SimpleNamespace(id='an-image', disk_format='raw')
    where = types.SimpleNamespace(sites=[types.SimpleNamespace(name='west')])

    def live(nova, *numbers):
        users = servers.Servers(
            where, lambda: [image], Chance(*numbers), journal
        )
        users._compute = nova
        users._live_one()
        return users, [
            (event.what, event.details.get('status'))
            for event in journal.events()
        ]

    return live


def test_one_of_some_servers_is_deleted_in_the_middle(live_one):
    _, noted = live_one(Nova(), 0)
    assert noted == [('server deleted', None)]


def test_what_becomes_of_a_server_that_something_is_done_to_is_noted(
    live_one,
):
    _, noted = live_one(Nova(), 1, 2, 1)
    assert sorted(noted, key=str) == [
        ('server deleted', None),
        ('server', 'ACTIVE'),
        ('server', 'ERROR'),
    ]


def test_one_that_never_comes_up_is_noted_in_the_end(
    live_one, journal, monkeypatch
):
    nova = Nova()
    nova.status = 'BUILD'
    users, noted = live_one(nova, 1, 1)
    assert noted == []
    monkeypatch.setattr(faults, 'connect', lambda *_: nova)
    monkeypatch.setattr(servers, 'STEP', 0.0)
    nova._fails = False
    users.end()
    (late,) = (each for each in journal.events() if each.what == 'server')
    assert late.details['status'] == 'BUILD'
