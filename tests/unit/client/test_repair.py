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

"""``openstack image replica repair``, and what it may do."""

import datetime
import itertools
import json

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
import pytest

from nova_rbd_multistore import image as image_values
from nova_rbd_multistore_client import data
from nova_rbd_multistore_client import errors
from nova_rbd_multistore_client import reading
from nova_rbd_multistore_client import remedy
from nova_rbd_multistore_client.commands.repair import RepairReplicas
from tests.fakes import image_proxy
from tests.unit.client import conftest

CEPH = conftest.CEPH
MIB = 1 << 20


@pytest.fixture
def repair(run):
    """Repairs an image; how that ended, and the remedy by store."""

    def repair(image_id, *arguments):
        done = run(RepairReplicas, image_id, '-f', 'json', *arguments)
        return done, {
            row['Store']: row['Remedy'] for row in json.loads(done.out)
        }

    return repair


def test_nothing_is_wrong_with_an_image_that_lies_as_it_should(
    repair, proxy, east
):
    image_id = proxy.add('debian', 'east')
    east.add(image_id)
    done, remedies = repair(image_id, *CEPH)
    assert remedies == {}
    assert done.status == 0
    assert 'Nothing is wrong' in done.err


def test_data_that_blocks_copies_is_removed_with_yes_alone(
    repair, proxy, east, west
):
    image_id = proxy.add('debian', 'east')
    east.add(image_id)
    west.add(image_id, snapshot_size=None)
    done, remedies = repair(image_id, *CEPH)
    assert remedies == {'west': 'would remove the data from the pool'}
    assert done.status == 3
    assert west.removed == []

    done, remedies = repair(image_id, '--yes', *CEPH)
    assert remedies == {'west': 'removed'}
    assert done.status == 0
    assert west.removed == [image_id]


@pytest.mark.parametrize(
    'fields',
    [
        {'clones': ('vms/a',)},
        {'other_snapshots': ('backup',)},
        {'watched': True, 'snapshot_size': None},
    ],
)
def test_data_in_use_is_left_alone(repair, proxy, east, west, fields):
    image_id = proxy.add('debian', 'east')
    east.add(image_id)
    west.add(image_id, **fields)
    done, remedies = repair(image_id, '--yes', *CEPH)
    assert remedies['west'].startswith('nothing: ')
    assert done.status == 3
    assert west.removed == []


@pytest.mark.parametrize('visibility', ['public', 'community'])
def test_data_that_another_record_refers_to_is_left_alone(
    repair, proxy, east, west, visibility
):
    image_id = proxy.add('debian', 'east')
    other = proxy.add('other', 'west', owner='other', visibility=visibility)
    proxy.locations[other] = [
        {'url': f'rbd://fsid-west/images/{image_id}/snap', 'metadata': {}}
    ]
    east.add(image_id)
    west.add(image_id)
    _, remedies = repair(image_id, '--yes', *CEPH)
    assert remedies['west'] == 'nothing: a record has its data there'


def test_what_is_found_to_be_in_use_at_last_is_told(repair, proxy, east, west):
    image_id = proxy.add('debian', 'east')
    east.add(image_id)
    west.add(image_id)
    west.busy = errors.InUse
    done, remedies = repair(image_id, '--yes', *CEPH)
    assert remedies['west'] == 'failed: in use'
    assert done.status == 3


def test_a_record_without_data_loses_the_store(repair, proxy, east):
    image_id = proxy.add('debian', 'east', 'west')
    east.add(image_id)
    _, remedies = repair(image_id, '--yes', *CEPH)
    assert remedies == {'west': 'deleted from the record'}
    assert proxy.held(image_id) == {'east'}


@pytest.mark.parametrize('stores', [['west'], ['file', 'west']])
def test_the_last_trace_of_an_image_is_left_alone(repair, proxy, stores, west):
    assert not west.removed
    image_id = proxy.add('debian', *stores)
    _, remedies = repair(image_id, '--yes', *CEPH)
    assert remedies['west'].startswith('nothing: no other store is known')
    assert proxy.held(image_id) == set(stores)


def test_the_lock_of_a_dead_task_goes_when_it_has_aged(repair, proxy):
    image_id = proxy.add('debian', 'east')
    proxy.lock(image_id, 'west')
    _, remedies = repair(image_id, '--yes')
    assert remedies[''].startswith('nothing: Glance lets nobody take it over')
    proxy.clock.sleep(3601)
    _, remedies = repair(image_id, '--yes')
    assert remedies[''] == 'the lock is gone'
    assert image_proxy.LOCK not in proxy.images[image_id]
    assert proxy.held(image_id) == {'east'}


def test_a_lock_of_a_task_that_is_gone_goes(repair, proxy):
    image_id = proxy.add('debian', 'east', os_glance_import_task='gone')
    done, remedies = repair(image_id, '--yes')
    assert remedies == {'': 'the lock is gone'}
    assert 'does not show the task that holds debian' in done.err


