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
import tomllib

import pytest

ROOT = pathlib.Path(__file__).parents[2]
SCENARIOS = ROOT / 'doc' / 'source' / 'scenarios.rst'
THREATS = ROOT / 'doc' / 'source' / 'threat-model.rst'
#: Where it is shown who has to have which right.
RIGHTS = (
    ROOT / 'README.rst',
    ROOT / 'doc' / 'source' / 'install.rst',
    ROOT / 'doc' / 'source' / 'security.rst',
)
FUNCTIONAL = ROOT / 'tests' / 'functional'
UNIT = ROOT / 'tests' / 'unit'


def names(folder: pathlib.Path, only_faults: bool = False) -> set[str]:
    found = set()
    for path in folder.rglob('test_*.py'):
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


def test_no_security_rule_of_ruff_is_off_for_the_package() -> None:
    lint = tomllib.loads((ROOT / 'pyproject.toml').read_text())['tool']['ruff']
    assert 'S' in lint['lint']['select']
    assert not [rule for rule in lint['lint']['ignore'] if rule[0] == 'S']
    assert set(lint['lint']['per-file-ignores']) == {
        *('benchmarks/*', 'lab/*', 'tests/*'),
    }
    for path in (ROOT / 'nova_rbd_multistore').glob('*.py'):
        assert not re.search('noqa.*S[0-9]', path.read_text())


def in_words(page: pathlib.Path) -> str:
    """What a page says, however its lines are broken."""
    return ' '.join(page.read_text().replace('\\\n', ' ').split())


@pytest.mark.parametrize('page', RIGHTS, ids=lambda page: page.name)
def test_the_policies_are_those_of_the_lab(page: pathlib.Path) -> None:
    lab = ROOT / 'lab' / 'templates' / 'policy.yaml.j2'
    for line in lab.read_text().splitlines():
        if not line.startswith('#'):
            assert line in in_words(page)


@pytest.mark.parametrize('page', RIGHTS[1:], ids=lambda page: page.name)
def test_the_capabilities_of_nova_are_those_of_the_lab(
    page: pathlib.Path,
) -> None:
    (capabilities,) = (
        ast.literal_eval(node.value)
        for node in ast.parse((ROOT / 'lab' / 'ceph.py').read_text()).body
        if isinstance(node, ast.AnnAssign)
        and ast.unparse(node.target) == 'CAPABILITIES'
    )
    words = ' '.join(
        f"{daemon} '{capability}'"
        for daemon, capability in capabilities['client.nova'].items()
    )
    assert f'get-or-create client.nova {words}' in in_words(page)


def test_each_fault_that_is_tested_is_in_the_table_of_scenarios() -> None:
    assert names(FUNCTIONAL, only_faults=True) - named(SCENARIOS) == set()
