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

"""A meter that keeps what it hears."""

from collections.abc import Iterator
import contextlib

from nova_rbd_multistore import meter


class Meter(meter.Meter):
    """Hears of boots, and remembers all of it.

    :ivar steps: that were timed
    :ivar looks: what each look has shown
    :ivar answers: of glance-apis: the URL, and of which kind
    :ivar boots: what became of each, and whether that is good
    :ivar copies: that are awaited now
    """

    def __init__(self) -> None:
        self.steps: list[meter.Step] = []
        self.looks: list[meter.Saw] = []
        self.answers: list[tuple[str, str]] = []
        self.boots: list[tuple[str, bool]] = []
        self.copies: list[meter.Copy] = []

    @contextlib.contextmanager
    def time(self, step: meter.Step) -> Iterator[None]:
        self.steps.append(step)
        yield

    @contextlib.contextmanager
    def follow(self, copy: meter.Copy) -> Iterator[None]:
        self.copies.append(copy)
        try:
            yield
        finally:
            self.copies.remove(copy)

    def look(self, saw: meter.Saw) -> None:
        self.looks.append(saw)

    def answer(self, url: str, kind: str) -> None:
        self.answers.append((url, kind))

    def boot(self, outcome: str, *, good: bool) -> None:
        self.boots.append((outcome, good))
