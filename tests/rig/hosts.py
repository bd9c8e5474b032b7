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

"""Compute hosts to order: processes that make boot disks as Nova does."""

from collections.abc import Iterator, Mapping, Sequence
import configparser
import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import Any
import uuid

from keystoneauth1 import identity
from nova.compute import vm_states
from openstack import connection

from lab import layout
from tests.rig import polling

OURS = ('rbd_multistore', 'LibvirtDriver')
STOCK = ('libvirt', 'LibvirtDriver')

#: A host that has not ended by then hangs, which no boot may.
DEADLINE = 300.0

#: Characters of the output of one that did not end well.
_SHOWN = 6000


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one boot disk.

    :ivar began: seconds since the epoch
    """

    disk: str
    image: str
    began: float
    seconds: float
    error: str | None
    message: str
    classes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class User:
    """In whose name servers are booted."""

    user_id: str
    project_id: str
    auth_token: str
    roles: tuple[str, ...] = ('member',)
    service_catalog: tuple[Any, ...] = ()


def user_of(who: connection.Connection) -> User:
    """A user who is logged in, as Nova's API hands them on to a compute."""
    auth = who.session.auth
    assert isinstance(auth, identity.BaseIdentityPlugin)
    access = auth.get_access(who.session)
    assert access.user_id is not None
    assert access.project_id is not None
    assert access.auth_token is not None
    return User(
        access.user_id,
        access.project_id,
        access.auth_token,
        service_catalog=tuple(
            _as_keystonemiddleware_says(service)
            for service in access.service_catalog.catalog
        ),
    )


def _as_keystonemiddleware_says(service: dict[str, Any]) -> dict[str, Any]:
    """A service of the catalog, in the format of Keystone's API v2.

    That has one URL for each interface of a region: of several, the last.
    """
    regions: dict[str, dict[str, str]] = {}
    for endpoint in service['endpoints']:
        region = regions.setdefault(
            endpoint['region'], {'region': endpoint['region']}
        )
        region[f'{endpoint["interface"]}URL'] = endpoint['url']
    return {
        'type': service['type'],
        'name': service['name'],
        'endpoints': list(regions.values()),
    }


def write_options(path: pathlib.Path, options: Mapping[str, Any]) -> None:
    """Write a file of options, which are named ``section.name``."""
    conf = configparser.ConfigParser(interpolation=None)
    for name, value in options.items():
        section, _, option = name.rpartition('.')
        if section != 'DEFAULT' and not conf.has_section(section):
            conf.add_section(section)
        text = ','.join(value) if isinstance(value, list) else str(value)
        conf.set(section, option, text)
    path.touch(mode=0o600)
    with path.open('w') as file:
        conf.write(file)


