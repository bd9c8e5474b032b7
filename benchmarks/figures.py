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


"""The figures, one function for each block of them.

Whatever is compared is measured in turn, so that a busy moment of the machine
meets all alike.
"""

from collections.abc import Callable, Iterable
import contextlib
import dataclasses
import random
import statistics
import time
from typing import Any

from benchmarks import contenders
from benchmarks import cpu
from benchmarks import ground as grounds
from benchmarks import report
from tests.rig import apis
from tests.rig import polling

#: Boots at once, on one host or on one site.
STORM = 16

#: MiB of the image that a storm is about.
STORM_IMAGE = 64

#: Seconds between two looks for the end of a storm's copy, which only its plot
#: shows: each look takes some of the processor's time.
STORM_LOOK = 0.1

#: Seconds that Ceph's monitor leaves between two commits
#: (paxos_propose_interval); in a cluster at rest there is about one in each.
MONITOR_PACE = 1.0

#: Seconds by which all of a storm have been told when to begin.
HEAD_START = 1.0

MS = 1000.0


@dataclasses.dataclass
class Run:
    """One run of the benchmarks.

    :ivar quick: whether a few samples of each will do
    :ivar storms: when the boots of the last storm were where, in seconds
    """

    ground: grounds.Ground
    quick: bool
    storms: dict[str, Any] = dataclasses.field(default_factory=dict)

    def times(self, count: int) -> range:
        return range(max(count // 10, 2) if self.quick else count)


def _ms(boots: Iterable[contenders.Boot]) -> list[float]:
    return [boot.seconds * MS for boot in boots]


def _require_success(boot: contenders.Boot) -> contenders.Boot:
    if boot.error:
        raise RuntimeError(boot.error)
    return boot


def _requests(glance: apis.GlanceApi) -> int:
    return len(glance.requests.splitlines())


def boot_disk(run: Run) -> list[report.Figure]:
    """A boot disk from an image that the local cluster has."""
    ground = run.ground
    with ground.contenders(
        (contenders.STOCK, ground.open),
        (contenders.OURS, ground.open),
        (contenders.OURS, ground.secure),
        (contenders.BARE, ground.open),
    ) as made:
        image = ground.upload('west')
        user = ground.user
        before = [contender.counts() for contender in made]
        samples: list[list[contenders.Boot]] = [[] for _ in made]
        rounds = run.times(40)
        for _ in rounds:
            for contender, boots in zip(made, samples, strict=True):
                boots.append(_require_success(contender.boot(user, image)))
                ground.remove_disks(contender.disks)
        described: list[list[float]] = [
            [contender.describe(image) * MS for _ in rounds]
            for contender in made[:2]
        ]
        after = [contender.counts() for contender in made]

    def each(field: str) -> list[list[float]]:
        return [
            [(getattr(end, field) - getattr(begin, field)) / len(rounds)]
            for begin, end in zip(before, after, strict=True)
        ]

    stock, ours, secure, limit = map(_ms, samples)
    cloned = [
        [(boot.clone[1] - boot.clone[0]) * MS for boot in boots if boot.clone]
        for boots in samples
    ]
    connections = each('connections')
    subprocesses = each('subprocesses')
    return [
        report.Figure(
            'Boot disk from an image in the local cluster',
            'ms',
            *(stock, ours, secure, limit),
            bound=min(
                1.3 * statistics.median(limit),
                0.35 * statistics.median(stock),
            ),
            target='1.3 x limit, 0.35 x stock',
        ),
        report.Figure('Of that, librbd cloning', 'ms', *cloned),
        report.Figure('Disk described for libvirt', 'ms', *described),
        report.Figure(
            'New RADOS connections per boot disk',
            '',
            *connections[:3],
            bound=0,
            target='0',
            note='the first boot of the process excepted',
        ),
        report.Figure(
            'Subprocesses per boot disk',
            '',
            *subprocesses[:3],
            bound=0,
            target='0',
            note='its description for libvirt included',
        ),
    ]


def end_of_a_copy(run: Run) -> list[report.Figure]:
    """From Glance marking a copy done to the clone, with default options."""
    ground = run.ground
    with ground.contenders(
        (contenders.STOCK, ground.open),
        (contenders.OURS, ground.open),
        (contenders.OURS, ground.secure),
    ) as (stock, ours, secure):
        user = ground.user

        def cold() -> tuple[str, grounds.Watch]:
            image = ground.upload('file')
            return image, grounds.Watch(ground.where, image, 'west')

        def lag(contender: contenders.Contender) -> float:
            image, watch = cold()
            with watch:
                boot = _require_success(contender.boot(user, image))
                return _clone_began(boot) - watch.ended()

        # Stock's boots wait for their next poll meanwhile, at no cost.
        waiting = []
        lags: tuple[list[float], list[float]] = ([], [])
        for number in run.times(15):
            if number < 5:
                image, watch = cold()
                watch.__enter__()
                waiting.append((stock.start(user, image), watch))
            lags[0].append(lag(ours))
            lags[1].append(lag(secure))
        late = []
        for started, watch in waiting:
            boot = _require_success(contenders.boot_of(started))
            late.append(_clone_began(boot) - watch.ended())
            watch.__exit__()
    probes = [_timed(ground.west.allocated, 'images', image) for _ in lags[0]]
    return [
        report.Figure(
            'Copy marked done to clone starting',
            's',
            *(late, *lags, probes),
            bound=0.5,
            target='0.5 s',
        )
    ]


def _clone_began(boot: contenders.Boot) -> float:
    if boot.clone is None:
        raise RuntimeError(f'{boot.disk} is no clone')
    return boot.clone[0]


def _timed(call: Callable[..., Any], *arguments: Any) -> float:
    began = time.monotonic()
    call(*arguments)
    return time.monotonic() - began


def failed_copy(run: Run) -> list[report.Figure]:
    """From Glance marking a copy failed to the error of the boot.

    The target pool has a half-written image of that name.
    """
    ground = run.ground
    # Stock waits for its whole timeout: that is known, not worth 600 s.
    timeout = 20 if run.quick else 60
    with (
        ground.contenders(
            (contenders.STOCK, ground.open),
            libvirt__images_rbd_glance_copy_timeout=timeout,
        ) as (stock,),
        ground.contenders(
            (contenders.OURS, ground.open), (contenders.OURS, ground.secure)
        ) as (ours, secure),
    ):
        user = ground.user

        def broken() -> tuple[str, grounds.Watch]:
            image = ground.upload('file')
            ground.west.create('images', image, 1 << 20)
            return image, grounds.Watch(ground.where, image, 'west')

        def lag(contender: contenders.Contender) -> float:
            image, watch = broken()
            with watch:
                boot = contender.boot(user, image)
                if not boot.error:
                    raise RuntimeError('the copy did not fail')
                ground.west.remove('images', image)
                return boot.ended - watch.ended()

        image, watch = broken()
        with watch:
            started = stock.start(user, image)
            lags: tuple[list[float], list[float]] = ([], [])
            for _ in run.times(10):
                lags[0].append(lag(ours))
                lags[1].append(lag(secure))
            late = contenders.boot_of(started).ended - watch.ended()
        ground.west.remove('images', image)
    return [
        report.Figure(
            'Copy marked failed to error',
            's',
            *([late], *lags),
            bound=1.0,
            target='1 s',
            note=f'stock waits for the whole timeout, here {timeout} s',
        )
    ]


@dataclasses.dataclass(frozen=True)
class Storm:
    """Boots of one cold image, all at the same moment.

    :ivar wall: seconds until the last had ended
    :ivar requests: to Glance, per boot
    """

    wall: float
    requests: float
    clones: int
    boots: list[dict[str, Any]]


def storm(
    ground: grounds.Ground,
    making: list[contenders.Contender],
    glance: apis.GlanceApi,
) -> Storm:
    """Boot on each of ``making``, which may name one many times."""
    _fall_out_of_step()
    image = ground.upload('file', STORM_IMAGE)
    user = ground.user
    requests = _requests(glance)
    at = time.time() + HEAD_START
    with grounds.Watch(ground.where, image, 'west', STORM_LOOK) as watch:
        # Disks of the image's own size: clones, to be compared with clones.
        started = [
            contender.start(user, image, at=at, root_gib=0, copy=True)
            for contender in making
        ]
        boots = [contenders.boot_of(boot) for boot in started]
        copied = watch.ended() - at
    return Storm(
        wall=max(boot.ended for boot in boots) - at,
        requests=(_requests(glance) - requests) / len(boots),
        clones=len(ground.clones(image)),
        boots=[
            {
                'copied': round(copied, 3),
                'clone': boot.clone
                and [round(moment - at, 3) for moment in boot.clone],
                'ended': round(boot.ended - at, 3),
                'failed': bool(boot.error),
            }
            for boot in boots
        ],
    )


def _fall_out_of_step() -> None:
    """Pause for a while, so that all times of the monitor's pace are met.

    Else all copies of one kind, following alike on the snapshot before, would
    wait for about as long.
    """
    time.sleep(random.uniform(0.0, MONITOR_PACE))  # noqa: S311


def _least_storm(
    run: Run, making: list[contenders.Contender]
) -> tuple[float, float]:
    """Seconds of the copy alone, and of the clones alone.

    :param making: those that do no more than they must
    """
    ground = run.ground
    _fall_out_of_step()
    image = ground.upload('file', STORM_IMAGE)
    copy = ground.copy(image)
    user = ground.user
    at = time.time() + HEAD_START
    started = [
        contender.start(user, image, at=at, root_gib=0, get=False)
        for contender in making
    ]
    boots = [contenders.boot_of(boot) for boot in started]
    return copy, max(boot.ended for boot in boots) - at


def _storm_figures(
    run: Run,
    row: str,
    where: str,
    all_of_them: tuple[list[Storm], list[Storm], list[Storm]],
    least: list[tuple[float, float]],
) -> list[report.Figure]:
    """What is told of storms: stock's, ours, and ours with secure Glance.

    :param row: of the plot, where the last of each are drawn
    """
    stock, ours, _ = all_of_them
    run.storms[row] = {'stock': stock[-1].boots, 'ours': ours[-1].boots}
    copy, clones = (
        statistics.median(part) for part in zip(*least, strict=True)
    )
    return [
        report.Figure(
            f'16 boot disks of one cold image, {where}',
            's',
            *([one.wall for one in storms] for storms in all_of_them),
            limit=[sum(parts) for parts in least],
            bound=copy + 1.3 * clones + 0.5,
            target='copy + 1.3 x 16 clones + 0.5 s',
            note=f'copy alone {copy:.2f} s, 16 clones alone {clones:.2f} s',
        ),
        report.Figure(
            f'Clones among them, {where}',
            '',
            *([one.clones for one in storms] for storms in all_of_them),
            limit=[STORM],
        ),
        report.Figure(
            f'Glance requests per boot, {where}',
            '',
            *([one.requests for one in storms] for storms in all_of_them),
            bound=3,
            target='3',
        ),
    ]


def storm_on_one_host(run: Run) -> list[report.Figure]:
    ground = run.ground
    storms: tuple[list[Storm], list[Storm], list[Storm]] = ([], [], [])
    least = []
    with ground.contenders(
        (contenders.STOCK, ground.open),
        (contenders.OURS, ground.open),
        (contenders.OURS, ground.secure),
        (contenders.BARE, ground.open),
    ) as made:
        glances = (ground.open, ground.open, ground.secure)
        for _ in run.times(9):
            for contender, glance, found in zip(
                made[:3], glances, storms, strict=True
            ):
                found.append(storm(ground, [contender] * STORM, glance))
                ground.remove_disks(contender.disks)
            least.append(_least_storm(run, [made[3]] * STORM))
            ground.remove_disks(made[3].disks)
    return _storm_figures(run, 'host', 'one host', storms, least)


def storm_on_one_site(run: Run) -> list[report.Figure]:
    ground = run.ground
    with ground.contenders(
        *[(contenders.STOCK, ground.open)] * STORM
    ) as making:
        stock = [storm(ground, making, ground.open)]
    ours, secure, bare_storms, least = [], [], [], []
    with (
        ground.contenders(*[(contenders.OURS, ground.open)] * STORM) as making,
        ground.contenders(*[(contenders.BARE, ground.open)] * STORM) as bare,
    ):
        for _ in run.times(21):
            for glance, found in (
                (ground.open, ours),
                (ground.secure, secure),
            ):
                for contender in making:
                    contender.use_glance(glance.url)
                found.append(_warm_storm(ground, making, glance))
            bare_storms.append(_warm_storm(ground, bare, ground.open))
            least.append(_least_storm(run, bare))
            for contender in bare:
                ground.remove_disks(contender.disks)
            # The lab's cluster would not hold those of all rounds.
            ground.remove_images()
    return [
        *_storm_figures(
            run, 'site', '16 hosts of a site', (stock, ours, secure), least
        ),
        report.Figure(
            'The same, beside 16 hosts of bare requests and librbd',
            's',
            *(
                [one.wall for one in storms]
                for storms in (stock, ours, secure)
            ),
            limit=[one.wall for one in bare_storms],
        ),
    ]


def _warm_storm(
    ground: grounds.Ground,
    making: list[contenders.Contender],
    glance: apis.GlanceApi,
) -> Storm:
    """A storm of those that have booted a moment before; then clean up."""
    warm = ground.upload('west')
    for contender in making:
        contender.boot(ground.user, warm)
    found = storm(ground, making, glance)
    for contender in making:
        ground.remove_disks(contender.disks)
    return found


def waiting(run: Run) -> list[report.Figure]:
    """What 16 boots take that wait for a copy."""
    ground = run.ground
    with ground.contenders(
        (contenders.STOCK, ground.open), (contenders.OURS, ground.open)
    ) as made:
        # Stock would not wait for somebody else's copy; but it waits for its
        # next poll when its own is long done.
        found = [
            _waiting(ground, made[0], lambda _image: contextlib.nullcontext()),
            _waiting(ground, made[1], ground.held_copy),
        ]
    (stock, stock_idle), (ours, ours_idle) = found
    mib = 2**20
    return [
        report.Figure(
            'Threads asking Glance, 16 boots waiting',
            '',
            [stock.polling],
            [ours.polling],
            bound=1,
            target='1',
        ),
        report.Figure(
            'Threads of nova-compute, 16 boots waiting',
            '',
            [stock.threads],
            [ours.threads],
            note=f'idle: {stock_idle.threads} and {ours_idle.threads}',
        ),
        report.Figure(
            'Memory that 16 waiting boots take',
            'MiB',
            [(stock.resident - stock_idle.resident) / mib],
            [(ours.resident - ours_idle.resident) / mib],
            note=f'resident, above {ours_idle.resident / mib:.0f} MiB',
        ),
    ]


def _waiting(
    ground: grounds.Ground,
    contender: contenders.Contender,
    hold: Callable[[str], contextlib.AbstractContextManager[None]],
) -> tuple[contenders.Counts, contenders.Counts]:
    """What one takes with 16 boots waiting, and what it took before."""
    image = ground.upload('file', STORM_IMAGE)
    idle = contender.counts()
    with hold(image):
        started = [contender.start(ground.user, image) for _ in range(STORM)]
        polling.until(lambda: contender.counts().polling, 'a boot that waits')
        # The others are there when no more threads come.
        counts = [contender.counts()]
        while len(counts) < 2 or counts[-1].threads > counts[-2].threads:
            time.sleep(2)
            counts.append(contender.counts())
    for boot in started:
        _require_success(contenders.boot_of(boot))
    return counts[-1], idle


def processor(run: Run) -> list[report.Figure]:
    """Import of the package, and parse of a record of 100 locations."""
    return [
        report.Figure(
            'Import of the package, Nova imported before',
            'us',
            ours=[cpu.import_seconds() * 1e6 for _ in run.times(5)],
        ),
        report.Figure(
            'Parse and check of a record with 100 locations',
            'us',
            ours=[cpu.parse_seconds() * 1e6 for _ in run.times(100)],
        ),
    ]


def scaling(run: Run) -> list[report.Figure]:
    """Locations of an image, clones at a time, clones of a parent."""
    ground = run.ground
    figures = []
    with ground.contenders(
        (contenders.STOCK, ground.open),
        (contenders.OURS, ground.open),
        (contenders.OURS, ground.secure),
        (contenders.BARE, ground.open),
    ) as made:
        for locations in (1, 10, 100):
            image = ground.upload('west')
            ground.add_locations(image, locations - 1)
            figures.append(
                report.Figure(
                    f'Boot disk, image with {locations} locations',
                    'ms',
                    *_in_turn(run, made, image, 5),
                )
            )
            ground.forget_locations(image)
        image = ground.upload('west')
        for at_once in (1, 4, 16):
            figures.append(
                report.Figure(
                    f'{at_once} boot disks at once, image in the cluster',
                    'ms',
                    *_in_turn(run, made, image, 3, at_once),
                )
            )
        crowd = 100 if run.quick else 1000
        bare, user = made[3], ground.user
        for boot in [
            bare.start(user, image, root_gib=0, get=False)
            for _ in range(crowd)
        ]:
            contenders.boot_of(boot)
        crowded = list(bare.disks)
        bare.disks.clear()
        figures.append(
            report.Figure(
                f'Boot disk, parent with {crowd} clones',
                'ms',
                *_in_turn(run, made, image, 10),
            )
        )
        ground.remove_disks(crowded)
    return figures


def _in_turn(
    run: Run,
    making: list[contenders.Contender],
    image: str,
    count: int,
    at_once: int = 1,
) -> list[list[float]]:
    """Milliseconds until all of some boots at once had ended, for each."""
    ground = run.ground
    user = ground.user
    samples: list[list[float]] = [[] for _ in making]
    for _ in run.times(count):
        for contender, found in zip(making, samples, strict=True):
            at = time.time() + 0.1
            started = [
                contender.start(user, image, at=at) for _ in range(at_once)
            ]
            boots = [
                _require_success(contenders.boot_of(boot)) for boot in started
            ]
            found.append((max(boot.ended for boot in boots) - at) * MS)
            ground.remove_disks(contender.disks)
    return samples


#: In the order of the table.
BLOCKS: dict[str, Callable[[Run], list[report.Figure]]] = {
    'boot-disk': boot_disk,
    'end-of-a-copy': end_of_a_copy,
    'failed-copy': failed_copy,
    'storm-on-one-host': storm_on_one_host,
    'storm-on-one-site': storm_on_one_site,
    'waiting': waiting,
    'processor': processor,
    'scaling': scaling,
}
