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

"""What a packager gets: the distributions, built and installed.

Run by ``tox -e packaging``, in whose environment Nova is not.
"""

import os
import pathlib
import subprocess
import sysconfig
import tarfile
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PROGRAMS = pathlib.Path(sysconfig.get_path('scripts'))
CONSTRAINTS = ROOT / 'lab' / 'constraints.txt'
SHIM = 'nova/virt/rbd_multistore/__init__.py'


def run(*command):
    """Run a program; its output is both, the standard one and the errors."""
    return subprocess.run(
        [str(word) for word in command],
        cwd='/',
        env={**os.environ, 'UV_CONSTRAINT': str(CONSTRAINTS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def succeed(*command):
    done = run(*command)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope='session')
def built(tmp_path_factory):
    """Where the distributions lie: the wheel is built from the sdist."""
    where = tmp_path_factory.mktemp('dist')
    succeed(
        *(PROGRAMS / 'pyproject-build', '--installer=uv'),
        *('--outdir', where, ROOT),
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
    """Makes a fresh environment with packages; where its programs are."""

    def make(*packages):
        where = tmp_path / 'environment'
        succeed(PROGRAMS / 'uv', 'venv', where)
        succeed(
            *(PROGRAMS / 'uv', 'pip', 'install', '--python', where),
            *packages,
        )
        return where / 'bin'

    return make


def test_pypi_would_take_the_distributions(sdist, wheel):
    succeed(PROGRAMS / 'twine', 'check', '--strict', sdist, wheel)


def test_sdist_has_what_git_has_and_its_history(sdist):
    listed = succeed('git', '-C', ROOT, 'ls-files').splitlines()
    with tarfile.open(sdist) as archive:
        packed = {name.partition('/')[2]: name for name in archive.getnames()}
        texts = [
            archive.extractfile(packed[name]).read().decode()
            for name in ('AUTHORS', 'ChangeLog')
        ]
    # pbr leaves out what is about git alone.
    assert set(listed) - {'.gitignore', '.gitreview'} <= packed.keys()
    authors, changes = texts
    assert '@' in authors
    assert 'Find, copy and clone an image' in changes


def test_wheel_has_our_modules_and_no_other(wheel):
    ours = {
        str(path.relative_to(ROOT))
        for path in (ROOT / 'nova_rbd_multistore').rglob('*.py')
    }
    with zipfile.ZipFile(wheel) as archive:
        packed = {
            name for name in archive.namelist() if '.dist-info/' not in name
        }
    assert packed == ours | {SHIM}


@pytest.mark.parametrize('distribution', ['sdist', 'wheel'])
def test_without_nova_only_the_driver_is_missing(
    distribution, request, environment
):
    programs = environment(request.getfixturevalue(distribution))

    succeed(programs / 'python', '-c', 'import nova_rbd_multistore')
    sample = succeed(
        *(programs / 'oslo-config-generator',),
        *('--namespace', 'nova_rbd_multistore'),
    )
    driver = run(programs / 'python', '-c', 'import nova.virt.rbd_multistore')

    assert '[rbd_multistore]' in sample
    assert driver.returncode
    assert driver.stdout.splitlines()[-1].startswith(
        'ImportError: Nova is not installed where nova-rbd-multistore is'
    )


def test_it_comes_to_nova_and_goes_again(wheel, environment):
    programs = environment('nova', wheel)
    python = programs / 'python'
    succeed(python, ROOT / 'tools' / 'link-debian-modules')

    succeed(
        *(python, '-c'),
        'from nova.virt.rbd_multistore import LibvirtDriver\n'
        'from nova.virt.libvirt import driver\n'
        'assert issubclass(LibvirtDriver, driver.LibvirtDriver)\n',
    )
    succeed(
        *(PROGRAMS / 'uv', 'pip', 'uninstall', '--python', python),
        'nova-rbd-multistore',
    )

    succeed(python, '-c', 'import nova.virt.libvirt')
    missing = run(python, '-c', 'import nova.virt.rbd_multistore')
    assert "No module named 'nova.virt.rbd_multistore'" in missing.stdout
