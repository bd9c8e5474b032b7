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

"""Where everything of the lab lies: directories, files, ports.

Nothing here touches the machine. A layout can be made, and asked, whether
there is a lab or not.
"""

from collections.abc import Mapping
import configparser
import dataclasses
import functools
import os
import pathlib
import sys
from typing import Final

from lab import errors

HOST: Final = '127.0.0.1'
REGION: Final = 'RegionOne'

# Below Linux's ephemeral range, and away from the ports where a package's
# own MariaDB, RabbitMQ or Ceph would listen.
PORTS: Final[Mapping[str, int]] = {
    'mariadb': 17001,
    'rabbitmq': 17002,
    'rabbitmq-distribution': 17003,
    'epmd': 17004,
    'keystone': 17010,
    'placement': 17011,
    'neutron': 17012,
    'glance-api-1': 17013,
    'glance-api-2': 17014,
    'nova-api': 17015,
    'cinder-api': 17016,
    'ceph-mon-east': 17100,
    'ceph-mon-east-v1': 17101,
    'ceph-mon-west': 17200,
    'ceph-mon-west-v1': 17201,
}

# Ceph's other daemons choose ports of their own, each site from its range.
CEPH_PORTS: Final[Mapping[str, tuple[int, int]]] = {
    'east': (17110, 17149),
    'west': (17210, 17249),
}


@dataclasses.dataclass(frozen=True)
class Site:
    """A site: a Ceph cluster, which is a Glance store, which is a zone."""

    name: str
    directory: pathlib.Path
    data: pathlib.Path

    @property
    def store(self) -> str:
        return self.name

    @property
    def zone(self) -> str:
        return self.name

    @property
    def ceph_conf(self) -> pathlib.Path:
        return self.directory / 'ceph.conf'

    @property
    def pools(self) -> tuple[str, ...]:
        return ('images', 'vms')

    @property
    def data_pools(self) -> dict[str, str]:
        """Where users have the data of new images, if the lab is to."""
        return {'glance': 'images-data', 'nova': 'vms-data'}

    @property
    def fsid(self) -> str:
        """The cluster's identity; there is one once the lab was made."""
        conf = configparser.ConfigParser(interpolation=None)
        if not conf.read(self.ceph_conf):
            raise errors.NotMade(
                f'site {self.name} has no cluster yet ({self.ceph_conf} is '
                f'missing): run tools/lab up'
            )
        return conf['global']['fsid']

    def keyring(self, entity: str) -> pathlib.Path:
        return self.directory / f'{entity}.keyring'


@dataclasses.dataclass(frozen=True)
class VolumeStore:
    """A Glance store in Cinder: what one volume type has in one site."""

    name: str
    site: Site

    @property
    def volume_type(self) -> str:
        return f'glance-{self.name}'


@dataclasses.dataclass(frozen=True)
class GlanceApi:
    """One of the two glance-api processes."""

    name: str
    directory: pathlib.Path
    data: pathlib.Path

    @property
    def url(self) -> str:
        return f'http://{HOST}:{PORTS[self.name]}'

    @property
    def staging(self) -> pathlib.Path:
        return self.data / 'staging'

    @property
    def tasks(self) -> pathlib.Path:
        return self.data / 'tasks'


@dataclasses.dataclass(frozen=True)
class Compute:
    """A nova-compute and the libvirt that it alone talks to."""

    name: str
    site: Site
    layout: 'Layout'

    @property
    def program(self) -> str:
        return f'compute-{self.name}'

    @property
    def nova_conf(self) -> pathlib.Path:
        return self.layout.etc / self.program / 'nova.conf'

    @property
    def state_path(self) -> pathlib.Path:
        return self.layout.data / self.program

    @property
    def instances_path(self) -> pathlib.Path:
        return self.state_path / 'instances'

    @property
    def log(self) -> pathlib.Path:
        return self.layout.log_of(self.program)

    @property
    def libvirt(self) -> pathlib.Path:
        """What lies under this host's own /run, /var and /etc of libvirt."""
        return self.layout.data / f'libvirt-{self.name}'

    def namespace(self, kind: str) -> pathlib.Path:
        return self.layout.namespaces / f'{self.name}.{kind}'


@dataclasses.dataclass(frozen=True)
class Layout:
    """The lab below one directory, its root."""

    root: pathlib.Path

    @classmethod
    def from_environment(cls) -> 'Layout':
        default = pathlib.Path(__file__).parents[1] / '.lab'
        root = os.environ.get('NOVA_RBD_LAB_DIR') or default
        return cls(pathlib.Path(root).absolute())

    @property
    def etc(self) -> pathlib.Path:
        return self.root / 'etc'

    @property
    def data(self) -> pathlib.Path:
        return self.root / 'data'

    @property
    def log(self) -> pathlib.Path:
        return self.root / 'log'

    @property
    def run(self) -> pathlib.Path:
        """Sockets and the like: worth nothing once the lab is down."""
        return self.root / 'run'

    @property
    def done(self) -> pathlib.Path:
        """A marker file for each thing that is done once in a lab's life."""
        return self.root / 'done'

    @property
    def tests(self) -> pathlib.Path:
        """What the functional tests write, logs of their own processes too."""
        return self.root / 'tests'

    @property
    def namespaces(self) -> pathlib.Path:
        return self.run / 'ns'

    @property
    def venv(self) -> pathlib.Path:
        return pathlib.Path(sys.prefix)

    def program_file(self, name: str) -> str:
        """A program of the virtual environment."""
        return str(self.venv / 'bin' / name)

    def log_of(self, program: str) -> pathlib.Path:
        return self.log / f'{program}.log'

    def url(self, service: str) -> str:
        return f'http://{HOST}:{PORTS[service]}'

    @property
    def auth_url(self) -> str:
        return self.url('keystone') + '/v3'

    @property
    def images(self) -> pathlib.Path:
        """The datadir of Glance's store 'file'."""
        return self.data / 'glance' / 'images'

    @functools.cached_property
    def sites(self) -> tuple[Site, ...]:
        return tuple(
            Site(name, self.etc / f'ceph-{name}', self.data / f'ceph-{name}')
            for name in ('east', 'west')
        )

    @functools.cached_property
    def volume_stores(self) -> tuple[VolumeStore, ...]:
        east, west = self.sites
        return (VolumeStore('fast', east), VolumeStore('slow', west))

    @property
    def cinder_venv(self) -> pathlib.Path:
        """Cinder's own environment, where there is one."""
        default = pathlib.Path(__file__).parents[1] / '.venv-cinder'
        return pathlib.Path(os.environ.get('NOVA_RBD_CINDER_VENV') or default)

    @property
    def cinder_keyrings(self) -> pathlib.Path:
        """What lies in /etc/ceph for whatever attaches Cinder's volumes."""
        return self.etc / 'cinder' / 'ceph'

    @property
    def with_cinder_keyrings(self) -> pathlib.Path:
        """A program that runs another with these keyrings in /etc/ceph."""
        return self.etc / 'cinder' / 'with-keyrings'

    @functools.cached_property
    def glance_apis(self) -> tuple[GlanceApi, ...]:
        return tuple(
            GlanceApi(name, self.etc / name, self.data / name)
            for name in ('glance-api-1', 'glance-api-2')
        )

    @functools.cached_property
    def computes(self) -> tuple[Compute, ...]:
        east, west = self.sites
        return (
            Compute('east-1', east, self),
            Compute('west-1', west, self),
            Compute('west-2', west, self),
        )
