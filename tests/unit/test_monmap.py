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

"""Answers of ``ceph mon dump``, recorded of Ceph 16."""

import contextlib
import json

import hypothesis
from hypothesis import strategies
import pytest

from nova_rbd_multistore import monmap


def dump(*monitors):
    return json.dumps({'epoch': 1, 'mons': list(monitors)}).encode()


def monitor(addr, **addresses):
    """As Ceph 16 shows one: a monitor's addresses, and one for the old."""
    return {
        'rank': 0,
        'name': 'a',
        'public_addrs': {
            'addrvec': [
                {'type': kind, 'addr': address, 'nonce': 0}
                for kind, address in addresses.items()
            ]
        },
        'addr': addr,
        'public_addr': addr,
    }


BOTH = monitor('127.0.0.1:17201/0', v2='127.0.0.1:17200', v1='127.0.0.1:17201')
V2 = monitor('127.0.0.1:17200/0', v2='127.0.0.1:17200')
BOTH_IPV6 = monitor('[::1]:17201/0', v2='[::1]:17200', v1='[::1]:17201')
V2_IPV6 = monitor('[::1]:17200/0', v2='[::1]:17200')
#: Before Ceph 14.
OLD = {'rank': 0, 'name': 'a', 'addr': '192.0.2.1:6789/0'}
#: Named in the first map of the monitors, and not there yet.
NOT_THERE = monitor('0.0.0.0:0/1', v1='0.0.0.0:0')


@pytest.mark.parametrize(
    ('shown', 'host', 'port'),
    [
        (BOTH, '127.0.0.1', '17201'),
        (V2, '127.0.0.1', '17200'),
        (BOTH_IPV6, '[::1]', '17201'),
        (V2_IPV6, '[::1]', '17200'),
        (OLD, '192.0.2.1', '6789'),
    ],
)
def test_a_monitor_is_a_host_and_a_port(shown, host, port):
    assert monmap.monitors(dump(shown)) == [(host, port)]


def test_all_monitors_are_named_in_the_order_of_ceph():
    assert monmap.monitors(dump(V2_IPV6, OLD, BOTH)) == [
        ('[::1]', '17200'),
        ('192.0.2.1', '6789'),
        ('127.0.0.1', '17201'),
    ]


def test_a_monitor_that_is_not_there_yet_is_left_out():
    assert monmap.monitors(dump(NOT_THERE, V2)) == [('127.0.0.1', '17200')]


@pytest.mark.parametrize(
    'answer',
    [
        b'',
        b'dumped monmap',
        b'null',
        b'[]',
        b'{"mons": null}',
        dump({'name': 'a'}),
        dump({'addr': None}),
    ],
)
def test_an_answer_that_is_not_understood_is_a_value_error(answer):
    with pytest.raises(ValueError, match=r'.'):
        monmap.monitors(answer)


@pytest.mark.parametrize(
    'answer', [dump(), dump(NOT_THERE), dump(monitor('-'))]
)
def test_an_answer_without_an_address_is_a_value_error(answer):
    with pytest.raises(ValueError, match='no address'):
        monmap.monitors(answer)


@hypothesis.given(answer=strategies.binary(max_size=64))
def test_whatever_is_answered_is_understood_or_a_value_error(answer):
    with contextlib.suppress(ValueError):
        monmap.monitors(answer)


@hypothesis.given(address=strategies.text(max_size=40))
def test_an_address_is_made_of_a_host_and_a_port_or_left_out(address):
    with contextlib.suppress(ValueError):
        ((host, port),) = monmap.monitors(dump(monitor(address)))
        assert int(port) > 0
        assert not {'/', ' ', ';', '"'} & set(host)
