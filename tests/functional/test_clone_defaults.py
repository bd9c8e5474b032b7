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

"""Disks as Ceph's own defaults and options have them made.

Their version comes of rbd_default_clone_format and of the oldest client that
the cluster is to admit, what they have beside comes of rbd_default_features.
"""

import os
import uuid

import nova.conf
import pytest
import rbd

from nova_rbd_multistore import ceph
from nova_rbd_multistore import disks
from nova_rbd_multistore import location
from tests.rig import clusters

MIB = 1 << 20
RIGHTS = 'profile rbd pool=vms, profile rbd-read-only pool=images'
LIMITS = {'rados_mon_op_timeout': '20', 'rados_osd_op_timeout': '20'}

LAYERING = rbd.RBD_FEATURE_LAYERING
#: Those of librbd 16, 18 and 20.
USUAL = (
    LAYERING
    | rbd.RBD_FEATURE_EXCLUSIVE_LOCK
    | rbd.RBD_FEATURE_OBJECT_MAP
    | rbd.RBD_FEATURE_FAST_DIFF
    | rbd.RBD_FEATURE_DEEP_FLATTEN
)


@pytest.fixture
def image(west):
    """The name of an image as Glance makes one, with some bytes."""
    name = f'clones-{uuid.uuid4()}'
    west.create('images', name, 32 * MIB)
    west.write('images', name, os.urandom(MIB))
    west.create_snapshot('images', name, 'snap')
    yield name
    with west.pool('images') as ioctx:
        for found in list(rbd.RBD().trash_list(ioctx)):
            if found['name'] == name:
                rbd.RBD().trash_restore(ioctx, found['id'], name)
    west.remove('images', name)


@pytest.fixture
def disk(west, image):
    """A name for a disk, which is gone before its image is."""
    name = f'{uuid.uuid4()}_disk'
    yield name
    west.remove('vms', name)


@pytest.fixture
def cluster_with(make_ceph_user):
    """Our connection to west, with options of Ceph."""
    nova.conf.CONF.set_override('images_rbd_pool', 'vms', group='libvirt')
    made = []

    def connect(**options):
        user, conf = make_ceph_user(RIGHTS, **options)
        made.append(ceph.Cluster(conf, user, 20, LIMITS))
        return made[-1]

    yield connect
    for each in made:
        each.close()
    nova.conf.CONF.clear_override('images_rbd_pool', group='libvirt')


@pytest.fixture
def admit_from(west):
    """Says which release is the oldest that west admits clients of."""
    was = west.command('osd dump')['require_min_compat_client']
    compat = 'osd set-require-min-compat-client'
    yield lambda release: west.command(compat, version=release)
    west.command(compat, version=was)


def clone(cluster, west, image, disk):
    source = location.RbdLocation(west.fsid, 'images', image, 'snap')
    cluster.clone(source, 'vms', disk)


@pytest.mark.parametrize(
    ('clone_format', 'oldest', 'version'),
    [
        # The first is what cephadm leaves.
        ('auto', 'luminous', 1),
        ('auto', 'mimic', 2),
        ('auto', 'nautilus', 2),
        ('auto', 'pacific', 2),
        ('1', 'nautilus', 1),
        ('2', 'luminous', 2),
    ],
)
def test_a_clone_is_of_the_version_that_is_foretold(
    cluster_with, admit_from, west, image, disk, clone_format, oldest, version
):
    admit_from(oldest)
    cluster = cluster_with(rbd_default_clone_format=clone_format)
    assert cluster.clone_version() == version

    clone(cluster, west, image, disk)

    assert west.parent(disk) == clusters.of_glance(image)
    with west.opened(disk) as opened:
        of_two = opened.op_features() & rbd.RBD_OPERATION_FEATURE_CLONE_CHILD
    assert (2 if of_two else 1) == version
    # What a clone of version 2 is for.
    if version == 2:
        with west.pool('images') as ioctx:
            rbd.RBD().trash_move(ioctx, image, 0)
        assert image in west.trash('images')
        assert len(west.read(disk, MIB)) == MIB
    else:
        with (
            west.pool('images') as ioctx,
            rbd.Image(ioctx, image) as parent,
            pytest.raises(rbd.ImageBusy),
        ):
            parent.unprotect_snap('snap')


@pytest.mark.parametrize(
    ('options', 'features'),
    [
        ({}, USUAL),
        ({'rbd_default_features': '61'}, USUAL),
        ({'rbd_default_features': '1'}, LAYERING),
        (
            {'rbd_default_features': 'layering,exclusive-lock'},
            LAYERING | rbd.RBD_FEATURE_EXCLUSIVE_LOCK,
        ),
    ],
    ids=['usual', '61', '1', 'by-name'],
)
def test_a_clone_has_the_default_features(
    cluster_with, west, image, disk, options, features
):
    clone(cluster_with(**options), west, image, disk)

    with west.opened(disk) as opened:
        # That there is an operation of a kind that older clients do not know.
        assert opened.features() & ~rbd.RBD_FEATURE_OPERATIONS == features
        assert opened.flags() == 0


def test_the_object_map_of_a_clone_is_its_own(cluster_with, west, image, disk):
    cluster = cluster_with()
    driver = disks.RBDDriver(cluster)
    clone(cluster, west, image, disk)
    assert not cluster.remains('vms', disk).written

    driver.resize(disk, 64 * MIB)
    assert not cluster.remains('vms', disk).written
    west.write('vms', disk, b'written', offset=40 * MIB)
    assert cluster.remains('vms', disk).written
    assert west.allocated('vms', disk, parents=False) == 4 * MIB

    driver.flatten(disk)

    assert west.parent(disk) is None
    assert west.read(disk, 7, offset=40 * MIB) == b'written'
    assert west.allocated('vms', disk, parents=False) == 8 * MIB
    with west.opened(disk) as opened:
        assert opened.flags() == 0


@pytest.mark.parametrize(
    ('options', 'needs_parent'),
    [({}, False), ({'rbd_default_features': '1'}, True)],
    ids=['usual', 'without-deep-flatten'],
)
def test_a_flat_disk_with_a_snapshot_needs_its_image_no_more(
    cluster_with, west, image, disk, options, needs_parent
):
    cluster = cluster_with(**options)
    clone(cluster, west, image, disk)
    with west.opened(disk) as opened:
        opened.create_snap('of-nova')

    disks.RBDDriver(cluster).flatten(disk)

    assert west.parent(disk) is None
    assert west.clones(image) == ([disk] if needs_parent else [])
