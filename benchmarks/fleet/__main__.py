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

"""Simulate fleets, ours and stock; print a table, write JSON and plots."""

import argparse
from concurrent import futures
import dataclasses
import json
import logging
import pathlib
import platform
from typing import Any

import prettytable

from benchmarks import machine
from benchmarks.fleet import plot
from benchmarks.fleet import simulation

ROOT = pathlib.Path(__file__).parents[2]
RESULTS = ROOT / 'benchmarks' / 'results' / 'fleet.json'
PLOTS = ROOT / 'doc' / 'source'

#: Computes of the fleets between which the growth of requests is shown.
SMALLER = (250, 500)

#: Images whose copies take from 3 to 24 s, for a fleet of this size that
#: waits as long as it must.
IMAGES_GIB = (1.0, 2.0, 4.0, 8.0)
COMPUTES = 200
PATIENT = 3600.0

COLUMNS = {
    'computes': 'computes',
    'sites': 'sites',
    'backend': 'backend',
    'copy_seconds': 's/copy',
    'copies': 'copies',
    'clones': 'clones',
    'flat': 'flat',
    'errors': 'errors',
    'requests': 'requests',
    'per_compute': 'per compute',
    'peak': 'peak/s',
    'last_clone': 'last clone, s',
    'last_boot': 'last boot, s',
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog='python -m benchmarks.fleet', description=__doc__
    )
    parser.add_argument(
        'computes', type=int, nargs='*', default=[1000, 10_000]
    )
    sizes = parser.parse_args().computes
    fleets = [
        simulation.Cloud(size, backend=backend)
        for size in sizes
        for backend in simulation.BACKENDS
    ]
    smaller = [simulation.Cloud(size) for size in SMALLER]
    slower = [
        simulation.Cloud(COMPUTES, image_gib=size, timeout=PATIENT)
        for size in IMAGES_GIB
    ]
    clouds = sorted(
        {*fleets, *smaller, *slower},
        key=lambda cloud: (cloud.backend, -cloud.computes, cloud.image_gib),
    )
    with futures.ProcessPoolExecutor() as pool:
        outcomes = dict(zip(clouds, pool.map(_run, clouds), strict=True))
    print(_table(list(outcomes.values())))

    results = {
        'machine': {
            'processor': machine.processor(),
            'python': platform.python_version(),
        },
        'runs': [
            {
                **_figures(outcome),
                'cloud': dataclasses.asdict(outcome.cloud),
                'slowest_answer': round(outcome.slowest, 2),
                'cluster_looks': outcome.looks,
                'rates': outcome.rates,
            }
            for outcome in outcomes.values()
        ],
    }
    RESULTS.write_text(json.dumps(results) + '\n')
    ours = [cloud for cloud in fleets + smaller if cloud.backend == 'ours']
    ours.sort(key=lambda cloud: cloud.computes)
    plot.rates(
        [outcomes[cloud] for cloud in fleets], PLOTS / 'fleet-rates.svg'
    )
    plot.growth(
        [outcomes[cloud] for cloud in ours],
        [outcomes[cloud] for cloud in slower],
        PLOTS / 'fleet-growth.svg',
    )


def _run(cloud: simulation.Cloud) -> simulation.Outcome:
    # Each wait is told to the operator; here, thousands of times.
    logging.disable(logging.WARNING)
    return simulation.run(cloud)


def _figures(outcome: simulation.Outcome) -> dict[str, Any]:
    cloud = outcome.cloud
    return {
        'computes': cloud.computes,
        'sites': cloud.sites,
        'backend': cloud.backend,
        'copy_seconds': cloud.copy_seconds,
        'copies': outcome.copies,
        'clones': outcome.clones,
        'flat': outcome.flat,
        'errors': sum(outcome.errors.values()),
        'requests': len(outcome.asked),
        'per_compute': round(outcome.per_compute, 1),
        'peak': max(outcome.rates),
        'last_clone': round(outcome.last_clone),
        'last_boot': round(outcome.last_boot),
    }


def _table(outcomes: list[simulation.Outcome]) -> str:
    table = prettytable.PrettyTable(list(COLUMNS.values()), align='r')
    for outcome in outcomes:
        figures = _figures(outcome)
        table.add_row([figures[column] for column in COLUMNS])
    return table.get_string()


if __name__ == '__main__':
    main()
