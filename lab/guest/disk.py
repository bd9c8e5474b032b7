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

"""The guest's disk: a raw image with a FAT boot volume and a scratch block.

::

    0        boot volume (FAT): syslinux, the kernel, an initramfs
    63 MiB   scratch block: "pristine", until a guest writes its UUID here
    64 MiB   padding, in images that shall take their time to be copied

There is no partition table: the volume's boot sector is the disk's.
"""

import hashlib
import os
import pathlib
import subprocess
import tempfile

from lab.guest import initramfs
from lab.guest import kernel

MIB = 1 << 20

SCRATCH_MIB = 63
SCRATCH_OFFSET = SCRATCH_MIB * MIB
PRISTINE = 'pristine'
"""The scratch block's text in the image, before any guest wrote there."""

SMALLEST_MIB = SCRATCH_MIB + 1

_BUSYBOX = pathlib.Path('/bin/busybox')  # Debian's busybox-static
_HERE = pathlib.Path(__file__).parent

# Times and serial numbers would make each image differ from the last.
_EPOCH = '1704067200'
_VOLUME_ID = '4d534755'
_TOOLS_ENVIRONMENT = {
    'PATH': '/usr/sbin:/usr/bin:/sbin:/bin',
    'LC_ALL': 'C',
    'TZ': 'UTC',
    'SOURCE_DATE_EPOCH': _EPOCH,
}


def build(path: pathlib.Path, size_mib: int = SMALLEST_MIB) -> pathlib.Path:
    """Make the guest's raw image; the same files give the same bytes.

    The kernel is downloaded once, into the directory "guest-kernel" beside
    the image. What is larger than the smallest image is padding that can
    be neither compressed nor left out by whatever copies it.
    """
    if size_mib < SMALLEST_MIB:
        raise ValueError(
            f'a guest image has {SMALLEST_MIB} MiB at least, not {size_mib}'
        )
    parts = kernel.fetch(path.parent / 'guest-kernel')
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        image = pathlib.Path(scratch, 'image')
        _make_boot_volume(image, parts)
        with image.open('r+b') as disk:
            disk.seek(SCRATCH_OFFSET)
            disk.write(PRISTINE.encode())
            disk.truncate(SMALLEST_MIB * MIB)
            disk.seek(SMALLEST_MIB * MIB)
            for number in range(SMALLEST_MIB, size_mib):
                disk.write(_padding(number))
        image.replace(path)
    return path


def _make_boot_volume(image: pathlib.Path, parts: kernel.Kernel) -> None:
    directory = image.parent
    ramdisk = directory / 'initrd'
    ramdisk.write_bytes(initramfs.archive(_ramdisk_files(parts)))
    config = directory / 'syslinux.cfg'
    config.write_text(
        (_HERE / 'syslinux.cfg').read_text().format(scratch_mib=SCRATCH_MIB)
    )
    _tool(
        'mkfs.vfat',
        *('-C', '-F', '16', '-i', _VOLUME_ID, '--invariant'),
        image,
        str(SCRATCH_MIB * 1024),
    )
    _tool('mcopy', '-i', image, parts.image, '::/vmlinuz')
    _tool('mcopy', '-i', image, ramdisk, config, '::/')
    _tool('syslinux', '--install', image)


def _ramdisk_files(parts: kernel.Kernel) -> dict[str, bytes]:
    files = {
        'init': (_HERE / 'init').read_bytes(),
        'bin/busybox': _BUSYBOX.read_bytes(),
    }
    # Numbered, for init loads them in the order of their names.
    for number, module in enumerate(parts.modules):
        files[f'modules/{number}-{module.name}'] = module.read_bytes()
    return files


def _padding(number: int) -> bytes:
    return hashlib.shake_128(str(number).encode()).digest(MIB)


def _tool(*command: str | os.PathLike[str]) -> None:
    subprocess.run(
        command,
        env=_TOOLS_ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        check=True,
    )
