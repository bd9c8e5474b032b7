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

"""What a pool of Ceph has of an image, and what may become of it."""

import dataclasses
import datetime

from nova_rbd_multistore_client import reading


@dataclasses.dataclass(frozen=True, slots=True)
class Data:
    """An RBD image in a pool of Glance.

    :ivar name: its own, which for Glance's is the image's id
    :ivar size: bytes that it could hold
    :ivar used: bytes that are written, and come free when it is removed
    :ivar created_at: UTC, without a zone
    :ivar snapshot_size: bytes of Glance's snapshot, None if it has none
    :ivar protected: whether that snapshot is protected, as clones of version 1
        need it
    :ivar clones: what was cloned from it: ``<pool>/<disk>`` of each
    :ivar other_snapshots: names of snapshots that Glance does not make
    :ivar watched: whether somebody has it open for changes, as while it is
        being uploaded
    """

    name: str
    size: int
    used: int
    created_at: datetime.datetime
    snapshot_size: int | None = None
    protected: bool = False
    clones: tuple[str, ...] = ()
    other_snapshots: tuple[str, ...] = ()
    watched: bool = False

    def faults(self, size: int | None) -> tuple[str, ...]:
        """What is not as it should be; empty if nothing.

        :param size: of the image by Glance's record, None if not known
        """
        if self.snapshot_size is None:
            return ('it has no snapshot "snap": a copy that broke off',)
        found = []
        if size is not None and self.snapshot_size < size:
            found.append(f'only {self.snapshot_size} of {size} bytes')
        return tuple(found)

    @property
    def freed(self) -> int:
        """Bytes that come free at once when Glance deletes it.

        None do while there are clones: Glance then moves it into the trash.
        """
        return 0 if self.clones else self.used

    @property
    def in_use(self) -> str:
        """What keeps it from being removed, '' if nothing."""
        if self.clones:
            return clones_in_words(self.clones)
        if self.other_snapshots:
            names = ', '.join(self.other_snapshots)
            return f'it has snapshots that are not of Glance: {names}'
        if self.watched:
            return 'a client has it open'
        return ''


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """What came of looking for a copy where Glance's record says it lies.

    :ivar pool: that it lies in, '' if nobody could look
    :ivar found: what is there, None if nothing
    :ivar unseen: why nobody could look, '' if that was done
    """

    pool: str = ''
    found: Data | None = None
    unseen: str = ''


@dataclasses.dataclass(frozen=True, slots=True)
class Trashed:
    """An RBD image in a pool's trash.

    :ivar name: that it had; a copy may have the same one by now
    """

    id: str
    name: str
    deleted_at: datetime.datetime


def clones_in_words(clones: tuple[str, ...]) -> str:
    """How many clones there are, and one of them."""
    if len(clones) == 1:
        return f'1 clone: {clones[0]}'
    return f'{len(clones)} clones, {clones[0]} among them'


def health(found: Data | None, size: int | None) -> tuple[reading.Health, str]:
    """How an image is in a pool, and what there is to say of it.

    :param found: None if the pool has nothing of its name
    :param size: by Glance's record, None if not known
    """
    if found is None:
        return reading.Health.MISSING, 'nothing of its name in the pool'
    if faults := found.faults(size):
        return reading.Health.MISSING, '; '.join(faults)
    protected = 'protected' if found.protected else 'not protected'
    words = f'snapshot {protected}, whole'
    if found.in_use:
        return reading.Health.CANNOT_DELETE, f'{words}, {found.in_use}'
    return reading.Health.OK, f'{words}, no clones'
