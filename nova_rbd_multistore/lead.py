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

"""Which host of a site asks and polls Glance for all that wait there.

Hosts that boot the same image all ask the same at first (:mod:`wait`), and
then all wait for the same moment: Glance lets go of the image. Polls often
enough to meet it would cost Glance too much if thousands made them. So the
hosts of a site agree on one in their own Ceph cluster: whoever holds the
image's lease there. The others only look into the cluster, where the image is
going to arrive, and poll as a safeguard.

Nobody has to win. Where two believe that they lead (one was frozen while its
lease ran out), both poll, and Glance lets in one of them. Where no lease can
be had, each host polls for itself.
"""

import enum
import math
from typing import Protocol

from oslo_log import log as logging

from nova_rbd_multistore import exceptions
from nova_rbd_multistore import pace

LOG = logging.getLogger(__name__)

#: Seconds that a lease lasts unless it is renewed, and from one attempt to
#: get it to the next.
LEASE = 10

#: Shares of that time after which a lease may be, and has to be, renewed: with
#: the next look into the cluster, that is, unless looks are rare.
RENEWAL = 0.3
LAST_RENEWAL = 0.6

#: Seconds between two attempts where no lease can be had.
OUT_OF_ORDER = 60.0


class Lease(Protocol):
    """The right of one host at a time, for some seconds."""

    def hold(self, seconds: int) -> bool:
        """Take or renew it; return whether it is this host's now.

        :raises HostError: if it cannot be had, by any host or by this one
        """

    def is_there(self) -> bool:
        """Whether a host has it, or had it and did not release it.

        :raises HostError: if the cluster does not tell
        """

    def release(self) -> None:
        """Let another host have it at once.

        :raises HostError: if the cluster does not do that
        """


class Role(enum.Enum):
    """The part of this host among those of its site."""

    #: There are no parts, or not yet: it polls for itself.
    ALONE = enum.auto()
    #: It polls for all.
    LEADER = enum.auto()
    #: Another one does.
    FOLLOWER = enum.auto()


class Lead:
    """The lead in the wait for one image, as one host strives for it.

    :param lease: None if there is none to be had
    :ivar role: as of the last attempt
    """

    def __init__(self, lease: Lease | None, time: pace.Time) -> None:
        self._lease = lease
        self._time = time
        self._due_at = math.inf
        self._runs_out_at = -math.inf
        self.role = Role.ALONE

    @property
    def until_due(self) -> float:
        """Seconds until the next attempt, or the last chance to renew."""
        due = self._due_at
        if self.role is Role.LEADER:
            due = self._runs_out_at - LEASE * (1 - LAST_RENEWAL)
        return due - self._time.clock()

    def strive(self) -> None:
        """Try to get the lead from now on.

        Not at once: a host of this site whose request Glance has just
        accepted is to have it, for it need not poll at all.
        """
        if self._lease is not None and self._due_at == math.inf:
            self._try_in(pace.EAGER_PAUSE)

    def keep_up(self) -> None:
        """Try to get the lead, or to keep it, if it is time to."""
        # A cluster that is slow may have left no time until the last chance.
        if min(self._due_at - self._time.clock(), self.until_due) <= 0:
            self.take()

    def take(self) -> None:
        """Try to get the lead, or to keep it."""
        if self._lease is None:
            return
        began = self._time.clock()
        try:
            held = self._lease.hold(LEASE)
        except exceptions.HostError as exc:
            LOG.debug('No lead among the hosts of the site: %s', exc)
            self.role = Role.ALONE
            self._try_in(OUT_OF_ORDER)
            return
        if held:
            self.role = Role.LEADER
            self._runs_out_at = began + LEASE
            self._try_in(LEASE * RENEWAL)
        else:
            self.role = Role.FOLLOWER
            self._try_in(LEASE)

    def is_free(self) -> bool:
        """Whether no host has the lead, not even one that died with it.

        If so, this one has no part any more.
        """
        try:
            if self._lease is not None and self._lease.is_there():
                return False
        except exceptions.HostError as exc:
            LOG.debug('Nobody can tell who leads: %s', exc)
        self.role = Role.ALONE
        self._due_at = math.inf
        return True

    def resign(self) -> None:
        """Leave the lead to another, if this host has it."""
        led, self.role = self.role is Role.LEADER, Role.ALONE
        if self._lease is None:
            return
        self._try_in(LEASE)
        if not led:
            return
        # If it has run out, it may be another's by now. If not, nobody else
        # may ever remove it.
        ran_out = self._time.clock() >= self._runs_out_at
        try:
            if not ran_out or self._lease.hold(LEASE):
                self._lease.release()
        except exceptions.HostError as exc:
            LOG.debug('The lead is free when its lease runs out: %s', exc)

    def withdraw(self) -> None:
        """Resign for good: this host does not see images arrive."""
        self.resign()
        self._lease = None
        self._due_at = math.inf

    def _try_in(self, seconds: float) -> None:
        seconds *= self._time.uniform(1 - pace.JITTER, 1 + pace.JITTER)
        self._due_at = self._time.clock() + seconds
