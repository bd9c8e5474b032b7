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

"""The Ceph clusters behind the stores, as far as they were given."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
import contextlib
import dataclasses
from typing import Protocol, Self

from nova_rbd_multistore import image as image_values
from nova_rbd_multistore import text
from nova_rbd_multistore_client import data
from nova_rbd_multistore_client import errors
from nova_rbd_multistore_client import place
from nova_rbd_multistore_client import store as stores


class Cluster(Protocol):
    """What is asked of a cluster: ``pool.Cluster``, or a test's."""

    def fsid(self) -> str: ...

    def names(self, pool: str) -> tuple[str, ...]: ...

    def trash(self, pool: str) -> tuple[data.Trashed, ...]: ...

    def trashed_bytes(self, pool: str, image_id: str) -> int: ...

    def look(self, pool: str, name: str) -> data.Data | None: ...

    def remove(self, pool: str, name: str) -> None: ...


@dataclasses.dataclass(frozen=True, slots=True)
class Site:
    """The pool of one store.

    :ivar store: its name
    :ivar pool: that it puts images into; older ones may lie elsewhere
    :ivar fsid: of the cluster
    """

    store: str
    cluster: Cluster
    pool: str
    fsid: str

    def place_of(self, image_id: str) -> place.Place:
        """Where the store would put an image today."""
        return place.Place(self.fsid, self.pool, image_id)

    def look(self, image_id: str) -> data.Data | None:
        """What the pool has of an image, whatever the image's record says."""
        return self.cluster.look(self.pool, image_id)


class Sites:
    """The pools that can be looked into, by store.

    :param clusters: all that were given, by their fsids
    """

    def __init__(
        self,
        known: Iterable[Site] = (),
        clusters: Mapping[str, Cluster] | None = None,
    ) -> None:
        self._known = {site.store: site for site in known}
        self._clusters = clusters or {}

    @classmethod
    def of(
        cls, clusters: Sequence[Cluster], details: Iterable[stores.Store]
    ) -> Self:
        """Tell by its fsid which cluster is which store's.

        :raises errors.WrongUse: if a cluster is no store's
        """
        by_fsid = {cluster.fsid(): cluster for cluster in clusters}
        known = [
            Site(store.id, by_fsid[store.fsid], store.pool, store.fsid)
            for store in details
            if store.pool and store.fsid in by_fsid
        ]
        used = {id(site.cluster) for site in known}
        for fsid, cluster in by_fsid.items():
            if id(cluster) not in used:
                raise errors.WrongUse(
                    f'No store of Glance keeps its images in Ceph cluster '
                    f'{fsid}: check --ceph-conf'
                )
        return cls(known, by_fsid)

    def get(self, store: str) -> Site | None:
        """The pool of a store, None if its cluster was not given."""
        return self._known.get(store)

    def require(self, store: str) -> Site:
        """The pool of a store.

        :raises errors.CephNeeded: if its cluster was not given
        """
        site = self.get(store)
        if site is None:
            raise errors.CephNeeded(
                f'Only the Ceph cluster of store {store} knows that: name '
                "it with --ceph-conf, once for each store's cluster"
            )
        return site

    def look(
        self,
        image_id: str,
        store: str,
        locations: Iterable[image_values.ImageLocation],
    ) -> data.Look:
        """Look for a copy that the image's record lists.

        :param locations: of the image, in all stores
        :raises errors.CephNeeded: if the store's cluster was not given
        :raises errors.Unreachable: if its pool cannot be looked into
        """
        own = self.require(store).place_of(image_id)
        where = place.of(locations, store, own)
        if where is None:
            return data.Look(
                unseen=f'Glance does not tell where its data in store {store} '
                'lies'
            )
        lies = f'its data lies in {where}'
        cluster = self._clusters.get(where.fsid)
        if cluster is None:
            return data.Look(unseen=f'{lies}, which was not looked into')
        try:
            found = cluster.look(where.pool, where.name)
        except (errors.Unreachable, errors.NotAllowed) as exc:
            # Another pool is what a record says, which may say anything.
            if (where.fsid, where.pool) == (own.fsid, own.pool):
                raise
            return data.Look(unseen=f'{lies}: {exc}')
        return data.Look(text.printable(where.pool), found)

    def __iter__(self) -> Iterator[Site]:
        return iter(self._known.values())

    def __bool__(self) -> bool:
        return bool(self._known)


@contextlib.contextmanager
def connected(
    conffiles: Sequence[str], user: str
) -> Iterator[tuple[Cluster, ...]]:
    """Clusters, connected to.

    :param conffiles: path of a ceph.conf each
    :param user: cephx user without ``client.``
    :raises errors.CephNeeded: if Ceph's bindings are not installed
    """
    if not conffiles:
        yield ()
        return
    try:
        from nova_rbd_multistore_client import pool
    except ImportError as exc:
        raise errors.CephNeeded(
            "--ceph-conf needs Ceph's bindings for Python, and they are not "
            f'installed here ({exc}): on Debian, packages python3-rados and '
            'python3-rbd, which a virtual environment sees if it was made '
            'with --system-site-packages'
        ) from exc
    with contextlib.ExitStack() as stack:
        yield tuple(
            stack.enter_context(pool.Cluster(conffile, user))
            for conffile in conffiles
        )
