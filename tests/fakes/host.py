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

import functools
import random

from keystoneauth1 import plugin
from nova import context as nova_context

from nova_rbd_multistore import access
from nova_rbd_multistore import finding
from nova_rbd_multistore import glance
from nova_rbd_multistore import host
from nova_rbd_multistore import meter as meters
from tests.fakes import cloud as clouds
from tests.fakes import cluster as clusters
from tests.fakes import endpoint as endpoints


class Access(access.GlanceAccess):
    """The real one, in a cloud without services.

    :ivar service: Nova's service token, None if none is sent
    :ivar deputy: the separate identity, None if there is none
    """

    def __init__(self, cloud: clouds.Cloud) -> None:
        super().__init__()
        self._cloud = cloud
        self.service: str | None = endpoints.SERVICE
        self.deputy: plugin.BaseAuthPlugin | None = None

    def as_user_of(
        self, context: nova_context.RequestContext
    ) -> glance.Glance:
        return self._cloud.glance(
            token=context.auth_token or '',
            service=self.service,
            deputy=self.deputy,
            retries=3,
            records=self._records,
        )


class Host:
    """In place of :class:`host.Host`, on the cloud's clock."""

    def __init__(self, cloud: clouds.Cloud) -> None:
        self.cluster: clusters.Cluster = cloud.west
        self.access = Access(cloud)
        self._cloud = cloud
        self.meter: meters.Meter = meters.DEAF
        self.time = cloud.clock.time()

    @functools.cached_property
    def finder(self) -> finding.Finder:
        """The real one, by the options as they are when it is first needed."""
        # The same each time, or tests would meet odd moments now and then.
        chance = random.Random(0)  # noqa: S311
        return host.make_finder(
            self.cluster,
            self._cloud.clock.time(chance.uniform),
            self.meter,
        )
