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

"""Which faults the nemesis draws, and that each is undone."""

import itertools
import types

import pytest

from tests.nemesis import faults
from tests.nemesis import proxies


@pytest.fixture
def proxy():
    return proxies.Proxy('http://127.0.0.1:9292')


def test_each_mood_of_a_proxy_is_a_fault_and_ends(proxy):
    moods = set()
    for fault in faults.of_proxies([('glance-api-1', proxy)]):
        trouble = fault.draw()
        trouble.begin()
        moods.add(proxy.mood)
        trouble.end()
        assert proxy.mood is None
    assert moods == set(proxies.Mood)


def test_what_has_a_fault_is_named_first(proxy):
    found = faults.of_proxies([('glance-api-1', proxy)])
    assert {fault.victim for fault in found} == {'glance-api-1-proxy'}


def drawn(possible, seed, count=50):
    return list(itertools.islice(faults.Draw(possible, seed), count))


def test_a_seed_draws_the_same_each_time(proxy):
    possible = faults.of_proxies([('glance-api-1', proxy)])
    assert drawn(possible, '7') == drawn(possible, '7')
    assert drawn(possible, '7') != drawn(possible, '8')


def test_each_victim_is_drawn_as_often_however_many_faults_it_has(proxy):
    possible = [
        *faults.of_proxies([('glance-api-1', proxy)]),
        faults.always('host-0 frozen', list, list, 60.0),
    ]
    count = 1000
    hosts = sum(
        fault.victim == 'host-0'
        for fault, _, _ in drawn(possible, '1', count=count)
    )
    assert count / 3 < hosts < 2 * count / 3


@pytest.mark.parametrize(
    ('said', 'reached'),
    [
        ('Failed to establish a new connection: refused', False),
        ('Request to http://127.0.0.1:17013 timed out', True),
        ('Connection aborted', True),
    ],
)
def test_what_did_not_reach_its_service_is_known(said, reached):
    assert faults.has_reached(RuntimeError(said)) is reached


def test_the_first_host_of_each_site_is_only_frozen():
    made = [
        types.SimpleNamespace(
            name=f'host-{number}',
            host=types.SimpleNamespace(
                freeze=list, thaw=list, kill=list, end=list
            ),
            start=list,
        )
        for number in range(3)
    ]
    names = [fault.name for fault in faults.of_hosts(made)]
    assert names == [
        *(f'host-{number} frozen' for number in range(3)),
        *('host-2 killed', 'host-2 stopped'),
    ]


CONF = """
enabled_backends = file:file, east:rbd, west:rbd
default_backend = file
"""


@pytest.mark.parametrize(
    ('store', 'backends', 'default'),
    [
        ('file', 'east:rbd, west:rbd', 'east'),
        ('east', 'file:file, west:rbd', 'file'),
        ('west', 'file:file, east:rbd', 'file'),
    ],
)
def test_a_glance_api_may_lack_any_store(store, backends, default):
    assert faults.without_store(CONF, store).split('\n')[1:3] == [
        f'enabled_backends = {backends}',
        f'default_backend = {default}',
    ]
