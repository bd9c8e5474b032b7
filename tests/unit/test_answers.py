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

"""The header Retry-After, which is not taken on trust."""

from hypothesis import given
from hypothesis import strategies as st
from oslo_utils import fixture
from oslo_utils import timeutils
import pytest

from nova_rbd_multistore import answers

MOST = 60.0


@pytest.fixture(autouse=True)
def now():
    fixed = fixture.TimeFixture(
        timeutils.parse_isotime('2026-11-25T12:00:00Z').replace(tzinfo=None)
    )
    with fixed:
        yield


@pytest.mark.parametrize(
    ('header', 'seconds'),
    [
        ('7', 7),
        ('0', 0),
        ('86400', MOST),
        ('Wed, 25 Nov 2026 12:00:07 GMT', 7),
        ('Wed, 25 Nov 2026 13:00:07 +0100', 7),
        ('Wed, 25 Nov 2026 12:00:07 -0000', 7),
        ('Wed, 25 Nov 2026 11:59:00 GMT', 0),
        ('Fri, 31 Dec 9999 23:59:59 GMT', MOST),
        (None, 0),
        ('', 0),
        ('-7', 0),
        ('7.5', 0),
        ('soon', 0),
        ('nan', 0),
        ('\u0667', 0),
        ('Wed, 99 Nov 2026 12:00:07 GMT', 0),
        ('Mon, 01 Jan 0001 00:00:00 +2359', 0),
        ('9' * 255, MOST),
        ('9' * 5000, 0),
    ],
)
def test_a_pause_is_read_within_bounds(header, seconds):
    assert answers.retry_after(header, MOST) == seconds


@given(
    st.text()
    | st.integers().map(str)
    | st.text('0123456789 :,+-GMTWedNov', max_size=40)
)
def test_whatever_is_sent_a_pause_is_bounded(header):
    assert 0 <= answers.retry_after(header, MOST) <= MOST
