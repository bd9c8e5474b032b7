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

"""All that Prometheus is told, by hosts and by the exporter."""

from collections.abc import Iterable
import datetime

from prometheus_client import core

from nova_rbd_multistore import meter
from nova_rbd_multistore import metrics
from nova_rbd_multistore_client import census
from nova_rbd_multistore_client import cloud_metrics
from nova_rbd_multistore_client import survey

NOON = datetime.datetime(2026, 1, 2, 12)


def _families() -> Iterable[core.Metric]:
    measured = metrics.Metrics('1.2.3', 'west')
    measured.watch(lambda: {'http://b/': True}, lambda: {'lost': 1})
    measured.answer('http://b/', 'Good')
    yield from measured.registry.collect()
    sight = survey.Sight(
        well=True,
        counted=census.take([], ['west'], ['west'], (), NOON),
        at=NOON,
        rules_well=True,
    )
    yield from cloud_metrics.CloudMetrics('1.2.3', lambda: sight).collect()


def names() -> set[str]:
    """The names of all metrics, as Prometheus stores them."""
    return {sample.name for family in _families() for sample in family.samples}


def values() -> dict[str, set[str]]:
    """The words that a label may have, of labels that have words."""
    return {
        'outcome': set(metrics.outcomes()),
        'saw': {saw.value for saw in meter.Saw},
        'stage': {stage.value for stage in meter.Stage},
        'reason': {'lost', 'refused'},
        'state': {state.value for state in census.State},
        'visibility': {*census.VISIBILITIES, 'unknown'},
    }
