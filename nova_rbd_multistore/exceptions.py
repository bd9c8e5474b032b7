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

"""Why a boot disk was not cloned.

Failures are of two kinds, which Nova tells apart by type::

    nova.exception.ImageUnacceptable
    └── ImageError           the image's: the same on every host. Nova aborts
        │                    the build, or downloads the image where
        │                    [workarounds] never_download_image_if_on_rbd
        │                    lets it
        ├── NotRaw
        ├── NotBare
        ├── NotActive
        ├── SnapshotIncomplete
        ├── NotInLocalStore
        ├── OldLocation
        ├── CopyError        … Glance did not bring it to the local store
        │   ├── CopyFailed
        │   ├── CopyRefused
        │   ├── CopyStalled
        │   ├── CopyTimedOut
        │   │   ├── CopyQueued
        │   │   └── ImageHeld
        │   ├── NotInCluster
        │   ├── StoreNotNamed
        │   ├── NotCopiedOnDemand (NotForThisUser, too)
        │   ├── CopyForbidden     (NotForThisUser, too)
        │   └── CopyOverQuota     (NotForThisUser, too)
        ├── NotForThisUser   … and another user may fare better
        │   ├── ImageGone
        │   ├── LocationsForbidden
        │   └── TokenRefused
        └── SecurityRefusal  … and a download would be as bad as a clone
            └── LocationRefused

    nova.exception.NovaException
    └── HostError            this host's or its site's: Nova tries another
        ├── HostStopping
        ├── ClusterUnreachable
        │   └── ClusterRefused
        ├── PoolUnusable
        │   └── DataPoolUnusable
        ├── PoolUnreadable
        ├── DiskElsewhere
        ├── DiskMissing
        ├── DiskStillOpen
        ├── DiskOfAnotherCell
        ├── DiskUnusable
        │   └── DiskNotRemoved
        ├── ImportFailed
        ├── GlanceUnavailable
        │   ├── KeystoneUnavailable
        │   └── StoreUnavailable
        ├── RequestFailed
        ├── IdentityUnusable
        ├── RegionAmbiguous
        ├── StoreUnknown
        ├── SourceOutOfReach
        └── StoreNotLocal

Every message has the cause in its first 120 characters, then the image, the
store and what to do, and no address or credential: Nova shows the first 255
characters of it to the tenant (about 130 of ours, behind its own prefix). The
log has the rest.
"""

from collections.abc import Iterable, Sequence
import datetime

from nova import exception

from nova_rbd_multistore import text


def _for_tenants(reason: object, limit: int) -> str:
    return text.printable(text.without_urls(text.printable(reason)), limit)


def _moment(time: datetime.datetime) -> str:
    return f'at {time:%Y-%m-%d %H:%M:%S} UTC'


def _of_each(reasons: Sequence[str]) -> str:
    """What each glance-api said, and once what several said."""
    if len(reasons) == 1:
        return _for_tenants(reasons[0], 80)
    said: dict[str, list[str]] = {}
    for number, reason in enumerate(reasons, 1):
        said.setdefault(_for_tenants(reason, 60), []).append(str(number))
    return text.printable(
        '; '.join(
            f'glance-api {" and ".join(numbers)} of {len(reasons)}: {reason}'
            for reason, numbers in said.items()
        ),
        180,
    )


class ImageError(exception.ImageUnacceptable):
    """The image cannot become a boot disk, on this host or another."""

    def __init__(self, image: str, **details: str) -> None:
        super().__init__(image=image, **details)


class NotRaw(ImageError):
    """The image's format is not plain bytes, so a clone is no disk."""

    msg_fmt = (
        'Only raw and iso images can be cloned, and image %(image)s is '
        '%(disk_format)s: convert it to raw and upload it again.'
    )

    def __init__(self, image: str, disk_format: str | None) -> None:
        super().__init__(
            image,
            disk_format=text.printable(disk_format or 'of no format', 40),
        )


class NotBare(ImageError):
    """The image is a container with a disk in it, so a clone is no disk."""

    msg_fmt = (
        'Only bare images can be cloned, and image %(image)s is in '
        '%(container_format)s: unpack it, and upload the disk in it with '
        '--container-format bare.'
    )

    def __init__(self, image: str, container_format: str | None) -> None:
        super().__init__(
            image,
            container_format=text.printable(
                f'container format {container_format}'
                if container_format
                else 'no container format',
                40,
            ),
        )


