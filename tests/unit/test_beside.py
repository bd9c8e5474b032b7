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


"""Work beside a thread, green or native."""

from concurrent import futures
import subprocess
import sys
import threading

from oslo_context import context as oslo_context
import pytest

from nova_rbd_multistore import beside

DEADLINE = 30


def test_it_goes_on_while_its_outcome_is_not_wanted():
    begun = threading.Event()
    go_on = threading.Event()

    def work():
        begun.set()
        assert go_on.wait(DEADLINE)
        return 'done'

    outcome = beside.start(work)
    assert begun.wait(DEADLINE)
    go_on.set()
    assert outcome.result() == 'done'
    assert outcome.result() == 'done'


def test_what_it_raised_is_raised_by_whoever_wants_the_outcome():
    def work():
        raise LookupError('not there')

    outcome = beside.start(work)
    with pytest.raises(LookupError, match='not there'):
        outcome.result()


def test_it_serves_the_request_that_its_thread_serves():
    context = oslo_context.RequestContext()
    assert beside.start(oslo_context.get_current).result() is context


def test_it_serves_no_request_if_its_thread_serves_none():
    with futures.ThreadPoolExecutor(1) as pool:
        outcome = pool.submit(beside.start, oslo_context.get_current).result()
    assert outcome.result() is None


def test_a_wait_ends_with_the_first_outcome():
    go_on = threading.Event()
    stuck, quick = beside.start(go_on.wait), beside.start(lambda: None)
    beside.wait([stuck, quick], DEADLINE)
    assert quick.done()
    assert not stuck.done()
    go_on.set()


def test_a_wait_ends_in_time():
    go_on = threading.Event()
    stuck = beside.start(go_on.wait)
    beside.wait([stuck], 0.01)
    assert not stuck.done()
    go_on.set()


def test_a_process_that_ends_waits_for_no_outcome():
    done = subprocess.run(
        [
            sys.executable,
            '-c',
            'import threading\n'
            'from nova_rbd_multistore import beside\n'
            'beside.start(threading.Event().wait)\n'
            'beside.start(lambda: 1 / 0)\n',
        ],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
    )
    assert done.stderr == ''
