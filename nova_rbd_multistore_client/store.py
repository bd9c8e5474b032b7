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

"""A store of Glance."""

from collections.abc import Mapping
import dataclasses
from typing import Self

from nova_rbd_multistore import answers
from nova_rbd_multistore import text


@dataclasses.dataclass(frozen=True, slots=True)
class Store:
    """A store, as ``GET /v2/info/stores`` or its ``/detail`` shows it.

    :ivar id: its name
    :ivar default: whether images go there if nobody says where
    :ivar read_only: whether nothing can be copied there
    :ivar type: Glance's word for its driver, '' where it does not tell
    :ivar pool: where an RBD store keeps its images, None if not told
    :ivar fsid: of its Ceph cluster, None if not told
    """

    id: str
    description: str = ''
    default: bool = False
    read_only: bool = False
    type: str = ''
    pool: str | None = None
    fsid: str | None = None

    @classmethod
    def from_answer(cls, entry: object) -> Self:
        """Read the JSON of a store.

        :raises answers.MalformedAnswer: if it has no id
        """
        fields = answers.mapping(entry, 'a store is')
        properties = fields.get('properties')
        details = properties if isinstance(properties, Mapping) else {}
        return cls(
            id=answers.identifier(fields, 'id'),
            description=text.printable(fields.get('description') or ''),
            # Glance sends a text, not a JSON boolean.
            default=str(fields.get('default')).lower() == 'true',
            read_only=str(fields.get('read-only')).lower() == 'true',
            type=text.printable(fields.get('type') or '', 40),
            pool=answers.optional_words(details, 'pool'),
            fsid=answers.optional_words(details, 'fsid'),
        )


def stores(body: object) -> tuple[Store, ...]:
    """Read ``GET /v2/info/stores``.

    :raises answers.MalformedAnswer: if it is not a list of stores
    """
    found = body.get('stores') if isinstance(body, Mapping) else None
    if not isinstance(found, list):
        raise answers.MalformedAnswer(
            f'no list of stores but {answers.shown(body)}'
        )
    return tuple(Store.from_answer(entry) for entry in found)
