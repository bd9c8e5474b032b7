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

"""What a guest said on its serial console.

``init`` writes these lines, here they are read::

    multistore-guest: booted uuid=<uuid> disk=vda bytes=<n> scratch=<text>
    multistore-guest: wrote uuid=<uuid> offset=<n>
    multistore-guest: failed <why>
"""

import dataclasses
import re
from typing import Self

_LINE = re.compile(
    r'^multistore-guest: (?P<event>booted|wrote|failed) (?P<rest>.*?)\r?\n',
    re.MULTILINE,
)


@dataclasses.dataclass(frozen=True)
class Sighting:
    """The last boot of a guest, as far as its console has shown it."""

    uuid: str
    disk_bytes: int
    found: str
    """The scratch block's text before this boot wrote to it."""
    wrote: bool = False
    """The guest wrote to its disk and read the same bytes back from it."""
    failure: str | None = None

    def __str__(self) -> str:
        if self.failure:
            return f'booted, then failed: {self.failure}'
        text = f'booted, found its disk {self.found}'
        if self.wrote:
            text += ', wrote to it and read it back'
        return text

    @classmethod
    def from_console(cls, text: str) -> Self | None:
        """Read a console's text; None if no guest has spoken there yet."""
        sighting = None
        for line in _LINE.finditer(text):
            event, rest = line.group('event'), line.group('rest')
            if event == 'booted':
                said = dict(
                    word.split('=', 1) for word in rest.split() if '=' in word
                )
                sighting = cls(
                    uuid=said['uuid'].lower(),
                    disk_bytes=int(said['bytes']),
                    found=said['scratch'].lower(),
                )
            elif sighting is None:
                continue  # the console's head was cut off
            elif event == 'wrote':
                sighting = dataclasses.replace(sighting, wrote=True)
            else:
                sighting = dataclasses.replace(sighting, failure=rest)
        return sighting
