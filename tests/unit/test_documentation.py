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

"""What the documentation says of the tests and of the source is so."""

import ast
import functools
import importlib
import itertools
import pathlib
import re
import textwrap
import tomllib

from nova.compute import api as compute_api
import nova.conf
from nova.conf import opts
import pytest

ROOT = pathlib.Path(__file__).parents[2]
SCENARIOS = ROOT / 'doc' / 'source' / 'scenarios.rst'
DEPLOYMENTS = ROOT / 'doc' / 'source' / 'deployments.rst'
THREATS = ROOT / 'doc' / 'source' / 'threat-model.rst'
SIMULATION = ROOT / 'doc' / 'source' / 'contributor' / 'simulation.rst'
#: Where it is shown who has to have which right.
RIGHTS = (
    ROOT / 'README.rst',
    ROOT / 'doc' / 'source' / 'sites.rst',
    ROOT / 'doc' / 'source' / 'security.rst',
)
CONFIGURATION = ROOT / 'doc' / 'source' / 'configuration.rst'
MECHANISM = ROOT / 'doc' / 'source' / 'how-it-works.rst'
SIZING = ROOT / 'doc' / 'source' / 'sizing.rst'
PACKAGE = ROOT / 'nova_rbd_multistore'
FUNCTIONAL = ROOT / 'tests' / 'functional'
UNIT = ROOT / 'tests' / 'unit'


def names(folder, only=None):
    found = set()
    for path in folder.rglob('test_*.py'):
        source = path.read_text()
        if only and f'pytestmark = pytest.mark.{only}' not in source:
            continue
        found |= {
            node.name
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.FunctionDef)
            and node.name.startswith('test_')
        }
    return found


def named(page):
    return set(re.findall(r'``(test_\w+)``', page.read_text()))


def test_each_test_in_the_table_of_scenarios_is_there():
    assert named(SCENARIOS) - names(FUNCTIONAL) == set()


def test_each_test_in_the_table_of_deployments_is_there():
    assert named(DEPLOYMENTS)
    assert named(DEPLOYMENTS) - names(FUNCTIONAL) == set()


def test_each_test_with_cinder_is_in_the_table_of_deployments():
    cinders = names(FUNCTIONAL, only='cinder')
    assert cinders
    assert cinders - named(DEPLOYMENTS) == set()


def test_each_test_in_the_threat_model_is_there():
    assert named(THREATS)
    assert named(THREATS) - names(FUNCTIONAL) - names(UNIT) == set()


def test_each_rule_of_the_fake_glance_is_seen_on_the_real_one():
    seen = named(SIMULATION)
    assert seen
    assert seen - names(FUNCTIONAL) == set()


def test_no_security_rule_of_ruff_is_off_for_the_package():
    lint = tomllib.loads((ROOT / 'pyproject.toml').read_text())['tool']['ruff']
    assert 'S' in lint['lint']['select']
    assert not [rule for rule in lint['lint']['ignore'] if rule[0] == 'S']
    folders = {
        path.partition('/')[0] for path in lint['lint']['per-file-ignores']
    }
    assert folders == {'benchmarks', 'lab', 'tests'}
    for path in (ROOT / 'nova_rbd_multistore').glob('*.py'):
        assert not re.search('noqa.*S[0-9]', path.read_text())


def in_words(page):
    """What a page says, however its lines are broken."""
    return ' '.join(page.read_text().replace('\\\n', ' ').split())


@pytest.mark.parametrize('page', RIGHTS, ids=lambda page: page.name)
def test_the_policies_are_those_of_the_lab(page):
    lab = ROOT / 'lab' / 'templates' / 'policy.yaml.j2'
    for line in lab.read_text().splitlines():
        if not line.startswith('#'):
            assert line in in_words(page)


@pytest.mark.parametrize(
    'page',
    [
        page
        for page in (ROOT / 'README.rst', *(ROOT / 'doc').rglob('*.rst'))
        if '"add_image_location":' in page.read_text()
    ],
    ids=lambda page: page.name,
)
def test_who_is_to_close_locations_is_told_of_snapshots(page):
    assert re.search(
        r'snapshots?( of servers)? \*?fails?\b', in_words(page), re.IGNORECASE
    )


