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

"""Work done by one thread for all, with real threads."""

from concurrent import futures
import datetime
import threading

import pytest

from nova_rbd_multistore import exceptions
from nova_rbd_multistore import sharing

#: Longer than anything here takes, so that a deadlock is a failure.
DEADLINE = 30

DEMO = ('demo', 'demo-project')
OTHER = ('other', 'other-project')


class Work:
    """Work that begins when called and ends when told.

    :ivar done: how often it was begun
    """

    def __init__(self, outcome=None):
        self.outcome = outcome
        self.done = 0
        self.begun = threading.Event()
        self.go_on = threading.Event()

    def __call__(self):
        self.done += 1
        self.begun.set()
        assert self.go_on.wait(DEADLINE)
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


class Waiting:
    """A check that lets a test know that its thread waits."""

    def __init__(self, outcome=None):
        self.outcome = outcome
        self.checked = threading.Event()

    def __call__(self):
        self.checked.set()
        if self.outcome is not None:
            raise self.outcome


class Company:
    """Work that ends once so many others wait for it.

    :ivar done: how often it was begun
    """

    def __init__(self, others):
        self.done = 0
        self._others = others
        self._begun = threading.Event()
        self._waiting = threading.Semaphore(0)

    def __call__(self):
        self.done += 1
        self._begun.set()
        for _ in range(self._others):
            assert self._waiting.acquire(timeout=DEADLINE)

    def new_check(self):
        """A check for one thread; counts it once the work has begun."""
        counted = threading.Event()

        def check():
            if self._begun.is_set() and not counted.is_set():
                counted.set()
                self._waiting.release()

        return check


@pytest.fixture
def shared():
    return sharing.Shared()


@pytest.fixture
def pool():
    with futures.ThreadPoolExecutor(32) as pool:
        yield pool


@pytest.fixture
def do(shared, pool):
    def do(work, *, key='image', asker=DEMO, check=None, **kwargs):
        return pool.submit(
            shared.do,
            key,
            asker,
            work,
            check=check or Waiting(),
            check_interval=0.001,
            **kwargs,
        )

    return do


def waiters(do, work, count, **kwargs):
    """Threads that wait for the work of another; it must have begun."""
    checks = [Waiting() for _ in range(count)]
    found = [do(work, check=check, **kwargs) for check in checks]
    for check in checks:
        assert check.checked.wait(DEADLINE)
    return found


def outcome(future):
    return future.exception(DEADLINE)


def test_work_is_done_by_who_wants_it(do):
    work = Work()
    work.go_on.set()
    assert outcome(do(work)) is None
    assert work.done == 1


def test_who_does_the_work_gets_what_it_returns(do):
    work = Work('result')
    work.go_on.set()
    assert do(work).result(DEADLINE) == 'result'


@pytest.mark.parametrize(
    ('asker', 'result'), [(DEMO, 'result'), (OTHER, None)]
)
def test_what_work_returns_is_for_those_on_whose_behalf_it_was_done(
    do, asker, result
):
    work = Work('result')
    doer = do(work, asker=DEMO)
    assert work.begun.wait(DEADLINE)
    (waiting,) = waiters(do, work, 1, asker=asker)
    work.go_on.set()
    assert doer.result(DEADLINE) == 'result'
    assert waiting.result(DEADLINE) == result


def test_work_wanted_again_later_is_done_again(do):
    work = Work()
    work.go_on.set()
    assert outcome(do(work)) is None
    assert outcome(do(work)) is None
    assert work.done == 2


def test_many_that_want_it_at_once_have_it_done_once(do):
    work = Work()
    doer = do(work)
    assert work.begun.wait(DEADLINE)
    waiting = waiters(do, work, 20)
    work.go_on.set()
    assert [outcome(future) for future in [doer, *waiting]] == [None] * 21
    assert work.done == 1


def test_of_many_that_start_together_one_does_it(shared, pool):
    work = Company(others=15)
    barrier = threading.Barrier(16)

    def want():
        barrier.wait(DEADLINE)
        shared.do(
            'image', DEMO, work, check=work.new_check(), check_interval=0.001
        )

    wanting = [pool.submit(want) for _ in range(16)]
    assert [outcome(future) for future in wanting] == [None] * 16
    assert work.done == 1


def test_work_on_something_else_goes_on_side_by_side(do):
    one, two = Work(), Work()
    first, second = do(one, key='one'), do(two, key='two')
    assert one.begun.wait(DEADLINE)
    assert two.begun.wait(DEADLINE)
    one.go_on.set()
    two.go_on.set()
    assert (outcome(first), outcome(second)) == (None, None)


@pytest.mark.parametrize(
    'failure',
    [
        exceptions.CopyFailed('image', 'west', 'disk full'),
        exceptions.GlanceUnavailable(2),
    ],
)
def test_a_failure_is_everybodys_without_asking_again(do, failure):
    work = Work(failure)
    doer = do(work)
    assert work.begun.wait(DEADLINE)
    waiting = waiters(do, work, 5, asker=OTHER)
    work.go_on.set()
    assert [outcome(future) for future in [doer, *waiting]] == [failure] * 6
    assert work.done == 1


