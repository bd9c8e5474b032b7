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

"""``openstack image replica list``."""

import json

import pytest

from nova_rbd_multistore_client import errors
from nova_rbd_multistore_client.commands.list import ListReplicas


def shown(done):
    assert done.status == 0
    return json.loads(done.out)


def test_each_image_is_a_row_and_each_store_a_column(run, proxy):
    image_id = proxy.add('debian', 'east')
    assert shown(run(ListReplicas, '-f', 'json')) == [
        {
            'ID': image_id,
            'Name': 'debian',
            'file': 'no',
            'east': 'yes',
            'west': 'no',
        }
    ]


def test_a_cell_is_short_for_people_and_whole_for_programs(run, proxy):
    image_id = proxy.add('debian', 'east')
    proxy.lock(image_id, 'file')
    arguments = ('--store', 'west')
    assert 'locked until 13:00 UTC' in run(ListReplicas, *arguments).out
    (row,) = shown(run(ListReplicas, '-f', 'json', *arguments))
    assert row['west'] == 'locked until 2026-01-02T13:00:00Z'


def test_only_images_that_need_it_take_a_request_of_their_own(run, proxy):
    for number in range(30):
        proxy.add(f'image-{number}', 'east')
    proxy.lock(proxy.add('copied', 'east'), 'west')
    run(ListReplicas)
    paths = [path for _, path in proxy.asked]
    assert len([path for path in paths if path.endswith('/tasks')]) == 1
    assert len(paths) == 3


def test_missing_leaves_what_a_store_has_not(run, proxy):
    proxy.add('everywhere', 'east', 'west')
    proxy.add('east only', 'east')
    rows = shown(run(ListReplicas, '-f', 'json', '--missing', 'west'))
    assert [row['Name'] for row in rows] == ['east only']


@pytest.mark.parametrize('by_name', [False, True])
def test_public_leaves_public_images(run, proxy, by_name):
    proxy.add('public', 'east')
    proxy.add('private', 'east', visibility='private')
    named = ['private', 'public'] if by_name else []
    rows = shown(run(ListReplicas, '-f', 'json', '--public', *named))
    assert [row['Name'] for row in rows] == ['public']


def test_all_leaves_nothing_out(run, proxy):
    proxy.add('shown', 'east')
    proxy.add('hidden', 'east', os_hidden=True)
    proxy.add('theirs', 'east', owner='other', visibility='community')
    rows = shown(run(ListReplicas, '-f', 'json'))
    assert [row['Name'] for row in rows] == ['shown']
    rows = shown(run(ListReplicas, '-f', 'json', '--all'))
    assert {row['Name'] for row in rows} == {'shown', 'hidden', 'theirs'}
    rows = shown(run(ListReplicas, '-f', 'json', '--all', '--public'))
    assert {row['Name'] for row in rows} == {'shown', 'hidden'}


def test_one_store_is_one_column(run, proxy):
    proxy.add('debian', 'east')
    (row,) = shown(run(ListReplicas, '-f', 'json', '--store', 'west'))
    assert 'east' not in row


def test_long_rows_tell_of_stores_that_this_glance_api_has_not(run, proxy):
    proxy.add('debian', 'east', 'south', size=3 << 30)
    (row,) = shown(run(ListReplicas, '-f', 'json', '--long'))
    assert row['Elsewhere'] == 'south'
    assert row['Size'] == 3 << 30
    assert '3.0 GiB' in run(ListReplicas, '--long').out


def test_a_store_that_is_not_there_is_named_with_those_that_are(run):
    with pytest.raises(errors.NotFound, match='west'):
        run(ListReplicas, '--store', 'north')


def test_rows_are_there_before_all_images_are(service, proxy, run):
    for number in range(1500):
        proxy.add(f'image-{number}', 'east')
    command = ListReplicas(None, None)
    command.app = type(
        'App',
        (),
        {'client_manager': type('M', (), {'image_replica': service})},
    )
    parsed = command.get_parser('list').parse_args([])
    _, rows = command.take_action(parsed)
    assert next(iter(rows))[1] == 'image-0'
    assert proxy.asked == [('GET', '/info/stores'), ('GET', '/images')]