class NotActive(ImageError):
    """The image's data may not be read: deactivated, deleted, not uploaded."""

    msg_fmt = (
        'Image %(image)s is %(status)s, not active: it cannot be booted '
        'until it is active again.'
    )

    def __init__(self, image: str, status: str) -> None:
        super().__init__(image, status=text.printable(status, 40))


class SnapshotIncomplete(ImageError):
    """The image of a snapshot does not have all of the disk.

    :param seen: what it has instead
    """

    msg_fmt = (
        'The image of the snapshot does not have the whole disk: %(seen)s '
        '(image %(image)s). The disk is as it was: see the log of glance-api, '
        'and make another snapshot.'
    )

    def __init__(self, image: str, seen: str) -> None:
        super().__init__(image, seen=_for_tenants(seen, 80))


class NotInLocalStore(ImageError):
    """The image is not in the local cluster, and no copy is to be asked for.

    ``[libvirt] images_rbd_glance_store_name`` is empty.
    """

    msg_fmt = (
        'Image %(image)s has no copy in the Ceph cluster of this host, '
        'and copying is not configured '
        '([libvirt] images_rbd_glance_store_name is empty): '
        'copy it with "glance image-import --import-method copy-image".'
    )


class OldLocation(ImageError):
    """The image's location is ``rbd://<image>``: a clone needs more.

    Glance wrote such locations before it made snapshots.
    """

    msg_fmt = (
        'Image %(image)s has a location of the old form, without cluster and '
        'snapshot, and cannot be cloned from it: upload the image again.'
    )


class CopyError(ImageError):
    """Glance did not bring the image into the local store."""

    def __init__(self, image: str, store: str, **details: str) -> None:
        super().__init__(image, store=store, **details)


class CopyFailed(CopyError):
    """Glance reports that the copy failed.

    :param reasons: what the copy's task in Glance says, of each glance-api
        that was to make it
    """

    msg_fmt = (
        'Glance failed to copy the image: %(reason)s '
        "(image %(image)s, store %(store)s). See glance-api's log; if that "
        'says the image exists in the store, remove what a broken copy left.'
    )

    def __init__(self, image: str, store: str, *reasons: str) -> None:
        super().__init__(image, store, reason=_of_each(reasons))


class CopyRefused(CopyError):
    """Glance keeps refusing a copy (409), and nothing is seen to hold it up.

    :param reason: Glance's words
    """

    msg_fmt = (
        'Glance keeps refusing the copy: %(reason)s '
        '(image %(image)s, store %(store)s). Boot again later; if it still '
        "refuses, glance-api's log may tell why."
    )

    def __init__(self, image: str, store: str, reason: str) -> None:
        super().__init__(image, store, reason=_for_tenants(reason, 80))


class CopyStalled(CopyError):
    """No progress of a copy for ``[rbd_multistore] copy_stall_timeout``.

    :param task: id of its task in Glance
    :param holds: whether that task holds the image
    :param since: when it last showed a sign of life, UTC; None if Glance does
        not show it
    :param until: when Glance will let another request take over, UTC; None if
        Glance does not show it
    """

    msg_fmt = (
        'Copy stalled for %(seconds)s s: Glance task %(task)s %(seen)s. '
        'Glance lets it be taken over %(until)s; boot again then '
        '(image %(image)s, store %(store)s).'
    )

    def __init__(
        self,
        image: str,
        store: str,
        seconds: float,
        task: str,
        *,
        holds: bool,
        since: datetime.datetime | None,
        until: datetime.datetime | None,
    ) -> None:
        super().__init__(
            image,
            store,
            seconds=f'{seconds:.0f}',
            task=text.printable(task, 36),
            seen=(
                ('holds the image, ' if holds else 'has not ended, ')
                + (
                    f'without progress since {since:%H:%M:%S} UTC'
                    if since
                    else 'and Glance does not show that task'
                )
            ),
            until=_takeover(holds, until),
        )


def _takeover(holds: bool, until: datetime.datetime | None) -> str:
    if not holds:
        return 'at once'
    return _moment(until) if until else 'an hour after its last sign of life'


