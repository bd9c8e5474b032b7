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

from collections.abc import Callable, Sequence
import datetime
import random
from typing import Protocol

from keystoneauth1 import plugin as ksa_plugin
from keystoneauth1 import session as ksa_session
from oslo_utils import timeutils

from nova_rbd_multistore import asking
from nova_rbd_multistore import ceph
from nova_rbd_multistore import endpoints
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import finding
from nova_rbd_multistore import glance
from nova_rbd_multistore import location
from nova_rbd_multistore import pace
from nova_rbd_multistore import rounds
from nova_rbd_multistore import source

#: The defaults of Nova's options and ours.
LIMITS = pace.Limits(
    poll_interval=15.0, probe_interval=0.5, timeout=600.0, stall_timeout=300.0
)
ENDPOINT_REST = 30.0
PATIENCE = 1.0
REQUEST_TIMEOUT = 60.0
RETRIES = 3
COPY_ON_DEMAND = ('own', 'public')


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
    """Boots servers, each from one image.

    :param session: carries the questions of user demo
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
        utcnow: Callable[[], datetime.datetime] = timeutils.utcnow,
    ) -> None:
        self.name = name
        self._cluster = cluster
        self._auth = auth
        self._urls = urls
        self._clock = clock
        self._records = glance.Records()
        self._means = rounds.Means(
            endpoints.Endpoints(
                ENDPOINT_REST, clock.monotonic, rng.shuffle, rng.uniform
            ),
            workers,
            clock.monotonic,
            PATIENCE,
            REQUEST_TIMEOUT,
        )
        self._finder = finding.Finder(
            cluster,
            store,
            source.Pools('images'),
            'vms',
            limits=limits,
            time=pace.Time(
                clock.monotonic,
                clock.sleep,
                rng.uniform,
                workers.wait,
                utcnow,
            ),
        )
        self._images = self.as_user(session)

    def as_user(self, session: ksa_session.Session) -> glance.Glance:
        """Glance, as the user whose questions a session carries."""
        return glance.Glance(
            asking.Asker(
                session,
                self._auth,
                self._urls,
                self._means,
                sleep=self._clock.sleep,
                retries=RETRIES,
            ),
            records=self._records,
        )

    def boot(
        self,
        image: str,
        images: glance.Glance | None = None,
        user: str = 'demo',
        disk: str | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> location.RbdLocation:
        """Make a boot disk, as ``backend.Rbd.clone`` does.

        Without Nova's database.

        :param images: Glance, as that user, whose project has the same name
        :param disk: its name
        :param check: raises if the boot is not wanted any more
        :returns: what it is a clone of
        :raises ImageError: if the image cannot be cloned
        :raises HostError: if this host cannot do it now
        """
        images = images or self._images
        disk = disk or f'{self.name}_disk'
        with self._finder.start_wait(image, check) as waiting:
            self._finder.wait_for_turn(waiting)
            record, sources = self._finder.find(images, image)
            arrived = record.holds(self._finder.store)
            parent = self._clone(image, sources, disk, arrived=arrived)
            if parent is not None:
                return parent
            source.require_copied_on_demand(
                record, self._finder.store, user, COPY_ON_DEMAND
            )
            sources = self._finder.bring(images, record, user, waiting)
        parent = self._clone(image, sources, disk, arrived=True)
        if parent is None:
            raise exceptions.NotInCluster(image, self._finder.store)
        return parent

    def _clone(
        self,
        image: str,
        sources: Sequence[location.RbdLocation],
        disk: str,
        *,
        arrived: bool,
    ) -> location.RbdLocation | None:
        denied = None
        for parent in sources:
            try:
                self._cluster.clone(parent, 'vms', disk)
            except ceph.SourceMissing as exc:
                if isinstance(exc, ceph.SourceDenied):
                    denied = exc.pool
            else:
                return parent
        if denied is not None and arrived:
            raise exceptions.PoolUnreadable(image, denied)
        return None
