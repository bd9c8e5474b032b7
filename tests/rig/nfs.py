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

"""A real NFS server, and glance-apis on a kernel that has a client for it.

The kernel of the project's machines has no NFS client. User-mode Linux is a
kernel that runs as a process, and has one. What runs on it sees the machine's
own files, and the NFS share beside them. Its loopback leads to the machine's:
so a glance-api there finds all services at the addresses that they have.
"""

import pathlib
import shlex
import signal
import socket
import subprocess
from typing import Any

from tests.rig import apis
from tests.rig import polling

#: Between the machine and such a kernel.
NETWORK = '10.77.{}.{}'
PORT = 2049

_SERVER = """
NFS_CORE_PARAM {{
    Protocols = 4;
    NFS_Port = {port};
    Enable_NLM = false;
    Enable_RQUOTA = false;
}}
NFSv4 {{
    RecoveryBackend = fs;
    RecoveryRoot = {where}/recovery;
    Graceless = true;
}}
EXPORT {{
    Export_Id = 1;
    Path = {shown};
    Pseudo = /share;
    Access_Type = RW;
    Squash = No_Root_Squash;
    SecType = sys;
    Transports = TCP;
    FSAL {{ Name = VFS; }}
}}
"""

#: What the kernel runs, and ends with. PATH is not set there.
_INIT = """#!/bin/sh -e
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
mkdir -p /run/modules/lib
ln -s /usr/lib/uml/modules /run/modules/lib/modules
modprobe --dirname /run/modules nfsv4
ip link set lo up
ip address add {address}/24 dev eth0
ip link set eth0 up
ip address delete 127.0.0.1/8 dev lo
for name in all eth0; do
    echo 1 > /proc/sys/net/ipv4/conf/$name/route_localnet
done
ip route add 127.0.0.0/8 via {machine} src {address}
mount -t nfs -o {options} {server}:/share {path}
{environment}
exec {command}
"""


class Server:
    """NFS-Ganesha, which serves one directory.

    :param where: directory for it, and for what it serves
    """

    def __init__(self, where: pathlib.Path) -> None:
        self._where = where
        self._shown = where / 'shown'
        self._process: subprocess.Popen[bytes] | None = None
        self._conf = where / 'ganesha.conf'
        for path in (self._shown, where / 'recovery'):
            path.mkdir(parents=True)
        self._conf.write_text(
            _SERVER.format(port=PORT, where=where, shown=self._shown)
        )
        # By which Glance's health check sees that the share is there.
        (self._shown / apis.MARKER).touch()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [
                *('ganesha.nfsd', '-F'),
                *('-f', str(self._conf)),
                *('-L', str(self._where / 'log')),
                *('-p', str(self._where / 'pid')),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        polling.until(_listens, 'the NFS server listens')

    def hang(self) -> None:
        """Have it answer nothing, and lose nothing."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Undo :meth:`hang`."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


def _listens() -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(('127.0.0.1', PORT)) == 0


class Line:
    """A network between the machine and one kernel.

    :param number: of the kernel, from 1 on
    :ivar machine: address of the machine there
    :ivar guest: address of the kernel there
    :ivar server: address of the NFS server there
    """

    def __init__(self, number: int) -> None:
        self.name = f'uml{number}'
        self.machine = NETWORK.format(number, 1)
        self.guest = NETWORK.format(number, 2)
        self.server = NETWORK.format(number, 3)

    def lay(self) -> None:
        _run('ip', 'tuntap', 'add', 'dev', self.name, 'mode', 'tap')
        _run('ip', 'address', 'add', f'{self.machine}/24', 'dev', self.name)
        _run('ip', 'link', 'set', self.name, 'up')
        self.mend()
        # Else the machine's loopback would be closed to it.
        conf = pathlib.Path('/proc/sys/net/ipv4/conf') / self.name
        (conf / 'route_localnet').write_text('1')

    def cut(self) -> None:
        """Have nothing more come from the server, nor get there."""
        _run('ip', 'address', 'delete', f'{self.server}/32', 'dev', self.name)

    def mend(self) -> None:
        """Undo :meth:`cut`."""
        _run('ip', 'address', 'add', f'{self.server}/32', 'dev', self.name)

    def remove(self) -> None:
        _run('ip', 'link', 'delete', self.name)


class GlanceApi(apis.GlanceApi):
    """A glance-api on a kernel of its own, with an NFS share for its files.

    :param line: to that kernel
    :param mount: options of the mount, such as ``hard``
    :param more: as for any other
    """

    def __init__(
        self,
        like: pathlib.Path,
        where: pathlib.Path,
        options: apis.Options,
        line: Line,
        mount: str,
        **more: Any,
    ) -> None:
        self.address = line.guest
        self._line = line
        self._mount = mount
        self._share = where / 'share'
        super().__init__(
            like,
            where,
            {
                **options,
                'file': {'filesystem_store_datadir': str(self._share)},
            },
            **more,
        )
        self._share.mkdir()
        self.look_for(self._share / apis.MARKER)

    def _command(self) -> list[str]:
        init = self._where / 'init'
        environment = '\n'.join(
            f'export {name}={shlex.quote(value)}'
            for name, value in self._environment().items()
        )
        init.write_text(
            _INIT.format(
                address=self._line.guest,
                machine=self._line.machine,
                server=self._line.server,
                options=f'vers=4.1,{self._mount}',
                path=shlex.quote(str(self._share)),
                environment=environment,
                command=shlex.join(super()._command()),
            )
        )
        init.chmod(0o700)
        return [
            *('linux.uml', 'mem=768M', 'root=none', 'rootfstype=hostfs'),
            *('hostfs=/', 'rw', f'init={init}', 'quiet'),
            f'uml_dir={self._where}',
            *('con=null', 'con0=null,fd:1', f'eth0=tuntap,{self._line.name}'),
        ]


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
