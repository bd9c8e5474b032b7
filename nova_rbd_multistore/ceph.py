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

"""The local Ceph cluster: the only module that imports rados and rbd.

One connection per process, opened when first needed and opened anew when the
cluster has dropped it. All calls block; under eventlet, Nova's glue has them
run in native threads. They may come from any number of threads at once.
"""

from collections.abc import Iterator
import contextlib
import errno
import json
from typing import Any

from oslo_log import log as logging
import rados
import rbd

from nova_rbd_multistore import arrival
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import location
from nova_rbd_multistore import rbd_class
from nova_rbd_multistore import text

LOG = logging.getLogger(__name__)

#: Name of the lock that makes an object a lease.
LEASE = 'lease'

#: Flag of a lock: whoever has it may take it again (LIBRADOS_LOCK_FLAG_RENEW,
#: which librados' bindings do not name).
_MAY_RENEW = 1


class SourceMissing(Exception):
    """There is no such snapshot, or we may not read it: try another.

    :param reason: may repeat the source's names, as somebody has set them
    """

    def __init__(self, reason: object) -> None:
        super().__init__(text.printable(reason))


class SourceDenied(SourceMissing):
    """We may not read it."""


class DiskExists(Exception):
    """The boot disk is there already."""


class Cluster:
    """The Ceph cluster of this host, as one cephx user.

    :param conffile: path of ceph.conf, None or '' for Ceph's own search
    :param user: cephx user without ``client.``
    :param connect_timeout: seconds until a connection is given up
    :param options: further options of Ceph for our connection
    """

    def __init__(
        self,
        conffile: str | None,
        user: str | None,
        connect_timeout: int,
        options: dict[str, str],
    ) -> None:
        self._conffile = conffile
        self._user = user
        self._connect_timeout = connect_timeout
        self._options = {
            'client_mount_timeout': str(connect_timeout),
            **options,
        }
        self._handles: dict[str, Any] = {}

    def fsid(self) -> str:
        """The cluster's id.

        :raises ClusterUnreachable: if it does not answer
        """
        with self.errors():
            return str(self._handle().get_fsid())

    def open_pool(self, pool: str) -> tuple[Any, Any]:
        """Our connection, and an I/O context of ``pool`` for the caller.

        The caller closes the context, and leaves the connection alone.

        :raises PoolUnusable: if there is no such pool
        :raises ClusterUnreachable: if the cluster does not answer
        """
        with self.errors():
            handle = self._handle()
            try:
                return handle, handle.open_ioctx(pool)
            except rados.ObjectNotFound as exc:
                raise exceptions.PoolUnusable(pool, 'no such pool') from exc

    def monitors(self) -> list[tuple[str, str]]:
        """Host (IPv6 in brackets) and port of each monitor of the cluster.

        :raises ClusterUnreachable: if it does not answer
        """
        with self.errors():
            code, answer, error = self._handle().mon_command(
                json.dumps({'prefix': 'mon dump', 'format': 'json'}), b''
            )
        if code:
            raise exceptions.ClusterUnreachable(error or f'error {code}')
        # "192.0.2.1:6789/0", "[2001:db8::1]:6789/0": address, port, nonce.
        addresses = [
            monitor['addr'].rpartition('/')[0].rpartition(':')
            for monitor in json.loads(answer)['mons']
        ]
        return [(host, port) for host, _, port in addresses]

    def has_image(self, pool: str, name: str) -> bool:
        """Whether there is an RBD image of that name in ``pool``.

        To try and open it would take 20 times as long.

        :raises PoolUnusable: if there is no such pool, or not for us
        :raises ClusterUnreachable: if the cluster fails, or is too slow
        """
        with self._own_pool(pool) as ioctx:
            try:
                ioctx.stat(f'rbd_id.{name}')
            except rados.ObjectNotFound:
                return False
            return True

    def clone(
        self, source: location.RbdLocation, pool: str, name: str
    ) -> None:
        """Make ``pool/name`` a copy-on-write clone of ``source``.

        :raises SourceMissing: if the source is not there
        :raises SourceDenied: if it is not there for us
        :raises DiskExists: if ``pool/name`` is there
        :raises PoolUnusable: if ``pool`` is missing or we may not write to it
        :raises ClusterUnreachable: if the cluster fails, or is too slow
        """
        with self.errors(), contextlib.ExitStack() as stack:
            handle = self._handle()
            try:
                parent = stack.enter_context(handle.open_ioctx(source.pool))
            except rados.ObjectNotFound as exc:
                raise SourceMissing(f'no pool {source.pool}') from exc
            try:
                child = stack.enter_context(handle.open_ioctx(pool))
            except rados.ObjectNotFound as exc:
                raise exceptions.PoolUnusable(pool, 'no such pool') from exc
            try:
                rbd.RBD().clone(
                    parent,
                    source.image,
                    source.snapshot,
                    child,
                    name,
                    features=_default_features(handle),
                )
            except rbd.ImageExists as exc:
                raise DiskExists(f'{pool}/{name}') from exc
            except (rbd.ImageNotFound, rbd.InvalidArgument) as exc:
                # EINVAL: the snapshot is not protected, so not for clones.
                raise SourceMissing(exc) from exc
            except rbd.PermissionError as exc:
                if _readable(parent, source):
                    raise exceptions.PoolUnusable(pool, exc) from exc
                raise SourceDenied(exc) from exc

    def hold_lease(
        self, pool: str, name: str, owner: str, seconds: int
    ) -> bool:
        """Take or renew a lease; return whether ``owner`` has it now.

        A lease is a RADOS lock on an empty object, which the OSD lets go of
        when its time is over.

        :param name: of the object
        :param owner: one of this process and of this connection
        :raises PoolUnusable: if there is no such pool, or not for us
        :raises ClusterUnreachable: if the cluster fails, or is too slow
        """
        with self._own_pool(pool) as ioctx:
            try:
                ioctx.lock_exclusive(
                    name,
                    LEASE,
                    owner,
                    desc='polls Glance for its site',
                    duration=seconds,
                    flags=_MAY_RENEW,
                )
            except rados.ObjectBusy:
                return False
            return True

    def release_lease(self, pool: str, name: str) -> None:
        """Remove a lease that is ours, with its object.

        :raises PoolUnusable: if there is no such pool, or not for us
        :raises ClusterUnreachable: if the cluster fails, or is too slow
        """
        # Somebody may have cleaned up.
        with (
            self._own_pool(pool) as ioctx,
            contextlib.suppress(rados.ObjectNotFound),
        ):
            # Not unlock, then remove: the lock may be another's then.
            ioctx.remove_object(name)

    @contextlib.contextmanager
    def _own_pool(self, pool: str) -> Iterator[Any]:
        """An I/O context of a pool that is Nova's own, closed at the end."""
        with self.errors():
            _, ioctx = self.open_pool(pool)
            try:
                with ioctx:
                    yield ioctx
            except rados.PermissionError as exc:
                raise exceptions.PoolUnusable(pool, exc) from exc

    def arrival(self, pool: str, image: str) -> arrival.Arrival:
        """How far a copy of ``image`` into ``pool`` has come.

        The image is not opened: that would take ten times as long, and many
        hosts may look at it, twice a second.

        :raises ArrivalsHidden: if that cannot be seen
        :raises ClusterUnreachable: if the cluster fails, or is too slow
        """
        with self.errors(), contextlib.ExitStack() as stack:
            handle = self._handle()
            try:
                ioctx = stack.enter_context(handle.open_ioctx(pool))
            except rados.ObjectNotFound as exc:
                raise arrival.ArrivalsHidden(f'no pool {pool}') from exc
            try:
                return _arrival(ioctx, image)
            except rados.ObjectNotFound:
                return arrival.ABSENT
            except rados.PermissionError as exc:
                raise arrival.ArrivalsHidden(
                    f'no right to read {pool}'
                ) from exc
            except ValueError as exc:
                raise arrival.ArrivalsHidden(
                    f'RBD image {pool}/{image}: not understood: {exc}'
                ) from exc

    @contextlib.contextmanager
    def errors(self, pool: str | None = None) -> Iterator[None]:
        """The door between librados and librbd, and us.

        :param pool: the one that is worked on, if it is Nova's own
        :raises PoolUnusable: if we may not do that in ``pool``
        :raises ClusterRefused: if the cluster does not admit us
        :raises ClusterUnreachable: for any other error of theirs
        """
        try:
            yield
        except (rados.ConnectionShutdown, rbd.ConnectionShutdown) as exc:
            # Our handle is dead for good (blocklisted, say). Threads that
            # still use it keep it alive; it shuts down with the last.
            self._handles.pop('current', None)
            raise exceptions.ClusterUnreachable(exc) from exc
        except (rados.PermissionError, rados.PermissionDeniedError) as exc:
            raise exceptions.ClusterRefused(exc) from exc
        except (rados.Error, rbd.Error) as exc:
            if pool and isinstance(exc, rbd.PermissionError):
                raise exceptions.PoolUnusable(pool, exc) from exc
            raise exceptions.ClusterUnreachable(exc) from exc

    def _handle(self) -> Any:
        handle = self._handles.get('current')
        if handle is not None:
            return handle
        # Two threads may both connect; the first to be done wins. A lock
        # would have to suit green and native threads alike.
        return self._handles.setdefault('current', self._connect())

    def _connect(self) -> Any:
        handle = rados.Rados(
            conffile=self._conffile or rados.Rados.DEFAULT_CONF_FILES,
            rados_id=self._user or None,
            conf=self._options,
        )
        try:
            handle.connect(timeout=self._connect_timeout)
        except rados.Error:
            handle.shutdown()
            raise
        return handle


