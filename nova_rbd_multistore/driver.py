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

"""The driver: Nova's libvirt driver, with our backend where it has 'rbd'."""

from collections.abc import Callable, Iterator
import contextlib
import functools
import time
from typing import Any

from nova import context as nova_context
from nova import exception
from nova import objects
from nova.compute import task_states
from nova.compute import utils as compute_utils
from nova.compute import vm_states
import nova.conf
from nova.virt import configdrive
from nova.virt.libvirt import driver as libvirt_driver
from oslo_log import log as logging
import oslo_messaging as messaging
import pbr.version

from nova_rbd_multistore import access
from nova_rbd_multistore import backend
from nova_rbd_multistore import conf
from nova_rbd_multistore import disks
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import host
from nova_rbd_multistore import image as image_values
from nova_rbd_multistore import moves
from nova_rbd_multistore import outage
from nova_rbd_multistore import room
from nova_rbd_multistore import site
from nova_rbd_multistore import snapshots
from nova_rbd_multistore import source
from nova_rbd_multistore import surroundings
from nova_rbd_multistore import text

CONF = nova.conf.CONF
conf.register(CONF)
LOG = logging.getLogger(__name__)

#: Seconds until the next look at a guest.
_LOOK_INTERVAL = 1.0

#: Seconds of a start for guests that may be about to shut down: nova-compute
#: serves nobody meanwhile, whatever time operators give to guests.
_LONGEST_WAIT_FOR_GUESTS = 60.0

#: What a server is in when its disks go, and its user still has it.
_STAYS = (
    task_states.REBUILDING,
    task_states.REBUILD_SPAWNING,
    # One on a volume is offloaded without more ado.
    task_states.SHELVING,
    task_states.SHELVING_OFFLOADING,
)


