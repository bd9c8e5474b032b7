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

"""What nova-compute needs beside itself, and says if it lacks it."""

import logging
import subprocess
import sys

import pytest
import rbd

from nova_rbd_multistore import surroundings
from tests.fakes import librados

#: What QEMU 7.2 says, with its block driver for RBD and without.
WITH_RBD = "qemu-img: Could not open 'rbd:': Pool name is required\n"
WITHOUT_RBD = (
    'qemu: module block-block-rbd not found, do you want to install '
    'qemu-block-extra package?\n'
    "qemu-img: Could not open 'rbd:': Unknown protocol 'rbd'\n"
)
BROKEN_RBD = (
    "qemu-img: Could not open 'rbd:': failed to open module: "
    'block-rbd.so: undefined symbol: rbd_clone4\n'
)


@pytest.fixture
def programs(monkeypatch, tmp_path):
    """Puts programs, as shell scripts, where they are looked for."""
    monkeypatch.setenv('PATH', str(tmp_path))

    def put(name, script):
        path = tmp_path / name
        path.write_text(f'#!/bin/sh\n{script}\n')
        path.chmod(0o755)

    return put


@pytest.fixture
def qemu_img(programs):
    def put(said):
        programs('qemu-img', f'echo "{said}" >&2; exit 1')

    return put


@pytest.fixture
def library(monkeypatch):
    library = librados.Librados()
    monkeypatch.setattr(rbd, 'RBD', library.RBD)
    return library


@pytest.fixture
def warnings(library, caplog):
    def announce():
        surroundings.announce()
        return [
            record.getMessage()
            for record in caplog.records
            if record.levelno == logging.WARNING
        ]

    return announce


@pytest.fixture
def all_there(programs, qemu_img):
    programs('rbd', 'exit 0')
    qemu_img(WITH_RBD)


@pytest.mark.usefixtures('all_there')
def test_nothing_is_said_of_what_is_there(warnings):
    assert warnings() == []


@pytest.mark.usefixtures('all_there')
def test_a_missing_program_rbd_is_named_with_what_will_not_work(
    warnings, tmp_path
):
    (tmp_path / 'rbd').unlink()
    (line,) = warnings()
    assert 'no program rbd' in line
    assert 'ceph-common' in line
    assert 'config drive' in line


@pytest.mark.parametrize(
    ('said', 'reason'),
    [(WITHOUT_RBD, "Unknown protocol 'rbd'"), (BROKEN_RBD, 'rbd_clone4')],
)
@pytest.mark.usefixtures('all_there')
def test_a_qemu_img_without_rbd_is_named_with_what_will_not_work(
    warnings, qemu_img, said, reason
):
    qemu_img(said)
    (line,) = warnings()
    assert reason in line
    assert 'qemu-block-extra' in line
    assert 'Snapshots' in line


@pytest.mark.usefixtures('all_there')
def test_a_missing_qemu_img_is_named(warnings, tmp_path):
    (tmp_path / 'qemu-img').unlink()
    (line,) = warnings()
    assert 'qemu-img' in line
    assert 'No such file' in line


@pytest.mark.usefixtures('all_there')
def test_another_word_of_qemu_img_is_no_reason_for_a_warning(
    warnings, qemu_img
):
    qemu_img('qemu-img: rbd: give me a pool')
    assert warnings() == []


@pytest.mark.usefixtures('all_there')
def test_a_librbd_older_than_tested_is_named(warnings, library):
    library.version = (1, 15, 0)
    (line,) = warnings()
    assert 'librbd 1.15.0 is older than 1.16.0' in line


@pytest.mark.parametrize('version', [(1, 16, 0), (1, 19, 0), (2, 0, 0)])
@pytest.mark.usefixtures('all_there')
def test_a_librbd_as_tested_or_newer_is_not(warnings, library, version):
    library.version = version
    assert warnings() == []


def load_without(module):
    """Load the driver as Nova does, in a process that lacks a module."""
    return subprocess.run(
        [
            sys.executable,
            '-c',
            f'import sys; sys.modules[{module!r}] = None; '
            'import nova.virt.rbd_multistore',
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize('module', ['rados', 'rbd'])
def test_without_cephs_bindings_what_to_install_is_said(module):
    *_, line = load_without(module).stderr.splitlines()
    assert line.startswith(f'ImportError: There is no module {module}')
    assert 'python3-rados and python3-rbd' in line


def test_of_another_module_nothing_is_said_that_is_not_so():
    *_, line = load_without('glanceclient').stderr.splitlines()
    assert 'glanceclient' in line
    assert 'python3-rados' not in line
