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

"""A file system that an API has for one of its directories, and its faults."""

import pathlib

from tests.rig import apis


class Disk:
    """A file system of its own, as the API sees it, which runs.

    :param api: runs with it among its ``disks``
    :param path: where it is mounted
    :param size: as for :class:`apis.Api`
    """

    def __init__(
        self, api: apis.Api, path: pathlib.Path, size: str = '64m'
    ) -> None:
        self._api = api
        self._path = path
        self._size = size

    @property
    def _filler(self) -> str:
        return str(self._path / 'filler')

    def fill(self) -> None:
        """Leave no room on it."""
        # It ends with an error: there is no more room.
        self._api.do(
            'sh', '-c', '! cat /dev/zero > "$0" 2>/dev/null', self._filler
        )

    def clear(self) -> None:
        """Undo :meth:`fill`."""
        self._api.do('rm', self._filler)

    def make_read_only(self) -> None:
        """As the kernel does after errors."""
        self._api.do('mount', '-o', 'remount,ro', str(self._path))

    def make_writable(self) -> None:
        """Undo :meth:`make_read_only`."""
        self._api.do('mount', '-o', 'remount,rw', str(self._path))

    def unmount(self) -> None:
        """Leave the directory below, which is empty."""
        self._api.do('umount', str(self._path))

    def mount(self) -> None:
        """Undo :meth:`unmount`: a new file system."""
        options = f'size={self._size}'
        self._api.do(
            'mount', '-t', 'tmpfs', '-o', options, 'tmpfs', str(self._path)
        )

    def remove(self) -> None:
        """Leave no directory either."""
        self.unmount()
        self._path.rmdir()

    def make(self) -> None:
        """Undo :meth:`remove`."""
        self._path.mkdir()
        self.mount()
