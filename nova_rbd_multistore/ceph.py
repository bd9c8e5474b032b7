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

One connection per process, opened when first needed and opened anew when it
has failed; only operations that may take long have each their own. All calls
block; under eventlet, Nova's glue has them run in native threads. They may
come from any number of threads at once.
"""

from collections.abc import Callable, Iterator, Mapping
import contextlib
import dataclasses
import errno
import json
import time
from typing import Any

from oslo_log import log as logging
import rados
import rbd

from nova_rbd_multistore import arrival
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import handle as handles
from nova_rbd_multistore import location
from nova_rbd_multistore import monmap
from nova_rbd_multistore import rbd_class
from nova_rbd_multistore import remains
from nova_rbd_multistore import text

LOG = logging.getLogger(__name__)

#: Name of the lock that makes an object a lease.
LEASE = 'lease'

#: How much of a disk is looked at in one go, to see whether it was written to:
#: that of a guest was, in its first GiB.
_LOOK = 1 << 30

#: The object that has the names of a pool's images, and their ids.
_DIRECTORY = 'rbd_directory'

#: Flag of a lock: whoever has it may take it again (LIBRADOS_LOCK_FLAG_RENEW,
#: which librados' bindings do not name).
_MAY_RENEW = 1

#: The connection does not work any more: the monitors have moved, say, or the
#: cluster has blocklisted it.
_LOST = {errno.ETIMEDOUT, errno.ESHUTDOWN, errno.ENOTCONN}

#: The key or its capabilities do not suffice. A connection keeps those that it
#: was opened with.
_REFUSED = {errno.EPERM, errno.EACCES}

#: What an operation on a disk meets in the disk, with the cluster well.
_OF_THE_DISK = (
    rbd.ImageBusy,
    rbd.ImageExists,
    rbd.ImageHasSnapshots,
    rbd.ImageNotFound,
    rbd.InvalidArgument,
)

#: Snapshots that keep no disk: librbd removes them with it.
_IN_NO_WAY = {
    rbd.RBD_SNAP_NAMESPACE_TYPE_MIRROR,
    rbd.RBD_SNAP_NAMESPACE_TYPE_TRASH,
}

_DATA_POOL_OPTION = 'rbd_default_data_pool'

#: There is none of that name, for all of an image's are longer.
_NO_OBJECT = 'rbd_data.nova-rbd-multistore'

_Proof = tuple[int, tuple[str, ...]]


class SourceMissing(Exception):
    """There is no such snapshot, or we may not read it: try another.

    :param reason: may repeat the source's names, as somebody has set them
    """

    def __init__(self, reason: object) -> None:
        super().__init__(text.printable(reason))


class SourceDenied(SourceMissing):
    """We may not read it.

    :ivar pool: the one that we may not read: its own, or that of its data
    """

    def __init__(self, pool: str, reason: object) -> None:
        super().__init__(reason)
        self.pool = pool


class DiskExists(Exception):
    """There is a disk of that name already."""


class DiskInUse(Exception):
    """A client has the disk open, or it has a snapshot."""


@dataclasses.dataclass(frozen=True)
class Space:
    """Bytes, as the program ``ceph df`` tells them.

    :ivar total: of the whole cluster
    :ivar free: that may yet be written to a pool, once for all its replicas
    :ivar used: that the pool takes
    """

    total: int
    free: int
    used: int


@dataclasses.dataclass(frozen=True)
class Pool:
    """A pool that somebody works in.

    :ivar ioctx: its I/O context
    :ivar loan: the connection that this is of
    """

    ioctx: Any
    loan: handles.Loan[Any]

    @property
    def connection(self) -> Any:
        return self.loan.handle


class Cluster:
    """The Ceph cluster of this host, as one cephx user.

    :param conffile: path of ceph.conf, None or '' for Ceph's own search
    :param user: cephx user without ``client.``
    :param connect_timeout: seconds until a connection is given up
    :param options: further options of Ceph for our connection
    :param patient_options: those that differ for operations that may take long
    :param clock: in seconds, by which refusals are believed
    """

    def __init__(
        self,
        conffile: str | None,
        user: str | None,
        connect_timeout: int,
        options: Mapping[str, str],
        patient_options: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._conffile = conffile
        self._user = user
        self._connect_timeout = connect_timeout
        self._options = {
            'client_mount_timeout': str(connect_timeout),
            **options,
        }
        self._patient_options = {**self._options, **(patient_options or {})}
        self._shared: handles.SharedHandle[Any] = handles.SharedHandle(
            lambda: self._connect(self._options),
            lambda handle: handle.shutdown(),
            clock,
        )
        #: What was seen to be allowed: connection by its number, and what.
        self._proven: set[_Proof] = set()
        self._monitors: list[tuple[str, str]] = []

    @property
    def options(self) -> dict[str, str]:
        """Those of Ceph that our connection is limited by."""
        return dict(self._options)

    def close(self) -> None:
        """Shut all connections down, for good, whoever works with them.

        The exit of a process takes OpenSSL from under librados' threads. One
        that shakes hands with a daemon at that moment crashes it: 15 of 3,900
        processes, seen on Ceph 16, that ended just after they had connected.
        """
        self._shared.end()

    def connections_given_up(self) -> dict[str, int]:
        """How many were replaced, by reason: ``lost``, ``refused``."""
        return {
            verdict.name.lower(): count
            for verdict, count in self._shared.given_up.items()
        }

    def fsid(self) -> str:
        """The cluster's id.

        :raises ClusterUnreachable: if it does not answer
        """
        with self._connection() as connection:
            return str(connection.get_fsid())

    def open_pool(self, pool: str, *, patient: bool = False) -> Pool:
        """A pool of Nova's to work in, until :meth:`close_pool`.

        :param patient: whether an operation may take long, and is better late
            than broken off. It then has a connection of its own
        :raises PoolUnusable: if there is no such pool
        :raises ClusterUnreachable: if the cluster does not answer
        """
        with self.errors():
            loan = (
                self._shared.take_own(
                    lambda: self._connect(self._patient_options)
                )
                if patient
                else self._shared.take()
            )
            try:
                return Pool(_open(loan.handle, pool), loan)
            except BaseException as exc:
                self._shared.give_back(loan, _verdict(exc))
                raise

    def close_pool(
        self, pool: Pool, failure: BaseException | None = None
    ) -> None:
        """End the work in a pool.

        :param failure: what has gone wrong, which the connection may be the
            reason of
        """
        pool.ioctx.close()
        self._shared.give_back(pool.loan, _verdict(failure))

    def monitors(self) -> list[tuple[str, str]]:
        """Host (IPv6 in brackets) and port of each monitor of the cluster.

        :raises ClusterUnreachable: if it does not answer
        """
        try:
            found = monmap.monitors(self._ask_monitors('mon dump'))
        except ValueError as exc:
            raise exceptions.ClusterUnreachable(exc) from exc
        self._monitors = found
        return found

    def known_monitors(self) -> list[tuple[str, str]]:
        """The same, or what they were when the cluster last answered.

        :raises ClusterUnreachable: if it does not, and never has
        :raises ClusterRefused: if it does, and not to us
        """
        try:
            return self.monitors()
        except exceptions.ClusterRefused:
            raise
        except exceptions.ClusterUnreachable as exc:
            if not self._monitors:
                raise
            reason = str(exc)
        # Not in the handler: oslo.log would say it twice.
        LOG.warning(
            'Cannot ask where the monitors are: %s A disk gets the addresses '
            'that they had last',
            reason,
        )
        return self._monitors

    def space(self, pool: str) -> Space:
        """How much fits into the cluster, and into ``pool``.

        :raises PoolUnusable: if there is no such pool
        :raises ClusterUnreachable: if the cluster does not answer
        """
        answer = json.loads(self._ask_monitors('df'))
        for found in answer['pools']:
            if found['name'] == pool:
                return Space(
                    total=answer['stats']['total_bytes'],
                    free=found['stats']['max_avail'],
                    used=found['stats']['bytes_used'],
                )
        raise exceptions.PoolUnusable(pool, 'no such pool')

    def clone_version(self) -> int:
        """Of which version clones are: one of 2 outlives its image's name.

        :raises ClusterUnreachable: if the cluster does not answer
        """
        with self._connection() as connection:
            configured = connection.conf_get('rbd_default_clone_format')
        if configured in ('1', '2'):
            return int(configured)
        # A word on a line of its own, whatever format is asked for.
        answer = self._ask_monitors('osd get-require-min-compat-client')
        # Ceph's releases go by the alphabet.
        return 2 if answer.strip() >= b'mimic' else 1

    def _ask_monitors(self, prefix: str) -> bytes:
        """What the program ``ceph`` would say, which waits for ever."""
        with self._connection() as connection:
            code, answer, error = connection.mon_command(
                json.dumps({'prefix': prefix, 'format': 'json'}), b''
            )
            if code:
                kind = (
                    rados.PermissionDeniedError
                    if -code in _REFUSED
                    else rados.OSError
                )
                raise kind(error or prefix, errno=-code)
        return bytes(answer)

    def has_image(self, pool: str, name: str) -> bool:
        """Whether there is an RBD image of that name in ``pool``.

        Without opening it, which is more work (:mod:`rbd_class`).

        :raises PoolUnusable: if there is no such pool, or not for us
        :raises ClusterUnreachable: if the cluster fails, or is too slow
        """
        return self._has_object(pool, f'rbd_id.{name}')

    def _has_object(self, pool: str, name: str) -> bool:
        with self._own_pool(pool) as ioctx:
            return _has_object(ioctx, name)

    def clone(
        self, source: location.RbdLocation, pool: str, name: str
    ) -> None:
        """Make ``pool/name`` a copy-on-write clone of ``source``.

        :raises SourceMissing: if the source is not there
        :raises SourceDenied: if it is not there for us
        :raises DiskExists: if ``pool/name`` is there
        :raises PoolUnusable: if ``pool`` is missing or we may not write to it;
            DataPoolUnusable if that is so of the pool of its disks' data
        :raises ClusterUnreachable: if the cluster fails, or is too slow
        """
        with (
            self._connection() as connection,
            contextlib.ExitStack() as stack,
        ):
            try:
                parent = stack.enter_context(
                    connection.open_ioctx(source.pool)
                )
            except rados.ObjectNotFound as exc:
                raise SourceMissing(f'no pool {source.pool}') from exc
            child = stack.enter_context(_open(connection, pool))
            # A clone touches no data: a guest would be the first to.
            self._check_source(connection, parent, source)
            self._check_new_data(connection, child, pool)
            try:
                rbd.RBD().clone(
                    parent,
                    source.image,
                    source.snapshot,
                    child,
                    name,
                    features=_default_features(connection),
                )
            except rbd.ImageExists as exc:
                raise DiskExists(f'{pool}/{name}') from exc
            except (rbd.ImageNotFound, rbd.InvalidArgument) as exc:
                # EINVAL: the snapshot is not protected, so not for clones.
                raise SourceMissing(exc) from exc
            except rbd.PermissionError as exc:
                if _readable(parent, source):
                    raise exceptions.PoolUnusable(pool, exc) from exc
                raise SourceDenied(source.pool, exc) from exc

    def check_disk(self, pool: str, name: str) -> None:
        """Check that a guest could use the data of a disk that is there.

        :raises DiskUnusable: if it cannot be opened
        :raises PoolUnreadable: if it is a clone of what we may not read
        :raises PoolUnusable: if ``pool`` is not for us; DataPoolUnusable if
            the pool of the disk's data is not
        :raises ClusterUnreachable: if the cluster fails, or is too slow
        """
        with (
            self._connection() as connection,
            contextlib.ExitStack() as stack,
        ):
            ioctx = stack.enter_context(_open(connection, pool))
            try:
                disk = stack.enter_context(
                    rbd.Image(ioctx, name, read_only=True)
                )
            except rbd.PermissionError as exc:
                raise exceptions.PoolUnusable(pool, exc) from exc
            except rbd.ImageNotFound as exc:
                # Or what it is a clone of is gone.
                raise exceptions.DiskUnusable(
                    pool, name, remains.UNOPENABLE
                ) from exc
            data_pool = connection.pool_reverse_lookup(disk.data_pool_id())
            self._check_writable(connection, data_pool, pool)
            try:
                parent_pool, image, _ = disk.parent_info()
            except rbd.ImageNotFound:
                return
            parent = stack.enter_context(connection.open_ioctx(parent_pool))
            try:
                # By its id: it may be in the trash, without its name.
                self._check_data(connection, parent, disk.parent_id())
            except SourceDenied as exc:
                raise exceptions.PoolUnreadable(image, exc.pool) from exc
            except ValueError as exc:
                LOG.debug('Image %s: not understood: %s', image, exc)

    def sizes(self, pool: str, most: int) -> dict[str, int]:
        """Bytes of each image of a pool, by its name.

        :param most: how many of them, at most
        :raises ArrivalsHidden: if they cannot be seen
        :raises ClusterUnreachable: if the cluster fails, or is too slow
        """
        with self._seen_pool(pool) as ioctx:
            names = rbd.RBD().list(ioctx)[:most]
            return {name: _size(ioctx, name) for name in names}

    def check_new_disks(self, pool: str) -> None:
        """Check that disks could be made in ``pool``, and make none.

        :raises PoolUnusable: if ``pool`` is missing or we may not write to it;
            DataPoolUnusable if that is so of the pool of its disks' data
        :raises ClusterUnreachable: if the cluster fails, or is too slow
        """
        with (
            self._connection() as connection,
            _open(connection, pool) as ioctx,
        ):
            try:
                # The right is looked at before the object, which never is.
                ioctx.remove_object(_NO_OBJECT)
            except rados.ObjectNotFound:
                pass
            except rados.PermissionError as exc:
                raise exceptions.PoolUnusable(pool, exc) from exc
            self._check_new_data(connection, ioctx, pool)

    def check_image(self, source: location.RbdLocation) -> None:
        """Check that the data of an image can be read, wherever it lies.

        :raises SourceMissing: if it is not there
        :raises SourceDenied: if it is not there for us
        :raises ClusterUnreachable: if the cluster fails, or is too slow
        """
        with (
            self._connection() as connection,
            contextlib.ExitStack() as stack,
        ):
            try:
                ioctx = stack.enter_context(connection.open_ioctx(source.pool))
            except rados.ObjectNotFound as exc:
                raise SourceMissing(f'no pool {source.pool}') from exc
            # What was there once may have gone.
            self._proven.discard(
                _proof(connection, 'read', source.pool, source.image)
            )
            self._check_source(connection, ioctx, source)

    def _check_source(
        self, connection: Any, ioctx: Any, source: location.RbdLocation
    ) -> None:
        """Check that we may read the data of an image, wherever it lies.

        Once for each connection: an image's data stays in its pool.

        :param ioctx: of the image's pool
        :raises SourceMissing: if it is not there
        :raises SourceDenied: if it, or the pool of its data, is not for us
        """
        proof = _proof(connection, 'read', source.pool, source.image)
        if proof in self._proven:
            return
        try:
            answer = _ask(ioctx, f'rbd_id.{source.image}', 'get_id')
            self._check_data(connection, ioctx, rbd_class.text(answer))
        except rados.ObjectNotFound as exc:
            raise SourceMissing(exc) from exc
        except rados.PermissionError as exc:
            raise SourceDenied(source.pool, exc) from exc
        except ValueError as exc:
            # Not what we know: librbd may.
            LOG.debug('Image %s: not understood: %s', source.image, exc)
        self._prove(proof)

    def _check_data(self, connection: Any, ioctx: Any, image_id: str) -> None:
        """Check that we may read an image's data.

        :param ioctx: of the image's pool
        :raises SourceDenied: if the pool of its data is not for us
        """
        number = rbd_class.data_pool(
            _ask(ioctx, f'rbd_header.{image_id}', 'get_data_pool')
        )
        if number is None:
            return
        data_pool = connection.pool_reverse_lookup(number)
        proof = _proof(connection, 'read', data_pool)
        if proof in self._proven:
            return
        with connection.open_ioctx2(number) as data:
            try:
                data.stat(
                    rbd_class.first_object(ioctx.get_pool_id(), image_id)
                )
            except rados.ObjectNotFound:
                # The image begins with zeros, and we may see that.
                pass
            except rados.PermissionError as exc:
                raise SourceDenied(
                    data_pool, f'no right to read data pool {data_pool}'
                ) from exc
        self._prove(proof)

    def _check_new_data(self, connection: Any, ioctx: Any, pool: str) -> None:
        """Check that new disks in ``pool`` can have their data.

        Once for each connection and value of the option; that of the pool
        itself is taken to stay.

        :param ioctx: of ``pool``
        :raises PoolUnusable: if we may not read ``pool``
        :raises DataPoolUnusable: if their data would go where it cannot be
        """
        configured = connection.conf_get(_DATA_POOL_OPTION)
        proof = _proof(connection, 'new', pool, configured)
        if proof in self._proven:
            return
        try:
            data_pool = rbd.RBD().config_get(ioctx, _DATA_POOL_OPTION)
        except rbd.PermissionError as exc:
            raise exceptions.PoolUnusable(pool, exc) from exc
        except KeyError:
            # Not set of this pool.
            data_pool = configured
        self._check_writable(connection, data_pool or pool, pool)
        self._prove(proof)

    def _check_writable(
        self, connection: Any, data_pool: str, pool: str
    ) -> None:
        """Check that disks of ``pool`` can have their data in ``data_pool``.

        :raises DataPoolUnusable: if not
        """
        proof = _proof(connection, 'write', data_pool)
        if data_pool == pool or proof in self._proven:
            return
        with contextlib.ExitStack() as stack:
            try:
                data = stack.enter_context(connection.open_ioctx(data_pool))
            except rados.ObjectNotFound as exc:
                raise exceptions.DataPoolUnusable(
                    data_pool, 'no such pool'
                ) from exc
            if data.alignment():
                raise exceptions.DataPoolUnusable(
                    data_pool, 'it is erasure-coded, without overwrites'
                )
            try:
                # The right is looked at before the object, which never is.
                data.remove_object(_NO_OBJECT)
            except rados.ObjectNotFound:
                pass
            except rados.PermissionError as exc:
                raise exceptions.DataPoolUnusable(
                    data_pool, 'no right to write'
                ) from exc
        self._prove(proof)

    def _prove(self, proof: _Proof) -> None:
        """Keep what this connection was seen to be allowed, and no other."""
        self._proven = {
            other for other in self._proven if other[0] == proof[0]
        } | {proof}

    def remains(self, pool: str, name: str) -> remains.Remains | None:
        """What there is of a disk, None if nothing has its name.

        :raises PoolUnusable: if there is no such pool, or not for us
        :raises ClusterUnreachable: if the cluster fails, or is too slow
        """
        with self._own_pool(pool) as ioctx:
            return _remains(ioctx, name)

    def clients_of(self, pool: str, name: str) -> list[str]:
        """The addresses from which a disk is open for changes.

        One is shown until it has not been heard of for 30 s.

        :raises PoolUnusable: if there is no such pool, or not for us
        :raises ClusterUnreachable: if the cluster fails, or is too slow
        """
        with self._own_pool(pool) as ioctx:
            try:
                # Read-only, it is not among those who watch it.
                with rbd.Image(ioctx, name, read_only=True) as disk:
                    return _clients(disk)
            except rbd.ImageNotFound:
                return []

    def remove_disk(self, pool: str, name: str) -> None:
        """Remove a disk, or what there is of it.

        :raises DiskInUse: if a client has it open, or it has a snapshot
        :raises PoolUnusable: if there is no such pool, or not for us
        :raises ClusterUnreachable: if the cluster fails, or is too slow
        """
        with self._own_pool(pool) as ioctx:
            ids = _ids(ioctx, name)
            if not _has_header(ioctx, ids):
                _remove_name(ioctx, name, ids)
                return
            try:
                rbd.RBD().remove(ioctx, name)
            except rbd.ImageNotFound:
                LOG.debug('%s/%s is gone already', pool, name)
            except (rbd.ImageBusy, rbd.ImageHasSnapshots) as exc:
                raise DiskInUse(f'{pool}/{name}') from exc

    def rename_disk(self, pool: str, name: str, new_name: str) -> None:
        """Give a disk another name.

        :raises DiskExists: if there is one of that name
        :raises PoolUnusable: if there is no such pool, or not for us
        :raises ClusterUnreachable: if the cluster fails, or is too slow
        """
        with self._own_pool(pool) as ioctx:
            try:
                rbd.RBD().rename(ioctx, name, new_name)
            except rbd.ImageExists as exc:
                raise DiskExists(f'{pool}/{new_name}') from exc

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

    def has_lease(self, pool: str, name: str) -> bool:
        """Whether a lease is there, be its time over or not.

        :raises PoolUnusable: if there is no such pool, or not for us
        :raises ClusterUnreachable: if the cluster fails, or is too slow
        """
        return self._has_object(pool, name)

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
        with self._connection() as connection:
            try:
                with _open(connection, pool) as ioctx:
                    yield ioctx
            except (rados.PermissionError, rbd.PermissionError) as exc:
                raise exceptions.PoolUnusable(pool, exc) from exc

    def arrival(self, pool: str, image: str) -> arrival.Arrival:
        """How far a copy of ``image`` into ``pool`` has come.

        The image is not opened: that would take three to eight times as long
        (:mod:`rbd_class`), and many hosts may look at it, twice a second.

        :raises ArrivalsHidden: if that cannot be seen
        :raises ClusterUnreachable: if the cluster fails, or is too slow
        """
        with self._seen_pool(pool) as ioctx:
            try:
                return _arrival(ioctx, image)
            except rados.ObjectNotFound:
                return arrival.ABSENT
            except ValueError as exc:
                raise arrival.ArrivalsHidden(
                    f'RBD image {pool}/{image}: not understood: {exc}'
                ) from exc

    @contextlib.contextmanager
    def _seen_pool(self, pool: str) -> Iterator[Any]:
        """An I/O context of a pool that is to be looked into.

        :raises ArrivalsHidden: if it is not there, or may not be read
        """
        with self._connection() as connection:
            try:
                opened = connection.open_ioctx(pool)
            except rados.ObjectNotFound as exc:
                raise arrival.ArrivalsHidden(f'no pool {pool}') from exc
            try:
                with opened as ioctx:
                    yield ioctx
            except (rados.PermissionError, rbd.PermissionError) as exc:
                raise arrival.ArrivalsHidden(
                    f'no right to read {pool}'
                ) from exc

    @contextlib.contextmanager
    def errors(
        self, pool: str | None = None, disk: str | None = None
    ) -> Iterator[None]:
        """The door between librados and librbd, and us.

        :param pool: the one that is worked on, if it is Nova's own
        :param disk: the one in it that is worked on, if it is one
        :raises PoolUnusable: if we may not do that in ``pool``
        :raises DiskUnusable: if ``disk`` is what is wrong
        :raises ClusterRefused: if the cluster does not admit us
        :raises ClusterUnreachable: for any other error of theirs
        :raises HostStopping: after :meth:`close`
        """
        try:
            yield
        except handles.Ended as exc:
            raise exceptions.HostStopping() from exc
        except (rados.PermissionError, rados.PermissionDeniedError) as exc:
            raise exceptions.ClusterRefused(exc) from exc
        except (rados.Error, rbd.Error) as exc:
            if pool and isinstance(exc, rbd.PermissionError):
                raise exceptions.PoolUnusable(pool, exc) from exc
            if pool and disk and isinstance(exc, _OF_THE_DISK):
                reason = (
                    remains.UNOPENABLE
                    if isinstance(exc, rbd.ImageNotFound)
                    else exc
                )
                raise exceptions.DiskUnusable(pool, disk, reason) from exc
            raise exceptions.ClusterUnreachable(exc) from exc

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Any]:
        """The connection, which the next gets anew if it fails within."""
        with self.errors():
            loan = self._shared.take()
            verdict = handles.Verdict.GOOD
            try:
                yield loan.handle
            except BaseException as exc:
                verdict = _verdict(exc)
                raise
            finally:
                self._shared.give_back(loan, verdict)

    def _connect(self, options: Mapping[str, str]) -> Any:
        handle = rados.Rados(rados_id=self._user or None)
        # One that is dropped, also by an error in its constructor, is never
        # shut down by itself.
        try:
            handle.conf_read_file(self._conffile or None)
            for name, value in options.items():
                handle.conf_set(name, value)
            handle.connect(timeout=self._connect_timeout)
        except rados.Error:
            handle.shutdown()
            raise
        return handle


def librbd_version() -> tuple[int, ...]:
    """The version of librbd, by its own count: 1.16.0 is that of Ceph 16."""
    return tuple(rbd.RBD().version())


def _verdict(failure: BaseException | None) -> handles.Verdict:
    """What an error says of the connection that it came by."""
    # Ours have those of librados and librbd as their cause.
    while failure is not None and not isinstance(
        failure, (rados.Error, rbd.Error)
    ):
        failure = failure.__cause__
    code = getattr(failure, 'errno', None)
    if code in _LOST or isinstance(failure, rados.RadosStateError):
        return handles.Verdict.LOST
    if code in _REFUSED:
        return handles.Verdict.REFUSED
    return handles.Verdict.GOOD


def _open(connection: Any, pool: str) -> Any:
    """An I/O context of a pool that is Nova's own.

    :raises PoolUnusable: if there is no such pool
    """
    try:
        return connection.open_ioctx(pool)
    except rados.ObjectNotFound as exc:
        raise exceptions.PoolUnusable(pool, 'no such pool') from exc


def _default_features(connection: Any) -> int:
    features = connection.conf_get('rbd_default_features')
    return int(features or 0) or int(rbd.RBD_FEATURE_LAYERING)


def _proof(connection: Any, *what: str) -> _Proof:
    return connection.get_instance_id(), what


def _readable(ioctx: Any, source: location.RbdLocation) -> bool:
    try:
        with rbd.Image(
            ioctx, source.image, snapshot=source.snapshot, read_only=True
        ):
            return True
    except (rbd.PermissionError, rbd.ImageNotFound):
        return False


def _ask(
    ioctx: Any,
    name: str,
    method: str,
    argument: bytes = b'',
    length: int = 8192,
) -> bytes:
    """Ask the OSDs about an object, by a method of their class ``rbd``.

    :raises ValueError: if they cannot answer
    """
    try:
        _, answer = ioctx.execute(name, 'rbd', method, argument, length)
    except rados.OSError as exc:
        # They do not know the method, or its answer is too long.
        if exc.errno in (errno.EOPNOTSUPP, errno.ERANGE):
            raise ValueError(f'{method}: {exc}') from exc
        raise
    return bytes(answer)


def _remains(ioctx: Any, name: str) -> remains.Remains | None:
    ids = _ids(ioctx, name)
    if not ids:
        return None
    # To open it is no way to tell: librbd says of an image whose parent is
    # gone, too, that there is none. And to remove it needs no parent.
    if not _has_header(ioctx, ids):
        return remains.Remains(
            header=False, opens=False, parent=False, written=False
        )
    try:
        # Read-only, it is not among those who watch it.
        with rbd.Image(ioctx, name, read_only=True) as disk:
            snapshots = list(disk.list_snaps())
            return remains.Remains(
                parent=_has_parent(disk),
                written=bool(snapshots) or _is_written(disk),
                watched=any(disk.watchers_list()),
                snapshots=tuple(
                    found['name']
                    for found in snapshots
                    if found['namespace'] not in _IN_NO_WAY
                ),
            )
    except rbd.ImageNotFound:
        return remains.Remains(opens=False, parent=False, written=False)


def _clients(disk: Any) -> list[str]:
    watchers = {found['id']: found['addr'] for found in disk.watchers_list()}
    if watchers and _is_mirrored(disk) and _has_lock(disk):
        # rbd-mirror watches it for good, without its lock. A guest has that
        # from its first write on.
        lockers = dict(disk.list_lockers() or {}).get('lockers', ())
        locked_by = {client for client, *_ in lockers}
        return [
            address
            for number, address in watchers.items()
            if f'client.{number}' in locked_by
        ]
    return list(watchers.values())


def _is_mirrored(disk: Any) -> bool:
    state = disk.mirror_image_get_info()['state']
    return bool(state != rbd.RBD_MIRROR_IMAGE_DISABLED)


def _has_lock(disk: Any) -> bool:
    return bool(disk.features() & rbd.RBD_FEATURE_EXCLUSIVE_LOCK)


def _ids(ioctx: Any, name: str) -> dict[str, str]:
    """The ids of a disk, by the objects that know it by its name.

    :raises ClusterUnreachable: if these answer what we do not understand
    """
    found = {}
    for known_to, method, argument in (
        (f'rbd_id.{name}', 'get_id', b''),
        (_DIRECTORY, 'dir_get_id', rbd_class.name(name)),
    ):
        try:
            answer = _ask(ioctx, known_to, method, argument)
            found[known_to] = rbd_class.text(answer)
        except rados.ObjectNotFound:
            continue
        except ValueError as exc:
            raise exceptions.ClusterUnreachable(
                f'RBD image {name}: not understood: {exc}'
            ) from exc
    return found


def _has_header(ioctx: Any, ids: dict[str, str]) -> bool:
    return any(
        _has_object(ioctx, f'rbd_header.{image_id}')
        for image_id in ids.values()
    )


def _remove_name(ioctx: Any, name: str, ids: dict[str, str]) -> None:
    """Remove the name of a disk that has no header.

    librbd would try to open it first, three times over.
    """
    for known_to, image_id in ids.items():
        with contextlib.suppress(rados.ObjectNotFound):
            if known_to == _DIRECTORY:
                pair = rbd_class.name(name) + rbd_class.name(image_id)
                _ask(ioctx, _DIRECTORY, 'dir_remove_image', pair)
            else:
                ioctx.remove_object(known_to)


def _has_object(ioctx: Any, name: str) -> bool:
    try:
        ioctx.stat(name)
    except rados.ObjectNotFound:
        return False
    return True


def _has_parent(disk: Any) -> bool:
    try:
        disk.parent_info()
    except rbd.ImageNotFound:
        return False
    return True


def _is_written(disk: Any) -> bool:
    """Whether any object of the disk's own exists."""
    size, found = disk.size(), []
    for offset in range(0, size, _LOOK):
        disk.diff_iterate(
            offset,
            min(_LOOK, size - offset),
            None,
            lambda *extent: found.append(extent),
            include_parent=False,
            whole_object=True,
        )
        if found:
            return True
    return False


