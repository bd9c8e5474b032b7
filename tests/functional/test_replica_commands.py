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

"""``openstack image replica …``, the real program on the real services."""

import pathlib
import signal
import sys
import time
import uuid

import pytest

from tests.rig import database
from tests.rig import openstack_program
from tests.rig import polling


@pytest.fixture
def admins(where, supervisor):
    """The program, as an administrator runs it."""
    program = pathlib.Path(sys.executable).parent / 'openstack'
    return openstack_program.OpenStack(program, 'admin', where)


@pytest.fixture
def users(where, supervisor):
    """The program, as an ordinary user runs it."""
    program = pathlib.Path(sys.executable).parent / 'openstack'
    return openstack_program.OpenStack(program, 'demo', where)


@pytest.fixture
def ceph(where):
    """The options that let a command look into both clusters."""
    return [
        word
        for site in where.sites
        for word in ('--ceph-conf', site.ceph_conf)
    ]


def cells(done):
    """The one row of a list."""
    (row,) = done.rows
    return {name: row[name] for name in ('file', 'east', 'west')}


def by_where(done):
    assert done.out, done.err
    return {row['Where']: row['Status'] for row in done.rows}


def test_a_user_sees_which_store_has_an_image(users, upload):
    image = upload(store='east')
    assert cells(users.replica('list', image.id)) == {
        'file': 'no',
        'east': 'yes',
        'west': 'no',
    }


@pytest.mark.long
def test_images_that_a_store_lacks_are_listed(users, upload):
    image = upload(store='east')
    lacking = users.replica('list', '--missing', 'west').rows
    having = users.replica('list', '--missing', 'east').rows
    assert image.id in {row['ID'] for row in lacking}
    assert image.id not in {row['ID'] for row in having}


@pytest.mark.long
def test_each_glance_api_and_each_pool_is_checked(admins, upload, ceph, where):
    image = upload(store='east')
    done = admins.replica('show', image.id, '--check', *ceph)
    found = by_where(done)
    assert {f'glance-api {api.url}' for api in where.glance_apis} <= set(found)
    assert set(found.values()) == {'yes', 'no', 'ok'}
    assert found['pool images of store east'] == 'ok'
    assert done.status == 0


@pytest.mark.long
def test_data_that_is_gone_is_missing(admins, upload, ceph, east):
    image = upload(store='east')
    east.remove('images', image.id)
    done = admins.replica('show', image.id, '--check', *ceph)
    checked = {
        where: status
        for where, status in by_where(done).items()
        if not where.startswith('store')
    }
    assert set(checked.values()) == {'missing'}
    assert done.status == 3


@pytest.mark.long
def test_a_glance_api_that_is_away_is_offline(
    admins, admin, upload, where, stop
):
    image = upload(store='east')
    # The one that gives the record goes on: Keystone lists one of both first.
    asked = admin.session.get_endpoint(service_type='image')
    (gone,) = (
        api for api in where.glance_apis if not asked.startswith(api.url)
    )
    stop(gone.name)
    urls = [
        word for api in where.glance_apis for word in ('--endpoint', api.url)
    ]
    found = by_where(admins.replica('show', image.id, '--check', *urls))
    assert found[f'glance-api {gone.url}'] == 'offline'


@pytest.mark.long
def test_where_the_first_glance_api_is_away_another_can_be_named(
    admins, admin, upload, where, stop
):
    image = upload(store='east')
    asked = admin.session.get_endpoint(service_type='image')
    (first,) = (api for api in where.glance_apis if asked.startswith(api.url))
    (other,) = (api for api in where.glance_apis if api != first)
    stop(first.name)

    done = admins.replica('list', image.id)
    assert done.status == 1
    assert 'OS_IMAGE_ENDPOINT_OVERRIDE' in done.err

    named = admins.having(OS_IMAGE_ENDPOINT_OVERRIDE=other.url)
    assert cells(named.replica('list', image.id))['east'] == 'yes'


@pytest.mark.long
def test_clones_are_what_keeps_an_image_from_being_deleted(
    admins, upload, ceph, east
):
    image = upload(store='east')
    east.clone(image.id, f'test-{image.id}')
    done = admins.replica('show', image.id, *ceph)
    assert by_where(done)['pool images of store east'] == 'cannot-delete'
    assert f'1 clone: vms/test-{image.id}' in done.out
    assert done.status == 0


