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


"""Faults of the lab's services, drawn at random, each undone."""

from collections.abc import Callable, Sequence
import dataclasses
import random
import signal

from lab import layout
from lab import programs

#: Seconds after which Glance lets a lock be taken over, which outlives faults
#: of what holds it.
LOCK = 3600.0


@dataclasses.dataclass(frozen=True)
class Fault:
    """Something that can be broken, and mended.

    :ivar name: of the program, and what is done to it
    :ivar aftermath: seconds for which it is felt when it was mended
    """

    name: str
    begin: Callable[[], None]
    end: Callable[[], None]
    aftermath: float


def of(where: layout.Layout) -> Sequence[Fault]:
    """All faults that this lab can have."""
    supervisor = programs.Supervisor(where)
    names = [api.name for api in where.glance_apis] + ['keystone', 'mariadb']
    for site in where.sites:
        names += [f'ceph-mon-{site.name}', f'ceph-osd-{site.name}']
    marker = where.images / '.glance'
    faults = [
        fault for name in names for fault in _of_program(supervisor, name)
    ]
    faults.append(
        Fault('glance-api marker gone', marker.unlink, marker.touch, 60.0)
    )
    return faults


def _of_program(
    supervisor: programs.Supervisor, name: str
) -> tuple[Fault, ...]:
    def send(number: signal.Signals) -> Callable[[], None]:
        return lambda: supervisor.signal(name, number)

    def start() -> None:
        supervisor.start(name)

    # A copy that was under way may have held its image's lock.
    return (
        Fault(f'{name} killed', lambda: supervisor.kill(name), start, LOCK),
        Fault(f'{name} stopped', lambda: supervisor.stop(name), start, LOCK),
        Fault(
            f'{name} frozen',
            send(signal.SIGSTOP),
            send(signal.SIGCONT),
            LOCK,
        ),
    )


class Draw:
    """Which fault comes next, and for how long, by a seed."""

    def __init__(self, faults: Sequence[Fault], seed: int) -> None:
        self._faults = faults
        self._rng = random.Random(seed)  # noqa: S311

    def next(self) -> tuple[Fault, float, float]:
        """A fault, the seconds until it begins, and until it is mended."""
        return (
            self._rng.choice(self._faults),
            self._rng.uniform(1.0, 15.0),
            self._rng.choice((2.0, 10.0, 45.0)) * self._rng.uniform(0.5, 1.5),
        )
