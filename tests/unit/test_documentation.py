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

"""What the documentation says of the tests is so."""

import ast
import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]
SCENARIOS = ROOT / 'doc' / 'source' / 'scenarios.rst'
THREATS = ROOT / 'doc' / 'source' / 'threat-model.rst'
FUNCTIONAL = ROOT / 'tests' / 'functional'
UNIT = ROOT / 'tests' / 'unit'


def names(folder: pathlib.Path, only_faults: bool = False) -> set[str]:
    found = set()
    for path in folder.glob('test_*.py'):
        source = path.read_text()
        if only_faults and 'pytestmark = pytest.mark.fault' not in source:
            continue
        found |= {
            node.name
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.FunctionDef)
            and node.name.startswith('test_')
        }
    return found


def named(page: pathlib.Path) -> set[str]:
    return set(re.findall(r'``(test_\w+)``', page.read_text()))


def test_each_test_in_the_table_of_scenarios_is_there() -> None:
    assert named(SCENARIOS) - names(FUNCTIONAL) == set()


def test_each_test_in_the_threat_model_is_there() -> None:
    assert named(THREATS)
    assert named(THREATS) - names(FUNCTIONAL) - names(UNIT) == set()


def test_each_fault_that_is_tested_is_in_the_table_of_scenarios() -> None:
    assert names(FUNCTIONAL, only_faults=True) - named(SCENARIOS) == set()
