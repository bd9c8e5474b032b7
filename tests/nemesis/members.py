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

"""The hosts of a run: each boots for one project, and may be killed."""

from collections.abc import Callable
import dataclasses
import subprocess
import threading
import time

from tests.nemesis import events
from tests.rig import hosts

#: Seconds that a boot may take, which the hosts are told, too.
TIMEOUT = 120.0


@dataclasses.dataclass(frozen=True)
class Begun:
    """A boot that a host was told to begin.

    :ivar at: seconds since the epoch
    """

    image: str
    at: float


class Member:
    """One host of the run.

    :param host: with a process that is not running yet
    :param last: whether it is of those that boot when all faults are over
    :ivar name: of the host
    :ivar site: name of its site
    :ivar user: in whose name it boots: the name of a project of the lab
    """

    def __init__(
        self,
        name: str,
        host: hosts.Host,
        site: str,
        user: str,
        journal: events.Journal,
        *,
        last: bool = False,
    ) -> None:
        self.name = name
        self.host = host
        self.user = user
        self.site = site
        self._journal = journal
        self._last = last
        self._begun: dict[str, Begun] = {}
        # From the end of its process to the start of the next.
        self._down = True
        self._lock = threading.Lock()

    @property
    def under_way(self) -> int:
        """How many boots have begun, and not ended."""
        return len(self._begun.keys() - self.host.ended().keys())

    def start(self) -> None:
        """Have it live, if it does not."""
        with self._lock:
            if self._down:
                self._live()

    def _live(self) -> None:
        self.host.live()
        self._down = False

    def boot(self, user: hosts.User, image: str) -> None:
        """Begin to boot an image, unless its process is away."""
        with self._lock:
            if self._down:
                return
            began = Begun(image, time.time())
            try:
                self._begun[self.host.also_boot(user, image)] = began
            except BrokenPipeError:
                # It is about to end.
                self.host.kill()
                self._replace_dead()

    def end_by(self, end: Callable[[], None]) -> None:
        """Have its process ended, and note what has become of its boots."""
        with self._lock:
            if self._down:
                return
            try:
                end()
            except subprocess.TimeoutExpired:
                self._journal.note('hang', self.name)
                self.host.kill()
            self._note_boots()

    def look(self) -> None:
        """See whether its process has died by itself."""
        with self._lock:
            if not self._down and self.host.code is not None:
                self._replace_dead()

    def _replace_dead(self) -> None:
        self._note_crash()
        self._note_boots()
        self._live()

    def _note_crash(self) -> None:
        said = self.host.said[-2000:]
        self._journal.note('crash', self.name, code=self.host.code, said=said)

    def finish(self) -> None:
        """Wait for its boots, and note what has become of each."""
        with self._lock:
            if self._down:
                return
            try:
                self.host.outcomes()
            except AssertionError:
                self._note_crash()
            except subprocess.TimeoutExpired:
                # Which of its boots hang is judged.
                pass
            self._note_boots()

    def _note_boots(self) -> None:
        self._down = True
        ended = self.host.ended()
        for disk, begun in self._begun.items():
            outcome = ended.get(disk)
            self._journal.note(
                'boot',
                disk,
                outcome.began if outcome else begun.at,
                image=begun.image,
                host=self.name,
                site=self.site,
                user=self.user,
                seconds=outcome and outcome.seconds,
                error=outcome and outcome.error,
                message=outcome.message if outcome else '',
                timeout=TIMEOUT,
                last=self._last,
            )
        self._begun.clear()