def test_an_image_is_copied_to_all_stores_by_one_request(
    admins, upload, copy_tasks, stores_of
):
    image = upload()
    done = admins.replica('create', '--all-stores', '--wait', image.id)
    assert {row['Store']: row['Result'] for row in done.rows} == {
        'file': 'was there',
        'east': 'copied',
        'west': 'copied',
    }
    assert done.status == 0
    assert stores_of(image.id) == {'file', 'east', 'west'}
    assert len(copy_tasks(image.id)) == 1

    again = admins.replica('create', '--all-stores', '--wait', image.id)
    assert {row['Result'] for row in again.rows} == {'was there'}
    assert len(copy_tasks(image.id)) == 1


@pytest.mark.long
def test_a_copy_that_is_interrupted_goes_on(
    admins, upload, copy_tasks, stores_of, slow_cluster, west
):
    image = upload(64)
    go_on = slow_cluster(west)
    first = admins.start(
        *('image', 'replica', 'create', '--store', 'west', '--wait'),
        image.id,
    )
    # It has to follow the copy by then, and not only to have requested it.
    polling.until(lambda: copy_tasks(image.id), 'the copy begins')
    time.sleep(2)
    first.send_signal(signal.SIGINT)
    _, said = first.communicate(timeout=60)
    go_on()
    assert 'Glance goes on with what it has begun' in said
    assert first.returncode == 130
    done = admins.replica('create', '--store', 'west', '--wait', image.id)
    assert done.status == 0
    assert 'west' in stores_of(image.id)
    assert len(copy_tasks(image.id)) == 1


@pytest.mark.long
def test_what_is_in_the_way_of_a_copy_is_told(admins, upload, west):
    image = upload()
    west.create('images', image.id, 1 << 20)
    done = admins.replica('create', '--store', 'west', '--wait', image.id)
    (row,) = done.rows
    assert row['Result'].startswith('failed')
    assert done.status == 3
    (listed,) = admins.replica('list', image.id).rows
    assert listed['west'].startswith('failed')


@pytest.mark.long
def test_a_user_is_told_which_right_is_missing(users, upload):
    image = upload()
    done = users.run(
        *('image', 'replica', 'create', '--store', 'west', image.id)
    )
    assert done.status == 1
    assert 'policy copy_image admits administrators' in done.err
    assert 'Traceback' not in done.err


def test_a_copy_is_deleted_and_the_last_one_is_not(
    admins, upload, ceph, stores_of, west
):
    image = upload(store='west')
    last = admins.run(
        *('image', 'replica', 'delete', '--store', 'west', image.id), *ceph
    )
    assert last.status == 1
    assert 'it is the last copy' in last.err

    admins.replica('create', '--store', 'east', '--wait', image.id)
    done = admins.replica('delete', '--store', 'west', image.id, *ceph)
    assert done.status == 0
    assert done.rows[0]['Freed'] == 8 << 20
    assert stores_of(image.id) == {'east'}
    assert image.id not in west.images('images')


@pytest.mark.long
def test_what_has_clones_is_neither_deleted_nor_pruned(
    admins, upload, ceph, stores_of, west
):
    image = upload(store='west')
    admins.replica('create', '--store', 'east', '--wait', image.id)
    west.clone(image.id, f'test-{image.id}')
    done = admins.run(
        *('image', 'replica', 'delete', '--store', 'west', image.id), *ceph
    )
    assert done.status == 1
    assert f'1 clone: vms/test-{image.id}' in done.err
    pruned = admins.replica(
        *('prune', '--store', 'west', '--unused-for', '0m', '--yes'), *ceph
    )
    (row,) = (row for row in pruned.rows if row['ID'] == image.id)
    assert row['Result'].startswith('kept: 1 clone')
    assert stores_of(image.id) == {'east', 'west'}


@pytest.mark.long
def test_an_image_that_nobody_uses_is_pruned(admins, upload, ceph, stores_of):
    image = upload(store='west')
    admins.replica('create', '--store', 'east', '--wait', image.id)
    # The image was changed this second.
    time.sleep(2)
    command = ('prune', '--store', 'west', '--unused-for', '0m', *ceph)
    (row,) = (
        row for row in admins.replica(*command).rows if row['ID'] == image.id
    )
    assert row['Result'] == 'would be deleted'
    assert row['Frees'] == 8 << 20
    assert stores_of(image.id) == {'east', 'west'}
    admins.replica(*command, '--yes')
    assert stores_of(image.id) == {'east'}


