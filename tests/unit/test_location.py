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

"""Location URLs, as glance_store writes them and as an attacker might."""

import contextlib
import urllib.parse

from hypothesis import given
from hypothesis import strategies as st
import pytest

from nova_rbd_multistore import location

FSID = '1b6f5f0a-6c2c-4a33-9d3b-0d8b9a3d1c11'

parts = st.text(min_size=1).filter(
    lambda part: '\0' not in part and part.isprintable()
)


def quoted(*values):
    return 'rbd://' + '/'.join(urllib.parse.quote(v, safe='') for v in values)


def test_an_rbd_location_has_four_parts():
    assert location.parse(
        f'rbd://{FSID}/images/an-id/snap'
    ) == location.RbdLocation(FSID, 'images', 'an-id', 'snap')


@given(parts, parts, parts, parts)
def test_each_part_is_percent_encoded(fsid, pool, image, snapshot):
    url = quoted(fsid, pool, image, snapshot)
    assert location.parse(url) == location.RbdLocation(
        fsid, pool, image, snapshot
    )


def test_an_encoded_slash_stays_in_its_part():
    found = location.parse(f'rbd://{FSID}/a%2Fb/image/snap')
    assert found == location.RbdLocation(FSID, 'a/b', 'image', 'snap')


@pytest.mark.parametrize(
    'path',
    [
        '',
        f'{FSID}/images/an-id',
        f'{FSID}/images/an-id/',
        f'{FSID}//an-id/snap',
        f'/{FSID}/images/an-id/snap',
        f'{FSID}/images/an-id/snap/more',
        f'{FSID}/images/an-id/snap/',
        f'{FSID}/images/an-id%00/snap',
        f'{FSID}/images/an-id\ud800/snap',
    ],
)
def test_any_other_rbd_location_is_malformed(path):
    with pytest.raises(location.MalformedRbdLocation):
        location.parse(f'rbd://{path}')


def test_an_old_rbd_location_names_an_image_as_it_stands():
    # glance_store decodes nothing in this form.
    assert location.parse('rbd://a%41') == location.OldRbdLocation('a%41')


def test_a_cinder_location_names_store_and_volume():
    assert location.parse('cinder://fast/a-volume') == location.CinderLocation(
        'a-volume', 'fast'
    )


def test_a_legacy_cinder_location_names_a_volume():
    assert location.parse('cinder://a-volume') == location.CinderLocation(
        'a-volume'
    )


@pytest.mark.parametrize('path', ['', '/', 'fast/', '/v', 'fast/v/more'])
def test_any_other_cinder_location_is_malformed(path):
    with pytest.raises(location.MalformedLocation):
        location.parse(f'cinder://{path}')


@pytest.mark.parametrize(
    ('url', 'scheme'),
    [
        ('file:///var/lib/glance/images/an-id', 'file'),
        ('swift+https://u:p@host/container/an-id', 'swift+https'),
    ],
)
def test_data_in_other_stores_is_known_by_its_scheme(url, scheme):
    assert location.parse(url) == location.OtherLocation(scheme)


@pytest.mark.parametrize('url', ['', 'rbd', '://x', 'rbd:/a/b/c/d'])
def test_what_is_no_url_is_malformed(url):
    with pytest.raises(location.MalformedLocation):
        location.parse(url)


@given(st.text())
def test_nothing_else_can_come_of_a_text(url):
    with contextlib.suppress(location.MalformedLocation):
        location.parse(url)


@pytest.mark.parametrize('scheme', ['rbd', 'cinder'])
def test_the_error_does_not_repeat_the_url(scheme):
    with pytest.raises(location.MalformedLocation) as caught:
        location.parse(f'{scheme}://user:secret@host/a/b/c/d/e')
    assert 'secret' not in str(caught.value)
