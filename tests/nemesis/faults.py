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

"""Faults of the lab's services, drawn at random, each undone."""

from collections.abc import Callable, Iterator, Mapping, Sequence
import contextlib
import dataclasses
import functools
import os
import pathlib
import random
import re
import signal
import subprocess

from keystoneauth1 import exceptions as ksa_exc
from openstack import connection
from openstack import exceptions as sdk_exceptions
import requests

from lab import cloud
from lab import layout
from lab import programs
from tests.nemesis import members
from tests.nemesis import proxies
from tests.rig import clusters

#: Seconds for which Glance keeps the lock of a copy that was broken off.
LOCK = 3600.0

#: How many sites there are, whose hosts take turns.
SITES = 2

#: Seconds until a connection that was shut out is made anew.
RECONNECTED = 60.0


#: Seconds for an answer of an API. It may never come: of a connection that was
#: broken while no packet got through, only one end knows.
ANSWERED = 120.0

#: The same, for a request that undoes a fault, and is made again.
UNDONE = 20.0

#: What Nova, Glance or Keystone may answer while one of them is broken.
BROKEN = (
    *(sdk_exceptions.SDKException, ksa_exc.ClientException),
    *(requests.RequestException, AssertionError),
)

#: What is said of a request that no service has got.
_NOT_SENT = 'Failed to establish a new connection'


def connect(
    user: str, where: layout.Layout, seconds: float = ANSWERED
) -> connection.Connection:
    """Log in as 'admin', 'demo' or 'other', to services that may hang."""
    return cloud.connect(user, where, seconds)


@dataclasses.dataclass(frozen=True)
class Trouble:
    """One thing that is about to be broken, and is mended later.

    :ivar felt_by: the boots that can feel it, if not all: by what is noted
        of each, as ``image`` or ``user``
    """

    begin: Callable[[], object]
    end: Callable[[], object]
    felt_by: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Fault:
    """Something that can be broken again and again.

    :ivar name: what has it, which has one fault at a time, and what it is
    :ivar draw: chooses what it befalls now, None if there is nothing
    :ivar aftermath: seconds for which it is felt when it was mended
    """

    name: str
    draw: Callable[[], Trouble | None]
    aftermath: float

    @property
    def victim(self) -> str:
        return self.name.split()[0]


def has_reached(exc: Exception) -> bool:
    """Whether what ended in this error may have been done all the same."""
    return _NOT_SENT not in str(exc)


def always(
    name: str,
    begin: Callable[[], object],
    end: Callable[[], object],
    aftermath: float,
) -> Fault:
    """One that befalls the same each time."""
    trouble = Trouble(begin, end)
    return Fault(name, lambda: trouble, aftermath)


def of_lab(where: layout.Layout) -> list[Fault]:
    """Those of programs, disks and clusters."""
    supervisor = programs.Supervisor(where)
    apis = [api.name for api in where.glance_apis]
    names = [*apis, 'keystone', 'mariadb', 'rabbitmq']
    names += [compute.program for compute in where.computes]
    for site in where.sites:
        names += [f'ceph-mon-{site.name}', f'ceph-osd-{site.name}']
    marker = where.images / '.glance'
    peer_anew = {
        f'ceph-osd-{site.name}': functools.partial(_peer_anew, site)
        for site in where.sites
    }
    return [
        *(
            fault
            for name in names
            for fault in _of_program(
                supervisor, name, peer_anew.get(name, _nothing)
            )
        ),
        always(
            'glance-api: all restarted at once',
            lambda: supervisor.restart(*apis),
            lambda: supervisor.start(*apis),
            LOCK,
        ),
        always('glance-api: no marker', marker.unlink, marker.touch, 60.0),
        *(_full_staging(api) for api in where.glance_apis),
        *(
            _without(supervisor, api, store)
            for api in where.glance_apis
            for store in ('file', *(site.store for site in where.sites))
        ),
        *(
            fault
            for site in where.sites
            for fault in (
                *(_full_cluster(site), _shut_out(site), _other_key(site)),
            )
        ),
    ]


def _of_program(
    supervisor: programs.Supervisor, name: str, thawed: Callable[[], object]
) -> tuple[Fault, ...]:
    """Those of a program, and what is to be done when it was frozen."""

    def freeze() -> None:
        supervisor.signal(name, signal.SIGSTOP)

    def thaw() -> None:
        supervisor.signal(name, signal.SIGCONT)
        thawed()

    def start() -> None:
        supervisor.start(name)

    # A copy that was under way may have held its image's lock.
    return (
        always(f'{name} killed', lambda: supervisor.kill(name), start, LOCK),
        always(f'{name} stopped', lambda: supervisor.stop(name), start, LOCK),
        always(f'{name} frozen', freeze, thaw, LOCK),
    )


def _peer_anew(site: layout.Site) -> None:
    """Have a site's OSD give its leases to read again.

    One that is frozen right after its start may leave a placement group
    "laggy" for good (Ceph 16, a cluster of one OSD).
    """
    with clusters.Cluster(site) as cluster:
        cluster.command('osd down', ids=['0'])


def _nothing() -> None:
    """Where nothing is to be done."""


