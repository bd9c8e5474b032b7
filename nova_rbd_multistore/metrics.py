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

"""What boots report, as Prometheus wants it.

Labels have few values, and never an image's or a server's id. What is true at
a moment (copies under way, endpoints that are well) is looked up when somebody
asks.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
import contextlib
import inspect
import time

from oslo_log import log as logging
import prometheus_client
from prometheus_client import core
from prometheus_client import registry

from nova_rbd_multistore import beside
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import meter
from nova_rbd_multistore import rounds
from nova_rbd_multistore import scrapes

LOG = logging.getLogger(__name__)

PREFIX = 'nova_rbd_multistore'

#: Upper ends of what is counted together, in seconds.
_QUICK = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_SLOW = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1200, 3600)


def outcomes() -> list[str]:
    """What may become of a boot: words, and classes of our errors."""
    return [
        *('clone', 'copy_and_clone', 'download', 'deleted', 'other'),
        *sorted(
            name
            for name, kind in vars(exceptions).items()
            if inspect.isclass(kind) and 'msg_fmt' in vars(kind)
        ),
    ]


class Metrics(meter.Meter):
    """Counts what it hears of boots.

    :param version: of this package
    :param store: name of the host's store in Glance, '' if there is none
    :ivar registry: what Prometheus is told from
    """

    def __init__(self, version: str, store: str) -> None:
        # Or there would be twice as many, half of which nobody asks for.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = prometheus_client.CollectorRegistry()
        self._boots = self._counter(
            'boots', 'Boot disks that were to be made from an image', 'outcome'
        )
        self._last_boot = prometheus_client.Gauge(
            f'{PREFIX}_last_good_boot_timestamp_seconds',
            'When a boot disk was last made, 0 if none was since the start',
            registry=self.registry,
        )
        self._steps = {
            meter.Step.FIND: self._histogram(
                'find', 'Seconds to learn where an image is', _QUICK
            ),
            meter.Step.TURN: self._histogram(
                'turn', 'Seconds until a boot may ask Glance', _SLOW
            ),
            meter.Step.COPY: self._histogram(
                'copy', 'Seconds that a boot waits for a copy', _SLOW
            ),
            meter.Step.CLONE: self._histogram(
                'clone', 'Seconds to clone a boot disk', _QUICK
            ),
        }
        self._looks = self._counter(
            'looks', 'Looks into the cluster for an image', 'saw'
        )
        # A rate sees no counter begin that was not there before.
        for outcome in outcomes():
            self._boots.labels(outcome)
        for saw in meter.Saw:
            self._looks.labels(saw.value)
        self._requests = self._counter(
            'glance_requests', 'Questions to glance-apis', 'endpoint', 'answer'
        )
        prometheus_client.Gauge(
            f'{PREFIX}_info',
            'What this is, and of which store',
            ('version', 'store'),
            registry=self.registry,
        ).labels(version, store).set(1)
        # Keys of a dictionary come and go each in one step, so threads of any
        # kind need no lock.
        self._copies: dict[int, meter.Copy] = {}
        self._endpoints: Callable[[], Mapping[str, bool]] = dict
        self._connections: Callable[[], Mapping[str, int]] = dict
        self.registry.register(_Moment(self._now))

    def _counter(
        self, name: str, what: str, *labels: str
    ) -> prometheus_client.Counter:
        return prometheus_client.Counter(
            f'{PREFIX}_{name}', what, labels, registry=self.registry
        )

    def _histogram(
        self, name: str, what: str, buckets: tuple[float, ...]
    ) -> prometheus_client.Histogram:
        return prometheus_client.Histogram(
            f'{PREFIX}_{name}_seconds',
            what,
            buckets=buckets,
            registry=self.registry,
        )

    def watch(
        self,
        endpoints: Callable[[], Mapping[str, bool]],
        connections: Callable[[], Mapping[str, int]],
    ) -> None:
        """Say where to look up what is true at a moment.

        :param endpoints: whether each glance-api is well, by its URL
        :param connections: how many to the cluster were given up, by reason
        """
        self._endpoints = endpoints
        self._connections = connections

    # As a meter

    def time(
        self, step: meter.Step
    ) -> contextlib.AbstractContextManager[None]:
        return self._time(self._steps[step])

    @staticmethod
    @contextlib.contextmanager
    def _time(histogram: prometheus_client.Histogram) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            histogram.observe(time.monotonic() - began)

    @contextlib.contextmanager
    def follow(self, copy: meter.Copy) -> Iterator[None]:
        self._copies[id(copy)] = copy
        try:
            yield
        finally:
            del self._copies[id(copy)]

    def look(self, saw: meter.Saw) -> None:
        self._looks.labels(saw.value).inc()

    def answer(self, url: str, kind: str) -> None:
        self._requests.labels(rounds.shown(url), kind).inc()

    def boot(self, outcome: str, *, good: bool) -> None:
        self._boots.labels(outcome).inc()
        if good:
            self._last_boot.set_to_current_time()

    # What is true at a moment

    def _now(self) -> Iterator[core.Metric]:
        copies = list(self._copies.values())
        stages = dict.fromkeys(meter.Stage, 0)
        for copy in copies:
            stages[copy.stage] += 1
        waiting = core.GaugeMetricFamily(
            f'{PREFIX}_copies',
            'Copies that boots wait for',
            labels=('stage',),
        )
        for stage, count in stages.items():
            waiting.add_metric((stage.value,), count)
        yield waiting
        yield core.GaugeMetricFamily(
            f'{PREFIX}_copies_arrived_bytes',
            'Bytes that have arrived of these copies',
            value=sum(copy.copied for copy in copies),
        )
        yield core.GaugeMetricFamily(
            f'{PREFIX}_copies_size_bytes',
            'Bytes of these copies as a whole, as far as that is known',
            value=sum(copy.total or 0 for copy in copies),
        )
        well = core.GaugeMetricFamily(
            f'{PREFIX}_glance_endpoint_up',
            'Whether a glance-api is well, as far as boots have seen',
            labels=('endpoint',),
        )
        for url, is_well in self._endpoints().items():
            well.add_metric((rounds.shown(url),), float(is_well))
        yield well
        given_up = core.CounterMetricFamily(
            f'{PREFIX}_ceph_connections_given_up',
            'Connections to the cluster that were replaced',
            labels=('reason',),
        )
        for reason, count in self._connections().items():
            given_up.add_metric((reason,), count)
        yield given_up


class _Moment(registry.Collector):
    """Has what is true at a moment looked up when Prometheus asks."""

    def __init__(self, now: Callable[[], Iterable[core.Metric]]) -> None:
        self._now = now

    def describe(self) -> Iterable[core.Metric]:
        return ()

    def collect(self) -> Iterable[core.Metric]:
        return self._now()


def serve(address: str, told: prometheus_client.CollectorRegistry) -> None:
    """Answer Prometheus, in a thread of its own, until the process ends.

    If the address is not to be had, an ERROR says so: no reason for boots to
    fail.

    :param address: ``<host>:<port>``
    :param told: what it is told from
    """
    try:
        port = scrapes.Port(address, told)
    except OSError as exc:
        LOG.error('Cannot serve metrics at %s: %s', address, exc)
        return
    LOG.info('Serving metrics at http://%s/metrics', address)
    beside.start(port.answer_all)
