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


import pytest

from lab import guest
from lab.guest import initramfs

UUID = '6f0d9f1e-96b2-4b22-8f4e-1b3a50b1f0aa'
BOOTED = (
    f'multistore-guest: booted uuid={UUID} disk=vda bytes=67108864 '
    f'scratch=pristine\r\n'
)
WROTE = f'multistore-guest: wrote uuid={UUID} offset=66060288\r\n'


def test_silent_console():
    assert guest.Sighting.from_console('[ 0.1] Linux version 6.1\r\n') is None


def test_booted_and_not_yet_written():
    assert guest.Sighting.from_console('noise\r\n' + BOOTED) == guest.Sighting(
        uuid=UUID, disk_bytes=67108864, found=guest.PRISTINE
    )


def test_booted_and_written():
    sighting = guest.Sighting.from_console(BOOTED + '[ 3.0] noise\r\n' + WROTE)
    assert sighting is not None
    assert sighting.wrote
    assert sighting.failure is None


def test_failure_keeps_its_reason():
    sighting = guest.Sighting.from_console(
        BOOTED + 'multistore-guest: failed cannot write to /dev/vda\r\n'
    )
    assert sighting is not None
    assert not sighting.wrote
    assert sighting.failure == 'cannot write to /dev/vda'


def test_half_a_line_is_not_read():
    assert guest.Sighting.from_console('multistore-guest: booted uuid') is None


def test_last_boot_counts():
    again = BOOTED.replace('pristine', UUID)
    sighting = guest.Sighting.from_console(BOOTED + WROTE + again)
    assert sighting is not None
    assert sighting.found == UUID
    assert not sighting.wrote


def test_console_whose_head_was_cut_off():
    assert guest.Sighting.from_console(WROTE) is None


def test_too_small_an_image(tmp_path):
    with pytest.raises(ValueError, match='64 MiB at least, not 63'):
        guest.build(tmp_path / 'guest.raw', size_mib=63)
    assert not list(tmp_path.iterdir())


def test_archive_is_aligned_and_ends_with_its_trailer():
    cpio = initramfs.archive({'init': b'#!', 'bin/busybox': b'\x7fELF'})
    assert len(cpio) % 4 == 0
    assert cpio.count(b'070701') == 4  # bin, bin/busybox, init, the trailer
    assert cpio.rstrip(b'\0').endswith(b'TRAILER!!!')


def test_archive_makes_a_directory_before_what_lies_in_it():
    cpio = initramfs.archive({'a/b/c': b''})
    assert cpio.index(b'a\0') < cpio.index(b'a/b\0') < cpio.index(b'a/b/c\0')
