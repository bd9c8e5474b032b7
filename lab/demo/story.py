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

"""The story that is told: cold image, two sites, then a warm boot."""

from collections.abc import Callable
import dataclasses
import functools
import hashlib
import pathlib
import time

import keystoneauth1.exceptions
from openstack.compute.v2.server import Server
import openstack.exceptions
import prettytable

from lab import cloud
from lab import errors
from lab import guest
from lab.demo import checklist
from lab.demo import disks
from lab.demo import progress
from lab.layout import Layout
from lab.layout import Site

FLAVOR = 'm1.tiny'
ACTIVE_WITHIN = 300.0
SPOKEN_WITHIN = 120.0
DELETED_WITHIN = 120

CLOUD_FAILURES = (
    openstack.exceptions.OpenStackCloudException,
    keystoneauth1.exceptions.ClientException,
)
"""What openstacksdk raises when a service refuses, or cannot be reached."""


@dataclasses.dataclass
class Boot:
    """One server, and what was seen of it."""

    name: str
    site: Site
    server_id: str
    asked: float
    """When Nova was asked for it, on the monotonic clock."""
    seconds: float | None = None
    """From there until ACTIVE."""
    copy_seconds: float | None = None
    """For how long Glance was copying to the site's store meanwhile."""
    host: str = ''
    parent: disks.Snapshot | None = None
    fsid: str = ''
    sighting: guest.Sighting | None = None