def _default_features(handle: Any) -> int:
    features = handle.conf_get('rbd_default_features')
    return int(features or 0) or int(rbd.RBD_FEATURE_LAYERING)


def _readable(ioctx: Any, source: location.RbdLocation) -> bool:
    try:
        with rbd.Image(
            ioctx, source.image, snapshot=source.snapshot, read_only=True
        ):
            return True
    except (rbd.PermissionError, rbd.ImageNotFound):
        return False


def _arrival(ioctx: Any, image: str) -> arrival.Arrival:
    """Ask the OSDs about an image, by methods of their class ``rbd``.

    :raises ValueError: if they cannot answer, or not in a way we understand
    """

    def ask(
        name: str, method: str, argument: bytes = b'', length: int = 8192
    ) -> bytes:
        try:
            _, answer = ioctx.execute(name, 'rbd', method, argument, length)
        except rados.OSError as exc:
            # They do not know the method, or its answer is too long.
            if exc.errno in (errno.EOPNOTSUPP, errno.ERANGE):
                raise ValueError(f'{method}: {exc}') from exc
            raise
        return bytes(answer)

    image_id = rbd_class.text(ask(f'rbd_id.{image}', 'get_id'))
    header = f'rbd_header.{image_id}'
    for snapshot in rbd_class.snapshots(ask(header, 'get_snapcontext')):
        name = ask(header, 'get_snapshot_name', rbd_class.number(snapshot))
        if rbd_class.text(name) == arrival.GLANCE_SNAPSHOT:
            return arrival.Arrival(exists=True, complete=True)
    size = rbd_class.size(
        ask(header, 'get_size', rbd_class.number(rbd_class.NO_SNAPSHOT))
    )
    try:
        object_map = ask(
            f'rbd_object_map.{image_id}',
            'object_map_load',
            length=size.object_map_length,
        )
    except rados.ObjectNotFound:
        # Without one, Ceph would look at every object.
        return arrival.Arrival(exists=True)
    written = rbd_class.written_objects(object_map) * size.of_object
    return arrival.Arrival(exists=True, allocated=min(written, size.whole))
