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

"""Which copy of an image may be deleted from a store, and which never."""

from collections.abc import Iterable, Mapping, Sequence
import dataclasses
import datetime

from nova_rbd_multistore import image as image_values
from nova_rbd_multistore_client import age
from nova_rbd_multistore_client import data
from nova_rbd_multistore_client import image as images


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """What the clusters show of an image.

    :ivar looked: whether the data in the store was looked at: what is not
        found where the record says that it lies was not
    :ivar unseen: why that could not be done, although the store's cluster was
        given, '' otherwise
    :ivar lost_in: pool where nothing was found of it, '' otherwise
    :ivar found: what it has, None if nothing
    :ivar empty: other stores that are known not to have the whole data
    :ivar doubted: why nobody could look into others, although the cluster of
        each was given
    """

    looked: bool = False
    unseen: str = ''
    lost_in: str = ''
    found: data.Data | None = None
    empty: frozenset[str] = frozenset()
    doubted: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def frees(self) -> int | None:
        """Bytes that come free at once, None if that is not known."""
        if not self.looked:
            return None
        return self.found.freed if self.found else 0


NOTHING_SEEN = Seen()


def obstacle(
    record: image_values.ImageRecord, store: str, seen: Seen = NOTHING_SEEN
) -> str:
    """Why a copy must not be deleted, '' if it may be."""
    if store not in record.stores:
        return 'the store has not the image'
    if not record.active:
        return f'the image is {record.status}, not active'
    if record.lock is not None:
        return 'the image is being copied, or held otherwise'
    others = {
        other
        for other in record.stores - {store}
        if record.holds(other) and other not in seen.empty
    }
    if not others:
        return 'it is the last copy'
    if seen.found is not None and seen.found.clones:
        return data.clones_in_words(seen.found.clones)
    return ''


def unmet(
    record: image_values.ImageRecord,
    belongs_in: Iterable[str],
    seen: Seen = NOTHING_SEEN,
) -> str:
    """Which copy that is wanted is not well, '' if all of them are.

    Of a store whose cluster was not given, the record is believed.

    :param belongs_in: the stores in which copies are wanted
    """
    for store in belongs_in:
        if not record.holds(store):
            return f'it is not in store {store}'
        if store in seen.empty:
            return f'the copy in store {store} has not its whole data'
        if store in seen.doubted:
            return f'store {store}: {seen.doubted[store]}'
    return ''


def without(
    record: image_values.ImageRecord, store: str
) -> image_values.ImageRecord:
    """The record, as it will be when that copy is deleted."""
    return dataclasses.replace(record, stores=record.stores - {store})


@dataclasses.dataclass(frozen=True, slots=True)
class Candidate:
    """An image that nobody seems to need in a store.

    :ivar since: when it was last changed, copied or used, UTC
    """

    image: images.Image
    since: datetime.datetime


def unused(
    listed: Iterable[images.Image],
    store: str,
    used: frozenset[str],
    before: datetime.datetime,
    keep: int,
) -> Sequence[Candidate]:
    """Images in a store that nobody has used for a while, oldest first.

    Whatever is changed of an image counts, a copy to another store included.

    :param used: ids of the images of servers since then
    :param before: UTC, without a zone
    :param keep: how many of those in the store to leave anyhow, the ones that
        were changed last
    """
    found = []
    for image in listed:
        if store not in image.record.stores:
            continue
        since = age.moment(image.updated_at or image.created_at)
        # Without a time, it may have come this moment.
        found.append(Candidate(image, since or datetime.datetime.max))
    found.sort(key=lambda candidate: candidate.since)
    left = found[: len(found) - keep] if keep else found
    return [
        candidate
        for candidate in left
        if candidate.since < before and candidate.image.id not in used
    ]
