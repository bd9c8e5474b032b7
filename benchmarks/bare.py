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


"""The physical limit of a boot disk: librbd and one request, warm.

No driver, no checks, no locks, no log: what is left when everything else of a
boot disk costs nothing.
"""

# Nova's rule: before anything else is imported.
from nova import monkey_patch

monkey_patch.patch(backend='threading')

from keystoneauth1 import session as ksa_session  # noqa: E402
from nova import context as nova_context  # noqa: E402
from nova import service_auth  # noqa: E402
import nova.conf  # noqa: E402
import rados  # noqa: E402
import rbd  # noqa: E402

CONF = nova.conf.CONF
GIB = 1 << 30


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

    def get(self, context: nova_context.RequestContext, image: str) -> None:
        """Have Glance show the image, as Nova asks for its user."""
        self._session.get(
            f'{CONF.glance.endpoint_override}/v2/images/{image}',
            auth=service_auth.get_service_user_token_auth_plugin(context),
        ).json()

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
