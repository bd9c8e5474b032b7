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

"""A Ceph cluster of one monitor and one OSD, at addresses to order."""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import pathlib
import shutil
import subprocess
import uuid

from lab import ceph
from tests.rig import polling

_CONF = """
[global]
fsid = {fsid}
mon_host = {addresses}
public_addr = {host}
ms_bind_ipv6 = {six}
ms_bind_ipv4 = {four}
ms_bind_msgr1 = {msgr1}
keyring = {where}/keyring
run_dir = {where}
crash_dir = {where}
log_to_file = false
mon_cluster_log_to_file = false
mon_allow_pool_size_one = true
osd_pool_default_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
[mon]
mon_data = {where}/mon
admin_socket = {where}/mon.asok
[osd]
osd_data = {where}/osd
osd_class_dir = {classes}
bluestore_block_size = 1073741824
bluestore_cache_autotune = false
bluestore_cache_size = 67108864
admin_socket = {where}/osd.asok
"""

_CAPS = {
    'mon.': ('mon', 'allow *'),
    'osd.0': ('mon', 'allow profile osd', 'osd', 'allow *'),
    'client.nova': ('mon', 'profile rbd', 'osd', 'profile rbd pool=vms'),
    'client.admin': ('mon', 'allow *', 'osd', 'allow *'),
}


class SmallCluster:
    """One that runs, with a pool ``vms`` and an image ``disk`` in it.

    :param where: directory for all that it writes
    :param host: at which all its daemons listen, IPv6 in brackets
    :param ports: of its monitor, by version of the messenger
    :param inside: what comes before a command of another release of Ceph than
        the machine's
    """

    def __init__(
        self,
        where: pathlib.Path,
        host: str,
        ports: Mapping[str, int],
        inside: Sequence[str] = (),
    ) -> None:
        self._where = where
        self._host = host
        self._ports = ports
        self._inside = inside
        self._fsid = str(uuid.uuid4())
        where.mkdir(parents=True)

    @property
    def _addresses(self) -> str:
        addresses = [
            f'{version}:{self._host}:{port}'
            for version, port in self._ports.items()
        ]
        return f'[{",".join(addresses)}]'

    @property
    def conf(self) -> pathlib.Path:
        return self._where / 'ceph.conf'

    def conf_with(self, *lines: str) -> pathlib.Path:
        """A ceph.conf that tells other things than the monitor's address."""
        path = self._where / f'ceph-{uuid.uuid4()}.conf'
        kept = [
            line
            for line in self.conf.read_text().splitlines()
            if not line.startswith('mon_host')
        ]
        at = kept.index('[global]') + 1
        path.write_text('\n'.join([*kept[:at], *lines, *kept[at:], '']))
        return path

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Run it, until the end of a test."""
        six = ':' in self._host
        self.conf.write_text(
            _CONF.format(
                fsid=self._fsid,
                addresses=self._addresses,
                host=self._host.strip('[]'),
                six=six,
                four=not six,
                msgr1='v1' in self._ports,
                where=self._where,
                classes=ceph.CLASSES,
            )
        )
        self._make_keyring()
        with contextlib.ExitStack() as stack:
            self._make_monitor()
            stack.enter_context(self._daemon('ceph-mon', 'a'))
            polling.until(self._answers, 'the monitor answers')
            self._make_osd()
            # "tools/lab leaks" would read all of its disk.
            stack.callback(shutil.rmtree, self._where / 'osd')
            stack.enter_context(self._daemon('ceph-osd', '0'))
            self.command('ceph', 'osd', 'pool', 'create', 'vms')
            self.command('rbd', 'pool', 'init', '--force', 'vms')
            self.command('rbd', 'create', '--size=8M', 'vms/disk')
            yield

    def command(self, program: str, *words: str) -> str:
        """Run a program of its release, as its administrator.

        :return: what it prints
        :raises subprocess.CalledProcessError: if it fails
        """
        return self._run(program, f'--conf={self.conf}', *words)

    def _answers(self) -> bool:
        try:
            self.command('ceph', '--connect-timeout=5', 'mon', 'stat')
        except subprocess.CalledProcessError:
            return False
        return True

    def _make_keyring(self) -> None:
        keyring = self._where / 'keyring'
        for entity, caps in _CAPS.items():
            key = self._run('ceph-authtool', '--gen-print-key').strip()
            pairs = zip(caps[::2], caps[1::2], strict=True)
            with keyring.open('a') as file:
                file.write(f'[{entity}]\nkey = {key}\n')
                file.writelines(
                    f'caps {daemon} = "{cap}"\n' for daemon, cap in pairs
                )

    def _make_monitor(self) -> None:
        (self._where / 'mon').mkdir()
        monmap = self._where / 'monmap'
        self._run(
            *('monmaptool', '--create', f'--fsid={self._fsid}'),
            *('--addv', 'a', self._addresses, str(monmap)),
        )
        self._run(
            *('ceph-mon', '--conf', str(self.conf), '-i', 'a', '--mkfs'),
            f'--monmap={monmap}',
            f'--keyring={self._where / "keyring"}',
        )

    def _make_osd(self) -> None:
        (self._where / 'osd').mkdir()
        identity = str(uuid.uuid4())
        self.command('ceph', 'osd', 'new', identity, '0')
        self._run(
            *('ceph-osd', '--conf', str(self.conf), '-i', '0', '--mkfs'),
            f'--osd-uuid={identity}',
            f'--monmap={self._where / "monmap"}',
        )

    def _run(self, *command: str) -> str:
        return subprocess.run(
            [*self._inside, *command],
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=60,
        ).stdout

    @contextlib.contextmanager
    def _daemon(self, program: str, identity: str) -> Iterator[None]:
        command = (program, '--conf', str(self.conf), '-i', identity, '-f')
        with (self._where / f'{program}.log').open('w') as log:
            daemon = subprocess.Popen(
                [*self._inside, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            yield
        finally:
            daemon.kill()
            daemon.wait()
