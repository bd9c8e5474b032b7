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

"""Each alert has a runbook, tests, and asks for what there is."""

import itertools
import pathlib
import re

import pytest
import yaml

from tests.fakes import told

ROOT = pathlib.Path(__file__).parents[2]
PAGE = ROOT / 'doc' / 'source' / 'monitoring.rst'
METRIC = re.compile(r'\b(?:nova_rbd_multistore|image_replica)_\w+')


def load(name):
    return yaml.safe_load((ROOT / 'monitoring' / name).read_text())


RULES = {
    rule['alert']: rule
    for group in load('alerts.yaml')['groups']
    for rule in group['rules']
}
each_alert = pytest.mark.parametrize('name', RULES)


def runbooks():
    """The sections of the page on alerts, by their titles."""
    _, _, part = PAGE.read_text().partition('\nAlerts\n======\n')
    titles = re.findall(r'^(\w+)\n-+$', part, re.MULTILINE)
    bodies = re.split(r'^\w+\n-+$', part, flags=re.MULTILINE)[1:]
    return dict(zip(titles, bodies, strict=True))


def test_each_alert_has_a_runbook_and_there_is_no_other():
    assert runbooks().keys() == RULES.keys()


@each_alert
def test_a_runbook_has_a_cause_and_what_to_do(name):
    assert re.search(r'^Cause$', runbooks()[name], re.MULTILINE)
    assert re.search(r'^Do$', runbooks()[name], re.MULTILINE)


@each_alert
def test_an_alert_leads_to_its_runbook(name):
    annotations = RULES[name]['annotations']
    assert annotations['runbook_url'] == f'monitoring.html#{name.lower()}'
    assert annotations['summary']
    assert annotations['description'].endswith('.')


@each_alert
def test_an_alert_is_a_warning_or_critical(name):
    assert RULES[name]['labels'] in (
        {'severity': 'warning'},
        {'severity': 'critical'},
    )


@each_alert
def test_an_alert_is_tested_to_fire_and_not_to(name):
    fires = {
        bool(test['exp_alerts'])
        for case in load('alerts_test.yaml')['tests']
        for test in case['alert_rule_test']
        if test['alertname'] == name
    }
    assert fires == {False, True}


@each_alert
def test_an_alert_asks_for_what_there_is(name):
    asked = set(METRIC.findall(RULES[name]['expr']))
    assert asked
    assert asked <= told.names()


def test_alerts_ask_for_outcomes_and_stages_that_there_are():
    for rule in RULES.values():
        for label, values in re.findall(r'(\w+)[=!]~?"([^"]+)"', rule['expr']):
            assert set(values.split('|')) <= told.values()[label]


def test_the_tests_feed_what_there_is():
    series = itertools.chain.from_iterable(
        case['input_series'] for case in load('alerts_test.yaml')['tests']
    )
    for each in series:
        assert each['series'].partition('{')[0] in told.names()
