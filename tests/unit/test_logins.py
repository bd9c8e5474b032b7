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

"""Log-ins that many threads want at a time."""

from concurrent import futures
import threading

import pytest

from nova_rbd_multistore import logins

#: Longer than anything here takes, so that a deadlock is a failure.
DEADLINE = 30


class LogIn:
    """A log-in that ends when told.

    :ivar done: how often it was begun
    """

    def __init__(self, error=None):
        self.error = error
        self.done = 0
        self.begun = threading.Event()
        self.go_on = threading.Event()

    def __call__(self):
        self.done += 1
        self.begun.set()
        assert self.go_on.wait(DEADLINE)
        if self.error is not None:
            raise self.error


class Queue:
    """Waits, and lets a test know when so many others do."""

    def __init__(self, others):
        self._left = others
        self.full = threading.Event()

    def __call__(self, running, seconds):
        self._left -= 1
        if not self._left:
            self.full.set()
        futures.wait(running, seconds)


@pytest.fixture
def pool():
    with futures.ThreadPoolExecutor(8) as pool:
        yield pool


def outcome(future):
    return future.exception(DEADLINE)


@pytest.mark.parametrize('error', [None, RuntimeError('no answer')])
def test_what_comes_of_it_is_told_to_all(pool, error):
    queue = Queue(others=3)
    joined = logins.Logins(queue)
    log_in = LogIn(error)
    found = [pool.submit(joined.join, 'nova', log_in) for _ in range(4)]
    assert queue.full.wait(DEADLINE)
    log_in.go_on.set()
    assert [outcome(future) for future in found] == [error] * 4
    assert log_in.done == 1


def test_one_that_is_wanted_later_is_done_again():
    log_in = LogIn()
    log_in.go_on.set()
    joined = logins.Logins()
    joined.join('nova', log_in)
    joined.join('nova', log_in)
    assert log_in.done == 2


def test_that_of_another_identity_goes_on_side_by_side(pool):
    slow, quick = LogIn(), LogIn()
    quick.go_on.set()
    joined = logins.Logins()
    doer = pool.submit(joined.join, 'nova', slow)
    assert slow.begun.wait(DEADLINE)
    joined.join('deputy', quick)
    assert quick.done == 1
    slow.go_on.set()
    assert outcome(doer) is None


def test_one_whose_thread_ends_is_done_by_the_next(pool):
    queue = Queue(others=1)
    joined = logins.Logins(queue)
    theirs, ours = LogIn(SystemExit()), LogIn()
    ours.go_on.set()
    doer = pool.submit(joined.join, 'nova', theirs)
    assert theirs.begun.wait(DEADLINE)
    waiting = pool.submit(joined.join, 'nova', ours)
    assert queue.full.wait(DEADLINE)
    theirs.go_on.set()
    assert isinstance(outcome(doer), SystemExit)
    assert outcome(waiting) is None
    assert ours.done == 1
