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
import contextlib
import hashlib
import json
import pathlib
import random
import sys
import tempfile
import threading
import time
from typing import Any
import uuid

import psutil

from lab import cloud
from lab import layout
from tests.nemesis import events
from tests.nemesis import faults
from tests.nemesis import judging
from tests.rig import apis
from tests.rig import clusters
from tests.rig import database
from tests.rig import hosts
from tests.rig import image_files

#: Of the hosts, and of what waits for them.
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

#: Seconds between two boots of a host, and from its start to the first.
APART = 6.0
HEAD_START = 45.0

#: Seconds between two looks at what the hosts use.
SAMPLE = 10.0

STORES = ('file', 'east', 'west')
SIZES_MIB = (4, 16, 48)

#: Minutes by which a lock that nobody will drop is aged in the end.
AGED = 125


class Run:
    """One run, from the upload of its images to the last boots."""

    def __init__(
        self, given: argparse.Namespace, journal: events.Journal
    ) -> None:
        self._journal = journal
        self._rng = random.Random(given.seed)  # noqa: S311
        self._given = given
        self._where = layout.Layout.from_environment()
        self._demo = cloud.connect('demo', self._where)
        self._images: list[str] = []
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix='nemesis-'))
        self._over = threading.Event()
        self._broken: set[str] = set()

    def go(self) -> None:
        seconds = self._given.minutes * 60.0
        boots = max(int(seconds / APART), 1)
        # Each is cold for about three boots on each site.
        for _ in range(max(boots * self._given.hosts // 8, 2)):
            self._images.append(self._upload())
        made = [self._host(number) for number in range(self._given.hosts)]
        user = hosts.user_of(self._demo)
        with hosts.killed_at_the_end([host for host, _ in made]):
            at = time.time() + HEAD_START
            plans = [self._begin(host, user, at, boots) for host, _ in made]
            sampler = threading.Thread(
                target=self._sample, args=([host for host, _ in made],)
            )
            sampler.start()
            time.sleep(max(at - time.time(), 0.0))
            try:
                self._break_things(at + seconds)
            finally:
                self._over.set()
                sampler.join()
            for (host, site), plan in zip(made, plans, strict=True):
                self._note_boots(host.outcomes(), site, plan, last=False)
        self._age_locks()
        self._boot_all_once_more()
        self._look_into_clusters()
        self._journal.note('end', 'all')

    def _upload(self) -> str:
        answer = self._demo.image.post(
            '/images',
            json={
                'name': f'nemesis-{uuid.uuid4()}',
                'disk_format': 'raw',
                'container_format': 'bare',
            },
        )
        answer.raise_for_status()
        image: str = answer.json()['id']
        path = self._folder / 'image'
        image_files.write(path, 'raw', self._rng.choice(SIZES_MIB))
        store = self._rng.choice(STORES)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        image_files.upload(self._demo, image, path, store)
        self._journal.note('image', image, digest=digest, store=store)
        return image

    def _host(self, number: int) -> tuple[hosts.Host, str]:
        compute = self._where.computes[number % 2]
        folder = self._folder / f'host-{number}'
        return hosts.Host(compute, folder, OPTIONS), compute.site.name

    def _begin(
        self,
        host: hosts.Host,
        user: hosts.User,
        at: float,
        boots: int,
    ) -> list[dict[str, Any]]:
        """Have a host begin its boots; what was planned."""
        # The images come up one after another, with some that came before.
        plan: list[dict[str, Any]] = []
        for number in range(boots):
            newest = number * len(self._images) // boots
            recent = self._images[max(newest - 3, 0) : newest + 1]
            plan.append(
                {'image': self._rng.choice(recent), 'at': at + APART * number}
            )
        host.start(user, [one['image'] for one in plan], at=at, apart=APART)
        return plan

    def _note_boots(
        self,
        outcomes: list[hosts.Outcome],
        site: str,
        plan: list[dict[str, Any]],
        *,
        last: bool,
    ) -> None:
        for outcome, planned in zip(outcomes, plan, strict=True):
            self._journal.note(
                'boot',
                outcome.disk,
                planned['at'],
                image=outcome.image,
                site=site,
                seconds=outcome.seconds,
                error=outcome.error,
                message=outcome.message,
                timeout=TIMEOUT,
                last=last,
            )

    def _break_things(self, until: float) -> None:
        """Have one fault after another, two at a time, until a moment."""
        draws = [
            faults.Draw(faults.of(self._where), self._given.seed + number)
            for number in range(2)
        ]
        threads = [
            threading.Thread(target=self._break, args=(draw, until))
            for draw in draws
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for api in self._where.glance_apis:
            apis.wait_for(api.url)

    def _break(self, draw: faults.Draw, until: float) -> None:
        while True:
            fault, pause, seconds = draw.next()
            if time.time() + pause >= until:
                return
            time.sleep(pause)
            if not self._claim(fault):
                continue
            try:
                self._journal.note(
                    'fault', fault.name, aftermath=fault.aftermath
                )
                fault.begin()
                time.sleep(seconds)
            finally:
                fault.end()
                self._journal.note('mended', fault.name)
                self._broken.discard(fault.name.split()[0])

    def _claim(self, fault: faults.Fault) -> bool:
        """Whether the program is well, so that this fault is its only one."""
        program = fault.name.split()[0]
        if program in self._broken:
            return False
        self._broken.add(program)
        return True

    def _sample(self, made: list[hosts.Host]) -> None:
        while not self._over.wait(SAMPLE):
            for number, host in enumerate(made):
                with contextlib.suppress(psutil.Error):
                    assert host._process is not None
                    process = psutil.Process(host._process.pid)
                    with process.oneshot():
                        self._journal.note(
                            'sample',
                            f'host-{number}',
                            rss=process.memory_info().rss,
                            fds=process.num_fds(),
                            threads=process.num_threads(),
                        )

    def _age_locks(self) -> None:
        """Have an hour pass for the locks that broken copies have left."""
        admin = cloud.connect('admin', self._where)
        for image in self._images:
            record = admin.image.get(f'/images/{image}').json()
            task = record.get('os_glance_import_task')
            if task:
                database.age_task(self._where, task, AGED)

    def _boot_all_once_more(self) -> None:
        self._demo = cloud.connect('demo', self._where)
        user = hosts.user_of(self._demo)
        for number, site in enumerate(('east', 'west')):
            self._remove_leftovers(site)
            host, site = self._host(1000 + number)
            with hosts.killed_at_the_end([host]):
                at = time.time()
                host.start(user, self._images, at=at, apart=1.0)
                plan = [{'at': at} for _ in self._images]
                self._note_boots(host.outcomes(), site, plan, last=True)

    def _remove_leftovers(self, site_name: str) -> None:
        """Do what CopyFailed says: remove what a broken copy left."""
        (site,) = [one for one in self._where.sites if one.name == site_name]
        with clusters.Cluster(site) as cluster:
            for name in cluster.images('images'):
                if name in self._images and site_name not in self._stores(
                    name
                ):
                    cluster.remove('images', name)

    def _stores(self, image: str) -> set[str]:
        record = self._demo.image.get(f'/images/{image}').json()
        return set(record.get('stores', '').split(','))

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
                    elif site.name in self._stores(image):
                        self._journal.note(
                            'copy',
                            image,
                            store=site.name,
                            digest=cluster.digest('images', image, 'snap'),
                        )


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