@pytest.mark.parametrize('arguments', [(), ('--yes',)])
def test_a_lock_whose_task_comes_later_is_not_dead(
    repair, proxy, monkeypatch, arguments
):
    image_id = proxy.add('debian', 'east')
    task = proxy.lock(image_id, 'west')
    tasks = proxy.tasks.pop(image_id)

    def store_late(seconds):
        proxy.clock.now += seconds
        if proxy.clock.now > 2.5:
            proxy.tasks[image_id] = tasks

    monkeypatch.setattr(proxy.clock, 'sleep', store_late)
    _, remedies = repair(image_id, *arguments)
    assert remedies[''].startswith('nothing: Glance lets nobody take it over')
    assert proxy.images[image_id][image_proxy.LOCK] == task['id']


def test_a_lock_that_goes_meanwhile_is_none(repair, proxy, monkeypatch):
    image_id = proxy.add('debian', 'east', os_glance_import_task='gone')
    monkeypatch.setattr(
        proxy.clock,
        'sleep',
        lambda _: proxy.images[image_id].pop(image_proxy.LOCK),
    )
    assert repair(image_id, '--yes')[1] == {}


def test_data_is_looked_at_after_all_names_were_asked_for(
    repair, proxy, east, west, monkeypatch
):
    image_id = proxy.add('debian', 'east')
    east.add(image_id)
    west.add(image_id, snapshot_size=None)
    request = proxy.request
    lists = itertools.count()

    def request_while_others_work(path, method, **more):
        # A list of all images is two, and this is the second one.
        if path == '/images' and next(lists) == 3:
            proxy.images[image_id]['stores'] = 'east,west'
            west.add(image_id)
        return request(path, method, **more)

    monkeypatch.setattr(proxy, 'request', request_while_others_work)
    _, remedies = repair(image_id, '--yes', *CEPH)
    assert remedies == {'west': 'nothing: it has changed meanwhile'}
    assert west.removed == []


def test_a_user_may_not_know_that_a_task_is_gone(repair, proxy):
    image_id = proxy.add('debian', 'east', os_glance_import_task='gone')
    proxy.admin = False
    _, remedies = repair(image_id, '--yes')
    assert remedies == {'': 'nothing: an administrator may see that task'}


def test_flags_that_mean_nothing_are_told_as_such(repair, proxy):
    image_id = proxy.add(
        'debian',
        'east',
        os_glance_importing_to_stores='west',
        os_glance_failed_import='east,file',
    )
    _, remedies = repair(image_id, '--yes')
    assert 'the next copy to the store clears it' in remedies['west']
    assert 'Glance lets nobody clear it' in remedies['east']
    assert 'request it again' in remedies['file']


def test_without_a_cluster_it_says_what_is_not_known(repair, proxy):
    done, _ = repair(proxy.add('debian', 'east'))
    assert 'not known without --ceph-conf' in done.err


names = st.sampled_from(['file', 'east', 'west'])
NOW = datetime.datetime(2026, 1, 2)
found = st.one_of(
    st.none(),
    st.builds(
        data.Data,
        name=st.just('an-image'),
        size=st.just(MIB),
        used=st.just(MIB),
        created_at=st.just(NOW),
        snapshot_size=st.sampled_from([None, 1, MIB]),
        clones=st.sampled_from([(), ('vms/a',)]),
        other_snapshots=st.sampled_from([(), ('backup',)]),
        watched=st.booleans(),
    ),
)


@settings(deadline=None)
@given(
    stores=st.frozensets(names),
    importing=st.frozensets(names),
    lock=st.sampled_from([None, 'a-task']),
    pools=st.dictionaries(names, found),
    referred=st.booleans(),
    all_tasks=st.booleans(),
)
def test_nothing_that_is_needed_is_ever_removed(
    stores, importing, lock, pools, referred, all_tasks
):
    record = image_values.ImageRecord(
        'an-image',
        'active',
        size=MIB,
        stores=stores,
        importing=importing,
        lock=lock,
    )
    for finding in remedy.findings(
        record,
        (),
        pools,
        NOW,
        sees_all_tasks=all_tasks,
        referred_to=lambda _store: referred,
    ):
        there = pools.get(finding.store)
        match finding.action:
            case remedy.Action.REMOVE_DATA:
                assert finding.store not in stores
                assert stores
                assert not referred
                assert not there.in_use
                assert lock is None
            case remedy.Action.DELETE_COPY:
                assert lock is None
                assert there is None or not there.in_use
                assert any(
                    data.health(pools.get(other), MIB)[0]
                    is not reading.Health.MISSING
                    for other in stores - {finding.store}
                )
            case remedy.Action.DROP_LOCK:
                assert lock is not None
                assert stores
