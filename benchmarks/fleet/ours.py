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
import random
from typing import Protocol

from keystoneauth1 import plugin as ksa_plugin
from keystoneauth1 import session as ksa_session

from nova_rbd_multistore import asking
from nova_rbd_multistore import endpoints
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import finding
from nova_rbd_multistore import glance
from nova_rbd_multistore import location
from nova_rbd_multistore import pace
from nova_rbd_multistore import rounds

#: The defaults of Nova's options and ours.
LIMITS = pace.Limits(
    poll_interval=15.0, probe_interval=0.5, timeout=600.0, stall_timeout=300.0
)
ENDPOINT_REST = 30.0
PATIENCE = 1.0
REQUEST_TIMEOUT = 60.0
RETRIES = 3


class Clock(Protocol):
    """Real time or virtual."""

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float, /) -> None: ...


class Cluster(finding.Cluster, Protocol):
    """The Ceph cluster of a host's site; see :class:`ceph.Cluster`."""

    def clone(
        self, source: location.RbdLocation, pool: str, name: str
    ) -> None: ...


class Compute:
    """Boots one server from an image that its site does not have.

    :param workers: in which it asks Glance
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
        limits: pace.Limits,
        clock: Clock,
        workers: rounds.Workers,
        rng: random.Random,
    ) -> None:
        self.name = name
        self._cluster = cluster
        self._finder = finding.Finder(
            cluster,
            store,
            'images',
            'vms',
            trusted_pools=(),
            limits=limits,
            time=pace.Time(clock.monotonic, clock.sleep, rng.uniform),
        )
        self._images = glance.Glance(
            asking.Asker(
                session,
                auth,
                urls,
                rounds.Means(
                    endpoints.Endpoints(
                        ENDPOINT_REST,
                        clock.monotonic,
                        rng.shuffle,
                        rng.uniform,
                    ),
                    workers,
                    clock.monotonic,
                    PATIENCE,
                    REQUEST_TIMEOUT,
                ),
                sleep=clock.sleep,
                retries=RETRIES,
            )
        )

    def boot(self, image: str) -> None:
        """Make a boot disk, as ``backend.Rbd.clone`` does.

        Without Nova's database; and one boot has nobody on its host to share
        a copy with.

        :raises ImageError: if the image cannot be cloned
        :raises HostError: if this host cannot do it now
        """
        record, sources = self._finder.find(self._images, image)
        if not sources:
            sources = self._finder.bring(self._images, record, user='demo')
        if not sources:
            raise exceptions.NotInCluster(image, self._finder.store)
        self._cluster.clone(sources[0], 'vms', f'{self.name}_disk')
