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

"""Answers of the OSDs' class rbd, as Ceph 16 and others may give them."""

import contextlib

import hypothesis
from hypothesis import strategies
import pytest

from nova_rbd_multistore import rbd_class

# Recorded on Ceph 16.2.15: a 64 MiB image with objects of 8 MiB, of which the
# first and the sixth were written, before and after its first snapshot.
ID = b'\x0c\x00\x00\x001c6778edd26e'
SIZE = b'\x17\x00\x00\x00\x04\x00\x00\x00\x00'
NO_SNAPSHOTS = bytes(12)
SNAPSHOTS = b'F\x01\0\0\0\0\0\0\x01\0\0\0F\x01\0\0\0\0\0\0'
SNAPSHOT_NAME = b'\x04\x00\x00\x00snap'
DATA_POOL = b'\x06\0\0\0\0\0\0\0'
NO_DATA_POOL = b'\xff' * 8
OBJECT_MAP = (
    b'\x0e\x00\x00\x00\x01\x01\x08\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00\x00'
    b'@\x10\x00\x00\x00\x00'
)
OBJECT_MAP_AFTER = OBJECT_MAP.replace(b'@\x10', b'\xc00')

READERS = {
    rbd_class.text: (ID, SNAPSHOT_NAME),
    rbd_class.size: (SIZE,),
    rbd_class.data_pool: (DATA_POOL, NO_DATA_POOL),
    rbd_class.snapshots: (NO_SNAPSHOTS, SNAPSHOTS),
    rbd_class.written_objects: (OBJECT_MAP, OBJECT_MAP_AFTER),
}
ANSWERS = [
    (read, answer) for read, answers in READERS.items() for answer in answers
]


def test_an_id_is_read():
    assert rbd_class.text(ID) == '1c6778edd26e'


def test_the_name_of_a_snapshot_is_read():
    assert rbd_class.text(SNAPSHOT_NAME) == 'snap'


def test_a_size_is_read():
    assert rbd_class.size(SIZE) == rbd_class.Size(64 << 20, 8 << 20)


def test_an_image_may_have_no_snapshots():
    assert rbd_class.snapshots(NO_SNAPSHOTS) == ()


def test_snapshots_are_numbers():
    assert rbd_class.snapshots(SNAPSHOTS) == (326,)


def test_a_snapshot_is_asked_for_by_its_number():
    assert rbd_class.number(326) == b'F\x01\0\0\0\0\0\0'


@pytest.mark.parametrize('name', ['snap', 'schnäppchen'])
def test_an_image_is_asked_for_by_its_name(name):
    assert rbd_class.text(rbd_class.name(name)) == name


def test_the_pool_of_an_image_s_data_is_a_number():
    assert rbd_class.data_pool(DATA_POOL) == 6


def test_an_image_may_have_its_data_in_its_own_pool():
    assert rbd_class.data_pool(NO_DATA_POOL) is None


@pytest.mark.parametrize('answer', [OBJECT_MAP, OBJECT_MAP_AFTER])
def test_objects_that_exist_are_counted_before_and_after_a_snapshot(answer):
    assert rbd_class.written_objects(answer) == 2


def test_objects_to_be_removed_do_not_count():
    removed = OBJECT_MAP.replace(b'@\x10', b'\x80\x10')
    assert rbd_class.written_objects(removed) == 1


@pytest.mark.parametrize('length', [0, 1, 64 << 20, (64 << 20) + 1, 1 << 40])
def test_an_object_map_fits_into_its_length(length):
    size = rbd_class.Size(length, 8 << 20)
    objects = -(-length // size.of_object)
    states = -(-objects // 4)
    # A checksum for each block of 4 KiB, and one for the head.
    checksums = 4 * (-(-states // 4096) + 1)
    assert size.object_map_length >= 18 + states + 4 + checksums


@pytest.mark.parametrize('order', [0, 11, 26, 255])
def test_objects_have_a_size_that_ceph_allows(order):
    with pytest.raises(ValueError, match=f'objects of 2.{order} bytes'):
        rbd_class.size(bytes([order]) + SIZE[1:])


def test_an_object_map_that_only_later_versions_can_read_is_not_understood():
    later = OBJECT_MAP[:4] + b'\x02\x02' + OBJECT_MAP[6:]
    with pytest.raises(ValueError, match='object map of version 2'):
        rbd_class.written_objects(later)


def test_an_object_map_of_a_later_version_that_we_can_read_is_understood():
    later = (
        b'\x0f\x00\x00\x00\x02\x01\x09\x00\x00\x00'
        + OBJECT_MAP[10:18]
        + b'\x55'
        + OBJECT_MAP[18:]
    )
    assert rbd_class.written_objects(later) == 2


@pytest.mark.parametrize(('read', 'answer'), ANSWERS)
def test_an_answer_that_was_cut_short_is_not_understood(read, answer):
    # The object map's last four bytes are for checksums.
    needed = len(answer) - 4 * (read is rbd_class.written_objects)
    for length in range(needed):
        with pytest.raises(ValueError, match='more were announced'):
            read(answer[:length])


@pytest.mark.parametrize('read', READERS)
@hypothesis.given(answer=strategies.binary(max_size=64))
def test_whatever_is_answered_is_understood_or_a_value_error(read, answer):
    with contextlib.suppress(ValueError):
        read(answer)
