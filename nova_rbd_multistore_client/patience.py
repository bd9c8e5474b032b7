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


"""How long a command goes on that follows copies, and gets no answer."""

from collections.abc import Callable

#: Seconds for which Glance may give no answer of use while copies are
#: followed.
PATIENCE = 120.0


class Patience:
    """What is left of it.

    :param clock: monotonic, in seconds
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._silent_since: float | None = None

    def renew(self) -> None:
        """There was an answer."""
        self._silent_since = None

    def is_out(self, asked_at: float) -> bool:
        """Note that there was none; whether there was none for too long.

        :param asked_at: by the clock
        """
        if self._silent_since is None:
            self._silent_since = asked_at
        return self._clock() - self._silent_since > PATIENCE
