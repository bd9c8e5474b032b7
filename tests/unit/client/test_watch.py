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

"""``openstack image replica watch``."""

import datetime
import json

import pytest

from nova_rbd_multistore_client import copies
from nova_rbd_multistore_client import errors
from nova_rbd_multistore_client import patience
from nova_rbd_multistore_client.commands.watch import WatchReplicas
from tests.unit.client import conftest


@pytest.fixture
def looks(service):
    return copies.Looks(service, ['file', 'east', 'west'])


def seen(found):
    return [(copy.image.name, copy.store, str(copy.cell)) for copy in found]


def test_all_copies_under_way_are_seen(looks, proxy):
    proxy.add('still', 'east')
    proxy.lock(
        proxy.add('debian', 'east'), 'file', 'west', message='Copied 64 MiB'
    )
    assert seen(looks.look(proxy.clock.utcnow())) == [
        ('debian', 'file', 'copying 25 %'),
        ('debian', 'west', 'copying 0 %'),
    ]


def test_a_copy_that_ends_is_seen_no_more(looks, proxy, service):
    image_id = proxy.add('debian', 'east')
    service.request_copy(image_id, ['west'])
    assert seen(looks.look(proxy.clock.utcnow()))
    proxy.clock.sleep(600)
    assert not looks.look(proxy.clock.utcnow())


def test_later_looks_are_at_what_was_changed(looks, proxy):
    for number in range(5):
        proxy.add(f'image-{number}', 'east')
    proxy.clock.sleep(3600)
    looks.look(proxy.clock.utcnow())
    proxy.clock.sleep(600)
    proxy.lock(proxy.add('new', 'east'), 'west')
    proxy.asked.clear()
    assert seen(looks.look(proxy.clock.utcnow())) == [
        ('new', 'west', 'copying')
    ]
    assert len(proxy.asked) == 3


def test_an_image_that_is_deleted_meanwhile_is_forgotten(looks, proxy):
    image_id = proxy.add('debian', 'east')
    proxy.lock(image_id, 'west')
    looks.look(proxy.clock.utcnow())
    del proxy.images[image_id]
    assert not looks.look(proxy.clock.utcnow())


def test_what_holds_an_image_otherwise_is_seen_too(looks, proxy):
    image_id = proxy.add('debian', 'east')
    task = proxy.lock(image_id, type='location_import')
    task['input'] = {}
    assert seen(looks.look(proxy.clock.utcnow())) == [
        ('debian', '', 'locked until 13:00 UTC')
    ]


def test_elsewhere_than_on_a_terminal_it_is_one_table(run, proxy):
    proxy.lock(proxy.add('debian', 'east'), 'west', message='Copied 64 MiB')
    (row,) = json.loads(run(WatchReplicas, '-f', 'json').out)
    assert row['State'] == 'copying 25 %'
    assert row['Copied'] == 64 << 20


def test_nothing_under_way_is_said_in_words(run):
    done = run(WatchReplicas)
    assert done.out == ''
    assert done.err == 'Nothing is being copied.\n'


def test_until_done_with_nothing_under_way_no_table_is_drawn(run):
    done = run(WatchReplicas, '--until-done', terminal=True)
    assert done.out == ''
    assert done.err == 'Nothing is being copied.\n'


def test_until_done_it_tells_each_change_and_ends(run, proxy, service):
    service.request_copy(proxy.add('debian', 'east'), ['west'])
    done = run(WatchReplicas, '--until-done')
    assert 'store west: copying (queued)' in done.err
    assert 'store west: copying 39 %' in done.err
    assert proxy.clock.utcnow() - datetime.datetime(
        2026, 1, 2, 12
    ) < datetime.timedelta(minutes=1)


@pytest.mark.parametrize('terminal', [False, True])
@pytest.mark.parametrize('interval', ['5', '600'])
def test_until_done_it_looks_again_while_glance_is_away(
    run, proxy, service, terminal, interval
):
    proxy.pace = 2000.0
    image_id = proxy.add('debian', 'east')
    service.request_copy(image_id, ['west'])
    # With the longer interval, one look fails.
    away = 20.0 if interval == '5' else 601.0
    conftest.give_no_answer(proxy, 'away_until', away)
    done = run(
        *(WatchReplicas, '--until-done', '--interval', interval),
        terminal=terminal,
    )
    assert done.status == 0
    assert 'Glance does not answer' in (done.out if terminal else done.err)
    assert proxy.held(image_id) == {'east', 'west'}


def test_a_glance_that_stays_away_is_watched_no_longer(run, proxy, service):
    service.request_copy(proxy.add('debian', 'east'), ['west'])
    conftest.give_no_answer(proxy, 'away_until', 24 * 3600.0)
    with pytest.raises(errors.Unreachable, match='http://glance-1'):
        run(WatchReplicas, '--until-done')
    assert patience.PATIENCE < proxy.clock.now < 2 * patience.PATIENCE


def test_where_glance_is_away_at_first_nothing_is_watched(run, proxy):
    proxy.away_until = 10.0
    with pytest.raises(errors.Unreachable, match='http://glance-1'):
        run(WatchReplicas, '--until-done')
    assert proxy.clock.now == 0
