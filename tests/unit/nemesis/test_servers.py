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
        return types.SimpleNamespace(id=server)


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
