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

"""A libvirt for each nova-compute, as if each had a machine of its own.

A hypervisor's name is its machine's, and libvirt's directories are built
into it. So each libvirt lives in a mount and a UTS name space, with a host
name and with directories of its own; the network is the machine's. Files
keep the name spaces, as `ip netns` keeps its own, so that they outlive
libvirt: a guest runs on while libvirtd or nova-compute starts anew.
"""

from collections.abc import Iterator, Sequence
import contextlib
import os
import pathlib
from typing import ClassVar, Final
import uuid

import libvirt

from lab import layout
from lab import programs
from lab import service

# Libvirt raises what it also prints, unless it is told not to.
libvirt.registerErrorHandler(lambda _context, _error: None, None)

# What each libvirt has of its own, and where it looks for it.
DIRECTORIES: Final = {
    'cache': '/var/cache/libvirt',
    'etc': '/etc/libvirt',
    'lib': '/var/lib/libvirt',
    'log': '/var/log/libvirt',
    'run': '/run/libvirt',
}
# KiB that each hypervisor says it has.
MEMORY: Final = 8 * 1024 * 1024


def inside(compute: layout.Compute, *command: str) -> Sequence[str]:
    """A command as it is run in a compute's name spaces."""
    # nsenter becomes the command: supervisor's child is the daemon itself.
    return (
        'nsenter',
        f'--mount={compute.namespace("mnt")}',
        f'--uts={compute.namespace("uts")}',
        '--',
        *command,
    )


class Namespaces(service.Service):
    """The directory of the name spaces' files: a small file system.

    It has to be a private mount: the kernel lets no file of a mount name
    space lie on one that this name space would share.
    """

    executables: ClassVar[Sequence[str]] = ('mount', 'umount')

    def __init__(self, lab: service.Lab) -> None:
        super().__init__(lab, 'namespaces')
        self._directory = lab.layout.namespaces

    def start(self) -> None:
        path = self._directory
        if not os.path.ismount(path):
            path.mkdir(exist_ok=True)
            self.lab.run(
                self.name, 'mount', '-t', 'tmpfs', '-o', 'mode=700', 'ns', path
            )
            self.lab.run(self.name, 'mount', '--make-private', path)

    def stop(self) -> None:
        if os.path.ismount(self._directory):
            self.lab.run(self.name, 'umount', '--recursive', self._directory)


class Hypervisor(service.Service):
    """virtlogd, which keeps the guests' consoles, and libvirtd."""

    executables: ClassVar[Sequence[str]] = (
        'hostname',
        'libvirtd',
        'nsenter',
        'qemu-system-x86_64',
        'unshare',
        'virtlogd',
    )

    def __init__(self, lab: service.Lab, compute: layout.Compute) -> None:
        super().__init__(
            lab, f'hypervisor-{compute.name}', requires=('namespaces',)
        )
        self.compute = compute
        self._virtlogd = f'virtlogd-{compute.name}'
        self._libvirtd = f'libvirtd-{compute.name}'
        self._etc = compute.libvirt / 'etc'
        self._script = lab.layout.etc / self.name / 'namespaces.sh'
        self._meminfo = lab.layout.etc / self.name / 'meminfo'

    def configure(self) -> None:
        for name in DIRECTORIES:
            (self.compute.libvirt / name).mkdir(parents=True, exist_ok=True)
        self.lab.render(
            'namespaces.sh.j2',
            self._script,
            compute=self.compute,
            directories=DIRECTORIES,
            meminfo=self._meminfo,
        )
        self.lab.render('meminfo.j2', self._meminfo, kibibytes=MEMORY)
        for name in ('libvirtd.conf', 'qemu.conf', 'virtlogd.conf'):
            self.lab.render(
                f'{name}.j2',
                self._etc / name,
                # Else they would all have that of the machine's firmware.
                host_uuid=uuid.uuid5(
                    uuid.NAMESPACE_URL, self.compute.libvirt.as_uri()
                ),
            )
        for kind in ('xml', 'base64'):
            secret = f'{self.lab.credentials.libvirt_secret}.{kind}'
            self.lab.render(
                f'secret.{kind}.j2',
                self._etc / 'secrets' / secret,
                site=self.compute.site,
            )

    def daemons(self) -> Sequence[programs.Program]:
        return (
            self._program(self._virtlogd, 'virtlogd', 'virtlogd.conf'),
            self._program(
                self._libvirtd, 'libvirtd', 'libvirtd.conf', 'qemu.conf'
            ),
        )

    def _program(
        self, name: str, executable: str, *confs: str
    ) -> programs.Program:
        # Their usual place, /run, is the machine's, unlike /run/libvirt.
        pid_file = self.lab.layout.run / f'{name}.pid'
        return programs.Program(
            name,
            inside(self.compute, executable, f'--pid-file={pid_file}'),
            files=[self._etc / conf for conf in confs],
        )

    def start(self) -> None:
        if not os.path.ismount(self.compute.namespace('mnt')):
            self._make_namespaces()
        self.lab.supervisor.start(self._virtlogd, self._libvirtd)
        self.wait(self._answers, 'libvirt')

    def _make_namespaces(self) -> None:
        for path in DIRECTORIES.values():
            pathlib.Path(path).mkdir(parents=True, exist_ok=True)
        for kind in ('mnt', 'uts'):
            self.compute.namespace(kind).touch()
        self.lab.run(
            self.name,
            'unshare',
            f'--mount={self.compute.namespace("mnt")}',
            f'--uts={self.compute.namespace("uts")}',
            '--propagation=private',
            'sh',
            '-e',
            self._script,
        )

    def _answers(self) -> bool:
        with self._connection():
            return True

    def stop(self) -> None:
        if self._libvirtd in self.running():
            # Else QEMU would outlive libvirt, which it is meant to do.
            with self._connection() as connection:
                for domain in connection.listAllDomains():
                    if domain.isActive():
                        domain.destroy()
        super().stop()

    @contextlib.contextmanager
    def _connection(self) -> Iterator[libvirt.virConnect]:
        socket = self.compute.libvirt / 'run' / 'libvirt-sock'
        connection = libvirt.open(f'qemu+unix:///system?socket={socket}')
        try:
            yield connection
        finally:
            connection.close()