@pytest.mark.long
def test_a_user_may_not_prune(users):
    done = users.run(
        *('image', 'replica', 'prune', '--store', 'west'),
        *('--unused-for', '30d'),
    )
    assert done.status == 1
    assert 'os_compute_api:servers:detail:get_all_tenants' in done.err


def test_a_file_of_wishes_is_planned_and_then_done(
    admins, upload, stores_of, tmp_path, ceph
):
    image = upload(store='east')
    wishes = tmp_path / 'wishes.yaml'
    wishes.write_text(
        'version: 1\n'
        'rules:\n'
        f'  - images: {{ids: [{image.id}]}}\n'
        '    stores: [west]\n'
        '    exclusive: true\n'
    )
    planned = admins.replica('sync', '--dry-run', wishes)
    assert planned.status == 3
    assert [(row['Change'], row['Store']) for row in planned.rows] == [
        ('+', 'west'),
        ('-', 'east'),
    ]
    assert stores_of(image.id) == {'east'}

    done = admins.replica('sync', '--wait', wishes, *ceph)
    assert done.status == 0, done.err
    assert stores_of(image.id) == {'west'}
    again = admins.replica('sync', '--wait', wishes, *ceph)
    assert (again.status, again.rows) == (0, [])


@pytest.mark.long
def test_a_file_that_is_wrong_is_told_with_its_line(admins, tmp_path):
    wishes = tmp_path / 'wishes.yaml'
    wishes.write_text('version: 1\nrules:\n  - images: {name: x}\n')
    done = admins.run('image', 'replica', 'sync', wishes)
    assert done.status == 1
    assert f"{wishes}:3: rules[0]: 'stores' is a required" in done.err
    assert 'Traceback' not in done.err


@pytest.mark.long
def test_data_that_is_in_the_way_is_removed_and_copies_work_again(
    admins, upload, ceph, west, stores_of
):
    image = upload(store='east')
    west.create('images', image.id, 1 << 20)
    seen = admins.replica('repair', image.id, *ceph)
    assert [row['Remedy'] for row in seen.rows] == [
        'would remove the data from the pool'
    ]
    assert image.id in west.images('images')

    mended = admins.replica('repair', image.id, '--yes', *ceph)
    assert mended.status == 0, mended.err
    assert image.id not in west.images('images')
    admins.replica('create', '--store', 'west', '--wait', image.id)
    assert stores_of(image.id) == {'east', 'west'}


@pytest.mark.long
def test_a_store_whose_data_is_gone_leaves_the_record(
    admins, upload, ceph, west, stores_of
):
    image = upload(store='east')
    admins.replica('create', '--store', 'west', '--wait', image.id)
    west.remove('images', image.id)
    mended = admins.replica('repair', image.id, '--yes', *ceph)
    assert mended.status == 0, mended.err
    assert stores_of(image.id) == {'east'}


@pytest.fixture
def moved(admins, upload, where, east, west):
    """An image in both clusters, in west in a pool that is no store's."""
    image = upload(store='east')
    admins.replica('create', '--store', 'west', '--wait', image.id)
    west.remove('images', image.id)
    west.create_disk(image.id, bytes(8 << 20), 'snap')
    in_east = f'rbd://{east.fsid}/images/{image.id}/snap', 'east'
    in_west = f'rbd://{west.fsid}/vms/{image.id}/snap', 'west'
    database.place_image(where, image.id, [in_east, in_west])
    yield image
    west.remove('vms', f'test-{image.id}')
    west.remove('vms', image.id)
    database.place_image(where, image.id, [in_east])


@pytest.mark.long
def test_data_in_another_pool_than_the_stores_is_found_there(
    admins, moved, ceph, west, stores_of
):
    mended = admins.replica('repair', moved.id, '--yes', *ceph)
    assert (mended.status, mended.rows) == (0, []), mended.err
    found = by_where(admins.replica('show', moved.id, *ceph))
    assert found['pool vms of store west'] == 'ok'

    west.clone(moved.id, f'test-{moved.id}', 'vms')
    done = admins.run(
        *('image', 'replica', 'delete', '--store', 'west', moved.id), *ceph
    )
    assert done.status == 1
    assert f'1 clone: vms/test-{moved.id}' in done.err
    assert stores_of(moved.id) == {'east', 'west'}


