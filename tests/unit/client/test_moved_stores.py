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

"""Data that lies elsewhere than where its store puts new images today."""

import json

import pytest

from nova_rbd_multistore import image as image_values
from nova_rbd_multistore_client import errors
from nova_rbd_multistore_client import place
from nova_rbd_multistore_client.commands.delete import DeleteReplicas
from nova_rbd_multistore_client.commands.orphans import ListOrphans
from nova_rbd_multistore_client.commands.prune import PruneReplicas
from nova_rbd_multistore_client.commands.repair import RepairReplicas
from nova_rbd_multistore_client.commands.show import ShowReplicas
from nova_rbd_multistore_client.commands.sync import SyncReplicas
from tests.unit.client import conftest

CEPH = conftest.CEPH
OLD = '2025-11-01T00:00:00Z'
MIB = 1 << 20


@pytest.fixture
def make(proxy, east):
    """Makes an image in east, and in west by a location; its id."""

    def make(url):
        image_id = proxy.add('debian', 'east', 'west', updated_at=OLD)
        east.add(image_id)
        proxy.locations[image_id] = [
            {
                'url': f'rbd://fsid-east/images/{image_id}/snap',
                'metadata': {'store': 'east'},
            },
            {'url': url.format(image_id), 'metadata': {'store': 'west'}},
        ]
        return image_id

    return make


@pytest.fixture
def moved(make):
    """An image whose data the pool that west had before has."""
    return make('rbd://fsid-west/images-old/{}/snap')


@pytest.fixture
def abroad(make):
    """An image whose data another cluster has, which nobody looks into."""
    return make('rbd://fsid-old/images/{}/snap')


def rows(done):
    return json.loads(done.out)


def delete(run, image_id, *arguments):
    return run(
        *(DeleteReplicas, image_id, '--store', 'west', '-f', 'json'),
        *(*CEPH, *arguments),
    )


def test_a_whole_copy_is_not_taken_for_none(run, proxy, west, moved):
    west.add(moved, 'images-old')
    done = run(RepairReplicas, moved, '--yes', '-f', 'json', *CEPH)
    assert rows(done) == []
    assert done.status == 0
    assert proxy.held(moved) == {'east', 'west'}


def test_a_copy_that_is_not_there_either_is_none(run, proxy, west, moved):
    west.pools['images-old'] = {}
    done = run(RepairReplicas, moved, '--yes', '-f', 'json', *CEPH)
    assert [row['Remedy'] for row in rows(done)] == ['deleted from the record']
    assert proxy.held(moved) == {'east'}


def test_clones_of_it_are_seen(run, proxy, west, moved):
    west.add(moved, 'images-old', clones=('vms/a',))
    with pytest.raises(errors.Refusing, match='1 clone: vms/a'):
        delete(run, moved)
    assert proxy.held(moved) == {'east', 'west'}


def test_what_comes_free_of_it_is_told(run, west, moved):
    west.add(moved, 'images-old', used=30 * MIB)
    assert rows(delete(run, moved))[0]['Freed'] == 30 * MIB


def test_its_pool_is_shown(run, west, moved):
    west.add(moved, 'images-old')
    done = run(ShowReplicas, moved, '-f', 'json', *CEPH)
    found = {row['Where']: row['Status'] for row in rows(done)}
    assert found['pool images-old of store west'] == 'ok'
    assert done.status == 0


def test_it_is_no_orphan(run, west, moved):
    west.add(moved, 'images-old')
    done = run(ListOrphans, '--store', 'west', '-f', 'json', *CEPH)
    assert rows(done) == []


def test_in_a_cluster_that_was_not_given_it_is_kept(run, proxy, west, abroad):
    assert not west.removed
    lies = f'its data lies in images/{abroad} of Ceph cluster fsid-old'
    with pytest.raises(errors.Refusing, match=f'{lies}.*--blind'):
        delete(run, abroad)
    prune = (PruneReplicas, '--store', 'west', '--unused-for', '30d', '--yes')
    (row,) = rows(run(*prune, '-f', 'json', *CEPH))
    assert row['Result'].startswith(f'kept: {lies}')
    assert proxy.held(abroad) == {'east', 'west'}
    delete(run, abroad, '--blind')
    assert proxy.held(abroad) == {'east'}


