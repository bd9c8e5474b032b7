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

"""Each query of the dashboards has data, once boots have run and failed.

With NOVA_RBD_DASHBOARDS, what they show is kept in the file of that name, for
``python -m benchmarks.dashboards`` to draw.
"""

import contextlib
import dataclasses
import json
import math
import os
import pathlib
import re
import time

import pytest

from lab import cloud
from tests.rig import exporter
from tests.rig import polling
from tests.rig import ports as free_ports
from tests.rig import prometheus

pytestmark = pytest.mark.long

MONITORING = pathlib.Path(__file__).parents[2] / 'monitoring'
DASHBOARDS = {
    path.stem.removeprefix('dashboard-'): json.loads(path.read_text())
    for path in sorted(MONITORING.glob('dashboard-*.json'))
}

#: What Grafana puts in place of its variables.
VARIABLES = {'$instance': '.*', '$__rate_interval': '30s'}


@pytest.fixture
def ports(computes, configure):
    """Where each of the lab's computes tells of its boots."""
    found = {name: free_ports.free() for name in computes}
    for name, port in found.items():
        configure(name, rbd_multistore__metrics_address=port)
    return [*found.values()]


@pytest.fixture
def scraped(ports, where, tmp_path):
    """Begins to scrape computes and exporter, by a file of rules."""

    @contextlib.contextmanager
    def begin(rules):
        counting = exporter.Exporter(tmp_path / 'exporter.log')
        made = prometheus.Prometheus(
            tmp_path / 'prometheus',
            {'hosts': ports, 'images': [counting.port]},
            [MONITORING / 'alerts.yaml'],
        )
        account = dataclasses.asdict(cloud.account('admin', where))
        with (
            counting.serving(account, '--interval', '2', '--rules', rules),
            made.running(),
        ):
            yield made

    return begin


@pytest.fixture
def boot_in_vain(servers, demo):
    """Boots a server, and sees it fail."""

    def boot(image_id, zone):
        (server,) = servers.begin(image_id, zone)
        polling.until(
            lambda: demo.compute.get_server(server.id).status == 'ERROR',
            f'server {server.id} is in error',
        )

    return boot


def asked(query):
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    return query


def named(legend, labels):
    """A series by its legend, as Grafana puts it."""
    return re.sub(r'{{(\w+)}}', lambda match: labels[match[1]], legend)


def series(made, target, begin, end):
    """What a query gives: points by the names of the series, NaN left out."""
    found = {}
    for labels, points in made.over_time(asked(target['expr']), begin, end):
        kept = [
            (round(moment - begin), value)
            for moment, value in points
            if math.isfinite(value)
        ]
        if kept:
            found[named(target['legendFormat'], labels)] = kept
    return found


def shown(made, begin, end):
    """What each panel shows, by dashboard."""
    return {
        name: [
            {
                'title': panel['title'],
                'unit': panel['fieldConfig']['defaults']['unit'],
                'queries': [
                    series(made, target, begin, end)
                    for target in panel['targets']
                ],
            }
            for panel in dashboard['panels']
        ]
        for name, dashboard in DASHBOARDS.items()
    }


def test_each_query_has_data_and_each_rule_can_be_evaluated(
    scraped, tmp_path, upload, servers, boot_in_vain, west
):
    local, cold = upload(store='west'), upload(128, store='east')
    broken = upload(store='east')
    west.create('images', broken.id, 1 << 20)
    rules = tmp_path / 'rules.yaml'
    rules.write_text(
        'version: 1\n'
        'rules:\n'
        f'  - images: {{ids: [{cold.id}, {broken.id}]}}\n'
        '    stores: [west]\n'
    )
    with scraped(rules) as made:
        begin = time.time()
        servers.boot(local.id, 'west')
        storm = servers.begin(cold.id, *['west'] * 4)
        for server in storm:
            servers.wait_for(server)
        boot_in_vain(broken.id, 'west')
        servers.boot(local.id, 'west')
        # What was told last is to be counted, and scraped.
        time.sleep(5)
        found = shown(made, begin, time.time())
        unwell = [
            (rule['name'], rule['lastError'])
            for rule in made.rules()
            if rule['health'] != 'ok'
        ]

    if path := os.environ.get('NOVA_RBD_DASHBOARDS'):
        pathlib.Path(path).write_text(json.dumps(found) + '\n')
    empty = [
        (name, panel['title'], number)
        for name, panels in found.items()
        for panel in panels
        for number, query in enumerate(panel['queries'])
        if not query
    ]
    assert empty == []
    assert unwell == []
    outcomes = found['hosts'][0]['queries'][0]
    assert {'clone', 'copy_and_clone'} <= outcomes.keys()
