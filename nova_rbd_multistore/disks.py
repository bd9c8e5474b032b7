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

"""Nova's calls to RBD, over the one connection of this host."""

from typing import Any

from nova.storage import rbd_utils

from nova_rbd_multistore import ceph


class RBDDriver(rbd_utils.RBDDriver):
    """Nova's RBD driver, without a new connection for every call.

    Nova opens one each time (nine for one boot), without a time-out: with the
    cluster away, such a call never returns. And for the monitors' addresses
    it runs ``ceph mon dump``, which waits as long.

    :param cluster: the local one
    """

    def __init__(self, cluster: ceph.Cluster) -> None:
        super().__init__()
        self._cluster = cluster

    def get_mon_addrs(
        self, strip_brackets: bool = True
    ) -> tuple[list[str], list[str]]:
        """Hosts and ports of the monitors.

        :param strip_brackets: whether IPv6 addresses come without brackets
        """
        monitors = self._cluster.monitors()
        hosts = [
            name.strip('[]') if strip_brackets else name
            for name, _ in monitors
        ]
        return hosts, [port for _, port in monitors]

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
        found: bool = super().exists(name, pool, snapshot)
        return found

    def opened(self, name: str) -> rbd_utils.RBDVolumeProxy:
        """A disk, open for changes within ``with``."""
        return rbd_utils.RBDVolumeProxy(self, name)

    def _connect_to_rados(self, pool: str | None = None) -> tuple[Any, Any]:
        return self._cluster.open_pool(str(pool or self.pool))

    def _disconnect_from_rados(self, client: Any, ioctx: Any) -> None:
        # The connection is everybody's: it stays.
        del client
        ioctx.close()
