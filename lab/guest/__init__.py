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

"""The lab's guest: a bootable raw image that tells what it runs on.

A guest says on its serial console which instance it is and what it found
in the scratch block of its root disk, writes its own name there, and says
that it could read it back. Whoever reads the console learns three things:
the image boots, the disk can be written, and no other guest had written
to the bytes that this one started from.

``build`` makes the image, ``Sighting`` is what its console showed.
"""

from lab.guest.console import Sighting
from lab.guest.disk import PRISTINE
from lab.guest.disk import SCRATCH_OFFSET
from lab.guest.disk import SMALLEST_MIB
from lab.guest.disk import build

__all__ = [
    'PRISTINE',
    'SCRATCH_OFFSET',
    'SMALLEST_MIB',
    'Sighting',
    'build',
]
