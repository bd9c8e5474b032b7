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

"""How much room there is, as Nova is told it."""

import logging

import pytest

from nova_rbd_multistore import exceptions
from nova_rbd_multistore import room
from tests.fakes import clock as clocks

MUCH = {'total': 3.0, 'free': 2.0, 'used': 1.0}
LITTLE = {'total': 3.0, 'free': 0.5, 'used': 2.5}


class Pool:
    """A pool to look at.

    :ivar looks: how often somebody did
    :ivar error: what they get instead
    """

    def __init__(self):
        self.room = MUCH
        self.looks = 0
        self.error = None

    def look(self):
        self.looks += 1
        if self.error:
            raise self.error
        return dict(self.room)


@pytest.fixture
def clock():
    return clocks.Clock()


@pytest.fixture
def pool():
    return Pool()


@pytest.fixture
def seen(clock, pool):
    """What is told of the pool at this moment."""
    known = room.Room(clock.monotonic)
    return lambda: known.seen_by(pool.look)


AWAY = exceptions.ClusterUnreachable('timed out')


def test_it_is_looked_at_each_time(pool, seen):
    assert seen() == MUCH
    pool.room = LITTLE
    assert seen() == LITTLE


@pytest.mark.parametrize(
    'error',
    [
        AWAY,
        exceptions.ClusterRefused('wrong key'),
        exceptions.PoolUnusable('vms', 'no such pool'),
    ],
)
def test_what_was_seen_last_is_told_while_the_cluster_is_away(
    pool, seen, caplog, error
):
    pool.room = LITTLE
    seen()
    pool.error = error
    assert seen() == LITTLE
    (line,) = caplog.messages
    assert 'Cannot see how much room' in line
    assert str(error) in line


def test_nothing_is_told_of_what_was_never_seen(pool, seen, caplog):
    pool.error = AWAY
    for _ in range(2):
        with pytest.raises(exceptions.ClusterUnreachable):
            seen()
    assert pool.looks == 2
    assert caplog.messages == []


def test_an_error_of_another_kind_is_not_hidden(pool, seen):
    seen()
    pool.error = KeyError()
    with pytest.raises(KeyError):
        seen()


def test_of_many_builds_one_waits_for_a_cluster_that_is_away(
    pool, seen, clock, caplog
):
    seen()
    pool.error = AWAY
    for _ in range(10):
        assert seen() == MUCH
    assert pool.looks == 2
    clock.advance(room.AGAIN)
    seen()
    assert pool.looks == 3
    assert len(caplog.records) == 2
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_it_is_looked_at_again_when_the_cluster_is_back(pool, seen, clock):
    seen()
    pool.error = AWAY
    seen()
    pool.error, pool.room = None, LITTLE
    clock.advance(room.AGAIN)
    assert seen() == LITTLE
    pool.room = MUCH
    assert seen() == MUCH
