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

"""Cinder: API, scheduler and volume, if the lab is to have it.

Each back end has RBD volumes in one site's cluster, and each is what one of
Glance's stores of type cinder keeps its images in. Cinder is in a virtual
environment of its own (``tools/install.sh --with cinder``).
"""

from collections.abc import Sequence
import pathlib
import shutil
from typing import ClassVar, cast

from openstack.block_storage.v3 import _proxy as v3

from lab import ceph
from lab import cloud
from lab import errors
from lab import layout
from lab import programs
from lab import schema
from lab import service
from lab import wsgi

#: The service that is there when Glance can use its stores.
READY = 'cinder-types'


def services(lab: service.Lab) -> Sequence[service.Service]:
    """All of it, or nothing."""
    if not lab.settings.cinder:
        return ()
    return (
        *(Pool(lab, store) for store in lab.layout.volume_stores),
        cinder_schema(lab),
        Api(lab),
        Scheduler(lab),
        Volume(lab),
        Types(lab),
    )


def conf(where: layout.Layout) -> pathlib.Path:
    return where.etc / 'cinder' / 'cinder.conf'


def program_file(where: layout.Layout, name: str) -> str:
    """A program of Cinder's environment."""
    return str(where.cinder_venv / 'bin' / name)


def _require_environment(where: layout.Layout) -> None:
    if not pathlib.Path(program_file(where, 'cinder-volume')).exists():
        raise errors.NotPossible(
            f'Cinder is not installed in {where.cinder_venv}: '
            f'tools/install.sh --with cinder installs it'
        )


def cinder_schema(lab: service.Lab) -> schema.Schema:
    return schema.Schema(
        lab,
        'cinder',
        (
            (
                program_file(lab.layout, 'cinder-manage'),
                f'--config-file={conf(lab.layout)}',
                'db',
                'sync',
            ),
        ),
        venv=lab.layout.cinder_venv,
    )


class Pool(service.Service):
    """The pool of a back end, and its user."""

    def __init__(self, lab: service.Lab, store: layout.VolumeStore) -> None:
        site = store.site
        super().__init__(
            lab, f'cinder-pool-{site.name}', requires=(f'ceph-{site.name}',)
        )
        self._site = site

    def configure(self) -> None:
        keyring = self._site.keyring(ceph.CINDER)
        self.lab.render(
            'ceph.keyring.j2',
            keyring,
            site=self._site,
            capabilities={ceph.CINDER: ceph.CINDER_CAPABILITIES},
        )
        directory = self.lab.layout.cinder_keyrings
        directory.mkdir(parents=True, exist_ok=True)
        shutil.copy(
            keyring, directory / f'{self._site.name}.{ceph.CINDER}.keyring'
        )

    def start(self) -> None:
        marker = self.lab.marker(self.name)
        if not marker.exists():
            ceph.Ceph(self.lab, self._site).make_volumes_pool()
            marker.touch()


class Api(wsgi.WsgiService):
    module: ClassVar[str] = 'cinder.wsgi.api'

    def __init__(self, lab: service.Lab) -> None:
        super().__init__(
            lab,
            'cinder-api',
            requires=('cinder-schema', 'keystone', 'rabbitmq'),
        )
        self._conf = conf(lab.layout)
        self.arguments = [f'--config-file={self._conf}']

    def configure(self) -> None:
        _require_environment(self.lab.layout)
        super().configure()
        data = self.lab.layout.data / 'cinder'
        data.mkdir(parents=True, exist_ok=True)
        self.lab.render(
            'cinder.conf.j2',
            self._conf,
            data=data,
            venv=self.lab.layout.cinder_venv,
        )
        self.lab.render(
            'with-keyrings.j2', self.lab.layout.with_cinder_keyrings
        )

    def command(self) -> Sequence[str]:
        return (program_file(self.lab.layout, 'gunicorn'),)

    def files(self) -> Sequence[pathlib.Path]:
        return (self._conf,)


class _Daemon(service.Service):
    """One of those that take their orders over RabbitMQ."""

    def daemons(self) -> Sequence[programs.Program]:
        path = conf(self.lab.layout)
        return (
            programs.Program(
                self.name,
                (
                    program_file(self.lab.layout, self.name),
                    f'--config-file={path}',
                ),
                files=(path,),
            ),
        )

    def start(self) -> None:
        self.lab.supervisor.start(self.name)
        self.wait(self._reports, 'its report to the database')

    def _reports(self) -> bool:
        with cloud.connect('admin', self.lab.layout) as admin:
            found = [
                entry.state
                for entry in cast(v3.Proxy, admin.block_storage).services()
                if entry.binary == self.name
            ]
        return bool(found) and set(found) == {'up'}


class Scheduler(_Daemon):
    def __init__(self, lab: service.Lab) -> None:
        super().__init__(lab, 'cinder-scheduler', requires=('cinder-api',))


class Volume(_Daemon):
    def __init__(self, lab: service.Lab) -> None:
        super().__init__(
            lab,
            'cinder-volume',
            requires=(
                'cinder-api',
                'cinder-scheduler',
                *(
                    f'cinder-pool-{store.site.name}'
                    for store in lab.layout.volume_stores
                ),
            ),
        )


class Types(service.Service):
    """The volume types that Glance's stores are."""

    def __init__(self, lab: service.Lab) -> None:
        super().__init__(lab, READY, requires=('cinder-volume',))

    def start(self) -> None:
        marker = self.lab.marker(self.name)
        if marker.exists():
            return
        with cloud.connect('admin', self.lab.layout) as admin:
            volumes = cast(v3.Proxy, admin.block_storage)
            for store in self.lab.layout.volume_stores:
                if not volumes.find_type(store.volume_type):
                    volumes.create_type(
                        name=store.volume_type,
                        extra_specs={'volume_backend_name': store.name},
                    )
        marker.touch()
