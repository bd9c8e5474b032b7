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

"""Figures about routes of copies, and how they are shown."""

from collections.abc import Iterable
import dataclasses
import statistics
from typing import Any, Self

from benchmarks import sheet

#: What a copy is measured by, besides seconds, all in MiB.
BYTES = {
    'read': 'Read from clusters, MiB',
    'written': 'Written to clusters, MiB',
    'allocated': 'Allocated, MiB',
}


@dataclasses.dataclass(frozen=True)
class Route:
    """From where to where copies go.

    :ivar source: a store of Glance's, which alone has the image
    :ivar target: the one that is to have it, too
    :ivar title: what both are, in words
    """

    source: str
    target: str
    title: str


@dataclasses.dataclass(frozen=True)
class Copy:
    """What was measured of one copy.

    :ivar seconds: from the request until Glance's database has it
    :ivar read: MiB that clusters sent to Glance
    :ivar written: MiB that Glance sent to clusters
    :ivar allocated: MiB that the clusters' disks then had more
    """

    seconds: float
    read: float
    written: float
    allocated: float

    @classmethod
    def of(cls, kept: dict[str, float]) -> Self:
        """What JSON has kept of it."""
        return cls(**kept)

    def as_dict(self) -> dict[str, float]:
        return {
            name: round(value, 2)
            for name, value in dataclasses.asdict(self).items()
        }


def table(results: dict[str, Any]) -> list[tuple[str, ...]]:
    """The table of a result as JSON has it, its header first.

    Seconds are of each size of image, and all else of the largest.
    """
    sizes: list[int] = results['sizes_mib']
    rows: list[tuple[str, ...]] = [
        (
            'Route',
            *(f'{size} MiB, s' for size in sizes),
            *BYTES.values(),
        )
    ]
    for title, by_size in results['routes'].items():
        copies = {
            size: [Copy.of(kept) for kept in by_size[str(size)]]
            for size in sizes
        }
        largest = copies[max(sizes)]
        rows.append(
            (
                title,
                *(
                    _median((copy.seconds for copy in copies[size]), 1)
                    for size in sizes
                ),
                *(
                    _median((getattr(copy, name) for copy in largest), 0)
                    for name in BYTES
                ),
            )
        )
    return rows


def _median(samples: Iterable[float], digits: int) -> str:
    return f'{statistics.median(samples):.{digits}f}'


#: What the documentation is made from.
SHEET = sheet.Sheet.of('routes', 'routes', table)
