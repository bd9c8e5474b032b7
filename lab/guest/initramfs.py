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

"""A Linux initramfs: a cpio archive in the kernel's "newc" format.

Written here, not by cpio(1), because its archives hold the inode numbers
and times of the files they were made from, and the guest's image must be
the same bytes whenever it is made from the same files.
"""

import stat

_MAGIC = b'070701'
_TRAILER = 'TRAILER!!!'


def archive(files: dict[str, bytes]) -> bytes:
    """Make an archive of executable files by their paths without a "/"."""
    out = bytearray()
    inode = 0
    for path in sorted(_directories(files)):
        inode += 1
        out += _entry(path, inode, stat.S_IFDIR | 0o755)
    for path, data in sorted(files.items()):
        inode += 1
        out += _entry(path, inode, stat.S_IFREG | 0o755, data)
    return bytes(out + _entry(_TRAILER, 0, 0))


def _directories(files: dict[str, bytes]) -> set[str]:
    found = set()
    for path in files:
        while '/' in path:
            path = path.rpartition('/')[0]
            found.add(path)
    return found


def _entry(path: str, inode: int, mode: int, data: bytes = b'') -> bytes:
    name = path.encode() + b'\0'
    fields = (
        inode,
        mode,
        0,  # uid
        0,  # gid
        1,  # links
        0,  # modification time
        len(data),
        0,  # device, major and minor
        0,
        0,  # device number of a device file, major and minor
        0,
        len(name),
        0,  # checksum: none in this format
    )
    head = _MAGIC + b''.join(b'%08X' % field for field in fields) + name
    return _padded(head) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + b'\0' * (-len(data) % 4)
