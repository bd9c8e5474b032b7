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


"""What has happened in one run, as somebody saw who sees everything."""

import dataclasses

from tests.simulation import stories

#: Of a boot that has made its disk.
DISK = 'disk'
#: Of a boot whose host was killed, and of one whose server was deleted.
KILLED = 'killed'
UNWANTED = 'unwanted'


@dataclasses.dataclass
class Boot:
    """A boot, as it went.

    :ivar last: whether it came when all faults had ended
    :ivar ended: second of its end, None if it never ended
    :ivar outcome: one of the words above, or the name of an error
    :ivar parent: what the disk is a clone of: fsid, image and snapshot
    :ivar wanted: whether nobody deleted the server during it
    """

    name: str
    host: str
    site: str
    image: str
    project: str
    began: float
    last: bool = False
    ended: float | None = None
    outcome: str = ''
    message: str = ''
    parent: tuple[str, str, str] | None = None
    wanted: bool = True

    @property
    def took(self) -> float:
        return (self.ended or self.began) - self.began


@dataclasses.dataclass
class Copy:
    """A task of Glance that makes a copy.

    :ivar api: the glance-api that makes it
    :ivar said: when it said what: status and message
    """

    task: str
    image: str
    store: str
    api: str
    project: str
    began: float
    said: list[tuple[float, str, str]] = dataclasses.field(
        default_factory=list
    )

    def status(self, at: float) -> str:
        """What Glance would have said of it at a moment."""
        said = [status for when, status, _ in self.said if when <= at]
        return said[-1] if said else 'pending'

    @property
    def ended(self) -> float | None:
        for at, status, _ in self.said:
            if status in ('success', 'failure'):
                return at
        return None

    @property
    def succeeded(self) -> bool:
        return any(status == 'success' for _, status, _ in self.said)

    @property
    def failed(self) -> bool:
        """Whether it has tried, and did not make it."""
        return any(
            status == 'failure'
            and 'aborted externally' not in message
            and 'preempted' not in message
            for _, status, message in self.said
        )


@dataclasses.dataclass(frozen=True)
class Spell:
    """For how long something was so.

    :ivar kind: of the fault
    :ivar detail: what else it is about
    """

    kind: stories.Kind
    target: str
    began: float
    ended: float
    detail: str = ''

    def overlaps(self, began: float, ended: float) -> bool:
        return self.began <= ended and began <= self.ended


@dataclasses.dataclass(frozen=True)
class Request:
    """A question that came to a glance-api.

    :ivar status: of the answer, 0 if none came
    """

    at: float
    ended: float
    host: str
    api: str
    question: str
    status: int


@dataclasses.dataclass(frozen=True)
class Change:
    """Something of an image has changed: in a store, or in Glance's record.

    :ivar store: '' where it is not about one
    :ivar what: ``begun``, ``more`` (bytes), ``complete`` or ``gone`` in the
        cluster, ``listed`` or ``unlisted`` in the record; ``deleted``
    """

    at: float
    image: str
    store: str
    what: str


@dataclasses.dataclass
class History:
    """A run from its beginning to its end.

    :ivar left: what was left over at its end, in words
    """

    story: stories.Story
    boots: list[Boot] = dataclasses.field(default_factory=list)
    copies: list[Copy] = dataclasses.field(default_factory=list)
    spells: list[Spell] = dataclasses.field(default_factory=list)
    requests: list[Request] = dataclasses.field(default_factory=list)
    changes: list[Change] = dataclasses.field(default_factory=list)
    left: list[str] = dataclasses.field(default_factory=list)

    def spells_of(
        self, *kinds: stories.Kind, began: float, ended: float
    ) -> list[Spell]:
        """Faults of some kinds that there were between two moments."""
        return [
            spell
            for spell in self.spells
            if spell.kind in kinds and spell.overlaps(began, ended)
        ]
