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

"""How copies come along, for whoever sits and waits: bars, or lines."""

import sys
from typing import Self, TextIO

import rich.console
import rich.markup
import rich.progress

from nova_rbd_multistore import progress
from nova_rbd_multistore_client import bringing
from nova_rbd_multistore_client import image as images

#: Seconds between two lines about the progress of one copy.
LINES_APART = 10.0


class Lines:
    """Lines, for a log. To be used in ``with``, as :class:`Bars` is."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._said_at: dict[tuple[str, str], float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def says(self, image: images.Image, words: str) -> None:
        self._line(f'{image}: {words}')

    def copied(
        self, image: images.Image, store: str, how_far: progress.Progress
    ) -> None:
        key = (image.id, store)
        watched = how_far.watched
        if watched - self._said_at.get(key, -LINES_APART) >= LINES_APART:
            self._said_at[key] = watched
            self._line(f'{image}, store {store}: {how_far}')

    def ends(self, result: bringing.Result) -> None:
        self._line(f'{result.image}, store {result.store}: {result}')

    def _line(self, line: str) -> None:
        self._stream.write(f'{line}\n')
        self._stream.flush()


class Bars:
    """A bar for each copy, on a terminal. To be used in ``with``."""

    def __init__(self, stream: TextIO) -> None:
        self._bars = rich.progress.Progress(
            rich.progress.TextColumn('{task.description}'),
            rich.progress.BarColumn(),
            rich.progress.TaskProgressColumn(),
            rich.progress.DownloadColumn(binary_units=True),
            rich.progress.TransferSpeedColumn(),
            rich.progress.TimeRemainingColumn(),
            console=rich.console.Console(file=stream),
        )
        self._bar_of: dict[tuple[str, str], rich.progress.TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._bars.stop()

    def says(self, image: images.Image, words: str) -> None:
        self._print(f'{image}: {words}')

    def copied(
        self, image: images.Image, store: str, how_far: progress.Progress
    ) -> None:
        key = (image.id, store)
        if key not in self._bar_of:
            self._bar_of[key] = self._bars.add_task(
                rich.markup.escape(f'{image.name or image.id} → {store}'),
                total=image.record.size,
            )
        self._bars.update(self._bar_of[key], completed=how_far.copied)

    def ends(self, result: bringing.Result) -> None:
        key = (result.image.id, result.store)
        if key in self._bar_of:
            self._bars.remove_task(self._bar_of.pop(key))
        self._print(f'{result.image}, store {result.store}: {result}')

    def _print(self, line: str) -> None:
        self._bars.console.print(line, markup=False, highlight=False)


def of(stream: TextIO | None = None) -> Lines | Bars:
    """Bars on a terminal, lines elsewhere; on standard error by itself."""
    stream = stream or sys.stderr
    return Bars(stream) if stream.isatty() else Lines(stream)
