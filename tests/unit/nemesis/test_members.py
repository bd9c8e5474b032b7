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

"""What is noted of the boots of a host that may be killed."""

import dataclasses
import subprocess

import pytest

from tests.nemesis import events
from tests.nemesis import members


@dataclasses.dataclass
class Outcome:
    began: float = 5.0
    seconds: float = 2.0
    error: str | None = None
    message: str = ''


class Host:
    """A host that ends boots when it is told to."""

    def __init__(self):
        self.code = None
        self.said = 'terminate called'
        self.lives = 0
        self.hangs = False
        self._asked = []
        self._ended = {}

    def live(self):
        self.lives += 1
        self.code = None
        self._asked, self._ended = [], {}

    def also_boot(self, _user, _image):
        if self.code is not None:
            raise BrokenPipeError
        self._asked.append(f'disk-{self.lives}-{len(self._asked)}')
        return self._asked[-1]

    def end_boots(self):
        self._ended = {disk: Outcome() for disk in self._asked}

    def ended(self):
        return self._ended

    def outcomes(self):
        if self.hangs:
            raise subprocess.TimeoutExpired('host_process', 300)
        if self.code:
            raise AssertionError(f'the host ended with {self.code}')
        self.end_boots()

    def kill(self):
        if self.code is None:
            self.code = -9


@pytest.fixture
def host():
    return Host()


@pytest.fixture
def journal(tmp_path):
    return events.Journal(tmp_path / 'history.jsonl')


@pytest.fixture
def member(host, journal):
    made = members.Member('host-0', host, 'west', 'demo', journal)
    made.start()
    return made


def boots(journal):
    return {
        event.about: event.details['seconds']
        for event in journal.events()
        if event.what == 'boot'
    }


def crashes(journal):
    return [
        (event.about, event.details['code'])
        for event in journal.events()
        if event.what == 'crash'
    ]


def test_what_has_become_of_each_boot_is_noted(member, journal):
    member.boot(None, 'an-image')
    member.finish()
    assert boots(journal) == {'disk-1-0': 2.0}


def test_the_boots_of_one_that_is_killed_went_with_it(member, host, journal):
    member.boot(None, 'an-image')
    host.end_boots()
    member.boot(None, 'an-image')
    member.end_by(host.kill)
    assert boots(journal) == {'disk-1-0': 2.0, 'disk-1-1': None}
    assert crashes(journal) == []


def test_one_that_does_not_end_is_noted_and_killed(member, host, journal):
    def end():
        raise subprocess.TimeoutExpired('host_process', 300)

    member.boot(None, 'an-image')
    member.end_by(end)
    assert host.code == -9
    assert {event.what for event in journal.events()} == {'hang', 'boot'}


def test_one_that_is_down_boots_nothing_and_is_not_ended(
    member, host, journal
):
    member.end_by(host.kill)
    member.boot(None, 'an-image')
    member.finish()
    assert boots(journal) == {}


def test_one_that_was_killed_lives_again_once(member, host, journal):
    member.end_by(host.kill)
    member.start()
    member.start()
    member.boot(None, 'an-image')
    member.finish()
    assert host.lives == 2
    assert boots(journal) == {'disk-2-0': 2.0}


@pytest.mark.parametrize('notices', ['look', 'boot'])
def test_one_that_dies_by_itself_is_noted_and_lives_again(
    member, host, journal, notices
):
    host.code = -11
    if notices == 'boot':
        member.boot(None, 'an-image')
    else:
        member.look()
    assert crashes(journal) == [('host-0', -11)]
    assert host.lives == 2


def test_one_that_dies_at_the_end_is_noted(member, host, journal):
    member.boot(None, 'an-image')
    host.code = -6
    member.finish()
    assert crashes(journal) == [('host-0', -6)]
    assert boots(journal) == {'disk-1-0': None}


def test_the_boots_of_one_that_hangs_have_not_ended(member, host, journal):
    member.boot(None, 'an-image')
    host.hangs = True
    member.finish()
    assert boots(journal) == {'disk-1-0': None}
    assert crashes(journal) == []