def test_nor_is_it_deleted_by_rules(run, proxy, west, abroad, tmp_path):
    assert not west.removed
    rules = tmp_path / 'rules.yaml'
    rules.write_text(
        'version: 1\n'
        'rules:\n'
        f'- {{images: {{ids: [{abroad}]}}, stores: [east], exclusive: true}}\n'
    )
    (row,) = rows(run(SyncReplicas, rules, '-f', 'json', *CEPH))
    assert 'its data lies in' in row['Result']
    assert proxy.held(abroad) == {'east', 'west'}


def test_nobody_says_what_they_did_not_see(run, proxy, west, abroad):
    assert not west.removed
    repair = run(RepairReplicas, abroad, '--yes', '-f', 'json', *CEPH)
    orphans = run(ListOrphans, '--store', 'west', '-f', 'json', *CEPH)
    for done in (repair, orphans):
        assert rows(done) == []
        assert 'of Ceph cluster fsid-old' in done.err
    assert 'as far as was looked' in repair.err
    assert proxy.held(abroad) == {'east', 'west'}
    show = run(ShowReplicas, abroad, '-f', 'json', *CEPH)
    (row,) = (
        row for row in rows(show) if row['Where'] == 'data of store west'
    )
    assert row['Status'] == ''
    assert 'of Ceph cluster fsid-old' in row['Detail']


def test_a_pool_that_is_closed_is_as_one_that_was_not_given(run, west, moved):
    west.closed['images-old'] = errors.Unreachable('no such pool')
    with pytest.raises(errors.Refusing, match=r'images-old.*no such pool'):
        delete(run, moved)


def test_the_stores_own_pool_must_not_be_closed(run, west, make):
    west.closed['images'] = errors.Unreachable('no such pool')
    with pytest.raises(errors.Unreachable):
        delete(run, make('rbd://fsid-west/images/{}/snap'))


def test_a_location_that_is_not_told_is_no_lack_of_data(
    run, proxy, west, moved
):
    assert not west.removed
    del proxy.locations[moved][1]
    done = run(RepairReplicas, moved, '--yes', '-f', 'json', *CEPH)
    assert 'does not tell where' in done.err
    assert proxy.held(moved) == {'east', 'west'}


def test_what_was_not_found_was_not_looked_at(
    run, proxy, compute, west, moved
):
    west.pools['images-old'] = {}
    compute.add(moved)
    with pytest.raises(errors.Refusing, match=r'1 servers.*images-old'):
        delete(run, moved)
    compute.servers.clear()
    assert rows(delete(run, moved))[0]['Freed'] is None


@pytest.mark.parametrize(
    ('urls', 'found'),
    [
        (['rbd://f/p/n/snap'], ('f', 'p', 'n')),
        (['rbd://f/a%2Fb/%C3%A4/snap'], ('f', 'a/b', 'ä')),
        (['rbd://n'], ('own', 'images', 'n')),
        (['rbd://f/p/n/snap', 'rbd://f/p/n/snap'], ('f', 'p', 'n')),
        (['rbd://f/p/n/snap', 'rbd://f/q/n/snap'], None),
        (['rbd://f/p/n/snap', 'nonsense'], None),
        (['file:///n'], None),
        (['rbd://f/p'], None),
        ([], None),
    ],
)
def test_a_place_is_what_all_locations_of_a_store_say(urls, found):
    own = place.Place('own', 'images', 'an-id')
    locations = [image_values.ImageLocation(url, 'west') for url in urls]
    locations.append(image_values.ImageLocation('rbd://x/y/z/snap', 'east'))
    said = place.of(locations, 'west', own)
    assert said == (place.Place(*found) if found else None)


def test_a_place_is_told_on_one_line():
    assert '\n' not in str(place.Place('f', 'p\nq', 'n'))
