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

"""What the OSDs' class rbd answers, beside librbd's view of the same image.

With the rights of Nova's cephx user in Glance's pool. On which releases of
Ceph this was run: doc/source/releases.rst.
"""

import pytest
import rados
import rbd

from lab import ceph_root
from lab import settings
from nova_rbd_multistore import rbd_class
from tests.rig import erasure_coding
from tests.rig import kinds_of_images

#: Disks of 10 TiB come and go slowly.
pytestmark = [pytest.mark.long, pytest.mark.of_ceph]

POOL = 'images'


@pytest.fixture
def erasure_coded(where, west):
    """A pool of erasure-coded data in site west, which Nova's user reads."""
    chosen = settings.Settings.load(where)
    inside = ceph_root.inside(where) if chosen.ceph_20 else ()
    with erasure_coding.pool(west.connection, inside, where.tests) as pool:
        yield pool


@pytest.fixture(params=kinds_of_images.KINDS)
def image(request, west):
    """Name of an image with three snapshots and some bytes."""
    kind = kinds_of_images.KINDS[request.param]
    data_pool = (
        request.getfixturevalue('erasure_coded')
        if kind.erasure_coded
        else None
    )
    snapshots = ('first', 'snap', 'last')
    with (
        west.pool(POOL) as ioctx,
        kinds_of_images.image(ioctx, kind, data_pool, snapshots) as name,
    ):
        yield name


@pytest.fixture
def librbd(west, image):
    """The image as librbd has it open."""
    with (
        west.pool(POOL) as ioctx,
        rbd.Image(ioctx, image, read_only=True) as opened,
    ):
        yield opened


@pytest.fixture(params=['named', 'in the trash'])
def wherever(request, west, image):
    """The same, of an image that may be in the trash."""
    if request.param == 'named':
        yield request.getfixturevalue('librbd')
        return
    with west.pool(POOL) as ioctx:
        with rbd.Image(ioctx, image, read_only=True) as opened:
            image_id = opened.id()
        rbd.RBD().trash_move(ioctx, image, 0)
        try:
            with rbd.Image(ioctx, None, None, True, image_id) as opened:
                yield opened
        finally:
            rbd.RBD().trash_restore(ioctx, image_id, image)


@pytest.fixture
def ask(where):
    """Asks the OSDs by a method of their class, as Nova's cephx user."""
    with (
        rados.Rados(
            conffile=str(where.sites[1].ceph_conf), rados_id='nova'
        ) as cluster,
        cluster.open_ioctx(POOL) as ioctx,
    ):
        yield lambda name, method, argument=b'', length=8192: bytes(
            ioctx.execute(name, 'rbd', method, argument, length)[1]
        )


def test_an_images_id_is_that_of_librbd(ask, image, librbd):
    by_name = ask(f'rbd_id.{image}', 'get_id')
    in_directory = ask('rbd_directory', 'dir_get_id', rbd_class.name(image))
    assert rbd_class.text(by_name) == librbd.id()
    assert rbd_class.text(in_directory) == librbd.id()


def test_snapshots_have_the_names_that_librbd_lists(ask, wherever):
    header = f'rbd_header.{wherever.id()}'
    numbers = rbd_class.snapshots(ask(header, 'get_snapcontext'))
    names = {
        number: rbd_class.text(
            ask(header, 'get_snapshot_name', rbd_class.number(number))
        )
        for number in numbers
    }
    assert names == {
        each['id']: each['name'] for each in wherever.list_snaps()
    }
    assert set(names.values()) == {'first', 'snap', 'last'}


def test_a_size_is_that_of_librbd(ask, wherever):
    answer = ask(
        f'rbd_header.{wherever.id()}',
        'get_size',
        rbd_class.number(rbd_class.NO_SNAPSHOT),
    )
    stat = wherever.stat()
    assert rbd_class.size(answer) == rbd_class.Size(
        stat['size'], stat['obj_size']
    )


@pytest.mark.parametrize(
    'image', ['small', 'of 10 TiB', 'erasure-coded'], indirect=True
)
def test_as_many_objects_exist_as_librbd_finds(ask, wherever):
    stat, found = wherever.stat(), []
    size = rbd_class.Size(stat['size'], stat['obj_size'])
    answer = ask(
        f'rbd_object_map.{wherever.id()}',
        'object_map_load',
        length=size.object_map_length,
    )
    wherever.diff_iterate(
        0,
        size.whole,
        None,
        lambda _offset, length, _exists: found.append(
            -(-length // size.of_object)
        ),
        whole_object=True,
    )
    assert rbd_class.written_objects(answer) == sum(found) == 3


@pytest.mark.parametrize('image', ['without object map'], indirect=True)
def test_no_object_map_is_found_where_librbd_has_none(ask, wherever):
    with pytest.raises(rados.ObjectNotFound):
        ask(f'rbd_object_map.{wherever.id()}', 'object_map_load')


def test_data_is_in_the_pool_that_librbd_names(ask, west, wherever):
    answer = ask(f'rbd_header.{wherever.id()}', 'get_data_pool')
    with west.pool(POOL) as ioctx:
        own = ioctx.get_pool_id()
    assert (rbd_class.data_pool(answer) or own) == wherever.data_pool_id()


@pytest.mark.parametrize('image', ['erasure-coded'], indirect=True)
def test_data_begins_in_the_object_that_librbd_writes(west, librbd):
    with (
        west.pool(POOL) as ioctx,
        west.connection.open_ioctx2(librbd.data_pool_id()) as data,
    ):
        first = rbd_class.first_object(ioctx.get_pool_id(), librbd.id())
        assert data.read(first, 5) == b'bytes'


@pytest.mark.parametrize('wherever', ['in the trash'], indirect=True)
@pytest.mark.usefixtures('wherever')
def test_in_the_trash_an_image_has_no_name(ask, west, image):
    with pytest.raises(rados.ObjectNotFound):
        ask(f'rbd_id.{image}', 'get_id')
    with (
        west.pool(POOL) as ioctx,
        pytest.raises(rbd.ImageNotFound),
    ):
        rbd.Image(ioctx, image, read_only=True)
