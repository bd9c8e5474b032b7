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

"""The servers that users have by Nova's API, beside the boots of hosts."""

from collections.abc import Callable
import random
import time
from typing import Any

from lab import layout
from tests.nemesis import events
from tests.nemesis import faults
from tests.nemesis import images
from tests.rig import polling

#: Seconds for one step of a server's life, while things are broken.
STEP = 240.0

#: Of so many servers, one is deleted in the middle, after so many seconds.
DELETED = 4
IN_THE_MIDDLE = 20.0

#: Seconds between two servers.
APART = 5.0

#: Of so many servers, one is followed by "openstack aggregate cache image".
CACHED = 3

#: What a server is in when Nova is done with it.
SETTLED = ('ACTIVE', 'ERROR', 'SHUTOFF', 'SHELVED', 'SHELVED_OFFLOADED')


class Servers:
    """Boots servers, one after another, and has something done to each.

    :param booted: the images that are booted now
    """

    def __init__(
        self,
        where: layout.Layout,
        booted: Callable[[], list[images.Image]],
        rng: random.Random,
        journal: events.Journal,
    ) -> None:
        self._where = where
        self._booted = booted
        self._rng = rng
        self._journal = journal
        self._compute: Any = None
        self._made: list[str] = []
        #: What is noted of those that have not settled in their time.
        self._late: list[tuple[str, float, dict[str, Any]]] = []

    def live(self, until: float) -> None:
        """Have servers until a moment."""
        while time.time() < until:
            try:
                self._live_one()
            except faults.BROKEN as exc:
                # Log in anew: the token may be what was broken.
                self._compute = None
                self._note_hitch(exc)
            time.sleep(APART)

    def _note_hitch(self, exc: Exception) -> None:
        self._journal.note('hitch', 'servers', said=str(exc)[:300])

    def _live_one(self) -> None:
        if self._compute is None:
            self._compute = faults.connect('demo', self._where).compute
        mine = [
            image for image in self._booted() if image.disk_format == 'raw'
        ]
        if not mine:
            return
        image = self._rng.choice(mine)
        zone = self._rng.choice([site.name for site in self._where.sites])
        flavor = self._compute.find_flavor('m1.tiny', ignore_missing=False)
        began = time.time()
        server = self._compute.create_server(
            name=f'nemesis-{len(self._made)}',
            image_id=image.id,
            flavor_id=flavor.id,
            networks='none',
            availability_zone=zone,
        )
        self._made.append(server.id)
        said = {'image': image.id, 'site': zone}
        if not self._rng.randrange(DELETED):
            time.sleep(self._rng.uniform(0.0, IN_THE_MIDDLE))
            self._delete(server.id)
            return
        if self._note(server.id, began, **said) == 'ACTIVE':
            began = time.time()
            did = self._do_something(server.id)
            if did:
                self._note(server.id, began, **said, did=did)
        if not self._late or self._late[-1][0] != server.id:
            self._delete(server.id)
        if not self._rng.randrange(CACHED):
            self._cache(self._rng.choice(mine).id, zone)

    def _delete(self, server: str) -> None:
        self._journal.note('server deleted', server)
        self._compute.delete_server(server)

    def _note(self, server: str, began: float, **said: Any) -> str:
        """Note what has become of a server, or in the end, if it is late."""
        status = self._settled(server)
        if status not in SETTLED:
            self._late.append((server, began, said))
            return status
        found = self._compute.get_server(server)
        message = str((found.fault or {}).get('message', ''))[:300]
        self._note_status(server, began, status, message, **said)
        return status

    def _note_status(
        self, server: str, began: float, status: str, message: str, **said: Any
    ) -> None:
        self._journal.note(
            'server',
            server,
            began,
            status=status,
            seconds=time.time() - began,
            message=message,
            **said,
        )

    def _cache(self, image: str, zone: str) -> None:
        """Have an image brought to all hosts of a site, before its boots."""
        compute = faults.connect('admin', self._where).compute
        aggregate = compute.find_aggregate(zone, ignore_missing=False)
        compute.aggregate_precache_images(aggregate, image)
        self._journal.note('cached', image, site=zone)

    def _do_something(self, server: str) -> str:
        """Do something to a server, and say what; it has not settled yet."""
        match self._rng.randrange(4):
            case 0:
                self._compute.shelve_server(server)
                if self._settled(server) == 'SHELVED_OFFLOADED':
                    self._compute.unshelve_server(server)
                return 'shelved'
            case 1:
                image = self._compute.get_server(server).create_image(
                    self._compute, f'nemesis-snapshot-of-{server}'
                )
                self._journal.note('snapshot', image, of=server)
                return 'snapshotted'
            case 2:
                self._compute.reboot_server(server, 'HARD')
                return 'rebooted'
        return ''

    def _settled(self, server: str) -> str:
        """The status of a server that nothing is done to any more.

        Or what it is in when its time is over, BUILD or that of a task.
        """
        last = ''

        def status() -> str:
            nonlocal last
            now = self._compute.get_server(server)
            last = str(now.task_state or now.status)
            done = now.task_state is None and now.status != 'BUILD'
            return str(now.status) if done else ''

        try:
            return polling.until(
                status, f'server {server} settles', seconds=STEP, pause=1.0
            )
        except AssertionError:
            return last

    def end(self) -> None:
        """Delete what is left, once nothing is broken any more."""
        compute = faults.connect('demo', self._where).compute
        self._compute = compute
        for server, began, said in self._late:
            try:
                status = self._settled(server)
            except faults.BROKEN as exc:
                self._note_hitch(exc)
                continue
            self._note_status(server, began, status, 'it was late', **said)
        # The answer that told of one may have been lost.
        listed = polling.until(
            lambda: self._listed(compute), 'servers', pause=2.0
        )
        ids = sorted({*self._made, *listed} - {''})
        for server in ids:
            self._journal.note('server deleted', server)
            try:
                compute.delete_server(server, ignore_missing=True)
            except faults.BROKEN as exc:
                self._note_hitch(exc)
        for server in ids:
            try:
                found = compute.find_server(server, ignore_missing=True)
                if found is not None:
                    compute.wait_for_delete(found, wait=STEP)
            except faults.BROKEN as exc:
                # Nova loses it for good where its message was lost.
                self._note_hitch(exc)
        self._journal.note('servers', 'deleted', ids=ids)

    def _listed(self, compute: Any) -> list[str]:
        """The ids of all servers of a run, and '' at the end."""
        try:
            found = compute.servers(details=False, name='nemesis-')
            return [*(server.id for server in found), '']
        except faults.BROKEN as exc:
            self._note_hitch(exc)
            return []
