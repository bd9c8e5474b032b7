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

"""Foreign text in our lines."""

import pytest

from nova_rbd_multistore import text


def test_plain_text_is_kept():
    assert text.printable('Kopiert: 256 MiB, ähm') == 'Kopiert: 256 MiB, ähm'


@pytest.mark.parametrize(
    'hostile',
    [
        'a\nb',
        'a\rb',
        'a\x00b',
        'a\x1bb',
        'a\x7fb',
        'a\u2028b',
        'a\u202eb',
        'a\u200bb',
        'a\ud800b',
        'a\tb',
    ],
)
def test_what_is_not_printable_becomes_a_space(hostile):
    assert text.printable(hostile) == 'a b'


def test_text_at_the_limit_is_kept():
    assert text.printable('x' * 10, limit=10) == 'x' * 10


def test_text_above_the_limit_is_cut_and_marked():
    assert text.printable('x' * 11, limit=10) == 'x' * 9 + '…'


def test_anything_can_be_shown():
    assert text.printable(ValueError('no\nway')) == 'no way'
    assert text.printable(None) == 'None'


@pytest.mark.parametrize(
    ('said', 'kept'),
    [
        ('to http://nova:secret@host:9292/v2', 'to http://host:9292/v2'),
        ('https://token@host/', 'https://host/'),
        ('http://nova:p@ss@host/a', 'http://host/a'),
        ('http://host/a@b', 'http://host/a@b'),
        ('http://host?a@b', 'http://host?a@b'),
        ('mail to nova@host', 'mail to nova@host'),
    ],
)
def test_urls_are_logged_without_credentials(said, kept):
    assert text.without_credentials(said) == kept


@pytest.mark.parametrize(
    ('said', 'kept'),
    [
        ('no route to http://10.1.2.3:9292/v2 now', 'no route to {} now'),
        ('(rbd://fsid/pool/image/snap', '({}'),
        ('HTTPS://HOST', '{}'),
        ('of_1http://host', 'of_{}'),
        (f'{"x" * 30}://host', '{}'),
        ('at http:// host', 'at {} host'),
        ('disk full: 12 MiB left', 'disk full: 12 MiB left'),
    ],
)
def test_tenants_read_no_urls(said, kept):
    assert text.without_urls(said) == kept.format('(an address)')
