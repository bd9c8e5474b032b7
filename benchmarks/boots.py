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

"""Single boots: what one costs, and how soon it follows its copy.

Whatever is compared is measured in turn, so that a busy moment of the machine
meets all alike.
"""

from collections.abc import Callable, Iterable
import statistics
import time
from typing import Any

from benchmarks import contenders
from benchmarks import ground as grounds
from benchmarks import report
from benchmarks import runs

MS = 1000.0


def boot_disk(run: runs.Run) -> list[report.Figure]:
    """A boot disk from an image that the local cluster has."""
    ground = run.ground
    with ground.contenders(
        (contenders.STOCK, ground.open),
        (contenders.OURS, ground.open),
        (contenders.OURS, ground.secure),
        (contenders.BARE, ground.open),
        (contenders.BARE, ground.secure),
    ) as made:
        image = ground.upload('west')
        user = ground.user
        # What a secure Glance has to be asked.
        how = [{'locations': contender is made[4]} for contender in made]
        before = [contender.counts() for contender in made]
        samples: list[list[contenders.Boot]] = [[] for _ in made]
        rounds = run.times(40)
        for _ in rounds:
            for contender, boots, asked in zip(
                made, samples, how, strict=True
            ):
                boot = contender.boot(user, image, **asked)
                boots.append(boot.require_success())
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

    stock, ours, secure, limit, secure_limit = map(_ms, samples)
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
            secure_limit=secure_limit,
            bound=min(
                1.3 * statistics.median(limit),
                0.35 * statistics.median(stock),
            ),
            secure_bound=1.1 * statistics.median(secure_limit),
            target='1.3 x limit, 0.35 x stock; secure: 1.1 x its limit',
        ),
        report.Figure('Of that, librbd cloning', 'ms', *cloned[:4]),
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


def end_of_a_copy(run: runs.Run) -> list[report.Figure]:
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
                boot = contender.boot(user, image).require_success()
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
            boot = contenders.boot_of(started).require_success()
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


def failed_copy(run: runs.Run) -> list[report.Figure]:
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


def scaling(run: runs.Run) -> list[report.Figure]:
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
    run: runs.Run,
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
                contenders.boot_of(boot).require_success() for boot in started
            ]
            found.append((max(boot.ended for boot in boots) - at) * MS)
            ground.remove_disks(contender.disks)
    return samples


def _ms(boots: Iterable[contenders.Boot]) -> list[float]:
    return [boot.seconds * MS for boot in boots]


def _clone_began(boot: contenders.Boot) -> float:
    if boot.clone is None:
        raise RuntimeError(f'{boot.disk} is no clone')
    return boot.clone[0]


def _timed(call: Callable[..., Any], *arguments: Any) -> float:
    began = time.monotonic()
    call(*arguments)
    return time.monotonic() - began
