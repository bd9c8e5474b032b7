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

"""Storms: many boots of one cold image, all at the same moment.

Whatever is compared is measured in turn, so that a busy moment of the machine
meets all alike.
"""

from collections.abc import Callable
import contextlib
import dataclasses
import random
import statistics
import time
from typing import Any

from benchmarks import contenders
from benchmarks import ground as grounds
from benchmarks import report
from benchmarks import runs
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

#: Seconds for which stock waits for a copy, if Glance may have lost it.
STOCK_TIMEOUT = 60

#: Seconds by which all of a storm have been told when to begin.
HEAD_START = 1.0


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


def _requests(glance: apis.GlanceApi) -> int:
    return len(glance.requests.splitlines())


def _least_storm(
    run: runs.Run, making: list[contenders.Contender]
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
    run: runs.Run,
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
            *(
                *([one.wall for one in storms] for storms in all_of_them),
                [sum(parts) for parts in least],
            ),
            bound=copy + 1.3 * clones + 0.5,
            target='copy + 1.3 x 16 clones + 0.5 s',
            note=f'copy alone {copy:.2f} s, 16 clones alone {clones:.2f} s',
        ),
        report.Figure(
            f'Clones among them, {where}',
            '',
            *(
                *([one.clones for one in storms] for storms in all_of_them),
                [STORM],
            ),
        ),
        report.Figure(
            f'Glance requests per boot, {where}',
            '',
            *([one.requests for one in storms] for storms in all_of_them),
            bound=3,
            target='3',
        ),
    ]


def storm_on_one_host(run: runs.Run) -> list[report.Figure]:
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


def storm_on_one_site(run: runs.Run) -> list[report.Figure]:
    ground = run.ground
    with ground.contenders(
        *[(contenders.STOCK, ground.open)] * STORM
    ) as making:
        stock = [storm(ground, making, ground.open)]
    ours: list[Storm] = []
    secure: list[Storm] = []
    bare_storms: list[Storm] = []
    least = []
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
                for storms in (stock, ours, secure, bare_storms)
            ),
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


def first_boot_on_both_sites(run: runs.Run) -> list[report.Figure]:
    """The first boots of two sites, at once, with all services just started.

    Nothing has been opened, loaded or remembered by anybody.
    """
    ground = run.ground
    shown = {'show_multiple_locations': 'true'}
    # Of two copies at once a Glance that was just started may accept both, and
    # lose one. Stock would wait for that one for ten minutes.
    short = {'libvirt__images_rbd_glance_copy_timeout': STOCK_TIMEOUT}
    found: list[list[tuple[float, int]]] = [[], [], []]
    for _ in run.times(5):
        for samples, kind, glance, options in zip(
            found,
            (contenders.STOCK, contenders.OURS, contenders.OURS),
            (shown, shown, {}),
            (short, {}, {}),
            strict=True,
        ):
            with ground.just_started(kind, glance, **options) as made:
                boots, clones = _first_boots(ground, made)
                if kind != contenders.STOCK:
                    for boot in boots:
                        boot.require_success()
                ended = max(boot.ended for boot in boots)
                began = min(boot.began for boot in boots)
                samples.append((ended - began, clones))
            ground.remove_images()
    stock, ours, secure = (
        [list(of_all) for of_all in zip(*samples, strict=True)]
        for samples in found
    )
    return [
        report.Figure(
            'First boot on both sites, services just started',
            's',
            *(stock[0], ours[0], secure[0]),
            note='until both have ended; stock well or not, and it waits for '
            f'a copy that Glance has lost for {STOCK_TIMEOUT} s',
        ),
        report.Figure(
            'Clones among them, just started',
            '',
            *(stock[1], ours[1], secure[1]),
            [2],
        ),
    ]


def _first_boots(
    ground: grounds.Ground, made: list[contenders.Contender]
) -> tuple[list[contenders.Boot], int]:
    """One boot of a cold image by each, at once, and clones among them."""
    image = ground.upload('file', STORM_IMAGE)
    user = ground.user
    at = time.time() + HEAD_START
    started = [
        contender.start(user, image, at=at, root_gib=0) for contender in made
    ]
    boots = [contenders.boot_of(boot) for boot in started]
    return boots, len(ground.clones(image))


def waiting(run: runs.Run) -> list[report.Figure]:
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
        contenders.boot_of(boot).require_success()
    return counts[-1], idle
