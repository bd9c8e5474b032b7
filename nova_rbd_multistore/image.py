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

"""Glance's answers about an image, read once into values.

Everything here is as Glance's image API v2 sends it. In particular
``stores``, ``os_glance_importing_to_stores`` and ``os_glance_failed_import``
are comma-separated *strings* of store names.
"""

from collections.abc import Mapping
import dataclasses
from typing import Self

from nova_rbd_multistore import answers

#: Glance keeps names with this prefix for stores of its own.
RESERVED_PREFIX = 'os_glance_'

#: Both are plain bytes on a disk, so a clone of them is a boot disk.
RAW_FORMATS = frozenset({'raw', 'iso'})


def is_reserved(store: str) -> bool:
    """Whether Glance keeps a store's name for itself.

    Its staging area and its tasks' are stores too. Glance never shows them,
    nor lets an operator name a store so; what is in them is no image yet.
    """
    return store.startswith(RESERVED_PREFIX)


@dataclasses.dataclass(frozen=True, slots=True)
class ImageLocation:
    """One place where an image's data lies.

    :ivar store: name of the store, None where the location does not tell
    """

    url: str
    store: str | None = None

    @classmethod
    def from_answer(cls, entry: object) -> Self:
        """Read the JSON of a location, ``{"url": …, "metadata": …}``.

        :raises answers.MalformedAnswer: if it has no URL
        """
        fields = answers.mapping(entry, 'a location is')
        url = answers.words(fields, 'url')
        match fields.get('metadata'):
            case {'store': str(store)}:
                return cls(url, store)
            case _:
                return cls(url)


@dataclasses.dataclass(frozen=True, slots=True)
class ImageRecord:
    """An image as ``GET /v2/images/{id}`` shows it.

    :ivar visibility: Glance's word for whom it is shown to, None if not told
    :ivar size: bytes, None where Glance does not know
    :ivar stores: names of the stores that hold the data
    :ivar reserved: names among them that Glance keeps for itself: they hold
        nothing that anybody may use
    :ivar importing: names of the stores that a copy goes to. Glance leaves
        names behind when staging fails: they mean something only under a lock
    :ivar failed: names of the stores that a copy did not reach, until the
        next copy to them has begun
    :ivar lock: id of the task that holds the image's import lock
    :ivar locations: None where the record does not show them
    """

    id: str
    status: str
    owner: str | None = None
    visibility: str | None = None
    disk_format: str | None = None
    container_format: str | None = None
    size: int | None = None
    stores: frozenset[str] = frozenset()
    reserved: frozenset[str] = frozenset()
    importing: frozenset[str] = frozenset()
    failed: frozenset[str] = frozenset()
    lock: str | None = None
    locations: tuple[ImageLocation, ...] | None = None

    @classmethod
    def from_answer(cls, body: object) -> Self:
        """Read the JSON of an image.

        :raises answers.MalformedAnswer: naming the field that is not as
            promised
        """
        fields = answers.mapping(body, 'no image record but')
        stores = answers.store_names(fields, 'stores')
        reserved = frozenset(filter(is_reserved, stores))
        return cls(
            id=answers.identifier(fields, 'id'),
            status=answers.words(fields, 'status'),
            owner=answers.optional_words(fields, 'owner'),
            visibility=answers.optional_words(fields, 'visibility'),
            disk_format=answers.optional_words(fields, 'disk_format'),
            container_format=answers.optional_words(
                fields, 'container_format'
            ),
            size=answers.byte_count(fields, 'size'),
            stores=stores - reserved,
            reserved=reserved,
            importing=answers.store_names(
                fields, 'os_glance_importing_to_stores'
            ),
            failed=answers.store_names(fields, 'os_glance_failed_import'),
            lock=answers.optional_identifier(fields, 'os_glance_import_task'),
            # direct_url alone is one location of perhaps many, and which one
            # follows the stores' weights: it can say yes, but never no.
            locations=image_locations(fields['locations'])
            if fields.get('locations')
            else None,
        )

    @property
    def active(self) -> bool:
        """Whether users may read the data."""
        return self.status == 'active'

    @property
    def raw(self) -> bool:
        """Whether the bytes of the disk are the bytes that a guest sees."""
        return self.disk_format in RAW_FORMATS

    @property
    def bare(self) -> bool:
        """Whether the bytes of the image are those of the disk alone.

        In any other container (``compressed``, ``ova``, …) the disk is packed,
        and its format is that of what will be unpacked.
        """
        return self.container_format == 'bare'

    def whose(self, project: str | None) -> str | None:
        """What the image is to a project: its ``own``, or another's.

        Of another's, Glance's word for how it comes to be shown.
        """
        if self.owner is not None and self.owner == project:
            return 'own'
        return self.visibility

    def holds(self, store: str) -> bool:
        """Whether ``store`` has the whole image."""
        return store in self.stores and not (
            self.lock and store in self.importing
        )


def image_locations(body: object) -> tuple[ImageLocation, ...]:
    """Read a list of locations.

    :raises answers.MalformedAnswer: if it is not such a list
    """
    if not isinstance(body, list):
        raise answers.MalformedAnswer(
            f'no list of locations but {answers.shown(body)}'
        )
    return tuple(ImageLocation.from_answer(entry) for entry in body)


def store_ids(body: object) -> frozenset[str]:
    """Read the names of the stores from ``GET /v2/info/stores``.

    :raises answers.MalformedAnswer: if it is not a list of stores
    """
    stores = body.get('stores') if isinstance(body, Mapping) else None
    if not isinstance(stores, list):
        raise answers.MalformedAnswer(
            f'no list of stores but {answers.shown(body)}'
        )
    return frozenset(
        answers.words(answers.mapping(entry, 'a store is'), 'id')
        for entry in stores
    )
