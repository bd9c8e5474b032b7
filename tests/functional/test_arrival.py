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

"""How much of an image has arrived, as the OSDs tell and as librbd does."""

import contextlib
import uuid

import pytest
import rbd

from nova_rbd_multistore import arrival
from nova_rbd_multistore import ceph

MIB = 1 << 20
TIB = 1 << 40
ORDER = 23  # of objects in Glance's default size
OBJECT = 1 << ORDER


@pytest.fixture
def as_nova(where):
    """The cluster of site west, as Nova's cephx user."""
    return ceph.Cluster(str(where.sites[1].ceph_conf), 'nova', 20, {})


@pytest.fixture
def name(west):
    name = f'arrival-{uuid.uuid4()}'
    yield name
    with west.pool('images') as ioctx, contextlib.suppress(rbd.ImageNotFound):
        with rbd.Image(ioctx, name) as image:
            for snapshot in list(image.list_snaps()):
                image.unprotect_snap(snapshot['name'])
                image.remove_snap(snapshot['name'])
        rbd.RBD().remove(ioctx, name)


def create(west, name, size, features):
    with west.pool('images') as ioctx:
        rbd.RBD().create(
            ioctx, name, size, ORDER, old_format=False, features=features
        )


def write(west, name, *offsets):
    with west.pool('images') as ioctx, rbd.Image(ioctx, name) as image:
        for offset in offsets:
            image.write(b'bytes', offset)


WITH_OBJECT_MAP = (
    rbd.RBD_FEATURE_LAYERING
    | rbd.RBD_FEATURE_EXCLUSIVE_LOCK
    | rbd.RBD_FEATURE_OBJECT_MAP
    | rbd.RBD_FEATURE_FAST_DIFF
)


def test_an_image_that_is_not_there_is_absent(as_nova, name):
    assert as_nova.arrival('images', name) == arrival.ABSENT


@pytest.mark.parametrize('size', [0, 5 * MIB, 64 * MIB + 1, TIB])
def test_bytes_arrive_as_librbd_counts_them(as_nova, west, name, size):
    create(west, name, size, WITH_OBJECT_MAP)
    assert as_nova.arrival('images', name) == arrival.Arrival(
        True, allocated=0
    )
    if size == 0:
        return
    for offset in (0, size // 2, size - len(b'bytes')):
        write(west, name, offset)
        objects = -(-west.allocated('images', name) // OBJECT)
        assert as_nova.arrival('images', name) == arrival.Arrival(
            True, allocated=min(objects * OBJECT, size)
        )


def test_glances_snapshot_completes_an_image(as_nova, west, name):
    create(west, name, 64 * MIB, WITH_OBJECT_MAP)
    write(west, name, 0)
    west.create_snapshot('images', name, 'of-somebody')
    write(west, name, 0, 32 * MIB)
    assert as_nova.arrival('images', name) == arrival.Arrival(
        True, allocated=16 * MIB
    )
    west.create_snapshot('images', name, 'snap')
    assert as_nova.arrival('images', name) == arrival.Arrival(True, True)


def test_without_an_object_map_bytes_are_not_counted(as_nova, west, name):
    create(west, name, 64 * MIB, rbd.RBD_FEATURE_LAYERING)
    write(west, name, 0)
    assert as_nova.arrival('images', name) == arrival.Arrival(True)


def test_an_image_in_the_trash_is_absent(as_nova, west, name):
    create(west, name, 64 * MIB, WITH_OBJECT_MAP)
    with west.pool('images') as ioctx:
        rbd.RBD().trash_move(ioctx, name, 0)
        try:
            assert as_nova.arrival('images', name) == arrival.ABSENT
        finally:
            (trashed,) = (
                entry
                for entry in rbd.RBD().trash_list(ioctx)
                if entry['name'] == name
            )
            rbd.RBD().trash_restore(ioctx, trashed['id'], name)