class CopyTimedOut(CopyError):
    """Not copied in ``[libvirt] images_rbd_glance_copy_timeout``.

    :param progress: how far the copy has come, for people
    """

    msg_fmt = (
        'Copy timed out after %(seconds)s s, %(progress)s '
        '(image %(image)s, store %(store)s). What Glance completes later '
        'serves the next boot: boot again, or raise [libvirt] '
        'images_rbd_glance_copy_timeout.'
    )

    def __init__(
        self,
        image: str,
        store: str,
        seconds: float,
        progress: str,
        **details: str,
    ) -> None:
        super().__init__(
            image,
            store,
            seconds=f'{seconds:.0f}',
            progress=_for_tenants(progress, 160),
            **details,
        )


class CopyQueued(CopyTimedOut):
    """Glance has accepted the copy, and not begun it in that time.

    :param task: id of its task in Glance
    :param since: when Glance accepted it, UTC
    :param until: when Glance will let another request take over, UTC
    """

    msg_fmt = (
        'Copy not begun after %(seconds)s s, %(progress)s '
        '(image %(image)s, store %(store)s). Boot again later, or raise '
        '[wsgi] task_pool_threads of glance-api. If that glance-api is gone, '
        'the task can be taken over %(until)s.'
    )

    def __init__(
        self,
        image: str,
        store: str,
        seconds: float,
        task: str,
        since: datetime.datetime,
        until: datetime.datetime,
    ) -> None:
        super().__init__(
            image,
            store,
            seconds,
            f'queued in Glance since {since:%H:%M:%S} UTC as task '
            f'{text.printable(task, 36)}',
            until=_moment(until),
        )


class ImageHeld(CopyTimedOut):
    """Something else in Glance has held the image for all of that time.

    :param holder: what that does, for people
    :param task: id of its task in Glance
    :param until: when Glance will let another request take over, UTC; None if
        Glance does not show it
    """

    msg_fmt = (
        'Copy not begun after %(seconds)s s, %(progress)s '
        '(image %(image)s, store %(store)s). Boot again when that has '
        'ended, or raise [libvirt] images_rbd_glance_copy_timeout. If its '
        'glance-api is gone, it can be taken over %(until)s.'
    )

    def __init__(
        self,
        image: str,
        store: str,
        seconds: float,
        holder: str,
        task: str,
        until: datetime.datetime | None,
    ) -> None:
        super().__init__(
            image,
            store,
            seconds,
            f'the image is held by {text.printable(holder, 80)} '
            f'(Glance task {text.printable(task, 36)})',
            until=_takeover(True, until),
        )


class NotInCluster(CopyError):
    """Glance lists the image in our store, but its data is not there."""

    msg_fmt = (
        "The image's data is missing: Glance lists it in the store, but "
        'its snapshot is not in the Ceph cluster (image %(image)s, store '
        '%(store)s). Delete it from the store '
        '("glance stores-delete"), so that it is copied again.'
    )


class StoreNotNamed(CopyError):
    """A location has no store in its metadata: Glance then copies nothing."""

    msg_fmt = (
        'Image %(image)s has a location that names no store, so Glance '
        'cannot copy it (to store %(store)s): upload the image again, or '
        'configure a store in Glance for where it lies.'
    )


class NotForThisUser(ImageError):
    """Glance refuses the user of this boot: others may fare better."""


class ImageGone(NotForThisUser, exception.ImageNotFound):
    """The image was deleted, or this user may not see it (any more).

    An ImageNotFound too, for on a resize Nova then fetches the disk from the
    host that the server comes from.
    """

    msg_fmt = (
        'Image %(image)s is gone: it was deleted, or its owner does not '
        'share it with this project any more.'
    )


class NotCopiedOnDemand(CopyError, NotForThisUser):
    """The image is not of those that boots have copied.

    :param whose: what the image is to this project
    """

    msg_fmt = (
        'The image is not at this site, and boots have no such images copied: '
        'it is %(whose)s (image %(image)s, store %(store)s). An administrator '
        'can have it copied ("openstack aggregate cache image"), or admit '
        'such images: [rbd_multistore] copy_on_demand.'
    )

    def __init__(self, image: str, store: str, whose: str | None) -> None:
        super().__init__(
            image, store, whose=_for_tenants(whose or "another's", 40)
        )


class CopyForbidden(CopyError, NotForThisUser):
    """Glance's policy ``copy_image`` refuses the request."""

    msg_fmt = (
        'Glance forbids the copy: policy copy_image does not admit this '
        'request (image %(image)s, store %(store)s). Check that it has '
        '"or service_roles:service", that [service_user] '
        'send_service_user_token is True, that its user has the role '
        'service, and that Keystone answers Glance.'
    )


