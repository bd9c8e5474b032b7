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

"""An operator's import to several stores, one of which fails.

The fake Glance of the unit tests and of the simulation keeps the same rules.
"""

import time

import pytest

from tests.rig import clusters
from tests.rig import polling

pytestmark = pytest.mark.fault

MIB = 1 << 20


@pytest.fixture
def blocked(upload, west):
    """An image whose copy to store west fails, for its name is in use."""
    image = upload()
    west.create('images', image.id, MIB)
    yield image
    west.remove('images', image.id)


@pytest.fixture
def begin(admin, where):
    """Begins the import of an image to stores, in their order."""

    def ask(image, *stores, all_or_none, url=where.glance_apis[0].url):
        admin.session.post(
            f'{url}/v2/images/{image.id}/import',
            json={
                'method': {'name': 'copy-image'},
                'stores': stores,
                'all_stores_must_succeed': all_or_none,
            },
        ).raise_for_status()

    return ask


@pytest.fixture
def end(admin, copy_tasks):
    """Waits for the end of an import; its status, and the image's record."""

    def wait(image):
        (task,) = polling.until(
            lambda: [
                task
                for task in copy_tasks(image.id)
                if task['status'] in ('success', 'failure')
            ],
            'the end of the import',
        )
        return task['status'], admin.image.get(f'/images/{image.id}').json()

    return wait


def test_all_or_none_takes_back_what_the_stores_before_have_got(
    blocked, begin, end, make_host, demo_user, east
):
    begin(blocked, 'east', 'west', all_or_none=True)
    status, record = end(blocked)

    assert status == 'failure'
    assert record['stores'] == 'file'
    assert record['os_glance_failed_import'] == 'west'
    assert record['os_glance_importing_to_stores'] == ''
    assert blocked.id not in east.images('images')

    (boot,) = make_host('east-1').boot(demo_user, blocked.id)
    assert boot.error is None, boot.message
    assert east.parent(boot.disk) == clusters.of_glance(blocked.id)


def test_all_or_none_keeps_the_stores_behind_among_those_under_way(
    blocked, begin, end
):
    begin(blocked, 'west', 'east', all_or_none=True)
    status, record = end(blocked)

    assert status == 'failure'
    assert record['os_glance_failed_import'] == 'west'
    assert record['os_glance_importing_to_stores'] == 'east'
    assert 'os_glance_import_task' not in record


def test_as_many_as_can_be_succeeds_though_one_has_failed(
    blocked, begin, end, east
):
    begin(blocked, 'west', 'east', all_or_none=False)
    status, record = end(blocked)

    assert status == 'success'
    assert set(record['stores'].split(',')) == {'file', 'east'}
    assert record['os_glance_failed_import'] == 'west'
    assert record['os_glance_importing_to_stores'] == ''
    assert blocked.id in east.images('images')


def test_what_a_boot_has_cloned_meanwhile_is_not_taken_back(
    blocked,
    begin,
    end,
    make_host,
    demo_user,
    east,
    west,
    slow_cluster,
    stores_of,
):
    go_on = slow_cluster(west, seconds=2)
    begin(blocked, 'east', 'west', all_or_none=True)
    polling.until(lambda: 'east' in stores_of(blocked.id), 'the first copy')
    (boot,) = make_host('east-1').boot(demo_user, blocked.id)
    go_on()
    status, record = end(blocked)

    assert boot.error is None, boot.message
    assert status == 'failure'
    assert set(record['stores'].split(',')) == {'file', 'east'}
    assert east.parent(boot.disk) == clusters.of_glance(blocked.id)


def test_a_boot_waits_for_an_import_that_is_at_another_store_first(
    upload, begin, make_glance, make_host, demo_user, east, west
):
    image = upload(size_mib=64)
    theirs = make_glance()
    begin(image, 'east', 'west', all_or_none=True, url=theirs.url)
    theirs.freeze_when(lambda: image.id in east.images('images'))
    # Of another project, so that Glance does not show the task.
    host = make_host(
        'west-1',
        libvirt__images_rbd_glance_copy_poll_interval=2,
        rbd_multistore__copy_stall_timeout=8,
    )
    host.start_waiting(demo_user, image.id)

    time.sleep(3 * 8)
    theirs.thaw()
    (boot,) = host.outcomes()

    assert boot.error is None, boot.message
    assert west.parent(boot.disk) == clusters.of_glance(image.id)
