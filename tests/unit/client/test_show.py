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

"""``openstack image replica show``."""

import datetime
import json

import pytest

from nova_rbd_multistore_client import data
from nova_rbd_multistore_client import errors
from nova_rbd_multistore_client import sites
from nova_rbd_multistore_client import store as stores
from nova_rbd_multistore_client.commands.show import ShowReplicas

MIB = 1 << 20
SOME_TIME = datetime.datetime(2026, 1, 2)


def shown(done):
    """Status and detail, by where."""
    return {
        row['Where']: (row['Status'], row['Detail'])
        for row in json.loads(done.out)
    }


@pytest.fixture
def show(run):
    return lambda *arguments: run(ShowReplicas, '-f', 'json', *arguments)


def test_each_store_is_a_sentence(show, proxy):
    proxy.add('debian', 'east')
    rows = shown(show('debian'))
    assert rows['store east'] == ('yes', 'the store has the image')
    assert rows['store west'] == ('no', 'the store has not the image')


def test_a_lock_names_its_task_and_its_end(show, proxy):
    image_id = proxy.add('debian', 'east')
    task = proxy.lock(image_id, 'file')
    status, detail = shown(show('debian'))['store west']
    assert status == 'locked until 2026-01-02T13:00:00Z'
    assert task['id'] in detail
    assert 'a copy to store file' in detail


def test_a_failure_has_its_reason(show, proxy):
    image_id = proxy.add('debian', 'east', os_glance_failed_import='west')
    proxy.add_task(image_id, 'west', status='failure', message='no space')
    assert shown(show('debian'))['store west'] == (
        'failed: no space',
        'the last copy failed: no space',
    )


def test_a_store_of_another_glance_api_is_told_as_such(show, proxy):
    proxy.add('debian', 'south')
    assert (
        'does not have this store' in shown(show('debian'))['store south'][1]
    )


@pytest.mark.parametrize(
    ('status', 'words', 'ends'),
    [
        (200, 'ok', 0),
        (204, 'missing', 3),
        (403, 'no-access', 3),
        (503, 'offline', 3),
        (None, 'offline', 3),
    ],
)
def test_each_glance_api_is_asked_for_the_first_byte(
    show, proxy, status, words, ends
):
    proxy.add('debian', 'east')
    proxy.data['http://b'] = status
    done = show(
        'debian',
        '--check',
        *('--endpoint', 'http://a'),
        *('--endpoint', 'http://b'),
    )
    rows = shown(done)
    assert rows['glance-api http://a'][0] == 'ok'
    assert rows['glance-api http://b'][0] == words
    assert done.status == ends


def test_a_protected_image_cannot_be_deleted_and_all_is_well(show, proxy):
    proxy.add('debian', 'east', protected=True)
    done = show('debian', '--check', '--endpoint', 'http://a')
    assert shown(done)['glance-api http://a'][0] == 'cannot-delete'
    assert done.status == 0


def found(**fields):
    fields = {
        'name': 'an-image',
        'size': MIB,
        'used': MIB,
        'created_at': SOME_TIME,
        'snapshot_size': MIB,
        'protected': True,
        **fields,
    }
    return data.Data(**fields)


@pytest.mark.parametrize(
    ('there', 'health', 'detail'),
    [
        (None, 'missing', 'nothing of its name in the pool'),
        (found(), 'ok', 'snapshot protected, whole, no clones'),
        (
            found(protected=False),
            'ok',
            'snapshot not protected, whole, no clones',
        ),
        (
            found(clones=('vms/a', 'vms/b')),
            'cannot-delete',
            'snapshot protected, whole, 2 clones, vms/a among them',
        ),
        (
            found(snapshot_size=None),
            'missing',
            'it has no snapshot "snap": a copy that broke off',
        ),
        (found(snapshot_size=1), 'missing', f'only 1 of {MIB} bytes'),
    ],
)
def test_a_pool_is_told_in_the_same_words(there, health, detail):
    told = data.health(there, MIB)
    assert (told[0].value, told[1]) == (health, detail)


class Cluster:
    def __init__(self, fsid):
        self._fsid = fsid

    def fsid(self):
        return self._fsid


STORES = [
    stores.Store('file'),
    stores.Store('east', pool='images', fsid='a'),
    stores.Store('west', pool='images', fsid='b'),
]


def test_a_cluster_belongs_to_the_store_with_its_fsid():
    east = Cluster('a')
    known = sites.Sites.of([east], STORES)
    assert known.require('east').cluster is east
    with pytest.raises(errors.CephNeeded, match='store west'):
        known.require('west')


def test_a_cluster_of_no_store_is_a_wrong_one():
    with pytest.raises(errors.WrongUse, match='check --ceph-conf'):
        sites.Sites.of([Cluster('c')], STORES)
