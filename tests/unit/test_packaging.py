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

import importlib.metadata
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

from nova.virt import rbd_multistore
from packaging import utils
from packaging.requirements import Requirement
import pytest

from nova_rbd_multistore import conf
from nova_rbd_multistore import driver

ROOT = pathlib.Path(__file__).parents[2]
SOURCES = (
    'LICENSE',
    'README.rst',
    'nova',
    'nova_rbd_multistore',
    'pyproject.toml',
    'requirements.txt',
    'setup.cfg',
    'setup.py',
)


@pytest.fixture(scope='module')
def packed(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The modules in a wheel of this tree.

    Built from a copy, since a build leaves files behind.
    """
    tree = tmp_path_factory.mktemp('tree')
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name)
        else:
            shutil.copy(ROOT / name, tree / name)
    built = tmp_path_factory.mktemp('wheel')
    subprocess.run(
        [
            *(sys.executable, '-m', 'pip', 'wheel', '--quiet'),
            *('--no-deps', '--no-build-isolation'),
            *('--wheel-dir', built, tree),
        ],
        check=True,
        # Without git, pbr has to be told.
        env=os.environ | {'PBR_VERSION': '0.1.0'},
    )
    (wheel,) = built.iterdir()
    with zipfile.ZipFile(wheel) as archive:
        return {
            name for name in archive.namelist() if '.dist-info/' not in name
        }


def test_wheel_has_our_modules_and_no_other(packed: set[str]) -> None:
    ours = {
        str(path.relative_to(ROOT))
        for path in (ROOT / 'nova_rbd_multistore').rglob('*.py')
    }
    shim = {'nova/virt/rbd_multistore/__init__.py'}
    assert packed == ours | shim


def requirements(name: str) -> list[Requirement]:
    lines = (ROOT / name).read_text().splitlines()
    return [Requirement(line) for line in lines if line and line[0] != '#']


@pytest.mark.parametrize(
    'requirement', requirements('requirements.txt'), ids=lambda r: r.name
)
def test_each_requirement_is_bounded_and_met_by_what_is_tested(
    requirement: Requirement,
) -> None:
    operators = {bound.operator for bound in requirement.specifier}
    assert operators == {'>=', '<'}
    tested = {
        utils.canonicalize_name(pin.name): str(pin.specifier).strip('=')
        for pin in requirements('lab/constraints.txt')
    }
    name = utils.canonicalize_name(requirement.name)
    assert requirement.specifier.contains(tested[name])


def test_what_is_tested_is_pinned() -> None:
    for pin in requirements('lab/constraints.txt'):
        (bound,) = pin.specifier
        assert bound.operator == '=='


def test_nova_finds_the_driver() -> None:
    assert rbd_multistore.LibvirtDriver is driver.LibvirtDriver


def test_nova_is_not_shadowed() -> None:
    for package in ('nova', 'nova.virt'):
        path = sys.modules[package].__file__
        assert path is not None
        assert ROOT / 'nova' not in pathlib.Path(path).parents


def test_options_are_listed_for_the_generator() -> None:
    (entry_point,) = importlib.metadata.entry_points(
        group='oslo.config.opts', name='nova_rbd_multistore'
    )
    assert entry_point.load() is conf.list_opts
