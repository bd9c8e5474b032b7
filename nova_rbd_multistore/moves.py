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

"""Servers that move between hosts: whether their disks are where they go.

A server's disks are in the cluster of its host. Which that is, the host tells
Nova's database, which still knows when the host is gone.
"""

from nova import context as nova_context
from nova import exception
from nova import objects
from nova.compute import task_states
from nova.compute import utils as compute_utils
from nova.compute import vm_states
import nova.conf
from nova.storage import rbd_utils
from nova.virt import configdrive
from oslo_log import log as logging

from nova_rbd_multistore import disks
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import host
from nova_rbd_multistore import server

CONF = nova.conf.CONF
LOG = logging.getLogger(__name__)


#: The first of a server's ephemeral disks, as its user has asked for it and
#: as Nova makes it of the flavor alone.
_EPHEMERAL = ('disk.eph0', 'disk.local')

#: What Nova makes anew wherever a server comes to, unless its guest runs on.
_MADE_ANEW = ('disk.config', 'disk.swap')

#: Seconds after which a client that Ceph shows is alive: one that has died is
#: shown for 30 (its osd_client_watch_timeout).
_ALIVE_AFTER = 45.0

#: Seconds until the next look at a client.
_LOOK_INTERVAL = 3.0


def check_arrival(instance: 'objects.Instance') -> None:
    """Check that the disks of a server on another host are in our cluster.

    :raises DiskElsewhere: if its host has another
    :raises DiskMissing: if there is none of the name
    """
    if not _has_data(instance):
        return
    _check_cluster(instance)
    if not _is_volume_backed(instance):
        require_disk(f'{instance.uuid}_disk')
    if instance.flavor.ephemeral_gb:
        require_disk(*(f'{instance.uuid}_{name}' for name in _EPHEMERAL))


def check_live_arrival(instance: 'objects.Instance') -> None:
    """Check the same of a server that runs on while it comes.

    Its guest goes on with disks, too, that Nova would make anew otherwise.

    :raises DiskElsewhere: if its host has another cluster
    :raises DiskMissing: if there is no disk of its name
    """
    if _has_data(instance):
        check_arrival(instance)
    elif _has_made_anew(instance):
        _check_cluster(instance)


def _check_cluster(instance: 'objects.Instance') -> None:
    """Check that the host of a server that comes has our cluster.

    :raises DiskElsewhere: if it has another
    """
    here = host.this_host().finder.fsid
    there = _cluster_of(instance.host, instance.node)
    # By the name alone, it could be a disk that the server was evacuated from.
    if there not in ('', here):
        raise exceptions.DiskElsewhere(there, here)
    if not there:
        LOG.warning(
            'Host %(host)s has not told its Ceph cluster: a disk of the right '
            'name in pool %(pool)s of %(fsid)s is taken for the one that the '
            'server has there',
            {
                'host': instance.host,
                'pool': CONF.libvirt.images_rbd_pool,
                'fsid': here,
            },
            instance=instance,
        )


def check_departure(instance: 'objects.Instance') -> None:
    """Check that the host to which a server is resized has our cluster.

    :raises DiskElsewhere: if it has another
    """
    if not _has_data(instance):
        return
    migration = migration_of(instance)
    here = host.this_host().finder.fsid
    there = _cluster_of(migration.dest_compute, migration.dest_node)
    if there not in ('', here):
        raise exceptions.DiskElsewhere(here, there)


def migration_of(instance: 'objects.Instance') -> 'objects.Migration':
    """The move that a server is in.

    :raises nova.exception.NotFound: if it is in none any more
    """
    if instance.migration_context is None:
        raise exception.MigrationNotFoundForInstance(
            migration_id='', instance_id=instance.uuid
        )
    return objects.Migration.get_by_id_and_instance(
        nova_context.get_admin_context(),
        instance.migration_context.migration_id,
        instance.uuid,
    )


def make_way(
    instance: 'objects.Instance', migration: 'objects.Migration'
) -> None:
    """Keep a server that has come from what it has left here once.

    Nova would go on with a config drive, and a swap disk, of then.

    :raises DiskNotRemoved: if a client has one open
    :raises HostError: if this host cannot do it now
    """
    if (
        not _has_data(instance)
        and _has_made_anew(instance)
        and _is_elsewhere(migration.source_compute, migration.source_node)
    ):
        _remove_made_anew(instance)


