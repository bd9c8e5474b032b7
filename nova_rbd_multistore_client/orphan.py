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

"""Data without a record, and records without data: a pool against Glance."""

from collections.abc import Iterable, Iterator
import dataclasses
import datetime
import enum
import uuid

from nova_rbd_multistore import location
from nova_rbd_multistore_client import data
from nova_rbd_multistore_client import image as images
from nova_rbd_multistore_client import reading


class Kind(enum.Enum):
    """What is missing of which."""

    #: A pool has data that no record lists.
    DATA = 'data without a record'
    #: A record lists a store whose pool has not its data.
    RECORD = 'record without data'


@dataclasses.dataclass(frozen=True, slots=True)
class Orphan:
    """Something that lacks its other half.

    :ivar name: an image's id, or the name of the data
    :ivar bytes: that it takes, None for a record
    :ivar since: when it was made, UTC; None if not known
    :ivar kept: why it must not be removed, '' if it may be
    """

    kind: Kind
    name: str
    bytes: int | None = None
    since: datetime.datetime | None = None
    kept: str = ''


def is_image_id(name: str) -> bool:
    """Whether a name is one that Glance gives to its data."""
    try:
        return str(uuid.UUID(name)) == name
    except ValueError:
        return False


def of_data(
    found: data.Data,
    record: images.Image | None,
    before: datetime.datetime,
) -> Orphan:
    """Data that no record lists in its store.

    :param record: of an image of that name, which is in other stores
    :param before: what was made since then is left alone, UTC
    """
    if not is_image_id(found.name):
        kept = 'its name is none of an image: somebody else has put it there'
    elif record is not None:
        kept = (
            f'there is an image of that id: image replica repair {record.id}'
        )
    elif found.in_use:
        kept = found.in_use
    elif found.created_at >= before:
        kept = 'it is too new'
    else:
        kept = ''
    return Orphan(Kind.DATA, found.name, found.used, found.created_at, kept)


def without_data(
    image: images.Image, found: data.Data | None
) -> Orphan | None:
    """A record that lists a store, if the pool has not its whole data."""
    health, words = data.health(found, image.record.size)
    if health is not reading.Health.MISSING:
        return None
    return Orphan(
        Kind.RECORD,
        image.id,
        found.used if found else 0,
        found.created_at if found else None,
        f'{words}: image replica repair {image.id}',
    )


def names_in(urls: Iterable[str], fsid: str, pool: str) -> Iterator[str]:
    """The names under which locations have their data in a pool."""
    for url in urls:
        try:
            found = location.parse(url)
        except location.MalformedLocation:
            continue
        match found:
            case location.RbdLocation(fsid=where, pool=of, image=name):
                if (where, of) == (fsid, pool):
                    yield name
            case location.OldRbdLocation(image=name):
                # In whichever pool: this may be it.
                yield name
            case _:
                pass
