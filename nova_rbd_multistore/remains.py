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

"""What there is of a boot disk, and whether a boot may use or remove it.

A clone is made in steps: a name, a header, the parent. What breaks off between
two of them stays as it is, under the name that the next boot of that server
will want.
"""

import dataclasses
import enum

#: Of a disk that librbd does not open.
UNOPENABLE = 'it cannot be opened'


class Fate(enum.Enum):
    """What a boot does with the disk that it finds."""

    USE = enum.auto()
    #: Nothing is lost with it: no guest has written to it, nobody has it open,
    #: and its server has never run.
    REMOVE = enum.auto()
    #: It is of no use to a guest, and not certain to be nobody's.
    REFUSE = enum.auto()


@dataclasses.dataclass(frozen=True, slots=True)
class Remains:
    """What is seen of a disk whose name is taken.

    :ivar header: whether it has one; without, it cannot be written to
    :ivar opens: whether librbd can open it; not if its parent is gone, say
    :ivar parent: whether it is a clone
    :ivar written: whether any of its data was ever written, or it has a
        snapshot
    :ivar watched: whether a client has it open for changes
    :ivar snapshots: their names
    """

    header: bool = True
    opens: bool = True
    parent: bool = True
    written: bool = True
    watched: bool = False
    snapshots: tuple[str, ...] = ()

    @property
    def is_void(self) -> bool:
        """Whether nobody's data is on it, nor any image's under it."""
        return not self.header or (
            self.opens and not self.parent and not self.written
        )

    def fate(self, *, ran: bool, comes: bool = False) -> Fate:
        """What to do with it.

        :param ran: whether its server has ever been up
        :param comes: whether it has, on another host, and with this disk
        """
        if not self.header:
            return Fate.REFUSE if ran else Fate.REMOVE
        if not self.opens:
            return Fate.REFUSE
        # A guest that never wrote to its root disk may boot without it.
        if self.written or comes or (ran and self.parent):
            return Fate.USE
        # An empty disk without a parent would be a server that does not boot.
        return Fate.REFUSE if ran or self.watched else Fate.REMOVE

    @property
    def obstacle(self) -> str:
        """What keeps it from being removed, for people."""
        if self.header and not self.opens:
            return UNOPENABLE
        if self.snapshots:
            noun = 'snapshots' if self.snapshots[1:] else 'snapshot'
            return f'it has {noun} {", ".join(self.snapshots)}'
        return 'a client has it open' if self.watched else 'it is still there'

    def __str__(self) -> str:
        """What is wrong with it, for people."""
        if not self.header:
            return 'it has a name and no header'
        if not self.opens:
            return UNOPENABLE
        if self.watched:
            return 'it is empty, and a client has it open'
        return 'it is empty, and no clone of an image'
