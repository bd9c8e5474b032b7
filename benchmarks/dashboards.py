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

"""Draw the dashboards: ``python -m benchmarks.dashboards``.

From what ``tests/functional/test_dashboards.py`` has kept of its queries.
"""

import json
import pathlib
import sys
from typing import Any

import matplotlib as mpl

from benchmarks import svg

mpl.use('svg')

from matplotlib import pyplot
from matplotlib import ticker

HERE = pathlib.Path(__file__).parent
KEPT = HERE / 'results' / 'dashboards.json'
SOURCE = HERE.parent / 'doc' / 'source'

COLUMNS = 3

#: Lines of one panel.
MANY = 6

#: What a unit of Grafana is called, and what its numbers are divided by.
UNITS = {
    'bool': ('', 1),
    'bytes': ('MiB', 1 << 20),
    'cpm': ('per minute', 1),
    'percentunit': ('%', 0.01),
    'reqps': ('per second', 1),
    's': ('seconds', 1),
    'short': ('', 1),
}


def draw(panels: list[dict[str, Any]]) -> Any:
    """One picture of all panels of a dashboard, three a row."""
    rows = -(-len(panels) // COLUMNS)
    figure, axes = pyplot.subplots(
        rows,
        COLUMNS,
        figsize=(12, 2.2 * rows),
        layout='constrained',
        sharex=True,
    )
    for axis, panel in zip(axes.flat, panels, strict=False):
        _panel(axis, panel)
    for axis in axes[-1]:
        axis.set_xlabel('seconds', fontsize='small')
    return figure


def _panel(axis: Any, panel: dict[str, Any]) -> None:
    unit, divisor = UNITS[panel['unit']]
    lines = {
        name: points
        for query in panel['queries']
        for name, points in query.items()
    }
    most = max(value for points in lines.values() for _, value in points)
    for name, points in lines.items():
        # Of many, those that are nothing all the time need no name.
        is_named = len(lines) <= MANY or any(value for _, value in points)
        # A line of its own wherever there was nothing for a while.
        moments: list[float] = []
        values: list[float] = []
        for moment, value in points:
            if moments and moment - moments[-1] > 1:
                moments.append(moment - 1)
                values.append(float('nan'))
            moments.append(moment)
            values.append(value / divisor)
        axis.plot(
            moments, values, linewidth=1.2, label=name if is_named else None
        )
    axis.set_title(panel['title'], fontsize='medium')
    axis.set_ylabel(unit, fontsize='small')
    # Room for the legend.
    axis.set_ylim(0, 1.5 * most / divisor or 1)
    axis.yaxis.set_major_locator(ticker.MaxNLocator(4))
    axis.tick_params(labelsize='small')
    axis.legend(fontsize='x-small', framealpha=0.6, ncols=2)


def main() -> int:
    # Letters as letters: the drawing is for a page, and small.
    mpl.rcParams['svg.fonttype'] = 'none'
    for name, panels in json.loads(KEPT.read_text()).items():
        # The same figures make the same file.
        mpl.rcParams['svg.hashsalt'] = name
        svg.save(draw(panels), SOURCE / f'dashboard-{name}.svg')
    return 0


if __name__ == '__main__':
    sys.exit(main())
