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

"""A site's monitor, which moves to another address."""

import subprocess

from lab import layout
from lab import programs


class Monitor:
    """The one monitor of a cluster, at the ports that ``ceph.conf`` names."""

    def __init__(
        self, supervisor: programs.Supervisor, site: layout.Site
    ) -> None:
        self._supervisor = supervisor
        self._site = site
        self._program = f'ceph-mon-{site.name}'
        self._ports = tuple(
            layout.PORTS[name]
            for name in (self._program, f'{self._program}-v1')
        )
        self._conf = site.ceph_conf.read_text()

    def move(self, *ports: int) -> None:
        """Move it to other ports, of the protocols msgr2 and msgr1.

        What runs meanwhile is told by ``ceph.conf`` alone. The other daemons,
        which remember monitors, are started anew.
        """
        self._supervisor.stop(self._program)
        monmap = self._site.data / 'moved-monmap'
        v2, v1 = (
            f'{protocol}:{layout.HOST}:{port}'
            for protocol, port in zip(('v2', 'v1'), ports, strict=True)
        )
        self._run('ceph-mon', '-i', 'a', '--extract-monmap', str(monmap))
        self._run('monmaptool', '--rm', 'a', str(monmap))
        self._run('monmaptool', '--addv', 'a', f'[{v2},{v1}]', str(monmap))
        self._run('ceph-mon', '-i', 'a', '--inject-monmap', str(monmap))
        conf = self._conf
        for old, new in zip(self._ports, ports, strict=True):
            conf = conf.replace(f'{layout.HOST}:{old}', f'{layout.HOST}:{new}')
        self._site.ceph_conf.write_text(conf)
        self._supervisor.start(self._program)
        self._supervisor.restart(
            f'ceph-osd-{self._site.name}', f'ceph-mgr-{self._site.name}'
        )

    def move_back(self) -> None:
        self.move(*self._ports)

    def _run(self, program: str, *arguments: str) -> None:
        conf = ('--conf', str(self._site.ceph_conf))
        subprocess.run(
            [program, *conf, *arguments],
            check=True,
            capture_output=True,
            timeout=60,
        )
