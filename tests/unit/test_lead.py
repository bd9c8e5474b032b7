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

"""Hosts of a site that wait for one image, and the one that leads."""

import logging

import pytest

from nova_rbd_multistore import exceptions
from nova_rbd_multistore import lead
from nova_rbd_multistore import pace
from tests.fakes import clock as clocks
from tests.fakes import cluster as clusters


@pytest.fixture
def clock():
    return clocks.Clock()


@pytest.fixture
def west(clock):
    return clusters.Cluster('fsid-west', clock.monotonic)


@pytest.fixture
def join(clock, west):
    """Makes hosts that strive for the lead from now on."""

    def make(name):
        host = lead.Lead(clusters.Lease(west, name), clock.time())
        host.strive()
        return host

    return make


def keep_up(clock, seconds, *hosts):
    """Have time pass, in which some hosts do what is to be done."""
    for _ in range(round(seconds * 10)):
        for host in hosts:
            host.keep_up()
        clock.advance(0.1)


def roles(*hosts):
    return [host.role.name for host in hosts]


def test_of_all_hosts_of_a_site_one_leads(clock, join):
    hosts = [join(name) for name in 'abc']
    assert roles(*hosts) == ['ALONE'] * 3
    keep_up(clock, 2, *hosts)
    assert roles(*hosts) == ['LEADER', 'FOLLOWER', 'FOLLOWER']


def test_the_leader_leads_until_it_resigns(clock, join):
    hosts = [join(name) for name in 'ab']
    keep_up(clock, 300, *hosts)
    assert roles(*hosts) == ['LEADER', 'FOLLOWER']


def test_nobody_strives_before_a_host_that_need_not_poll_has_the_lead(
    clock, join
):
    first = join('first')
    keep_up(clock, 0.3, first)
    accepted = join('accepted')
    accepted.take()
    keep_up(clock, 5, first, accepted)
    assert roles(first, accepted) == ['FOLLOWER', 'LEADER']


def test_after_a_leader_has_resigned_another_leads_soon(clock, join):
    leader, other = join('leader'), join('other')
    keep_up(clock, 5, leader, other)
    leader.resign()
    keep_up(clock, lead.LEASE * 1.2, other)
    assert roles(leader, other) == ['ALONE', 'LEADER']


def test_after_a_leader_has_died_another_leads_soon(clock, join):
    leader, other = join('leader'), join('other')
    keep_up(clock, 5, leader, other)
    keep_up(clock, 2 * lead.LEASE * 1.2, other)
    assert roles(other) == ['LEADER']


def test_a_leader_that_was_frozen_follows_whoever_leads_then(clock, join):
    leader, other = join('leader'), join('other')
    keep_up(clock, 5, leader, other)
    keep_up(clock, 30, other)
    assert roles(leader, other) == ['LEADER', 'LEADER']
    leader.keep_up()
    assert roles(leader, other) == ['FOLLOWER', 'LEADER']


def test_a_leader_that_was_frozen_takes_no_lead_from_another_as_it_resigns(
    clock, join, west
):
    leader, other = join('leader'), join('other')
    keep_up(clock, 5, leader, other)
    keep_up(clock, 30, other)
    leader.resign()
    assert [owner for owner, _ in west.leases.values()] == ['other']


def test_a_leader_that_was_frozen_leaves_nothing_as_it_resigns(
    clock, join, west
):
    leader = join('leader')
    keep_up(clock, 5, leader)
    clock.advance(3 * lead.LEASE)
    leader.resign()
    assert west.leases == {}


def test_a_host_that_follows_takes_no_lead_from_another_as_it_resigns(
    clock, join, west
):
    leader, other = join('leader'), join('other')
    keep_up(clock, 5, leader, other)
    other.resign()
    assert [owner for owner, _ in west.leases.values()] == ['leader']


def test_who_resigns_leaves_nothing(clock, join, west):
    leader = join('leader')
    keep_up(clock, 5, leader)
    leader.resign()
    assert west.leases == {}


def test_who_resigns_may_lead_again(clock, join):
    leader = join('leader')
    keep_up(clock, 5, leader)
    leader.resign()
    keep_up(clock, lead.LEASE * 1.2, leader)
    assert roles(leader) == ['LEADER']


def test_who_withdraws_never_leads_again(clock, join, west):
    leader = join('leader')
    keep_up(clock, 5, leader)
    leader.withdraw()
    leader.strive()
    keep_up(clock, 100, leader)
    leader.take()
    assert roles(leader) == ['ALONE']
    assert west.leases == {}
    assert leader.until_due == float('inf')


