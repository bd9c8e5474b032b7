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
from concurrent import futures
import contextlib
import json
import logging
import pathlib
import random
import sys
import tempfile
import threading
import time
from typing import Any

import psutil

from lab import cloud
from lab import layout
from tests.nemesis import events
from tests.nemesis import faults
from tests.nemesis import images
from tests.nemesis import judging
from tests.nemesis import proxies
from tests.nemesis import servers
from tests.rig import apis
from tests.rig import clusters
from tests.rig import hosts
from tests.rig import polling

#: Of each boot, in seconds; and what else hosts are told.
TIMEOUT = 120.0
OPTIONS = {
    'workarounds.never_download_image_if_on_rbd': True,
    'libvirt.images_rbd_glance_copy_timeout': int(TIMEOUT),
    'libvirt.images_rbd_glance_copy_poll_interval': 5,
    'rbd_multistore.copy_stall_timeout': 90,
    'rbd_multistore.glance_request_timeout': 20,
    'rbd_multistore.rados_mon_op_timeout': 10,
    'rbd_multistore.rados_osd_op_timeout': 10,
}

#: Seconds from one boot of a host to the next, and until the first.
APART = 6.0
HEAD_START = 45.0

#: Seconds between two looks at what the hosts need.
SAMPLE = 10.0

#: Faults that there are at a time.
AT_A_TIME = 3

#: How many images, the newest of them, are booted at a time.
RECENT = 4

#: Seconds in which a fault can be mended, whatever else is broken.
MENDED_IN = 300.0

LOG = logging.getLogger(__name__)


class Member:
    """One host of the run.

    :ivar name: of the host
    :ivar user: in whose name it boots: the name of a project of the lab
    :ivar plan: its boots: image, and second since the epoch
    """

    def __init__(
        self, number: int, host: hosts.Host, site: str, user: str
    ) -> None:
        self.name = f'host-{number}'
        self.host = host
        self.site = site
        self.user = user
        self.plan: list[tuple[str, float]] = []

    def start(self, user: hosts.User, apart: float) -> None:
        self.host.start(
            user,
            [image for image, _ in self.plan],
            at=self.plan[0][1],
            apart=apart,
        )


