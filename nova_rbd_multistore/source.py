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

"""What a boot disk may be cloned from."""

from collections.abc import Collection, Iterable, Iterator
import contextlib
import dataclasses
from typing import NoReturn

from oslo_log import log as logging

from nova_rbd_multistore import arrival
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import image as image_values
from nova_rbd_multistore import location
from nova_rbd_multistore import text

LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Pools:
    """Where the data of an image may lie.

    :ivar glance: name of the pool in which Glance's stores keep images, in
        whichever cluster
    :ivar others: pools in which they do as well, each ``<fsid>/<pool>``
    :ivar trusted: pools in which nothing is private, likewise
    """

    glance: str
    others: Collection[str] = ()
    trusted: Collection[str] = ()

    def admit(self, image: str, found: location.RbdLocation) -> bool:
        """Whether what lies there is the image's own, or nobody's secret."""
        pool = f'{found.fsid}/{found.pool}'
        if pool in self.trusted:
            return True
        return (
            (found.pool == self.glance or pool in self.others)
            and found.image == image
            and found.snapshot == arrival.GLANCE_SNAPSHOT
        )


def require_active(record: image_values.ImageRecord) -> None:
    """Check that the image may be read.

    :raises NotActive: if the image is deactivated, or has no data yet
    """
    if not record.active:
        raise exceptions.NotActive(record.id, record.status)


def require_cloneable(record: image_values.ImageRecord) -> None:
    """Check that a clone of the image would be a boot disk.

    :raises NotActive: if the image is deactivated, or has no data yet
    :raises NotRaw: if its bytes are not the bytes of a disk
    :raises NotBare: if a container is around them
    """
    require_active(record)
    if not record.raw:
        raise exceptions.NotRaw(record.id, record.disk_format)
    if not record.bare:
        raise exceptions.NotBare(record.id, record.container_format)


def require_copied_on_demand(
    record: image_values.ImageRecord,
    store: str,
    project: str | None,
    admitted: Collection[str],
) -> None:
    """Check that the image may be copied to ``store`` for a boot.

    :param project: that of the server
    :param admitted: whose images may, by ``[rbd_multistore] copy_on_demand``
    :raises NotCopiedOnDemand: if it is another project's, and not admitted
    """
    whose = record.whose(project)
    # Glance shows another project's private image to administrators alone.
    if whose != 'private' and whose not in admitted:
        raise exceptions.NotCopiedOnDemand(record.id, store, whose)


def local_sources(
    record: image_values.ImageRecord,
    locations: Iterable[image_values.ImageLocation],
    fsid: str,
    pools: Pools,
) -> list[location.RbdLocation]:
    """The image's locations in the cluster ``fsid``, in Glance's order.

    Glance keeps an image in its own pool, under the image's id. With
    ``show_multiple_locations`` the image's owner can set any other location,
    such as a disk of another tenant (the class of OSSN-0065). The name alone
    says little: owners choose the ids of their images, and volumes may be
    named by bare ids, too. So one location anywhere else, outside of the pools
    where nothing is private, refuses the image as a whole: a download would
    read the same foreign bytes, and from another cluster a copy would bring
    them here under the image's own name. The same goes for one that is
    malformed: who knows what Glance, or librbd, would find there.

    What is in a store of Glance's own is no source.

    :raises LocationRefused: for such a location, in whichever cluster
    """
    sources = []
    reserved = set(record.reserved)
    for entry in locations:
        found = _parse(record, entry.url)
        if isinstance(found, location.RbdLocation | location.OldRbdLocation):
            _require_own(record, found, pools)
        if entry.store is not None and image_values.is_reserved(entry.store):
            reserved.add(entry.store)
        elif isinstance(found, location.RbdLocation) and found.fsid == fsid:
            sources.append(found)
    if reserved:
        LOG.warning(
            'Image %s of project %s claims to be in %s, a name that Glance '
            'keeps for stores of its own: ignoring that. Either Glance is '
            'misconfigured, or show_multiple_locations let somebody set it',
            record.id,
            text.printable(record.owner),
            text.printable(', '.join(sorted(reserved))),
        )
    return sources


def clusters(
    locations: Iterable[image_values.ImageLocation], store: str
) -> frozenset[str]:
    """The fsids of the Ceph clusters in which ``store`` has the image."""
    return frozenset(
        found.fsid
        for entry, found in _readable(locations)
        if isinstance(found, location.RbdLocation) and entry.store == store
    )


def has_old_form(
    locations: Iterable[image_values.ImageLocation], store: str
) -> bool:
    """Whether the image may be in ``store`` under a location of the old form.

    :param store: '' for any
    """
    return any(
        isinstance(found, location.OldRbdLocation)
        and (not store or entry.store in (store, None))
        for entry, found in _readable(locations)
    )


def _readable(
    locations: Iterable[image_values.ImageLocation],
) -> Iterator[tuple[image_values.ImageLocation, location.Location]]:
    for entry in locations:
        with contextlib.suppress(location.MalformedLocation):
            yield entry, location.parse(entry.url)


def _parse(
    record: image_values.ImageRecord, url: str
) -> location.Location | None:
    try:
        return location.parse(url)
    except location.MalformedRbdLocation as exc:
        _refuse(record, f'one of its locations is malformed: {exc}')
    except location.MalformedLocation as exc:
        LOG.warning('Ignoring a location of image %s: %s', record.id, exc)
        return None


def _require_own(
    record: image_values.ImageRecord,
    found: location.RbdLocation | location.OldRbdLocation,
    pools: Pools,
) -> None:
    # Each part is cut on its own, so that none can hide the others.
    where = f'RBD image {text.printable(found.image, 80)}'
    if isinstance(found, location.RbdLocation):
        if pools.admit(record.id, found):
            return
        where += (
            f' at snapshot {text.printable(found.snapshot, 80)} of pool '
            f'{text.printable(found.pool, 80)} in cluster '
            f'{text.printable(found.fsid, 80)}'
        )
    elif found.image == record.id:
        return
    _refuse(
        record,
        f'its location is {where}. Glance keeps an image under its id at '
        f'snapshot {arrival.GLANCE_SNAPSHOT}, in pool {pools.glance} or '
        'another of [rbd_multistore] other_glance_rbd_pools',
    )


def _refuse(record: image_values.ImageRecord, reason: str) -> NoReturn:
    LOG.warning(
        'Refusing image %s of project %s: %s',
        record.id,
        text.printable(record.owner, 80),
        reason,
    )
    raise exceptions.LocationRefused(record.id)
