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


"""Draw the storms: ``python -m benchmarks.plot``, from the figures kept."""

import json
import pathlib
import sys
from typing import Any

import matplotlib as mpl

from benchmarks import svg

mpl.use('svg')

from matplotlib import pyplot

HERE = pathlib.Path(__file__).parent
PLOT = HERE.parent / 'doc' / 'source' / 'storm.svg'

TITLES = {
    'host': '16 boots on one host',
    'site': '16 hosts of one site, a boot on each',
}
WAITING, CLONING, REST, FAILED = 'tab:gray', 'tab:blue', 'tab:cyan', 'tab:red'


def draw(storms: dict[str, Any], axes: Any) -> None:
    """One bar for each boot, in the order in which they ended."""
    for row, where in enumerate(storms):
        title = TITLES[where]
        for column, whose in enumerate(('stock', 'ours')):
            boots = sorted(storms[where][whose], key=lambda b: b['ended'])
            axis = axes[row][column]
            for number, boot in enumerate(boots):
                _bar(axis, number, boot)
            axis.axvline(boots[0]['copied'], color='black', linestyle=':')
            axis.set_title(f'{title}: {_NAMES[whose]}', fontsize='medium')
            axis.set_xlabel('seconds')
            axis.set_yticks([])
        shared = max(axis.get_xlim()[1] for axis in axes[row])
        for axis in axes[row]:
            axis.set_xlim(0, shared)


_NAMES = {'stock': 'stock Nova', 'ours': 'this driver'}


def _bar(axis: Any, number: int, boot: dict[str, Any]) -> None:
    if boot['failed'] or boot['clone'] is None:
        axis.barh(number, boot['ended'], color=FAILED)
        return
    began, ended = boot['clone']
    axis.barh(number, began, color=WAITING)
    axis.barh(number, ended - began, left=began, color=CLONING)
    axis.barh(number, boot['ended'] - ended, left=ended, color=REST)


def main() -> int:
    results = json.loads((HERE / 'results' / 'latest.json').read_text())
    # The same figures make the same file.
    mpl.rcParams['svg.hashsalt'] = 'storm'
    storms = results['storms']
    figure, axes = pyplot.subplots(
        len(storms),
        2,
        figsize=(10, 3.5 * len(storms)),
        layout='constrained',
        squeeze=False,
    )
    draw(storms, axes)
    figure.legend(
        handles=[
            mpl.patches.Patch(color=color, label=label)
            for color, label in (
                (WAITING, 'waits'),
                (CLONING, 'librbd clones'),
                (REST, 'ends'),
                (FAILED, 'fails'),
            )
        ]
        + [
            mpl.lines.Line2D(
                [], [], color='black', linestyle=':', label='copy done'
            )
        ],
        loc='outside lower center',
        ncols=5,
    )
    svg.save(figure, PLOT)
    return 0


if __name__ == '__main__':
    sys.exit(main())
