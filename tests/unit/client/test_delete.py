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

"""``openstack image replica delete`` and ``prune``."""

import json
import pathlib
import re

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
import pytest

from nova_rbd_multistore import image as image_values
from nova_rbd_multistore_client import age
from nova_rbd_multistore_client import deleting
from nova_rbd_multistore_client import errors
from nova_rbd_multistore_client.commands.delete import DeleteReplicas
from nova_rbd_multistore_client.commands.prune import PruneReplicas
from tests.unit.client import conftest

CEPH = conftest.CEPH
OLD = '2025-11-01T00:00:00Z'
MIB = 1 << 20
ALL_TENANTS = 'os_compute_api:servers:detail:get_all_tenants'
POLICY = re.compile(r'os_compute_api(?::[\w-]+)+')
PAGE = pathlib.Path(__file__).parents[3] / 'doc/source/image-replica/prune.rst'


def deleted(proxy):
    return [path for method, path in proxy.asked if method == 'DELETE']


def test_a_copy_is_deleted_and_the_others_stay(run, proxy):
    image_id = proxy.add('debian', 'east', 'west')
    done = run(DeleteReplicas, 'debian', '--store', 'west')
    assert done.status == 0
    assert proxy.held(image_id) == {'east'}


@pytest.mark.parametrize('stores', [['east'], ['east', 'west']])
def test_the_last_copy_is_never_deleted(run, proxy, stores):
    proxy.add('debian', *stores)
    words = [word for store in stores for word in ('--store', store)]
    with pytest.raises(errors.Refusing, match='the last copy'):
        run(DeleteReplicas, 'debian', *words)
    assert not deleted(proxy)


def test_a_copy_without_data_does_not_count(run, proxy, east, west):
    image_id = proxy.add('debian', 'east', 'west')
    west.add(image_id)
    with pytest.raises(errors.Refusing, match='the last copy'):
        run(DeleteReplicas, image_id, '--store', 'west', *CEPH)
    # And that one may go.
    run(DeleteReplicas, image_id, '--store', 'east', *CEPH)
    assert proxy.held(image_id) == {'west'}


def test_what_is_being_copied_is_not_deleted(run, proxy):
    image_id = proxy.add('debian', 'file', 'east')
    proxy.lock(image_id, 'west')
    with pytest.raises(errors.Refusing, match='being copied'):
        run(DeleteReplicas, 'debian', '--store', 'east')


def test_what_has_clones_is_not_deleted(run, proxy, east, west):
    image_id = proxy.add('debian', 'east', 'west')
    east.add(image_id, clones=('vms/a',))
    west.add(image_id)
    with pytest.raises(errors.Refusing, match='1 clone: vms/a'):
        run(DeleteReplicas, 'debian', '--store', 'east', *CEPH)
    done = run(
        DeleteReplicas, 'debian', '--store', 'west', '-f', 'json', *CEPH
    )
    assert json.loads(done.out)[0]['Freed'] == 100 * MIB


def test_without_a_cluster_servers_may_be_clones(run, proxy, compute):
    image_id = proxy.add('debian', 'east', 'west')
    compute.add(image_id)
    with pytest.raises(errors.Refusing, match='1 servers of it'):
        run(DeleteReplicas, 'debian', '--store', 'east')
    run(DeleteReplicas, 'debian', '--store', 'east', '--blind')
    assert proxy.held(image_id) == {'west'}


def test_who_may_not_see_servers_does_not_delete_blindly(run, proxy, compute):
    proxy.add('debian', 'east', 'west')
    compute.admin = False
    with pytest.raises(errors.Refusing, match=ALL_TENANTS):
        run(DeleteReplicas, 'debian', '--store', 'east')


def test_who_may_not_see_which_cells_are_away_does_not_delete_blindly(
    run, proxy, compute
):
    proxy.add('debian', 'east', 'west')
    compute.sees_services = False
    with pytest.raises(
        errors.Refusing, match='os_compute_api:os-services:list'
    ):
        run(DeleteReplicas, 'debian', '--store', 'east')


def test_servers_of_a_cell_that_is_away_may_be_clones(run, proxy, compute):
    image_id = proxy.add('debian', 'east', 'west')
    compute.add(image_id, cell='cell2')
    compute.away.add('cell2')
    with pytest.raises(errors.Refusing) as caught:
        run(DeleteReplicas, 'debian', '--store', 'east')
    assert 'servers on host-2, host-3' in str(caught.value)
    assert 'give --blind' in str(caught.value)
    assert not deleted(proxy)


names = st.sampled_from(['file', 'east', 'west'])


@settings(deadline=None)
@given(
    stores=st.frozensets(names),
    importing=st.frozensets(names),
    lock=st.sampled_from([None, 'a-task']),
    empty=st.frozensets(names),
    store=names,
)
def test_one_whole_copy_is_always_left(stores, importing, lock, empty, store):
    record = image_values.ImageRecord(
        'an-image', 'active', stores=stores, importing=importing, lock=lock
    )
    seen = deleting.Seen(empty=empty - {store})
    if not deleting.obstacle(record, store, seen):
        left = deleting.without(record, store)
        assert any(
            left.holds(other) and other not in empty for other in left.stores
        )


@pytest.fixture
def prune(run):
    def prune(*arguments):
        done = run(
            PruneReplicas,
            *('--store', 'west', '--unused-for', '30d', '-f', 'json'),
            *arguments,
        )
        return done, {
            row['Name']: row['Result'] for row in json.loads(done.out)
        }

    return prune


