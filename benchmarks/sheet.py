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

"""Figures that are kept: all of them as JSON, and a table for people."""

from collections.abc import Callable, Sequence
import csv
import dataclasses
import io
import json
import pathlib
from typing import Any

import prettytable

_RESULTS = pathlib.Path(__file__).parent / 'results'
_PAGES = pathlib.Path(__file__).parents[1] / 'doc' / 'source'

#: What JSON has.
Results = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Sheet:
    """Where the figures of one benchmark are kept, and how they are shown.

    :ivar latest: the JSON
    :ivar page: the table that the documentation includes, as CSV
    :ivar table: makes that of the JSON, its header first
    """

    latest: pathlib.Path
    page: pathlib.Path
    table: Callable[[Results], Sequence[Sequence[str]]]

    @classmethod
    def of(
        cls,
        results: str,
        page: str,
        table: Callable[[Results], Sequence[Sequence[str]]],
    ) -> 'Sheet':
        """One in the places of all, by the names of its files."""
        return cls(_RESULTS / f'{results}.json', _PAGES / f'{page}.csv', table)

    def as_csv(self, results: Results) -> str:
        """The table for the documentation."""
        output = io.StringIO()
        writer = csv.writer(output, lineterminator='\n')
        writer.writerows(self.table(results))
        return output.getvalue()

    def as_text(self, results: Results) -> str:
        """The table for a terminal."""
        header, *rows = self.table(results)
        table = prettytable.PrettyTable(list(header))
        table.align = 'l'
        table.add_rows([list(row) for row in rows])
        return str(table)

    def keep(self, results: Results) -> None:
        """Write what the documentation is made from."""
        self.latest.write_text(json.dumps(results, indent=2) + '\n')
        self.page.write_text(self.as_csv(results))
