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

"""A compute host with our backend: the real engine, asking a Glance."""

from collections.abc import Sequence
import functools
import random
from typing import Protocol

from keystoneauth1 import plugin as ksa_plugin
from keystoneauth1 import session as ksa_session

from nova_rbd_multistore import ceph
from nova_rbd_multistore import copying
from nova_rbd_multistore import endpoints
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import glance
from nova_rbd_multistore import image as image_values
from nova_rbd_multistore import location
from nova_rbd_multistore import source

#: The defaults of Nova's options and ours.
LIMITS = copying.Limits(
    poll_interval=15.0, probe_interval=0.5, timeout=600.0, stall_timeout=300.0
)
ENDPOINT_REST = 30.0
RETRIES = 3


class Clock(Protocol):
    """Real time or virtual."""

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float, /) -> None: ...


class Cluster(Protocol):
    """The Ceph cluster of a host's site; see :class:`ceph.Cluster`."""

    def fsid(self) -> str: ...

    def arrival(self, pool: str, image: str) -> ceph.Arrival: ...

    def clone(
        self, source: location.RbdLocation, pool: str, name: str
    ) -> None: ...


class Compute:
    """Boots one server from an image that its site does not have.

    :param rng: chooses endpoints, and spaces polls
    """

    def __init__(
        self,
        name: str,
        store: str,
        cluster: Cluster,
        session: ksa_session.Session,
        auth: ksa_plugin.BaseAuthPlugin,
        urls: Sequence[str],
        limits: copying.Limits,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self.name = name
        self._store = store
        self._cluster = cluster
        self._limits = limits
        self._time = copying.Time(clock.monotonic, clock.sleep, rng.uniform)
        self._images = glance.Glance(
            session,
            auth,
            urls,
            endpoints.Endpoints(ENDPOINT_REST, clock.monotonic, rng.shuffle),
            sleep=clock.sleep,
            retries=RETRIES,
        )

    def boot(self, image: str) -> None:
        """Make a boot disk: what ``backend.Rbd.clone`` does, step by step.

        Without Nova's database; and one boot has nobody on its host to share
        a copy with.

        :raises ImageError: if the image cannot be cloned
        :raises HostError: if this host cannot do it now
        """
        record = self._images.record(image)
        source.require_cloneable(record)
        if self._clone(record):
            return
        copy = copying.Copy(
            record,
            self._store,
            self._images.without_retries(),
            functools.partial(self._cluster.arrival, 'images', image),
            self._limits,
            self._time,
            check=lambda: None,
        )
        record = copy.run()
        if copy.seen_whole:
            arrived = location.RbdLocation(
                self._cluster.fsid(), 'images', image, ceph.GLANCE_SNAPSHOT
            )
            self._clone_from(arrived)
        elif not self._clone(record):
            raise exceptions.NotInCluster(image, self._store)

    def _clone(self, record: image_values.ImageRecord) -> bool:
        locations = record.locations or self._images.locations(record.id)
        for parent in source.local_sources(
            record, locations, self._cluster.fsid(), trusted_pools=()
        ):
            self._clone_from(parent)
            return True
        return False

    def _clone_from(self, parent: location.RbdLocation) -> None:
        self._cluster.clone(parent, 'vms', f'{self.name}_disk')
