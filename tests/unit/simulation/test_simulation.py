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


"""The simulation: the same each time, shrinkable, and able to find faults."""

import dataclasses
import inspect
import os
import subprocess
import sys

import pytest

from tests.simulation import checks
from tests.simulation import made
from tests.simulation import mutants
from tests.simulation import shrinking
from tests.simulation import stories
from tests.simulation import telling
from tests.simulation import world

#: A story with a fault of each kind of target.
SEED = 72


def test_a_seed_is_the_same_story_each_time():
    assert stories.draw(SEED) == stories.draw(SEED)
    assert stories.draw(SEED) != stories.draw(SEED + 1)


@pytest.mark.parametrize('hash_seed', ['1', '2'])
def test_a_story_goes_the_same_way_in_each_process(hash_seed):
    script = (
        'import logging; logging.disable(logging.CRITICAL);'
        'from tests.simulation import stories, world;'
        f'print(world.run(stories.draw({SEED})))'
    )
    other = subprocess.run(
        [sys.executable, '-c', script],
        env={**os.environ, 'PYTHONHASHSEED': hash_seed},
        check=True,
        capture_output=True,
        text=True,
    )
    assert other.stdout.strip() == str(world.run(stories.draw(SEED)))


@pytest.mark.parametrize('seed', range(8))
def test_nothing_is_broken(seed):
    assert checks.broken(world.run(stories.draw(seed))) == []


@pytest.mark.parametrize(
    'mutant', mutants.MUTANTS, ids=[one.fault for one in mutants.MUTANTS]
)
def test_each_mend_can_still_be_taken_out(mutant):
    before = inspect.getattr_static(mutant.owner, mutant.method)
    with mutant.at_work():
        now = inspect.getattr_static(mutant.owner, mutant.method)
        assert now is not before
    assert inspect.getattr_static(mutant.owner, mutant.method) is before


def test_a_mend_that_is_no_longer_there_is_noticed():
    stale = dataclasses.replace(mutants.MUTANTS[0], mend='no such line')
    with pytest.raises(mutants.Stale), stale.at_work():
        pass


def test_a_story_is_shrunk_to_what_matters():
    story = dataclasses.replace(
        stories.draw(SEED),
        faults=(
            stories.Fault(stories.Kind.DOWN, 'api-1', 3.21, 7.89),
            stories.Fault(stories.Kind.AWAY, 'west', 5.43, 2.1),
        ),
    )

    def is_bad(candidate):
        return any(
            fault.kind is stories.Kind.AWAY for fault in candidate.faults
        )

    shrunk = shrinking.shrink(story, is_bad)
    assert shrunk.boots == ()
    (fault,) = shrunk.faults
    assert (fault.at, fault.seconds) == (5.0, 2.0)


def test_a_run_is_told_from_its_story_to_what_is_broken():
    told = telling.tell(stories.draw(SEED))
    assert told.startswith(f'Seed {SEED}: ')
    assert 'begins to boot vm-1' in told
    assert 'log: ' in told
    assert told.endswith('Nothing is broken.')


def test_a_run_that_goes_round_in_circles_is_ended(monkeypatch):
    monkeypatch.setattr(world, 'MOST_STEPS', 50)
    with pytest.raises(world.Endless):
        world.run(stories.draw(SEED))


@pytest.mark.parametrize('fault', made.STORIES)
def test_a_mended_fault_is_found_in_a_story_made_for_it(fault):
    story = made.STORIES[fault]
    assert checks.broken(world.run(story)) == []
    (mutant,) = [one for one in mutants.MUTANTS if one.fault == fault]
    with mutant.at_work():
        assert checks.broken(world.run(story))
