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

"""What is remembered of Glance's endpoints."""

import pytest

from nova_rbd_multistore import endpoints
from tests.fakes import clock as clocks

REST = 30
URLS = ['http://a', 'http://b', 'http://c']


@pytest.fixture
def clock():
    return clocks.Clock()


@pytest.fixture
def known(clock):
    """In the order given, where the order is random."""
    return endpoints.Endpoints(
        REST, clock.monotonic, shuffle=lambda _urls: None
    )


def test_the_order_is_random(clock):
    known = endpoints.Endpoints(
        REST, clock.monotonic, shuffle=lambda urls: urls.reverse()
    )
    assert known.order(URLS) == ['http://c', 'http://b', 'http://a']


def test_by_default_every_endpoint_comes_first_now_and_then():
    known = endpoints.Endpoints(REST)
    assert {known.order(URLS)[0] for _ in range(200)} == set(URLS)


def test_an_endpoint_named_twice_is_asked_once(known):
    assert known.order(['http://a', 'http://b', 'http://a']) == [
        'http://a',
        'http://b',
    ]


def test_an_endpoint_that_failed_comes_last(known):
    known.failed('http://a')
    assert known.order(URLS) == ['http://b', 'http://c', 'http://a']


def test_of_endpoints_that_failed_the_longest_rested_comes_first(known, clock):
    known.failed('http://c')
    clock.advance(1)
    known.failed('http://a')
    assert known.order(URLS) == ['http://b', 'http://c', 'http://a']


def test_an_endpoint_is_rested_after_a_while(known, clock):
    known.failed('http://a')
    clock.advance(REST)
    assert known.order(URLS) == URLS


def test_when_all_rest_all_are_still_asked(known):
    for url in URLS:
        known.failed(url)
    assert sorted(known.order(URLS)) == URLS


def test_nothing_is_known_of_a_new_endpoint(known):
    assert not known.is_healthy('http://a')
    assert known.stores('http://a') == frozenset()


def test_good_health_is_believed_for_a_while(known, clock):
    known.note_healthy('http://a')
    clock.advance(REST - 1)
    assert known.is_healthy('http://a')
    clock.advance(1)
    assert not known.is_healthy('http://a')


def test_good_health_ends_the_rest(known):
    known.failed('http://a')
    known.note_healthy('http://a')
    assert known.order(URLS) == URLS


def test_a_failure_ends_the_belief_in_good_health(known):
    known.note_healthy('http://a')
    known.failed('http://a')
    assert not known.is_healthy('http://a')


def test_the_stores_of_an_endpoint_are_remembered(known):
    known.learn_stores('http://a', frozenset({'east', 'west'}))
    assert known.stores('http://a') == {'east', 'west'}
    assert known.stores('http://b') == frozenset()


def test_what_is_learned_later_counts(known):
    known.learn_stores('http://a', frozenset({'east', 'west'}))
    known.learn_stores('http://a', frozenset({'east'}))
    assert known.stores('http://a') == {'east'}


@pytest.mark.parametrize(
    ('needs', 'lacking'),
    [
        (endpoints.NOTHING, ''),
        (endpoints.Needs('west'), ''),
        (endpoints.Needs('north'), 'no store north'),
        (endpoints.Needs('west', frozenset({'file', 'south'})), ''),
        (
            endpoints.Needs('west', frozenset({'south', 'east'})),
            'none of the stores east, south',
        ),
        (endpoints.Needs('north', frozenset({'east'})), 'no store north'),
    ],
)
def test_what_an_endpoint_lacks_is_a_store_or_all_sources(needs, lacking):
    assert needs.lacking({'file', 'west'}) == lacking


def test_many_sources_that_an_endpoint_lacks_are_a_line_of_the_log():
    sources = frozenset(f'store\n{number}' for number in range(1000))
    said = endpoints.Needs('west', sources).lacking({'west'})
    assert said.isprintable()
    assert len(said) <= 400
