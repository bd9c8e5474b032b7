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


"""A directory on a share that can hang and die, as one of NFS does.

The kernel of the project's machines has no NFS client, so a FUSE file system
stands in for it: bindfs shows a directory in another place. While its daemon
is stopped, whoever opens a file there hangs, as on a hard NFS mount whose
server is silent. When it is killed, all that waits there gets "Transport
endpoint is not connected", and so does whoever comes later, as on a soft mount
or a stale one.
"""

import pathlib
import signal
import subprocess

from tests.rig import apis
from tests.rig import polling

#: Where the kernel has whoever waits for a FUSE daemon.
_WAITING = 'request_wait_answer'


class Share:
    """One such directory, with the marker of Glance's health check.

    :param where: directory for it, and for what it shows
    :ivar path: where it is mounted
    """

    def __init__(self, where: pathlib.Path) -> None:
        self.path = where / 'share'
        self._shown = where / 'shown'
        self._daemon: subprocess.Popen[bytes] | None = None
        self._mounted = False
        self._where = where
        for path in (self.path, self._shown):
            path.mkdir(parents=True)
        # So that a process with mounts of its own sees it come back, too.
        _run('mount', '--bind', where, where)
        _run('mount', '--make-shared', where)
        self.put_marker()

    @property
    def marker(self) -> pathlib.Path:
        """By which Glance's health check sees that the share is there."""
        return self.path / apis.MARKER

    def put_marker(self) -> None:
        (self._shown / apis.MARKER).touch()

    def delete_marker(self) -> None:
        (self._shown / apis.MARKER).unlink()

    def mount(self) -> None:
        # FUSE 2 hides only by request what lies below.
        below = ['-o', 'nonempty'] if any(self.path.iterdir()) else []
        self._daemon = subprocess.Popen(
            [
                *('bindfs', '-f', *below),
                *(str(self._shown), str(self.path)),
            ],
            stdin=subprocess.DEVNULL,
        )
        self._mounted = True
        polling.until(self.path.is_mount, f'{self.path} is mounted')

    def hang(self) -> None:
        """Have whatever is asked of it wait."""
        assert self._daemon is not None
        self._daemon.send_signal(signal.SIGSTOP)

    def held(self, api: apis.Api) -> int:
        """How many threads of an API wait for it."""
        return api.waiting_in(_WAITING)

    def go_on(self) -> None:
        """Undo :meth:`hang`."""
        assert self._daemon is not None
        self._daemon.send_signal(signal.SIGCONT)

    def die(self) -> None:
        """Have whatever was asked of it, and will be, fail."""
        if self._daemon is not None:
            self._daemon.kill()
            self._daemon.wait()
            self._daemon = None

    def come_back(self) -> None:
        """Undo :meth:`die`."""
        self.unmount()
        self.mount()

    def unmount(self) -> None:
        """Leave an empty directory."""
        self.die()
        if self._mounted:
            _run('umount', '--lazy', self.path)
            self._mounted = False

    def remove(self) -> None:
        self.unmount()
        _run('umount', '--lazy', self._where)


def _run(*command: str | pathlib.Path) -> None:
    subprocess.run(command, check=True)
