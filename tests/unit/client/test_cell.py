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

"""What is the matter with one image in one store."""

import datetime

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
import pytest

from nova_rbd_multistore import image as image_values
from nova_rbd_multistore import task as task_values
from nova_rbd_multistore_client import cell

NOW = datetime.datetime(2026, 1, 2, 13, 2, 0)
MIB = 1 << 20
Status = task_values.TaskStatus


def record(**fields):
    for name in ('stores', 'importing', 'failed'):
        fields[name] = frozenset(fields.get(name, ()))
    fields = {
        'id': 'an-image',
        'status': 'active',
        'size': 200 * MIB,
        **fields,
    }
    return image_values.ImageRecord(**fields)


def task(*stores, age=0, **fields):
    """A copy, last heard of some minutes ago."""
    fields = {
        'id': 'a-task',
        'status': Status.PROCESSING,
        'message': '',
        'request_id': None,
        'type': 'api_image_import',
        'method': 'copy-image',
        **fields,
    }
    return task_values.CopyTask(
        stores=frozenset(stores),
        queue=stores,
        updated_at=NOW - datetime.timedelta(minutes=age),
        **fields,
    )


def test_a_store_that_holds_the_image_says_yes():
    assert cell.of(record(stores={'east'}), (), 'east', NOW) == cell.YES


def test_a_store_that_lacks_it_says_no():
    assert cell.of(record(stores={'east'}), (), 'west', NOW) == cell.NO


def test_a_store_that_is_being_filled_does_not_say_yes_yet():
    filling = record(
        stores={'east', 'west'}, importing={'west'}, lock='a-task'
    )
    found = cell.of(filling, (), 'west', NOW)
    assert found.state is cell.State.COPYING


@pytest.mark.parametrize(
    ('message', 'words'),
    [
        ('Copied 86 MiB', 'copying 43 %'),
        ('Copied 400 MiB', 'copying 100 %'),
        ('', 'copying'),
        ('anything', 'copying'),
    ],
)
def test_a_copy_says_how_far_glance_says_it_is(message, words):
    found = cell.of(
        record(importing={'west'}, lock='a-task'),
        [task('west', message=message)],
        'west',
        NOW,
    )
    assert str(found) == words


def test_no_percent_is_told_of_an_image_of_unknown_size():
    found = cell.of(
        record(importing={'west'}, lock='a-task', size=None),
        [task('west', message='Copied 1 MiB')],
        'west',
        NOW,
    )
    assert found.percent is None


def test_stores_are_filled_in_the_order_of_the_request():
    copy = task('west', 'north', message='Copied 100 MiB')
    both = record(importing={'north', 'west'}, lock='a-task')
    assert cell.of(both, [copy], 'west', NOW).percent == 50
    assert cell.of(both, [copy], 'north', NOW).percent == 0


def test_the_last_message_of_one_store_says_nothing_of_the_next():
    copy = task('west', 'north', message='Copied 200 MiB')
    second = record(stores={'west'}, importing={'north'}, lock='a-task')
    assert cell.of(second, [copy], 'north', NOW).percent is None


def test_a_copy_that_has_not_begun_is_queued():
    found = cell.of(
        record(lock='a-task'),
        [task('west', status=Status.PENDING, age=30)],
        'west',
        NOW,
    )
    assert str(found) == 'copying (queued)'


def test_a_store_whose_turn_was_lost_has_failed_before_the_others_end():
    found = cell.of(
        record(importing={'north'}, failed={'west'}, lock='a-task'),
        [task('west', 'north')],
        'west',
        NOW,
    )
    assert found.state is cell.State.FAILED


def test_a_failure_has_the_reason_of_the_last_task_that_failed():
    tasks = [
        task('west', id='1', status=Status.FAILURE, message='old', age=9),
        task('west', id='2', status=Status.FAILURE, message='no space'),
        task('east', id='3', status=Status.FAILURE, message='elsewhere'),
        task('west', id='4', status=Status.SUCCESS, message='well'),
    ]
    found = cell.of(record(failed={'west'}), tasks, 'west', NOW)
    assert str(found) == 'failed: no space'


def test_a_failure_that_glance_does_not_explain_is_one_all_the_same():
    assert str(cell.of(record(failed={'west'}), (), 'west', NOW)) == 'failed'


def test_an_image_held_by_a_copy_elsewhere_is_locked_for_the_others():
    found = cell.of(
        record(importing={'east'}, lock='a-task'), [task('east')], 'west', NOW
    )
    assert str(found) == 'locked until 14:02 UTC'
    assert found.exact == 'locked until 2026-01-02T14:02:00Z'


@pytest.mark.parametrize('fields', [{'age': 11}, {'status': Status.FAILURE}])
def test_a_copy_without_a_sign_of_life_is_a_lock(fields):
    found = cell.of(
        record(importing={'west'}, lock='a-task'),
        [task('west', **fields)],
        'west',
        NOW,
    )
    assert found.state is cell.State.LOCKED


def test_a_task_that_glance_does_not_show_locks_for_an_unknown_time():
    assert str(cell.of(record(lock='other'), (), 'west', NOW)) == 'locked'


def test_names_left_behind_mean_nothing_without_a_lock():
    stale = record(stores={'west'}, importing={'west', 'north'})
    assert cell.of(stale, (), 'west', NOW) == cell.YES
    assert cell.of(stale, (), 'north', NOW) == cell.NO


@pytest.mark.parametrize(
    ('fields', 'needed'),
    [
        ({}, False),
        ({'stores': {'west'}, 'failed': {'west'}}, False),
        ({'failed': {'west'}}, True),
        ({'lock': 'a-task'}, True),
    ],
)
def test_tasks_are_needed_where_the_record_is_not_enough(fields, needed):
    assert cell.needs_tasks(record(**fields)) is needed


names = st.sampled_from(['file', 'east', 'west'])
some = st.frozensets(names)


@settings(deadline=None)
@given(
    stores=some,
    importing=some,
    failed=some,
    lock=st.sampled_from([None, 'a-task', 'other']),
    tasks=st.lists(
        st.builds(
            lambda stores, **fields: task(*stores, **fields),
            stores=st.lists(names, unique=True),
            status=st.sampled_from(Status),
            age=st.integers(0, 200),
            message=st.sampled_from(['', 'Copied 7 MiB', 'Copied 900 MiB']),
        ),
        max_size=3,
    ),
    store=names,
)
def test_each_cell_is_one_word_and_no_wrong_yes(
    stores, importing, failed, lock, tasks, store
):
    shown = record(
        stores=stores, importing=importing, failed=failed, lock=lock
    )
    found = cell.of(shown, tasks, store, NOW)
    assert (found.state is cell.State.YES) == shown.holds(store)
    assert found.percent is None or 0 <= found.percent <= 100
    if lock is None:
        assert found.state not in (cell.State.COPYING, cell.State.LOCKED)
    assert str(found).split(' ')[0].rstrip(':') == found.state.value
