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


"""Figures about copies, and how they are shown: a table, and JSON."""

import dataclasses
import statistics
from typing import Any

from benchmarks import sheet

#: The stores of Glance's from which images are copied to the one of site west.
STORES = ('file', 'east')


@dataclasses.dataclass
class Samples:
    """What was measured of one way, on one route.

    :ivar seconds: until the last of the images was there
    :ivar allocated: MiB that each of them then took in the target cluster
    :ivar first_writes: ms of the first write to an object of a clone
    """

    seconds: list[float] = dataclasses.field(default_factory=list)
    allocated: list[float] = dataclasses.field(default_factory=list)
    first_writes: list[float] = dataclasses.field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {
            name: [round(sample, 2) for sample in samples]
            for name, samples in dataclasses.asdict(self).items()
        }


def table(results: dict[str, Any]) -> list[tuple[str, ...]]:
    """The table of a result as JSON has it, its header first."""
    return [
        (
            f'Image of {results["image_mib"]} MiB, a quarter of it data',
            'file to rbd, s',
            'rbd to rbd, s',
            'Allocated, MiB',
            'First write to a clone, ms',
        ),
        *(
            (
                title,
                *(_median(row[store]['seconds'], 1) for store in STORES),
                _median(_both(row, 'allocated'), 0),
                _median(_both(row, 'first_writes'), 1),
            )
            for title, row in results['copies'].items()
        ),
    ]


def _both(row: dict[str, Any], name: str) -> list[float]:
    return [sample for store in STORES for sample in row[store][name]]


def _median(samples: list[float], digits: int) -> str:
    return f'{statistics.median(samples):.{digits}f}' if samples else ''


#: What the documentation is made from.
SHEET = sheet.Sheet.of('copies', 'copies', table)
