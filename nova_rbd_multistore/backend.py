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

"""Nova's RBD image backend, made to find its image in any store.

Find the image in the local cluster; else have Glance copy it there; then make
the boot disk a copy-on-write clone of it.
"""

from collections.abc import Callable
from typing import Any

from nova import context as nova_context
from nova import exception
from nova import objects
from nova.compute import task_states
import nova.conf
from nova.virt.libvirt import imagebackend
from oslo_db import exception as db_exc
from oslo_log import log as logging
import oslo_messaging as messaging

from nova_rbd_multistore import access
from nova_rbd_multistore import ceph
from nova_rbd_multistore import disks
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import host
from nova_rbd_multistore import image as image_values
from nova_rbd_multistore import location
from nova_rbd_multistore import source
from nova_rbd_multistore import text

CONF = nova.conf.CONF
LOG = logging.getLogger(__name__)

_NO_RIGHT_TO_DOWNLOAD = (
    exceptions.SecurityRefusal,
    exceptions.ImageGone,
    exceptions.NotActive,
    exceptions.TokenRefused,
)


class Rbd(imagebackend.Rbd):
    """One disk of one server, in Nova's pool of the local Ceph cluster."""

    def __init__(
        self,
        instance: 'objects.Instance | None' = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(instance, *args, **kwargs)
        self._host = host.this_host()
        self.driver = disks.RBDDriver(self._host.cluster)
        self._instance = instance
        #: Why this disk was not cloned, if a download may do instead.
        self._not_cloned: exceptions.ImageError | None = None

    def exists(self) -> bool:
        """Whether the disk is there.

        :raises PoolUnusable: if we may not look
        :raises ClusterUnreachable: if the cluster fails, or is too slow
        """
        with self._host.cluster.errors(self.driver.pool):
            found: bool = super().exists()
            return found

    def cache(
        self,
        fetch_func: Callable[..., None],
        filename: str,
        size: int | None = None,
        safe: bool = False,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Create the disk, if it is not there; called by Nova's driver.

        Nova clones from within ``fetch_func``, behind a lock that lets one
        boot of an image at a time on this host, and not at all if an earlier
        download has left a file in the image cache. Neither matters to a
        clone: so we clone first, whatever lies there and side by side. Disks
        that have no image (ephemeral, swap) go Nova's way alone.

        :raises ImageError: if the image cannot be cloned, unless Nova may
            download it
        :raises HostError: if this host cannot do it now
        """
        image_id = kwargs.get('image_id')
        # Nova's own calls to RBD raise what librbd raises.
        with self._host.cluster.errors(self.driver.pool):
            if (
                image_id is not None
                and not self.exists()
                and self._clone_first(kwargs['context'], image_id)
            ):
                if size:
                    self._fit(size)
                return
            super().cache(fetch_func, filename, size, safe, *args, **kwargs)

    def _clone_first(
        self, context: nova_context.RequestContext, image_id: str
    ) -> bool:
        """Try to clone; return False if Nova should download instead."""
        try:
            self.clone(context, image_id)
        except exceptions.ImageError as exc:
            if not _may_download(exc):
                raise
            # Nova would not ask Glance if the download of another user's boot
            # lies in the host's image cache; nor need this boot have asked,
            # for another's copy may have failed for it.
            source.require_active(
                self._host.access.as_user_of(context).record(image_id)
            )
            LOG.warning('Downloading instead of cloning: %s', exc)
            self._not_cloned = exc
            return False
        return True

    def _fit(self, size: int) -> None:
        """Grow the disk that was just cloned to ``size`` bytes.

        :raises nova.exception.FlavorDiskSmallerThanImage: if it is larger
        """
        # Nova would open the disk five times over: to see whether it is there
        # (twice), for its size (twice), and to grow it.
        with self.driver.opened(self.rbd_name) as disk:
            now = disk.size()
            self.verify_base_size(self.path, size, now)
            if now < size:
                disk.resize(size)

    def clone(
        self,
        context: nova_context.RequestContext,
        image_id_or_uri: str,
        copy_to_store: bool = True,
    ) -> None:
        """Make the disk a copy-on-write clone of the image.

        :param copy_to_store: whether to have the image copied to our store
            if it is not there
        :raises ImageError: if that cannot be, on any host
        :raises HostError: if this host cannot do it now
        """
        if self._not_cloned is not None:
            # Nova's fetch_func asks once more: the answer is the same, and
            # Glance is not to be asked for a copy a second time.
            raise self._not_cloned
        images = self._host.access.as_user_of(context)
        finder = self._host.finder

        record, sources = finder.find(images, image_id_or_uri)
        arrived = record.holds(finder.store) or not finder.store
        if self._clone_from(sources, record, arrived=arrived):
            return
        if not (copy_to_store and finder.store):
            raise exceptions.NotInLocalStore(record.id)
        sources = finder.bring(
            images,
            record,
            access.user_of(context),
            check=self._check_wanted,
            server=self._instance.uuid if self._instance else None,
        )
        if not self._clone_from(sources, record, arrived=True):
            raise exceptions.NotInCluster(record.id, finder.store)

    def _clone_from(
        self,
        sources: list[location.RbdLocation],
        record: image_values.ImageRecord,
        *,
        arrived: bool,
    ) -> bool:
        """Clone the first source that can be cloned, if there is one.

        :param arrived: whether the image is where a copy would bring it
        :returns: whether the disk is there now
        :raises PoolUnreadable: if it is, but we may not read it there
        """
        denied: str | None = None
        for parent in sources:
            try:
                self._host.cluster.clone(
                    parent, self.driver.pool, self.rbd_name
                )
            except ceph.DiskExists as exc:
                # Nova has looked for it, and could not open it.
                raise exceptions.DiskUnusable(
                    self.driver.pool, self.rbd_name
                ) from exc
            except ceph.SourceMissing as exc:
                LOG.warning(
                    'Cannot clone image %s from %s: %s',
                    record.id,
                    text.printable(
                        f'{parent.pool}/{parent.image}@{parent.snapshot}'
                    ),
                    exc,
                )
                if isinstance(exc, ceph.SourceDenied):
                    denied = parent.pool
                continue
            LOG.info(
                'Cloned disk %s from image %s in store %s',
                self.rbd_name,
                record.id,
                self._host.finder.store or 'of our cluster',
                instance=self._instance,
            )
            return True
        if denied is not None and arrived:
            # Another copy would be no more readable.
            raise exceptions.PoolUnreadable(record.id, denied)
        return False

    def _check_wanted(self) -> None:
        """Notice a server that its user has deleted meanwhile.

        :raises nova.exception.InstanceNotFound: if it is gone
        :raises nova.exception.UnexpectedDeletingTaskStateError: if it is
            being deleted; Nova's build ends without an error on either
        """
        if self._instance is None:
            return
        try:
            now = objects.Instance.get_by_uuid(
                nova_context.get_admin_context(),
                self._instance.uuid,
                expected_attrs=[],
            )
        except (db_exc.DBError, messaging.MessagingException) as exc:
            # The conductor is away: no reason to give a boot up.
            LOG.warning(
                'Cannot tell whether the server is being deleted: %s',
                text.printable(exc, 120),
                instance=self._instance,
            )
            return
        if now.task_state == task_states.DELETING:
            LOG.info(
                'The server is being deleted: not waiting any longer',
                instance=self._instance,
            )
            raise exception.UnexpectedDeletingTaskStateError(
                instance_uuid=now.uuid,
                expected={'task_state': [self._instance.task_state]},
                actual={'task_state': now.task_state},
            )


def _may_download(exc: exceptions.ImageError) -> bool:
    """Whether Nova may download the image that was not cloned.

    Never one that this user may not read.
    """
    return not (
        isinstance(exc, _NO_RIGHT_TO_DOWNLOAD)
        or CONF.workarounds.never_download_image_if_on_rbd
    )
