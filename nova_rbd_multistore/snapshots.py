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

"""Snapshots of this host's servers: which stores of Glance get them."""

from collections.abc import Callable
from typing import IO, Any

from nova import context as nova_context
from nova import objects
from nova.compute import task_states
import nova.conf
from nova.image import glance as nova_glance
from oslo_log import log as logging

from nova_rbd_multistore import beside
from nova_rbd_multistore import disks
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import host
from nova_rbd_multistore import pace
from nova_rbd_multistore import text

CONF = nova.conf.CONF
LOG = logging.getLogger(__name__)

#: Bytes.
_SECTOR = 512

#: Seconds between two looks at a disk.
AGAIN = 1.0

#: Of a server whose snapshot was made for its user. That of a resize to
#: another cell is gone when the resize is done.
_FOR_THE_USER = (
    task_states.IMAGE_UPLOADING,
    task_states.SHELVING_IMAGE_UPLOADING,
)


class Images(nova_glance.API):
    """Nova's image API, whose uploads begin at the beginning.

    Nova tries an upload again, from where the attempt before has left off:
    Glance then has an active image without its first bytes, and Nova removes
    the disk of a server that it has shelved so.

    For the one caller that updates images: Nova's driver, which fills the
    image of a snapshot so.
    """

    def update(
        self,
        context: nova_context.RequestContext,
        id_or_uri: str,
        image_info: dict[str, Any],
        data: Any = None,
        purge_props: bool = False,
    ) -> dict[str, Any]:
        """Fill an image with data, or with a location.

        :param data: a file, at its beginning
        """
        images = nova_glance.GlanceImageServiceV2(
            self._client(context, id_or_uri)
        )
        updated: dict[str, Any] = images.update(
            context, id_or_uri, image_info, data, purge_props
        )
        return updated

    def _client(
        self, context: nova_context.RequestContext, image_id: str
    ) -> '_Client':
        """What talks to Glance about one image."""
        del context, image_id
        return _Client()


class SiteImages(Images):
    """The same, whose updates put data into the store of this site.

    At a glance-api that has the store: it alone could take the data, or know
    the location for one of that store.
    """

    def _client(
        self, context: nova_context.RequestContext, image_id: str
    ) -> '_Client':
        this_host = host.this_host()
        store = this_host.finder.store
        try:
            images = this_host.access.as_user_of(context)
            return _Client(images.endpoint_with(store, image_id), store)
        except (exceptions.ImageError, exceptions.HostError) as exc:
            reason = exc.with_traceback(None)
        # Not in the handler: oslo.log would say it twice. The user's data
        # comes first, wherever it goes.
        LOG.warning(
            'Snapshot %s may get into another store than %s: %s',
            image_id,
            store,
            reason,
        )
        return _Client()


