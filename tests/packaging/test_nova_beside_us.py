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

"""Nova and this package in one environment, however each got there."""

import os
import shutil
import subprocess
import sys

import build
from build import env
import pytest

from tests.packaging import programs

#: Built like Nova 34 (pyproject.toml, setup.cfg, setup.py), with less in it.
STAND_IN = {
    'pyproject.toml': """\
[build-system]
requires = ["pbr>=6.1.1"]
build-backend = "pbr.build"

[project]
name = "nova"
dynamic = ["version"]
requires-python = ">=3.11"

[tool.setuptools.packages.find]
include = ["nova*"]
""",
    'setup.cfg': '[metadata]\nname = nova\n',
    'setup.py': (
        'import setuptools\n'
        "setuptools.setup(setup_requires=['pbr>=2.0.0'], pbr=True)\n"
    ),
    'nova/__init__.py': '',
    'nova/virt/__init__.py': '',
}

#: Ways to install: a wheel, or editable in one of setuptools' modes.
WAYS = ['wheel', 'lenient', 'compat', 'strict']

#: Nova is all there, and our driver is where Nova looks for it.
CHECK = """\
import importlib.util
import nova.virt
assert nova.__file__ and nova.virt.__file__
spec = importlib.util.find_spec('nova.virt.rbd_multistore')
assert spec, 'the driver is not found'
print(spec.origin)
"""


def build_wheels(source, version, out):
    """Build what ``pip install [-e]`` would build, and then install."""

    def call(command, cwd=None, extra_environ=None):
        subprocess.run(
            command,
            cwd=cwd,
            env={
                **os.environ,
                **(extra_environ or {}),
                'PBR_VERSION': version,
            },
            check=True,
            stdout=subprocess.DEVNULL,
        )

    with env.DefaultIsolatedEnv(installer='uv') as isolated:
        builder = build.ProjectBuilder.from_isolated_env(
            isolated, source, call
        )
        isolated.install(builder.build_system_requires)
        return {
            way: builder.build('wheel', out / way)
            if way == 'wheel'
            else builder.build('editable', out / way, {'editable_mode': way})
            for way in WAYS
        }


@pytest.fixture(scope='module')
def stand_in(tmp_path_factory):
    where = tmp_path_factory.mktemp('nova')
    for name, text in STAND_IN.items():
        path = where / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return where


@pytest.fixture(scope='module')
def wheels(tmp_path_factory, stand_in, checkout):
    """Nova's and ours, by the way that each is installed."""
    out = tmp_path_factory.mktemp('wheels')
    return {
        'nova': build_wheels(stand_in, '34.0.0', out / 'nova'),
        'ours': build_wheels(checkout, '0.1.0', out / 'ours'),
    }


@pytest.fixture(scope='module', params=['3.11', '3.13'])
def python(request, tmp_path_factory):
    """A Python with an environment of its own."""
    where = tmp_path_factory.mktemp(f'python-{request.param}')
    made = programs.run(
        *(programs.PROGRAMS / 'uv', 'venv', '--clear'),
        *('--no-python-downloads', '--python', request.param, where),
    )
    if made.returncode:
        said = ' '.join(made.stdout.split())
        pytest.skip(f'no environment of Python {request.param}: {said}')
    return where / 'bin' / 'python'


@pytest.mark.parametrize('ours', WAYS)
@pytest.mark.parametrize('nova', WAYS)
def test_nova_is_whole_and_finds_the_driver(nova, ours, python, wheels):
    pip = (programs.PROGRAMS / 'uv', 'pip')
    add = (*pip, 'install', '--python', python, '--no-deps', '--reinstall')
    programs.run(
        *(*pip, 'uninstall', '--python', python),
        *('nova', 'nova-rbd-multistore'),
    )

    programs.succeed(*add, wheels['nova'][nova])
    programs.succeed(*add, wheels['ours'][ours])
    assert 'rbd_multistore' in programs.succeed(python, '-c', CHECK)

    # As if we had been there first.
    programs.succeed(*add, wheels['nova'][nova])
    assert 'rbd_multistore' in programs.succeed(python, '-c', CHECK)


@pytest.fixture(scope='module')
def real_nova(tmp_path_factory):
    """Nova's source, of the version that the lab has."""
    where = tmp_path_factory.mktemp('real')
    programs.succeed(
        *(sys.executable, '-m', 'pip', 'download', 'nova'),
        *('--no-deps', '--no-binary', 'nova', '--dest', where),
        PIP_CONSTRAINT=str(programs.CONSTRAINTS),
    )
    (archive,) = where.glob('nova-*.tar.gz')
    shutil.unpack_archive(archive, where)
    return archive.with_suffix('').with_suffix('')


def test_real_nova_that_is_editable_loads_the_driver(
    real_nova, wheels, environment
):
    where = environment(f'--editable={real_nova}', wheels['ours']['wheel'])
    python = where / 'python'
    programs.succeed(python, programs.ROOT / 'tools' / 'link-debian-modules')
    # As nova.virt.driver.load_compute_driver has it.
    load = (
        'from nova.virt import driver\n'
        'from oslo_utils import importutils\n'
        "name = 'nova.virt.rbd_multistore.LibvirtDriver'\n"
        'found = importutils.import_class(name)\n'
        'assert issubclass(found, driver.ComputeDriver)\n'
        'print(driver.__file__)\n'
    )
    assert str(real_nova) in programs.succeed(python, '-c', load)

    programs.succeed(
        *(programs.PROGRAMS / 'uv', 'pip', 'install', '--python', python),
        *('--no-deps', '--reinstall', wheels['ours']['lenient']),
    )
    assert str(real_nova) in programs.succeed(python, '-c', load)