def test_what_nobody_used_would_be_deleted(prune, proxy):
    proxy.add('old', 'east', 'west', updated_at=OLD)
    proxy.add('new', 'east', 'west')
    proxy.add('elsewhere', 'east', updated_at=OLD)
    done, results = prune()
    assert results == {'old': 'would be deleted'}
    assert 'give --yes' in done.err
    assert not deleted(proxy)


def test_with_yes_it_is_deleted(prune, proxy):
    image_id = proxy.add('old', 'east', 'west', updated_at=OLD)
    _, results = prune('--yes')
    assert results == {'old': 'deleted'}
    assert proxy.held(image_id) == {'east'}


@pytest.mark.parametrize(
    ('updated', 'is_deleted', 'used'),
    [
        ('2025-01-01T00:00:00Z', False, True),
        ('2026-01-01T00:00:00Z', True, True),
        ('2025-01-01T00:00:00Z', True, False),
    ],
)
def test_servers_of_an_image_use_it_while_they_live_and_after(
    prune, proxy, compute, updated, is_deleted, used
):
    image_id = proxy.add('old', 'east', 'west', updated_at=OLD)
    compute.page = 1
    compute.add(None)
    compute.add(image_id, updated, is_deleted)
    _, results = prune()
    assert ('old' not in results) is used


def test_the_last_copy_and_what_is_held_are_kept(prune, proxy):
    proxy.add('last', 'west', updated_at=OLD)
    proxy.lock(proxy.add('held', 'east', 'west', updated_at=OLD), 'file')
    _, results = prune('--yes')
    assert results == {
        'last': 'kept: it is the last copy',
        'held': 'kept: the image is being copied, or held otherwise',
    }


def test_some_are_kept_however_old_they_are(prune, proxy):
    for month in (1, 2, 3):
        proxy.add(
            f'of month {month}',
            *('east', 'west'),
            updated_at=f'2025-0{month}-01T00:00:00Z',
        )
    _, results = prune('--keep', '2')
    assert list(results) == ['of month 1']


def test_what_comes_free_is_told_with_the_trash(prune, proxy, west, east):
    free = proxy.add('free', 'east', 'west', updated_at=OLD)
    used = proxy.add('used', 'east', 'west', updated_at=OLD)
    for image_id in (free, used):
        east.add(image_id)
    west.add(free)
    west.add(used, clones=('vms/a',))
    west.trashed.append(type('Trashed', (), {'id': 'x'}))
    done, results = prune(*CEPH)
    assert results['used'] == 'kept: 1 clone: vms/a'
    assert '100.0 MiB would come free' in done.err
    assert '1 images in its trash hold 7.0 MiB' in done.err


def test_without_a_cluster_it_says_what_is_not_known(prune, proxy):
    proxy.add('old', 'east', 'west', updated_at=OLD)
    done, _ = prune()
    assert 'not known without --ceph-conf' in done.err
    assert json.loads(done.out)[0]['Frees'] is None


def test_where_all_is_used_nothing_is_asked_for(prune, proxy):
    proxy.add('new', 'east', 'west')
    done, results = prune()
    assert results == {}
    assert done.err == 'No image of store west was unused for so long.\n'


def test_what_glance_refuses_is_kept_and_told(prune, proxy):
    image_id = proxy.add('old', 'east', 'west', updated_at=OLD)
    proxy.in_use.add((image_id, 'west'))
    done, results = prune('--yes')
    assert 'in use' in results['old']
    assert done.status == 3


def test_while_a_cell_is_away_nothing_is_pruned(prune, proxy, compute):
    image_id = proxy.add('old', 'east', 'west', updated_at=OLD)
    compute.add(image_id, cell='cell2')
    compute.away.add('cell2')
    with pytest.raises(errors.Unreachable, match='servers on host-2, host-3'):
        prune('--yes')
    assert not deleted(proxy)


@pytest.mark.parametrize('change', ['add', 'discard'])
def test_a_cell_that_is_away_for_a_part_of_the_lists_is_seen(
    prune, proxy, compute, change
):
    image_id = proxy.add('old', 'east', 'west', updated_at=OLD)
    compute.add(image_id, cell='cell2')
    if change == 'discard':
        compute.away.add('cell2')
    compute.listed = lambda: getattr(compute.away, change)('cell2')
    with pytest.raises(errors.Unreachable, match='servers on host-2, host-3'):
        prune('--yes')
    assert not deleted(proxy)


def test_of_many_hosts_that_are_away_some_are_named(prune, compute):
    compute.hosts['cell3'] = [f'node-{number}' for number in range(12)]
    compute.away.add('cell3')
    with pytest.raises(errors.Unreachable, match='node-4 and 7 more'):
        prune()


def test_a_user_may_not_prune(prune, compute):
    compute.admin = False
    with pytest.raises(errors.NotAllowed, match=ALL_TENANTS):
        prune()


def test_its_page_names_the_policies_that_it_misses(prune, compute):
    missed = set()
    for right in ('sees_services', 'admin'):
        setattr(compute, right, False)
        with pytest.raises(errors.NotAllowed) as caught:
            prune()
        setattr(compute, right, True)
        missed |= {*POLICY.findall(str(caught.value))}
    assert len(missed) == 2
    assert missed == {*POLICY.findall(PAGE.read_text())}


@pytest.mark.parametrize(
    ('word', 'seconds'), [('90m', 5400), ('12h', 43200), ('2w', 1209600)]
)
def test_an_age_is_a_number_and_a_unit(word, seconds):
    assert age.parse(word).total_seconds() == seconds


@pytest.mark.parametrize('word', ['', '30', 'd', '-1d', '1.5h', '٣d', '1y'])
def test_what_is_no_age_is_refused(word):
    with pytest.raises(ValueError, match='is no age'):
        age.parse(word)