class CopyOverQuota(CopyError, NotForThisUser):
    """The user's image quota is used up (413)."""

    msg_fmt = (
        'The image quota of this project is used up, so Glance refuses the '
        'copy (image %(image)s, store %(store)s): delete images or raise '
        'image_size_total.'
    )


class LocationsForbidden(NotForThisUser):
    """Glance shows this request no locations (policy fetch_image_location)."""

    msg_fmt = (
        'Glance hides where the image lies: policy fetch_image_location '
        'does not admit this request (image %(image)s). Check that it has '
        '"or service_roles:service", that [service_user] '
        'send_service_user_token is True, that its user has the role '
        'service, and that Keystone answers Glance.'
    )


class TokenRefused(NotForThisUser):
    """Glance refuses the user's token (401): expired or revoked.

    Or Keystone does not answer it: then Glance knows only tokens that it has
    had checked of late.
    """

    msg_fmt = (
        "Glance refuses the user's token: it has expired or was revoked, or "
        'Keystone does not answer Glance (image %(image)s). Log in again; for '
        'tokens that expire during a boot set [service_user] '
        'send_service_user_token in nova.conf, and give its user the role '
        'service.'
    )


class SecurityRefusal(ImageError):
    """A refusal that must not end in a download of the same bytes."""


class LocationRefused(SecurityRefusal):
    """The image points at an RBD image that is not its own."""

    msg_fmt = (
        'Image %(image)s is refused: one of its locations points at data '
        'that is not its own. Remove that location, or ask the operator '
        'about [rbd_multistore] other_glance_rbd_pools and '
        'trusted_clone_pools.'
    )


class HostError(exception.NovaException):
    """This host, or its site, cannot do it now: another host may."""


class HostStopping(HostError):
    """This nova-compute is being stopped."""

    msg_fmt = (
        'The nova-compute of this host is being stopped. What it was doing is '
        'to be done by another host, or again when it is back.'
    )


class ClusterUnreachable(HostError):
    """The local Ceph cluster does not answer, or not in time.

    :param reason: what librados or librbd says
    """

    msg_fmt = (
        'The Ceph cluster of this host cannot be used: %(reason)s. Check '
        'its health, and [libvirt] images_rbd_ceph_conf and rbd_user.'
    )

    def __init__(self, reason: object) -> None:
        super().__init__(reason=_for_tenants(reason, 80))


class ClusterRefused(ClusterUnreachable):
    """The local Ceph cluster does not admit our cephx user."""

    msg_fmt = (
        'The Ceph cluster of this host refuses our cephx user: %(reason)s. '
        'Check [libvirt] rbd_user, its key in the keyring of '
        'images_rbd_ceph_conf, and its caps: mon "profile rbd".'
    )


class PoolUnusable(HostError):
    """Nova's pool is missing, or its cephx user may not write to it."""

    msg_fmt = (
        'Pool %(pool)s of [libvirt] images_rbd_pool cannot be used: '
        '%(reason)s. Check that it exists, and the cephx caps of '
        '[libvirt] rbd_user: osd "profile rbd pool=%(pool)s".'
    )

    def __init__(self, pool: str, reason: object) -> None:
        super().__init__(pool=pool, reason=_for_tenants(reason, 60))


class DataPoolUnusable(PoolUnusable):
    """The data of Nova's disks goes to a pool that does not serve for it.

    Ceph's option ``rbd_default_data_pool`` says which: in ``ceph.conf``, in
    the cluster's configuration, or of Nova's pool.
    """

    msg_fmt = (
        "Data pool %(pool)s of Nova's disks cannot be used: %(reason)s. Check "
        'that it exists, and the cephx caps of [libvirt] rbd_user: osd '
        '"profile rbd pool=%(pool)s"; Ceph\'s rbd_default_data_pool names it.'
    )


class PoolUnreadable(HostError):
    """The image is in the local store, and we may not read the pool of it.

    :param pool: as it stands in the image's location, or that of its data
    """

    msg_fmt = (
        'Pool %(pool)s, where the image lies, cannot be read by Nova (image '
        '%(image)s). Check the cephx caps of [libvirt] rbd_user: osd '
        '"profile rbd-read-only pool=%(pool)s".'
    )

    def __init__(self, image: str, pool: str) -> None:
        super().__init__(image=image, pool=_for_tenants(pool, 60))