class Story:
    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._user = cloud.connect('demo')
        self._admin = cloud.connect('admin')
        self._made: dict[str, Callable[[], None]] = {}
        self.checklist = checklist.Checklist()

    def tell(self, size_mib: int) -> None:
        east, west = self._layout.sites
        file = self._make_the_image(size_mib)
        image_id = self._upload(file)

        _headline('One server on each site, at the same time')
        cold = self._boot(image_id, {'demo-east': east, 'demo-west': west})
        self._listen(cold)
        self._examine(cold)
        self._check_cold_boots(image_id, cold)

        _headline('A second server on west, whose store has the image now')
        tasks = self._copies_asked_for(image_id)
        warm = self._boot(image_id, {'demo-west-2': west})
        self._listen(warm)
        self._examine(warm)
        self._check_warm_boot(image_id, warm[0], tasks)

        _headline('The bytes, after all guests have written')
        for boot in cold + warm:
            self._check_clone(boot, image_id)
            self._check_guest(boot)
        self._check_bytes(file, image_id, cold + warm)

    def clear_away(self) -> None:
        """Delete the servers and then the image, whatever became of them."""
        _headline('Clearing away')
        left = []
        for what, delete in reversed(self._made.items()):
            try:
                delete()
            except CLOUD_FAILURES as error:
                left.append(f'{what}: {error}')
        self.checklist.add(
            'Nothing is left behind',
            not left,
            '; '.join(left)
            or f'deleted: {", ".join(self._made) or "nothing"}',
        )

    def _make_the_image(self, size_mib: int) -> pathlib.Path:
        _headline(f'A guest image of {size_mib} MiB, into one store of three')
        directory = self._layout.root / 'guest'
        directory.mkdir(parents=True, exist_ok=True)
        return guest.build(directory / 'demo.raw', size_mib)

    def _upload(self, file: pathlib.Path) -> str:
        image = self._user.image.create_image(
            'demo',
            filename=str(file),
            disk_format='raw',
            container_format='bare',
            allow_duplicates=True,
        )
        self._made[f'image {image.id}'] = functools.partial(
            self._user.image.delete_image, str(image.id)
        )
        stores = progress.Stores.of(self._user, image.id)
        print(f'image {image.id}, raw, {file.stat().st_size >> 20} MiB')
        print(f'before: {stores}')
        self.checklist.add(
            'The image was uploaded to the store "file" alone',
            stores.holding == {'file'},
            stores,
        )
        return str(image.id)

    def _boot(self, image_id: str, where: dict[str, Site]) -> list[Boot]:
        """Ask for all servers at once and follow them until ACTIVE."""
        flavor = self._user.compute.find_flavor(FLAVOR, ignore_missing=False)
        boots = []
        for name, site in where.items():
            asked = time.monotonic()
            server = self._user.compute.create_server(
                name=name,
                image_id=image_id,
                flavor_id=flavor.id,
                availability_zone=site.zone,
                networks='none',
            )
            self._made[f'server {server.id}'] = functools.partial(
                self._delete_server, server
            )
            boots.append(Boot(name, site, str(server.id), asked))
        self._follow(image_id, boots)
        return boots

    def _follow(self, image_id: str, boots: list[Boot]) -> None:
        ticker, clock = progress.Ticker(), progress.Clock()
        for now in progress.within(ACTIVE_WITHIN, 'booting'):
            stores = progress.Stores.of(self._user, image_id)
            clock.note(stores.importing, now)
            ticker.show(now, 'image', str(stores))
            for boot in boots:
                if boot.seconds is None:
                    ticker.show(now, boot.name, self._state(boot))
            if all(boot.seconds is not None for boot in boots):
                break
        for boot in boots:
            boot.copy_seconds = clock.seconds(boot.site.store)

    def _state(self, boot: Boot) -> str:
        server = self._user.compute.get_server(boot.server_id)
        if server.status == 'ERROR':
            fault = (server.fault or {}).get('message', 'no fault was given')
            raise errors.ServiceFailed(f'{boot.name} is in ERROR: {fault}')
        if server.status == 'ACTIVE':
            boot.seconds = time.monotonic() - boot.asked
        return ', '.join(filter(None, (server.status, server.task_state)))

    def _listen(self, boots: list[Boot]) -> None:
        """Wait until each guest has said that it wrote to its disk."""
        ticker = progress.Ticker()
        names = ', '.join(boot.name for boot in boots)
        waiting = list(boots)
        for now in progress.within(SPOKEN_WITHIN, f'the guest of {names}'):
            for boot in list(waiting):
                boot.sighting = guest.Sighting.from_console(
                    self._console(boot)
                )
                if boot.sighting is None:
                    continue
                if boot.sighting.wrote or boot.sighting.failure:
                    waiting.remove(boot)
                    ticker.show(now, boot.name, f'console: {boot.sighting}')
            if not waiting:
                break

    def _console(self, boot: Boot) -> str:
        answer = self._user.compute.get_server_console_output(boot.server_id)
        return str(answer['output'])

    def _examine(self, boots: list[Boot]) -> None:
        """Look behind the API: which host, and what its cluster holds."""
        for boot in boots:
            server = self._admin.compute.get_server(boot.server_id)
            boot.host = server.compute_host
            with disks.connected(boot.site) as site_disks:
                boot.fsid = site_disks.fsid
                boot.parent = site_disks.parent(boot.server_id)
            print(_table(boot))

    def _check_cold_boots(self, image_id: str, boots: list[Boot]) -> None:
        stores = progress.Stores.of(self._user, image_id)
        print(f'after: {stores}')
        self.checklist.add(
            'Booting had the image copied to the stores of both sites',
            stores.holding == {'file', *(boot.site.store for boot in boots)}
            and not stores.importing,
            stores,
        )
        fsids = [boot.fsid for boot in boots]
        self.checklist.add(
            'The sites are different Ceph clusters',
            len(set(fsids)) == len(fsids),
            ', '.join(f'{boot.site.name} is {boot.fsid}' for boot in boots),
        )

    def _check_warm_boot(self, image_id: str, boot: Boot, before: int) -> None:
        after = self._copies_asked_for(image_id)
        self.checklist.add(
            f'{boot.name} was booted without another copy',
            0 < before == after and boot.copy_seconds is None,
            f'Glance knows of {before} copies before and {after} after it',
        )

    def _copies_asked_for(self, image_id: str) -> int:
        answer = self._user.image.get(f'/images/{image_id}/tasks')
        return len(answer.json()['tasks'])

    def _check_clone(self, boot: Boot, image_id: str) -> None:
        own = [c.name for c in self._layout.computes if c.site == boot.site]
        self.checklist.add(
            f'{boot.name} runs on a host of {boot.site.name}',
            boot.host in own,
            f'{boot.host}, of {", ".join(own)}',
        )
        self.checklist.add(
            f"{boot.name}'s disk is a copy-on-write clone in the cluster of "
            f'{boot.site.name}',
            boot.parent == disks.Snapshot.of_glance(image_id)
            and boot.fsid == boot.site.fsid,
            f'parent {boot.parent or "none: flat"} in {boot.fsid}',
        )

    def _check_guest(self, boot: Boot) -> None:
        seen = boot.sighting
        self.checklist.add(
            f"{boot.name}'s guest found an untouched disk and wrote to it",
            seen is not None
            and seen.uuid == boot.server_id
            and seen.found == guest.PRISTINE
            and seen.wrote,
            f'{seen.uuid} {seen}' if seen else 'the console shows no guest',
        )

    def _check_bytes(
        self, file: pathlib.Path, image_id: str, boots: list[Boot]
    ) -> None:
        with file.open('rb') as uploaded:
            expected = hashlib.file_digest(uploaded, 'sha256').hexdigest()
        print(f'uploaded file: sha256 {expected}')
        snapshot = disks.Snapshot.of_glance(image_id)
        for site in self._layout.sites:
            with disks.connected(site) as site_disks:
                digest = site_disks.digest(snapshot)
                print(f'{site.name}: {snapshot}: sha256 {digest}')
                self.checklist.add(
                    f'The image in {site.name} is, byte for byte, the '
                    f'uploaded file',
                    digest == expected,
                    f'sha256 {digest}',
                )
                for boot in boots:
                    if boot.site == site:
                        changes = site_disks.changes(boot.server_id, file)
                        self._check_changes(boot, changes)

    def _check_changes(self, boot: Boot, changes: list[int]) -> None:
        print(
            f'{boot.site.name}: {disks.disk_name(boot.server_id)} differs in '
            f'{len(changes)} sector(s)'
        )
        self.checklist.add(
            f"{boot.name}'s disk differs from that file where its guest "
            f'wrote, and nowhere else',
            changes == [guest.SCRATCH_OFFSET],
            f'sectors that differ lie at {changes or "no offset"}; the guest '
            f'wrote at {guest.SCRATCH_OFFSET}',
        )

    def _delete_server(self, server: Server) -> None:
        self._user.compute.delete_server(server)
        self._user.compute.wait_for_delete(server, wait=DELETED_WITHIN)


def _headline(text: str) -> None:
    print(f'\n== {text}', flush=True)


def _table(boot: Boot) -> prettytable.PrettyTable:
    copy = (
        'no copy'
        if boot.copy_seconds is None
        else f'{boot.copy_seconds:.1f} s of which the image was being copied'
    )
    table = prettytable.PrettyTable(header=False, align='l')
    table.add_rows(
        [
            ['server', f'{boot.name} {boot.server_id}'],
            ['zone, host', f'{boot.site.zone}, {boot.host}'],
            ['ACTIVE after', f'{boot.seconds:.1f} s, {copy}'],
            ['RBD parent', boot.parent or 'none: a flat disk'],
            ['in cluster', f'{boot.fsid} ({boot.site.name})'],
            ['console', boot.sighting or 'no guest seen'],
        ]
    )
    return table
