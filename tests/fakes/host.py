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

"""A compute host of site west."""

from typing import cast

from keystoneauth1 import plugin
from nova import context as nova_context

from nova_rbd_multistore import ceph
from nova_rbd_multistore import glance
from nova_rbd_multistore import host
from tests.fakes import cloud as clouds
from tests.fakes import endpoint as endpoints


class Host(host.Host):
    """The real one, in a cloud without services.

    :ivar service: Nova's service token, None if none is sent
    :ivar deputy: the separate identity, None if there is none
    """

    def __init__(self, cloud: clouds.Cloud) -> None:
        super().__init__()
        # As far as a host asks it, it is one.
        self.cluster = cast(ceph.Cluster, cloud.west)
        self.service: str | None = endpoints.SERVICE
        self.deputy: plugin.BaseAuthPlugin | None = None
        self._cloud = cloud

    def glance_for(
        self, context: nova_context.RequestContext
    ) -> glance.Glance:
        return self._cloud.glance(
            token=context.auth_token or '',
            service=self.service,
            deputy=self.deputy,
            retries=3,
        )