class DiskUnusable(HostError):
    """The name of the boot disk is taken by what may not be used or removed.

    :param reason: what is wrong with it
    """

    msg_fmt = (
        'Disk %(disk)s in pool %(pool)s is not usable: %(reason)s. Look at '
        'it (rbd info, rbd status); remove it (rbd rm %(pool)s/%(disk)s) '
        'only if no guest uses it or has written to it.'
    )

    def __init__(self, pool: str, disk: str, reason: object) -> None:
        super().__init__(pool=pool, disk=disk, reason=_for_tenants(reason, 60))


class DiskNotRemoved(DiskUnusable):
    """A disk that is to go is still there, whatever Nova has tried."""

    msg_fmt = (
        'Disk %(disk)s in pool %(pool)s cannot be removed: %(reason)s. Remove '
        'its snapshots (rbd snap ls %(pool)s/%(disk)s), or stop the client '
        '(rbd status), and repeat what was to remove it.'
    )


class DiskElsewhere(HostError):
    """A server that is to move has its disk in another cluster.

    :param disk: fsid of the cluster of the disk
    :param host: fsid of that of the host to which the server would go
    """

    msg_fmt = (
        'The disk is in Ceph cluster %(disk)s, the new host has %(host)s. '
        'Move the server within its cluster, or shelve and unshelve it; if '
        'that cluster is lost, see [rbd_multistore] evacuate_to_new_disk.'
    )

    def __init__(self, disk: str, host: str) -> None:
        super().__init__(disk=disk, host=host)


class DiskMissing(HostError):
    """A server that has moved, or is to move, does not find its disk.

    :param fsid: of the cluster of this host
    """

    msg_fmt = (
        'No disk %(disk)s in pool %(pool)s of Ceph cluster %(fsid)s. Move the '
        'server to where its disk is; if that is nowhere, see '
        '[rbd_multistore] evacuate_to_new_disk.'
    )

    def __init__(self, pool: str, disk: str, fsid: str) -> None:
        super().__init__(pool=pool, disk=disk, fsid=fsid)


class DiskStillOpen(HostError):
    """A server is to be evacuated whose guest may still run."""

    msg_fmt = (
        'A client has disk %(disk)s in pool %(pool)s open: the guest may run '
        'on, and two would destroy its file system. Fence its host (rbd '
        'status shows the address, ceph osd blocklist add), and evacuate '
        'again.'
    )

    def __init__(self, pool: str, disk: str) -> None:
        super().__init__(pool=pool, disk=disk)


class DiskOfAnotherCell(HostError):
    """A server comes from another cell of Nova's, and has a disk here.

    Both cells may have the same cluster. Nova takes the disks there for others
    than those here: in the end it removes the ones, and these are the same. Or
    an earlier move has left it: from here, a cell cannot be seen.
    """

    msg_fmt = (
        'Disk %(disk)s in pool %(pool)s is there already: left by an earlier '
        'resize, or of the cell that the server comes from. Hard-reboot the '
        'server there. If both cells have this Ceph cluster, resize it within '
        'its cell; if not, remove the disk (rbd rm).'
    )

    def __init__(self, pool: str, disk: str) -> None:
        super().__init__(pool=pool, disk=disk)


class ImportFailed(HostError):
    """A file did not become a disk in Nova's pool.

    :param reason: what the program ``rbd`` says, or why it does not run
    """

    msg_fmt = (
        'The program rbd did not make a disk from a file: %(reason)s (disk '
        '%(disk)s, pool %(pool)s). Check that it is there (ceph-common), and '
        'the health of the cluster.'
    )

    def __init__(self, pool: str, disk: str, reason: object) -> None:
        super().__init__(pool=pool, disk=disk, reason=_for_tenants(reason, 60))


class GlanceUnavailable(HostError):
    """No endpoint of Glance gave an answer.

    :param asked: how many were asked
    :param details: for the message of a derived class
    :ivar fault: what one of them said that is there and failed (5xx), with
        its status; None if none did
    :ivar wait: seconds until one may be asked again by its own word (header
        Retry-After), 0 if none has said so
    """

    msg_fmt = (
        'No glance-api answered (%(asked)s asked): see the log of '
        'nova-compute for what each said.'
    )

    def __init__(
        self,
        asked: int,
        fault: str | None = None,
        wait: float = 0.0,
        **details: object,
    ) -> None:
        super().__init__(asked=asked, **details)
        self.fault = fault
        self.wait = wait


