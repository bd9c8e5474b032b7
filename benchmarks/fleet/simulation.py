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

"""All computes of a cloud boot one cold image at the same moment."""

import collections
import dataclasses
import functools
import gc
import itertools
import random
from typing import Literal

from keystoneauth1 import token_endpoint

from benchmarks.fleet import clock as clocks
from benchmarks.fleet import glance
from benchmarks.fleet import ours
from benchmarks.fleet import stock
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import pace as paces
from tests.fakes import cluster as clusters
from tests.fakes import glance_api

GIB = 1024**3

Backend = Literal['ours', 'stock']
BACKENDS: tuple[Backend, ...] = ('ours', 'stock')

#: Not looked at: the session says which user asks.
AUTH = token_endpoint.Token('http://keystone', 'token')


@dataclasses.dataclass(frozen=True)
class Cloud:
    """What is simulated; times in seconds.

    :ivar image_gib: copied at 1 GiB/s into Glance's staging area, and at half
        of that into the target store
    :ivar load: Glance takes from an image's lock to its task: about 2 where it
        has just been started
    :ivar timeout: of a boot's wait for its copy
    :ivar workers: requests that one glance-api serves at a time
    :ivar bandwidth: of one glance-api, in GiB/s: a link of 25 Gbit/s
    """

    computes: int
    sites: int = 20
    backend: Backend = 'ours'
    image_gib: float = 1.0
    glance_apis: int = 2
    workers: int = 16
    bandwidth: float = 2.9
    load: float = 0.0
    timeout: float = ours.LIMITS.timeout
    seed: int = 5

    @property
    def pace(self) -> glance_api.Pace:
        return glance_api.Pace(
            load=self.load,
            staging=self.image_gib,
            upload=2 * self.image_gib,
        )

    @property
    def copy_seconds(self) -> float:
        """One copy, from the request to the end of its task."""
        pace = self.pace
        return round(pace.start + pace.staging + pace.upload + pace.record, 2)

    @property
    def limits(self) -> paces.Limits:
        return dataclasses.replace(ours.LIMITS, timeout=self.timeout)


@dataclasses.dataclass
class Outcome:
    """What became of it.

    :ivar copies: made by Glance
    :ivar errors: boots that failed, by the error's name
    :ivar last_clone: second at which the last clone was there
    :ivar last_boot: second at which the last disk was there
    :ivar asked: second of each request to Glance
    :ivar idle: seconds that the image was free before each copy but the first
    :ivar slowest: seconds for an answer of Glance, at most
    :ivar looks: probes of the clusters
    """

    cloud: Cloud
    copies: int = 0
    clones: int = 0
    flat: int = 0
    errors: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter
    )
    last_clone: float = 0.0
    last_boot: float = 0.0
    asked: list[float] = dataclasses.field(default_factory=list)
    idle: list[float] = dataclasses.field(default_factory=list)
    slowest: float = 0.0
    looks: int = 0

    @property
    def rates(self) -> list[int]:
        """Requests in each second, from the first on."""
        counts = collections.Counter(int(second) for second in self.asked)
        return [counts[second] for second in range(max(counts) + 1)]

    @property
    def per_compute(self) -> float:
        return len(self.asked) / self.cloud.computes


def run(cloud: Cloud) -> Outcome:
    """Boot on all computes at second 0, and wait for the last."""
    clock = clocks.Clock()
    rng = random.Random(cloud.seed)
    sites = {
        f'site-{number + 1:02}': clusters.Cluster(
            f'fsid-{number + 1:02}', clock.monotonic
        )
        for number in range(cloud.sites)
    }
    apis = glance.Glance(
        clock,
        {'central': None, **sites},
        cloud.glance_apis,
        cloud.workers,
        cloud.bandwidth * GIB,
    )
    apis.rules.pace = cloud.pace
    apis.rules.show_locations = cloud.backend == 'stock'
    image = apis.rules.add_image('central', size=int(cloud.image_gib * GIB))
    session = glance.Session(apis, functools.partial(_latency, rng))

    outcome = Outcome(cloud)

    def boot(compute: ours.Compute | stock.Compute) -> None:
        try:
            compute.boot(image.id)
        except (exceptions.ImageError, exceptions.HostError) as exc:
            outcome.errors[type(exc).__name__] += 1
            return
        outcome.last_boot = clock.now
        if isinstance(compute, stock.Compute) and compute.downloaded:
            outcome.flat += 1
        else:
            outcome.clones += 1
            outcome.last_clone = clock.now

    for number, store in zip(
        range(cloud.computes), itertools.cycle(sites), strict=False
    ):
        host = f'compute-{number}', store, sites[store], session
        chance = random.Random(rng.random())
        compute = (
            ours.Compute(
                *host,
                AUTH,
                apis.urls,
                cloud.limits,
                clock,
                clocks.Programs(clock),
                chance,
                clock.utcnow,
            )
            if cloud.backend == 'ours'
            else stock.Compute(*host, apis, cloud.limits, clock, chance)
        )
        clock.start(functools.partial(boot, compute))
    # There is no garbage, but thousands of stacks to look for it in.
    gc.disable()
    try:
        clock.run()
    finally:
        gc.enable()

    outcome.copies = len(image.locations) - 1
    outcome.asked = apis.asked
    outcome.idle = _idle(apis.rules)
    outcome.slowest = apis.slowest
    outcome.looks = sum(cluster.looks for cluster in sites.values())
    return outcome


def _idle(rules: glance_api.GlanceApi) -> list[float]:
    now = rules.clock.utcnow()
    ends = sorted(
        rules.clock.now - (now - task.updated_at).total_seconds()
        for task in rules.tasks.values()
    )
    begins = [at for at, _, status in rules.requests if status == 202]
    return [begin - end for end, begin in zip(ends, begins[1:], strict=False)]


def _latency(rng: random.Random, path_end: str) -> float:
    typical = glance.SECONDS.get(path_end, glance.SECONDS_OTHERWISE)
    return typical * rng.uniform(0.7, 1.6)
