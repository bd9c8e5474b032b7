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

"""Each page of a command shows what that command prints."""

import dataclasses
import os
import pathlib
import shutil
import time
from typing import Any
import uuid

import pytest

from lab import layout
from tests.rig import clusters
from tests.rig import database
from tests.rig import openstack_program
from tests.rig import pages
from tests.rig import polling

pytestmark = pytest.mark.long

ROOT = pathlib.Path(__file__).parents[2]
PAGES = sorted(
    path.stem for path in ROOT.glob('doc/source/image-replica/*.rst')
)

#: A page shows also how a command ends that has found something, or refuses.
STATUSES = (0, 1, 3)


@dataclasses.dataclass
class Scene:
    """What the commands of a page find.

    :ivar directory: where they are entered
    """

    directory: pathlib.Path
    where: layout.Layout
    upload: Any
    admin: Any
    slow_cluster: Any
    stores_of: Any
    west: clusters.Cluster

    @property
    def admins(self):
        """The program, as an administrator runs it."""
        program = self.where.venv / 'bin' / 'openstack'
        return openstack_program.OpenStack(program, 'admin', self.where)

    def image(self, name, *stores, **fields):
        """A public image of 8 MiB in some stores; its id."""
        first, *more = stores
        image = self.upload(
            name=name,
            store=first,
            owner=self.admin,
            visibility='public',
            **fields,
        )
        if more:
            done = self.admins.replica(
                *('create', '--wait', image.id),
                *(word for store in more for word in ('--store', store)),
            )
            assert done.status == 0, done.err
        return image.id

    def put_into_west(self, name):
        """Data of nobody, in Glance's pool."""
        self.west.create('images', name, 1 << 20)
        self.west.write('images', name, os.urandom(1 << 20))


def scene_of_list(scene):
    scene.image('debian-12', 'east')
    scene.image('debian-13', 'east', 'west')


def scene_of_show(scene):
    scene.image('debian-12', 'east')


def scene_of_create(scene):
    scene.image('debian-12', 'east')


def scene_of_watch(scene):
    image_id = scene.image('debian-12', 'east', size_mib=64)
    go_on = scene.slow_cluster(scene.west, 1.0)
    done = scene.admins.replica('create', '--store', 'west', image_id)
    assert done.status == 0, done.err
    yield
    go_on()
    polling.until(
        lambda: 'west' in scene.stores_of(image_id), 'the copy has ended'
    )


def scene_of_delete(scene):
    scene.image('debian-12', 'east', 'west')


def scene_of_prune(scene):
    unused = scene.image('debian-11', 'east', 'west')
    last = scene.image('debian-10', 'west')
    for image_id in (unused, last):
        database.age_image(scene.where, image_id, 40)


def scene_of_sync(scene):
    shutil.copy(ROOT / 'etc' / 'systemd' / 'replicas.yaml', scene.directory)
    scene.image('debian-12', 'east', os_distro='debian')
    scene.image('ubuntu-24', 'east', 'west', tags=['golden'])
    (scene.directory / 'typo.yaml').write_text(
        'version: 1\n'
        'rules:\n'
        '  - images: {name: "debian-*", visibility: public}\n'
        '    store: [west]\n'
    )


def scene_of_repair(scene):
    image_id = scene.image('debian-12', 'east')
    scene.put_into_west(image_id)


def scene_of_orphans(scene):
    scene.put_into_west(str(uuid.uuid4()))
    # It is of the past.
    time.sleep(2)


SCENES = {
    name.removeprefix('scene_of_'): make
    for name, make in globals().items()
    if name.startswith('scene_of_')
}


@pytest.fixture
def scene(tmp_path, where, upload, admin, slow_cluster, stores_of, west):
    for site in where.sites:
        (tmp_path / f'{site.name}.conf').symlink_to(site.ceph_conf)
    return Scene(tmp_path, where, upload, admin, slow_cluster, stores_of, west)


@pytest.mark.parametrize('page', PAGES)
def test_the_commands_of_a_page_print_what_it_shows(
    page, scene, where, computes
):
    # A scene that yields has something to do in the end.
    ending = iter(SCENES[page](scene) or ())
    next(ending, None)

    for step in pages.steps(f'image-replica/{page}'):
        output = pages.enter(
            *(step, where, computes['west-1'], scene.directory), STATUSES
        )
        pages.require_shown(step, output)
    assert next(ending, None) is None


def test_each_command_has_a_page(where):
    done = openstack_program.OpenStack(
        where.venv / 'bin' / 'openstack', 'demo', where
    ).run('image', 'replica', '--help')
    assert {
        line.split()[2]
        for line in done.out.splitlines()
        if line.startswith('  image replica ')
    } == set(PAGES)
