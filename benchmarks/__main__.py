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


"""Measure, show a table, and keep the figures: ``python -m benchmarks``.

Needs the lab, up, and its virtual environment; tools/bench.sh sees to both.
"""

import argparse
from collections.abc import Callable
import json
import signal
import sys
import time
from typing import Any

from benchmarks import boots
from benchmarks import cpu
from benchmarks import ground
from benchmarks import hanging
from benchmarks import machine
from benchmarks import report
from benchmarks import runs
from benchmarks import storms

#: What can be asked for by name, in the order of the table.
BLOCKS: dict[str, Callable[[runs.Run], list[report.Figure]]] = {
    'boot-disk': boots.boot_disk,
    'end-of-a-copy': boots.end_of_a_copy,
    'failed-copy': boots.failed_copy,
    'hanging-endpoint': hanging.hanging_endpoint,
    'first-boot-on-both-sites': storms.first_boot_on_both_sites,
    'storm-on-one-host': storms.storm_on_one_host,
    'storm-on-one-site': storms.storm_on_one_site,
    'waiting': storms.waiting,
    'processor': cpu.processor,
    'scaling': boots.scaling,
}


def measure(wanted: list[str], quick: bool) -> dict[str, Any]:
    facts = machine.facts()
    found: list[report.Figure] = []
    began = time.monotonic()
    with ground.Ground() as where:
        run = runs.Run(where, quick)
        for name in wanted:
            print(f'{time.monotonic() - began:6.1f} s  {name}', flush=True)
            found += BLOCKS[name](run)
    return {
        'machine': facts,
        'quick': quick,
        'seconds': round(time.monotonic() - began),
        'figures': [figure.as_dict() for figure in found],
        'storms': run.storms,
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog='benchmarks', description=__doc__)
    parser.add_argument(
        'figures',
        nargs='*',
        metavar='figure',
        help=f'all, if none is named: {", ".join(BLOCKS)}',
    )
    parser.add_argument(
        '--quick',
        action='store_true',
        help='a few samples of each, to see that it runs',
    )
    parser.add_argument(
        '--json', metavar='FILE', help='write the figures to FILE'
    )
    parser.add_argument(
        '--keep',
        action='store_true',
        help='write them to where the documentation takes them from',
    )
    arguments = parser.parse_args()
    unknown = set(arguments.figures) - BLOCKS.keys()
    if unknown:
        parser.error(f'no such figure: {", ".join(sorted(unknown))}')
    # So that what was made goes when one has waited enough, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results = measure(arguments.figures or list(BLOCKS), arguments.quick)
    print(report.SHEET.as_text(results))
    if arguments.json:
        with open(arguments.json, 'w') as file:
            json.dump(results, file, indent=2)
    if arguments.keep:
        report.SHEET.keep(results)
    return 0


if __name__ == '__main__':
    sys.exit(main())
