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

"""Boot without pause on the lab while its services fail at random.

Each fault is mended again. At the end, when all are, each image boots on both
sites once more. What happened goes to a file of JSON lines, and is judged.
"""

import argparse
from collections.abc import Iterable, Sequence
from concurrent import futures
import contextlib
import datetime
import itertools
import json
import logging
import math
import pathlib
import random
import sys
import tempfile
import threading
import time
from typing import Any, NamedTuple

import psutil
import rbd

from lab import layout
from tests.nemesis import causes
from tests.nemesis import events
from tests.nemesis import faults
from tests.nemesis import images
from tests.nemesis import judging
from tests.nemesis import logins
from tests.nemesis import members
from tests.nemesis import network
from tests.nemesis import proxies
from tests.nemesis import servers
from tests.nemesis import slowness
from tests.rig import apis
from tests.rig import clusters
from tests.rig import hosts
from tests.rig import polling

#: What hosts are told.
OPTIONS = {
    'workarounds.never_download_image_if_on_rbd': True,
    'libvirt.images_rbd_glance_copy_timeout': int(members.TIMEOUT),
    'libvirt.images_rbd_glance_copy_poll_interval': 5,
    'rbd_multistore.copy_stall_timeout': 90,
    'rbd_multistore.glance_request_timeout': 20,
    'rbd_multistore.rados_mon_op_timeout': 10,
    'rbd_multistore.rados_osd_op_timeout': 10,
}

#: Seconds from one boot of a host to the next, and from one image to the next.
APART = 6.0
UPLOADED = 10.0

#: Seconds between two boots of a host when all faults are over.
LAST_APART = 1.0

#: Seconds between two looks at what the hosts need.
SAMPLE = 10.0

#: Faults that there are at a time.
AT_A_TIME = 3

#: Of so many seconds, these are without a fault at the end: whatever fails
#: then, once what is left of faults was felt, no fault explains.
EVERY = 600.0
CALM = 150.0

#: How many images, the newest of them, are booted at a time.
RECENT = 4

#: Seconds in which a fault can be mended, whatever else is broken.
MENDED_IN = 300.0

#: How often images boot again at the end, once what an error said was done.
AGAIN = 3

LOG = logging.getLogger(__name__)


class Wanted(NamedTuple):
    """A boot that has to be at the end."""

    image: str
    site: str
    user: str