@pytest.mark.parametrize(
    ('page', 'user'),
    itertools.product(('sites', 'security'), ('nova', 'glance')),
)
def test_the_capabilities_are_those_of_the_lab(page, user):
    (capabilities,) = (
        ast.literal_eval(node.value)
        for node in ast.parse((ROOT / 'lab' / 'ceph.py').read_text()).body
        if isinstance(node, ast.AnnAssign)
        and ast.unparse(node.target) == 'CAPABILITIES'
    )
    words = ' '.join(
        f"{daemon} '{capability}'"
        for daemon, capability in capabilities[f'client.{user}'].items()
    )
    said = in_words(ROOT / 'doc' / 'source' / f'{page}.rst')
    assert f'get-or-create client.{user} {words}' in said


def test_each_fault_that_is_tested_is_in_the_table_of_scenarios():
    assert names(FUNCTIONAL, only='fault') - named(SCENARIOS) == set()


def options_documented():
    """Nova's options, by group and name, with the defaults that we tell."""
    rows = re.findall(
        r'\* - ``\[(\w+)\] (\w+)``\n     -(?: ``(.*)``)?\n',
        CONFIGURATION.read_text(),
    )
    return {(group, name): default for group, name, default in rows}


def options_read():
    """What our source reads of Nova's configuration, by name."""
    found = set()
    for path in PACKAGE.glob('*.py'):
        found |= set(re.findall(r'CONF\.(\w+)\.(\w+)', path.read_text()))
    return {
        (group, name)
        for group, name in found
        if group in nova.conf.CONF and group != 'rbd_multistore'
    }


def test_each_option_of_nova_that_is_read_is_documented():
    assert len(options_read()) > 10
    assert options_read() - options_documented().keys() == set()


@pytest.mark.parametrize(('group', 'name'), options_documented())
def test_a_default_of_nova_is_told_as_it_is(group, name):
    (found,) = (
        option.default
        for section, options in opts.list_opts()
        for option in options
        if (str(section), option.dest) == (group, name)
    )
    match found:
        case None:
            shown = ''
        case list():
            shown = ','.join(found)
        case _:
            shown = str(found)
    assert options_documented()[group, name] == shown


@pytest.mark.parametrize(
    'pointer',
    re.findall(r'``(\w+\.[A-Z_]?[\w.]+)``', MECHANISM.read_text()),
)
def test_each_pointer_into_the_source_leads_there(pointer):
    module, *names = pointer.split('.')
    functools.reduce(
        getattr,
        names,
        importlib.import_module(f'nova_rbd_multistore.{module}'),
    )


def scheduler_options():
    """The block of options for nova-scheduler, as the page shows it."""
    page = ROOT / 'doc' / 'source' / 'servers-and-sites.rst'
    (block,) = re.findall(
        r':caption: nova.conf of nova-scheduler\n\n((?:   .*\n|\n)+)',
        page.read_text(),
    )
    return textwrap.dedent(block).strip()


def test_nova_s_scheduler_is_configured_as_in_the_lab():
    template = ROOT / 'lab' / 'templates' / 'nova-scheduler.conf.j2'
    assert scheduler_options() in template.read_text()


def test_the_filter_comes_after_nova_s_own():
    (shown,) = re.findall('enabled_filters = (.+)', scheduler_options())
    *novas, ours = shown.split(', ')
    assert novas == nova.conf.CONF.filter_scheduler.enabled_filters
    assert ours == 'SameClusterFilter'


def test_nova_pins_servers_to_the_default_zone_if_there_is_one(options):
    def zone(asked):
        return compute_api.API.parse_availability_zone(None, asked)[0]

    assert zone(None) is None
    options.config(default_schedule_zone='east')
    assert zone(None) == 'east'
    assert zone('west') == 'west'


def test_the_table_of_sizes_is_what_its_formula_gives():
    rows = re.findall(
        r'^(\d+) GiB +(\d+) Gbit/s +(\d+) s +(\d+) s +(\d+) s$',
        SIZING.read_text(),
        re.MULTILINE,
    )
    assert rows
    for row in rows:
        gibibytes, line, *seconds = map(int, row)
        size = gibibytes * 2**30
        staging = size / (line * 1e9 / 8 * 0.9)
        copy = staging + size / (500 * 2**20)
        assert seconds == [round(staging), round(copy), round(2 * copy)]