def clean_up_after(
    instance: 'objects.Instance', migration: 'objects.Migration'
) -> None:
    """Remove what a server has left here that is in another cluster now.

    Its move was confirmed, and this is its old host; or it was reverted, and
    this is its new one. Nova removes nothing, as if the clusters were one; in
    a move to another cell, an ephemeral disk alone.

    :raises DiskNotRemoved: if a client has one open
    :raises HostError: if this host cannot do it now
    """
    if migration.source_compute == CONF.host:
        is_left = _is_elsewhere(migration.dest_compute, migration.dest_node)
    else:
        # See check_new_cell: what is here was made here.
        is_left = migration.cross_cell_move or _is_elsewhere(
            migration.source_compute, migration.source_node
        )
    if is_left:
        _remove_made_anew(instance)


def _remove_made_anew(instance: 'objects.Instance') -> None:
    """Remove config drives and swap disks: nobody's data is on them."""
    cluster, pool = host.this_host().cluster, CONF.libvirt.images_rbd_pool
    # With what was broken off while it was made, and that of a rescue.
    begin = tuple(f'{instance.uuid}_{name}' for name in _MADE_ANEW)
    with cluster.errors(pool):
        disks.RBDDriver(cluster).cleanup_volumes(
            lambda name: name.startswith(begin)
        )


def _cluster_of(name: str, node: str) -> str:
    """The fsid of the cluster that a host has told, '' if none."""
    return server.cluster_of(nova_context.get_admin_context(), name, node)


def _is_elsewhere(name: str, node: str) -> bool:
    """Whether a host has told that it has another cluster."""
    here = host.this_host().finder.fsid
    return _cluster_of(name, node) not in ('', here)


def forget_earlier_resize(instance: 'objects.Instance') -> None:
    """Remove the snapshot that an earlier resize of a server has left.

    Where the resize to come is to make one of the same name. The earlier one
    has ended, and the guest has gone on: to go back to it would be to lose
    what was written since.

    :raises HostError: if this host cannot do it now
    """
    # Nova makes one of the root disk alone.
    if _is_volume_backed(instance):
        return
    cluster = host.this_host().cluster
    pool, name = CONF.libvirt.images_rbd_pool, f'{instance.uuid}_disk'
    snapshot = rbd_utils.RESIZE_SNAPSHOT_NAME
    driver = disks.RBDDriver(cluster)
    with cluster.errors(pool):
        if not driver.exists(name, snapshot=snapshot):
            return
        LOG.warning(
            'Removing snapshot %(snapshot)s of disk %(disk)s in pool '
            '%(pool)s: an earlier resize of the server has left it, and the '
            'one that begins makes its own',
            {'snapshot': snapshot, 'disk': name, 'pool': pool},
            instance=instance,
        )
        driver.remove_snap(name, snapshot)


def check_new_cell(instance: 'objects.Instance') -> None:
    """Check that a server which comes from another cell has no disk here.

    It is made here of an image. When its user confirms the resize, its old
    host removes its disks; when they revert it, this one does.

    :raises DiskOfAnotherCell: if both cells have our cluster, or an earlier
        resize has left one
    """
    found = disks.RBDDriver(host.this_host().cluster).of_server(instance.uuid)
    if found:
        raise exceptions.DiskOfAnotherCell(
            CONF.libvirt.images_rbd_pool, found[0]
        )


def require_disk(*names: str) -> None:
    """Check that the cluster of this host has a disk.

    :param names: those that it may have
    :raises DiskMissing: if not
    """
    this_host, pool = host.this_host(), CONF.libvirt.images_rbd_pool
    if not any(this_host.cluster.has_image(pool, name) for name in names):
        raise exceptions.DiskMissing(pool, names[0], this_host.finder.fsid)


def may_have_new_disk(instance: 'objects.Instance') -> bool:
    """Whether a disk is to be made from an image for a server in its state."""
    if (
        instance.launched_at is None
        or instance.vm_state == vm_states.SHELVED_OFFLOADED
        or instance.task_state == task_states.RESCUING
    ):
        return True
    # A rebuild has removed the old one. That of a server of another host is
    # an evacuation.
    return bool(
        instance.task_state == task_states.REBUILD_SPAWNING
        and (
            instance.host == CONF.host
            or CONF.rbd_multistore.evacuate_to_new_disk
        )
    )


