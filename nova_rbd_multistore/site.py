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

"""The site of a compute host, as the host tells it to Nova's scheduler.

It travels in the statistics of the compute node, which Nova stores with the
host's free space, and shows to filters and weighers. They see no traits; and
the name of a trait may not have all characters that a store's may, so that two
stores could have one.
"""

from collections.abc import Mapping
import dataclasses

_CLUSTER = 'rbd_multistore_cluster'
_STORE = 'rbd_multistore_store'


@dataclasses.dataclass(frozen=True)
class Site:
    """The site of a host, as far as the host tells it.

    :ivar cluster: fsid of its Ceph cluster; '' if it tells none, for it does
        not run our driver
    :ivar store: name of its store in Glance; '' if it has none
    """

    cluster: str = ''
    store: str = ''

    @classmethod
    def from_stats(cls, stats: Mapping[str, str | None]) -> 'Site':
        """Read the statistics of a compute node."""
        return cls(stats.get(_CLUSTER) or '', stats.get(_STORE) or '')

    def to_stats(self) -> dict[str, str]:
        """What :meth:`from_stats` reads."""
        return {_CLUSTER: self.cluster, _STORE: self.store}
