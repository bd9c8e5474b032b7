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


"""A boot disk by librbd and bare requests, on connections that are open.

No driver, no checks, no locks, no log: what is left when everything else of a
boot disk costs nothing.
"""

# Nova's rule: before anything else is imported.
from nova import monkey_patch

monkey_patch.patch(backend='threading')

from concurrent import futures  # noqa: E402
import time  # noqa: E402
from typing import Any  # noqa: E402

from keystoneauth1 import session as ksa_session  # noqa: E402
from nova import context as nova_context  # noqa: E402
from nova import service_auth  # noqa: E402
import nova.conf  # noqa: E402
import rados  # noqa: E402
import rbd  # noqa: E402

from nova_rbd_multistore import rbd_class  # noqa: E402

CONF = nova.conf.CONF
GIB = 1 << 30

#: Seconds between two looks for the end of a copy: in the cluster, and then
#: in Glance.
LOOK = 0.1
LOOK_AGAIN = 0.05


class Bare:
    """One connection to Ceph and one session with Glance, kept open."""

    def __init__(self) -> None:
        cluster = rados.Rados(
            conffile=CONF.libvirt.images_rbd_ceph_conf,
            rados_id=CONF.libvirt.rbd_user,
        )
        cluster.connect()
        self._images = cluster.open_ioctx('images')
        self._disks = cluster.open_ioctx(CONF.libvirt.images_rbd_pool)
        self._features = int(cluster.conf_get('rbd_default_features'))
        self._session = ksa_session.Session()
        self._beside = futures.ThreadPoolExecutor(1)

    def get(
        self, context: nova_context.RequestContext, image: str
    ) -> dict[str, Any]:
        """Have Glance show the image, as Nova asks for its user."""
        record: dict[str, Any] = self._answer(context, image)
        return record

    def get_with_locations(
        self, context: nova_context.RequestContext, image: str
    ) -> None:
        """Have Glance show the image and its locations, asked at once.

        A secure Glance does not show them in the record.
        """
        locations = self._beside.submit(
            self._answer, context, f'{image}/locations'
        )
        self.get(context, image)
        locations.result()

    def _answer(self, context: nova_context.RequestContext, of: str) -> Any:
        return self._session.get(
            f'{CONF.glance.endpoint_override}/v2/images/{of}',
            auth=service_auth.get_service_user_token_auth_plugin(context),
        ).json()

    def copy(self, context: nova_context.RequestContext, image: str) -> None:
        """Have Glance copy the image here, unless it is being copied.

        The questions are those that a backend has to ask, if it goes by what
        Glance says.
        """
        store = CONF.libvirt.images_rbd_glance_store_name
        if not self.get(context, image).get('os_glance_import_task'):
            answer = self._session.post(
                f'{CONF.glance.endpoint_override}/v2/images/{image}/import',
                auth=service_auth.get_service_user_token_auth_plugin(context),
                json={'method': {'name': 'copy-image'}, 'stores': [store]},
                raise_exc=False,
            )
            # The first is served. The others are told 409, or 500 where
            # Glance's database ends a deadlock.
            if answer.status_code not in (202, 409, 500):
                answer.raise_for_status()
        self._await_snapshot(image)
        time.sleep(LOOK)  # Glance writes it down.
        while store not in self.get(context, image)['stores'].split(','):
            time.sleep(LOOK_AGAIN)

    def _await_snapshot(self, image: str) -> None:
        while not self._has_snapshot(image):
            time.sleep(LOOK)

    def _has_snapshot(self, image: str) -> bool:
        try:
            image_id = rbd_class.text(self._ask(f'rbd_id.{image}', 'get_id'))
            snapshots = rbd_class.snapshots(
                self._ask(f'rbd_header.{image_id}', 'get_snapcontext')
            )
        except rados.ObjectNotFound:
            return False
        return bool(snapshots)

    def _ask(self, name: str, method: str) -> bytes:
        _, answer = self._images.execute(name, 'rbd', method, b'')
        return bytes(answer)

    def clone(self, image: str, disk: str) -> None:
        rbd.RBD().clone(
            self._images,
            image,
            'snap',
            self._disks,
            disk,
            features=self._features,
        )

    def grow(self, disk: str, gib: int) -> None:
        with rbd.Image(self._disks, disk) as opened:
            opened.resize(gib * GIB)
