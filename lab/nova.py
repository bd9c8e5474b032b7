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

"""Nova: its API, conductor, scheduler, and a nova-compute for each host."""

from collections.abc import Mapping, Sequence
import datetime
import pathlib
from typing import ClassVar, Final

from openstack import connection

from lab import cloud
from lab import hypervisor
from lab import layout
from lab import programs
from lab import schema
from lab import service
from lab import wsgi

# Small enough for the lab's guest: MiB of memory, GiB of disk.
FLAVORS: Final = {'m1.tiny': (128, 1), 'm1.small': (256, 2)}


def nova_conf(where: layout.Layout) -> pathlib.Path:
    """That of all but the computes, which may not see the databases."""
    return where.etc / 'nova' / 'nova.conf'


def nova_schema(lab: service.Lab) -> schema.Schema:
    command = ('nova-manage', f'--config-file={nova_conf(lab.layout)}')
    return schema.Schema(
        lab,
        'nova',
        (
            (*command, 'api_db', 'sync'),
            (*command, 'cell_v2', 'map_cell0'),
            (*command, 'db', 'sync'),
        ),
    )


class Cell(service.Service):
    """The one cell, in which all computes are."""

    def __init__(self, lab: service.Lab) -> None:
        super().__init__(lab, 'nova-cell', requires=('nova-schema',))

    def start(self) -> None:
        marker = self.lab.marker(self.name)
        if not marker.exists():
            self.lab.run(
                'nova-schema',
                self.lab.layout.program_file('nova-manage'),
                f'--config-file={nova_conf(self.lab.layout)}',
                'cell_v2',
                'create_cell',
                '--name=lab',
            )
            marker.touch()


class Api(wsgi.WsgiService):
    module: ClassVar[str] = 'nova.wsgi.osapi_compute'

    def __init__(self, lab: service.Lab) -> None:
        super().__init__(
            lab,
            'nova-api',
            requires=(
                'nova-cell',
                'rabbitmq',
                'placement',
                'neutron',
                *(api.name for api in lab.layout.glance_apis),
            ),
        )
        self._conf = nova_conf(lab.layout)

    def configure(self) -> None:
        super().configure()
        state_path = self.lab.layout.data / 'nova'
        state_path.mkdir(parents=True, exist_ok=True)
        self.lab.render('nova.conf.j2', self._conf, state_path=state_path)

    def environment(self) -> Mapping[str, str]:
        paste = self.lab.layout.venv / 'etc' / 'nova' / 'api-paste.ini'
        return {'OS_NOVA_CONFIG_FILES': f'{paste};{self._conf}'}

    def files(self) -> Sequence[pathlib.Path]:
        return (self._conf,)

    def start(self) -> None:
        super().start()
        marker = self.lab.marker('flavors')
        if not marker.exists():
            with cloud.connect('admin', self.lab.layout) as admin:
                for name, (memory, disk) in FLAVORS.items():
                    if not admin.compute.find_flavor(name):
                        admin.compute.create_flavor(
                            name=name, ram=memory, disk=disk, vcpus=1
                        )
            marker.touch()


class Daemon(service.Service):
    """A service of Nova that reports to the database that it lives."""

    # As Nova calls it.
    binary: ClassVar[str]
    host: str = 'control'

    @property
    def conf(self) -> pathlib.Path:
        return nova_conf(self.lab.layout)

    def files(self) -> Sequence[pathlib.Path]:
        return (self.conf,)

    def command(self) -> Sequence[str]:
        return (
            self.lab.layout.program_file(self.binary),
            f'--config-file={self.conf}',
        )

    def daemons(self) -> Sequence[programs.Program]:
        native = self.lab.settings.threading == 'native'
        return (
            programs.Program(
                self.name,
                self.command(),
                {'OS_NOVA_DISABLE_EVENTLET_PATCHING': str(native).lower()},
                self.files(),
                # It would wait for minutes, for threads that never end.
                patience=4,
            ),
        )

    def start(self) -> None:
        self.lab.supervisor.start(self.name)
        started = datetime.datetime.fromtimestamp(
            self.lab.supervisor.started(self.name), datetime.UTC
        )
        with cloud.connect('admin', self.lab.layout) as admin:
            self.wait(
                lambda: self._reported_since(started, admin),
                f'a report of {self.binary} on {self.host}',
            )

    def _reported_since(
        self, started: datetime.datetime, admin: connection.Connection
    ) -> bool:
        # An older report would be that of a process which is no more.
        return any(
            datetime.datetime.fromisoformat(entry.updated_at).replace(
                tzinfo=datetime.UTC
            )
            >= started
            for entry in admin.compute.services(
                binary=self.binary, host=self.host
            )
            if entry.state == 'up' and entry.updated_at
        )