class Run:
    """One run, from its first image to the last boots."""

    def __init__(
        self, given: argparse.Namespace, journal: events.Journal
    ) -> None:
        self._journal = journal
        self._given = given
        self._rng = self._chance('boots')
        self._where = layout.Layout.from_environment()
        # Where "tools/lab leaks" looks for secrets in what hosts log.
        logs = self._where.root / 'tests'
        logs.mkdir(parents=True, exist_ok=True)
        self._folder = pathlib.Path(
            tempfile.mkdtemp(prefix='nemesis-', dir=logs)
        )
        self._images = images.Images(
            self._where, self._folder, self._chance('images'), journal
        )
        self._logins = logins.Logins(self._where, self._folder)
        self._proxies = [
            (api.name, proxies.Proxy(api.url))
            for api in self._where.glance_apis
        ]
        self._servers = servers.Servers(
            self._where, self._recent, self._chance('servers'), journal
        )
        #: RBD images of a run before this one, in the same lab.
        self._before = self._rbd_images()
        self._over = threading.Event()
        self._broken: set[str] = set()
        #: What could not be mended in its time.
        self._open: list[tuple[faults.Fault, faults.Trouble]] = []
        self._lock = threading.Lock()

    def _chance(self, name: str) -> random.Random:
        return random.Random(f'{self._given.seed} {name}')  # noqa: S311

    def go(self) -> None:
        self._images.upload()
        with contextlib.ExitStack() as at_the_end:
            for _, proxy in self._proxies:
                at_the_end.enter_context(proxy.run())
            self._logins.hasty.start()
            at_the_end.callback(self._logins.hasty.kill)
            watch = slowness.Watch(
                {
                    'keystone': self._where.auth_url,
                    **{api.name: api.url for api in self._where.glance_apis},
                },
                self._journal,
            )
            at_the_end.enter_context(watch.run())
            made = [
                self._member(f'host-{number}', number)
                for number in range(self._given.hosts)
            ]
            at_the_end.enter_context(
                hosts.killed_at_the_end([member.host for member in made])
            )
            for member in made:
                member.start()
            self._have_it_all(made, time.time() + self._given.minutes * 60.0)
            for member in made:
                member.finish()
            self._servers.end()
            # The tokens of the beginning may be over.
            self._images.log_in()
            time.sleep(judging.AFTERMATH)
            self._boot_all_once_more()
        self._look_into_glance()
        self._look_into_clusters()
        self._journal.note('end', 'all')

    def _have_it_all(self, made: list[members.Member], until: float) -> None:
        """Have load and faults until a moment."""
        with futures.ThreadPoolExecutor() as beside:
            begun = [
                beside.submit(self._sample, made),
                beside.submit(self._boot, made),
                beside.submit(self._upload),
                beside.submit(self._servers.live, until),
            ]
            try:
                self._break_things(made, until)
            finally:
                self._over.set()
            for work in begun:
                work.result()

    # Load

    def _member(
        self, name: str, number: int, user: str = '', *, last: bool = False
    ) -> members.Member:
        compute = self._where.computes[number % faults.SITES]
        urls = [proxy.url for _, proxy in self._proxies]
        host = hosts.Host(
            compute,
            self._folder / name,
            {**OPTIONS, 'glance.api_servers': urls},
        )
        return members.Member(
            name,
            host,
            compute.site.name,
            # A third of those of each site are of another project.
            user
            or ('demo', 'demo', 'demo', 'demo', 'other', 'other')[number % 6],
            self._journal,
            last=last,
        )

    def _recent(self) -> list[images.Image]:
        """The images that are booted now."""
        return self._images.all[-RECENT:]

    def _boot(self, made: list[members.Member]) -> None:
        for member in itertools.cycle(made):
            if self._over.wait(APART / len(made)):
                return
            image = self._rng.choice(self._recent())
            member.boot(self._logins.user(member.user), image.id)

    def _upload(self) -> None:
        while not self._over.wait(UPLOADED):
            try:
                self._images.upload()
            except faults.BROKEN as exc:
                self._journal.note('hitch', 'upload', said=str(exc)[:300])

    def _sample(self, made: list[members.Member]) -> None:
        while not self._over.wait(SAMPLE):
            for member in made:
                member.look()
                with contextlib.suppress(psutil.Error):
                    process = psutil.Process(member.host.pid)
                    with process.oneshot():
                        self._journal.note(
                            'sample',
                            f'{member.name} of pid {member.host.pid}',
                            boots=member.under_way,
                            rss=process.memory_info().rss,
                            fds=process.num_fds(),
                            threads=process.num_threads(),
                        )

    # Faults

    def _break_things(self, made: list[members.Member], until: float) -> None:
        """Have one fault after another, some at a time, until a moment."""
        possible = [
            *faults.of_lab(self._where),
            *faults.of_proxies(self._proxies),
            *faults.of_hosts(made),
            *network.faults_of(self._where),
            *self._logins.faults(),
            *self._images.faults(self._recent),
        ]
        with futures.ThreadPoolExecutor(AT_A_TIME) as pool:
            begun = [
                pool.submit(
                    self._break,
                    faults.Draw(
                        possible, f'{self._given.seed} faults {number}'
                    ),
                    until,
                )
                for number in range(AT_A_TIME)
            ]
        for work in begun:
            work.result()
        for fault, trouble in self._open:
            self._mend(fault, trouble)
        for api in self._where.glance_apis:
            apis.wait_for(api.url)

    def _break(self, draw: faults.Draw, until: float) -> None:
        began = time.time()
        for fault, pause, seconds in draw:
            if time.time() + pause >= until:
                return
            time.sleep(pause)
            _wait_out_calm(began, seconds, until)
            if self._claim(fault.victim):
                try:
                    self._have(fault, seconds)
                finally:
                    self._broken.discard(fault.victim)

    def _have(self, fault: faults.Fault, seconds: float) -> None:
        trouble = fault.draw()
        if trouble is None:
            # Nothing is there that it could befall.
            return
        felt_by = dict(trouble.felt_by)
        self._journal.note(
            'fault', fault.name, felt_by=felt_by, aftermath=fault.aftermath
        )
        try:
            trouble.begin()
            self._journal.note('begun', fault.name, felt_by=felt_by)
            time.sleep(seconds)
        except Exception as exc:
            # What it would take may be what is broken just now.
            LOG.warning('Cannot break %s: %s', fault.name, exc)
            if not faults.has_reached(exc):
                self._journal.note('mended', fault.name, felt_by=felt_by)
                return
        self._journal.note('ending', fault.name, felt_by=felt_by)
        if not self._mend(fault, trouble):
            self._open.append((fault, trouble))

    def _mend(self, fault: faults.Fault, trouble: faults.Trouble) -> bool:
        """End a fault: whether that could be done, as is noted."""
        try:
            polling.until(
                lambda: _is_done(trouble.end),
                f'{fault.name} is over',
                seconds=MENDED_IN,
                pause=2.0,
            )
        except AssertionError as exc:
            # It goes on, and is judged as what goes on.
            self._journal.note('hitch', 'not mended', said=str(exc))
            return False
        if fault.name != 'deleted':
            self._journal.note(
                'mended', fault.name, felt_by=dict(trouble.felt_by)
            )
        return True

    def _claim(self, victim: str) -> bool:
        """Whether it is well, so that this fault is its only one."""
        with self._lock:
            if victim in self._broken:
                return False
            self._broken.add(victim)
            return True

    # The end

    def _boot_all_once_more(self) -> None:
        """Boot, do what errors say, and boot again."""
        self._images.look_for_gone()
        sites = [site.name for site in self._where.sites]
        wanted = [
            Wanted(image.id, site, user)
            for image in self._images.left
            for user in logins.PROJECTS
            # Others' images are no secret, if they are public.
            if user == 'demo' or image.visibility == 'public'
            for site in sites
        ]
        for number in range(1 + AGAIN):
            self._boot_the_last(number, wanted)
            failed = judging.failed_at_last(self._journal.events())
            if not failed:
                return
            if number < AGAIN:
                for boot in failed:
                    self._do_what_is_said(boot)
            wanted = [
                Wanted(*(boot.details[each] for each in Wanted._fields))
                for boot in failed
            ]

    def _boot_the_last(self, time_: int, wanted: Sequence['Wanted']) -> None:
        for project in logins.PROJECTS:
            self._logins.renew_patiently(project)
        made: dict[tuple[str, str], members.Member] = {}
        for user in logins.PROJECTS:
            for number in range(faults.SITES):
                name = f'last-{time_}-{user}-{number}'
                member = self._member(name, number, user, last=True)
                made[member.site, user] = member
        with hosts.killed_at_the_end([each.host for each in made.values()]):
            for member in made.values():
                member.start()
            for image, boots in itertools.groupby(wanted, lambda of: of.image):
                for boot in boots:
                    made[boot.site, boot.user].boot(
                        self._logins.user(boot.user), image
                    )
                time.sleep(LAST_APART)
            for member in made.values():
                member.finish()

    def _do_what_is_said(self, boot: events.Event) -> None:
        """What an error tells people to do."""
        image, site = boot.details['image'], boot.details['site']
        error, message = boot.details['error'], boot.details['message']
        self._journal.note('cure', image, site=site, error=error)
        try:
            if error == 'CopyFailed':
                self._remove_leftover(image, site)
            elif error == 'NotInCluster':
                self._images.delete_from(site, image)
            elif error in judging.HELD:
                moment = judging.taken_over(message)
                seconds = moment.timestamp() - time.time() if moment else 0.0
                self._images.age_lock(image, math.ceil(max(seconds, 0.0) / 60))
        except (rbd.Error, *faults.BROKEN) as exc:
            # What is left, and what does not boot, is judged.
            self._journal.note('hitch', 'cure', said=str(exc)[:300])

    def _remove_leftover(self, image: str, name: str) -> None:
        """Remove what a broken copy has left in a cluster, and note that."""
        (site,) = (site for site in self._where.sites if site.name == name)
        if name in self._images.stores(image):
            return
        with clusters.Cluster(site) as cluster:
            if image in cluster.images('images'):
                cluster.remove('images', image)
                self._journal.note('removed', image, pool='images', site=name)

    def _look_into_glance(self) -> None:
        for image in self._images.all:
            for task in self._images.tasks(image.id):
                self._journal.note(
                    'task',
                    image.id,
                    stores=task['input']['backend'],
                    status=task['status'],
                    created=_seconds(task['created_at']),
                    updated=_seconds(task['updated_at']),
                )

    def _rbd_images(self) -> set[str]:
        found: set[str] = set()
        for site in self._where.sites:
            with clusters.Cluster(site) as cluster:
                for pool in site.pools:
                    found |= cluster.images(pool)
        return found

    def _look_into_clusters(self) -> None:
        known = {event.about for event in self._journal.events()}
        ours = {image.id for image in self._images.all}
        for site in self._where.sites:
            with clusters.Cluster(site) as cluster:
                for disk in cluster.images('vms') - self._before:
                    if disk not in known:
                        self._journal.note('left', disk, pool='vms')
                        continue
                    try:
                        parent = cluster.parent(disk)
                    except rbd.ImageNotFound:
                        # Nova was still deleting its server.
                        continue
                    self._journal.note(
                        'disk',
                        disk,
                        parent=parent
                        and [parent.pool, parent.image, parent.snapshot],
                    )
                for image in cluster.images('images') - self._before:
                    # What Glance lists may be a snapshot of a server.
                    if site.name not in self._images.stores(image):
                        self._journal.note(
                            'left', image, pool='images', site=site.name
                        )
                    elif image in ours:
                        self._journal.note(
                            'copy',
                            image,
                            store=site.name,
                            digest=_digest(cluster, image),
                        )


