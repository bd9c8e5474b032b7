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

"""Plots of simulated fleets."""

from collections.abc import Sequence
import pathlib

import matplotlib

from benchmarks import svg
from benchmarks.fleet import simulation

matplotlib.use('svg')
# The same file from the same figures, so that git sees what changed.
matplotlib.rcParams['svg.hashsalt'] = 'fleet'
matplotlib.rcParams['svg.fonttype'] = 'none'

from matplotlib import figure  # noqa: E402

LABELS = {'ours': 'ours', 'stock': 'stock Nova'}


def rates(outcomes: Sequence[simulation.Outcome], path: pathlib.Path) -> None:
    """Requests a second over time, a panel for each size of the fleet."""
    sizes = sorted({outcome.cloud.computes for outcome in outcomes})
    drawing = figure.Figure((8, 2.6 * len(sizes)), layout='constrained')
    panels = drawing.subplots(len(sizes), squeeze=False, sharex=True)
    for size, (panel,) in zip(sizes, panels, strict=True):
        for outcome in outcomes:
            if outcome.cloud.computes == size:
                panel.step(
                    range(len(outcome.rates)),
                    outcome.rates,
                    where='post',
                    label=LABELS[outcome.cloud.backend],
                )
        panel.set_yscale('symlog', linthresh=10)
        panel.set_ylim(bottom=0)
        panel.set_ylabel('requests/s')
        panel.set_title(f'{size:,} computes')
        panel.legend()
    panels[-1][0].set_xlabel('seconds after the boots')
    svg.save(drawing, path)


def growth(
    by_computes: Sequence[simulation.Outcome],
    by_copy: Sequence[simulation.Outcome],
    path: pathlib.Path,
) -> None:
    """Requests over the number of computes, and over a copy's duration."""
    drawing = figure.Figure((8, 3), layout='constrained')
    left, right = drawing.subplots(1, 2)
    left.plot(
        [outcome.cloud.computes for outcome in by_computes],
        [len(outcome.asked) for outcome in by_computes],
        'o-',
    )
    left.set_xlabel('computes')
    left.set_ylabel('requests')
    left.set_xlim(left=0)
    left.set_ylim(bottom=0)
    right.plot(
        [outcome.cloud.copy_seconds for outcome in by_copy],
        [outcome.per_compute for outcome in by_copy],
        'o-',
    )
    right.set_xlabel('seconds of one copy')
    right.set_ylabel('requests per compute')
    right.set_xlim(left=0)
    right.set_ylim(bottom=0)
    svg.save(drawing, path)
