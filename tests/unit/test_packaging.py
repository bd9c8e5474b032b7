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

"""The package goes into Nova's environment, and over nothing of Nova's."""

import configparser
import importlib.metadata
import pathlib
import sys

from nova.virt import rbd_multistore
from packaging import utils
from packaging.requirements import Requirement
import pytest
import yaml

from nova_rbd_multistore import conf
from nova_rbd_multistore import driver

ROOT = pathlib.Path(__file__).parents[2]
#: What is tested, with Nova 31 to 34.
PINS = (
    'tests/constraints/nova31.txt',
    'tests/constraints/nova32.txt',
    'tests/constraints/nova33.txt',
    'lab/constraints.txt',
)


def requirements(name):
    lines = (ROOT / name).read_text().splitlines()
    return [Requirement(line) for line in lines if line and line[0] != '#']


def extra(name):
    """What an extra of ours asks for."""
    config = configparser.ConfigParser()
    config.read(ROOT / 'setup.cfg')
    return [
        Requirement(line)
        for line in config['extras'][name].splitlines()
        if line
    ]


def pinned(name):
    """Versions, by the name of the package."""
    return {
        utils.canonicalize_name(pin.name): str(pin.specifier).strip('=')
        for pin in requirements(name)
    }


@pytest.mark.parametrize(
    'requirement', requirements('requirements.txt'), ids=lambda r: r.name
)
def test_each_requirement_is_bounded_and_met_by_what_is_tested(requirement):
    operators = {bound.operator for bound in requirement.specifier}
    assert operators == {'>=', '<'}
    name = utils.canonicalize_name(requirement.name)
    for pins in PINS:
        assert requirement.specifier.contains(pinned(pins)[name])


@pytest.mark.parametrize('requirement', extra('client'), ids=lambda r: r.name)
def test_what_the_client_needs_is_bounded_and_met_by_what_is_tested(
    requirement,
):
    operators = {bound.operator for bound in requirement.specifier}
    assert operators == {'>=', '<'}
    name = utils.canonicalize_name(requirement.name)
    assert requirement.specifier.contains(pinned('lab/constraints.txt')[name])


@pytest.mark.parametrize('pins', PINS)
def test_what_is_tested_is_pinned(pins):
    for pin in requirements(pins):
        (bound,) = pin.specifier
        assert bound.operator == '=='


def test_hooks_run_the_programs_that_are_tested():
    tested = pinned('lab/constraints.txt')
    config = yaml.safe_load((ROOT / '.pre-commit-config.yaml').read_text())
    hooks = [hook for repo in config['repos'] for hook in repo['hooks']]
    for hook in hooks:
        for line in hook['additional_dependencies']:
            name, _, version = line.partition('==')
            assert tested[name] == version


def test_nova_finds_the_driver():
    assert rbd_multistore.LibvirtDriver is driver.LibvirtDriver


def test_nova_is_not_shadowed():
    for package in ('nova', 'nova.virt'):
        assert sys.modules[package].__file__ is not None
    # Bytecode of former times may be left.
    assert list((ROOT / 'nova').rglob('*.py')) == []


def test_options_are_listed_for_the_generator():
    (entry_point,) = importlib.metadata.entry_points(
        group='oslo.config.opts', name='nova_rbd_multistore'
    )
    assert entry_point.load() is conf.list_opts
