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

"""Imports go down, and never in a circle."""

import ast
import functools
import graphlib
import importlib.util
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PACKAGE = 'nova_rbd_multistore'

#: The layers of the package, top to bottom.
LAYERS = [
    (
        'glue to Nova',
        (
            *('shim', 'driver', 'backend', 'host', 'access', 'disks'),
            *('moves', 'snapshots', 'room', 'outage', 'surroundings'),
            *('cluster_filter', 'store_weigher', 'server', 'compat'),
            *('status', 'readiness', 'host_readiness'),
            *('cluster_readiness', 'glance_readiness'),
        ),
    ),
    ('finding', ('finding',)),
    (
        'engine',
        (
            *('copying', 'wait', 'journal', 'request', 'holder', 'watch'),
            *('lead', 'pace', 'sharing', 'transfer'),
        ),
    ),
    (
        'two ends',
        (
            *('glance', 'asking', 'rounds', 'beside', 'endpoints'),
            *('regions', 'connections', 'ceph', 'handle', 'probing'),
            *('logins', 'metrics', 'scrapes'),
        ),
    ),
    (
        'values',
        (
            *('source', 'image', 'task', 'arrival', 'location'),
            *('progress', 'rbd_class', 'monmap', 'remains'),
            *('answers', 'needs', 'site', 'grade', 'meter'),
        ),
    ),
    ('options and exceptions', ('conf', 'exceptions', 'text', 'address')),
]

#: The plugin of OpenStackClient: tests/unit/client/test_layers.py.
CLIENT = 'nova_rbd_multistore_client'

#: Libraries that talk to services, and the modules that alone import them.
DOORS = {
    'glanceclient': {'asking'},
    'prometheus_client': {'metrics', 'scrapes'},
    'rados': {'ceph'},
    'rbd': {'ceph'},
}

#: The trees of this repository, and what each may import of the others.
TREES = {
    PACKAGE: set(),
    CLIENT: {PACKAGE},
    'lab': set(),
    'tests': set(),
    'tests.fakes': {PACKAGE, CLIENT},
    'tests.rig': {PACKAGE, 'lab'},
    'benchmarks': {PACKAGE, 'lab', 'tests.fakes', 'tests.rig'},
    'tests.fixtures': {'lab', 'tests.rig'},
    'tests.simulation': {PACKAGE, 'benchmarks', 'tests.fakes'},
    'tests.nemesis': {PACKAGE, 'lab', 'tests.rig'},
    'tests.devstack': set(),
    'tests.fuzz': {PACKAGE},
    'tests.packaging': set(),
    'tests.tempest': {'lab', 'tests.fixtures', 'tests.rig'},
    'tests.functional': {
        *(PACKAGE, CLIENT, 'lab'),
        *('tests.devstack', 'tests.fixtures', 'tests.rig'),
    },
    'tests.nova_suite': {PACKAGE, 'tests.fakes'},
    'tests.benchmarks': {'benchmarks', 'tests.fixtures'},
    'tests.unit': {
        *(PACKAGE, CLIENT, 'lab', 'benchmarks'),
        *('tests.devstack', 'tests.fakes'),
        *('tests.nemesis', 'tests.simulation'),
    },
}


def sources():
    """Our modules: what each says, by its dotted name."""
    found = {}
    for top in (PACKAGE, CLIENT, 'lab', 'benchmarks', 'tests'):
        for path in (ROOT / top).rglob('*.py'):
            parts = path.relative_to(ROOT).with_suffix('').parts
            if parts[-1] == '__init__':
                parts = parts[:-1]
            found['.'.join(parts)] = path.read_text()
    return found


def of_package(modules, package=PACKAGE):
    """The modules of the package, by their names within it."""
    return {
        name.removeprefix(f'{package}.'): source
        for name, source in modules.items()
        if name.startswith(f'{package}.')
    }


