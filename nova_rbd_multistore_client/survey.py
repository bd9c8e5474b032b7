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

"""All images, counted again and again: what was seen last is kept."""

from collections.abc import Callable, Iterator, Sequence
import dataclasses
import datetime
import logging
from typing import Protocol

from nova_rbd_multistore import task as task_values
from nova_rbd_multistore_client import census
from nova_rbd_multistore_client import errors
from nova_rbd_multistore_client import image as images
from nova_rbd_multistore_client import store as stores
from nova_rbd_multistore_client import wanted

LOG = logging.getLogger(__name__)


class Glance(Protocol):
    """What is asked of Glance: ``glance.Glance``."""

    @property
    def requests(self) -> int: ...

    def stores(self) -> tuple[stores.Store, ...]: ...

    def every_image(self) -> Iterator[images.Image]: ...

    def tasks(self, image_id: str) -> tuple[task_values.CopyTask, ...]: ...


#: Reads the rules for the stores that there are.
Rules = Callable[[Sequence[stores.Store]], Sequence[wanted.Rule]]


@dataclasses.dataclass(frozen=True)
class Time:
    """Time, as it passes: both go on together.

    :ivar clock: monotonic, in seconds
    :ivar utcnow: without a zone
    """

    clock: Callable[[], float]
    utcnow: Callable[[], datetime.datetime]


@dataclasses.dataclass(frozen=True, slots=True)
class Sight:
    """What was seen so far.

    :ivar well: whether the last look was a good one
    :ivar requests: how many Glance was sent
    :ivar counted: by the last good look, None before the first
    :ivar at: when that began, UTC
    :ivar seconds: that it took
    :ivar rules_well: whether the rules could be read, None if there are none
    """

    well: bool = False
    requests: int = 0
    counted: census.Census | None = None
    at: datetime.datetime | None = None
    seconds: float = 0.0
    rules_well: bool | None = None


class Survey:
    """Looks at all images.

    :param let_in: logs in at Glance
    :param rules: None if nobody has said what belongs where
    :ivar sight: what was seen so far; each look replaces it as a whole, so
        that any thread may read it
    """

    def __init__(
        self,
        let_in: Callable[[], Glance],
        rules: Rules | None,
        time: Time,
    ) -> None:
        self.sight = Sight()
        self._let_in = let_in
        self._service: Glance | None = None
        self._rules = rules
        self._time = time
        self._said: dict[str, str] = {}

    def look(self) -> None:
        """Count all images; if Glance does not let us, keep the last count."""
        began, at = self._time.clock(), self._time.utcnow()
        try:
            service = self._service = self._service or self._let_in()
            known = service.stores()
            rules = self._read_rules(known)
            counted = census.take(
                _with_tasks(service),
                [store.id for store in known],
                [store.id for store in known if not store.read_only],
                rules,
                at,
            )
        except errors.ReplicaError as exc:
            self._say('Glance', f'{exc}')
            self.sight = dataclasses.replace(
                self.sight, well=False, requests=self._requests
            )
            return
        self._say('Glance', '')
        self.sight = Sight(
            well=True,
            requests=self._requests,
            counted=counted,
            at=at,
            seconds=self._time.clock() - began,
            rules_well=None if self._rules is None else rules is not None,
        )

    @property
    def _requests(self) -> int:
        return 0 if self._service is None else self._service.requests

    def _read_rules(
        self, known: Sequence[stores.Store]
    ) -> Sequence[wanted.Rule] | None:
        if self._rules is None:
            return None
        try:
            rules = self._rules(known)
        except errors.WrongUse as exc:
            self._say('The rules', f'{exc}')
            return None
        self._say('The rules', '')
        return rules

    def _say(self, who: str, trouble: str) -> None:
        """Log what is wrong, once for as long as it is."""
        if trouble == self._said.get(who, ''):
            return
        self._said[who] = trouble
        if trouble:
            LOG.error('%s', trouble)
        else:
            LOG.info('%s: all is well again', who)


def _with_tasks(
    service: Glance,
) -> Iterator[tuple[images.Image, Sequence[task_values.CopyTask]]]:
    for image in service.every_image():
        held = image.record.lock is not None
        yield image, service.tasks(image.id) if held else ()
