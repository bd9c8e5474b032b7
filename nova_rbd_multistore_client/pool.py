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

"""A Ceph cluster: the only module of the client that imports rados and rbd.

It is imported where a command was told of a ``ceph.conf``, and not before.
(``nova_rbd_multistore.ceph`` serves computes, and needs Nova.)
"""

from collections.abc import Iterator
import contextlib
import datetime
import os
from typing import Any, Self

import rados
import rbd

from nova_rbd_multistore import arrival
from nova_rbd_multistore import text
from nova_rbd_multistore_client import data
from nova_rbd_multistore_client import errors

#: Seconds until a cluster that does not answer is given up.
TIMEOUT = 20


class Cluster:
    """One cluster, as one cephx user. To be used in ``with``.

    :param conffile: path of its ceph.conf
    :param user: cephx user without ``client.``
    """

    def __init__(self, conffile: str, user: str) -> None:
        self._conffile = conffile
        self._user = user
        self._handle: Any = None

    def __enter__(self) -> Self:
        if not os.access(self._conffile, os.R_OK):
            raise errors.WrongUse(f'{self._conffile} cannot be read')
        with self._errors():
            handle = rados.Rados(rados_id=self._user)
            try:
                handle.conf_read_file(self._conffile)
                for option in (
                    'client_mount_timeout',
                    'rados_mon_op_timeout',
                    'rados_osd_op_timeout',
                ):
                    handle.conf_set(option, str(TIMEOUT))
                # librados would write its own lines between a table's.
                handle.conf_set('log_to_stderr', 'false')
                handle.connect(timeout=TIMEOUT)
            except rados.Error:
                handle.shutdown()
                raise
        self._handle = handle
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._handle.shutdown()

    def fsid(self) -> str:
        """The cluster's id."""
        with self._errors():
            return str(self._handle.get_fsid())

    def names(self, pool: str) -> tuple[str, ...]:
        """The names of all RBD images in a pool."""
        with self._pool(pool) as ioctx:
            return tuple(rbd.RBD().list(ioctx))

    def trash(self, pool: str) -> tuple[data.Trashed, ...]:
        """What is in a pool's trash."""
        with self._pool(pool) as ioctx:
            return tuple(
                data.Trashed(
                    entry['id'], entry['name'], entry['deletion_time']
                )
                for entry in rbd.RBD().trash_list(ioctx)
            )

    def look(self, pool: str, name: str) -> data.Data | None:
        """What a pool has of a name, None if nothing."""
        with self._pool(pool) as ioctx:
            try:
                with rbd.Image(ioctx, name, read_only=True) as image:
                    return _look(image, name)
            except rbd.ImageNotFound:
                return None

    def trashed_bytes(self, pool: str, image_id: str) -> int:
        """Bytes that are written of an image in the trash."""
        with self._pool(pool) as ioctx:
            try:
                with rbd.Image(
                    ioctx, image_id=image_id, read_only=True
                ) as image:
                    return _used(image)
            except rbd.ImageNotFound:
                return 0

    def remove(self, pool: str, name: str) -> None:
        """Remove an RBD image and Glance's snapshot of it.

        :raises errors.InUse: if it has clones, snapshots of others, or is open
            somewhere: nothing is changed then
        """
        with self._pool(pool) as ioctx:
            try:
                with rbd.Image(ioctx, name) as image:
                    _remove_snapshot(image)
                rbd.RBD().remove(ioctx, name)
            except rbd.ImageNotFound:
                return
            except (rbd.ImageBusy, rbd.ImageHasSnapshots) as exc:
                raise errors.InUse(text.printable(exc)) from exc

    @contextlib.contextmanager
    def _pool(self, pool: str) -> Iterator[Any]:
        with self._errors(pool), self._handle.open_ioctx(pool) as ioctx:
            yield ioctx

    @contextlib.contextmanager
    def _errors(self, pool: str = '') -> Iterator[None]:
        where = f'{self._conffile}, pool {pool}' if pool else self._conffile
        try:
            yield
        except (rados.PermissionDeniedError, rbd.PermissionError) as exc:
            raise errors.NotAllowed(
                f'look into the Ceph cluster of {where}',
                f'Ceph user {self._user} may not read all pools there: name '
                'another one with --ceph-user.',
            ) from exc
        except rados.ObjectNotFound as exc:
            raise errors.Unreachable(
                f'No Ceph cluster, key or pool as {where} says: '
                f'{text.printable(exc)}'
            ) from exc
        except (rados.Error, rbd.Error) as exc:
            raise errors.Unreachable(
                f'The Ceph cluster of {where} does not answer: '
                f'{text.printable(exc)}'
            ) from exc


def _look(image: Any, name: str) -> data.Data:
    snapshots = {found['name']: found for found in image.list_snaps()}
    glances = snapshots.pop(arrival.GLANCE_SNAPSHOT, None)
    protected = False
    clones: tuple[str, ...] = ()
    if glances is not None:
        protected = image.is_protected_snap(arrival.GLANCE_SNAPSHOT)
        clones = _clones(image)
    return data.Data(
        name=name,
        size=image.size(),
        used=_used(image),
        created_at=_utc(image.create_timestamp()),
        snapshot_size=glances['size'] if glances else None,
        protected=protected,
        clones=clones,
        other_snapshots=tuple(sorted(snapshots)),
        watched=any(image.watchers_list()),
    )


def _clones(image: Any) -> tuple[str, ...]:
    image.set_snap(arrival.GLANCE_SNAPSHOT)
    try:
        return tuple(
            sorted(
                f'{child["pool"]}/{child["image"]}'
                for child in image.list_children2()
            )
        )
    finally:
        image.set_snap(None)


def _used(image: Any) -> int:
    extents: list[int] = []
    image.diff_iterate(
        0,
        image.size(),
        None,
        lambda _offset, length, exists: extents.append(
            length if exists else 0
        ),
        include_parent=False,
        whole_object=True,
    )
    return sum(extents)


def _remove_snapshot(image: Any) -> None:
    """Remove Glance's snapshot, if that is the only one and has no clones."""
    names = [found['name'] for found in image.list_snaps()]
    if set(names) - {arrival.GLANCE_SNAPSHOT}:
        raise rbd.ImageHasSnapshots('it has snapshots that are not of Glance')
    if not names:
        return
    if _clones(image):
        raise rbd.ImageBusy('it has clones')
    if image.is_protected_snap(arrival.GLANCE_SNAPSHOT):
        image.unprotect_snap(arrival.GLANCE_SNAPSHOT)
    image.remove_snap(arrival.GLANCE_SNAPSHOT)


def _utc(moment: datetime.datetime) -> datetime.datetime:
    return moment.astimezone(datetime.UTC).replace(tzinfo=None)
