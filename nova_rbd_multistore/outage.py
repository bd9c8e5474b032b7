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

"""A cluster that is away: how long a guest's start waits for it."""

from collections.abc import Callable

from oslo_log import log as logging

from nova_rbd_multistore import exceptions
from nova_rbd_multistore import pace

LOG = logging.getLogger(__name__)

#: Seconds for which the cluster is waited for: as long as the program ``ceph``
#: waits for a monitor, which stock Nova runs here.
LONGEST = 300.0

#: Seconds between two looks.
AGAIN = 2.0


class Outage:
    """That the cluster is away, as far as this host has seen.

    All that wait have one time for it together: after a power cut, Nova starts
    the guests of a host one after another.
    """

    def __init__(self, time: pace.Time) -> None:
        self._time = time
        self._since: float | None = None
        self._seen = 0.0

    def outlast(self, look: Callable[[], object], server: str) -> None:
        """Return when a look at the cluster succeeds.

        :param server: uuid of the one that is to be started, for the log
        :raises ClusterUnreachable: if it has been away for long enough
        :raises HostStopping: if nova-compute stops meanwhile
        """
        log = logging.KeywordArgumentAdapter(
            LOG.logger, {'instance_uuid': server}
        )
        began = self._time.clock()
        waits = False
        while True:
            try:
                look()
                break
            except exceptions.ClusterRefused:
                # It answers.
                raise
            except exceptions.ClusterUnreachable as exc:
                if self._since is None or began - self._seen > LONGEST:
                    # Nobody has looked for so long that it is another one.
                    self._since = began
                self._seen = self._time.clock()
                left = self._since + LONGEST - self._time.clock()
                if left <= 0:
                    raise
                reason = str(exc)
            # Not in the handler: oslo.log would say it twice.
            if not waits:
                log.warning(
                    'Waiting for the Ceph cluster before the guest is '
                    'started, for %(seconds)d s at most: %(reason)s',
                    {'seconds': left, 'reason': reason},
                )
            waits = True
            self._time.sleep(AGAIN)
        self._since = None
        if waits:
            log.info(
                'The Ceph cluster answers, after %d s: the guest is started',
                self._time.clock() - began,
            )