def test_the_lead_is_free_before_anybody_has_it_and_when_it_was_left(
    clock, join
):
    leader, other = join('leader'), join('other')
    assert other.is_free()
    leader.take()
    assert not other.is_free()
    leader.resign()
    assert other.is_free()


def test_the_lead_of_a_host_that_died_is_not_free_until_another_takes_it(
    clock, join
):
    join('leader').take()
    other = join('other')
    clock.advance(2 * lead.LEASE)
    assert not other.is_free()
    other.take()
    assert roles(other) == ['LEADER']


def test_who_finds_the_lead_free_follows_nobody_and_may_strive_for_it(
    clock, join
):
    leader, other = join('leader'), join('other')
    keep_up(clock, 5, leader, other)
    leader.resign()
    assert other.is_free()
    assert roles(other) == ['ALONE']
    other.strive()
    keep_up(clock, 1, other)
    assert roles(other) == ['LEADER']


def test_thousands_of_hosts_ask_each_once_in_a_lease(clock, join, west):
    hosts = [join(str(number)) for number in range(20)]
    keep_up(clock, 5, *hosts)
    before = west.claims
    keep_up(clock, 10 * lead.LEASE, *hosts)
    # The leader renews its own three times as often.
    assert west.claims - before <= 10 * (19 + 4)


def test_a_host_with_rare_looks_is_woken_to_keep_its_lead(clock, join):
    leader, other = join('leader'), join('other')
    keep_up(clock, 5, leader, other)
    for _ in range(20):
        clock.advance(leader.until_due)
        other.keep_up()
        leader.keep_up()
    assert roles(leader, other) == ['LEADER', 'FOLLOWER']


def test_a_look_renews_a_lease_long_before_anybody_is_woken_for_it(
    clock, join, west
):
    leader = join('leader')
    keep_up(clock, 2, leader)
    before = west.claims
    keep_up(clock, lead.LEASE * lead.RENEWAL * (1 + pace.JITTER), leader)
    assert west.claims == before + 1
    assert leader.until_due > 0.5 * lead.LEASE * lead.RENEWAL


def test_a_leader_whose_cluster_is_slow_renews_its_lease_when_it_is_woken(
    clock, join, west, monkeypatch
):
    leader = join('leader')
    hold = west.hold_lease

    def slow(*question):
        held = hold(*question)
        clock.advance(0.7 * lead.LEASE)
        return held

    monkeypatch.setattr(west, 'hold_lease', slow)
    leader.take()
    assert leader.until_due <= 0
    before = clock.now
    leader.keep_up()
    # Or it would be woken again at once.
    assert clock.now > before


def make_away(west):
    west.away = True


def make_read_only(west):
    west.read_only.add('vms')


def test_where_nobody_can_tell_who_leads_the_lead_is_free(clock, join, west):
    leader, other = join('leader'), join('other')
    leader.take()
    west.away = True
    assert other.is_free()


@pytest.mark.parametrize('fail', [make_away, make_read_only])
def test_where_no_lease_can_be_had_each_host_is_alone(
    clock, join, west, fail, caplog
):
    fail(west)
    hosts = [join(name) for name in 'ab']
    keep_up(clock, 50, *hosts)
    assert roles(*hosts) == ['ALONE'] * 2
    # An unreachable cluster may take half a minute to say so.
    assert west.claims == 2
    assert not [r for r in caplog.records if r.levelno > logging.DEBUG]


def test_when_leases_can_be_had_again_one_leads(clock, join, west):
    west.away = True
    hosts = [join(name) for name in 'ab']
    keep_up(clock, 50, *hosts)
    west.away = False
    keep_up(clock, 30, *hosts)
    assert sorted(roles(*hosts)) == ['FOLLOWER', 'LEADER']


def test_a_lease_that_cannot_be_given_back_runs_out_by_itself(
    clock, join, west
):
    leader = join('leader')
    keep_up(clock, 5, leader)
    west.away = True
    leader.resign()
    west.away = False
    other = join('other')
    keep_up(clock, 2 * lead.LEASE * 1.2, other)
    assert roles(other) == ['LEADER']


def test_without_a_lease_there_is_no_lead(clock):
    host = lead.Lead(None, clock.time())
    host.strive()
    host.take()
    host.keep_up()
    host.resign()
    assert host.role is lead.Role.ALONE
    assert host.is_free()
    assert host.until_due == float('inf')


def test_what_is_no_fault_of_the_host_is_not_hidden(clock):
    class Broken:
        def hold(self, _seconds):
            raise exceptions.NotActive('an-image', 'deleted')

    host = lead.Lead(Broken(), clock.time())
    with pytest.raises(exceptions.NotActive):
        host.take()