def _size(ioctx: Any, name: str) -> int:
    """Bytes of an image, 0 if it has gone meanwhile, or is not understood."""
    try:
        image_id = rbd_class.text(_ask(ioctx, f'rbd_id.{name}', 'get_id'))
        answer = _ask(
            ioctx,
            f'rbd_header.{image_id}',
            'get_size',
            rbd_class.number(rbd_class.NO_SNAPSHOT),
        )
        return rbd_class.size(answer).whole
    except (rados.ObjectNotFound, ValueError):
        return 0


def _arrival(ioctx: Any, image: str) -> arrival.Arrival:
    """Ask the OSDs about an image, by methods of their class ``rbd``.

    :raises ValueError: if they cannot answer, or not in a way we understand
    """

    image_id = rbd_class.text(_ask(ioctx, f'rbd_id.{image}', 'get_id'))
    header = f'rbd_header.{image_id}'
    for snapshot in rbd_class.snapshots(
        _ask(ioctx, header, 'get_snapcontext')
    ):
        name = _ask(
            ioctx, header, 'get_snapshot_name', rbd_class.number(snapshot)
        )
        if rbd_class.text(name) == arrival.GLANCE_SNAPSHOT:
            return arrival.Arrival(exists=True, complete=True)
    size = rbd_class.size(
        _ask(
            ioctx, header, 'get_size', rbd_class.number(rbd_class.NO_SNAPSHOT)
        )
    )
    try:
        object_map = _ask(
            ioctx,
            f'rbd_object_map.{image_id}',
            'object_map_load',
            length=size.object_map_length,
        )
    except rados.ObjectNotFound:
        # Without one, Ceph would look at every object.
        return arrival.Arrival(exists=True)
    written = rbd_class.written_objects(object_map) * size.of_object
    return arrival.Arrival(exists=True, allocated=min(written, size.whole))
