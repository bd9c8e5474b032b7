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

"""What is counted of a cloud's images, as Prometheus wants it.

Labels have few values, and never an image's id or name.
"""

from collections.abc import Callable, Iterable, Iterator
import datetime

from prometheus_client import core
from prometheus_client import registry

from nova_rbd_multistore_client import census
from nova_rbd_multistore_client import survey

PREFIX = 'image_replica'


class CloudMetrics(registry.Collector):
    """Tells Prometheus what was seen last.

    :param version: of this package
    :param sight: gives that
    """

    def __init__(
        self, version: str, sight: Callable[[], survey.Sight]
    ) -> None:
        self._version = version
        self._sight = sight

    def describe(self) -> Iterable[core.Metric]:
        return ()

    def collect(self) -> Iterator[core.Metric]:
        sight = self._sight()
        info = _gauge('info', 'What this is', 'version')
        info.add_metric((self._version,), 1)
        yield info
        yield _single(
            'glance_up',
            'Whether Glance let all images be listed, the last time',
            sight.well,
        )
        yield core.CounterMetricFamily(
            f'{PREFIX}_glance_requests',
            'Requests to Glance',
            value=sight.requests,
        )
        if sight.rules_well is not None:
            yield _single(
                'rules_up',
                'Whether the file of rules could be read, and made sense',
                sight.rules_well,
            )
        if sight.counted is not None and sight.at is not None:
            yield _single(
                'last_list_timestamp_seconds',
                'When all images were last listed: everything below is of '
                'that time',
                sight.at.replace(tzinfo=datetime.UTC).timestamp(),
            )
            yield _single(
                'last_list_duration_seconds',
                'How long that took',
                sight.seconds,
            )
            yield from _counted(sight.counted)


def _counted(found: census.Census) -> Iterator[core.Metric]:
    images = _gauge(
        'images', 'Images whose data a store has', 'store', 'visibility'
    )
    sizes = _gauge(
        'images_size_bytes',
        'Bytes of these images, as Glance records them',
        *('store', 'visibility'),
    )
    for (store, visibility), amount in found.held.items():
        images.add_metric((store, visibility), amount.number)
        sizes.add_metric((store, visibility), amount.size)
    yield images
    yield sizes
    copies = _gauge('copies', 'Copies to a store', 'store', 'state')
    oldest = _gauge(
        'oldest_copy_age_seconds',
        'How long ago the first of these copies was asked for',
        *('store', 'state'),
    )
    for (store, state), some in found.copies.items():
        copies.add_metric((store, state.value), some.count)
        if state is not census.State.FAILED:
            oldest.add_metric(
                (store, state.value), some.oldest.total_seconds()
            )
    yield copies
    yield oldest
    if found.missing is not None:
        lacking = _gauge(
            'missing_images',
            'Images that a store lacks, by the rules',
            'store',
        )
        lacking_sizes = _gauge(
            'missing_images_size_bytes', 'Bytes of these images', 'store'
        )
        for store, amount in found.missing.items():
            lacking.add_metric((store,), amount.number)
            lacking_sizes.add_metric((store,), amount.size)
        yield lacking
        yield lacking_sizes


def _gauge(name: str, what: str, *labels: str) -> core.GaugeMetricFamily:
    return core.GaugeMetricFamily(f'{PREFIX}_{name}', what, labels=labels)


def _single(name: str, what: str, value: float) -> core.GaugeMetricFamily:
    return core.GaugeMetricFamily(f'{PREFIX}_{name}', what, value=float(value))
