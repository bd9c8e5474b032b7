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

"""Images are brought into stores: requested, followed, and taken up again."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
import dataclasses
import datetime
import enum
from typing import Protocol

from nova_rbd_multistore import progress
from nova_rbd_multistore import task as task_values
from nova_rbd_multistore_client import cell
from nova_rbd_multistore_client import errors
from nova_rbd_multistore_client import image as images
from nova_rbd_multistore_client import lock
from nova_rbd_multistore_client import patience

#: Seconds between two polls of one image, and the share of the time waited so
#: far by which they grow further apart.
POLL = 2.0
POLL_SHARE = 0.03
POLL_MOST = 30.0

#: How often a copy is requested that ends without a trace, as one does whose
#: lock another request has taken.
REQUESTS = 3


class Glance(Protocol):
    """What is asked of Glance: ``glance.Glance``."""

    def image(self, image_id: str) -> images.Image: ...

    def tasks(self, image_id: str) -> tuple[task_values.CopyTask, ...]: ...

    def request_copy(
        self, image_id: str, into: Sequence[str]
    ) -> task_values.CopyReply: ...


class Report(Protocol):
    """Whoever is told how copies come along, as they do."""

    def says(self, image: images.Image, words: str) -> None:
        """Something is said of an image."""

    def copied(
        self, image: images.Image, store: str, how_far: progress.Progress
    ) -> None:
        """A copy was seen to be somewhere."""

    def ends(self, result: 'Result') -> None:
        """There is an outcome for one store."""


class Outcome(enum.Enum):
    """What has become of one image in one store."""

    THERE = 'was there'
    COPIED = 'copied'
    REQUESTED = 'requested'
    COPYING = 'being copied'
    FAILED = 'failed'
    #: No copy can be requested for now.
    HELD = 'held'


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """What has become of one image in one store.

    :ivar words: more of it, '' if there is no more to say
    """

    image: images.Image
    store: str
    outcome: Outcome
    words: str = ''

    def __str__(self) -> str:
        return (
            f'{self.outcome.value}: {self.words}'
            if self.words
            else self.outcome.value
        )

    @property
    def well(self) -> bool:
        """Whether it is, or will be, as it was asked for."""
        return self.outcome not in (Outcome.FAILED, Outcome.HELD)


@dataclasses.dataclass(frozen=True)
class Wishes:
    """How copies are to be made.

    :ivar wait: whether to wait until they end
    :ivar parallel: how many images are copied at a time
    :ivar retry: whether to request once more what failed, each store alone
    """

    wait: bool = False
    parallel: int = 4
    retry: bool = False


@dataclasses.dataclass(frozen=True)
class Time:
    """Time, as it passes: all three go on together.

    :ivar clock: monotonic, in seconds
    :ivar utcnow: without a zone
    """

    clock: Callable[[], float]
    sleep: Callable[[float], None]
    utcnow: Callable[[], datetime.datetime]


class Bringing:
    """Images on their way into stores.

    :param arrived: how many bytes of an image a store has, by a look into its
        cluster; None where that cannot be told
    """

    def __init__(
        self,
        service: Glance,
        report: Report,
        wishes: Wishes,
        time: Time,
        arrived: Callable[[str, str], int | None] | None = None,
    ) -> None:
        self._service = service
        self._report = report
        self._wishes = wishes
        self._time = time
        self._arrived = arrived or (lambda _image, _store: None)

    def run(
        self, wanted: Iterable[tuple[images.Image, Sequence[str]]]
    ) -> list[Result]:
        """Bring images into stores; what has become of each.

        :raises errors.NotAllowed: if this account may not
        :raises errors.Unreachable: if Glance gives no answer of use
        """
        queue = deque(
            _Copy(image, stores, self._report, self._time)
            for image, stores in wanted
        )
        results: list[Result] = []
        under_way: list[_Copy] = []
        while queue or under_way:
            while queue and len(under_way) < self._wishes.parallel:
                under_way.append(queue.popleft())
            for copy in under_way:
                copy.step(self._service, self._wishes, self._arrived)
                results += copy.take_results()
            under_way = [copy for copy in under_way if copy.left]
            if under_way:
                now = self._time.clock()
                due = min(copy.next_at for copy in under_way)
                self._time.sleep(max(due - now, 0.1))
        return results


class _Copy:
    """One image on its way into some stores.

    :ivar left: the stores that have no outcome yet
    :ivar next_at: by the clock, when Glance is to be polled again
    """

    def __init__(
        self,
        image: images.Image,
        stores: Sequence[str],
        report: Report,
        time: Time,
    ) -> None:
        self.left = list(stores)
        self.next_at = time.clock()
        self._image = image
        self._report = report
        self._time = time
        self._begun_at = time.clock()
        self._patience = patience.Patience(time.clock)
        self._requested: dict[str, int] = {}
        self._asked = False
        self._followed = False
        self._progress: dict[str, progress.Progress] = {}
        self._results: list[Result] = []
        self._said = ''
        self._hidden = lock.HiddenLock(time.clock)

    def take_results(self) -> list[Result]:
        """The outcomes since the last time."""
        results, self._results = self._results, []
        return results

    def step(
        self,
        service: Glance,
        wishes: Wishes,
        arrived: Callable[[str, str], int | None],
    ) -> None:
        """Poll Glance if it is time to, and do what is to be done then."""
        now = self._time.clock()
        if now < self.next_at:
            return
        try:
            self._poll(service, wishes, arrived)
        except errors.Unreachable as exc:
            if not wishes.wait or self._patience.is_out(now):
                raise
            self._say(str(exc))
        except (errors.NotFound, errors.Refused) as exc:
            # Of this image alone: the others go on.
            self._end_all(Outcome.FAILED, str(exc))
        else:
            self._patience.renew()
        waited = self._time.clock() - self._begun_at
        self.next_at = self._time.clock() + min(
            max(POLL, waited * POLL_SHARE), POLL_MOST
        )

    def _poll(
        self,
        service: Glance,
        wishes: Wishes,
        arrived: Callable[[str, str], int | None],
    ) -> None:
        self._image = image = service.image(self._image.id)
        record = image.record
        for store in [store for store in self.left if record.holds(store)]:
            self._end(
                store, Outcome.COPIED if self._followed else Outcome.THERE
            )
        if not self.left:
            return
        tasks = service.tasks(image.id) if cell.needs_tasks(record) else ()
        now = self._time.utcnow()
        cells = {
            store: cell.of(record, tasks, store, now) for store in self.left
        }
        dead = self._is_dead(record.lock, tasks)
        if (
            record.lock is not None
            and not dead
            and not _may_take_over(cells, now)
        ):
            self._follow(cells, tasks, wishes, arrived)
            return
        if self._asked:
            self._judge(cells, wishes)
        if self.left:
            self._request(service, wishes, cells)

    def _is_dead(
        self, held_by: str | None, tasks: Sequence[task_values.CopyTask]
    ) -> bool:
        """Whether it is time to see if what holds the image still exists."""
        if not self._hidden.is_hidden(held_by, tasks):
            return False
        if not self._hidden.is_dead():
            return False
        self._hidden.forget()
        return True

    def _follow(
        self,
        cells: dict[str, cell.Cell],
        tasks: Sequence[task_values.CopyTask],
        wishes: Wishes,
        arrived: Callable[[str, str], int | None],
    ) -> None:
        """See how far whatever holds the image has come."""
        for store, found in cells.items():
            coming = found.state is cell.State.COPYING
            if coming:
                self._followed = self._asked = True
            if not wishes.wait:
                self._end(
                    store,
                    Outcome.COPYING if coming else Outcome.HELD,
                    '' if coming else str(found),
                )
            elif coming:
                self._watch(store, found, tasks, arrived)
        held = [f for f in cells.values() if f.state is cell.State.LOCKED]
        if held and len(held) == len(cells):
            self._say(f'waiting, for the image is {held[0]}')

    def _watch(
        self,
        store: str,
        found: cell.Cell,
        tasks: Sequence[task_values.CopyTask],
        arrived: Callable[[str, str], int | None],
    ) -> None:
        record = self._image.record
        if found.queued:
            self._say('accepted by Glance, not begun')
            return
        copied = arrived(self._image.id, store)
        if copied is None:
            task = next((t for t in tasks if t.id == record.lock), None)
            if task is None or found.percent is None:
                return
            if cell.current_store(record, task) != store:
                return
            copied = progress.bytes_in_message(task.message) or 0
        if not copied:
            return
        seen = self._progress.setdefault(
            store, progress.Progress(record.size, self._time.clock)
        )
        seen.saw(copied)
        self._report.copied(self._image, store, seen)

    def _judge(self, cells: dict[str, cell.Cell], wishes: Wishes) -> None:
        """See what has become of a copy that has ended."""
        self._asked = False
        for store, found in cells.items():
            requested = self._requested.get(store, 0)
            if found.state is cell.State.FAILED:
                if wishes.retry and requested < 2:
                    self._say(f'store {store} {found}; once more')
                    continue
                self._end(store, Outcome.FAILED, found.reason)
            elif requested >= REQUESTS:
                self._end(
                    store,
                    Outcome.FAILED,
                    f'Glance has dropped {requested} copies without a word',
                )

    def _request(
        self, service: Glance, wishes: Wishes, cells: dict[str, cell.Cell]
    ) -> None:
        into = [store for store in self.left if store in cells]
        again = [store for store in into if store in self._requested]
        if again:
            # Alone, so that Glance says why if that fails, too.
            into = again[:1]
        reply = service.request_copy(self._image.id, into)
        match reply.verdict:
            case task_values.Verdict.ACCEPTED:
                for store in into:
                    self._requested[store] = self._requested.get(store, 0) + 1
                self._asked = self._followed = True
                self._say(f'copy to {", ".join(into)} requested')
                if not wishes.wait:
                    for store in into:
                        self._end(store, Outcome.REQUESTED)
            case task_values.Verdict.BUSY if not wishes.wait:
                self._end_all(Outcome.HELD, reply.reason)
            case task_values.Verdict.BUSY:
                if self._image.record.active:
                    self._say(f'waiting, for Glance says: {reply.reason}')
                else:
                    self._end_all(Outcome.FAILED, reply.reason)
            case task_values.Verdict.NOT_NEEDED:
                # It may have come this moment: the next poll tells.
                for store in into:
                    self._requested[store] = self._requested.get(store, 0) + 1
                    if self._requested[store] >= REQUESTS or not wishes.wait:
                        self._end(store, Outcome.FAILED, reply.reason)

    def _end_all(self, outcome: Outcome, words: str) -> None:
        for store in [*self.left]:
            self._end(store, outcome, words)

    def _end(self, store: str, outcome: Outcome, words: str = '') -> None:
        self.left.remove(store)
        result = Result(self._image, store, outcome, words)
        self._results.append(result)
        self._report.ends(result)

    def _say(self, words: str) -> None:
        if words != self._said:
            self._said = words
            self._report.says(self._image, words)


def _may_take_over(
    cells: dict[str, cell.Cell], now: datetime.datetime
) -> bool:
    """Whether Glance lets a request take the image's lock over."""
    return all(
        found.state is cell.State.LOCKED
        and found.until is not None
        and found.until <= now
        for found in cells.values()
    )
