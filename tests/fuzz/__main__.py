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

"""Fuzz all that reads what others send: ``tox -e fuzz``.

libFuzzer ends its process, so each target runs in one of its own. What makes
a target fail is left beside the corpus and named; add it to the corpus, with
a unit test, when it is repaired.
"""

import argparse
import math
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

import atheris

from tests.fuzz import mutation
from tests.fuzz import targets

HERE = pathlib.Path(__file__).parent
COMMAND = (sys.executable, '-m', 'tests.fuzz', '--in-process')
EXECUTED = re.compile(r'stat::number_of_executed_units:\s*(\d+)')


def fuzz(target: str, options: list[str]) -> None:
    """Have libFuzzer work in this process, which ends with it."""
    # With -merge, libFuzzer runs its first argument again, in a shell.
    again = shlex.join([*COMMAND, target])
    mutator = mutation.mutate if target in targets.JSON else None
    atheris.Setup(
        [again, *options], targets.TARGETS[target], custom_mutator=mutator
    )
    atheris.Fuzz()


def libfuzzer(target: str, *options: object) -> str | None:
    """What libFuzzer says after its work in a process; None on failure."""
    done = subprocess.run(
        [
            *(*COMMAND, target),
            *('-max_len=1024', '-timeout=10', '-rss_limit_mb=1024'),
            *('-print_final_stats=1', '-verbosity=0'),
            f'-artifact_prefix={HERE}/{target}-',
            *map(str, options),
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        return None
    return done.stderr


def run(target: str, limit: str, grow: bool) -> int | None:
    """Fuzz a target; how often it was run, None if it failed."""
    kept = HERE / 'corpus' / target
    with tempfile.TemporaryDirectory() as found:
        # What is new goes to the first directory.
        said = libfuzzer(target, limit, found, kept)
        if said is None:
            return None
        if grow and libfuzzer(target, '-merge=1', kept, found) is None:
            return None
    return int(EXECUTED.findall(said)[-1])


def main() -> int:
    if sys.argv[1:2] == ['--in-process']:
        fuzz(sys.argv[2], sys.argv[3:])
    parser = argparse.ArgumentParser(prog='fuzz', description=__doc__)
    parser.add_argument(
        '--seconds', type=int, default=60, help='for all targets together'
    )
    parser.add_argument(
        '--runs', type=int, help='of all targets together, instead of seconds'
    )
    parser.add_argument(
        '--grow', action='store_true', help='keep what covers new code'
    )
    arguments = parser.parse_args()

    share = len(targets.TARGETS)
    limit = f'-max_total_time={max(arguments.seconds // share, 1)}'
    if arguments.runs:
        limit = f'-runs={math.ceil(arguments.runs / share)}'
    counts = {}
    for target in targets.TARGETS:
        counts[target] = run(target, limit, arguments.grow)
        print(f'{target:16} {counts[target] or "FAILED"}', flush=True)
    print(f'{"all":16} {sum(count or 0 for count in counts.values())}')
    return 1 if None in counts.values() else 0


if __name__ == '__main__':
    sys.exit(main())
