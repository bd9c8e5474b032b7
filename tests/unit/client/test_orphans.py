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

"""``openstack image replica orphans``."""

import datetime
import json
import uuid

import pytest

from nova_rbd_multistore_client import errors
from nova_rbd_multistore_client import orphan
from nova_rbd_multistore_client.commands.orphans import ListOrphans
from tests.unit.client import conftest

CEPH = conftest.CEPH


@pytest.fixture
def orphans(run):
    """Compares store west; how that ended, and the result by name."""

    def orphans(*arguments):
        done = run(
            ListOrphans, '--store', 'west', '-f', 'json', *CEPH, *arguments
        )
        return done, {
            row['Name']: row['Result'] for row in json.loads(done.out)
        }

    return orphans


@pytest.fixture
def nobodys(west):
    """Old data that Glance has no image of."""
    name = str(uuid.uuid4())
    west.add(name)
    return name


def test_a_pool_and_a_glance_that_agree_have_no_orphans(orphans, proxy, west):
    for fields in ({}, {'os_hidden': True}, {'visibility': 'private'}):
        west.add(proxy.add('debian', 'west', **fields))
    done, results = orphans()
    assert results == {}
    assert done.status == 0
    assert done.err == 'Pool images and Glance agree.\n'


def test_data_of_nobody_is_removed_with_yes_alone(orphans, west, nobodys):
    done, results = orphans()
    assert results == {nobodys: 'would be removed'}
    assert done.status == 3
    done, results = orphans('--yes')
    assert results == {nobodys: 'removed'}
    assert done.status == 0
    assert west.removed == [nobodys]


@pytest.mark.parametrize(
    ('fields', 'why'),
    [
        ({'clones': ('vms/a',)}, '1 clone'),
        ({'other_snapshots': ('backup',)}, 'not of Glance'),
        ({'watched': True}, 'has it open'),
        ({'created_at': datetime.datetime(2026, 1, 2, 11)}, 'too new'),
    ],
)
def test_data_in_use_or_new_is_kept(orphans, west, nobodys, fields, why):
    west.change(nobodys, **fields)
    _, results = orphans('--yes')
    assert why in results[nobodys]
    assert west.removed == []


def test_how_new_is_too_new_can_be_told(orphans, west, nobodys):
    west.change(nobodys, created_at=datetime.datetime(2026, 1, 2, 9))
    _, results = orphans('--yes', '--older-than', '2h')
    assert results == {nobodys: 'removed'}


def test_what_has_another_name_than_images_is_somebodys(orphans, west):
    west.add('backup')
    _, results = orphans('--yes')
    assert results['backup'].startswith('kept: its name is none')


def test_what_a_location_leads_to_is_somebodys(orphans, proxy, west, nobodys):
    image_id = proxy.add('other', 'west')
    west.add(image_id)
    proxy.locations[image_id] = [
        {'url': f'rbd://fsid-west/images/{nobodys}/snap', 'metadata': {}}
    ]
    _, results = orphans('--yes')
    assert results == {nobodys: 'kept: an image has its data there'}
    assert west.removed == []


@pytest.mark.parametrize(
    'fields',
    [
        {'owner': 'other', 'visibility': 'community'},
        # As a list shows an image of before Glance had several stores.
        {'stores': ''},
    ],
)
def test_nor_is_what_one_leads_to_that_lists_do_not_tell_of(
    orphans, proxy, west, nobodys, fields
):
    image_id = proxy.add('theirs', **({'stores': 'west'} | fields))
    proxy.locations[image_id] = [
        {'url': f'rbd://fsid-west/images/{nobodys}/snap', 'metadata': {}}
    ]
    _, results = orphans('--yes')
    assert results[nobodys] == 'kept: an image has its data there'
    assert west.removed == []


def test_an_image_that_goes_meanwhile_has_no_data(orphans, proxy, nobodys):
    proxy.gone.add(proxy.add('gone', 'east'))
    _, results = orphans('--yes')
    assert results == {nobodys: 'removed'}


def test_data_of_an_image_that_is_elsewhere_is_for_repair(
    orphans, proxy, west
):
    image_id = proxy.add('debian', 'east')
    west.add(image_id)
    _, results = orphans('--yes')
    assert f'image replica repair {image_id}' in results[image_id]
    assert west.removed == []


def test_what_is_on_its_way_is_no_orphan(orphans, proxy, west):
    image_id = proxy.add('debian', 'east')
    proxy.lock(image_id, 'west')
    west.add(image_id, snapshot_size=None)
    assert orphans()[1] == {}


def test_a_record_without_data_is_told(orphans, proxy, clusters):
    assert clusters
    image_id = proxy.add('debian', 'east', 'west')
    done, results = orphans('--yes')
    assert results[image_id].startswith('kept: nothing of its name')
    assert done.status == 3


def test_the_trash_is_told_of(orphans, west):
    west.trashed.append(type('Trashed', (), {'id': 'x'}))
    assert '1 images in the trash of pool images' in orphans()[0].err


def test_who_does_not_see_all_images_does_not_compare(orphans, proxy):
    proxy.admin = False
    with pytest.raises(errors.NotAllowed, match='role admin'):
        orphans()


def test_a_pool_that_cannot_be_looked_into_is_asked_for(run):
    with pytest.raises(errors.CephNeeded, match='--ceph-conf'):
        run(ListOrphans, '--store', 'west')


@pytest.mark.parametrize(
    ('url', 'names'),
    [
        ('rbd://f/images/a/snap', ['a']),
        ('rbd://f/images/%C3%A4/snap', ['ä']),
        ('rbd://f/other/a/snap', []),
        ('rbd://g/images/a/snap', []),
        ('rbd://a', ['a']),
        ('file:///a', []),
        ('nonsense', []),
    ],
)
def test_a_location_names_data_of_its_own_cluster_and_pool(url, names):
    assert list(orphan.names_in([url], 'f', 'images')) == names
