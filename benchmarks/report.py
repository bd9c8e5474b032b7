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


"""Figures, and how they are shown: a table, and JSON to be kept."""

from collections.abc import Sequence
import dataclasses
import statistics
from typing import Any

from benchmarks import sheet

HEADER = (
    'Figure',
    'Unit',
    'Stock',
    'Ours',
    'Ours, secure Glance',
    'Limit',
    'Ours / stock',
    'Ours / limit',
    'To reach',
)


_SAMPLES = ('stock', 'ours', 'secure', 'limit', 'secure_limit')


@dataclasses.dataclass(frozen=True)
class Figure:
    """One row; each list has all samples, and its median is what counts.

    :ivar stock: with Nova's own backend
    :ivar ours: with ours, asking the same Glance, which shows locations
    :ivar secure: with ours, asking a Glance with its secure defaults
    :ivar limit: what no backend can beat
    :ivar secure_limit: the same where a secure Glance is asked, if that is
        another
    :ivar bound: what the median of ``ours`` is to reach, None if it is only
        reported
    :ivar secure_bound: the same for the median of ``secure``
    :ivar target: both in words
    :ivar note: what differs from the other rows
    """

    title: str
    unit: str
    stock: Sequence[float] = ()
    ours: Sequence[float] = ()
    secure: Sequence[float] = ()
    limit: Sequence[float] = ()
    _: dataclasses.KW_ONLY
    secure_limit: Sequence[float] = ()
    bound: float | None = None
    secure_bound: float | None = None
    target: str = ''
    note: str = ''

    @property
    def reached(self) -> bool | None:
        judged = [
            statistics.median(samples) <= bound
            for samples, bound in (
                (self.ours, self.bound),
                (self.secure, self.secure_bound),
            )
            if bound is not None
        ]
        return all(judged) if judged else None

    def as_dict(self) -> dict[str, Any]:
        """For JSON, with what can be computed from it."""
        return {
            'title': self.title,
            'unit': self.unit,
            **{
                name: _summary(getattr(self, name))
                for name in _SAMPLES
                if getattr(self, name)
            },
            'ratio_to_stock': _ratio(self.ours, self.stock),
            'ratio_to_limit': _ratio(self.ours, self.limit),
            'secure_ratio_to_limit': _ratio(self.secure, self.secure_limit),
            'bound': self.bound and round(self.bound, 4),
            'secure_bound': self.secure_bound and round(self.secure_bound, 4),
            'target': self.target,
            'reached': self.reached,
            'note': self.note,
        }


def _summary(samples: Sequence[float]) -> dict[str, Any]:
    return {
        'median': round(statistics.median(samples), 4),
        'least': round(min(samples), 4),
        'most': round(max(samples), 4),
        'samples': len(samples),
    }


def _ratio(ours: Sequence[float], others: Sequence[float]) -> float | None:
    if not ours or not others or not statistics.median(others):
        return None
    return round(statistics.median(ours) / statistics.median(others), 3)


def rows(results: dict[str, Any]) -> list[tuple[str, ...]]:
    """The table of a result as JSON has it."""
    return [
        (
            figure['title'],
            figure['unit'],
            *(
                _shown(_median(figure, name))
                for name in ('stock', 'ours', 'secure')
            ),
            _both(_median(figure, 'limit'), _median(figure, 'secure_limit')),
            _shown(figure['ratio_to_stock']),
            _both(
                figure['ratio_to_limit'], figure.get('secure_ratio_to_limit')
            ),
            _verdict(figure),
        )
        for figure in results['figures']
    ]


def _median(figure: dict[str, Any], name: str) -> float | None:
    return figure[name]['median'] if name in figure else None


def _both(value: float | None, secure: float | None) -> str:
    """A value, and the one for a secure Glance if it has its own."""
    if secure is None:
        return _shown(value)
    return f'{_shown(value)}, secure {_shown(secure)}'


def _shown(value: float | None) -> str:
    if value is None:
        return ''
    return f'{value:.0f}' if abs(value) >= 100 else f'{value:.3g}'


def _verdict(figure: dict[str, Any]) -> str:
    match figure['reached']:
        case None:
            return 'reported'
        case True:
            return f'{figure["target"]}: reached'
        case _:
            return f'{figure["target"]}: missed'


def table(results: dict[str, Any]) -> list[tuple[str, ...]]:
    """The same with its header."""
    return [HEADER, *rows(results)]


#: What the documentation is made from.
SHEET = sheet.Sheet.of('latest', 'performance', table)
