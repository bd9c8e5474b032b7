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

"""Where a copy of an image lies in Ceph, by Glance's record."""

from collections.abc import Iterable
import dataclasses

from nova_rbd_multistore import image as image_values
from nova_rbd_multistore import location
from nova_rbd_multistore import text


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """An RBD image in a pool of a cluster, whether it is there or not.

    :ivar name: of the RBD image, which for Glance's is the image's id
    """

    fsid: str
    pool: str
    name: str

    def __str__(self) -> str:
        return text.printable(
            f'{self.pool}/{self.name} of Ceph cluster {self.fsid}'
        )


def of(
    locations: Iterable[image_values.ImageLocation], store: str, own: Place
) -> Place | None:
    """Where a store has an image; None if the record does not tell.

    A store that was moved to another pool leaves its older images where they
    were.

    :param locations: of the image, in all stores
    :param own: where the store puts new images: the oldest locations name
        neither cluster nor pool
    """
    found = {
        _read(entry.url, own) for entry in locations if entry.store == store
    }
    return found.pop() if len(found) == 1 else None


def _read(url: str, own: Place) -> Place | None:
    try:
        found = location.parse(url)
    except location.MalformedLocation:
        return None
    match found:
        case location.RbdLocation(fsid=fsid, pool=pool, image=name):
            return Place(fsid, pool, name)
        case location.OldRbdLocation(image=name):
            return dataclasses.replace(own, name=name)
        case _:
            return None