def test_after_a_failure_the_next_one_tries_again(do):
    work = Work(exceptions.GlanceUnavailable(2))
    work.go_on.set()
    assert outcome(do(work)) is not None
    work.outcome = None
    assert outcome(do(work)) is None


def test_a_refusal_of_the_user_is_shared_with_boots_of_the_same_user(do):
    refusal = exceptions.CopyForbidden('image', 'west')
    work = Work(refusal)
    doer = do(work)
    assert work.begun.wait(DEADLINE)
    (waiting,) = waiters(do, work, 1)
    work.go_on.set()
    assert outcome(doer) is refusal
    assert outcome(waiting) is refusal
    assert work.done == 1


@pytest.mark.parametrize(
    'refusal',
    [
        exceptions.CopyForbidden('image', 'west'),
        exceptions.CopyOverQuota('image', 'west'),
        exceptions.NotCopiedOnDemand('image', 'west', 'shared'),
        exceptions.ImageGone('image'),
        exceptions.TokenRefused('image'),
        exceptions.LocationsForbidden('image'),
    ],
)
def test_a_refusal_of_another_user_is_not_taken_for_ours(do, refusal):
    theirs, ours = Work(refusal), Work()
    ours.go_on.set()
    doer = do(theirs)
    assert theirs.begun.wait(DEADLINE)
    (waiting,) = waiters(do, ours, 1, asker=OTHER)
    theirs.go_on.set()
    assert outcome(doer) is refusal
    assert outcome(waiting) is None
    assert ours.done == 1


def test_a_refused_token_is_not_taken_for_that_of_another_boot(do):
    # The user may have logged in again meanwhile.
    refusal = exceptions.TokenRefused('image')
    theirs, ours = Work(refusal), Work()
    ours.go_on.set()
    doer = do(theirs)
    assert theirs.begun.wait(DEADLINE)
    (waiting,) = waiters(do, ours, 1)
    theirs.go_on.set()
    assert outcome(doer) is refusal
    assert outcome(waiting) is None


def test_after_another_users_refusal_one_of_the_others_does_it_for_all(do):
    theirs = Work(exceptions.ImageGone('image'))
    ours = Company(others=7)
    doer = do(theirs)
    assert theirs.begun.wait(DEADLINE)
    waiting = [do(ours, asker=OTHER, check=ours.new_check()) for _ in range(8)]
    waiters(do, theirs, 1)
    theirs.go_on.set()
    assert isinstance(outcome(doer), exceptions.ImageGone)
    assert [outcome(future) for future in waiting] == [None] * 8
    assert ours.done == 1


@pytest.mark.parametrize('abort', [RuntimeError('deleted'), SystemExit()])
def test_work_given_up_for_a_reason_of_its_own_is_taken_over(do, abort):
    theirs, ours = Work(abort), Work()
    ours.go_on.set()
    doer = do(theirs)
    assert theirs.begun.wait(DEADLINE)
    (waiting,) = waiters(do, ours, 1)
    theirs.go_on.set()
    assert outcome(doer) is abort
    assert outcome(waiting) is None
    assert ours.done == 1


# Everyone's own time

TIMED_OUT = exceptions.CopyTimedOut('image', 'west', 600, '42% copied')
QUEUED = exceptions.CopyQueued(
    'image',
    'west',
    600,
    'a-task',
    datetime.datetime(2026, 1, 1),
    datetime.datetime(2026, 1, 1),
)


@pytest.mark.parametrize('late', [TIMED_OUT, QUEUED])
def test_who_has_time_left_goes_on_when_the_one_at_work_has_none(do, late):
    theirs, ours = Work(late), Work('result')
    ours.go_on.set()
    doer = do(theirs)
    assert theirs.begun.wait(DEADLINE)
    (waiting,) = waiters(do, ours, 1, time_left=lambda: 300)
    theirs.go_on.set()
    assert outcome(doer) is late
    assert waiting.result(DEADLINE) == 'result'


AWAY = [
    exceptions.GlanceUnavailable(2),
    exceptions.RequestFailed('image', 'west', 'HTTP 500'),
]


@pytest.mark.parametrize('error', AWAY)
def test_what_failed_at_the_end_of_ones_time_is_tried_in_anothers(do, error):
    theirs, ours = Work(error), Work('result')
    ours.go_on.set()
    doer = do(theirs, time_left=lambda: 0)
    assert theirs.begun.wait(DEADLINE)
    (waiting,) = waiters(do, ours, 1, time_left=lambda: 300)
    theirs.go_on.set()
    assert outcome(doer) is error
    assert waiting.result(DEADLINE) == 'result'