class KeystoneUnavailable(GlanceUnavailable):
    """Glance cannot be asked, for Keystone gives no token at the moment.

    :param options: that say whose token
    """

    msg_fmt = (
        'Keystone does not answer, so that the identity of %(options)s has no '
        'token to ask Glance with: see the log of nova-compute.'
    )

    def __init__(self, options: str) -> None:
        super().__init__(asked=0, options=options)


class StoreUnavailable(GlanceUnavailable):
    """No endpoint answered of those that a copy could be requested of.

    :param asked: how many were asked
    :param unfit: how many of them lack the store, or each that holds the image
    """

    msg_fmt = (
        'No glance-api that could copy to store %(store)s answered: %(unfit)s '
        'of %(asked)s lack that store, or each that holds the image; see the '
        'log of nova-compute for what the others said.'
    )

    def __init__(
        self,
        store: str,
        asked: int,
        unfit: int,
        fault: str | None = None,
        wait: float = 0.0,
    ) -> None:
        super().__init__(asked, fault, wait, store=store, unfit=unfit)


class RequestFailed(HostError):
    """Glance fails at each request for a copy (5xx), but tells of the image.

    :param fault: what it says, with its status
    """

    msg_fmt = (
        'Glance fails at each request for a copy: %(fault)s (image '
        '%(image)s, store %(store)s). It answers other questions: see the '
        'log of glance-api.'
    )

    def __init__(self, image: str, store: str, fault: str) -> None:
        super().__init__(
            image=image, store=store, fault=_for_tenants(fault, 80)
        )


class IdentityUnusable(HostError):
    """Glance cannot be asked in the name of an identity that is configured.

    :param options: that say which it is
    :param reason: what Keystone or Glance says
    """

    msg_fmt = (
        'The identity of %(options)s is not usable: %(reason)s. Check its '
        'options and roles; the log of nova-compute has the rest.'
    )

    def __init__(self, options: str, reason: object) -> None:
        super().__init__(options=options, reason=_for_tenants(reason, 120))


class RegionAmbiguous(HostError):
    """Several regions have a Glance, and none is configured.

    :param regions: their names
    """

    msg_fmt = (
        'Glance is in several regions (%(regions)s), and nova.conf does not '
        "say which is this host's: set [glance] region_name."
    )

    def __init__(self, regions: Iterable[str]) -> None:
        super().__init__(
            regions=_for_tenants(
                ', '.join(
                    sorted(
                        region or 'one without a name' for region in regions
                    )
                ),
                60,
            )
        )


class StoreUnknown(HostError):
    """Glance has no store of a configured name."""

    msg_fmt = (
        'Glance has no store named %(store)s: check [libvirt] '
        'images_rbd_glance_store_name, or [rbd_multistore] '
        'snapshot_copy_stores, against "glance stores-info".'
    )

    def __init__(self, store: str) -> None:
        super().__init__(store=store)


class SourceOutOfReach(HostError):
    """No glance-api with our store has a store that holds the image.

    :param held: names of the stores that hold it
    :param offered: names of the stores of each glance-api
    """

    msg_fmt = (
        'No glance-api here can read the image: it lies in %(held)s, and they '
        'have %(offered)s. At the central site, copy it to one of these: '
        '"glance image-import %(image)s --import-method copy-image --stores '
        '..." (wanted in store %(store)s).'
    )

    def __init__(
        self,
        image: str,
        store: str,
        held: Iterable[str],
        offered: Iterable[Iterable[str]],
    ) -> None:
        super().__init__(
            image=image,
            store=store,
            held=_for_tenants(', '.join(sorted(held)), 60),
            offered=_for_tenants(
                ' or '.join(
                    sorted(
                        {', '.join(sorted(each)) or 'none' for each in offered}
                    )
                ),
                60,
            ),
        )


class StoreNotLocal(HostError):
    """The store holds the image, but not in the local Ceph cluster.

    :param local: fsid of the local cluster
    :param found: fsids of the clusters that hold the image
    """

    msg_fmt = (
        'Store %(store)s is not the Ceph cluster of this host, which is '
        '%(local)s; image %(image)s lies in %(found)s. Check [libvirt] '
        'images_rbd_glance_store_name and images_rbd_ceph_conf.'
    )

    def __init__(
        self, image: str, store: str, local: str, found: frozenset[str]
    ) -> None:
        super().__init__(
            image=image,
            store=store,
            local=local,
            found=_for_tenants(
                ', '.join(sorted(found)) or 'no Ceph cluster', 120
            ),
        )
