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
    made.accept('req-1', RECORD)
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
