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

from collections.abc import Collection, Iterable

from oslo_log import log as logging

from nova_rbd_multistore import exceptions
from nova_rbd_multistore import image
from nova_rbd_multistore import location
from nova_rbd_multistore import text

LOG = logging.getLogger(__name__)


def require_cloneable(record: image.ImageRecord) -> None:
    """Check that a clone of the image would be a boot disk.

    :raises NotActive: if the image is deactivated, or has no data yet
    :raises NotRaw: if its bytes are not the bytes of a disk
    """
    if not record.active:
        raise exceptions.NotActive(record.id, record.status)
    if not record.cloneable:
        raise exceptions.NotRaw(record.id, record.disk_format)


def local_sources(
    record: image.ImageRecord,
    urls: Iterable[str],
    fsid: str,
    trusted_pools: Collection[str],
) -> list[location.RbdLocation]:
    """The image's locations in the cluster ``fsid``, in Glance's order.

    Glance and Nova name the RBD image of a Glance image by its id. With
    ``show_multiple_locations`` its owner can set any other location, such as
    a disk of another tenant (the class of OSSN-0065). So one location under
    another name, outside of the pools where nothing is private, refuses the
    image as a whole: a download would read the same foreign bytes, and from
    another cluster a copy would bring them here under the image's own name.

    :raises LocationRefused: for such a location, in whichever cluster
    """
    sources = []
    for url in urls:
        try:
            found = location.parse(url)
        except location.MalformedLocation as exc:
            LOG.warning('Ignoring a location of image %s: %s', record.id, exc)
            continue
        if not isinstance(found, location.RbdLocation):
            continue
        if found.image != record.id and found.pool not in trusted_pools:
            LOG.warning(
                'Refusing image %s of project %s: its location in cluster %s '
                'is RBD image %s of pool %s, which does not have the name of '
                'the image',
                record.id,
                text.printable(record.owner),
                text.printable(found.fsid),
                text.printable(found.image),
                text.printable(found.pool),
            )
            raise exceptions.LocationRefused(record.id)
        if found.fsid == fsid:
            sources.append(found)
    return sources


def clusters(urls: Iterable[str]) -> frozenset[str]:
    """The fsids of the Ceph clusters among ``urls``."""
    found = set()
    for url in urls:
        try:
            parsed = location.parse(url)
        except location.MalformedLocation:
            continue
        if isinstance(parsed, location.RbdLocation):
            found.add(parsed.fsid)
    return frozenset(found)