class _Client(nova_glance.GlanceClientWrapper):
    """Nova's client of Glance, for one update of one image.

    :param url: of the glance-api to ask; None for those that Nova chooses
    :param store: into which uploads go; None for the one that Glance chooses
    """

    def __init__(
        self, url: str | None = None, store: str | None = None
    ) -> None:
        # Not for that URL: then Nova would make one client for all attempts.
        super().__init__()
        self._url = url
        self._store = store
        self._upload: IO[bytes] | None = None

    def call(
        self,
        context: nova_context.RequestContext,
        version: int,
        method: str,
        controller: str | None = None,
        args: Any = None,
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if method == 'upload':
            _, self._upload = args
            if self._store is not None:
                kwargs = {**(kwargs or {}), 'backend': self._store}
        return super().call(context, version, method, controller, args, kwargs)

    def _create_onetime_client(
        self, context: nova_context.RequestContext, version: int
    ) -> Any:
        """A client for one attempt; called by Nova before each."""
        if self._upload is not None:
            self._upload.seek(0)
        if self._url is not None:
            return self._create_static_client(context, self._url, version)
        return super()._create_onetime_client(context, version)


def require_whole(
    context: nova_context.RequestContext,
    instance: 'objects.Instance',
    image_id: str,
) -> None:
    """Check that the image of a snapshot that was just made has the disk.

    Nova takes Glance's word for that, which for a direct snapshot is that it
    will see to it. Then it removes the disk, if the server is shelved.

    :raises SnapshotIncomplete: if not
    :raises ImageError: if the image is gone
    :raises HostError: if Glance does not answer; or our cluster, unless the
        server goes on with its disk, whatever becomes of the image
    """
    this_host = host.this_host()
    images = this_host.access.as_user_of(context)
    finder = this_host.finder
    record = finder.wait_until_active(images, image_id)
    if not record.active:
        raise exceptions.SnapshotIncomplete(
            image_id,
            f'it is {record.status}, not active, after '
            f'{CONF.libvirt.images_rbd_glance_copy_timeout} s',
        )
    # What else it may have been made of, or into, has another size.
    if record.disk_format != 'raw':
        return
    try:
        size = _size_in_time(f'{instance.uuid}_disk')
    except exceptions.HostError as exc:
        if instance.task_state != task_states.IMAGE_UPLOADING:
            # Nova is to remove the disk, or to go on with the image.
            raise
        reason = str(exc)
    else:
        if size is not None and (
            record.size is None or _sectors(record.size) != _sectors(size)
        ):
            raise exceptions.SnapshotIncomplete(
                image_id, f'it has {record.size} bytes, and the disk {size}'
            )
        return
    # Not in the handler: oslo.log would say it twice.
    LOG.warning(
        'Cannot see whether snapshot %(image)s has the whole disk: %(reason)s '
        'It has %(size)s bytes, and is kept',
        {'image': image_id, 'reason': reason, 'size': record.size},
        instance=instance,
    )


def _size_in_time(disk: str) -> int | None:
    """Bytes of a disk, None if it is not in our pool.

    :raises HostError: if that cannot be seen for a while
    """
    time = host.this_host().time
    until = time.clock() + pace.SETTLES_IN
    while True:
        try:
            return _size(disk)
        except exceptions.ClusterUnreachable:
            if time.clock() >= until:
                raise
        time.sleep(AGAIN)


def _size(disk: str) -> int | None:
    cluster, pool = host.this_host().cluster, CONF.libvirt.images_rbd_pool
    if not cluster.has_image(pool, disk):
        return None
    with cluster.errors(pool, disk):
        size: int = disks.RBDDriver(cluster).size(disk)
        return size


def _sectors(size: int) -> int:
    """How many sectors so many bytes fill; qemu-img writes whole ones."""
    return -(-size // _SECTOR)


def wait_until_free(
    context: nova_context.RequestContext,
    image_id: str,
    check: Callable[[], None],
) -> None:
    """Return when the image of a server that was unshelved can be deleted.

    Nova is about to do that; the server runs, whatever is said here. From an
    error, Nova would conclude that it does not, and start it on another host.

    :param check: raises if the server is being deleted
    """
    this_host = host.this_host()
    try:
        images = this_host.access.as_user_of(context)
        this_host.finder.wait_until_free(images, image_id, check)
    except Exception as exc:
        LOG.info(
            'Not waiting until image %s is copied, before it is deleted: %s',
            image_id,
            text.printable(exc, 120),
        )


def copy_on(
    context: nova_context.RequestContext,
    instance: 'objects.Instance',
    image_id: str,
) -> None:
    """Begin to copy a snapshot that was just made into further stores.

    :param instance: the server, in the state in which its snapshot was made
    """
    stores = CONF.rbd_multistore.snapshot_copy_stores
    if not stores or instance.task_state not in _FOR_THE_USER:
        return
    this_host = host.this_host()
    try:
        images = this_host.access.as_user_of(context)
    except exceptions.HostError as exc:
        reason = exc.with_traceback(None)
    else:
        transfer = this_host.finder.make_transfer(
            images, image_id, stores, instance.uuid
        )
        beside.start(transfer.run)
        return
    LOG.error(
        'Cannot copy snapshot %s to any store: %s',
        image_id,
        reason,
        instance=instance,
    )
