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

"""All copies under way, seen again and again."""

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import datetime
from typing import Protocol

from nova_rbd_multistore import task as task_values
from nova_rbd_multistore_client import cell
from nova_rbd_multistore_client import errors
from nova_rbd_multistore_client import image as images

#: By how much the clocks of Glance and of this machine may differ.
SKEW = datetime.timedelta(minutes=2)


class Glance(Protocol):
    """What is asked of Glance: ``glance.Glance``."""

    def image(self, image_id: str) -> images.Image: ...

    def every_image(
        self, filters: Mapping[str, str] | None = None
    ) -> Iterator[images.Image]: ...

    def tasks(self, image_id: str) -> tuple[task_values.CopyTask, ...]: ...


@dataclasses.dataclass(frozen=True, slots=True)
class UnderWay:
    """One image on its way into a store, or held for all.

    :ivar store: '' where no copy is under way, and something else holds it
    :ivar task: that holds it, None where Glance does not show it
    """

    image: images.Image
    store: str
    cell: cell.Cell
    task: task_values.CopyTask | None


class Looks:
    """Looks at all images, the first one apart at those that were changed.

    :param stores: to look at copies to
    """

    def __init__(self, service: Glance, stores: Sequence[str]) -> None:
        self._service = service
        self._stores = stores
        self._looked_at: datetime.datetime | None = None
        self._locked: dict[str, images.Image] = {}

    def look(self, now: datetime.datetime) -> list[UnderWay]:
        """What is under way, by the names of the images.

        :param now: UTC, without a zone
        """
        filters = {}
        if self._looked_at is not None:
            since = self._looked_at - SKEW
            filters = {'updated_at': f'gte:{since:%Y-%m-%dT%H:%M:%SZ}'}
        changed = {
            image.id: image for image in self._service.every_image(filters)
        }
        for image_id in self._locked.keys() - changed.keys():
            # A lock that goes does not count as a change.
            try:
                changed[image_id] = self._service.image(image_id)
            except errors.NotFound:
                del self._locked[image_id]
        for image_id, image in changed.items():
            if image.record.lock is None:
                self._locked.pop(image_id, None)
            else:
                self._locked[image_id] = image
        self._looked_at = now
        return sorted(
            (
                copy
                for image in self._locked.values()
                for copy in self._of(image, now)
            ),
            key=lambda copy: (copy.image.name, copy.image.id, copy.store),
        )

    def _of(
        self, image: images.Image, now: datetime.datetime
    ) -> Iterator[UnderWay]:
        record = image.record
        tasks = self._service.tasks(image.id)
        task = next((task for task in tasks if task.id == record.lock), None)
        brings = record.importing | (task.stores if task else frozenset())
        shown = False
        for store in self._stores:
            found = cell.of(record, tasks, store, now)
            if store in brings and found.state in (
                cell.State.COPYING,
                cell.State.LOCKED,
            ):
                shown = True
                yield UnderWay(image, store, found, task)
        if not shown and not brings:
            until = task.lock_kept_until if task else None
            held = cell.Cell(cell.State.LOCKED, until=until)
            yield UnderWay(image, '', held, task)