def of_proxies(made: Sequence[tuple[str, proxies.Proxy]]) -> list[Fault]:
    """Those of proxies, each with the name of the glance-api behind it."""

    def set_mood(
        proxy: proxies.Proxy, mood: proxies.Mood | None
    ) -> Callable[[], None]:
        return lambda: setattr(proxy, 'mood', mood)

    return [
        always(
            f'{name}-proxy {mood}',
            set_mood(proxy, mood),
            set_mood(proxy, None),
            60.0,
        )
        for name, proxy in made
        for mood in proxies.Mood
    ]


def of_hosts(made: Sequence[members.Member]) -> list[Fault]:
    """Those of host processes.

    The first of each site lives through the run, so that it can be seen to
    level off: it is only frozen.
    """
    return [
        *(_frozen(member) for member in made),
        *(fault for member in made[SITES:] for fault in _ended(member)),
    ]


def _frozen(member: members.Member) -> Fault:
    host = member.host
    return always(f'{member.name} frozen', host.freeze, host.thaw, 60.0)


def _ended(member: members.Member) -> tuple[Fault, ...]:
    host = member.host

    def end_by(end: Callable[[], None]) -> Callable[[], None]:
        return lambda: member.end_by(end)

    # One that has led its site's copies has left its lease, and polls no more.
    return (
        always(f'{member.name} killed', end_by(host.kill), member.start, 60.0),
        always(f'{member.name} stopped', end_by(host.end), member.start, 60.0),
    )


def _full_staging(api: layout.GlanceApi) -> Fault:
    """No room for a copy, in whose place a file system of 64 KiB is put."""

    def run(*words: str | pathlib.Path) -> None:
        subprocess.run(words, check=True, timeout=60)

    def end() -> None:
        # It may not have begun.
        if os.path.ismount(api.staging):
            # What writes there still keeps it until it is done.
            run('umount', '--lazy', api.staging)

    return always(
        f'{api.name} staging full',
        lambda: run(
            *('mount', '-t', 'tmpfs', '-o', 'size=64k'),
            *('nemesis', api.staging),
        ),
        end,
        60.0,
    )


def _without(
    supervisor: programs.Supervisor, api: layout.GlanceApi, store: str
) -> Fault:
    """A glance-api that is configured with fewer stores than the others."""
    path = api.directory / 'glance-api.conf'
    with_all = path.read_text()
    without = without_store(with_all, store)

    def go_on(conf: str) -> None:
        path.write_text(conf)
        supervisor.restart(api.name)

    return always(
        f'{api.name} without {store}',
        lambda: go_on(without),
        lambda: go_on(with_all),
        LOCK,
    )


def without_store(conf: str, store: str) -> str:
    """A glance-api.conf that has a store, without it."""
    # Of a list with store file at its head, which is the default.
    if store == 'file':
        without = conf.replace('file:file, ', '', 1)
        (other,) = re.findall('^enabled_backends = (\\w+):', without, re.M)
        without = without.replace(
            'default_backend = file', f'default_backend = {other}'
        )
    else:
        without = conf.replace(f', {store}:rbd', '', 1)
    assert without != conf, store
    return without


def _full_cluster(site: layout.Site) -> Fault:
    def fill() -> None:
        with clusters.Cluster(site) as cluster:
            cluster.fill()

    def empty() -> None:
        with clusters.Cluster(site) as cluster:
            cluster.empty()

    return always(f'ceph-osd-{site.name} full', fill, empty, LOCK)


def _blocklist(site: layout.Site) -> None:
    """Have a cluster know Nova's connections no more."""
    # None may be connected just now.
    with (
        clusters.Cluster(site) as cluster,
        contextlib.suppress(AssertionError),
    ):
        cluster.blocklist('nova')


def _shut_out(site: layout.Site) -> Fault:
    """Connections that a cluster knows no more: they have to be made anew."""
    return always(
        f'ceph-osd-{site.name} blocklists clients',
        lambda: _blocklist(site),
        lambda: None,
        RECONNECTED,
    )


def _other_key(site: layout.Site) -> Fault:
    """The key of Nova's cephx user is another; its keyring has the old one."""
    keyring = site.keyring('client.nova')

    def enter(key: str) -> None:
        with clusters.Cluster(site) as cluster:
            cluster.set_key('nova', key)

    def rotate() -> None:
        enter(clusters.random_key())
        # Who is connected is not asked for the key again.
        _blocklist(site)

    return always(
        f"ceph-mon-{site.name} rotates Nova's key",
        rotate,
        lambda: enter(clusters.key_in(keyring)),
        RECONNECTED,
    )


class Draw:
    """Which fault comes next, and for how long, by a seed."""

    def __init__(self, faults: Sequence[Fault], seed: str) -> None:
        self._by_victim: dict[str, list[Fault]] = {}
        for fault in faults:
            self._by_victim.setdefault(fault.victim, []).append(fault)
        self._rng = random.Random(seed)  # noqa: S311

    def __iter__(self) -> Iterator[tuple[Fault, float, float]]:
        """A fault, the seconds until it begins, and until it is mended."""
        victims = sorted(self._by_victim)
        while True:
            of_one = self._by_victim[self._rng.choice(victims)]
            yield (
                self._rng.choice(of_one),
                self._rng.uniform(1.0, 15.0),
                self._rng.choice((2.0, 10.0, 45.0))
                * self._rng.uniform(0.5, 1.5),
            )