@pytest.mark.parametrize('error', AWAY)
def test_what_failed_before_the_end_of_ones_time_has_failed_for_all(do, error):
    theirs, ours = Work(error), Work('result')
    doer = do(theirs, time_left=lambda: 1)
    assert theirs.begun.wait(DEADLINE)
    (waiting,) = waiters(do, ours, 1, time_left=lambda: 300)
    theirs.go_on.set()
    assert outcome(doer) is error
    assert outcome(waiting) is error
    assert not ours.done


def test_who_has_no_time_left_either_is_told_what_failed_at_its_end(do):
    theirs, ours = Work(AWAY[0]), Work('result')
    left = [300]
    doer = do(theirs, time_left=lambda: 0)
    assert theirs.begun.wait(DEADLINE)
    (waiting,) = waiters(do, ours, 1, time_left=lambda: left[0])
    left[0] = 0
    theirs.go_on.set()
    assert outcome(doer) is AWAY[0]
    assert outcome(waiting) is AWAY[0]
    assert AWAY[0].__context__ is None
    assert not ours.done


def test_of_those_who_have_time_left_one_does_it_for_all(do):
    theirs, ours = Work(TIMED_OUT), Company(others=7)
    doer = do(theirs)
    assert theirs.begun.wait(DEADLINE)
    waiting = [
        do(ours, check=ours.new_check(), time_left=lambda: 300)
        for _ in range(8)
    ]
    waiters(do, theirs, 1, time_left=lambda: 300)
    theirs.go_on.set()
    assert outcome(doer) is TIMED_OUT
    assert [outcome(future) for future in waiting] == [None] * 8
    assert ours.done == 1


def test_who_has_no_time_left_either_shares_the_outcome(do):
    work = Work(TIMED_OUT)
    left = [300]
    doer = do(work)
    assert work.begun.wait(DEADLINE)
    waiting = waiters(do, work, 5, time_left=lambda: left[0])
    # Its last look takes a moment.
    left[0] = 0
    work.go_on.set()
    assert [outcome(future) for future in [doer, *waiting]] == [TIMED_OUT] * 6
    assert work.done == 1


def test_whose_time_is_over_does_not_wait_for_one_who_has_more(do):
    theirs = Work('result')
    ours = Work(TIMED_OUT)
    ours.go_on.set()
    doer = do(theirs)
    assert theirs.begun.wait(DEADLINE)
    left = [300]
    (waiting,) = waiters(do, ours, 1, time_left=lambda: left[0])
    left[0] = -sharing.LAST_LOOK
    assert outcome(waiting) is TIMED_OUT
    assert not doer.done()
    theirs.go_on.set()
    assert doer.result(DEADLINE) == 'result'


def test_a_stall_is_what_was_seen_of_the_copy_and_so_is_everybodys(do):
    stall = exceptions.CopyStalled(
        'image', 'west', 300, 'a-task', holds=True, since=None, until=None
    )
    work = Work(stall)
    doer = do(work)
    assert work.begun.wait(DEADLINE)
    (waiting,) = waiters(do, work, 1, time_left=lambda: 300)
    work.go_on.set()
    assert outcome(doer) is outcome(waiting) is stall


def test_who_need_not_wait_any_longer_leaves_the_others_waiting(do):
    work = Work()
    doer = do(work)
    assert work.begun.wait(DEADLINE)
    deleted = RuntimeError('the server was deleted')
    leaving = do(work, check=Waiting(deleted))
    assert outcome(leaving) is deleted
    (waiting,) = waiters(do, work, 1)
    work.go_on.set()
    assert (outcome(doer), outcome(waiting)) == (None, None)
    assert work.done == 1


def test_work_that_ends_during_a_check_is_not_done_again(do):
    failure = exceptions.CopyFailed('image', 'west', 'disk full')
    work = Work(failure)
    doer = do(work)
    assert work.begun.wait(DEADLINE)

    checked = threading.Event()

    def slow_check():
        checked.set()
        outcome(doer)

    waiting = do(work, check=slow_check)
    assert checked.wait(DEADLINE)
    work.go_on.set()
    assert outcome(waiting) is failure
    assert work.done == 1


def test_nothing_is_kept_when_the_work_is_done(shared):
    def fail():
        raise exceptions.GlanceUnavailable(1)

    shared.do('one', DEMO, lambda: None, check=Waiting(), check_interval=1)
    with pytest.raises(exceptions.GlanceUnavailable):
        shared.do('two', DEMO, fail, check=Waiting(), check_interval=1)
    assert not vars(shared)['_running']


def test_who_waits_does_so_as_the_sharing_was_told_to():
    waits = []
    shared = sharing.Shared(lambda _, seconds: waits.append(seconds))
    left = iter([5.0, 1.5, -sharing.LAST_LOOK])

    def work():
        # The same thread, as where many run by turns.
        return shared.do(
            key='image',
            asker=DEMO,
            work=lambda: 'out of time',
            check=lambda: None,
            check_interval=3.0,
            time_left=lambda: next(left),
        )

    done = shared.do(
        key='image',
        asker=DEMO,
        work=work,
        check=lambda: None,
        check_interval=3,
    )
    assert done == 'out of time'
    assert waits == [3.0, 2.5, 0.0]
