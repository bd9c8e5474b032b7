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

"""A weigher of Nova's scheduler: servers go where their image is.

nova-scheduler asks Glance for the stores of the image, with the token of the
user who boots: its request carries nothing of an image but its properties.
"""

from collections.abc import Callable, Sequence
import time
from typing import Any

from nova import objects
import nova.conf
from nova.scheduler import utils
from nova.scheduler import weights
from oslo_log import log as logging

from nova_rbd_multistore import access as glance_access
from nova_rbd_multistore import conf
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import server
from nova_rbd_multistore import site

CONF = nova.conf.CONF
conf.register(CONF)
LOG = logging.getLogger(__name__)

#: Seconds to wait for an answer of one glance-api. Without any, servers are
#: built all the same, only perhaps elsewhere.
PATIENCE = 2.0

#: Seconds for which an answer counts: many servers of one image are often
#: asked for at once, and scheduled one by one.
REMEMBERED = 10.0


class ImageStoreWeigher(weights.BaseHostWeigher):
    """Prefers hosts whose store in Glance has the server's image.

    For a server that gets a new disk: a new one, or one that was shelved.

    :param access: to Glance; by Nova's options if not given
    :param clock: monotonic, in seconds
    """

    def __init__(
        self,
        access: glance_access.GlanceAccess | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._access = access or glance_access.GlanceAccess(timeout=PATIENCE)
        self._clock = clock
        self._known: dict[str, tuple[float, frozenset[str]]] = {}

    def weight_multiplier(self, host_state: Any) -> float:
        """By our option, or by the metadata of an aggregate of the host."""
        multiplier: float = utils.get_weight_multiplier(
            host_state,
            'image_store_weight_multiplier',
            CONF.rbd_multistore.image_store_weight_multiplier,
        )
        return multiplier

    def weigh_objects(
        self, weighed_obj_list: Sequence[Any], weight_properties: Any
    ) -> list[float]:
        """The hosts' weights; called by Nova's scheduler.

        :param weight_properties: the request, an objects.RequestSpec
        """
        stores = frozenset(_store(weighed.obj) for weighed in weighed_obj_list)
        # Hosts of one site need no answer of Glance's.
        with_image = (
            self._stores_of(weight_properties)
            if len(stores) > 1
            else frozenset()
        )
        found: list[float] = super().weigh_objects(
            weighed_obj_list, with_image
        )
        return found

    def _weigh_object(
        self, host_state: Any, weight_properties: frozenset[str]
    ) -> float:
        return float(_store(host_state) in weight_properties)

    def _stores_of(self, spec: 'objects.RequestSpec') -> frozenset[str]:
        """The stores that have the image of the server's new disk.

        None, if it gets no new disk, or if Glance does not tell.
        """
        image = _image(spec)
        if image is None:
            return frozenset()
        now = self._clock()
        known = {
            name: answer
            for name, answer in self._known.items()
            if answer[0] > now
        }
        if image not in known:
            stores = self._ask(spec, image)
            known[image] = self._clock() + REMEMBERED, stores
            self._known = known
        return known[image][1]

    def _ask(self, spec: 'objects.RequestSpec', image: str) -> frozenset[str]:
        try:
            images = self._access.as_user_of(spec.obj_context)
            record = images.without_retries().record(image)
        except (exceptions.ImageError, exceptions.HostError) as exc:
            LOG.warning('No host is preferred for having the image: %s', exc)
            return frozenset()
        return frozenset(filter(record.holds, record.stores))


def _store(host_state: Any) -> str:
    # Nova leaves it out until the host has reported for the first time.
    return site.Site.from_stats(getattr(host_state, 'stats', {})).store


def _image(spec: 'objects.RequestSpec') -> str | None:
    """The id of the image that the server's new disk is made of."""
    if server.is_volume_backed(spec):
        return None
    found = server.of_request(spec)
    if found and found.on_host:
        return None
    if found and found.shelved_image:
        return found.shelved_image
    if spec.image and 'id' in spec.image:
        image: str = spec.image.id
        return image
    return None