@functools.cache
def imported(module, source):
    """The dotted names that a module imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import():
                names |= {alias.name for alias in node.names}
            case ast.ImportFrom():
                origin = '.' * node.level + (node.module or '')
                if node.level:
                    origin = importlib.util.resolve_name(
                        origin, module.rpartition('.')[0]
                    )
                names |= {f'{origin}.{alias.name}' for alias in node.names}
    return frozenset(names)


def longest(name, known):
    """The longest of the known names that is, or holds, a dotted one."""
    parts = name.split('.')
    heads = ('.'.join(parts[:end]) for end in range(len(parts), 0, -1))
    return next((head for head in heads if head in known), None)


def needs(modules):
    """Which of the modules each of them imports."""
    return {
        module: {
            found
            for name in imported(module, source)
            if (found := longest(name, modules)) not in (None, module)
        }
        for module, source in modules.items()
    }


def misplaced(modules, layers, package=PACKAGE):
    """Modules of the package that are not in one layer exactly."""
    placed = [module for _, names in layers for module in names]
    there = of_package(modules, package)
    return {
        module
        for module in {*there, *placed}
        if placed.count(module) != 1 or module not in there
    }


def upward(modules, layers, package=PACKAGE):
    """Imports of the package, by their two ends, that lead upward."""
    depth = {
        f'{package}.{module}': number
        for number, (_, names) in enumerate(layers)
        for module in names
    }
    return {
        (module, found)
        for module, others in needs(modules).items()
        for found in others
        if module in depth
        and found.startswith(f'{package}.')
        and depth.get(found, -1) < depth[module]
    }


def past_the_doors(modules, doors, package=PACKAGE):
    """Modules of the package that import what only a door may."""
    return {
        (module, library)
        for module, source in of_package(modules, package).items()
        for name in imported(f'{package}.{module}', source)
        if (library := longest(name, doors)) and module not in doors[library]
    }


def across(modules, trees):
    """Imports between trees that none of them may have."""
    return {
        (module, found)
        for module, others in needs(modules).items()
        for found in others
        if (tree := longest(found, trees)) != (own := longest(module, trees))
        and tree not in trees[own]
    }


def circle(modules):
    """Modules that import each other in a circle, if there are any."""
    try:
        graphlib.TopologicalSorter(needs(modules)).prepare()
    except graphlib.CycleError as exc:
        return exc.args[1]
    return []


def test_each_module_is_in_one_layer():
    assert misplaced(sources(), LAYERS) == set()


def test_the_documentation_has_the_same_layers():
    page = (ROOT / 'doc' / 'source' / 'how-it-works.rst').read_text()
    _, _, section = page.partition('\nLayers\n======\n')
    shown = [
        (name.lower(), set(re.findall(r'``(\w+)``', modules.split('.')[0])))
        for name, modules in re.findall(
            r'^#\. \*\*(.+)\*\*:((?:.*\n)(?:   .*\n)*)', section, re.MULTILINE
        )
    ]
    assert [name for name, _ in shown] == [name.lower() for name, _ in LAYERS]
    for (_, named), (_, modules) in zip(shown, LAYERS, strict=True):
        assert named == set(modules)


def test_the_package_imports_downward():
    assert upward(sources(), LAYERS) == set()


def test_the_engine_imports_no_door():
    engine, ends = (set(dict(LAYERS)[name]) for name in ('engine', 'two ends'))
    imports = needs(sources())
    for module in engine:
        found = {
            name.removeprefix(f'{PACKAGE}.')
            for name in imports[f'{PACKAGE}.{module}']
        }
        assert not found & ends


def test_a_library_of_a_service_has_one_door():
    assert past_the_doors(sources(), DOORS) == set()


def test_trees_import_what_they_may():
    assert across(sources(), TREES) == set()


def test_nothing_imports_in_a_circle():
    assert circle(sources()) == []


def with_line(module, line):
    """Our modules, one of them with a line more."""
    modules = sources()
    modules[module] += f'\n{line}\n'
    return modules


def test_a_module_without_a_layer_is_found():
    modules = sources() | {f'{PACKAGE}.utils': ''}
    assert misplaced(modules, LAYERS) == {'utils'}


def test_a_module_in_two_layers_is_found():
    twice = [*LAYERS, ('more', ('text',))]
    assert misplaced(sources(), twice) == {'text'}


def test_a_layer_of_what_is_gone_is_found():
    more = [*LAYERS, ('more', ('gone',))]
    assert misplaced(sources(), more) == {'gone'}


@pytest.mark.parametrize(
    'line',
    [
        f'from {PACKAGE} import driver',
        f'from {PACKAGE} import driver as nova_driver',
        f'from {PACKAGE}.driver import LibvirtDriver',
        f'import {PACKAGE}.driver',
        'from . import driver',
        'from .driver import LibvirtDriver',
        f'def late():\n    from {PACKAGE} import driver',
        f'if TYPE_CHECKING:\n    from {PACKAGE} import driver',
    ],
)
def test_an_import_upward_is_found(line):
    module = f'{PACKAGE}.text'
    assert upward(with_line(module, line), LAYERS) == {
        (module, f'{PACKAGE}.driver')
    }


@pytest.mark.parametrize(
    'line', ['import rbd', 'import rbd.x', 'from rbd import Image']
)
def test_a_second_door_is_found(line):
    modules = with_line(f'{PACKAGE}.driver', line)
    assert past_the_doors(modules, DOORS) == {('driver', 'rbd')}


@pytest.mark.parametrize(
    ('module', 'line', 'found'),
    [
        ('lab.layout', 'from tests.rig import hosts', 'tests.rig.hosts'),
        ('lab.layout', f'from {PACKAGE} import text', f'{PACKAGE}.text'),
        ('tests.rig.hosts', 'import benchmarks.boots', 'benchmarks.boots'),
        ('tests.fakes.clock', 'from lab import errors', 'lab.errors'),
        (
            'benchmarks.boots',
            'from tests.functional import conftest',
            'tests.functional.conftest',
        ),
        (
            'tests.functional.test_tls',
            'from benchmarks import boots',
            'benchmarks.boots',
        ),
    ],
)
def test_an_import_into_another_tree_is_found(module, line, found):
    assert across(with_line(module, line), TREES) == {(module, found)}


def test_a_circle_is_found():
    modules = with_line(f'{PACKAGE}.text', f'from {PACKAGE} import exceptions')
    assert set(circle(modules)) == {
        f'{PACKAGE}.text',
        f'{PACKAGE}.exceptions',
    }
