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

"""What all boots on this host share: its cluster, its store, its copies."""

from collections.abc import Callable
import functools
import random
import time

from nova import context as nova_context
import nova.conf

from nova_rbd_multistore import ceph
from nova_rbd_multistore import compat
from nova_rbd_multistore import conf
from nova_rbd_multistore import copying
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import glance
from nova_rbd_multistore import identity
from nova_rbd_multistore import image
from nova_rbd_multistore import location
from nova_rbd_multistore import sharing
from nova_rbd_multistore import source

CONF = nova.conf.CONF
conf.register(CONF)

#: Seconds for which no copy is asked for, once the store has turned out to
#: be another cluster than ours: each would fill a store in vain.
MISMATCH_REMEMBERED = 300.0


class Host:
    """This compute host, between Glance's store and its Ceph cluster."""

    def __init__(self) -> None:
        # Under eventlet this runs librbd in native threads, so that it does
        # not block the others; under native threads it is the object itself.
        self.cluster: ceph.Cluster = compat.tpool_wrap(
            ceph.Cluster(
                CONF.libvirt.images_rbd_ceph_conf,
                CONF.libvirt.rbd_user,
                CONF.libvirt.rbd_connect_timeout,
                {
                    'rados_mon_op_timeout': str(
                        CONF.rbd_multistore.rados_mon_op_timeout
                    ),
                    'rados_osd_op_timeout': str(
                        CONF.rbd_multistore.rados_osd_op_timeout
                    ),
                },
            )
        )
        self.access = identity.GlanceAccess()
        self._copies: sharing.Shared[list[location.RbdLocation]] = (
            sharing.Shared()
        )
        self._fsid: str | None = None
        self._mismatch: tuple[float, frozenset[str]] | None = None

    @property
    def store(self) -> str:
        """Name of this host's store in Glance, '' if copies are not wanted."""
        name: str = CONF.libvirt.images_rbd_glance_store_name
        return name

    @property
    def pool(self) -> str:
        """The pool of the boot disks."""
        name: str = CONF.libvirt.images_rbd_pool
        return name

    @property
    def fsid(self) -> str:
        """The id of the local cluster.

        :raises ClusterUnreachable: if it does not answer
        """
        # Not a cached_property: its lock would have the boots of a host time
        # out one after another while the cluster is away.
        if self._fsid is None:
            self._fsid = self.cluster.fsid()
        return self._fsid

    def glance_for(
        self, context: nova_context.RequestContext
    ) -> glance.Glance:
        """Glance, as the user of ``context`` may use it."""
        return self.access.as_user_of(context)

    def sources(
        self,
        images: glance.Glance,
        record: image.ImageRecord,
        *,
        copied: bool = False,
    ) -> list[location.RbdLocation]:
        """Where in our cluster the image lies, in Glance's order.

        :param images: Glance, as the user who may see ``record``
        :param copied: whether Glance has just brought the image into our
            store. Before that, its owner may have put the store's name beside
            any location: no reason to deny copies to others
        :raises LocationRefused: if a location may be of somebody else's data
        :raises StoreNotLocal: if our store has the image, in another cluster
        :raises ImageError: if its locations are not for this user
        :raises HostError: if Glance or our cluster does not answer
        """
        locations = record.locations or images.locations(record.id)
        found = source.local_sources(
            record,
            locations,
            self.fsid,
            CONF.rbd_multistore.trusted_clone_pools,
        )
        if not found and record.holds(self.store):
            elsewhere = source.clusters(locations)
            if copied:
                self.remember_mismatch(elsewhere)
            raise exceptions.StoreNotLocal(
                record.id, self.store, self.fsid, elsewhere
            )
        return found

    def copy(
        self,
        context: nova_context.RequestContext,
        images: glance.Glance,
        record: image.ImageRecord,
        check: Callable[[], None] = lambda: None,
        server: str | None = None,
    ) -> list[location.RbdLocation]:
        """Have the image copied to our store; return where it then lies.

        Of all boots that want this, one asks and follows; the others wait for
        its outcome. What it was told in the end about the image serves all
        boots of the same user; a boot of another user asks for itself.

        :param check: raises if the caller need not wait any longer; called
            about as often as Glance is asked
        :param server: uuid of the server to be booted, for the log
        :raises StoreNotLocal: if our store was another cluster of late
        :raises ImageError: see :meth:`copying.Copy.run`
        :raises HostError: see :meth:`copying.Copy.run`
        """
        if self._mismatch and time.monotonic() < self._mismatch[0]:
            raise exceptions.StoreNotLocal(
                record.id, self.store, self.fsid, self._mismatch[1]
            )
        pool = CONF.rbd_multistore.glance_rbd_pool
        limits = _limits()
        following = copying.Copy(
            record,
            self.store,
            images.without_retries(),
            functools.partial(self.cluster.arrival, pool, record.id),
            limits,
            copying.Time(time.monotonic, time.sleep, random.uniform),
            check,
            server,
        )

        def copy() -> list[location.RbdLocation]:
            arrived = following.run()
            if following.seen_whole and not arrived.locations:
                # Glance would tell what we have seen happen.
                return [
                    location.RbdLocation(
                        self.fsid, pool, arrived.id, ceph.GLANCE_SNAPSHOT
                    )
                ]
            return self.sources(images, arrived, copied=True)

        found = self._copies.do(
            key=(record.id, self.store),
            asker=(
                context.user_id,
                context.project_id,
                frozenset(context.roles),
            ),
            work=copy,
            check=check,
            check_interval=limits.poll_interval,
        )
        if found is None:
            record = images.record(record.id)
            source.require_cloneable(record)
            found = self.sources(images, record, copied=True)
        return found

    def remember_mismatch(self, found: frozenset[str]) -> None:
        """Note that our store lies in the clusters ``found``, not in ours."""
        self._mismatch = (time.monotonic() + MISMATCH_REMEMBERED, found)


def _limits() -> copying.Limits:
    return copying.Limits(
        poll_interval=CONF.libvirt.images_rbd_glance_copy_poll_interval,
        probe_interval=CONF.rbd_multistore.copy_probe_interval,
        timeout=CONF.libvirt.images_rbd_glance_copy_timeout,
        stall_timeout=CONF.rbd_multistore.copy_stall_timeout,
    )


@functools.cache
def this_host() -> Host:
    """The one :class:`Host` of this process, made when first asked for."""
    return Host()
