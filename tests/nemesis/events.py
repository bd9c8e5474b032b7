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


"""What happens in a run of the nemesis, as a line of JSON each."""

from collections.abc import Iterator
import dataclasses
import json
import pathlib
import threading
import time
from typing import Any, Self


@dataclasses.dataclass(frozen=True)
class Event:
    """Something that has happened.

    :ivar at: seconds since the epoch
    :ivar what: ``fault``, ``begun``, ``ending``, ``mended``, ``boot``,
        ``crash``, ``hang``, ``disk``, ``copy``, ``task``, ``image``, ``gone``,
        ``snapshot``, ``server``, ``server deleted``, ``servers``, ``cached``,
        ``hitch``, ``sample``, ``slow``, ``cure``, ``left``, ``removed`` or
        ``end``
    :ivar about: what it happened to
    """

    at: float
    what: str
    about: str
    details: dict[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, line: str) -> Self:
        return cls(**json.loads(line))


class Journal:
    """A file of events, which several threads may add to.

    :param path: of the file, which is made
    """

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self._file = path.open('w')
        self._lock = threading.Lock()

    def note(
        self, what: str, about: str, at: float | None = None, **details: Any
    ) -> None:
        event = Event(at or time.time(), what, about, details)
        with self._lock:
            self._file.write(json.dumps(dataclasses.asdict(event)) + '\n')
            self._file.flush()

    def events(self) -> list[Event]:
        """All of them, in the order in which they happened."""
        return sorted(read(self._path), key=lambda event: event.at)


def read(path: pathlib.Path) -> Iterator[Event]:
    """The events of a file."""
    yield from map(Event.of, path.read_text().splitlines())
