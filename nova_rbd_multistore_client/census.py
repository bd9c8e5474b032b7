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

"""How much lies where, and what is on its way: all images, counted."""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import datetime
import enum

from nova_rbd_multistore import task as task_values
from nova_rbd_multistore_client import cell
from nova_rbd_multistore_client import image as images
from nova_rbd_multistore_client import plan
from nova_rbd_multistore_client import wanted

#: Glance's words for whom an image is shown to.
VISIBILITIES = ('public', 'community', 'shared', 'private')


class State(enum.Enum):
    """How far a copy has come."""

    #: Glance has accepted it, and not begun.
    QUEUED = 'queued'
    COPYING = 'copying'
    #: It holds its image, and has given no sign of life for ten minutes.
    SILENT = 'silent'
    #: It has failed, and none has begun since.
    FAILED = 'failed'


_STATES = {
    cell.State.COPYING: State.COPYING,
    cell.State.FAILED: State.FAILED,
    cell.State.LOCKED: State.SILENT,
}


@dataclasses.dataclass(frozen=True, slots=True)
class Amount:
    """Some images.

    :ivar number: how many
    :ivar size: their bytes, as far as Glance knows
    """

    number: int = 0
    size: int = 0

    def plus(self, image: images.Image) -> 'Amount':
        """These and one more."""
        return Amount(self.number + 1, self.size + (image.record.size or 0))


@dataclasses.dataclass(frozen=True, slots=True)
class Copies:
    """Some copies.

    :ivar oldest: how long ago the first of them was asked for, zero where
        Glance does not tell
    """

    count: int = 0
    oldest: datetime.timedelta = datetime.timedelta()

    def plus(self, age: datetime.timedelta) -> 'Copies':
        """These and one more."""
        return Copies(self.count + 1, max(self.oldest, age))


@dataclasses.dataclass(frozen=True, slots=True)
class Census:
    """All images at a moment.

    :ivar held: by store and visibility, those whose data the store has
    :ivar copies: by store and state
    :ivar missing: by store, those that rules want there and that are not; None
        if there are no rules
    """

    held: Mapping[tuple[str, str], Amount]
    copies: Mapping[tuple[str, State], Copies]
    missing: Mapping[str, Amount] | None


def take(
    listed: Iterable[tuple[images.Image, Sequence[task_values.CopyTask]]],
    known: Sequence[str],
    writable: Sequence[str],
    rules: Sequence[wanted.Rule] | None,
    now: datetime.datetime,
) -> Census:
    """Count images.

    What there is none of is counted, too: as none.

    :param listed: each with the tasks that hold it, if any does
    :param known: the stores of this Glance
    :param writable: those of them that images can be copied to
    :param now: UTC, without a zone
    """
    held = {(s, v): Amount() for s in known for v in VISIBILITIES}
    copies = {(s, state): Copies() for s in known for state in State}
    missing = None if rules is None else {s: Amount() for s in writable}
    for image, tasks in listed:
        record = image.record
        # Of a word that is none of Glance's, a user might make many labels.
        visibility = (
            record.visibility
            if record.visibility in VISIBILITIES
            else 'unknown'
        )
        for store in filter(record.holds, record.stores):
            key = store, visibility
            held[key] = held.get(key, Amount()).plus(image)
        for store, state, age in _copies_of(image, tasks, now):
            place = store, state
            copies[place] = copies.get(place, Copies()).plus(age)
        if missing is not None:
            for store in _missing_of(image, rules or (), writable):
                missing[store] = missing[store].plus(image)
    return Census(held, copies, missing)


def _copies_of(
    image: images.Image,
    tasks: Sequence[task_values.CopyTask],
    now: datetime.datetime,
) -> Iterable[tuple[str, State, datetime.timedelta]]:
    record = image.record
    task = next((task for task in tasks if task.id == record.lock), None)
    brings = task.stores if task is not None and task.copies else frozenset()
    if record.lock is not None:
        brings |= record.importing
    unknown = datetime.timedelta()
    age = unknown
    if task is not None and task.created_at is not None:
        age = max(now - task.created_at, unknown)
    for store in sorted(brings | record.failed):
        found = cell.of(record, tasks, store, now)
        state = State.QUEUED if found.queued else _STATES.get(found.state)
        if state is State.SILENT and store not in brings:
            # It failed, and something else holds the image now.
            state = State.FAILED
        if state is State.FAILED:
            yield store, state, unknown
        elif state is not None:
            yield store, state, age


def _missing_of(
    image: images.Image,
    rules: Sequence[wanted.Rule],
    writable: Sequence[str],
) -> Sequence[str]:
    applying = [rule for rule in rules if rule.applies_to(image)]
    if not applying or not image.record.active:
        return ()
    return plan.change_of(image, applying, writable).into
