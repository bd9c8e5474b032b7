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


"""Two glance-apis, each with a file store that the other does not share.

An image has one location, a path, under which either finds a file of its own,
or none, or one that it may not read. (More of copies that one glance-api
cannot make is in test_copies_elsewhere.py.)
"""

import dataclasses
import os
import pathlib
import shutil

import pytest

from tests.rig import apis
from tests.rig import clusters
from tests.rig import hosts

pytestmark = pytest.mark.fault

POLL = {'libvirt__images_rbd_glance_copy_poll_interval': 2}

#: What lets root read whatever the mode of a file says.
OVERRIDE = ('setpriv', '--bounding-set', '-dac_override,-dac_read_search')


@dataclasses.dataclass
class Library:
    """A glance-api and the files of its store.

    "Image library" is what seed 004 calls such a host.
    """

    api: apis.GlanceApi
    files: pathlib.Path

    def has(self, image):
        return (self.files / image.id).exists()

    def deny(self, image):
        """Have it see an image's file without being able to read it."""
        (self.files / image.id).chmod(0)

    def keep(self):
        """Have it see its files without being able to delete one."""
        self.files.chmod(0o500)

    def replace(self):
        """Put another host in its place, whose store is empty."""
        self.api.kill()
        for path in self.files.iterdir():
            path.unlink()
        (self.files / apis.MARKER).touch()
        self.api.start()

    def synchronize_from(self, other):
        shutil.copytree(other.files, self.files, dirs_exist_ok=True)


@pytest.fixture
def shows_locations():
    """Whether they do, as Nova's own driver needs it; for a test to say."""
    return 'false'


@pytest.fixture
def libraries(make_glance, where, tmp_path, shows_locations):
    made = []
    for name in ('first', 'second'):
        files = tmp_path / name
        files.mkdir()
        (files / apis.MARKER).touch()
        api = make_glance(
            disks={where.images: files},
            wrapper=OVERRIDE,
            DEFAULT={'show_multiple_locations': shows_locations},
        )
        made.append(Library(api, files))
    return made


@pytest.fixture
def host(make_host, libraries):
    """A host of west that knows these two alone, and nothing of either yet."""
    return make_host(
        'west-1',
        glance__api_servers=[library.api.url for library in libraries],
        **POLL,
    )


@pytest.fixture
def image_on(begin_image, demo, libraries):
    """Makes images whose files are where they are to be: on one, or both."""

    def make(*numbers):
        on = [libraries[number - 1] for number in numbers]
        image_id = begin_image()
        on[0].api.put(demo, image_id, os.urandom(1 << 20))
        image = demo.image.get_image(image_id)
        for library in on[1:]:
            library.synchronize_from(on[0])
        assert [library for library in libraries if library.has(image)] == on
        return image

    return make


def all_are_clones(cluster, boots):
    for boot in boots:
        assert boot.error is None, boot.message
        assert cluster.parent(boot.disk) == clusters.of_glance(boot.image)
    return True


def names_all(host, libraries, boot):
    """Whether the log has what each glance-api said of the copy."""
    errors = [
        line
        for line in host.log.splitlines()
        if 'Glance failed to copy image' in line
    ]
    return [
        library.api.url
        for library in libraries
        if any(f'glance-api {library.api.url})' in line for line in errors)
    ]


def test_images_on_the_one_or_the_other_or_both_boot(
    image_on, host, demo_user, west
):
    images = [
        image_on(*where) for where in ((1,), (2,), (1, 2)) for _ in range(2)
    ]

    boots = host.boot(demo_user, *(image.id for image in images))

    assert all_are_clones(west, boots)


@pytest.mark.parametrize('closed', [1, 2])
def test_an_image_that_one_may_not_read_boots_through_the_other(
    image_on, host, demo_user, west, libraries, closed
):
    image = image_on(1, 2)
    libraries[closed - 1].deny(image)

    assert all_are_clones(west, host.boot(demo_user, image.id))


def test_what_one_lacks_and_the_other_may_not_read_fails_and_names_both(
    image_on, host, demo_user, libraries
):
    image = image_on(2)
    libraries[1].deny(image)

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error == 'CopyFailed'
    assert 'glance-api 1 and 2 of 2: ' in boot.message[:120]
    assert len(names_all(host, libraries, boot)) == 2


def test_an_image_that_its_host_may_not_delete_boots(
    image_on, host, demo_user, west, libraries, admin
):
    image = image_on(1)
    library = libraries[0]
    library.keep()

    assert all_are_clones(west, host.boot(demo_user, image.id))
    refused = admin.session.delete(
        f'{library.api.url}/v2/stores/file/{image.id}', raise_exc=False
    )
    assert refused.status_code == 500
    assert library.has(image)


@pytest.mark.parametrize('shows_locations', ['true'])
@pytest.mark.parametrize('on', [(2,), (1, 2)], ids=['missing', 'no-access'])
def test_stock_nova_waits_in_vain_for_one_that_cannot_read_the_file(
    image_on, make_host, demo_user, libraries, on
):
    image = image_on(*on)
    if 1 in on:
        libraries[0].deny(image)
    host = make_host(
        'west-1',
        driver=hosts.STOCK,
        glance__endpoint_override=libraries[0].api.url,
        libvirt__images_rbd_glance_copy_timeout=15,
        **POLL,
    )

    (boot,) = host.boot(demo_user, image.id)

    assert 'timed out' in boot.message


@pytest.mark.parametrize('down', [1, 2])
def test_an_image_on_both_boots_while_one_is_down(
    image_on, host, demo_user, west, libraries, down
):
    image = image_on(1, 2)
    libraries[down - 1].api.kill()

    assert all_are_clones(west, host.boot(demo_user, image.id))


def test_an_image_on_one_that_is_down_fails_until_it_is_up(
    image_on, host, make_host, demo_user, west, libraries
):
    image = image_on(1)
    libraries[0].api.kill()

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error == 'CopyFailed'
    libraries[0].api.start()
    again = make_host(
        'west-1',
        glance__api_servers=[library.api.url for library in libraries],
        **POLL,
    )
    assert all_are_clones(west, again.boot(demo_user, image.id))


def test_a_replaced_host_has_nothing_and_the_other_serves(
    image_on, host, demo_user, west, libraries
):
    image = image_on(1, 2)
    libraries[0].replace()

    assert all_are_clones(west, host.boot(demo_user, image.id))


def test_what_only_a_replaced_host_had_boots_when_it_was_restored(
    image_on, host, make_host, demo_user, west, libraries, tmp_path
):
    image = image_on(1)
    backup = Library(libraries[0].api, tmp_path / 'backup')
    backup.files.mkdir()
    backup.synchronize_from(libraries[0])
    libraries[0].replace()

    (boot,) = host.boot(demo_user, image.id)
    assert boot.error == 'CopyFailed'
    assert 'glance-api 1 and 2 of 2: ' in boot.message[:120]
    assert len(names_all(host, libraries, boot)) == 2

    # It does not matter to which of them.
    libraries[1].synchronize_from(backup)
    again = make_host(
        'west-1',
        glance__api_servers=[library.api.url for library in libraries],
        **POLL,
    )
    assert all_are_clones(west, again.boot(demo_user, image.id))


def test_after_they_were_synchronized_either_serves_alone(
    image_on, make_host, demo_user, west, libraries
):
    image = image_on(1)
    libraries[1].synchronize_from(libraries[0])
    libraries[0].api.kill()
    host = make_host(
        'west-1', glance__endpoint_override=libraries[1].api.url, **POLL
    )

    assert all_are_clones(west, host.boot(demo_user, image.id))
