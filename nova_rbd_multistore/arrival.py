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

"""How much of an image has arrived in a Ceph cluster."""

import dataclasses

#: The snapshot that Glance makes, and protects, when an image is complete.
GLANCE_SNAPSHOT = 'snap'


@dataclasses.dataclass(frozen=True, slots=True)
class Arrival:
    """What a look into the cluster shows of one image.

    :ivar exists: whether there is an RBD image of that name at all
    :ivar complete: whether it has the snapshot that clones are made from
    :ivar allocated: bytes of its objects, each taken as whole; None where
        that is costly to know
    """

    exists: bool
    complete: bool = False
    allocated: int | None = None


ABSENT = Arrival(exists=False)


class ArrivalsHidden(Exception):
    """We may not read the pool of Glance, or it is not there."""
