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

"""One boot's wait for an image, which its cluster may not have.

All computes of a cloud may boot one image at once. If each asked Glance about
it at once, the first copy would be requested behind the questions of all. So a
boot looks into its own cluster before it asks. If the image is there, or on
its way, the boot asks. If not, whichever boot gets the lead among the hosts of
its site asks (:mod:`lead`); the others wait until something of the image is
there, or the lead is free again. Not for ever: each asks within some poll
intervals, at a moment of its own.
"""

from collections.abc import Callable
import types
from typing import Self

from oslo_log import log as logging

from nova_rbd_multistore import arrival
from nova_rbd_multistore import lead
from nova_rbd_multistore import pace

LOG = logging.getLogger(__name__)

#: Tells how much of an image has arrived in the local cluster.
Probe = Callable[[], arrival.Arrival]

#: Seconds after which a boot sees, first, whether the lead is free: whoever
#: got it may have found in Glance that there is nothing to wait for.
FIRST_CHECK = 0.1


class Wait:
    """The wait of one boot for one image, which begins when this is made.

    To be used as a context, which leaves the lead at its end.

    :param image: its id
    :param probe: tells how much has arrived in the local cluster
    :param lease: of the lead among the hosts of this site, None if each of
        them is to ask for itself
    :param check: raises if the boot need not wait any longer
    :param server: uuid of the server to be booted, for the log
    :ivar about_server: goes with what is logged
    """

    def __init__(
        self,
        image: str,
        probe: Probe,
        lease: lead.Lease | None,
        limits: pace.Limits,
        time: pace.Time,
        check: Callable[[], None] = lambda: None,
        server: str | None = None,
    ) -> None:
        self.image = image
        self.probe = probe
        self.limits = limits
        self.time = time
        self.check = check
        self.about_server = {'instance_uuid': server} if server else {}
        self.pace = pace.Pace(limits, time)
        self.lead = lead.Lead(lease, time)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        self.lead.resign()

    def for_turn(self) -> None:
        """Return when this boot may ask Glance about the image.

        :raises ClusterUnreachable: if the cluster does not answer
        """
        if self._is_coming():
            return
        self.lead.take()
        if self.lead.role is lead.Role.FOLLOWER:
            self._follow()

    def _follow(self) -> None:
        """Wait while another host asks for all of this site."""
        log = logging.KeywordArgumentAdapter(LOG.logger, self.about_server)
        log.info(
            'Waiting for image %s until it arrives, or until the host of this '
            'site that asks Glance about it leaves off',
            self.image,
        )
        self.pace.checked()
        pause = FIRST_CHECK
        check_at = self.time.clock() + pause
        ask_at = self.time.clock() + self._longest
        while self.time.clock() < ask_at:
            look_at = self.time.clock() + self._jitter(
                self.limits.probe_interval
            )
            next_at = min(look_at, check_at, ask_at)
            self.time.sleep(max(next_at - self.time.clock(), 0.0))
            if self._is_coming():
                return
            self.lead.keep_up()
            if self.lead.role is not lead.Role.FOLLOWER:
                return
            if self.time.clock() >= check_at:
                if self.lead.is_free():
                    return
                pause = min(2 * pause, lead.LEASE)
                check_at = self.time.clock() + self._jitter(pause)
            if self.pace.check_is_due:
                self.check()
                self.pace.checked()

    def _is_coming(self) -> bool:
        """Whether anything of the image is in the cluster, or cannot be seen.

        Be it complete, being written, or left by a copy that died: Glance
        knows more.
        """
        try:
            return self.probe().exists
        except arrival.ArrivalsHidden:
            return True

    @property
    def _longest(self) -> float:
        """Seconds to wait for another host: each boot asks some day.

        The user may have no right to the image, or the leader be stuck.
        """
        intervals = self.time.uniform(1, pace.LONGEST_PAUSE)
        return min(intervals * self.limits.poll_interval, self.pace.left)

    def _jitter(self, seconds: float) -> float:
        return seconds * self.time.uniform(1 - pace.JITTER, 1 + pace.JITTER)