class Host:
    """One compute host, with a state path of its own.

    :param compute: the lab's compute whose nova.conf it has
    :param where: directory for its state, log and outcomes
    :param options: of nova.conf, by ``section.name``, that differ
    :ivar disks: names of the disks that it was to make
    """

    def __init__(
        self,
        compute: layout.Compute,
        where: pathlib.Path,
        options: Mapping[str, Any],
        driver: tuple[str, str] = OURS,
        eventlet: bool = False,
    ) -> None:
        self._compute = compute
        self._where = where
        self._driver = driver
        self._eventlet = eventlet
        self._process: subprocess.Popen[str] | None = None
        self.disks: list[str] = []
        # Of its process that is running: its disks, and when it begins the
        # last of them.
        self._begun: list[str] = []
        self._last = 0.0
        where.mkdir(parents=True)
        write_options(self._options_file, options)

    @property
    def _options_file(self) -> pathlib.Path:
        return self._where / 'options.conf'

    @property
    def _outcomes_file(self) -> pathlib.Path:
        return self._where / 'outcomes.jsonl'

    @property
    def log(self) -> str:
        """What its nova.log says."""
        return (self._where / 'nova.log').read_text()

    def wait_for_log(
        self, text: str, times: int = 1, seconds: float = polling.DEADLINE
    ) -> None:
        """Wait until its log has said something, so many times."""
        path = self._where / 'nova.log'
        polling.until(
            lambda: path.exists() and path.read_text().count(text) >= times,
            f'{text!r} in {path}',
            seconds=seconds,
        )

    @property
    def state_path(self) -> pathlib.Path:
        return self._where / 'state'

    def start(
        self,
        user: User,
        images: Sequence[str],
        at: float = 0.0,
        apart: float = 0.0,
        root_gib: int = 1,
        servers: Sequence[str] = (),
        ran: bool = False,
        vm_state: str = vm_states.BUILDING,
    ) -> None:
        """Begin to boot a server from each image, all at once.

        :param at: seconds since the epoch, to boot on several hosts at once
        :param apart: seconds between two boots, if not all at once
        :param servers: their ids, new ones unless given
        :param ran: whether these servers have been up before
        :param vm_state: theirs
        """
        self._launch(
            [
                _order(
                    *(user, image, server or str(uuid.uuid4())),
                    at=at + apart * number,
                    root_gib=root_gib,
                    ran=ran,
                    vm_state=vm_state,
                )
                for number, (image, server) in enumerate(
                    zip(images, servers or [''] * len(images), strict=True)
                )
            ]
        )
        self._say_no_more()

    def live(self) -> None:
        """Start its process, which boots what it is told to later."""
        self._launch([])

    def also_boot(self, user: User, image: str) -> str:
        """Begin to boot one more server, if it lives: the name of its disk.

        :raises BrokenPipeError: if its process is dead
        """
        order = _order(user, image, str(uuid.uuid4()))
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + '\n')
        self._process.stdin.flush()
        return self._add(order)

    def _add(self, order: dict[str, Any]) -> str:
        disk = f'{order["server"]}_disk'
        self.disks.append(disk)
        self._begun.append(disk)
        self._last = max(self._last, order['at'])
        return disk

    def _launch(self, orders: list[dict[str, Any]]) -> None:
        job: dict[str, Any] = {
            # The second overrides the first.
            'confs': [str(self._compute.nova_conf), str(self._options_file)],
            'state_path': str(self.state_path),
            'log': str(self._where / 'nova.log'),
            'outcomes': str(self._outcomes_file),
            'driver': self._driver,
            'disks': orders,
        }
        self._begun = []
        for order in orders:
            self._add(order)
        self._outcomes_file.unlink(missing_ok=True)
        (self.state_path / 'instances').mkdir(parents=True, exist_ok=True)
        environment = {
            **os.environ,
            'OS_NOVA_DISABLE_EVENTLET_PATCHING': str(not self._eventlet),
            # One that crashes says where each of its threads was.
            'PYTHONFAULTHANDLER': '1',
        }
        with (self._where / 'output').open('w') as output:
            self._process = subprocess.Popen(
                [sys.executable, '-m', 'tests.rig.host_process'],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                text=True,
            )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + '\n')
        self._process.stdin.flush()

    def _say_no_more(self) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        # What is dead reads no more.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def start_waiting(self, user: User, image: str) -> None:
        """Begin to boot an image that something holds in Glance.

        Returns when the boot waits for that copy.
        """
        self.start(user, [image])
        self.wait_for_log('Waiting for image')

    def outcomes(self) -> list[Outcome]:
        """Wait for the boots to end, and tell what became of each."""
        assert self._process is not None
        self._say_no_more()
        seconds = max(self._last - time.time(), 0.0) + DEADLINE
        try:
            code = self._process.wait(timeout=seconds)
        finally:
            self.kill()
        ended = self.ended()
        if code or len(ended) < len(self._begun):
            # The end tells why: before it come the lines of Nova's log.
            raise AssertionError(
                f'the host ended with {code}:\n{self.said[-_SHOWN:]}'
            )
        return [ended[disk] for disk in self._begun]

    def ended(self) -> dict[str, Outcome]:
        """What has become of the boots that have ended so far, by disk."""
        if not self._outcomes_file.exists():
            return {}
        lines = self._outcomes_file.read_text().splitlines(keepends=True)
        # It may have been killed in the middle of the last.
        outcomes = [
            _outcome(json.loads(line)) for line in lines if line[-1] == '\n'
        ]
        return {outcome.disk: outcome for outcome in outcomes}

    @property
    def said(self) -> str:
        """What its process has written beside its log."""
        return (self._where / 'output').read_text()

    def boot(self, user: User, *images: str, **how: Any) -> list[Outcome]:
        """Boot a server from each image, all at once, and wait.

        :param how: as for :meth:`start`
        """
        self.start(user, images, **how)
        return self.outcomes()

    @property
    def pid(self) -> int:
        """Of its process, which was started."""
        assert self._process is not None
        return self._process.pid

    @property
    def code(self) -> int | None:
        """What its process has ended with, None if it has not."""
        assert self._process is not None
        return self._process.poll()

    def freeze(self) -> None:
        """Have its process stand still."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def end(self) -> None:
        """Have its process end as "systemctl stop" does."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(timeout=DEADLINE)

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def _order(
    user: User, image: str, server: str, at: float = 0.0, **how: Any
) -> dict[str, Any]:
    """A boot, as its process is told of it."""
    return {
        'server': server,
        'image': image,
        'root_gib': 1,
        'at': at,
        'user': dataclasses.asdict(user),
        **how,
    }


def _outcome(entry: dict[str, Any]) -> Outcome:
    error = entry['error']
    return Outcome(
        disk=f'{entry["server"]}_disk',
        image=entry['image'],
        began=entry['began'],
        seconds=entry['seconds'],
        error=error and error['classes'][0],
        message=error['message'] if error else '',
        classes=tuple(error['classes']) if error else (),
    )


@contextlib.contextmanager
def killed_at_the_end(hosts: list[Host]) -> Iterator[None]:
    """No host outlives its test."""
    try:
        yield
    finally:
        for host in hosts:
            host.kill()


def soon(seconds: float = 8.0) -> float:
    """A time by which all hosts that are started now are ready."""
    return time.time() + seconds
