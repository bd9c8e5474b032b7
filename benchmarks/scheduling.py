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

"""Measure what a decision costs: ``python -m benchmarks.scheduling``.

Nova's own filters and weighers, and ours beside them, on the hosts of a large
cloud. All of it is in this process, where Nova's databases and Glance answer
at once: what is measured is the processor time that nova-scheduler needs.
"""

from collections.abc import Callable
import datetime
import statistics
import time
from typing import Any

from nova import context as nova_context
from nova import objects
import nova.conf
from nova.scheduler import filters
from nova.scheduler import host_manager
from nova.scheduler import weights
import pytest

from nova_rbd_multistore import cluster_filter
from nova_rbd_multistore import site
from nova_rbd_multistore import store_weigher
from tests.fakes import cells as nova_cells
from tests.fakes import cloud as clouds
from tests.fakes import endpoint
from tests.fakes import host as hosts

CONF = nova.conf.CONF

HOSTS, SITES, TIMES = 1000, 10, 30


def _host(cells: nova_cells.Cells, number: int) -> host_manager.HostState:
    place = number % SITES
    state = cells.add_host(
        f'host-{number}', site.Site(f'fsid-{place}', f'store-{place}')
    )
    now = datetime.datetime.now(datetime.UTC)
    state.service = {'disabled': False, 'last_seen_up': now}
    # Each differs from the others, for the weighers.
    state.free_ram_mb = state.total_usable_ram_mb = 2**18 + number
    state.cpu_allocation_ratio, state.hypervisor_version = 4.0, 1
    return state


def _request(context: Any, server: str, image: str) -> 'objects.RequestSpec':
    request = nova_cells.request(
        server,
        context,
        image,
        flavor=objects.Flavor(extra_specs={}),
        instance_group=None,
        pci_requests=None,
        requested_destination=None,
    )
    request.image.properties = objects.ImageMetaProps()
    return request


def _measure(what: str, decide: Callable[[], object]) -> None:
    """Print how long something takes, after a first time."""
    decide()
    taken = []
    for _ in range(TIMES):
        began = time.thread_time()
        decide()
        taken.append((time.thread_time() - began) * 1000)
    print(f'{what:35} {statistics.median(taken):6.1f} ms')


def main() -> None:
    CONF([], project='nova', default_config_files=[])
    # Longer than this takes.
    CONF.set_override('service_down_time', 3600)
    with pytest.MonkeyPatch.context() as patches:
        _compare(nova_cells.Cells(patches), clouds.Cloud())


def _compare(cells: nova_cells.Cells, cloud: clouds.Cloud) -> None:
    filtering = filters.HostFilterHandler()
    weighing = weights.HostWeightHandler()
    novas_filters = [
        found()
        for found in filters.all_filters()
        if found.__name__ in CONF.filter_scheduler.enabled_filters
    ]
    novas_weighers = [found() for found in weights.all_weighers()]
    ours = cluster_filter.SameClusterFilter()
    weigher = store_weigher.ImageStoreWeigher(
        hosts.Access(cloud), cloud.clock.monotonic
    )
    cloud.api.stores['store-0'] = None
    image = cloud.api.add_image('store-0').id
    states = [_host(cells, number) for number in range(HOSTS)]
    context = nova_context.RequestContext(
        'demo', 'demo', auth_token=endpoint.USER, is_admin=False
    )
    new = _request(context, cells.ask_for_server(), image)
    moved = _request(context, cells.add_server('host-0'), image)

    def left(chosen: list[Any], request: Any) -> list[Any]:
        found: list[Any] = filtering.get_filtered_objects(
            chosen, states, request
        )
        return found

    def weigh(*chosen: Any) -> list[float]:
        found = weighing.get_weighed_objects(chosen, states, new)
        return [weighed.weight for weighed in found]

    assert len(left(novas_filters, new)) == HOSTS
    assert len(left([ours], new)) == HOSTS
    assert len(left([ours], moved)) == HOSTS // SITES
    assert sum(map(bool, weigh(weigher))) == HOSTS // SITES
    print(f'One decision, {HOSTS} hosts on {SITES} sites:')
    _measure("Nova's own filters", lambda: left(novas_filters, new))
    _measure("Nova's own weighers", lambda: weigh(*novas_weighers))
    _measure('SameClusterFilter, a new server', lambda: left([ours], new))
    _measure('SameClusterFilter, one that moves', lambda: left([ours], moved))
    _measure('ImageStoreWeigher', lambda: weigh(weigher))


if __name__ == '__main__':
    main()
