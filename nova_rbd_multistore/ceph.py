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
import dataclasses
import json
from typing import Any

from oslo_log import log as logging
import rados
import rbd

from nova_rbd_multistore import exceptions
from nova_rbd_multistore import location
from nova_rbd_multistore import text

LOG = logging.getLogger(__name__)

#: The snapshot that Glance makes, and protects, when an image is complete.
GLANCE_SNAPSHOT = 'snap'


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


@dataclasses.dataclass(frozen=True, slots=True)
class Version:
    """Tells a state of an RBD image from every later one.

    That of three objects, by RBD's own names for them: what Ceph counts with
    each write to an object.

    :ivar id: of the image, within its pool
    :ivar name: of ``rbd_id.<name>``, which says whose name it is
    :ivar header: of ``rbd_header.<id>``, which names its snapshots
    :ivar object_map: of ``rbd_object_map.<id>``, which says what is written
    """

    id: str
    name: int | None = None
    header: int | None = None
    object_map: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Arrival:
    """How much of an image has arrived in the local cluster.

    :ivar exists: whether there is an RBD image of that name at all
    :ivar complete: whether it has the snapshot that clones are made from
    :ivar allocated: bytes of its objects, None where that is costly to know
    :ivar version: of the image that was looked at
    """

    exists: bool
    complete: bool = False
    allocated: int | None = None
    version: Version | None = dataclasses.field(default=None, compare=False)


ABSENT = Arrival(exists=False)


class ArrivalsHidden(Exception):
    """We may not read the pool of Glance, or it is not there."""


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
        with self.errors():
            _, ioctx = self.open_pool(pool)
            try:
                with ioctx:
                    return _is_named(ioctx, name)
            except rados.PermissionError as exc:
                raise exceptions.PoolUnusable(pool, exc) from exc

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

    def arrival(
        self, pool: str, image: str, before: Arrival = ABSENT
    ) -> Arrival:
        """How far a copy of ``image`` into ``pool`` has come.

        To open an RBD image takes more than ten times as long as to see that
        it is not there, or as it was.

        :param before: what the look before this one has shown
        :raises ArrivalsHidden: if that cannot be seen
        :raises ClusterUnreachable: if the cluster fails, or is too slow
        """
        with self.errors(), contextlib.ExitStack() as stack:
            handle = self._handle()
            try:
                ioctx = stack.enter_context(handle.open_ioctx(pool))
            except rados.ObjectNotFound as exc:
                raise ArrivalsHidden(f'no pool {pool}') from exc
            try:
                return _arrival(ioctx, image, before)
            except rbd.ImageNotFound:
                return ABSENT
            except (rbd.PermissionError, rados.PermissionError) as exc:
                raise ArrivalsHidden(f'no right to read {pool}') from exc

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


def _arrival(ioctx: Any, image: str, before: Arrival) -> Arrival:
    version = None
    if before.version is not None:
        # Asked for before the look: what changes during it is seen next time.
        version = _version(ioctx, image, before.version.id)
        # The first look knows of none yet: nor does this one if all is gone.
        if version == before.version and version.name is not None:
            return before
    elif not _is_named(ioctx, image):
        return ABSENT
    with rbd.Image(ioctx, image, read_only=True) as opened:
        if version is None or version.id != opened.id():
            version = Version(opened.id())
        if any(s['name'] == GLANCE_SNAPSHOT for s in opened.list_snaps()):
            return Arrival(exists=True, complete=True, version=version)
        return Arrival(
            exists=True, allocated=_allocated(opened), version=version
        )


def _is_named(ioctx: Any, image: str) -> bool:
    return _object_version(ioctx, f'rbd_id.{image}') is not None


def _version(ioctx: Any, image: str, image_id: str) -> Version:
    return Version(
        image_id,
        _object_version(ioctx, f'rbd_id.{image}'),
        _object_version(ioctx, f'rbd_header.{image_id}'),
        _object_version(ioctx, f'rbd_object_map.{image_id}'),
    )


def _object_version(ioctx: Any, name: str) -> int | None:
    try:
        ioctx.stat(name)
    except rados.ObjectNotFound:
        return None
    return int(ioctx.get_last_version())


def _allocated(opened: Any) -> int | None:
    """Bytes of the objects written so far, from the image's object map.

    Without an object map, Ceph would look at every object: not twice a
    second, please.
    """
    if not opened.features() & rbd.RBD_FEATURE_FAST_DIFF:
        return None
    extents: list[int] = []

    def count(_offset: int, length: int, exists: bool) -> None:
        if exists:
            extents.append(length)

    opened.diff_iterate(0, opened.size(), None, count, whole_object=True)
    return sum(extents)
