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

"""Dashboards are what their description makes, and ask for what there is."""

import json
import pathlib
import re
import subprocess
import sys

import pytest

from tests.fakes import told

ROOT = pathlib.Path(__file__).parents[2]
MONITORING = ROOT / 'monitoring'
FILES = sorted(MONITORING.glob('dashboard-*.json'))
METRIC = re.compile(r'\b(?:nova_rbd_multistore|image_replica)_\w+')


def queries(path):
    """All that a dashboard asks."""
    shown = json.loads(path.read_text())
    return [
        target['expr']
        for panel in shown['panels']
        for target in panel['targets']
    ]


ALL = [query for path in FILES for query in queries(path)]


def test_each_file_is_as_its_description_makes_it(tmp_path):
    subprocess.run(
        [sys.executable, ROOT / 'tools' / 'make-dashboards', tmp_path],
        check=True,
    )
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_text() for path in FILES}


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_no_panel_hides_another(path):
    places = [
        (panel['gridPos']['x'], panel['gridPos']['y'])
        for panel in json.loads(path.read_text())['panels']
    ]
    assert len(set(places)) == len(places) > 0
    assert max(column for column, _ in places) <= 16


@pytest.mark.parametrize('query', ALL)
def test_a_query_asks_for_what_there_is(query):
    asked = set(METRIC.findall(query))
    assert asked
    assert asked <= told.names()
    for label, values in re.findall(r'(\w+)!?=~?"([^"$]+)"', query):
        assert set(values.split('|')) <= told.values()[label]


@pytest.mark.parametrize('query', ALL)
def test_a_query_is_about_the_instances_that_are_chosen(query):
    for part in query.split(' / '):
        assert 'instance=~"$instance"' in part


def test_whatever_is_told_is_shown():
    shown = set(METRIC.findall(' '.join(ALL)))
    aggregates = {
        name
        for name in told.names()
        if name.endswith(('_seconds_count', '_seconds_sum'))
    }
    assert told.names() - aggregates == shown
