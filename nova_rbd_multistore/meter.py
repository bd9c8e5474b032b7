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

"""What boots report of themselves, for whoever measures them.

The engine calls a :class:`Meter` at a few places, and knows nobody who
listens. This one is for where nobody does.
"""

import contextlib
import enum
from typing import Protocol


class Step(enum.Enum):
    """A part of a boot that takes time."""

    #: Ask Glance where the image is.
    FIND = 'find'
    #: Leave it to another host of the site to ask Glance.
    TURN = 'turn'
    #: Wait until the image is copied.
    COPY = 'copy'
    #: Make the disk.
    CLONE = 'clone'


class Saw(enum.Enum):
    """What a look into the cluster for an image has shown."""

    NOTHING = 'nothing'
    PART = 'part'
    WHOLE = 'whole'
    #: Nova may not look there.
    HIDDEN = 'hidden'
    FAILED = 'failed'


class Stage(enum.Enum):
    """How far a copy is that a boot waits for."""

    #: Glance has not accepted a request for it yet.
    REQUESTED = 'requested'
    #: Something else holds the image in Glance.
    LOCKED = 'locked'
    #: Glance has accepted it, and not begun.
    QUEUED = 'queued'
    #: Glance reads the image, and nothing has arrived yet.
    STAGING = 'staging'
    #: Bytes arrive in the cluster.
    ARRIVING = 'arriving'


class Copy(Protocol):
    """A copy that a boot waits for, at any moment; see :class:`copying.Copy`.

    :ivar copied: bytes that have arrived
    :ivar total: bytes of the image, None if that is not known
    """

    @property
    def stage(self) -> Stage: ...

    @property
    def copied(self) -> int: ...

    @property
    def total(self) -> int | None: ...


#: In place of a context that measures.
_NOTHING = contextlib.nullcontext()


class Meter:
    """Hears of boots, and forgets it."""

    def time(self, step: Step) -> contextlib.AbstractContextManager[None]:
        """A context that takes as long as a step of a boot."""
        del step
        return _NOTHING

    def follow(self, copy: Copy) -> contextlib.AbstractContextManager[None]:
        """A context for as long as a boot waits for a copy."""
        del copy
        return _NOTHING

    def look(self, saw: Saw) -> None:
        """Somebody has looked into the cluster."""

    def answer(self, url: str, kind: str) -> None:
        """A glance-api has answered, or has not.

        :param kind: of the answer, one of few
        """

    def boot(self, outcome: str, *, good: bool) -> None:
        """A boot disk is there, or will not be.

        :param outcome: one of few
        """


#: Where nobody listens.
DEAF = Meter()