@pytest.mark.long
def test_the_lock_of_a_dead_copy_goes_when_it_has_aged(
    admins, upload, hold_copy, where, copy_tasks, admin
):
    image = upload()
    hold_copy(image.id, 'east')
    (task,) = copy_tasks(image.id)
    held = admins.replica('repair', image.id, '--yes')
    assert held.rows[0]['Remedy'].startswith('nothing: Glance lets nobody')

    database.age_task(where, task['id'], 121)
    mended = admins.replica('repair', image.id, '--yes')
    assert mended.rows[0]['Remedy'] == 'the lock is gone', mended.out
    record = admin.image.get(f'/images/{image.id}').json()
    assert 'os_glance_import_task' not in record


@pytest.mark.long
def test_the_lock_of_a_copy_that_begins_is_not_taken_for_dead(
    admins, upload, hold_copy, where, copy_tasks, admin
):
    image = upload()
    hold_copy(image.id, 'east')
    (task,) = copy_tasks(image.id)
    database.hide_task(where, task['id'])
    repair = admins.start(
        *('image', 'replica', 'repair', '--yes', '-f', 'json', image.id)
    )
    said = repair.stderr.readline()
    while 'does not show the task' not in said:
        assert said, 'it has ended'
        said = repair.stderr.readline()
    database.show_task(where, task['id'])
    out, _ = repair.communicate(timeout=60)
    (row,) = openstack_program.Done(repair.returncode, out, '').rows
    assert row['Remedy'].startswith('nothing: Glance lets nobody')
    record = admin.image.get(f'/images/{image.id}').json()
    assert record['os_glance_import_task'] == task['id']


@pytest.mark.long
def test_data_of_nobody_is_found_and_removed(admins, ceph, west, upload):
    image = upload(store='west')
    orphan = str(uuid.uuid4())
    west.create('images', orphan, 1 << 20)
    kept = admins.replica('orphans', '--store', 'west', '--yes', *ceph)
    (row,) = (row for row in kept.rows if row['Name'] == orphan)
    assert row['Result'] == 'kept: it is too new'

    time.sleep(2)
    done = admins.replica(
        *('orphans', '--store', 'west', '--yes', '--older-than', '0m'), *ceph
    )
    (row,) = (row for row in done.rows if row['Name'] == orphan)
    assert row['Result'] == 'removed'
    there = west.images('images')
    assert orphan not in there
    assert image.id in there


@pytest.mark.long
def test_an_image_that_lists_hide_is_an_image_all_the_same(
    admins, ceph, upload
):
    image = upload(store='west', visibility='community')
    found = admins.replica(
        *('orphans', '--store', 'west', '--older-than', '0m'), *ceph
    )
    assert image.id not in {row['Name'] for row in found.rows}
    # Glance hides those of other projects, from administrators too.
    listed = {row['ID'] for row in admins.replica('list').rows}
    assert image.id not in listed
    listed = {row['ID'] for row in admins.replica('list', '--all').rows}
    assert image.id in listed
    (row,) = admins.replica('list', image.name).rows
    assert row['ID'] == image.id


@pytest.mark.long
def test_a_user_may_not_look_for_orphans(users, ceph):
    done = users.run('image', 'replica', 'orphans', '--store', 'west', *ceph)
    assert done.status == 1
    assert 'role admin' in done.err


@pytest.mark.long
def test_a_copy_under_way_is_watched(admins, upload, hold_copy):
    image = upload()
    hold_copy(image.id, 'east')
    (row,) = (
        row for row in admins.replica('watch').rows if row['ID'] == image.id
    )
    assert row['Store'] == 'east'
    assert row['State'].startswith('copying')


@pytest.mark.long
def test_ten_thousand_images_take_a_request_for_each_thousand(
    admins, ten_thousand, record_property
):
    began = time.monotonic()
    done = admins.run(
        *('--timing', 'image', 'replica', 'list', '-f', 'csv'), timeout=600
    )
    seconds = time.monotonic() - began
    assert done.status == 0, done.err
    rows = [line for line in done.out.splitlines() if '"many-' in line]
    assert len(rows) == len(ten_thousand)
    requests = len(
        [line for line in done.out.splitlines() if '/v2/images?' in line]
    )
    record_property('seconds', seconds)
    record_property('requests', requests)
    print(f'{len(rows)} images: {seconds:.1f} s, {requests} requests')
    assert 10 <= requests <= 12
