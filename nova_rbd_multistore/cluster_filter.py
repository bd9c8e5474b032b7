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

"""A filter of Nova's scheduler: servers move within their cluster."""

from collections.abc import Iterable, Iterator
from typing import Any

from nova import objects
from nova.scheduler import filters
from oslo_log import log as logging

from nova_rbd_multistore import server
from nova_rbd_multistore import site

LOG = logging.getLogger(__name__)


class SameClusterFilter(filters.BaseHostFilter):
    """Passes the hosts of the cluster in which the server has its disks.

    All hosts, if it has none: it is new, or shelved, or on volumes; or if its
    host does not tell its cluster.
    """

    # A request for several servers is one for new servers.
    run_filter_once_per_request = True

    def filter_all(
        self, filter_obj_list: Iterable[Any], spec_obj: 'objects.RequestSpec'
    ) -> Iterator[Any]:
        """The hosts that pass; called by Nova's scheduler."""
        cluster = _cluster(spec_obj)
        for host in filter_obj_list:
            # Nova leaves it out until the host has reported for the first
            # time.
            stats = getattr(host, 'stats', {})
            if not cluster or site.Site.from_stats(stats).cluster == cluster:
                yield host


def _cluster(spec: 'objects.RequestSpec') -> str:
    """The fsid of the cluster that the server must stay in, '' if none."""
    found = server.of_request(spec)
    if found is None or not found.has_data:
        return ''
    if found.cluster:
        LOG.debug(
            'Server %s has its disks in cluster %s',
            spec.instance_uuid,
            found.cluster,
        )
    return found.cluster