def may_have_new_ephemeral_disk(instance: 'objects.Instance') -> bool:
    """Whether an empty disk is to be made for a server in its state."""
    if may_have_new_disk(instance):
        return True
    before = instance.old_flavor or instance.flavor
    return not before.ephemeral_gb


def goes_on_with_its_disk(instance: 'objects.Instance') -> bool:
    """Whether an evacuated server has its disks here, or is to get new ones.

    :raises DiskElsewhere: if it has not, and is not
    :raises DiskMissing: likewise
    :raises DiskStillOpen: if its guest may still run
    :raises DiskNotRemoved: if one does with what it has left here once
    """
    try:
        check_arrival(instance)
    except (exceptions.DiskElsewhere, exceptions.DiskMissing) as exc:
        if not CONF.rbd_multistore.evacuate_to_new_disk:
            raise
        LOG.warning(
            'Evacuating to a new disk from the image, for [rbd_multistore] '
            'evacuate_to_new_disk is set. %s',
            exc,
            instance=instance,
        )
        set_aside_disks(instance)
        return False
    if _has_data(instance):
        _require_closed(instance)
    elif _has_made_anew(instance):
        if _is_elsewhere(instance.host, instance.node):
            _remove_made_anew(instance)
        else:
            _require_closed(instance)
    return True


def _require_closed(instance: 'objects.Instance') -> None:
    """Check that no guest has the disks of an evacuated server open.

    Its old host may have lost its network to Nova alone. Nothing would keep
    two guests apart: Ceph's lock of a disk goes to whoever asks for it.

    :raises DiskStillOpen: if one has, and is alive
    """
    this_host, pool = host.this_host(), CONF.libvirt.images_rbd_pool
    ends_at = this_host.time.clock() + _ALIVE_AFTER
    for name in disks.RBDDriver(this_host.cluster).of_server(instance.uuid):
        waits = False
        while clients := this_host.cluster.clients_of(pool, name):
            if not waits:
                waits = True
                LOG.info(
                    'Disk %s in pool %s is open at %s: waiting for up to %d '
                    's, for Ceph shows a client that has died a while longer',
                    name,
                    pool,
                    ', '.join(clients),
                    _ALIVE_AFTER,
                    instance=instance,
                )
            left = ends_at - this_host.time.clock()
            if left <= 0:
                raise exceptions.DiskStillOpen(pool, name)
            this_host.time.sleep(min(_LOOK_INTERVAL, left))


def set_aside_disks(instance: 'objects.Instance') -> None:
    """Keep the server from disks that it had in our cluster once.

    It was evacuated from here to a new disk in another cluster, and now comes
    back.
    """
    pool = CONF.libvirt.images_rbd_pool
    found = disks.RBDDriver(host.this_host().cluster).set_aside(instance.uuid)
    for name, aside in found.items():
        LOG.warning(
            'Disk %(name)s in pool %(pool)s is not what the server was left '
            'with: it is now %(aside)s, for an administrator to look at and '
            'remove',
            {'name': name, 'pool': pool, 'aside': aside},
            instance=instance,
        )


def needs_cluster(instance: 'objects.Instance') -> bool:
    """Whether its guest has any disk of Nova's, be it made anew or not."""
    return bool(
        instance.flavor.ephemeral_gb
        or instance.flavor.swap
        or configdrive.required_by(instance)
        or not _is_volume_backed(instance)
    )


def _has_data(instance: 'objects.Instance') -> bool:
    """Whether it has disks of Nova's whose content counts.

    Swap disks and config drives are made anew, unless the guest runs on.
    """
    return bool(
        instance.launched_at is not None
        and (instance.flavor.ephemeral_gb or not _is_volume_backed(instance))
    )


def _has_made_anew(instance: 'objects.Instance') -> bool:
    """Whether it has disks that Nova makes anew."""
    return bool(instance.flavor.swap or configdrive.required_by(instance))


def _is_volume_backed(instance: 'objects.Instance') -> bool:
    """Whether its root disk is a volume of Cinder's."""
    found: bool = compute_utils.is_volume_backed_instance(
        nova_context.get_admin_context(), instance
    )
    return found
