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

"""Ceph 20, whatever Ceph the machine has: its daemons, in a root of theirs.

Debian's unstable suite has it. The packages and all that they need are
unpacked into a directory, never installed, and the daemons have it as their
root. A mount namespace has the lab's directory in there too. The root outlives
a lab, for it was downloaded: it lies beside the tree's labs, not in one.
"""

from collections.abc import Sequence
import os
import pathlib
import shutil
from typing import ClassVar, Final

from lab import errors
from lab import files
from lab import layout
from lab import service

#: Debian's version of it, which is what was tested.
VERSION: Final = '20.2.4+ds-2'
PACKAGES: Final = (
    'ceph-mgr',
    'ceph-mon',
    'ceph-osd',
    # A client of this release: tools/with-ceph20.sh.
    'python3-rados',
    'python3-rbd',
)
#: What a compute host has beside it, what makes a virtual environment, and
#: what no package asks for, since every machine has it. In whatever version
#: goes with these.
BESIDE: Final = (
    'bash',
    'coreutils',
    'dash',
    'grep',
    'util-linux',
    'python3-libvirt',
    'python3-venv',
    'qemu-block-extra',
    'qemu-utils',
)

_SOURCE: Final = (
    'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]'
    ' http://deb.debian.org/debian sid main\n'
)
#: Debian's directories are links since long, made by what is not unpacked.
_LINKS: Final = ('bin', 'lib', 'lib64', 'sbin')
_EMPTY: Final = ('dev', 'proc', 'run', 'sys', 'tmp')


def directory() -> pathlib.Path:
    """Where it is, for all labs of this tree."""
    return pathlib.Path(__file__).parents[1] / '.lab-ceph20'


def _root() -> pathlib.Path:
    return directory() / 'root'


def inside(where: layout.Layout) -> Sequence[str]:
    """What comes before a command that is to run in the root.

    Nothing, for who is in there already (``tools/with-ceph20.sh``).
    """
    if _root().exists() and _root().samefile('/'):
        return ()
    # Each becomes the next: supervisor's child is the daemon itself.
    enter = ('nsenter', f'--mount={_namespace(where)}', '--')
    return (*enter, 'chroot', str(_root()))


def _namespace(where: layout.Layout) -> pathlib.Path:
    return where.namespaces / 'ceph20.mnt'


class Root(service.Service):
    """The root, and the mount namespace that it is used in."""

    executables: ClassVar[Sequence[str]] = (
        'apt-get',
        'dpkg',
        'chroot',
        'mount',
        'nsenter',
        'unshare',
    )

    def __init__(self, lab: service.Lab) -> None:
        super().__init__(lab, 'ceph-root', requires=('namespaces',))
        self._directory = directory()
        self._root = _root()
        self._script = lab.layout.etc / self.name / 'enter.sh'

    def configure(self) -> None:
        self.lab.render(
            'ceph-root.sh.j2',
            self._script,
            root=self._root,
            directory=self.lab.layout.root,
        )

    def make(self) -> None:
        """Download and unpack it, unless that was done before."""
        made = self._directory / 'made'
        wanted = ' '.join((VERSION, *PACKAGES, *BESIDE))
        if not made.exists() or made.read_text() != wanted:
            self._download()
            self._unpack()
            files.write(made, wanted)

    def start(self) -> None:
        self.make()
        namespace = _namespace(self.lab.layout)
        if not os.path.ismount(namespace):
            namespace.touch()
            self.lab.run(
                self.name,
                'unshare',
                f'--mount={namespace}',
                '--propagation=private',
                'sh',
                '-e',
                self._script,
            )

    def _download(self) -> None:
        self.say('packages of Ceph 20: 150 MB')
        apt = self._directory / 'apt'
        shutil.rmtree(apt / 'archives', ignore_errors=True)
        for path in ('lists', 'archives'):
            (apt / path / 'partial').mkdir(parents=True, exist_ok=True)
        files.write(apt / 'sources.list', _SOURCE)
        # As if nothing were installed: nothing that they need may be missing.
        apt_get = (
            'apt-get',
            '--quiet',
            f'--option=Dir::Etc::SourceList={apt}/sources.list',
            '--option=Dir::Etc::SourceParts=/dev/null',
            '--option=Dir::Etc::PreferencesParts=/dev/null',
            f'--option=Dir::State::Lists={apt}/lists',
            '--option=Dir::State::Status=/dev/null',
            f'--option=Dir::Cache={apt}',
            '--option=APT::Sandbox::User=root',
        )
        self.lab.run(self.name, *apt_get, 'update')
        try:
            self.lab.run(
                self.name,
                *apt_get,
                '--option=APT::Keep-Downloaded-Packages=true',
                '--no-install-recommends',
                '--download-only',
                '--yes',
                'install',
                *(f'{package}={VERSION}' for package in PACKAGES),
                *BESIDE,
            )
        except errors.CommandFailed as error:
            raise errors.NotPossible(
                f'Debian unstable gives no {PACKAGES[1]} {VERSION}, which is '
                f'what was tested. If it has a newer one by now, name that in '
                f'{__name__} and see whether all tests pass with it. {error}'
            ) from error

    def _unpack(self) -> None:
        root = self._root
        shutil.rmtree(root, ignore_errors=True)
        for name in (*_EMPTY, *(f'usr/{name}' for name in _LINKS)):
            (root / name).mkdir(parents=True, exist_ok=True)
        for name in _LINKS:
            (root / name).symlink_to(f'usr/{name}')
        packages = sorted((self._directory / 'apt/archives').glob('*.deb'))
        self.say(f'{len(packages)} packages of Ceph 20 to unpack')
        for package in packages:
            self.lab.run(self.name, 'dpkg', '--extract', package, root)
