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

"""What becomes of a request for a copy, rule by rule."""

import dataclasses
import datetime

import pytest

from nova_rbd_multistore import image as image_values
from nova_rbd_multistore import request as requests
from nova_rbd_multistore import task as task_values

Status = task_values.TaskStatus

RECORD = image_values.ImageRecord(
    'image', 'active', stores=frozenset({'file'})
)
EAST_TOO = dataclasses.replace(RECORD, stores=frozenset({'file', 'east'}))
FLAGGED = dataclasses.replace(RECORD, failed=frozenset({'west'}))
BEGAN = datetime.datetime(2026, 1, 1)


def task(name='ours', status=Status.FAILURE, message='', minute=0, **fields):
    return task_values.CopyTask(
        **{
            'id': name,
            'status': status,
            'message': message,
            'stores': frozenset({'west'}),
            'request_id': 'req-1',
            'updated_at': BEGAN + datetime.timedelta(minutes=minute),
            **fields,
        }
    )


@pytest.fixture
def request_of_ours():
    made = requests.Request('west')
    made.accept('req-1', RECORD, 'glance-a')
    return made


ABORTED = task(message='Task was aborted externally')
PREEMPTED = task(message='Expired lock preempted')
UNEXPLAINED = task(message='Task failed due to Internal Error')
QUEUED = task(status=Status.PENDING)


@pytest.mark.parametrize('record', [RECORD, EAST_TOO, FLAGGED])
@pytest.mark.parametrize('ended', [ABORTED, PREEMPTED])
def test_what_glance_calls_aborted_is_lost(request_of_ours, ended, record):
    assert request_of_ours.is_lost(ended, record)


def test_a_task_that_is_gone_is_lost(request_of_ours):
    assert request_of_ours.is_lost(None, RECORD)


def test_a_task_that_is_gone_has_failed_if_the_flag_is_set(request_of_ours):
    assert not request_of_ours.is_lost(None, FLAGGED)


@pytest.mark.parametrize('ended', [UNEXPLAINED, QUEUED])
def test_a_task_is_lost_when_another_held_the_image(request_of_ours, ended):
    request_of_ours.saw_lock('theirs')
    assert request_of_ours.is_lost(ended, RECORD)


@pytest.mark.parametrize('ended', [UNEXPLAINED, QUEUED])
def test_a_task_is_lost_when_another_store_got_the_image(
    request_of_ours, ended
):
    assert request_of_ours.is_lost(ended, EAST_TOO)


@pytest.mark.parametrize('ended', [UNEXPLAINED, QUEUED])
def test_a_task_is_not_lost_when_nobody_else_was_at_it(request_of_ours, ended):
    assert not request_of_ours.is_lost(ended, RECORD)


def test_a_failure_is_a_failure_when_its_task_had_the_lock(request_of_ours):
    request_of_ours.saw_lock('ours')
    request_of_ours.saw_lock('theirs')
    assert not request_of_ours.is_lost(UNEXPLAINED, EAST_TOO)


def test_a_failure_is_a_failure_when_the_flag_is_set(request_of_ours):
    request_of_ours.saw_lock('theirs')
    assert not request_of_ours.is_lost(UNEXPLAINED, FLAGGED)


def test_a_failure_without_an_explanation_is_excused_once(request_of_ours):
    request_of_ours.saw_lock('theirs')
    request_of_ours.lose(UNEXPLAINED, image_is_held=False)
    request_of_ours.accept('req-1', RECORD)
    request_of_ours.saw_lock('theirs')
    assert not request_of_ours.is_lost(task('second'), RECORD)


def test_locks_seen_before_it_was_accepted_do_not_count(request_of_ours):
    request_of_ours.saw_lock('theirs')
    request_of_ours.accept('req-1', RECORD)
    assert not request_of_ours.is_lost(QUEUED, RECORD)


@pytest.mark.parametrize('status', [Status.PROCESSING, Status.SUCCESS])
def test_a_task_at_work_or_done_is_not_lost(request_of_ours, status):
    request_of_ours.saw_lock('theirs')
    assert not request_of_ours.is_lost(task(status=status), EAST_TOO)


