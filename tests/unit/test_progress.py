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

"""How far a copy has come."""

import math

import pytest

from nova_rbd_multistore import progress
from tests.fakes import clock as clocks

MIB = 1024 * 1024


@pytest.fixture
def clock():
    return clocks.Clock()


def test_a_tasks_message_tells_bytes():
    assert progress.bytes_in_message('Copied 128 MiB') == 128 * MIB


@pytest.mark.parametrize(
    'message',
    [
        '',
        'Copied',
        'Copied MiB',
        'Copied -1 MiB',
        'Copied ١٢٨ MiB',
        'Copied 9999999999999 MiB',
        'Task failed due to Internal Error',
    ],
)
def test_any_other_message_tells_none(message):
    assert progress.bytes_in_message(message) is None


def test_before_anything_arrived_there_is_no_rate(clock):
    assert str(progress.Progress(256 * MIB, clock.monotonic)) == (
        '0% copied (0 MiB)'
    )


def test_of_an_unknown_size_only_the_bytes_are_told(clock):
    copy = progress.Progress(None, clock.monotonic)
    copy.saw(64 * MIB)
    assert str(copy) == '64 MiB copied'


def test_percent_rate_and_time_left_come_from_the_bytes(clock):
    copy = progress.Progress(256 * MIB, clock.monotonic)
    copy.saw(0)
    clock.advance(4)
    copy.saw(128 * MIB)
    assert str(copy) == '50% copied (128 MiB), 32.0 MiB/s, 4 s left'


def test_the_rate_counts_from_the_first_bytes_seen(clock):
    copy = progress.Progress(256 * MIB, clock.monotonic)
    clock.advance(1000)  # Glance stages
    copy.saw(64 * MIB)
    clock.advance(2)
    copy.saw(128 * MIB)
    assert '32.0 MiB/s' in str(copy)


def test_more_than_all_is_all(clock):
    copy = progress.Progress(100 * MIB, clock.monotonic)
    copy.saw(0)
    clock.advance(1)
    copy.saw(104 * MIB)
    assert str(copy).startswith('100% copied (104 MiB)')
    assert str(copy).endswith('0 s left')


def test_a_copy_that_started_over_has_no_rate(clock):
    copy = progress.Progress(256 * MIB, clock.monotonic)
    copy.saw(128 * MIB)
    clock.advance(1)
    copy.saw(16 * MIB)
    assert str(copy) == '6% copied (16 MiB)'


def test_the_rate_of_a_copy_that_started_over_counts_from_there(clock):
    copy = progress.Progress(256 * MIB, clock.monotonic)
    copy.saw(128 * MIB)
    clock.advance(100)
    copy.saw(0)
    clock.advance(4)
    copy.saw(128 * MIB)
    assert str(copy) == '50% copied (128 MiB), 32.0 MiB/s, 4 s left'


def test_what_is_forgotten_is_of_another_try(clock):
    copy = progress.Progress(256 * MIB, clock.monotonic)
    copy.saw(16 * MIB)
    clock.advance(100)
    copy.saw(32 * MIB)
    copy.forget()
    assert copy.copied == 0
    assert copy.left == math.inf
    assert str(copy) == '0% copied (0 MiB)'
    clock.advance(50)
    copy.saw(64 * MIB)
    clock.advance(2)
    copy.saw(128 * MIB)
    assert '32.0 MiB/s' in str(copy)
    assert copy.watched == 2


def test_all_at_once_divides_by_nothing(clock):
    copy = progress.Progress(256 * MIB, clock.monotonic)
    copy.saw(0)
    copy.saw(256 * MIB)
    assert str(copy) == '100% copied (256 MiB)'


@pytest.mark.parametrize('size', [0, None])
def test_an_empty_image_divides_by_nothing(clock, size):
    assert str(progress.Progress(size, clock.monotonic)) == '0 MiB copied'


# When the end is to be expected


def test_the_time_left_follows_from_bytes_and_rate(clock):
    copy = progress.Progress(256 * MIB, clock.monotonic)
    copy.saw(0)
    clock.advance(4)
    copy.saw(128 * MIB)
    assert copy.left == 4
    assert copy.watched == 4


def test_when_all_has_arrived_no_time_is_left(clock):
    copy = progress.Progress(256 * MIB, clock.monotonic)
    copy.saw(256 * MIB)
    assert copy.left == 0


@pytest.mark.parametrize('size', [0, None])
def test_of_an_unknown_size_the_time_left_is_unknown(clock, size):
    copy = progress.Progress(size, clock.monotonic)
    copy.saw(0)
    clock.advance(1)
    copy.saw(64 * MIB)
    assert copy.left == math.inf


def test_while_nothing_moves_the_time_left_is_unknown(clock):
    copy = progress.Progress(256 * MIB, clock.monotonic)
    assert (copy.left, copy.watched) == (math.inf, 0)
    copy.saw(8 * MIB)
    clock.advance(1)
    assert (copy.left, copy.watched) == (math.inf, 1)
