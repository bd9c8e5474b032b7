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


"""Have many stories happen; tell those in which something breaks."""

import argparse
import collections
from concurrent import futures
import dataclasses
import logging
import os
import sys
import time

import prettytable

from tests.simulation import checks
from tests.simulation import history as histories
from tests.simulation import made
from tests.simulation import mutants
from tests.simulation import shrinking
from tests.simulation import stories
from tests.simulation import telling
from tests.simulation import world

#: Runs that one process does at a time.
BATCH = 25

#: Runs, unless told otherwise.
RUNS = 1000

#: Runs in which a mutant has to be found, unless told otherwise.
MOST_RUNS = 2000


@dataclasses.dataclass(frozen=True)
class Finding:
    """A story in which something breaks, and what.

    :ivar seed: None of one that was made for a mended fault
    """

    seed: int | None
    broken: list[str]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog='python -m tests.simulation', description=__doc__
    )
    parser.add_argument(
        '--runs',
        type=int,
        help=f'{RUNS} by default; at most {MOST_RUNS} for each mutant',
    )
    parser.add_argument('--seed', type=int, default=0, help='the first one')
    parser.add_argument(
        '--processes', type=int, default=os.cpu_count(), help='at a time'
    )
    parser.add_argument(
        '--mutants',
        action='store_true',
        help='make each mended fault again, and see that it is found',
    )
    parser.add_argument(
        '--tell',
        action='store_true',
        help='tell the story of --seed, shrunk if something breaks in it',
    )
    given = parser.parse_args()
    if given.tell:
        print(_told(given.seed))
        return 0
    with futures.ProcessPoolExecutor(
        given.processes, initializer=_quieten
    ) as pool:
        if given.mutants:
            most = given.runs or MOST_RUNS
            return _try_mutants(pool, given.seed, most)
        return _simulate(pool, given.seed, given.runs or RUNS)


def _simulate(pool: futures.ProcessPoolExecutor, seed: int, runs: int) -> int:
    began = time.monotonic()
    batches = [
        range(first, min(first + BATCH, seed + runs))
        for first in range(seed, seed + runs, BATCH)
    ]
    found: list[Finding] = []
    outcomes: collections.Counter[str] = collections.Counter()
    spent = 0.0
    for findings, counted, seconds in pool.map(_run_all, batches):
        found += findings
        outcomes += counted
        spent += seconds
        for finding in findings:
            print(
                f'seed {finding.seed}:',
                *finding.broken,
                sep='\n  ',
                flush=True,
            )
    took = time.monotonic() - began
    print(
        ', '.join(f'{count} {what}' for what, count in outcomes.most_common())
    )
    print(
        f'{runs} runs from seed {seed} in {took:.0f} s: {runs / took:.0f} a '
        f'second, {runs / spent:.0f} a second of a processor. '
        f'{len(found)} with something broken'
    )
    if found and found[0].seed is not None:
        print('\nThe first of them, without what does not matter:\n')
        print(_told(found[0].seed))
    return bool(found)


def _try_mutants(
    pool: futures.ProcessPoolExecutor, seed: int, most: int
) -> int:
    table = prettytable.PrettyTable(
        ['runs', 'mended fault', 'found by'], align='l'
    )
    hunts = {
        pool.submit(_hunt, seed, most, index): mutant
        for index, mutant in enumerate(mutants.MUTANTS)
    }
    for hunt in futures.as_completed(hunts):
        print(f'{hunts[hunt].fault}: {hunt.result()}', file=sys.stderr)
    for hunt, mutant in hunts.items():
        finding = hunt.result()
        if finding is None:
            table.add_row([f'over {most}', mutant.fault, 'nothing'])
            continue
        by = finding.broken[0].partition(':')[0].replace('_', ' ')
        runs = 'a story' if finding.seed is None else finding.seed - seed + 1
        table.add_row([runs, mutant.fault, by])
    print(table.get_string())
    return None in [hunt.result() for hunt in hunts]


def _hunt(first: int, most: int, index: int) -> Finding | None:
    """The story made for a mutant, or the first run in which it is found."""
    mutant = mutants.MUTANTS[index]
    story = made.STORIES.get(mutant.fault)
    if story is not None:
        with mutant.at_work():
            broken = _broken(story)
        return Finding(None, broken) if broken else None
    for seed in range(first, first + most):
        with mutant.at_work():
            broken = _broken(stories.draw(seed))
        # Unless it is a finding of its own.
        if broken and not _broken(stories.draw(seed)):
            return Finding(seed, broken)
    return None


def _run_all(
    seeds: range,
) -> tuple[list[Finding], collections.Counter[str], float]:
    began = time.process_time()
    findings = []
    outcomes: collections.Counter[str] = collections.Counter()
    for seed in seeds:
        try:
            history = world.run(stories.draw(seed))
        except world.Endless as exc:
            findings.append(Finding(seed, [f'it does not end: {exc}']))
            continue
        outcomes += collections.Counter(_words(history))
        broken = checks.broken(history)
        if broken:
            findings.append(Finding(seed, broken))
    return findings, outcomes, time.process_time() - began


def _words(history: histories.History) -> list[str]:
    return [boot.outcome for boot in history.boots]


def _broken(story: stories.Story) -> list[str]:
    try:
        return checks.broken(world.run(story))
    except world.Endless as exc:
        return [f'it does not end: {exc}']


def _told(seed: int) -> str:
    _quieten()
    story = stories.draw(seed)
    kinds = {what.partition(':')[0] for what in _broken(story)}
    if kinds:

        def is_bad(candidate: stories.Story) -> bool:
            found = {what.partition(':')[0] for what in _broken(candidate)}
            return bool(found & kinds)

        story = shrinking.shrink(story, is_bad)
    return telling.tell(story)


def _quieten() -> None:
    # What operators are told, thousands of times.
    logging.disable(logging.CRITICAL)


if __name__ == '__main__':
    sys.exit(main())
