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

"""What the lab's Glance said is what the simulator's says."""

import json
import pathlib

import pytest

from benchmarks import fleet
from benchmarks.fleet import replay
from benchmarks.fleet import trace

LAB = pathlib.Path(fleet.__file__).parent / 'lab-trace.json'


@pytest.fixture(scope='module')
def recorded():
    return trace.Trace.load(LAB)


@pytest.fixture(scope='module')
def replayed(recorded):
    return replay.replay(recorded)


def told(events):
    return [json.loads(json.dumps(event.told)) for event in events]


def is_check(event):
    return event.question == 'GET /healthcheck'


def in_order(events):
    """What a boot asks; health is checked beside it as well."""
    return told([event for event in events if not is_check(event)])


def checks(events):
    return sorted(told([event for event in events if is_check(event)]))


@pytest.mark.parametrize('host', ['west-1', 'west-2', 'east-1'])
def test_a_recorded_trace_of_the_lab_replays_identically(
    recorded, replayed, host
):
    assert in_order(replayed.of(host)) == in_order(recorded.of(host))


@pytest.mark.parametrize('host', ['west-1', 'west-2', 'east-1'])
def test_the_same_health_is_checked_at_whatever_moment(
    recorded, replayed, host
):
    assert checks(replayed.of(host)) == checks(recorded.of(host))


def test_the_trace_has_a_wait_for_ones_own_site_and_one_for_another(recorded):
    answers = [
        (event.host, event.status)
        for event in sorted(recorded.events, key=lambda event: event.ended)
        if event.question.endswith('/import')
    ]
    # West-2 left it to west-1; east-1 saw the lock for a while.
    assert answers == [('west-1', 202), ('east-1', 202)]


def test_the_second_host_of_a_site_asked_when_the_image_began_to_arrive(
    recorded,
):
    first_look = next(
        event.ended
        for event in recorded.events
        if event.host == 'west-2'
        and event.question == trace.PROBE
        and event.answer['exists']
    )
    assert recorded.of('west-2')[0].began >= first_look


def test_a_trace_is_read_as_it_was_written(recorded, tmp_path):
    recorded.save(tmp_path / 'trace.json')
    assert trace.Trace.load(tmp_path / 'trace.json') == recorded
