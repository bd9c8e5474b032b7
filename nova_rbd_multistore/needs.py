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

"""What a question needs of the endpoint of Glance that answers it."""

from collections.abc import Collection
import dataclasses

from nova_rbd_multistore import text


@dataclasses.dataclass(frozen=True, slots=True)
class Needs:
    """What the endpoint that answers a question must have, or not be.

    :ivar store: name of a store that it must have, None if it need not
    :ivar sources: names of stores of which it must have one as well; empty
        where that is not known
    :ivar avoid: names of endpoints that are not asked
    """

    store: str | None = None
    sources: frozenset[str] = frozenset()
    avoid: frozenset[str] = frozenset()

    def lacking(self, stores: Collection[str]) -> str:
        """What an endpoint with these stores lacks, '' if nothing."""
        if self.store and self.store not in stores:
            return text.printable(f'no store {self.store}')
        if self.sources and self.sources.isdisjoint(stores):
            sources = ', '.join(sorted(self.sources))
            return text.printable(f'none of the stores {sources}')
        return ''


#: Of a question that any endpoint can answer.
NOTHING = Needs()
