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

"""The guest's kernel: Debian's for clouds, unpacked and never installed."""

import dataclasses
import lzma
import pathlib
import shutil
import subprocess
import tarfile
import tempfile

from lab import errors

PACKAGE = 'linux-image-cloud-amd64'

MODULES = (
    'virtio_ring',
    'virtio',
    'virtio_pci_legacy_dev',
    'virtio_pci_modern_dev',
    'virtio_pci',
    'virtio_blk',
    'evdev',
    'button',
)
"""What the guest loads, in this order: its disk, then its power button."""

_BUILT_IN = 'modules.builtin'
"""The file that names what the kernel itself has."""


class KernelError(errors.LabError):
    """Debian's package could not be had, or isn't as expected."""


@dataclasses.dataclass(frozen=True)
class Kernel:
    image: pathlib.Path
    modules: tuple[pathlib.Path, ...]
    """Those of MODULES that it does not have built in, in the same order."""


def fetch(directory: pathlib.Path) -> Kernel:
    """Give the kernel that lies in a directory, downloaded if need be."""
    if not (directory / _BUILT_IN).exists():
        shutil.rmtree(directory, ignore_errors=True)
        directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory.parent) as scratch:
            unpacked = pathlib.Path(scratch, 'kernel')
            unpacked.mkdir()
            _unpack(_download(pathlib.Path(scratch)), unpacked)
            unpacked.rename(directory)
    built_in = {
        pathlib.PurePath(line).stem
        for line in (directory / _BUILT_IN).read_text().splitlines()
    }
    kernel = Kernel(
        image=directory / 'vmlinuz',
        modules=tuple(
            directory / f'{name}.ko'
            for name in MODULES
            if name not in built_in
        ),
    )
    for path in (kernel.image, *kernel.modules):
        if not path.is_file():
            raise KernelError(
                f'{path.name} is missing in {directory}: remove that '
                f'directory to have the kernel downloaded again; if it is '
                f'still missing, {PACKAGE} no longer has it as a file of '
                f'its own and {__name__} needs to learn how'
            )
    return kernel


def _download(directory: pathlib.Path) -> pathlib.Path:
    # The package is a name for the newest version, which it depends on.
    depends = _output('apt-cache', 'depends', PACKAGE)
    name = next(
        (
            line.split()[-1]
            for line in depends.splitlines()
            if line.strip().startswith('Depends: linux-image-')
        ),
        None,
    )
    if name is None:
        raise KernelError(
            f'apt knows no kernel behind {PACKAGE}: run apt-get update'
        )
    # As root: apt's own user may not write into the lab's directory.
    _output(
        'apt-get',
        '--option=APT::Sandbox::User=root',
        'download',
        name,
        cwd=directory,
    )
    return next(directory.glob('*.deb'))


def _unpack(package: pathlib.Path, directory: pathlib.Path) -> None:
    """Take the kernel and our modules out of a package, and no more.

    Debian 13 has its modules compressed.
    """
    wanted = {_BUILT_IN, *(f'{name}.ko' for name in MODULES)}
    with (
        subprocess.Popen(
            ['dpkg', '--fsys-tarfile', package], stdout=subprocess.PIPE
        ) as dpkg,
        tarfile.open(fileobj=dpkg.stdout, mode='r|') as tar,
    ):
        for member in tar:
            path = pathlib.PurePath(member.name)
            compressed = path.suffix == '.xz'
            name = path.stem if compressed else path.name
            if name.startswith('vmlinuz-'):
                name = 'vmlinuz'
            elif name not in wanted:
                continue
            source = tar.extractfile(member)
            if source is not None:
                with source:
                    content = source.read()
                (directory / name).write_bytes(
                    lzma.decompress(content) if compressed else content
                )
    if dpkg.returncode:
        raise KernelError(f'dpkg could not unpack {package.name}')


def _output(*command: str, cwd: pathlib.Path | None = None) -> str:
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise KernelError(
            f'{" ".join(command)} failed, is there a network? Try '
            f'apt-get update. It said: {done.stderr.strip()}'
        )
    return done.stdout
