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

"""How much room there is for disks, as far as this host has seen."""

from collections.abc import Callable

from oslo_log import log as logging

from nova_rbd_multistore import exceptions

LOG = logging.getLogger(__name__)

#: Seconds for which nobody looks again after a look that failed. Nova has the
#: builds of a host wait in line while it looks, twice for each.
AGAIN = 30.0


class Room:
    """The room in Nova's pool: as it is, or as it was when last seen.

    Nova looks when it claims resources for a build, and when it gives them
    back. An error there ends the build too early: the failure is not told to
    Nova's scheduler, which would choose this host again and again.

    :param clock: in seconds
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: dict[str, float] = {}
        self._failed: float | None = None

    def seen_by(
        self, look: Callable[[], dict[str, float]]
    ) -> dict[str, float]:
        """What a look shows, or an earlier one has shown.

        :raises HostError: if none has shown anything yet
        """
        if self._failed is None or self._clock() - self._failed >= AGAIN:
            try:
                self._seen, self._failed = look(), None
            except exceptions.HostError as exc:
                if not self._seen:
                    raise
                self._failed = self._clock()
                LOG.warning(
                    'Cannot see how much room there is for disks: %s Nova is '
                    'told what was seen last',
                    exc,
                )
        return self._seen