class LibvirtDriver(libvirt_driver.LibvirtDriver):
    """``[DEFAULT] compute_driver = rbd_multistore.LibvirtDriver``."""

    def __init__(self, virtapi: Any, read_only: bool = False) -> None:
        check_configuration()
        super().__init__(virtapi, read_only)
        self._room = room.Room(time.monotonic)
        #: Servers whose last evacuation to this host was to new disks.
        self._on_new_disks: set[str] = set()
        #: Of those whose guests are started anew at the moment.
        self._rebooting: set[str] = set()
        self.image_backend.BACKEND['rbd'] = backend.Rbd
        # Of two boots that begin at once, each would make one of its own, and
        # share its copies with nobody.
        this_host = host.this_host()
        self._outage = outage.Outage(this_host.time)
        #: When guests are off that were told to shut down before the start.
        self._off_by: float | None = None
        disks.take_the_place_of_novas(this_host.cluster)
        access.refuse_novas_redirects()
        self._image_api = (
            snapshots.SiteImages()
            if CONF.rbd_multistore.snapshots_to_own_store
            else snapshots.Images()
        )

    def init_host(self, host: str) -> None:
        """Start the driver, and say what it will do.

        :raises nova.exception.InvalidConfiguration: if it could be the Glance
            of another region
        """
        # First: Nova's part starts threads, which would keep the process of a
        # nova-compute that has refused to start.
        check_region()
        super().init_host(host)
        announce()
        # Not before: only now is this the process that boots.
        serve_metrics()

    def get_available_resource(self, nodename: str) -> dict[str, Any]:
        """What this host has, and for Nova's scheduler, which site it is of.

        :raises HostError: if the cluster has not answered since the start;
            Nova then keeps what it was told before
        """
        resources: dict[str, Any] = super().get_available_resource(nodename)
        finder = host.this_host().finder
        resources['stats'] |= site.Site(finder.fsid, finder.store).to_stats()
        return resources

    def _get_local_gb_info(self) -> dict[str, float]:
        """GiB of Nova's pool; called by Nova's driver.

        :raises HostError: if that has not been seen since the start
        """
        return self._room.seen_by(super()._get_local_gb_info)

    def instance_on_disk(self, instance: 'objects.Instance') -> bool:
        """Whether an evacuated server goes on with its disk.

        Nova asks before it makes anything of the server here.

        :raises nova.exception.InstanceFaultRollback: if it is not to be
            evacuated to this host
        """
        with _leaving_the_server_as_it_is():
            found = moves.goes_on_with_its_disk(instance)
        if found:
            self._on_new_disks.discard(instance.uuid)
        else:
            self._on_new_disks.add(instance.uuid)
        return found and bool(super().instance_on_disk(instance))

    def migrate_disk_and_power_off(
        self,
        context: nova_context.RequestContext,
        instance: 'objects.Instance',
        dest: str,
        flavor: 'objects.Flavor',
        network_info: Any,
        block_device_info: dict[str, Any] | None = None,
        timeout: int = 0,
        retry_interval: int = 0,
    ) -> str:
        """Stop the guest of a server that is resized or migrated.

        :raises nova.exception.InstanceFaultRollback: if its new host is of
            another cluster, or an earlier resize left what cannot be removed
        """
        with _leaving_the_server_as_it_is():
            moves.check_departure(instance)
            moves.forget_earlier_resize(instance)
        in_files: str = super().migrate_disk_and_power_off(
            context,
            instance,
            dest,
            flavor,
            network_info,
            block_device_info,
            timeout,
            retry_interval,
        )
        return in_files

    def finish_revert_migration(
        self,
        context: nova_context.RequestContext,
        instance: 'objects.Instance',
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Start a server on the host that it was to leave.

        Nova does so, too, when it starts after it was ended in a resize. If it
        was waiting for the guest to shut down, that may run on: Nova could not
        start it, and would take its network and its volumes away.

        :raises HostStopping: if nova-compute stops again, while it waits; Nova
            has forgotten the resize then, and the next start does not wait
        """
        if instance.task_state == task_states.RESIZE_MIGRATING and (
            self._runs_on(instance)
        ):
            LOG.info(
                'The server was to be resized, and its guest still runs: '
                'leaving it as it is',
                instance=instance,
            )
            return
        super().finish_revert_migration(context, instance, *args, **kwargs)

    def _finish_revert_migration_vtpm(
        self,
        context: nova_context.RequestContext,
        instance: 'objects.Instance',
    ) -> None:
        """Put back what a guest with a TPM has; called by Nova's driver.

        Nova looks at the server's flavor from before the resize, even without
        a TPM, and has not noted that yet if the resize was broken off: it
        would end here, and leave the guest off.
        """
        noted = instance.old_flavor
        instance.old_flavor = noted or instance.flavor
        try:
            super()._finish_revert_migration_vtpm(context, instance)
        finally:
            instance.old_flavor = noted

    def _runs_on(self, instance: 'objects.Instance') -> bool:
        """Whether a guest runs, and is not about to shut down.

        If it is, Nova has told it so before it was ended, which libvirt does
        not show. It would be off a moment later, and Nova would take its
        server for one that was stopped.
        """
        its_time = host.this_host().time
        if self._off_by is None:
            # One time for all guests, since all were told before the start.
            # Nova looks after one server after another: those that run on
            # would hold up the start, each for as long. What an image says of
            # that time is not asked, for its owner may say anything.
            self._off_by = its_time.clock() + min(
                CONF.shutdown_timeout, _LONGEST_WAIT_FOR_GUESTS
            )
        said = False
        while self._is_running(instance):
            left = self._off_by - its_time.clock()
            if left <= 0:
                return True
            if not said:
                said = True
                LOG.info(
                    'The server was to be resized, and its guest still runs: '
                    'waiting for up to %d s, for it may have been told to '
                    'shut down. If nova-compute is restarted now, the server '
                    'may end as SHUTOFF',
                    left,
                    instance=instance,
                )
            its_time.sleep(min(_LOOK_INTERVAL, left))
        return False

    def _is_running(self, instance: 'objects.Instance') -> bool:
        try:
            guest = self._host.get_guest(instance)
        except exception.InstanceNotFound:
            return False
        return bool(guest.is_active())

    def finish_migration(
        self,
        context: nova_context.RequestContext,
        migration: 'objects.Migration',
        instance: 'objects.Instance',
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Start a server that was resized or migrated to this host.

        :raises DiskNotRemoved: if it would get what it has left here once
        :raises HostError: if this host cannot do it now
        """
        moves.make_way(instance, migration)
        super().finish_migration(context, migration, instance, *args, **kwargs)

    def confirm_migration(
        self,
        context: nova_context.RequestContext,
        migration: 'objects.Migration',
        instance: 'objects.Instance',
        network_info: Any,
    ) -> None:
        """Remove what a server that has moved from this host has left."""
        super().confirm_migration(context, migration, instance, network_info)
        _clean_up_after(instance, migration)

    def destroy(
        self,
        context: nova_context.RequestContext,
        instance: 'objects.Instance',
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """End the guest, and remove its disks if that is asked for."""
        super().destroy(context, instance, *args, **kwargs)
        # Nova starts guests anew by way of this, after a power cut too.
        if (
            instance.task_state == task_states.RESIZE_REVERTING
            and instance.uuid not in self._rebooting
        ):
            _clean_up_after(instance)

    def check_can_live_migrate_destination(
        self,
        context: nova_context.RequestContext,
        instance: 'objects.Instance',
        src_compute_info: Any,
        dst_compute_info: Any,
        block_migration: bool | None = False,
        disk_over_commit: bool | None = False,
    ) -> 'objects.LibvirtLiveMigrateData':
        """Check that a running server can come to this host.

        :raises nova.exception.MigrationPreCheckError: if not
        """
        try:
            moves.check_live_arrival(instance)
        except exceptions.HostError as exc:
            # Nova's conductor knows no exceptions but Nova's.
            raise exception.MigrationPreCheckError(
                reason=exc.format_message()
            ) from exc
        found: objects.LibvirtLiveMigrateData = (
            super().check_can_live_migrate_destination(
                context,
                instance,
                src_compute_info,
                dst_compute_info,
                block_migration,
                disk_over_commit,
            )
        )
        return found

    def resume_state_on_host_boot(
        self,
        context: nova_context.RequestContext,
        instance: 'objects.Instance',
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Start the guest of a server that ran when the host went down.

        From an error, Nova would conclude that it cannot be started.
        """
        try:
            super().resume_state_on_host_boot(
                context, instance, *args, **kwargs
            )
        except exceptions.HostStopping as exc:
            LOG.warning('Not started yet: %s', exc, instance=instance)

    def _hard_reboot(
        self,
        context: nova_context.RequestContext,
        instance: 'objects.Instance',
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Start the guest of a server anew; called by Nova's driver.

        Nova destroys it, then asks the cluster. An error there would leave a
        server without its guest, which may have run on with its OSDs alone.

        :raises ClusterUnreachable: if the cluster is away. The guest is as it
            was
        """
        if moves.needs_cluster(instance):
            self._outage.outlast(
                functools.partial(_look_as_nova_will, instance), instance.uuid
            )
        self._rebooting.add(instance.uuid)
        try:
            super()._hard_reboot(context, instance, *args, **kwargs)
        finally:
            self._rebooting.discard(instance.uuid)

    # Nova gives it by this name, which is that of a module here.
    def cleanup_host(self, host: str) -> None:
        """Leave off, for nova-compute stops.

        Nova calls this after it has waited for what goes on, and soon ends the
        process whatever goes on. A boot that waits for a copy fails before
        that, so that another host makes the server; the copy goes on in
        Glance. One that was cut off would be in ERROR.

        :param host: this one
        """
        _end_waits()
        super().cleanup_host(host=host)

    def _cleanup_rbd(self, instance: 'objects.Instance') -> None:
        """Remove the server's disks; called by Nova's driver.

        An error here would end the build of a server that another host could
        make, so a failed build only leaves word of what it leaves. So does a
        host that finds, while it starts, what an evacuation has left on it: an
        error would end the start. Whoever deletes a server gets the error: its
        disks are still there.

        Nova also has all of them removed if it has made one, for swap, say,
        and the guest does not start. One that is evacuated with its disks
        keeps them.

        :raises DiskNotRemoved: if one is there all the same
        :raises HostError: if this host cannot do it now
        """
        pool, cluster = CONF.libvirt.images_rbd_pool, host.this_host().cluster
        if _is_evacuated(instance) and instance.uuid not in self._on_new_disks:
            LOG.warning(
                'Not removing the disks of an evacuated server whose guest '
                'has not started here: RBD images %(pool)s/%(server)s_* may '
                'be those that it came with. Evacuate it again',
                {'pool': pool, 'server': instance.uuid},
                instance=instance,
            )
            return
        is_being_built = _is_being_built(instance)
        try:
            with cluster.errors(pool):
                if is_being_built:
                    disks.RBDDriver(cluster).discard(instance.uuid)
                else:
                    if instance.task_state in _STAYS:
                        disks.RBDDriver(cluster).check_free(instance.uuid)
                    super()._cleanup_rbd(instance)
        except exceptions.HostError as exc:
            if is_being_built:
                LOG.warning(
                    'Cannot clean up after a failed build: %(reason)s RBD '
                    'images %(pool)s/%(server)s_* may be left. They go when '
                    'the server is deleted, unless it then has a host in '
                    'another cluster, or none',
                    {'reason': exc, 'pool': pool, 'server': instance.uuid},
                    instance=instance,
                )
            elif instance.host != CONF.host:
                LOG.warning(
                    'Left by a server whose host is %(host)s now: '
                    '%(reason)s Nova does not try again to remove RBD images '
                    '%(pool)s/%(server)s_* of its time on this host',
                    {
                        'host': instance.host,
                        'reason': exc,
                        'pool': pool,
                        'server': instance.uuid,
                    },
                    instance=instance,
                )
            else:
                raise

    def rescue(
        self,
        context: nova_context.RequestContext,
        instance: 'objects.Instance',
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Start the server from another disk, which is made of an image.

        :raises DiskNotRemoved: if it would get what an earlier rescue has left
        :raises HostError: if this host cannot do it now
        """
        backend.Rbd(instance, 'disk.config.rescue').require_gone()
        super().rescue(context, instance, *args, **kwargs)

    def unrescue(
        self,
        context: nova_context.RequestContext,
        instance: 'objects.Instance',
    ) -> None:
        """Start the server from its own disk again.

        It runs before the disk of the rescue is removed: an error would show
        it in ERROR. The next rescue has to do with what is left.
        """
        pool, cluster = CONF.libvirt.images_rbd_pool, host.this_host().cluster
        try:
            with cluster.errors(pool):
                super().unrescue(context, instance)
        except exceptions.HostError as exc:
            LOG.warning('Left by a rescue: %s', exc, instance=instance)

    def spawn(
        self,
        context: nova_context.RequestContext,
        instance: 'objects.Instance',
        image_meta: 'objects.ImageMeta',
        injected_files: list[Any],
        admin_password: str | None,
        allocations: dict[str, Any],
        network_info: Any = None,
        block_device_info: dict[str, Any] | None = None,
        power_on: bool = True,
        accel_info: Any = None,
    ) -> None:
        """Build a server, and start it.

        When one that was shelved is up, Nova deletes its image. Glance, which
        may be copying it at the request of :func:`snapshots.copy_on`, would
        leave the copy in the store for ever.

        :raises DiskOfAnotherCell: if it comes from a cell, and has a disk here
        """
        is_unshelved = instance.vm_state == vm_states.SHELVED_OFFLOADED
        if is_unshelved and configdrive.required_by(instance):
            backend.Rbd(instance, 'disk.config').make_way()
        elif instance.task_state == task_states.RESIZE_FINISH:
            # Within a cell, Nova does not spawn what it resizes.
            moves.check_new_cell(instance)
        super().spawn(
            context,
            instance,
            image_meta,
            injected_files,
            admin_password,
            allocations,
            network_info,
            block_device_info,
            power_on,
            accel_info,
        )
        # That of a server on a volume has no image.
        if is_unshelved and instance.image_ref:
            snapshots.wait_until_free(
                context,
                instance.image_ref,
                functools.partial(backend.check_wanted, instance),
            )

    def rebuild(
        self,
        context: nova_context.RequestContext,
        instance: 'objects.Instance',
        image_meta: 'objects.ImageMeta',
        *,
        bdms: 'objects.BlockDeviceMappingList | None' = None,
        evacuate: bool = False,
        **others: Any,
    ) -> None:
        """Have the image here, before Nova removes the disk that it replaces.

        The guest runs on meanwhile. Any error but the one leaves the server in
        ERROR, with the disk that it has. It is not put back as it was: in
        Nova's database its image is the new one already.

        :raises NotImplementedError: if Nova's manager is to go on, by itself
        :raises ImageError: if there would be no disk of the image
        :raises HostError: if this host cannot tell now
        """
        del image_meta, others
        if not (
            evacuate
            or compute_utils.is_volume_backed_instance(context, instance, bdms)
        ):
            disk = backend.Rbd(instance, 'disk')
            disk.prepare(context, instance.image_ref)
        raise NotImplementedError

    def snapshot(
        self,
        context: nova_context.RequestContext,
        instance: 'objects.Instance',
        image_id: str,
        update_task_state: Callable[..., None],
    ) -> None:
        """Fill an image with a snapshot of the server, and copy it on.

        ``openstack server image create`` and ``shelve`` come here. Nobody
        waits for the copies.

        :raises SnapshotIncomplete: if the image does not get the whole disk
        """
        super().snapshot(context, instance, image_id, update_task_state)
        snapshots.require_whole(context, instance, image_id)
        snapshots.copy_on(context, instance, image_id)

    def cache_image(
        self, context: nova_context.RequestContext, image_id: str
    ) -> bool:
        """Have the image copied to our store, before a boot needs it.

        ``openstack aggregate cache image`` comes here. Nova would fill a file
        cache that boots from RBD never read.

        :returns: whether it was not there yet
        :raises ImageError: if it cannot be copied
        :raises HostError: if Glance, or the store in it, is not there
        """
        this_host = host.this_host()
        finder = this_host.finder
        if not finder.store:
            cached: bool = super().cache_image(context, image_id)
            return cached
        images = this_host.access.as_user_of(context)
        record = images.record(image_id)
        source.require_cloneable(record)
        # As for a boot: what is there must be fit to be cloned, and a copy of
        # foreign data would have the image's name.
        finder.here(images, record)
        if record.holds(finder.store):
            return False
        with finder.start_wait(image_id) as waiting:
            finder.bring(images, record, access.user_of(context), waiting)
        return True


@contextlib.contextmanager
def _leaving_the_server_as_it_is() -> Iterator[None]:
    """Have Nova take an error for one before which nothing was done."""
    try:
        yield
    except Exception as exc:
        raise exception.InstanceFaultRollback(exc) from exc


def _clean_up_after(
    instance: 'objects.Instance', migration: 'objects.Migration | None' = None
) -> None:
    """Remove what a move leaves here; an error would show it in ERROR."""
    try:
        moves.clean_up_after(
            instance, migration or moves.migration_of(instance)
        )
    except (
        exception.NovaException,
        messaging.MessagingException,
    ) as exc:
        LOG.warning(
            'Left by a server that has moved: %(reason)s Nova does not try '
            'again to remove RBD images %(pool)s/%(server)s_* of its config '
            'drive and swap disk',
            {
                'reason': exc,
                'pool': CONF.libvirt.images_rbd_pool,
                'server': instance.uuid,
            },
            instance=instance,
        )


def _look_as_nova_will(instance: 'objects.Instance') -> None:
    """Ask what Nova will, to start a guest.

    :raises HostError: if the cluster does not answer that
    """
    cluster = host.this_host().cluster
    cluster.monitors()
    if configdrive.required_by(instance):
        cluster.has_image(
            CONF.libvirt.images_rbd_pool, f'{instance.uuid}_disk.config'
        )


def _is_being_built(instance: 'objects.Instance') -> bool:
    """Whether it is a new server's, and nobody has asked to delete it."""
    return (instance.vm_state, instance.task_state) == (
        vm_states.BUILDING,
        task_states.SPAWNING,
    )


def _is_evacuated(instance: 'objects.Instance') -> bool:
    """Whether it is a server of another host, to be started here."""
    return bool(
        instance.task_state == task_states.REBUILD_SPAWNING
        and instance.host != CONF.host
    )


def _end_waits() -> None:
    host.this_host().stopping.set()


def check_configuration() -> None:
    """Refuse to start with options that cannot work.

    :raises nova.exception.InvalidConfiguration: naming the option, its value
        and what it must be
    """
    if CONF.libvirt.images_type != 'rbd':
        raise exception.InvalidConfiguration(
            f'[libvirt] images_type is {CONF.libvirt.images_type!r}, but '
            'compute_driver = rbd_multistore.LibvirtDriver needs rbd'
        )
    try:
        conf.check(CONF)
    except ValueError as exc:
        raise exception.InvalidConfiguration(text.printable(exc)) from exc
    store = CONF.libvirt.images_rbd_glance_store_name
    if ',' in store or not store.isprintable():
        raise exception.InvalidConfiguration(
            f'[libvirt] images_rbd_glance_store_name is {store!r}, but must '
            'be the name of one store, on one line'
        )
    if image_values.is_reserved(store):
        raise exception.InvalidConfiguration(
            f'[libvirt] images_rbd_glance_store_name is {store!r}, but Glance '
            f'keeps names with {image_values.RESERVED_PREFIX} for itself: '
            'name the store of enabled_backends (glance-api.conf) that lies '
            'in the Ceph cluster of this host'
        )
    _check_snapshot_stores(store)
    for option in (
        'images_rbd_glance_copy_poll_interval',
        'images_rbd_glance_copy_timeout',
    ):
        value = CONF.libvirt[option]
        if value <= 0:
            raise exception.InvalidConfiguration(
                f'[libvirt] {option} is {value}, but must be a number of '
                'seconds above 0'
            )


def _check_snapshot_stores(own: str) -> None:
    """Check the options on snapshots.

    :param own: name of the store of this host, '' if there is none
    """
    if CONF.rbd_multistore.snapshots_to_own_store and not own:
        raise exception.InvalidConfiguration(
            '[rbd_multistore] snapshots_to_own_store is True, but [libvirt] '
            'images_rbd_glance_store_name is empty: name the store of '
            'enabled_backends (glance-api.conf) that lies in the Ceph cluster '
            'of this host'
        )
    for store in CONF.rbd_multistore.snapshot_copy_stores:
        if image_values.is_reserved(store):
            raise exception.InvalidConfiguration(
                f'[rbd_multistore] snapshot_copy_stores has {store!r}, but '
                f'Glance keeps names with {image_values.RESERVED_PREFIX} for '
                'itself: name stores of enabled_backends (glance-api.conf)'
            )


def check_region() -> None:
    """Refuse to start with a region of Glance that would be a guess.

    :raises nova.exception.InvalidConfiguration: saying what to set
    """
    try:
        host.this_host().access.check_region()
    except exceptions.RegionAmbiguous as exc:
        raise exception.InvalidConfiguration(str(exc)) from exc


def announce() -> None:
    """Log what we are and what we work with; warn of what will not work."""
    this_host = host.this_host()
    try:
        fsid = this_host.finder.fsid
    except exceptions.ClusterUnreachable as exc:
        fsid = 'unknown'
        LOG.warning('%s Boots fail until it answers.', exc)
    service_tokens = CONF.service_user.send_service_user_token
    LOG.info(
        'nova-rbd-multistore %(version)s: store %(store)s, pool %(pool)s, '
        'cluster %(fsid)s, service tokens %(sent)s',
        {
            'version': pbr.version.VersionInfo('nova-rbd-multistore'),
            'store': this_host.finder.store
            or 'none (no copies are asked for)',
            'pool': CONF.libvirt.images_rbd_pool,
            'fsid': fsid,
            'sent': 'sent' if service_tokens else 'not sent',
        },
    )
    this_host.access.announce()
    surroundings.announce()


def serve_metrics() -> None:
    """Let Prometheus ask about boots, if the options say where."""
    host.serve_metrics()
