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


"""Whether the machine itself is slow: what comes late then, broke nothing."""

from collections.abc import Iterator, Mapping
import contextlib
import threading
import time

import requests

from tests.nemesis import events

#: Seconds between two looks, and those by which one is late on a slow machine.
LOOKS = 2.0
LATE = 2.0

#: Seconds that a service may take for what it need ask nobody else for, and
#: that it is waited for.
QUICK = 5.0
GIVEN_UP = 60.0


class Watch:
    """Looks how late its own sleeps end, and services answer.

    :param urls: of services, beside all proxies, by name
    """

    def __init__(self, urls: Mapping[str, str], journal: events.Journal):
        self._urls = urls
        self._journal = journal
        self._over = threading.Event()

    @contextlib.contextmanager
    def run(self) -> Iterator[None]:
        """Look until the end."""
        made = [threading.Thread(target=self._sleep, daemon=True)]
        made += [
            threading.Thread(target=self._ask, args=service, daemon=True)
            for service in self._urls.items()
        ]
        for thread in made:
            thread.start()
        try:
            yield
        finally:
            self._over.set()

    def _sleep(self) -> None:
        while not self._over.is_set():
            began = time.time()
            self._over.wait(LOOKS)
            self._note('sleep', began, LOOKS + LATE)

    def _ask(self, name: str, url: str) -> None:
        while not self._over.wait(LOOKS):
            began = time.time()
            try:
                requests.get(url, timeout=GIVEN_UP)
            except requests.Timeout:
                pass
            except requests.RequestException:
                # It is down, which is a fault of its own.
                continue
            self._note(name, began, QUICK)

    def _note(self, name: str, began: float, allowed: float) -> None:
        seconds = time.time() - began
        if seconds > allowed:
            self._journal.note('slow', name, began, seconds=seconds)
