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

import lzma
import subprocess

import pytest

from lab.guest import kernel

CONTROL = """Package: linux-image-1-cloud-amd64
Version: 1
Architecture: amd64
Maintainer: nobody <nobody@example.org>
Description: a kernel
"""


@pytest.fixture
def package(tmp_path):
    """Makes a package whose modules have names that end so.

    Those that it has built in are none of its files.
    """

    def make(suffix, compress, *built_in):
        tree = tmp_path / 'tree'
        modules = tree / 'usr/lib/modules/1/kernel'
        for directory in (tree / 'DEBIAN', tree / 'boot', modules):
            directory.mkdir(parents=True)
        (tree / 'DEBIAN/control').write_text(CONTROL)
        (tree / 'boot/vmlinuz-1').write_bytes(b'kernel')
        (modules.parent / 'modules.builtin').write_text(
            ''.join(f'kernel/drivers/{name}.ko\n' for name in built_in)
        )
        for name in {*kernel.MODULES, 'another'} - {*built_in}:
            path = modules / f'{name}{suffix}'
            path.write_bytes(compress(f'module {name}'.encode()))
        path = tmp_path / 'package.deb'
        subprocess.run(
            ['dpkg-deb', '--build', '--root-owner-group', tree, path],  # noqa: S607
            check=True,
            capture_output=True,
        )
        return path

    return make


@pytest.mark.parametrize(
    ('suffix', 'compress'), [('.ko', bytes), ('.ko.xz', lzma.compress)]
)
def test_modules_are_taken_as_each_debian_has_them(
    package, tmp_path, monkeypatch, suffix, compress
):
    made = package(suffix, compress)
    monkeypatch.setattr(kernel, '_download', lambda _: made)

    found = kernel.fetch(tmp_path / 'guest-kernel')

    assert found.image.read_bytes() == b'kernel'
    assert [path.read_text() for path in found.modules] == [
        f'module {name}' for name in kernel.MODULES
    ]


def test_what_the_kernel_has_built_in_is_not_loaded(
    package, tmp_path, monkeypatch
):
    made = package('.ko.xz', lzma.compress, 'virtio', 'virtio_ring')
    monkeypatch.setattr(kernel, '_download', lambda _: made)

    found = kernel.fetch(tmp_path / 'guest-kernel')

    assert [path.stem for path in found.modules] == [
        name
        for name in kernel.MODULES
        if name not in ('virtio', 'virtio_ring')
    ]
