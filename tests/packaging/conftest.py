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

import shutil
import sys

import pytest

from tests.packaging import programs


@pytest.fixture(scope='session')
def built(tmp_path_factory):
    """Where the distributions lie: the wheel is built from the sdist."""
    where = tmp_path_factory.mktemp('dist')
    programs.succeed(
        *(programs.PROGRAMS / 'pyproject-build', '--installer=uv'),
        *('--outdir', where, programs.ROOT),
    )
    return where


@pytest.fixture(scope='session')
def sdist(built):
    (path,) = built.glob('*.tar.gz')
    return path


@pytest.fixture(scope='session')
def wheel(built):
    (path,) = built.glob('*.whl')
    return path


@pytest.fixture
def environment(tmp_path):
    """Makes a fresh environment with packages; where its programs are.

    :param packages: installed one after another
    :param options: of ``uv pip install``
    """

    def make(*packages, options=()):
        uv = programs.PROGRAMS / 'uv'
        where = tmp_path / 'environment'
        programs.succeed(
            *(uv, 'venv', '--clear', '--python', sys.executable, where)
        )
        for package in packages:
            programs.succeed(
                *(uv, 'pip', 'install', '--python', where),
                *(*options, package),
            )
        return where / 'bin'

    return make


@pytest.fixture(scope='session')
def checkout(tmp_path_factory):
    """Our tree without git, as a container's build may have it."""
    where = tmp_path_factory.mktemp('checkout')
    listed = programs.succeed(
        *('git', '-C', programs.ROOT, 'ls-files'),
        *('--cached', '--others', '--exclude-standard'),
    )
    for name in listed.splitlines():
        source = programs.ROOT / name
        if source.exists():
            (where / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, where / name)
    return where