class Run:
    """One run, from the upload of its images to the last boots."""

    def __init__(
        self, given: argparse.Namespace, journal: events.Journal
    ) -> None:
        self._journal = journal
        self._rng = random.Random(given.seed)  # noqa: S311
        self._given = given
        self._where = layout.Layout.from_environment()
        # Where "tools/lab leaks" looks for secrets in what hosts log.
        logs = self._where.root / 'tests'
        logs.mkdir(parents=True, exist_ok=True)
        self._folder = pathlib.Path(
            tempfile.mkdtemp(prefix='nemesis-', dir=logs)
        )
        self._images = images.Images(
            self._where, self._folder, self._rng, journal
        )
        self._proxies = [
            (api.name, proxies.Proxy(api.url))
            for api in self._where.glance_apis
        ]
        self._servers = servers.Servers(
            self._where,
            self._booted,
            random.Random(given.seed),  # noqa: S311
            journal,
        )
        self._began = 0.0
        self._over = threading.Event()
        self._broken: set[str] = set()
        self._lock = threading.Lock()

    def go(self) -> None:
        seconds = self._given.minutes * 60.0
        boots = max(int(seconds / APART), 1)
        # Each is cold for about three boots on each site.
        for _ in range(max(boots * self._given.hosts // 8, 2)):
            self._images.upload()
        with contextlib.ExitStack() as at_the_end:
            for _, proxy in self._proxies:
                at_the_end.enter_context(proxy.run())
            made = [
                self._member(number) for number in range(self._given.hosts)
            ]
            at_the_end.enter_context(
                hosts.killed_at_the_end([member.host for member in made])
            )
            self._began = time.time() + HEAD_START
            for member in made:
                self._plan(member, boots)
                member.start(self._log_in(member.user), APART)
            until = self._began + seconds
            with futures.ThreadPoolExecutor() as beside:
                begun = [
                    beside.submit(self._sample, made),
                    beside.submit(self._servers.live, until),
                ]
                time.sleep(max(self._began - time.time(), 0.0))
                try:
                    self._break_things(made, until)
                finally:
                    self._over.set()
                for work in begun:
                    work.result()
            self._servers.end()
            for member in made:
                self._note_boots(member, last=False)
            # The tokens of the beginning may be over.
            self._images.log_in()
            self._images.age_locks()
            self._boot_all_once_more()
        self._look_into_glance()
        self._look_into_clusters()
        self._journal.note('end', 'all')

    # Load

    def _log_in(self, user: str) -> hosts.User:
        return hosts.user_of(cloud.connect(user, self._where))

    def _member(self, number: int, user: str = '') -> Member:
        compute = self._where.computes[number % 2]
        urls = [proxy.url for _, proxy in self._proxies]
        host = hosts.Host(
            compute,
            self._folder / f'host-{number}',
            {**OPTIONS, 'glance.api_servers': urls},
        )
        user = (
            user
            or ('demo', 'demo', 'demo', 'demo', 'other', 'other')[number % 6]
        )
        return Member(number, host, compute.site.name, user)

    def _plan(self, member: Member, boots: int) -> None:
        for number in range(boots):
            image = self._rng.choice(self._recent(number / boots))
            member.plan.append((image.id, self._began + APART * number))

    def _recent(self, share: float) -> list[images.Image]:
        """The images of boots at a moment: a new one now and then.

        :param share: of the run that is over
        """
        newest = int(share * len(self._images.all)) + 1
        return self._images.all[max(newest - RECENT, 0) : newest]

    def _booted(self) -> list[images.Image]:
        share = (time.time() - self._began) / (self._given.minutes * 60.0)
        return self._recent(min(share, 1.0))

    def _note_boots(self, member: Member, *, last: bool) -> None:
        for outcome in member.host.outcomes():
            self._journal.note(
                'boot',
                outcome.disk,
                outcome.began,
                image=outcome.image,
                host=member.name,
                site=member.site,
                user=member.user,
                seconds=outcome.seconds,
                error=outcome.error,
                message=outcome.message,
                timeout=TIMEOUT,
                last=last,
            )

    def _sample(self, made: list[Member]) -> None:
        while not self._over.wait(SAMPLE):
            for member in made:
                with contextlib.suppress(psutil.Error):
                    process = psutil.Process(member.host.pid)
                    with process.oneshot():
                        self._journal.note(
                            'sample',
                            member.name,
                            rss=process.memory_info().rss,
                            fds=process.num_fds(),
                            threads=process.num_threads(),
                        )

    # Faults

    def _break_things(self, made: list[Member], until: float) -> None:
        """Have one fault after another, some at a time, until a moment."""
        possible = [
            *faults.of_lab(self._where),
            *faults.of_proxies(self._proxies),
            *faults.of_hosts(
                [
                    (member.name, member.host.freeze, member.host.thaw)
                    for member in made
                ]
            ),
            *self._images.faults(self._booted),
        ]
        with futures.ThreadPoolExecutor(AT_A_TIME) as pool:
            begun = [
                pool.submit(
                    self._break,
                    faults.Draw(possible, self._given.seed + number),
                    until,
                )
                for number in range(AT_A_TIME)
            ]
        for work in begun:
            work.result()
        for api in self._where.glance_apis:
            apis.wait_for(api.url)

    def _break(self, draw: faults.Draw, until: float) -> None:
        for fault, pause, seconds in draw:
            if time.time() + pause >= until:
                return
            time.sleep(pause)
            if self._claim(fault.victim):
                try:
                    self._have(fault, seconds)
                finally:
                    self._broken.discard(fault.victim)

    def _have(self, fault: faults.Fault, seconds: float) -> None:
        trouble = fault.draw()
        if trouble is None:
            return
        details: dict[str, Any] = {'aftermath': fault.aftermath}
        if trouble.image:
            details['image'] = trouble.image
        self._journal.note('fault', fault.name, **details)
        try:
            trouble.begin()
            time.sleep(seconds)
        except Exception as exc:
            # What it would take may be what is broken just now.
            LOG.warning('Cannot break %s: %s', fault.name, exc)
        finally:
            polling.until(
                lambda: _is_done(trouble.end),
                f'{fault.name} is over',
                seconds=MENDED_IN,
                pause=2.0,
            )
            if fault.name != 'deleted':
                self._journal.note('mended', fault.name, image=trouble.image)

    def _claim(self, victim: str) -> bool:
        """Whether it is well, so that this fault is its only one."""
        with self._lock:
            if victim in self._broken:
                return False
            self._broken.add(victim)
            return True

    # The end

    def _boot_all_once_more(self) -> None:
        user = self._log_in('demo')
        for site in self._where.sites:
            self._remove_leftovers(site)
        for number in range(2):
            member = self._member(1000 + number, 'demo')
            with hosts.killed_at_the_end([member.host]):
                at = time.time() + 20
                member.plan = [
                    (image.id, at + 1.0 * index)
                    for index, image in enumerate(self._images.left)
                ]
                member.start(user, 1.0)
                self._note_boots(member, last=True)

    def _remove_leftovers(self, site: layout.Site) -> None:
        """Do what CopyFailed says: remove what a broken copy left."""
        known = {image.id for image in self._images.all}
        with clusters.Cluster(site) as cluster:
            for name in cluster.images('images') & known:
                if site.name not in self._images.stores(name):
                    cluster.remove('images', name)

    def _look_into_glance(self) -> None:
        for image in self._images.all:
            for task in self._images.tasks(image.id):
                self._journal.note(
                    'task',
                    image.id,
                    stores=task['input']['backend'],
                    status=task['status'],
                )

    def _look_into_clusters(self) -> None:
        known = {event.about for event in self._journal.events()}
        for site in self._where.sites:
            with clusters.Cluster(site) as cluster:
                for disk in cluster.images('vms'):
                    if disk not in known:
                        self._journal.note('left', disk, pool='vms')
                        continue
                    parent = cluster.parent(disk)
                    self._journal.note(
                        'disk',
                        disk,
                        parent=parent
                        and [parent.pool, parent.image, parent.snapshot],
                    )
                for image in cluster.images('images'):
                    if image not in known:
                        self._journal.note('left', image, pool='images')
                    elif site.name in self._images.stores(image):
                        self._journal.note(
                            'copy',
                            image,
                            store=site.name,
                            digest=cluster.digest('images', image, 'snap'),
                        )


def _is_done(end: Any) -> bool:
    try:
        end()
    except Exception as exc:
        LOG.warning('Not mended yet: %s', exc)
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
    given = parser.parse_args()
    if given.seed is None:
        given.seed = random.SystemRandom().randrange(1_000_000)
    print(f'seed {given.seed}, history {given.history}', flush=True)
    journal = events.Journal(given.history)
    Run(given, journal).go()
    found = journal.events()
    print(json.dumps(_figures(found), indent=1))
    wrong = judging.broken(found)
    print(*wrong or ['Nothing is broken.'], sep='\n')
    return bool(wrong)


def _figures(found: list[events.Event]) -> dict[str, int]:
    figures: dict[str, int] = {}
    for event in found:
        name = event.what
        if event.what == 'boot':
            name = f'boots: {event.details["error"] or "disk"}'
        figures[name] = figures.get(name, 0) + 1
    return figures


if __name__ == '__main__':
    sys.exit(main())
