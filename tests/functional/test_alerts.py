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

"""Prometheus' own tool finds the rules well, and has them tested."""

import pathlib
import shutil
import subprocess

import prometheus_client
import pytest

from nova_rbd_multistore import metrics
from nova_rbd_multistore_client import cloud_metrics
from nova_rbd_multistore_client import survey

MONITORING = pathlib.Path(__file__).parents[2] / 'monitoring'


def promtool(*arguments, text=''):
    program = shutil.which('promtool')
    assert program, 'tools/install.sh installs it, with the package prometheus'
    return subprocess.run(
        [program, *arguments],
        cwd=MONITORING,
        input=text,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    'arguments',
    [('check', 'rules', 'alerts.yaml'), ('test', 'rules', 'alerts_test.yaml')],
)
def test_promtool_finds_the_rules_well(arguments):
    ended = promtool(*arguments)

    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_promtool_finds_the_metrics_named_as_they_should_be():
    measured = metrics.Metrics('1.2.3', 'west')
    measured.boot('clone', good=True)
    measured.answer('http://glance:9292/', 'Good')
    measured.watch(lambda: {'http://glance:9292/': True}, lambda: {'lost': 1})

    measured.registry.register(
        cloud_metrics.CloudMetrics('1.2.3', survey.Sight)
    )

    ended = promtool(
        *('check', 'metrics'),
        text=prometheus_client.generate_latest(measured.registry).decode(),
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
