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

"""An image, as commands need it: its record, and what names it."""

from collections.abc import Mapping
import dataclasses
from typing import Any, Self

from nova_rbd_multistore import answers
from nova_rbd_multistore import image as image_values
from nova_rbd_multistore import text

#: Fields of a record that are Glance's own and no properties of an image.
_OWN_FIELDS = frozenset(
    {
        *('id', 'name', 'status', 'owner', 'visibility', 'size', 'tags'),
        *('disk_format', 'container_format', 'virtual_size', 'checksum'),
        *('protected', 'min_ram', 'min_disk', 'os_hidden', 'os_hash_algo'),
        *('os_hash_value', 'created_at', 'updated_at', 'self', 'file'),
        *('schema', 'stores', 'locations', 'direct_url'),
    }
)


@dataclasses.dataclass(frozen=True, slots=True)
class Image:
    """An image of Glance.

    :ivar name: '' where it has none
    :ivar protected: whether it may not be deleted
    :ivar created_at: as Glance writes it, UTC; '' where it does not tell
    :ivar updated_at: likewise, of its record
    :ivar properties: those that people have set
    """

    record: image_values.ImageRecord
    name: str = ''
    protected: bool = False
    created_at: str = ''
    updated_at: str = ''
    tags: frozenset[str] = frozenset()
    properties: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def from_answer(cls, body: object) -> Self:
        """Read the JSON of an image.

        :raises answers.MalformedAnswer: naming the field that is not as
            promised
        """
        fields = answers.mapping(body, 'no image record but')
        return cls(
            record=image_values.ImageRecord.from_answer(fields),
            name=text.printable(fields.get('name') or ''),
            protected=fields.get('protected') is True,
            created_at=answers.optional_words(fields, 'created_at') or '',
            updated_at=answers.optional_words(fields, 'updated_at') or '',
            tags=_tags(fields),
            properties={
                str(name): value
                for name, value in fields.items()
                if isinstance(value, str)
                and name not in _OWN_FIELDS
                and not image_values.is_reserved(name)
            },
        )

    @property
    def id(self) -> str:
        return self.record.id

    def __str__(self) -> str:
        """Its name and its id, for people."""
        return f'{self.name} ({self.id})' if self.name else self.id


def _tags(fields: Mapping[str, Any]) -> frozenset[str]:
    tags = fields.get('tags')
    if not isinstance(tags, list):
        return frozenset()
    return frozenset(tag for tag in tags if isinstance(tag, str))


def images(body: object) -> tuple[Image, ...]:
    """Read a page of ``GET /v2/images``.

    :raises answers.MalformedAnswer: if it is not a list of images
    """
    found = body.get('images') if isinstance(body, Mapping) else None
    if not isinstance(found, list):
        raise answers.MalformedAnswer(
            f'no list of images but {answers.shown(body)}'
        )
    return tuple(Image.from_answer(entry) for entry in found)
