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

from collections.abc import Callable, Iterator
import contextlib
from typing import Any

from nova import context as nova_context
from nova import exception
from nova import objects
from nova.compute import task_states
from nova.compute import vm_states
import nova.conf
from nova.virt.libvirt import imagebackend
from oslo_db import exception as db_exc
from oslo_log import log as logging
import oslo_messaging as messaging

from nova_rbd_multistore import access
from nova_rbd_multistore import arrival
from nova_rbd_multistore import ceph
from nova_rbd_multistore import disks
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import host
from nova_rbd_multistore import image as image_values
from nova_rbd_multistore import location
from nova_rbd_multistore import meter
from nova_rbd_multistore import moves
from nova_rbd_multistore import remains
from nova_rbd_multistore import source
from nova_rbd_multistore import text

CONF = nova.conf.CONF
LOG = logging.getLogger(__name__)

#: What is done with an image, where it lies in our cluster.
_Use = Callable[[location.RbdLocation, image_values.ImageRecord], None]

_NO_RIGHT_TO_DOWNLOAD = (
    exceptions.SecurityRefusal,
    # Or the locations that refuse an image would not be seen.
    exceptions.LocationsForbidden,
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
        #: How the disk was made, '' if it was there.
        self._made = ''

    def exists(self) -> bool:
        """Whether the disk is there.

        :raises PoolUnusable: if we may not look
        :raises ClusterUnreachable: if the cluster fails, or is too slow
        """
        with self._host.cluster.errors(self.driver.pool):
            found: bool = super().exists()
            return found

    def get_disk_size(self, name: str) -> int:
        """Bytes of the disk.

        :raises HostError: if they cannot be seen
        """
        with self._errors():
            size: int = super().get_disk_size(name)
            return size

    def flatten(self) -> None:
        """Make the disk independent of its image.

        :raises HostError: if that cannot be
        """
        with self._errors():
            super().flatten()

    def _errors(self) -> contextlib.AbstractContextManager[None]:
        """Nova's own calls to RBD, about this disk, raise what librbd does."""
        return self._host.cluster.errors(self.driver.pool, self.rbd_name)

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
        that have no image (ephemeral, swap) go Nova's way.

        :raises ImageError: if the image cannot be cloned, unless Nova may
            download it
        :raises DiskMissing: if the server has a disk, and not here
        :raises DiskNotRemoved: if there is one that was to go
        :raises HostError: if this host cannot do it now
        """
        image_id = kwargs.get('image_id')
        # Nova's own calls to RBD raise what librbd raises.
        with (
            self._counted(image_id),
            self._host.cluster.errors(self.driver.pool),
        ):
            if self._is_unshelved:
                self._make_way(image_id)
            elif self._is_renewed:
                self._require_gone()
            if image_id is not None and self._is_whole():
                # It comes from a host whose rights may be others.
                self._check()
            elif image_id is not None:
                self._check_new()
                if self._clone_first(kwargs['context'], image_id):
                    if size:
                        self._fit(size)
                    return
                self._made = 'download'
            else:
                self._check_new_ephemeral()
            super().cache(fetch_func, filename, size, safe, *args, **kwargs)

    @contextlib.contextmanager
    def _counted(self, image_id: str | None) -> Iterator[None]:
        """Tell the meter what becomes of a disk that is made of an image."""
        self._made = ''
        try:
            yield
        except BaseException as exc:
            if image_id is not None:
                self._host.meter.boot(_outcome(exc), good=False)
            raise
        if self._made:
            self._host.meter.boot(self._made, good=True)

    def _is_whole(self) -> bool:
        """Whether the disk is there, and not what a clone has left.

        :raises DiskUnusable: if no guest could use it, nor may we remove it
        """
        cluster, pool = self._host.cluster, self.driver.pool
        return cluster.has_image(pool, self.rbd_name) and self._is_usable(
            self._look()
        )

    def _look(self) -> remains.Remains | None:
        return self._host.cluster.remains(self.driver.pool, self.rbd_name)

    def _is_usable(self, seen: remains.Remains | None) -> bool:
        """Whether there is a disk to go on with; remove what nobody misses.

        :param seen: what there is of it
        :raises DiskUnusable: if no guest could use it, nor may we remove it
        """
        if seen is None:
            return False
        pool, name = self.driver.pool, self.rbd_name
        # Of a server without a record, nothing is certain.
        ran = self._instance is None or self._instance.launched_at is not None
        match seen.fate(ran=ran, comes=self._is_evacuated):
            case remains.Fate.USE:
                return True
            case remains.Fate.REFUSE:
                raise exceptions.DiskUnusable(pool, name, seen)
        try:
            self._host.cluster.remove_disk(pool, name)
        except ceph.DiskInUse as exc:
            raise exceptions.DiskUnusable(
                pool, name, 'a client has opened it just now'
            ) from exc
        LOG.warning(
            'Removed disk %s in pool %s, left by a boot of this server that '
            'broke off: the server has never run, nothing was written to the '
            'disk, and no client had it open',
            name,
            pool,
            instance=self._instance,
        )
        return False

    @property
    def _is_unshelved(self) -> bool:
        """Whether the disk is to be made of a shelved server's image."""
        return (
            self._instance is not None
            and self._instance.vm_state == vm_states.SHELVED_OFFLOADED
        )

    def make_way(self) -> None:
        """Take a config drive away that is not its server's any more.

        Nova makes one where there is none; what is in it may be out of date.

        :raises DiskUnusable: if a client has it open
        :raises HostError: if this host cannot do it now
        """
        with self._host.cluster.errors(self.driver.pool):
            self._make_way(None)

    def _make_way(self, image_id: str | None) -> None:
        """Take a disk away that is not its server's any more.

        A server that left its host when it was shelved has its data in an
        image, and nowhere a disk. What is there is an attempt to unshelve it
        that broke off: this one, or an earlier one, and the server has been on
        another site since; or it was evacuated from here.

        :param image_id: of what the disk is to be made of, None for an
            ephemeral or swap disk, or a config drive
        :raises DiskUnusable: if a client has it open, or it cannot be opened
        """
        cluster, pool = self._host.cluster, self.driver.pool
        name, seen = self.rbd_name, self._look()
        if seen is None:
            return
        in_use = exceptions.DiskUnusable(
            pool, name, 'its server is shelved, and a client has it open'
        )
        if seen.watched:
            raise in_use
        if seen.header and not seen.opens:
            raise exceptions.DiskUnusable(pool, name, seen)
        if seen.is_void or self._is_clone_of(image_id, seen):
            # No guest gets it before it is flat.
            try:
                cluster.remove_disk(pool, name)
            except ceph.DiskInUse as exc:
                raise in_use from exc
            LOG.warning(
                'Removed disk %s in pool %s, left by an attempt to unshelve '
                'this server that broke off',
                name,
                pool,
                instance=self._instance,
            )
            return
        new_name = disks.name_aside(name)
        cluster.rename_disk(pool, name, new_name)
        LOG.warning(
            'Renamed disk %s in pool %s to %s: it was there before its server '
            'was unshelved, whose data is in an image',
            name,
            pool,
            new_name,
            instance=self._instance,
        )

    def _is_clone_of(
        self, image_id: str | None, seen: remains.Remains
    ) -> bool:
        return seen.parent and (
            self.driver.parent_info(self.rbd_name)[1] == image_id
        )

    @property
    def _is_renewed(self) -> bool:
        """Whether Nova has removed a disk of this name, or has tried to."""
        # A server of another host is evacuated, with its disk.
        return self._is_of_rescue or (
            self._instance is not None
            and self._instance.task_state == task_states.REBUILD_SPAWNING
            and self._instance.host == CONF.host
        )

    @property
    def _is_evacuated(self) -> bool:
        """Whether the server has come from another host, with this disk."""
        return (
            self._instance is not None
            and self._instance.task_state == task_states.REBUILD_SPAWNING
            # Or it may be what is left of a clone for it that broke off.
            and not moves.may_have_new_disk(self._instance)
        )

    @property
    def _is_of_rescue(self) -> bool:
        """Whether the disk is made for a rescue, to be removed after it."""
        return (
            self._instance is not None
            and self._instance.task_state == task_states.RESCUING
            and self.rbd_name.endswith('.rescue')
        )

    def require_gone(self) -> None:
        """Remove the config drive that an earlier rescue has left.

        Nova makes one where there is none; that one has another password.

        :raises DiskNotRemoved: if a client has it open, or it has a snapshot
        :raises HostError: if this host cannot do it now
        """
        with self._host.cluster.errors(self.driver.pool):
            self._require_gone()

    def _require_gone(self) -> None:
        """Check that no guest would get the disk that was to be removed.

        That of a rescue is removed here: nobody's data is on it. So is a name
        without a header: behind it, librbd finds no disk to remove.

        :raises DiskNotRemoved: if there is one
        """
        pool, name = self.driver.pool, self.rbd_name
        seen = self._look()
        if seen is None:
            return
        if self._is_of_rescue or not seen.header:
            with contextlib.suppress(ceph.DiskInUse):
                self._host.cluster.remove_disk(pool, name)
                LOG.warning(
                    'Removed disk %s in pool %s, %s',
                    name,
                    pool,
                    'left by an earlier rescue of this server'
                    if self._is_of_rescue
                    else 'a name without a header',
                    instance=self._instance,
                )
                return
        raise exceptions.DiskNotRemoved(pool, name, seen.obstacle)

    def _get_parent_pool(
        self, context: nova_context.RequestContext, image_id: str, fsid: str
    ) -> str:
        """The pool for a direct snapshot of this disk.

        Nova goes by the image of the server, which may lie in another pool. Of
        a flat disk (the server was unshelved) it asks Glance where that image
        lies, which Glance does not tell by default.

        :raises nova.exception.ImageUnacceptable: if there is none; Nova then
            makes the other kind of snapshot
        :raises nova.exception.Forbidden: if we may not write to it, or to that
            of its data; likewise
        """
        pool = self._pool_for_snapshot(context, image_id, fsid)
        try:
            # What is begun without the right to end it cannot be removed.
            self._host.cluster.check_new_disks(pool)
        except exceptions.PoolUnusable as exc:
            raise exception.Forbidden(_in_words(exc)) from exc
        return pool

    def _pool_for_snapshot(
        self, context: nova_context.RequestContext, image_id: str, fsid: str
    ) -> str:
        if not CONF.rbd_multistore.snapshots_to_own_store:
            pool: str = super()._get_parent_pool(context, image_id, fsid)
            return pool
        pool = CONF.rbd_multistore.glance_rbd_pool
        try:
            self._host.cluster.arrival(pool, image_id)
        except arrival.ArrivalsHidden as exc:
            raise exception.ImageUnacceptable(
                image_id=image_id,
                reason=f'{exc} ([rbd_multistore] glance_rbd_pool)',
            ) from exc
        return pool

    def direct_snapshot(
        self,
        context: nova_context.RequestContext,
        snapshot_name: str,
        image_format: str,
        image_id: str,
        base_image_id: str,
    ) -> str:
        """Make an image of this disk in Glance's pool; its location.

        What breaks off leaves no RBD image there that Glance does not know.

        :raises nova.exception.ImageUnacceptable: if there is no such pool;
            Nova then makes the other kind of snapshot
        :raises nova.exception.Forbidden: if we may not write to it; likewise
        :raises HostError: if this host cannot do it now
        """
        try:
            with self._errors():
                url: str = super().direct_snapshot(
                    context,
                    snapshot_name,
                    image_format,
                    image_id,
                    base_image_id,
                )
        except Exception as exc:
            self._take_back()
            denied = _denied(exc)
            if denied is None:
                raise
            raise exception.Forbidden(_in_words(denied)) from exc
        return url

    def _take_back(self) -> None:
        """Remove what a direct snapshot has begun."""
        for undo in reversed(list(self.driver.undo)):
            try:
                undo()
            except exceptions.HostError as exc:
                denied = _denied(exc)
                LOG.warning(
                    'Left by a direct snapshot that broke off: %s',
                    _in_words(denied) if denied else exc,
                    instance=self._instance,
                )

    def create_snap(self, name: str) -> None:
        """Make a snapshot; called on the host that a server is resized to.

        :raises DiskMissing: if the disk is not here
        :raises HostError: if a guest could not use it here
        """
        moves.require_disk(self.rbd_name)
        self._check()
        super().create_snap(name)

    def rollback_to_snap(self, name: str) -> None:
        """Go back to a snapshot; called when a resize is reverted.

        Nova also reverts one that was broken off before its snapshot was made:
        it is made on the new host. One of that name is of an earlier resize.
        """
        if not self._is_leaving:
            super().rollback_to_snap(name)
            return
        LOG.warning(
            'Not rolling back disk %(disk)s in pool %(pool)s: the resize that '
            'nova-compute was ended in had not made snapshot %(snapshot)s '
            'yet. If there is one, an earlier resize has left it; the next '
            'one removes it',
            {
                'disk': self.rbd_name,
                'pool': self.driver.pool,
                'snapshot': name,
            },
            instance=self._instance,
        )

    def remove_snap(self, name: str, ignore_errors: bool = False) -> None:
        """Remove a snapshot; called when a resize is over."""
        if not self._is_leaving:
            super().remove_snap(name, ignore_errors)

    @property
    def _is_leaving(self) -> bool:
        """Whether the server is resized, and its new host has not begun."""
        return (
            self._instance is not None
            and self._instance.task_state == task_states.RESIZE_MIGRATING
        )

    def _check(self) -> None:
        """Check that a guest could use the data of the disk on this host.

        :raises PoolUnreadable: if not that of what the disk is a clone of
        :raises PoolUnusable: if not that of the disk itself
        """
        self._host.cluster.check_disk(self.driver.pool, self.rbd_name)

    def _check_new(self) -> None:
        """Check that the server may get a disk that it has not had before.

        :raises DiskMissing: if it has one, wherever that is
        """
        if self._instance and not moves.may_have_new_disk(self._instance):
            moves.require_disk(self.rbd_name)

    def _check_new_ephemeral(self) -> None:
        """Check the same, if this is an ephemeral disk.

        :raises DiskMissing: if the server has it, wherever that is
        """
        if (
            self._instance
            and self.rbd_name.startswith(
                (
                    f'{self._instance.uuid}_disk.eph',
                    f'{self._instance.uuid}_disk.local',
                )
            )
            and not moves.may_have_new_ephemeral_disk(self._instance)
        ):
            moves.require_disk(self.rbd_name)

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
        self.driver.grow(
            self.rbd_name,
            size,
            lambda now: self.verify_base_size(self.path, size, now),
        )

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
        if self._use_image(
            context, image_id_or_uri, self._make_clone, copy_to_store
        ):
            self._made = 'copy_and_clone'
        else:
            self._made = 'clone'

    def prepare(
        self, context: nova_context.RequestContext, image_id: str
    ) -> None:
        """Have the image where the disk will be made of it.

        :raises nova.exception.InstanceNotFound: see :func:`check_wanted`
        :raises nova.exception.UnexpectedDeletingTaskStateError: likewise
        :raises ImageError: if the disk could not be made of it
        :raises HostError: if this host cannot do it now
        """
        check = self._host.cluster.check_image
        try:
            self._use_image(context, image_id, lambda parent, _: check(parent))
        except exceptions.ImageError as exc:
            if not _may_download(exc):
                raise
            source.require_active(
                self._host.access.as_user_of(context).record(image_id)
            )
        # Nova goes on by removing the disks, and looks at the state after it.
        self._check_wanted()

    def _use_image(
        self,
        context: nova_context.RequestContext,
        image_id_or_uri: str,
        use: _Use,
        copy_to_store: bool = True,
    ) -> bool:
        """Use an image where it is in our cluster, or as :meth:`clone`.

        :returns: whether it had to be copied
        """
        images = self._host.access.as_user_of(context)
        finder = self._host.finder

        with finder.start_wait(
            image_id_or_uri,
            check=self._check_wanted,
            server=self._instance.uuid if self._instance else None,
        ) as waiting:
            if copy_to_store:
                finder.wait_for_turn(waiting)
            record, sources = finder.find(images, image_id_or_uri)
            arrived = record.holds(finder.store) or not finder.store
            if self._use_first(use, sources, record, arrived=arrived):
                return False
            if not (copy_to_store and finder.store):
                raise exceptions.NotInLocalStore(record.id)
            source.require_copied_on_demand(
                record,
                finder.store,
                # Of whoever evacuates it, the context has another one.
                self._instance.project_id
                if self._instance
                else context.project_id,
                CONF.rbd_multistore.copy_on_demand,
            )
            sources = finder.bring(
                images, record, access.user_of(context), waiting
            )
        if not self._use_first(use, sources, record, arrived=True):
            raise exceptions.NotInCluster(record.id, finder.store)
        return True

    def _use_first(
        self,
        use: _Use,
        sources: list[location.RbdLocation],
        record: image_values.ImageRecord,
        *,
        arrived: bool,
    ) -> bool:
        """Use the first source that can be used, if there is one.

        :param arrived: whether the image is where a copy would bring it
        :returns: whether one was used
        :raises PoolUnreadable: if it is, but we may not read it there
        """
        denied: str | None = None
        for parent in sources:
            try:
                use(parent, record)
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
                    denied = exc.pool
                continue
            return True
        if denied is not None and arrived:
            # Another copy would be no more readable.
            raise exceptions.PoolUnreadable(record.id, denied)
        return False

    def _make_clone(
        self, parent: location.RbdLocation, record: image_values.ImageRecord
    ) -> None:
        try:
            with self._host.meter.time(meter.Step.CLONE):
                self._clone_over_remains(parent)
        except ceph.DiskExists as exc:
            raise exceptions.DiskUnusable(
                self.driver.pool, self.rbd_name, 'it was made during this boot'
            ) from exc
        LOG.info(
            'Cloned disk %s from image %s in store %s',
            self.rbd_name,
            record.id,
            self._host.finder.store or 'of our cluster',
            instance=self._instance,
        )

    def _check_wanted(self) -> None:
        """See :func:`check_wanted`."""
        if self._instance is not None:
            check_wanted(self._instance)

    def _clone_over_remains(self, parent: location.RbdLocation) -> None:
        """Clone, though the name may be taken by what an earlier clone left.

        :raises ceph.DiskExists: if it is taken by a disk
        :raises DiskUnusable: if we may not remove what it is taken by
        """
        cluster, pool = self._host.cluster, self.driver.pool
        try:
            cluster.clone(parent, pool, self.rbd_name)
        except ceph.DiskExists:
            seen = self._look()
            if seen is not None and seen.opens:
                # That may be at this moment's work, on another host.
                raise
            self._is_usable(seen)
            cluster.clone(parent, pool, self.rbd_name)


def check_wanted(instance: 'objects.Instance') -> None:
    """Notice a server that its user has deleted meanwhile.

    :raises nova.exception.InstanceNotFound: if it is gone
    :raises nova.exception.UnexpectedDeletingTaskStateError: if it is being
        deleted, or soft-deleted, or is; Nova's builds and rebuilds end without
        an error on either
    """
    try:
        now = objects.Instance.get_by_uuid(
            nova_context.get_admin_context(),
            instance.uuid,
            expected_attrs=[],
        )
    except (db_exc.DBError, messaging.MessagingException) as exc:
        # The conductor is away: no reason to give a boot up.
        LOG.warning(
            'Cannot tell whether the server is being deleted: %s',
            text.printable(exc, 120),
            instance=instance,
        )
        return
    # Neither waits for what else goes on with the server.
    if now.vm_state == vm_states.SOFT_DELETED or now.task_state in (
        task_states.DELETING,
        task_states.SOFT_DELETING,
    ):
        LOG.info(
            'The server is being deleted: not waiting any longer',
            instance=instance,
        )
        raise exception.UnexpectedDeletingTaskStateError(
            instance_uuid=now.uuid,
            expected={'task_state': [instance.task_state]},
            actual={'task_state': now.task_state, 'vm_state': now.vm_state},
        )


def _denied(exc: BaseException | None) -> exceptions.PoolUnusable | None:
    """That a right is missing, if an error comes from that.

    :param exc: Nova's cleaning up may have raised it after the first one
    """
    while exc is not None and not isinstance(exc, exceptions.PoolUnusable):
        exc = exc.__context__
    return exc


def _in_words(denied: exceptions.PoolUnusable) -> str:
    """The same of a pool of Glance's, which no option of Nova's names."""
    return (
        f'pool {denied.kwargs["pool"]}, or that of its data, cannot be '
        f'written to: {denied.kwargs["reason"]}'
    )


def _outcome(exc: BaseException) -> str:
    """Why a disk was not made, in one of few words."""
    if isinstance(exc, exceptions.ImageError | exceptions.HostError):
        return type(exc).__name__
    if isinstance(
        exc,
        exception.InstanceNotFound
        | exception.UnexpectedDeletingTaskStateError,
    ):
        return 'deleted'
    return 'other'


def _may_download(exc: exceptions.ImageError) -> bool:
    """Whether Nova may download the image that was not cloned.

    Never one that this user may not read.
    """
    return not (
        isinstance(exc, _NO_RIGHT_TO_DOWNLOAD)
        or CONF.workarounds.never_download_image_if_on_rbd
    )
