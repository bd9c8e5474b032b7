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

"""A site's Ceph cluster: a monitor, a manager, and an OSD in a sparse file.

The cluster is born with all its keys: the monitor's first keyring, which
its mkfs takes in, names every entity with its capabilities.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
import json
import shutil
import sysconfig
from typing import Any, ClassVar, Final

import rados
import rbd

from lab import ceph_root
from lab import layout
from lab import programs
from lab import service

# The least that each needs. No daemon of OpenStack is client.admin.
CAPABILITIES: Final = {
    'mon.': {'mon': 'allow *'},
    'mgr.x': {'mon': 'allow profile mgr', 'osd': 'allow *', 'mds': 'allow *'},
    'osd.0': {
        'mon': 'allow profile osd',
        'mgr': 'allow profile osd',
        'osd': 'allow *',
    },
    'client.admin': {
        'mon': 'allow *',
        'mgr': 'allow *',
        'osd': 'allow *',
        'mds': 'allow *',
    },
    'client.glance': {
        'mon': 'profile rbd',
        'osd': 'profile rbd pool=images',
    },
    'client.nova': {
        'mon': 'profile rbd',
        'osd': 'profile rbd pool=vms, profile rbd-read-only pool=images',
    },
}


# What they need beside these where the lab has data pools.
DATA_CAPABILITIES: Final = {
    'client.glance': {'osd': 'profile rbd pool=images-data'},
    'client.nova': {
        'osd': 'profile rbd pool=vms-data, '
        'profile rbd-read-only pool=images-data'
    },
}


# Of the user that Cinder's volumes are made by, and Glance's data in them.
CINDER: Final = 'client.cinder'
CINDER_CAPABILITIES: Final = {
    'mon': 'profile rbd',
    'mgr': 'profile rbd pool=volumes',
    'osd': 'profile rbd pool=volumes',
}
# The OSD's own default is relative on Debian 13, and the OSD runs elsewhere.
CLASSES: Final = (
    f'/usr/lib/{sysconfig.get_config_var("MULTIARCH")}/rados-classes'
)


# A cluster of Ceph 20 admits by itself none but clients of 19.2.6, 20.2.4 and
# later, which know keys of type aes256k. With these, the machine's older
# clients get in, with keys of type aes as the lab and its tests make them.
_OLDER_CLIENTS: Final = (
    '--auth-allowed-ciphers=aes,aes256k',
    '--auth-preferred-cipher=aes',
)


class Ceph(service.Service):
    """One cluster."""

    executables: ClassVar[Sequence[str]] = (
        'ceph',
        'ceph-mgr',
        'ceph-mon',
        'ceph-osd',
        'monmaptool',
    )

    def __init__(self, lab: service.Lab, site: layout.Site) -> None:
        ceph_20 = lab.settings.ceph_20
        super().__init__(
            lab,
            f'ceph-{site.name}',
            requires=('ceph-root',) if ceph_20 else (),
        )
        self.site = site
        self._inside = ceph_root.inside(lab.layout) if ceph_20 else ()
        self._mon = f'ceph-mon-{site.name}'
        self._mgr = f'ceph-mgr-{site.name}'
        self._osd = f'ceph-osd-{site.name}'
        self._monmap = site.directory / 'monmap'

    def configure(self) -> None:
        name = self.site.name
        first, last = layout.CEPH_PORTS[name]
        modules = self.site.directory / 'no-modules'
        modules.mkdir(parents=True, exist_ok=True)
        self.lab.render(
            'ceph.conf.j2',
            self.site.ceph_conf,
            site=self.site,
            first_port=first,
            last_port=last,
            modules=modules,
            classes=CLASSES,
        )
        for entity, path in (
            *((entity, self.site.keyring(entity)) for entity in CAPABILITIES),
            (None, self.site.keyring('initial')),
        ):
            self.lab.render(
                'ceph.keyring.j2',
                path,
                site=self.site,
                capabilities={
                    name: capabilities
                    for name, capabilities in CAPABILITIES.items()
                    if entity in (name, None)
                },
            )

    def daemons(self) -> Sequence[programs.Program]:
        return (
            self._program(self._mon, 'ceph-mon', 'a'),
            self._program(self._mgr, 'ceph-mgr', 'x'),
            self._program(self._osd, 'ceph-osd', '0'),
        )

    def _program(
        self, name: str, executable: str, identity: str
    ) -> programs.Program:
        return programs.Program(
            name,
            (*self._command(executable, identity), '--foreground'),
            files=(self.site.ceph_conf,),
        )

    def _command(self, executable: str, identity: str) -> tuple[str, ...]:
        conf = str(self.site.ceph_conf)
        return (*self._inside, executable, '--conf', conf, '-i', identity)

    def start(self) -> None:
        self._make_mon()
        self.lab.supervisor.start(self._mon)
        self.wait(self._mon_answers, 'the monitor', self._mon)
        self.lab.supervisor.start(self._mgr)
        self._make_osd()
        self.lab.supervisor.start(self._osd)
        self.wait(self._osd_is_up, 'the OSD', self._osd)
        self._make_pools()
        if self.lab.settings.data_pools:
            self._make_data_pools()
        # Nova asks for the free space, which the manager counts.
        self.wait(self._counts, 'the manager', self._mgr)

    def _make_mon(self) -> None:
        marker = self.lab.marker(self._mon)
        if marker.exists():
            return
        self.say('a new cluster')
        data = self.site.data / 'mon'
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir(parents=True)
        v2 = f'v2:{layout.HOST}:{layout.PORTS[self._mon]}'
        v1 = f'v1:{layout.HOST}:{layout.PORTS[f"{self._mon}-v1"]}'
        self.lab.run(
            self._mon,
            *self._inside,
            'monmaptool',
            '--create',
            '--clobber',
            *(_OLDER_CLIENTS if self.lab.settings.ceph_20 else ()),
            f'--fsid={self.site.fsid}',
            '--addv',
            'a',
            f'[{v2},{v1}]',
            self._monmap,
        )
        self.lab.run(
            self._mon,
            *self._command('ceph-mon', 'a'),
            '--mkfs',
            f'--monmap={self._monmap}',
            f'--keyring={self.site.keyring("initial")}',
        )
        marker.touch()

    def _make_osd(self) -> None:
        (self.site.data / 'mgr').mkdir(exist_ok=True)
        marker = self.lab.marker(self._osd)
        if marker.exists():
            return
        data = self.site.data / 'osd'
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir()
        identity = self.lab.credentials.osd_uuid(self.site.name)
        with self.connection() as cluster:
            _order(cluster, 'osd new', uuid=identity, id=0)
        self.lab.run(
            self._osd,
            *self._command('ceph-osd', '0'),
            '--mkfs',
            f'--osd-uuid={identity}',
            f'--monmap={self._monmap}',
        )
        marker.touch()

    def _make_pools(self) -> None:
        marker = self.lab.marker(f'{self.name}-pools')
        if marker.exists():
            return
        with self.connection() as cluster:
            for pool in self.site.pools:
                if not cluster.pool_exists(pool):
                    _order(cluster, 'osd pool create', pool=pool)
                with cluster.open_ioctx(pool) as context:
                    rbd.RBD().pool_init(context, force=True)
            # For want of the manager's modules, which the lab does without.
            _order(
                cluster, 'health mute', code='MGR_MODULE_ERROR', sticky=True
            )
        self.say(f'pools {" and ".join(self.site.pools)} made')
        marker.touch()

    def _make_data_pools(self) -> None:
        """Make pools for data alone, and let their users in.

        Replicated ones: for an erasure-coded pool (k=2, m=1), a single OSD
        needs a CRUSH rule of its own, see tests/rig/erasure_coding.py.
        """
        marker = self.lab.marker(f'{self.name}-data-pools')
        if marker.exists():
            return
        with self.connection() as cluster:
            for pool in self.site.data_pools.values():
                if not cluster.pool_exists(pool):
                    _order(cluster, 'osd pool create', pool=pool)
                with cluster.open_ioctx(pool) as context:
                    rbd.RBD().pool_init(context, force=True)
            for user, more in DATA_CAPABILITIES.items():
                caps = dict(CAPABILITIES[user])
                for daemon, capability in more.items():
                    caps[daemon] += f', {capability}'
                _order(
                    cluster,
                    'auth caps',
                    entity=user,
                    caps=[word for pair in caps.items() for word in pair],
                )
        self.say(f'pools {" and ".join(self.site.data_pools.values())} made')
        marker.touch()

    def make_volumes_pool(self) -> None:
        """Make the pool that Cinder has its volumes in, and let it in."""
        keyring = self.site.keyring(CINDER).read_text()
        with self.connection() as cluster:
            if not cluster.pool_exists('volumes'):
                _order(cluster, 'osd pool create', pool='volumes')
            with cluster.open_ioctx('volumes') as context:
                rbd.RBD().pool_init(context, force=True)
            _order(cluster, 'auth import', keyring.encode())
        self.say('pool volumes made')

    def _mon_answers(self) -> bool:
        with self.connection():
            return True

    def _osd_is_up(self) -> bool:
        with self.connection() as cluster:
            return bool(_order(cluster, 'osd stat')['num_up_osds'])

    def _counts(self) -> bool:
        with self.connection() as cluster:
            stats = _order(cluster, 'df')['stats']
            return bool(stats['total_avail_bytes'])

    @contextmanager
    def connection(self) -> Iterator[rados.Rados]:
        """The cluster, as its administrator; never for ever."""
        with rados.Rados(
            name='client.admin',
            conffile=str(self.site.ceph_conf),
            conf={'client_mount_timeout': '5', 'rados_mon_op_timeout': '30'},
        ) as cluster:
            yield cluster


def _order(
    cluster: rados.Rados, prefix: str, data: bytes = b'', **arguments: object
) -> Any:
    """Have the monitor carry out a command, as the program ceph would."""
    command = {'prefix': prefix, 'format': 'json', **arguments}
    code, output, reason = cluster.mon_command(json.dumps(command), data)
    if code:
        raise rados.Error(f'ceph {prefix}: {reason} (errno {-code})')
    return json.loads(output) if output.strip() else {}