class Conductor(Daemon):
    binary: ClassVar[str] = 'nova-conductor'

    def __init__(self, lab: service.Lab) -> None:
        super().__init__(lab, self.binary, requires=('nova-api',))


class Scheduler(Daemon):
    binary: ClassVar[str] = 'nova-scheduler'

    def __init__(self, lab: service.Lab) -> None:
        super().__init__(lab, self.binary, requires=('nova-api',))
        # What it alone reads, so that it alone is restarted for it.
        self._own_conf = self.conf.with_name('nova-scheduler.conf')

    def configure(self) -> None:
        self.lab.render('nova-scheduler.conf.j2', self._own_conf)

    def files(self) -> Sequence[pathlib.Path]:
        return (*super().files(), self._own_conf)

    def command(self) -> Sequence[str]:
        return (*super().command(), f'--config-file={self._own_conf}')


class Compute(Daemon):
    """nova-compute, in the name spaces of its hypervisor."""

    binary: ClassVar[str] = 'nova-compute'

    def __init__(self, lab: service.Lab, compute: layout.Compute) -> None:
        super().__init__(
            lab,
            compute.program,
            requires=(
                # It waits for the conductor itself, and loads meanwhile.
                'nova-api',
                f'ceph-{compute.site.name}',
                f'hypervisor-{compute.name}',
            ),
        )
        self.compute = compute
        self.host = compute.name

    @property
    def conf(self) -> pathlib.Path:
        return self.compute.nova_conf

    def files(self) -> Sequence[pathlib.Path]:
        # Its connection to the cluster keeps what it was told at first.
        return (self.conf, self.compute.site.ceph_conf)

    def configure(self) -> None:
        self.compute.instances_path.mkdir(parents=True, exist_ok=True)
        self.lab.render(
            'nova-compute.conf.j2', self.conf, compute=self.compute
        )

    def command(self) -> Sequence[str]:
        return hypervisor.inside(self.compute, *super().command())


class Zones(service.Service):
    """An availability zone for each site: users choose one, never a host."""

    def __init__(self, lab: service.Lab) -> None:
        super().__init__(
            lab,
            'zones',
            requires=tuple(compute.program for compute in lab.layout.computes),
        )

    def start(self) -> None:
        marker = self.lab.marker(self.name)
        if marker.exists():
            return
        with cloud.connect('admin', self.lab.layout) as admin:
            for site in self.lab.layout.sites:
                self._make_zone(admin, site)
        # At once, rather than whenever the scheduler next looks for hosts.
        self.lab.run(
            self.name,
            self.lab.layout.program_file('nova-manage'),
            f'--config-file={nova_conf(self.lab.layout)}',
            'cell_v2',
            'discover_hosts',
        )
        marker.touch()

    def _make_zone(
        self, admin: connection.Connection, site: layout.Site
    ) -> None:
        compute = admin.compute
        zone = compute.find_aggregate(site.zone) or compute.create_aggregate(
            name=site.zone, availability_zone=site.zone
        )
        for host in self.lab.layout.computes:
            if host.site != site or host.name in (zone.hosts or ()):
                continue

            def add(name: str = host.name) -> bool:
                compute.add_host_to_aggregate(zone, name)
                return True

            self.wait(add, f'a hypervisor on host {host.name}', 'nova-api')
