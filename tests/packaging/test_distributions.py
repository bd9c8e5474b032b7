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

import tarfile
import zipfile

import pytest

from tests.packaging.programs import PROGRAMS
from tests.packaging.programs import ROOT
from tests.packaging.programs import run
from tests.packaging.programs import succeed

STARTUP = 'nova_rbd_multistore.pth'


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
        for package in ('nova_rbd_multistore', 'nova_rbd_multistore_client')
        for path in (ROOT / package).rglob('*.py')
    }
    with zipfile.ZipFile(wheel) as archive:
        packed = {
            name for name in archive.namelist() if '.dist-info/' not in name
        }
    assert packed == ours | {STARTUP}


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
    assert driver.stdout.splitlines()[-1] == (
        "ModuleNotFoundError: No module named 'nova'"
    )


def test_a_workstation_has_the_commands_without_nova(wheel, environment):
    programs = environment(f'nova-rbd-multistore[client] @ file://{wheel}')

    said = succeed(programs / 'openstack', 'image', 'replica', 'list', '-h')

    assert 'Show which image lies in which store' in said
    said = succeed(programs / 'nova-rbd-multistore-exporter', '--help')
    assert 'Tell Prometheus which images lie in which stores' in said
    for missing in ('nova', 'rados', 'libvirt'):
        assert run(programs / 'python', '-c', f'import {missing}').returncode


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


def test_a_start_of_python_imports_little_of_ours(wheel, environment):
    imported = 'import sys; print(*sorted(sys.modules))'
    bare = succeed(environment() / 'python', '-c', imported).split()
    python = environment(wheel, options=['--no-deps']) / 'python'
    ours = succeed(python, '-c', imported).split()
    # site reads our file as UTF-8.
    assert set(ours) - set(bare) - {'encodings.utf_8_sig', '__future__'} == {
        'nova_rbd_multistore',
        'nova_rbd_multistore.address',
    }


def test_git_is_not_needed_where_the_version_is_given(
    checkout, tmp_path, environment
):
    succeed(
        *(PROGRAMS / 'pyproject-build', '--installer=uv', '--wheel'),
        *('--outdir', tmp_path, checkout),
        PBR_VERSION='0.1.0',
        PATH='/nowhere',
    )
    (wheel,) = tmp_path.glob('*.whl')
    python = environment(wheel, options=['--no-deps']) / 'python'
    version = succeed(
        *(python, '-c'),
        'from importlib import metadata\n'
        "print(metadata.version('nova-rbd-multistore'))",
    )
    assert version == '0.1.0\n'
