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

"""The region whose Glance is asked, and its endpoints in Keystone's catalog.

Each region has a Glance of its own, with other images in other clusters. So
one region is asked, and never one that was only guessed.
"""

from collections.abc import Sequence

from keystoneauth1.access import service_catalog
from oslo_log import log as logging

from nova_rbd_multistore import exceptions
from nova_rbd_multistore import text

LOG = logging.getLogger(__name__)


class Region:
    """One region's Glance, for all threads of a process.

    :param configured: name of the region, None for the only one there is
    :param service_type: Glance's in the catalog
    :param interfaces: whose endpoints may be asked, the preferred ones first
    """

    def __init__(
        self,
        configured: str | None,
        service_type: str,
        interfaces: Sequence[str],
    ) -> None:
        self._configured = configured
        self._service_type = service_type
        self._interfaces = interfaces
        self._only: str | None = None
        self._announced: set[str] = set()

    def urls(
        self, catalog: service_catalog.ServiceCatalog, *, whole: bool
    ) -> list[str]:
        """The region's endpoints of the first interface that has any there.

        :param whole: whether the catalog has all regions. A user's may be
            filtered for their project
        :raises RegionAmbiguous: if there are several, and none is configured
        """
        offered = self._by_region(catalog)
        region = self._configured or self._unconfigured(offered, whole)
        if region not in offered:
            return []
        self._announce(region)
        return offered[region]

    def _unconfigured(
        self, offered: dict[str, list[str]], whole: bool
    ) -> str | None:
        # A region that comes later takes no host that is at work away.
        if self._only in offered or (self._only is not None and not whole):
            return self._only
        if len(offered) > 1:
            raise exceptions.RegionAmbiguous(offered)
        only = next(iter(offered), None)
        if whole:
            self._only = only
        return only

    def _by_region(
        self, catalog: service_catalog.ServiceCatalog
    ) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for interface in self._interfaces:
            urls: dict[str, list[str]] = {}
            endpoints = catalog.get_endpoints_data(
                service_type=self._service_type, interface=interface
            )
            for group in endpoints.values():
                for endpoint in group:
                    if endpoint.url:
                        region = endpoint.region_name or ''
                        urls.setdefault(region, []).append(endpoint.url)
            found = urls | found
        return found

    def _announce(self, region: str) -> None:
        if region not in self._announced:
            self._announced.add(region)
            LOG.info(
                'Asking the glance-apis of region %s (%s)',
                text.printable(region, 80) or 'without a name',
                '[glance] region_name'
                if self._configured
                else 'the only one in the catalog that has Glance',
            )
