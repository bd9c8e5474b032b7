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

"""The endpoints of Glance, and what this process knows of each.

A cloud may run several glance-apis over one database. Any of them can answer
any question; each can be down, sick, or without one of the stores.
"""

from collections.abc import Callable, Collection, Iterable
import dataclasses
import random
import time

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


@dataclasses.dataclass(slots=True)
class _Knowledge:
    rests_until: float = 0.0
    healthy_until: float = 0.0
    stores: frozenset[str] = frozenset()


class Endpoints:
    """What was learned of Glance's endpoints, for all threads of a process.

    An endpoint is its URL. Each fact is one assignment, so threads need no
    lock, and green and native threads may share an object.

    :param rest: seconds for which a failure or good health is remembered
    :param clock: monotonic, in seconds
    :param shuffle: shuffles a list in place
    """

    def __init__(
        self,
        rest: float,
        clock: Callable[[], float] = time.monotonic,
        shuffle: Callable[[list[str]], None] = random.shuffle,
    ) -> None:
        self._rest = rest
        self._clock = clock
        self._shuffle = shuffle
        self._known: dict[str, _Knowledge] = {}

    def order(self, urls: Iterable[str]) -> list[str]:
        """``urls`` in the order to ask: random, those that rest last."""
        now = self._clock()
        order = list(dict.fromkeys(urls))
        self._shuffle(order)
        return sorted(
            order, key=lambda url: max(self._of(url).rests_until, now)
        )

    def failed(self, url: str) -> None:
        """Let an endpoint rest that gave no good answer."""
        known = self._of(url)
        known.healthy_until = 0.0
        known.rests_until = self._clock() + self._rest

    def note_healthy(self, url: str) -> None:
        """Remember that an endpoint's health check was good."""
        known = self._of(url)
        known.rests_until = 0.0
        known.healthy_until = self._clock() + self._rest

    def is_healthy(self, url: str) -> bool:
        """Whether an endpoint's health was good a short while ago."""
        return self._of(url).healthy_until > self._clock()

    def learn_stores(self, url: str, stores: frozenset[str]) -> None:
        """Remember the names of the stores that an endpoint has."""
        self._of(url).stores = stores

    def stores(self, url: str) -> frozenset[str]:
        """The names of the stores that an endpoint is known to have.

        A store that was there stays until glance-api restarts. One that was
        not may be there now: nobody is refused by what is remembered.
        """
        return self._of(url).stores

    def _of(self, url: str) -> _Knowledge:
        return self._known.setdefault(url, _Knowledge())
