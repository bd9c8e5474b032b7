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

"""Boots beside a glance-api that hangs, and is one of two.

Its process is stopped, so that its socket accepts connections, and nobody
reads what comes.
"""

from collections.abc import Iterator
import contextlib
import statistics
import time

from benchmarks import contenders
from benchmarks import report
from benchmarks import runs
from benchmarks import storms
from tests.rig import apis
from tests.rig import polling

MS = 1000.0

#: What is configured as ``[glance] timeout``, without which stock Nova would
#: wait for ever.
TIMEOUT = 10

#: Boots before it hangs, and when it is known that it does; seconds between
#: two. Together they take longer than one rests that failed.
BOOTS = 10
PAUSE = 0.2

#: Stock's story is told so often at most: its boots may wait for the time-out
#: several times each.
STOCK_STORIES = 2

#: Boots by which one of ours has met it: each asks one of two, twice.
ENOUGH = 12


def hanging_endpoint(run: runs.Run) -> list[report.Figure]:
    """Boot disks of a local image, with two glance-apis."""
    stock = _Story(run, contenders.STOCK, show_multiple_locations='true')
    ours = _Story(run, contenders.OURS, show_multiple_locations='true')
    secure = _Story(run, contenders.OURS)
    for story in (stock, ours, secure):
        story.tell()
    normal, secure_normal = (
        statistics.median(story.normal) for story in (ours, secure)
    )
    return [
        report.Figure(
            'Boot disk, two glance-apis',
            'ms',
            *(story.normal for story in (stock, ours, secure)),
        ),
        report.Figure(
            'The first boot that meets one that hangs',
            'ms',
            *(story.first for story in (stock, ours, secure)),
            bound=normal + 2 * MS,
            secure_bound=secure_normal + 2 * MS,
            target='2 s more',
            note=f'with [glance] timeout = {TIMEOUT}, without which stock '
            'Nova waits for ever',
        ),
        report.Figure(
            'Later boots, while it hangs',
            'ms',
            *(story.later for story in (stock, ours, secure)),
            bound=1.3 * normal,
            secure_bound=1.3 * secure_normal,
            target='1.3 x the same before',
        ),
        report.Figure(
            'Of 16 boots at once, those that meet it',
            '',
            [],
            ours.met,
            secure.met,
            bound=1,
            secure_bound=1,
            target='1',
        ),
    ]


class _Story:
    """What one contender goes through, several times.

    :ivar normal: milliseconds of boots before
    :ivar first: of the first that meets it
    :ivar later: of those after that
    :ivar met: of 16 boots at once, those that met it
    """

    def __init__(self, run: runs.Run, kind: str, **glance: str) -> None:
        self._run = run
        self._kind = kind
        self._glance = glance
        self.normal: list[float] = []
        self.first: list[float] = []
        self.later: list[float] = []
        self.met: list[float] = []

    def tell(self) -> None:
        ground = self._run.ground
        with ground.glances(2, **self._glance) as glances:
            steady, hanging = glances
            with ground.contenders(
                (self._kind, steady),
                # Not set, for the list to count.
                glance__endpoint_override='',
                glance__api_servers=[steady.url, hanging.url],
                glance__timeout=TIMEOUT,
                # It is tried again and again, and no boot meets it.
                rbd_multistore__glance_endpoint_rest=1,
            ) as (contender,):
                image = ground.upload('west')
                times = self._run.times(5)
                if self._kind == contenders.STOCK:
                    times = times[:STOCK_STORIES]
                for _ in times:
                    self._tell_once(contender, image, hanging)
                    ground.remove_disks(contender.disks)

    def _tell_once(
        self,
        contender: contenders.Contender,
        image: str,
        hanging: apis.GlanceApi,
    ) -> None:
        self.normal += self._boot(contender, image, BOOTS, PAUSE)
        with _frozen(hanging):
            if self._kind == contenders.STOCK:
                # Each may meet it.
                boots = self._boot(contender, image, 3)
                self.first += boots[:1]
                self.later += boots[1:]
                return
            before = _met(contender, hanging)
            for _ in range(ENOUGH):
                (boot,) = self._boot(contender, image, 1)
                if _met(contender, hanging) > before:
                    self.first.append(boot)
                    break
            self.later += self._boot(contender, image, BOOTS, PAUSE)
        self._recover(contender, image, hanging)
        with _frozen(hanging):
            before = _met(contender, hanging)
            at = time.time() + 0.1
            started = [
                contender.start(self._run.ground.user, image, at=at)
                for _ in range(storms.STORM)
            ]
            for one in started:
                contenders.boot_of(one).require_success()
            self.met.append(_met(contender, hanging) - before)
        self._recover(contender, image, hanging)

    def _recover(
        self,
        contender: contenders.Contender,
        image: str,
        hanging: apis.GlanceApi,
    ) -> None:
        """Boot until the one that hung is asked again, and answers."""
        # Whatever it owes is answered by then.
        time.sleep(1)
        before = _answered(hanging)

        def is_back() -> bool:
            self._boot(contender, image, 1)
            return _answered(hanging) > before

        polling.until(is_back, 'the one that hung answers again', pause=PAUSE)
        time.sleep(PAUSE)

    def _boot(
        self,
        contender: contenders.Contender,
        image: str,
        count: int,
        pause: float = 0.0,
    ) -> list[float]:
        found = []
        for _ in range(count):
            boot = contender.boot(self._run.ground.user, image)
            found.append(boot.require_success().seconds * MS)
            time.sleep(pause)
        return found


def _met(contender: contenders.Contender, hanging: apis.GlanceApi) -> int:
    """How many boots of ours have said that they waited for it in vain."""
    return sum(
        f'glance-api {hanging.url} failed' in line
        and 'no answer within' in line
        for line in contender.log.splitlines()
    )


def _answered(api: apis.GlanceApi) -> int:
    """How many questions about images it has answered."""
    return api.requests.count('GET /v2/images/')


@contextlib.contextmanager
def _frozen(api: apis.GlanceApi) -> Iterator[None]:
    api.freeze()
    try:
        yield
    finally:
        api.thaw()