def test_its_task_is_the_newest_of_its_id_to_its_store(request_of_ours):
    tasks = [
        task('earlier', minute=1),
        task('ours', minute=2),
        task('of-another', minute=3, request_id='req-2'),
        task('elsewhere', minute=4, stores=frozenset({'east'})),
    ]
    assert request_of_ours.task(tasks).id == 'ours'


def test_a_task_that_was_lost_is_not_its_task_any_more(request_of_ours):
    request_of_ours.lose(ABORTED, image_is_held=False)
    request_of_ours.accept('req-1', RECORD)
    assert request_of_ours.task([ABORTED]) is None


@pytest.mark.parametrize(
    ('held', 'state'),
    [(True, requests.State.REFUSED), (False, requests.State.NONE)],
)
def test_a_lost_request_waits_for_whoever_holds_the_image(
    request_of_ours, held, state
):
    request_of_ours.lose(ABORTED, image_is_held=held)
    assert request_of_ours.state is state


def test_a_request_begins_with_no_glance_api_tried():
    made = requests.Request('west')
    assert made.state is requests.State.NONE
    assert made.tried == frozenset()
    assert made.failures == []


def test_an_accepted_request_knows_who_makes_its_copy(request_of_ours):
    assert request_of_ours.accepted
    assert request_of_ours.endpoint == 'glance-a'
    assert request_of_ours.tried == frozenset()


def test_a_glance_api_that_failed_has_been_tried(request_of_ours):
    request_of_ours.fail(UNEXPLAINED, 'disk full')
    assert not request_of_ours.accepted
    assert request_of_ours.tried == {'glance-a'}
    assert request_of_ours.failures == ['disk full']


def test_a_glance_api_whose_lock_was_lost_has_not_been_tried(request_of_ours):
    request_of_ours.lose(ABORTED, image_is_held=False)
    assert not request_of_ours.accepted
    assert request_of_ours.tried == frozenset()
    assert request_of_ours.failures == []
    assert request_of_ours.losses == 1


def test_all_that_failed_are_remembered_in_their_order(request_of_ours):
    request_of_ours.fail(UNEXPLAINED, 'disk full')
    request_of_ours.accept('req-2', RECORD, 'glance-b')
    request_of_ours.fail(None, 'its task is gone')
    assert request_of_ours.tried == {'glance-a', 'glance-b'}
    assert request_of_ours.failures == ['disk full', 'its task is gone']


@pytest.mark.parametrize('end', ['lose', 'fail', 'reopen'])
def test_a_task_that_is_over_is_never_the_next_requests(request_of_ours, end):
    late = task('late', minute=60)
    match end:
        case 'lose':
            request_of_ours.lose(late, image_is_held=False)
        case 'fail':
            request_of_ours.fail(late, 'disk full')
        case 'reopen':
            request_of_ours.reopen(late)
    request_of_ours.accept('req-1', RECORD, 'glance-b')
    now = task('now')
    assert request_of_ours.task([late]) is None
    assert request_of_ours.task([late, now]) is now


def test_the_flag_of_the_first_failure_is_not_the_seconds(request_of_ours):
    request_of_ours.fail(UNEXPLAINED, 'disk full')
    request_of_ours.accept('req-1', FLAGGED, 'glance-b')
    assert request_of_ours.is_lost(ABORTED, FLAGGED)


@pytest.mark.parametrize(
    ('status', 'message', 'over'),
    [
        (
            'failure',
            'rate limiting or a quota threshold was breached. The response',
            True,
        ),
        ('processing', 'a quota threshold was breached', False),
        ('failure', 'disk full', False),
    ],
)
def test_a_task_that_failed_for_a_quota_is_known_by_its_words(
    status, message, over
):
    task = task_values.CopyTask.from_answer(
        {
            'id': 'task-1',
            'status': status,
            'message': message,
            'updated_at': '2026-01-01T12:00:00',
        }
    )
    assert task.over_quota is over