def _seconds(moment: str) -> float:
    """Since the epoch, of a time as Glance tells it."""
    return datetime.datetime.fromisoformat(moment).timestamp()


def _digest(cluster: clusters.Cluster, image: str) -> str:
    """Of a copy's bytes, '' if it has none that a clone could be made of."""
    try:
        return cluster.digest('images', image, 'snap')
    except rbd.ImageNotFound:
        return ''


def _wait_out_calm(began: float, seconds: float, until: float) -> None:
    """Wait until a fault may last so many seconds, or to the end of a run."""
    while (
        time.time() < until
        and (time.time() - began) % EVERY + seconds > EVERY - CALM
    ):
        time.sleep(1.0)


def _is_done(end: Any) -> bool:
    try:
        end()
    except Exception as exc:
        LOG.warning('Not done yet: %s', exc)
        return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(
        prog='python -m tests.nemesis', description=__doc__
    )
    parser.add_argument('--minutes', type=float, default=15.0)
    parser.add_argument('--seed', type=int, default=None)
    parser.add_argument('--hosts', type=int, default=8)
    parser.add_argument(
        '--history', type=pathlib.Path, default='nemesis.jsonl'
    )
    parser.add_argument(
        '--judge',
        type=pathlib.Path,
        metavar='FILE',
        help='judge the history of a run again, and do nothing else',
    )
    given = parser.parse_args()
    if given.judge:
        return _judge(events.read(given.judge))
    if given.seed is None:
        given.seed = random.SystemRandom().randrange(1_000_000)
    print(f'seed {given.seed}, history {given.history}', flush=True)
    journal = events.Journal(given.history)
    try:
        Run(given, journal).go()
    finally:
        # What there is, though the run itself may have failed.
        broken = _judge(journal.events())
    return broken


def _judge(found: Iterable[events.Event]) -> bool:
    """Print what became of a run: whether something is broken."""
    in_order = sorted(found, key=lambda event: event.at)
    print(json.dumps(_figures(in_order), indent=1))
    slow = causes.Causes(in_order).slow()
    print(f'The machine was slow by itself for {slow:.0f} s.')
    print('Of false errors, the share that would be found:')
    power = {error: round(x, 2) for error, x in causes.power(in_order).items()}
    print(json.dumps(power, indent=1))
    wrong = judging.broken(in_order)
    print(*wrong or ['Nothing is broken.'], sep='\n')
    return bool(wrong)


def _figures(found: list[events.Event]) -> dict[str, int]:
    figures: dict[str, int] = {}
    for event in found:
        name = event.what
        if event.what == 'boot':
            name = f'boots: {_outcome(event)}'
        figures[name] = figures.get(name, 0) + 1
    return figures


def _outcome(boot: events.Event) -> str:
    if boot.details['seconds'] is None:
        return 'went with its host'
    return str(boot.details['error'] or 'disk')


if __name__ == '__main__':
    sys.exit(main())
