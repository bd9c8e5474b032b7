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

"""What a demonstration claims, and whether it was so."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Check:
    claim: str
    held: bool
    evidence: str

    def __str__(self) -> str:
        mark = ' ok ' if self.held else 'FAIL'
        return f'[{mark}] {self.claim}\n       {self.evidence}'


class Checklist:
    def __init__(self) -> None:
        self._checks: list[Check] = []

    def add(self, claim: str, held: bool, evidence: object) -> None:
        self._checks.append(Check(claim, held, str(evidence)))

    @property
    def broken(self) -> list[Check]:
        return [check for check in self._checks if not check.held]

    @property
    def held(self) -> bool:
        """Whether there were claims, and all of them were so."""
        return bool(self._checks) and not self.broken

    def __str__(self) -> str:
        lines = [str(check) for check in self._checks]
        lines.append('')
        if self.held:
            lines.append(f'All of it holds ({len(self._checks)} checks).')
        else:
            lines.append(
                f'{len(self.broken)} of {len(self._checks)} checks do not '
                f'hold:'
            )
            lines.extend(
                f'  {check.claim}: {check.evidence}' for check in self.broken
            )
        return '\n'.join(lines)
