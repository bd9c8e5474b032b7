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

"""Boots that wait until they may ask Glance about their image."""

import functools
import logging

import pytest

from nova_rbd_multistore import exceptions
from nova_rbd_multistore import lead
from nova_rbd_multistore import pace
from nova_rbd_multistore import wait
from tests.fakes import clock as clocks
from tests.fakes import cluster as clusters

LIMITS = pace.Limits(
    poll_interval=15, probe_interval=0.5, timeout=600, stall_timeout=300
)

#: The longest wait for another host.
LONGEST = pace.LONGEST_PAUSE * LIMITS.poll_interval


class Site:
    """A host of site west, and another that may have the lead there.

    :ivar deleted: whether the server that our host boots is
    """

    def __init__(self):
        self.clock = clocks.Clock()
        self.west = clusters.Cluster('fsid-west', self.clock.monotonic)
        self.uniform = lambda low, high: (low + high) / 2
        self.deleted = False

    def start_wait(self, lease='ours', limits=LIMITS, server=None):
        return wait.Wait(
            'an-image',
            functools.partial(self.west.arrival, 'images', 'an-image'),
            lease and clusters.Lease(self.west, lease),
            limits,
            self.clock.time(self.uniform),
            self.check,
            server,
        )

    def check(self):
        if self.deleted:
            raise RuntimeError('the server was deleted')

    def wait(self, **kwargs):
        """Seconds until a boot of our host may ask Glance."""
        with self.start_wait(**kwargs) as waiting:
            began = self.clock.now
            waiting.for_turn()
            return self.clock.now - began

    def is_led_for(self, seconds):
        """Have the other host lead for so long, and then die."""
        lease = clusters.Lease(self.west, 'another')
        lease.hold(2)
        for second in range(1, seconds - 1):
            self.clock.after(second, functools.partial(lease.hold, 2))

    def is_left_after(self, seconds):
        """Have the other host lead for so long, and leave the lead."""
        lease = clusters.Lease(self.west, 'another')
        lease.hold(1000)
        self.clock.after(seconds, lease.release)


@pytest.fixture
def site():
    return Site()


# At once


def test_of_an_image_in_the_cluster_a_boot_asks_at_once_and_leads_nobody(site):
    site.west.complete('an-image')
    assert site.wait() == 0
    assert site.west.claims == 0


def test_of_an_image_on_its_way_a_boot_asks_at_once_though_another_leads(site):
    site.is_led_for(100)
    site.west.write('an-image', 1)
    assert site.wait() == 0


def test_a_boot_whose_site_has_no_leader_asks_at_once_and_leads(site):
    with site.start_wait() as waiting:
        waiting.for_turn()
        assert waiting.lead.role is lead.Role.LEADER
        assert [owner for owner, _ in site.west.leases.values()] == ['ours']
    assert site.west.leases == {}
    assert site.clock.naps == []


def test_the_lead_is_left_whatever_becomes_of_the_boot(site):
    def boot():
        with site.start_wait() as waiting:
            waiting.for_turn()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        boot()
    assert site.west.leases == {}


def test_without_a_lease_to_be_had_a_boot_asks_at_once(site):
    site.is_led_for(100)
    assert site.wait(lease=None) == 0


def test_where_leases_are_not_allowed_a_boot_asks_at_once(site):
    site.west.read_only.add('vms')
    assert site.wait() == 0


def test_where_arrivals_are_hidden_a_boot_asks_at_once(site):
    site.is_led_for(100)
    site.west.hidden = True
    assert site.wait() == 0


def test_a_cluster_that_does_not_answer_ends_the_boot(site):
    site.west.away = True
    with pytest.raises(exceptions.ClusterUnreachable):
        site.wait()


# Another host leads


@pytest.mark.parametrize('begin', [0.05, 1, 20])
def test_while_another_leads_a_boot_waits_until_the_image_arrives(site, begin):
    site.is_led_for(1000)
    site.clock.after(begin, lambda: site.west.write('an-image', 1))
    assert begin <= site.wait() <= begin + LIMITS.probe_interval


def test_an_image_that_arrives_between_two_looks_is_seen(site):
    site.is_led_for(1000)
    site.clock.after(20, lambda: site.west.complete('an-image'))
    assert 20 <= site.wait() <= 20 + LIMITS.probe_interval


@pytest.mark.parametrize(('seconds', 'late'), [(0.05, 0.1), (1, 1), (25, 10)])
def test_a_boot_asks_soon_when_the_other_has_found_nothing_to_wait_for(
    site, seconds, late
):
    site.is_left_after(seconds)
    assert seconds <= site.wait() <= seconds + late


def test_who_asks_because_the_other_has_left_the_lead_does_not_take_it(site):
    # There may be hundreds: one at a time, they would take a minute.
    site.is_left_after(5)
    with site.start_wait() as waiting:
        waiting.for_turn()
        assert waiting.lead.role is lead.Role.ALONE
        assert site.west.leases == {}


def test_when_the_leader_has_died_another_leads_and_asks(site):
    site.is_led_for(5)
    with site.start_wait() as waiting:
        began = site.clock.now
        waiting.for_turn()
        assert waiting.lead.role is lead.Role.LEADER
        assert site.clock.now - began <= 5 + 2 * lead.LEASE


@pytest.mark.parametrize(
    ('edge', 'seconds'), [(min, LIMITS.poll_interval), (max, LONGEST)]
)
def test_whatever_the_leader_does_each_boot_asks_at_a_moment_of_its_own(
    site, edge, seconds
):
    site.is_led_for(1000)
    site.uniform = edge
    assert site.wait() == pytest.approx(seconds)


def test_a_boot_that_is_given_less_time_waits_no_longer(site):
    site.is_led_for(1000)
    limits = pace.Limits(
        poll_interval=15, probe_interval=0.5, timeout=6, stall_timeout=300
    )
    assert site.wait(limits=limits) == pytest.approx(6)


def test_the_wait_for_another_host_counts_as_a_wait(site):
    site.is_led_for(1000)
    with site.start_wait() as waiting:
        waiting.for_turn()
        assert waiting.pace.waited > LIMITS.poll_interval
        assert waiting.pace.left == LIMITS.timeout - waiting.pace.waited


def test_a_server_that_is_deleted_ends_the_wait_for_another_host(site):
    site.is_led_for(1000)
    site.deleted = True
    began = site.clock.now
    with pytest.raises(RuntimeError, match='the server was deleted'):
        site.wait()
    assert site.clock.now - began <= 1.2 * LIMITS.poll_interval + 0.6


def test_the_wait_for_another_host_is_logged_once_for_its_server(site, caplog):
    caplog.set_level(logging.INFO)
    site.is_led_for(1000)
    site.wait(server='the-server')
    (record,) = caplog.records
    assert record.getMessage().startswith('Waiting for image an-image')
    assert record.instance_uuid == 'the-server'


def test_a_wait_for_another_host_takes_a_few_looks_at_the_lead(
    site, monkeypatch
):
    site.is_led_for(1000)
    seen = []
    has_lease = site.west.has_lease
    monkeypatch.setattr(
        site.west,
        'has_lease',
        lambda *question: seen.append(site.clock.now) or has_lease(*question),
    )
    site.uniform = max
    site.wait()
    assert len(seen) <= 12
