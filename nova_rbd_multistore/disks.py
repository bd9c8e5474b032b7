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

"""Nova's calls to RBD, over the connections of this host."""

from collections.abc import Callable, Mapping
import contextlib
import functools
import sys
from typing import Any
import uuid

from nova.storage import rbd_utils
from oslo_concurrency import processutils

from nova_rbd_multistore import ceph
from nova_rbd_multistore import compat
from nova_rbd_multistore import exceptions


def take_the_place_of_novas(cluster: ceph.Cluster) -> None:
    """Have all of Nova in this process use :class:`RBDDriver`.

    Nova makes its own wherever it needs one: to remove the disks of a server,
    after a failed build too, for the free space of the pool, for the monitors'
    addresses in a live migration.
    """

    def make(*args: Any, **kwargs: Any) -> rbd_utils.RBDDriver:
        if args or kwargs:
            # Another user's, of another cluster perhaps: Nova downloads an
            # image over it ([glance] enable_rbd_download).
            return _WithLimits(cluster.options, *args, **kwargs)
        return RBDDriver(cluster)

    rbd_utils.RBDDriver = make


class _WithLimits(rbd_utils.RBDDriver):
    """Nova's RBD driver, whose program ``rbd`` does not wait for ever.

    :param options: those of Ceph that limit it
    """

    def __init__(
        self, options: Mapping[str, str], *args: Any, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._options = options

    def ceph_args(self) -> list[str]:
        """What a program of Ceph is told on its command line."""
        return [
            *super().ceph_args(),
            *(f'--{name}={value}' for name, value in self._options.items()),
        ]


class _Calls(_WithLimits):
    """Nova's calls, as they are, over connections of ours.

    :param cluster: the local one
    :param patient: whether they may take long
    """

    def __init__(self, cluster: ceph.Cluster, *, patient: bool) -> None:
        super().__init__(cluster.options)
        self._cluster = cluster
        self._patient = patient
        #: The pools that are open, by their I/O contexts, and the error that
        #: was being handled when each was opened.
        self._open: dict[Any, tuple[ceph.Pool, BaseException | None]] = {}

    def _connect_to_rados(self, pool: str | None = None) -> tuple[Any, Any]:
        opened = self._cluster.open_pool(
            str(pool or self.pool), patient=self._patient
        )
        self._open[opened.ioctx] = opened, sys.exception()
        return opened.connection, opened.ioctx

    def _disconnect_from_rados(self, client: Any, ioctx: Any) -> None:
        """End a call of Nova's; its ``__exit__`` comes here, or its except."""
        del client
        opened, before = self._open.pop(ioctx)
        failure = sys.exception()
        # Nova also cleans up after an error, over a connection that is new.
        if failure is before:
            failure = None
        self._cluster.close_pool(opened, failure)

    def grow(
        self, name: str, size: int, check: Callable[[int], object]
    ) -> None:
        """Grow a disk to ``size`` bytes, if it is smaller.

        :param check: called with its bytes before that
        """
        with rbd_utils.RBDVolumeProxy(self, name) as disk:
            now = disk.size()
            check(now)
            if now < size:
                disk.resize(size)


def _in_native_threads(cluster: ceph.Cluster, *, patient: bool) -> _Calls:
    """Nova's calls, each in one go.

    Nova opens a disk without tpool: under eventlet, all of nova-compute would
    stand still until an OSD answers.
    """
    calls: _Calls = compat.tpool_wrap(_Calls(cluster, patient=patient))
    return calls


class _Removals(_Calls):
    """Nova's calls that remove a disk.

    They sleep before they try again, which no native thread could under
    eventlet.
    """

    def __init__(self, cluster: ceph.Cluster, *, patient: bool) -> None:
        super().__init__(cluster, patient=patient)
        self._opening = _in_native_threads(cluster, patient=patient)

    def remove_snap(self, *args: Any, **kwargs: Any) -> None:
        """Remove a snapshot that is in the way."""
        self._opening.remove_snap(*args, **kwargs)


class RBDDriver(_Calls):
    """Nova's RBD driver, without a new connection for every call.

    Nova opens one each time (nine for one boot), without a time-out: with the
    cluster away, such a call never returns. And for the monitors' addresses
    and the free space it runs the program ``ceph``, which waits as long.

    What changes a disk as a whole has a connection of its own, with a
    time-out that outlasts the failure of an OSD: broken off half-way, it would
    leave the disk half rolled back, say, or a snapshot protected.

    :param cluster: the local one
    """

    def __init__(self, cluster: ceph.Cluster) -> None:
        super().__init__(cluster, patient=False)
        self._opening = _in_native_threads(cluster, patient=False)
        self._changes = _in_native_threads(cluster, patient=True)
        self._removals = _Removals(cluster, patient=True)
        #: What takes back the snapshots and clones that were begun.
        self.undo: list[Callable[[], None]] = []

    def get_mon_addrs(
        self, strip_brackets: bool = True
    ) -> tuple[list[str], list[str]]:
        """Hosts and ports of the monitors.

        :param strip_brackets: whether IPv6 addresses come without brackets
        """
        monitors = self._cluster.known_monitors()
        hosts = [
            name.strip('[]') if strip_brackets else name
            for name, _ in monitors
        ]
        return hosts, [port for _, port in monitors]

    def get_pool_info(self) -> dict[str, int]:
        """Bytes of Nova's pool, by the names that Nova has for them."""
        space = self._cluster.space(self.pool)
        return {'total': space.total, 'free': space.free, 'used': space.used}

    def import_image(self, base: str, name: str) -> None:
        """Make a disk from a file: a config drive, say, or a swap disk.

        It has its name when it is whole, or another host of the site would
        take what was broken off for the disk of its server.

        :raises ImportFailed: if that cannot be
        :raises DiskUnusable: if there is one of that name
        """
        # Whoever removes the server's disks finds it by the beginning.
        broken_off = f'{name}.import-{uuid.uuid4().hex[:8]}'
        try:
            super().import_image(base, broken_off)
        except (processutils.ProcessExecutionError, OSError) as exc:
            raise exceptions.ImportFailed(
                self.pool, name, _reason(exc)
            ) from exc
        try:
            self._cluster.rename_disk(self.pool, broken_off, name)
        except ceph.DiskExists as exc:
            # What stays of ours goes with the server.
            with contextlib.suppress(ceph.DiskInUse, exceptions.HostError):
                self._cluster.remove_disk(self.pool, broken_off)
            raise exceptions.DiskUnusable(
                self.pool, name, 'it was made meanwhile'
            ) from exc

    def exists(
        self,
        name: str,
        pool: str | None = None,
        snapshot: str | None = None,
    ) -> bool:
        """Whether there is such an image, and such a snapshot of it."""
        # A boot's is not, most often: no need to try and open it.
        if not self._cluster.has_image(str(pool or self.pool), name):
            return False
        found: bool = self._opening.exists(name, pool, snapshot)
        return found

    def of_server(self, server: str) -> list[str]:
        """The names of the disks of a server."""
        with self._cluster.errors(self.pool):
            names = self._names()
        return list(filter(_of(server), names))

    def check_free(self, server: str) -> None:
        """Check that no snapshot keeps a disk of a server.

        Before the first is removed: a guest without its swap disk, say, does
        not start, though its root disk is still there.

        :raises DiskNotRemoved: if it has one that is not Nova's
        """
        for name in self.of_server(server):
            left = self._cluster.remains(self.pool, name)
            if left and {*left.snapshots} - {rbd_utils.RESIZE_SNAPSHOT_NAME}:
                raise exceptions.DiskNotRemoved(self.pool, name, left.obstacle)

    def set_aside(self, server: str) -> dict[str, str]:
        """Rename the disks of a server, so that Nova does not find them.

        :returns: their new names, by the old ones
        """
        found = {name: name_aside(name) for name in self.of_server(server)}
        for name, aside in found.items():
            self._cluster.rename_disk(self.pool, name, aside)
        return found

    # What opens a disk, by the arguments that Nova and _Calls have for it

    def size(self, *args: Any, **kwargs: Any) -> int:
        found: int = self._opening.size(*args, **kwargs)
        return found

    def parent_info(self, *args: Any, **kwargs: Any) -> tuple[str, str, str]:
        found: tuple[str, str, str] = self._opening.parent_info(
            *args, **kwargs
        )
        return found

    def resize(self, *args: Any, **kwargs: Any) -> None:
        self._opening.resize(*args, **kwargs)

    def grow(self, *args: Any, **kwargs: Any) -> None:
        self._opening.grow(*args, **kwargs)

    # What changes a disk as a whole, by the arguments that Nova has for it

    def clone(
        self, image_location: dict[str, str], dest_name: str, **options: Any
    ) -> None:
        pool = options.get('dest_pool')
        with self._errors(dest_name, pool):
            self._changes.clone(image_location, dest_name, **options)
        self.undo.append(
            functools.partial(self.destroy_volume, dest_name, pool)
        )

    def flatten(self, volume: str, pool: str | None = None) -> None:
        with self._errors(volume, pool):
            self._changes.flatten(volume, pool=pool)

    def create_snap(self, volume: str, name: str, **options: Any) -> None:
        pool = options.get('pool')
        self.undo.append(
            functools.partial(
                self.remove_snap,
                volume,
                name,
                ignore_errors=True,
                pool=pool,
                force=True,
            )
        )
        with self._errors(volume, pool):
            self._changes.create_snap(volume, name, **options)

    def remove_snap(
        self, volume: str, name: str, *args: Any, **options: Any
    ) -> None:
        with self._errors(volume, options.get('pool')):
            self._changes.remove_snap(volume, name, *args, **options)

    def rollback_to_snap(self, volume: str, name: str) -> None:
        with self._errors(volume):
            self._changes.rollback_to_snap(volume, name)

    def remove_image(self, *args: Any, **kwargs: Any) -> None:
        self._removals.remove_image(*args, **kwargs)

    def destroy_volume(self, volume: str, pool: str | None = None) -> None:
        with self._errors(volume, pool):
            self._removals.destroy_volume(volume, pool=pool)

    def _errors(
        self, disk: str, pool: str | None = None
    ) -> contextlib.AbstractContextManager[None]:
        return self._cluster.errors(str(pool or self.pool), disk)

    def cleanup_volumes(self, filter_fn: Callable[[str], bool]) -> None:
        """Remove the disks that a filter picks by their names.

        :raises DiskNotRemoved: if one is there all the same
        """
        self._remove_all(filter_fn, self._removals)

    def discard(self, server: str) -> None:
        """Remove the disks of a server that was not built.

        Another host is to build it, and waits for this: with the cluster away,
        or without an OSD, it fails as soon as other calls do.

        :raises DiskNotRemoved: if one is there all the same
        """
        removals = _Removals(self._cluster, patient=False)
        self._remove_all(_of(server), removals)

    def _remove_all(
        self, is_to_go: Callable[[str], bool], removals: _Removals
    ) -> None:
        names = sorted(filter(is_to_go, self._names()))
        for name in names:
            removals.destroy_volume(name)
        # Nova tries a few times, and takes one that has a snapshot, or that a
        # client has open, for removed.
        for name in names:
            left = self._cluster.remains(self.pool, name)
            if left is not None:
                raise exceptions.DiskNotRemoved(self.pool, name, left.obstacle)

    def _names(self) -> list[str]:
        with rbd_utils.RADOSClient(self) as client:
            names: list[str] = rbd_utils.RbdProxy().list(client.ioctx)
        return names


def _of(server: str) -> Callable[[str], bool]:
    """Tells the disks of a server by their names."""
    return lambda name: name.startswith(f'{server}_')


def name_aside(name: str) -> str:
    """A new name for a disk that its server has left behind.

    Nova removes what begins with the server's id.
    """
    return f'aside.{uuid.uuid4().hex[:8]}.{name}'


def _reason(exc: processutils.ProcessExecutionError | OSError) -> str:
    """What the program ``rbd`` says in the end, beside what librbd logs."""
    lines = (getattr(exc, 'stderr', None) or str(exc)).splitlines()
    of_rbd = [
        line
        for line in lines
        if line.startswith('rbd: ') and 'is deprecated' not in line
    ]
    return (of_rbd or lines or [''])[-1]
