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

"""How copies come along: lines in a log, bars on a terminal."""

import io

import pytest

from nova_rbd_multistore import image as image_values
from nova_rbd_multistore import progress
from nova_rbd_multistore_client import bringing
from nova_rbd_multistore_client import image as images
from nova_rbd_multistore_client import showing
from tests.fakes import image_proxy

MIB = 1 << 20


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def image():
    record = image_values.ImageRecord('an-id', 'active', size=200 * MIB)
    return images.Image(record, 'debian')


@pytest.fixture
def clock():
    return image_proxy.Clock()


@pytest.fixture
def how_far(clock):
    return progress.Progress(200 * MIB, clock)


def test_lines_are_some_seconds_apart_and_have_rate_and_time_left(
    image, clock, how_far
):
    stream = io.StringIO()
    with showing.of(stream) as report:
        for copied in range(0, 40, 2):
            how_far.saw(copied * MIB)
            report.copied(image, 'west', how_far)
            clock.sleep(2)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 4
    assert lines[1] == (
        'debian (an-id), store west: 5% copied (10 MiB), 1.0 MiB/s, 190 s left'
    )


def test_an_outcome_is_a_line(image):
    stream = io.StringIO()
    with showing.of(stream) as report:
        report.says(image, 'copy to west requested')
        report.ends(
            bringing.Result(image, 'west', bringing.Outcome.FAILED, 'full')
        )
    assert stream.getvalue() == (
        'debian (an-id): copy to west requested\n'
        'debian (an-id), store west: failed: full\n'
    )


def test_a_terminal_has_bars(image, how_far):
    stream = Terminal()
    with showing.of(stream) as report:
        how_far.saw(100 * MIB)
        report.copied(image, 'west', how_far)
        report.ends(bringing.Result(image, 'west', bringing.Outcome.COPIED))
    assert 'debian → west' in stream.getvalue()
    assert 'copied' in stream.getvalue()


def test_a_name_is_no_markup(how_far):
    record = image_values.ImageRecord('an-id', 'active', size=200 * MIB)
    stream = Terminal()
    with showing.of(stream) as report:
        how_far.saw(MIB)
        odd = images.Image(record, '[red]odd[/blue]')
        report.copied(odd, 'west', how_far)
        report.says(odd, '[/x]')
    assert '[red]odd[/blue]' in stream.getvalue()
