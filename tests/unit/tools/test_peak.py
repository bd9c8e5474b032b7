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

"""What tools/peak makes of what it samples, and of what it runs."""

import importlib.machinery
import importlib.util
import pathlib
import subprocess
import sys

import pytest

TOOL = pathlib.Path(__file__).parents[3] / 'tools' / 'peak'

MEMINFO = """\
MemTotal:        8000000 kB
MemFree:         1000000 kB
MemAvailable:    6000000 kB
SwapTotal:       2000000 kB
SwapFree:        1500000 kB
HugePages_Total:       0
"""


@pytest.fixture
def peak(monkeypatch):
    # Else there were a tools/__pycache__.
    monkeypatch.setattr(sys, 'dont_write_bytecode', True)
    loader = importlib.machinery.SourceFileLoader('peak', str(TOOL))
    spec = importlib.util.spec_from_loader('peak', loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, 'peak', module)
    loader.exec_module(module)
    return module


def test_a_peak_is_the_highest_level_above_the_first(peak):
    found = peak.Peak(before=100)
    for level in (90, 130, 170, 120):
        found.see(level)
    assert found.above == 70


def test_what_never_rises_has_a_peak_of_nothing(peak):
    found = peak.Peak(before=100)
    found.see(90)
    assert found.above == 0


def test_memory_used_is_what_neither_memory_nor_swap_has_left(peak):
    assert peak.memory_used(MEMINFO) == 1024 * (2_000_000 + 500_000)


def test_each_file_system_is_sampled_once(peak):
    places = [('/here', 1), ('/var', 2), ('/', 1)]
    assert peak.by_device(places) == {1: '/here', 2: '/var'}


def test_the_report_has_each_figure_with_its_unit(peak):
    text = peak.report(61.04, 3 << 30, [('/here', 5 << 29), ('/var', 0)])
    assert [' '.join(line.split()) for line in text.splitlines()] == [
        'seconds 61.0',
        'memory 3.00 GiB',
        'disk 2.50 GiB on the file system of /here',
        'disk 0.00 GiB on the file system of /var',
    ]


@pytest.mark.parametrize(
    ('script', 'code'), [('exit 0', 0), ('exit 3', 3), ('kill -9 $$', 137)]
)
def test_the_exit_code_is_that_of_the_command(script, code):
    done = subprocess.run(
        [sys.executable, TOOL, '/bin/sh', '-c', f'echo out; {script}'],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (code, 'out\n')
    assert done.stderr.startswith('seconds')


def test_a_command_that_is_not_there_is_said():
    done = subprocess.run(
        [sys.executable, TOOL, '/no/such'], capture_output=True, text=True
    )
    assert done.returncode == 127
    assert '/no/such' in done.stderr
