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

"""Image files of each format, with random bytes in them."""

import os
import pathlib
import subprocess

from openstack import connection

MIB = 1 << 20

#: The primary volume descriptor of ISO 9660, by which an ISO is known.
_ISO_DESCRIPTOR = b'\1CD001\1'
_ISO_DESCRIPTOR_AT = 16 * 2048


def write(path: pathlib.Path, disk_format: str, size_mib: int) -> None:
    """Make a disk of ``size_mib`` MiB: raw, iso or qcow2."""
    with path.open('wb') as file:
        for _ in range(size_mib):
            file.write(os.urandom(MIB))
        if disk_format == 'iso':
            file.seek(_ISO_DESCRIPTOR_AT)
            file.write(_ISO_DESCRIPTOR)
    if disk_format == 'qcow2':
        raw = path.rename(path.with_suffix('.raw'))
        subprocess.run(
            [
                *('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2'),
                *(str(raw), str(path)),
            ],
            check=True,
            timeout=120,
        )
        raw.unlink()


def upload(
    who: connection.Connection, image_id: str, path: pathlib.Path, store: str
) -> None:
    """Send a file to Glance, as the data of an image in one store."""
    with path.open('rb') as data:
        who.image.put(
            f'/images/{image_id}/file',
            data=data,
            headers={
                'Content-Type': 'application/octet-stream',
                'X-Image-Meta-Store': store,
            },
        ).raise_for_status()
