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

"""Virtual time: programs that sleep side by side."""

import functools

import pytest

from benchmarks.fleet import clock as clocks


@pytest.fixture
def clock():
    return clocks.Clock()


def test_programs_sleep_side_by_side(clock):
    woken = []

    def program(seconds):
        clock.sleep(seconds)
        woken.append((seconds, clock.now))

    for seconds in (3.0, 1.0, 2.0):
        clock.start(functools.partial(program, seconds))
    clock.run()
    assert woken == [(1.0, 1.0), (2.0, 2.0), (3.0, 3.0)]


def test_what_is_due_at_one_moment_runs_in_the_order_asked_for(clock):
    ran = []
    for number in range(5):
        clock.after(1.0, functools.partial(ran.append, number))
    clock.run()
    assert ran == [0, 1, 2, 3, 4]


def test_time_passes_however_little_is_waited(clock):
    after = []

    def program():
        clock.sleep(146.0)
        clock.sleep(1e-20)
        after.append(clock.now)

    clock.start(program)
    clock.run()
    assert after[0] > 146.0


def test_what_a_program_raises_ends_the_run(clock):
    def program():
        clock.sleep(1.0)
        raise RuntimeError('of the program')

    clock.start(program)
    with pytest.raises(RuntimeError, match='of the program'):
        clock.run()


def test_so_many_workers_serve_at_a_time_and_the_others_wait_in_line(clock):
    workers = clocks.Workers(clock, 2)
    served = []

    def program(name):
        with workers.one():
            clock.sleep(1.0)
            served.append((name, clock.now))

    for name in 'abcde':
        clock.start(functools.partial(program, name))
    clock.run()
    assert served == [
        ('a', 1.0),
        ('b', 1.0),
        ('c', 2.0),
        ('d', 2.0),
        ('e', 3.0),
    ]
