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

"""Watch servers and their image from the outside, as any user may."""

from collections.abc import Iterator, Mapping
import dataclasses
import time
from typing import Self

import openstack.connection

from lab import errors

_POLL_INTERVAL = 0.25


def within(seconds: float, what: str) -> Iterator[float]:
    """Give the seconds gone by, again and again, until it is too late."""
    start = time.monotonic()
    while (gone := time.monotonic() - start) < seconds:
        yield gone
        time.sleep(_POLL_INTERVAL)
    raise errors.ServiceFailed(f'{what} took longer than {seconds:.0f} s')


@dataclasses.dataclass(frozen=True)
class Stores:
    """Where an image lies and where it is just being copied to."""

    holding: frozenset[str]
    importing: frozenset[str]

    @classmethod
    def of(cls, cloud: openstack.connection.Connection, image: str) -> Self:
        return cls.from_record(cloud.image.get(f'/images/{image}').json())

    @classmethod
    def from_record(cls, record: Mapping[str, str]) -> Self:
        """Read an image's record as Glance sends it."""
        return cls(
            holding=_names(record.get('stores')),
            importing=_names(record.get('os_glance_importing_to_stores')),
        )

    def __str__(self) -> str:
        text = f'in {_listed(self.holding)}'
        if self.importing:
            text += f'; being copied to {_listed(self.importing)}'
        return text


def _names(value: str | None) -> frozenset[str]:
    return frozenset(name for name in (value or '').split(',') if name)


def _listed(names: frozenset[str]) -> str:
    return ', '.join(sorted(names)) or 'no store'


class Clock:
    """How long Glance was seen to be copying to each store."""

    def __init__(self) -> None:
        self._first: dict[str, float] = {}
        self._last: dict[str, float] = {}

    def note(self, importing: frozenset[str], now: float) -> None:
        for store in importing:
            self._first.setdefault(store, now)
            self._last[store] = now

    def seconds(self, store: str) -> float | None:
        """None if no copy to that store was seen."""
        if store not in self._first:
            return None
        return self._last[store] - self._first[store]


class Ticker:
    """Prints what has changed, and when; silent about the rest."""

    def __init__(self) -> None:
        self._shown: dict[str, str] = {}

    def show(self, seconds: float, subject: str, state: str) -> None:
        if self._shown.get(subject) != state:
            self._shown[subject] = state
            print(f'{seconds:8.1f} s  {subject:<12} {state}', flush=True)
