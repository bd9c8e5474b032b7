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

"""The story of a copy, on a clock of its own."""

import contextlib
import dataclasses
import datetime
import functools
import itertools
import logging

import pytest

from nova_rbd_multistore import arrival
from nova_rbd_multistore import copying
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import image as image_values
from nova_rbd_multistore import location
from nova_rbd_multistore import pace
from nova_rbd_multistore import task as task_values
from nova_rbd_multistore import wait
from tests.fakes import clock as clocks
from tests.fakes import cluster as clusters
from tests.fakes import glance_api
from tests.fakes import image_service

MIB = glance_api.MIB

LIMITS = pace.Limits(
    poll_interval=15, probe_interval=0.5, timeout=600, stall_timeout=300
)

TO_EAST = {'method': {'name': 'copy-image'}, 'stores': ['east']}
TO_WEST = {'method': {'name': 'copy-image'}, 'stores': ['west']}

SOMEBODY = glance_api.Requester(project='somebody-else', service=True)


class Site:
    """A host on site west, whose store the image is to be copied to.

    :ivar waited: for how long another boot of this host was at it before
    :ivar lease: of the lead among the hosts of the site, None if there is none
    """

    def __init__(self, task_threads=16):
        self.clock = clocks.Clock()
        self.east = clusters.Cluster('fsid-east')
        self.west = clusters.Cluster('fsid-west', self.clock.monotonic)
        self.api = glance_api.GlanceApi(
            self.clock,
            {'file': None, 'east': self.east, 'west': self.west},
            task_threads,
        )
        self.image = self.api.add_image('file')
        self.glance = image_service.ImageService(self.api)
        self.waited = 0
        self.checks = []
        self.deleted = False
        self.lease = None
        self.uniform = lambda low, high: (low + high) / 2

    def copy(self, record=None, **limits):
        """Follow a copy to its end; returns the seconds it took.

        :param record: the image as the boot has seen it, if not as it is
        """
        wanted = {
            field: limits.get(field, getattr(LIMITS, field))
            for field in pace.Limits.__slots__
        }
        waiting = wait.Wait(
            self.image.id,
            functools.partial(self.west.arrival, 'images', self.image.id),
            self.lease,
            pace.Limits(**wanted),
            self.clock.time(self.uniform),
            self.check,
        )
        place = location.RbdLocation(
            'fsid-west', 'images', self.image.id, 'snap'
        )
        copy = copying.Copy(
            record or self.record(), 'west', place, self.glance, waiting
        )
        self.clock.advance(self.waited)
        began = self.clock.now
        copy.run()
        return self.clock.now - began

    def check(self):
        self.checks.append(self.clock.now)
        if self.deleted:
            raise RuntimeError('the server was deleted')

    def record(self):
        return image_values.ImageRecord.from_answer(
            glance_api.wire(
                self.api.show(self.glance.requester, self.image.id)
            )
        )

    def somebody_copies(self, body=TO_WEST, endpoint=''):
        self.api.import_image(SOMEBODY, self.image.id, body, endpoint)

    def hosts_lease(self, host):
        """The lead among the hosts of the site, for one of them."""
        return clusters.Lease(self.west, host)

    def is_led_by(self, host, seconds):
        """Have another host lead for so long."""
        lease = self.hosts_lease(host)
        for second in range(seconds):
            self.clock.after(second, lambda: lease.hold(2))

    @property
    def leader(self):
        """Whoever has the lead now."""
        return next((owner for owner, _ in self.west.leases.values()), None)

    @property
    def statuses(self):
        """What Glance answered to the requests for a copy to our store."""
        return [
            status for _, store, status in self.api.requests if store == 'west'
        ]

    @property
    def task(self):
        """The newest task."""
        return list(self.api.tasks.values())[-1]


@pytest.fixture
def site():
    return Site()


@pytest.fixture
def led(site):
    """The site, whose hosts agree on one that polls for all."""
    site.lease = site.hosts_lease('ours')
    return site


def gaps(moments):
    return [
        round(after - before, 3)
        for before, after in itertools.pairwise(moments)
    ]


# A copy that goes well


def test_a_copy_is_requested_once_and_followed_until_the_store_has_it(site):
    site.copy()
    assert site.record().holds('west')
    assert site.statuses == [202]


def test_the_boot_goes_on_as_soon_as_the_snapshot_is_seen(site):
    # 0.2 s start, 2 s staging, 8 s upload, 0.04 s until the record says so.
    assert site.copy() < 10.2 + 0.04 + LIMITS.probe_interval + 0.2


def test_glance_is_not_asked_before_a_poll_interval_or_the_snapshot(site):
    began = site.clock.now
    site.copy()
    assert site.glance.polls[0] - began >= 10.2


def test_after_the_snapshot_glance_has_the_time_to_write_it_down(site):
    site.copy()
    assert len(site.glance.polls) == 1


def test_after_the_snapshot_glance_is_asked_soon_then_doubling(site):
    site.api.pace.record = 60
    site.copy()
    seen = gaps(site.glance.polls)
    assert seen[:7] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8]
    assert all(gap <= LIMITS.poll_interval for gap in seen)


def test_a_slow_copy_is_polled_at_most_once_an_interval(site):
    site.west.hidden = True
    site.api.pace.upload = 400
    took = site.copy()
    before_due = [at for at in site.glance.polls if at < 1000 + 402]
    assert len(before_due) <= took / LIMITS.poll_interval
    assert min(gaps(before_due)) >= LIMITS.poll_interval


def test_while_bytes_arrive_glance_is_asked_once_in_some_intervals(site):
    site.api.pace.upload = 400
    site.copy()
    before_due = [at for at in site.glance.polls if at < 1000 + 400]
    assert min(gaps(before_due)) > 2 * LIMITS.poll_interval
    assert max(gaps(before_due)) <= 4 * LIMITS.poll_interval
    assert site.glance.task_polls == []


def test_a_right_that_goes_while_bytes_arrive_is_missed_in_time(site):
    site.api.pace.upload = 400
    began = site.clock.now
    site.clock.after(10, lambda: setattr(site.image, 'status', 'deactivated'))
    with pytest.raises(exceptions.NotActive):
        site.copy()
    assert site.clock.now - began <= 10 + 4 * LIMITS.poll_interval


def test_what_a_dead_copy_has_left_is_not_taken_for_bytes_that_arrive(site):
    site.somebody_copies()
    site.clock.advance(5)
    site.api.kill()
    began = site.clock.now
    with pytest.raises(exceptions.CopyStalled):
        site.copy()
    assert site.glance.polls[0] - began <= 1.2 * LIMITS.poll_interval


def test_when_bytes_arrive_no_more_glance_is_asked(site):
    site.api.pace.upload = 400
    site.clock.after(100, site.api.kill)
    began = site.clock.now
    with pytest.raises(exceptions.CopyStalled):
        site.copy()
    after = [at for at in site.glance.polls if at > began + 100]
    assert after[0] - began <= 100 + 2 * 15 + 1


def test_bytes_that_arrive_again_as_glance_answers_are_no_stall(site):
    site.api.pace.upload = 40
    site.somebody_copies(endpoint='glance-a')
    site.clock.after(5, lambda: site.api.freeze('glance-a'))
    show, stalls_at = site.glance.record, site.clock.now + 300

    def show_late(image):
        # A glance-api that was frozen goes on with copies as it answers.
        if site.clock.now >= stalls_at:
            site.api.thaw('glance-a')
            site.clock.advance(1)
        return show(image)

    site.glance.record = show_late
    site.copy()
    assert site.record().holds('west')


def test_a_task_that_has_just_told_of_more_is_no_stall(site):
    # It tells how far it is once a minute, and is at another store first.
    site.api.pace.upload = 150
    both = {**TO_WEST, 'stores': ['east', 'west']}
    site.api.import_image(site.glance.requester, site.image.id, both)
    site.clock.advance(19)
    site.copy(stall_timeout=60)
    assert site.record().holds('west')


def looks_between(site, begin, end):
    """How often a copy looks between two seconds of its life."""
    looks = []
    for second in (begin, end):
        site.clock.after(second, lambda: looks.append(site.west.looks))
    with contextlib.suppress(exceptions.CopyStalled):
        site.copy()
    return looks[1] - looks[0]


def test_before_bytes_arrive_there_is_a_look_every_probe_interval(site):
    site.api.pace.staging = 60
    assert looks_between(site, 20, 50) == 30 / LIMITS.probe_interval


def test_while_bytes_arrive_there_is_a_look_every_probe_interval(site):
    site.api.pace.upload = 100
    assert looks_between(site, 20, 80) == 60 / LIMITS.probe_interval


def test_a_copy_that_stands_still_is_looked_at_every_probe_interval(site):
    site.clock.after(6, site.api.kill)
    assert looks_between(site, 60, 90) == 30 / LIMITS.probe_interval


@pytest.mark.parametrize('begin', [tenth / 10 for tenth in range(6)])
@pytest.mark.parametrize('upload', [0.2, 0.6, 1.2, 8])
def test_whenever_the_bytes_are_all_there_it_is_seen_soon(site, begin, upload):
    site.api.pace.staging += begin
    site.api.pace.upload = upload
    due = 0.2 + 2 + begin + upload + 0.04
    assert site.copy() - due < 0.35


@pytest.mark.parametrize('begin', [tenth / 10 for tenth in range(6)])
def test_after_a_copy_that_failed_whole_the_end_of_the_next_is_seen_soon(
    site, begin, monkeypatch
):
    site.api.failures.append(('whole', 'disk full'))
    site.somebody_copies()
    site.api.pace.upload = 1.2
    site.api.pace.staging += begin
    site.api.pace.snapshot = 0.3
    site.clock.after(6, lambda: setattr(site.api.pace, 'snapshot', 0))
    ends = []
    complete = site.west.complete
    monkeypatch.setattr(
        site.west,
        'complete',
        lambda image: ends.append(site.clock.now) or complete(image),
    )
    site.copy()
    assert site.statuses == [202, 202]
    assert site.clock.now - ends[0] < 0.35


def looks_while_all_bytes_wait_for_their_snapshot(site, seconds):
    site.api.pace.snapshot = seconds
    site.copy()
    return site.west.looks


def test_when_all_bytes_are_there_the_cluster_is_looked_into_more_often():
    at_once, later = (
        looks_while_all_bytes_wait_for_their_snapshot(Site(), seconds)
        for seconds in (0, 1)
    )
    assert 8 <= later - at_once <= 12


def test_a_snapshot_that_does_not_come_is_looked_for_as_before():
    sooner, later = (
        looks_while_all_bytes_wait_for_their_snapshot(Site(), seconds)
        for seconds in (10, 20)
    )
    assert later - sooner == 10 / LIMITS.probe_interval


@pytest.mark.parametrize('edge', [min, max])
def test_polls_vary_by_a_fifth_of_the_interval(site, edge):
    site.west.hidden = True
    site.api.pace.upload = 400
    site.uniform = edge
    site.copy()
    before_due = [at for at in site.glance.polls if at < 1000 + 402]
    wanted = LIMITS.poll_interval * edge(0.8, 1.2)
    for gap in gaps(before_due):
        assert gap == pytest.approx(wanted, abs=LIMITS.probe_interval)


def test_a_copy_that_is_there_already_is_seen_after_one_request(site):
    site.api.import_image(site.glance.requester, site.image.id, TO_WEST)
    site.clock.advance(60)
    assert site.copy() < 1
    assert site.statuses == [202, 400]


def test_the_end_of_a_copy_is_logged_with_its_seconds(site, caplog):
    caplog.set_level(logging.INFO)
    site.copy()
    assert f'Image {site.image.id} is in store west' in caplog.messages[-1]


def test_progress_is_logged_at_most_every_ten_seconds(site, caplog):
    caplog.set_level(logging.INFO)
    site.api.pace.upload = 100
    site.copy()
    lines = [line for line in caplog.messages if '% copied' in line]
    assert 8 <= len(lines) <= 10
    assert 'MiB/s' in lines[-1]


# An old failure


def test_the_failure_flag_of_an_earlier_attempt_is_not_ours(site):
    site.image.merge(glance_api.FAILED, 'west')
    site.api.pace.start = 40  # until then the flag stays
    site.copy()
    assert site.statuses == [202]


def test_an_importing_list_left_by_an_earlier_attempt_does_not_matter(site):
    site.image.merge(glance_api.IMPORTING, 'west')
    site.copy()
    assert site.statuses == [202]


def test_a_failure_for_another_store_is_not_ours(site):
    site.image.merge(glance_api.FAILED, 'west-2,dcn-west')
    site.copy()
    assert site.statuses == [202]


# Somebody else's copy


def test_a_copy_that_somebody_else_holds_is_waited_for_and_shared(site):
    site.somebody_copies()
    site.copy()
    assert site.record().holds('west')
    assert site.statuses == [202]


def test_who_loses_the_race_for_the_lock_waits_for_the_winners_copy(site):
    record = site.record()
    site.somebody_copies()
    site.copy(record)
    assert site.record().holds('west')
    assert site.statuses == [202, 409]


def test_behind_a_lock_where_nothing_moves_one_copy_is_asked_for(site):
    site.api.pace.staging = 200
    site.somebody_copies()
    began = site.clock.now
    site.copy()
    _, (at, _, status) = site.api.requests
    assert status == 409
    # At the first poll, the record had changed since the lock was taken.
    assert at - began <= 2 * LIMITS.poll_interval


def test_behind_a_lock_where_bytes_arrive_none_is_asked_for(site):
    site.api.pace.upload = 200
    site.somebody_copies()
    site.copy()
    assert site.statuses == [202]


def kill_when_written(site):
    """End Glance between its snapshot and its record of the copy."""

    def look():
        if site.west.arrival('images', site.image.id).complete:
            site.api.kill()
        else:
            site.clock.after(0.01, look)

    site.clock.after(0.01, look)


def test_behind_an_expired_lock_a_whole_image_does_not_keep_us_from_asking(
    site,
):
    site.somebody_copies()
    kill_when_written(site)
    site.clock.advance(3700)
    began = site.clock.now
    with contextlib.suppress(exceptions.CopyFailed):
        site.copy()
    _, (at, _, status) = site.api.requests
    assert status == 202
    assert at - began <= 2 * LIMITS.poll_interval


def test_who_comes_as_somebodys_copy_ends_goes_on_at_once(site):
    site.somebody_copies()
    site.clock.advance(10.21)
    record = site.record()
    assert record.lock
    assert site.west.arrival('images', site.image.id).complete
    assert site.copy(record) < 0.5


def test_a_lock_seen_long_ago_is_not_waited_for(site):
    site.somebody_copies(TO_EAST)
    record = site.record()
    site.clock.advance(60)
    site.waited = 60
    assert site.copy(record) < 10.2 + 1
    assert site.statuses == [202]


def test_a_glance_that_does_not_answer_is_asked_to_take_over_again(site):
    site.somebody_copies()
    site.clock.after(1, site.api.kill)
    site.clock.advance(3700)
    request = site.glance.request_copy
    answers = [exceptions.GlanceUnavailable(1)]

    def restarting(*question):
        if answers:
            raise answers.pop()
        return request(*question)

    site.glance.request_copy = restarting
    site.copy()
    assert site.statuses == [202, 202]


def test_a_copy_accepted_after_a_still_wait_has_its_time_to_begin(site):
    site.somebody_copies()
    site.clock.after(1, site.api.kill)
    site.clock.advance(3700)
    site.api.pace.staging = 15
    site.copy(stall_timeout=20)
    assert site.record().holds('west')


def test_a_lock_that_has_expired_is_taken_over_within_a_poll(site):
    site.somebody_copies()
    site.clock.after(1, site.api.kill)
    site.clock.advance(3700)
    assert site.copy() <= LIMITS.poll_interval * 1.2 + 10.2 + 1
    assert site.statuses == [202, 202]


def import_to(*stores, all_or_none):
    return {
        'method': {'name': 'copy-image'},
        'stores': stores,
        'all_stores_must_succeed': all_or_none,
    }


def test_of_an_import_to_several_stores_only_ours_is_waited_for(site):
    site.api.pace.upload = 60
    site.somebody_copies(import_to('west', 'east', all_or_none=True))
    assert site.copy() < 120
    assert site.statuses == [202]
    assert not site.record().holds('east')


def test_an_import_to_several_stores_that_left_ours_out_is_made_up_for(site):
    site.api.failures = [('upload', glance_api.INTERNAL_ERROR)]
    site.somebody_copies(import_to('west', 'east', all_or_none=False))
    site.copy()
    assert site.statuses == [202, 202]
    assert site.record().stores == {'file', 'east', 'west'}


def test_an_import_of_all_or_none_that_was_taken_back_is_made_up_for(site):
    site.api.failures = [('', ''), ('upload', glance_api.INTERNAL_ERROR)]
    site.somebody_copies(import_to('west', 'east', all_or_none=True))
    site.clock.advance(60)
    assert site.record().stores == {'file'}
    site.copy()
    assert site.statuses == [202, 202]


def test_a_copy_to_another_store_is_waited_for_then_ours_is_asked_for(site):
    site.api.pace.upload = 40
    site.somebody_copies(TO_EAST)
    site.copy()
    assert site.record().holds('west')
    assert site.statuses == [409, 202]


def test_a_copy_that_somebody_else_holds_is_asked_for_again_when_it_fails(
    site,
):
    site.api.failures.append(('upload', 'disk full'))
    site.somebody_copies()
    site.copy()
    assert site.statuses == [202, 202]


def test_of_our_copy_after_somebody_elses_the_failure_is_final(site):
    site.api.failures += [('upload', 'theirs'), ('upload', 'ours')]
    site.somebody_copies()
    with pytest.raises(exceptions.CopyFailed, match='ours'):
        site.copy()
    assert site.statuses == [202, 202]


def test_who_loses_the_race_for_the_lock_again_waits_again(site):
    site.api.pace.upload = 40
    site.somebody_copies(TO_EAST)
    record = site.glance.record

    def overtaken(image):
        # Just after our look, a third one takes the lock.
        found = record(image)
        if not found.lock and len(site.api.tasks) == 1:
            site.api.stores['north'] = None
            site.somebody_copies({**TO_EAST, 'stores': ['north']})
        return found

    site.glance.record = overtaken
    site.copy()
    assert site.statuses == [409, 409, 202]


def test_a_busy_image_is_asked_for_at_most_once_an_interval(site):
    site.api.pace.upload = 200
    site.somebody_copies(TO_EAST)
    site.copy()
    asked = [at for at, store, _ in site.api.requests if store == 'west']
    assert len(asked) == 2


def polls_while_others_copy(site, seconds):
    site.api.pace.upload = seconds
    site.somebody_copies(TO_EAST)
    site.copy(timeout=10 * seconds)
    return [at for at in site.glance.polls if at < 1000 + seconds]


def test_a_wait_for_others_twice_as_long_costs_few_questions_more():
    once = polls_while_others_copy(Site(), 60)
    twice = polls_while_others_copy(Site(), 120)
    assert len(twice) - len(once) <= 2


def test_who_waits_for_others_asks_at_most_half_as_long_again_later(site):
    polls = polls_while_others_copy(site, 600)
    for before, after in itertools.pairwise(polls):
        waited = before - 1000
        assert after - before <= max(15, waited / 2)


def test_however_long_the_wait_the_free_lock_is_found_in_four_intervals(site):
    polls = polls_while_others_copy(site, 600)
    assert max(gaps(polls)) == 4 * LIMITS.poll_interval


def test_who_cannot_watch_images_arrive_asks_at_the_interval(site):
    site.west.hidden = True
    polls = polls_while_others_copy(site, 200)
    assert max(gaps(polls)) == LIMITS.poll_interval


def test_who_copies_at_last_asks_at_the_interval_again(site):
    site.api.pace.staging = 200
    polls = polls_while_others_copy(site, 200)
    assert max(gaps(polls)) > LIMITS.poll_interval
    # The others end after 400 s; ours is staged for 200 s more.
    ours = [at for at in site.glance.polls if 1460 < at < 1600]
    assert max(gaps(ours)) == LIMITS.poll_interval


def test_a_wait_for_many_short_copies_is_not_called_stalled(site):
    # Each is shorter than the stall timeout; their changes are looked for
    # in time, however long the wait was before.
    site.west.hidden = True
    site.api.pace.upload = 40
    for number in range(8):
        store = f'north-{number}'
        site.api.stores[store] = None
        body = {**TO_EAST, 'stores': [store]}
        site.clock.after(
            1 + 45 * number, lambda body=body: site.somebody_copies(body)
        )
    site.clock.advance(2)
    site.copy(stall_timeout=60)
    assert 'west' in site.record().stores


def test_a_409_without_a_lock_is_repeated_at_the_pace_of_polls(site):
    # Glance says 409 for other reasons too; nothing tells them apart.
    site.glance.request_copy = lambda *_question: (
        site.api.requests.append((site.clock.now, 'west', 409))
        or task_values.CopyReply(task_values.Verdict.BUSY, reason='whatever')
    )
    with pytest.raises(exceptions.CopyRefused, match='whatever'):
        site.copy()
    asked = [at for at, _, _ in site.api.requests]
    assert min(gaps(asked)) >= LIMITS.poll_interval
    assert len(asked) <= LIMITS.stall_timeout / LIMITS.poll_interval + 1


# One host of a site polls for all


@pytest.mark.parametrize('seconds', [0.5, 3, 10, 40])
def test_the_leader_requests_its_copy_soon_after_the_others_end(led, seconds):
    led.api.pace.upload = seconds
    ends = 1000 + 0.2 + 2 + seconds + 0.04 + 0.01
    led.somebody_copies(TO_EAST)
    led.copy()
    (*_, (at, _, status)) = led.api.requests
    assert status == 202
    # At most a second, or a share of the wait.
    assert at - ends <= max(1, pace.EAGERNESS * (seconds + 2.25))


def test_a_leader_s_wait_four_times_as_long_costs_less_than_twice_the_polls():
    def polls(seconds):
        site = Site()
        site.lease = site.hosts_lease('ours')
        return len(polls_while_others_copy(site, seconds))

    assert polls(600) < 2 * polls(150)


def test_the_leader_lets_the_others_lead_when_it_has_its_copy(led):
    led.somebody_copies(TO_EAST)
    led.copy()
    assert led.west.leases == {}


def hosts_that_led(site):
    """Who leads at each second from now on, a list that grows."""
    seen = []

    def look():
        seen.append(site.leader)
        site.clock.after(1, look)

    site.clock.after(0.5, look)
    return seen


def test_who_has_a_copy_made_leads_so_that_nobody_polls_meanwhile(led):
    led.api.pace.upload = 60
    seen = hosts_that_led(led)
    led.copy()
    assert set(seen[:61]) == {'ours'}
    assert led.west.leases == {}


def test_who_leads_and_copies_polls_no_more_than_who_is_alone():
    alone, leading = Site(), Site()
    leading.lease = leading.hosts_lease('ours')
    for site in (alone, leading):
        site.api.pace.staging = 100
        site.copy()
    assert leading.glance.polls == alone.glance.polls


def test_a_follower_polls_as_seldom_as_may_be(led):
    led.is_led_by('another', 1300)
    polls = polls_while_others_copy(led, 600)
    assert min(gaps(polls)) >= 4 * LIMITS.poll_interval
    assert max(gaps(polls)) <= 4 * LIMITS.poll_interval + 1


def test_a_follower_sees_the_copy_that_its_leader_has_requested(led):
    led.is_led_by('another', 100)
    led.somebody_copies(TO_EAST)
    led.clock.after(11, led.somebody_copies)
    began = led.clock.now
    led.copy()
    assert led.clock.now - began < 11 + 10.3 + LIMITS.probe_interval
    assert led.statuses == [202]


def test_of_a_follower_a_right_that_goes_is_missed_in_time(led):
    led.api.pace.upload = 400
    led.is_led_by('another', 500)
    led.somebody_copies(TO_EAST)
    led.clock.after(10, lambda: setattr(led.image, 'status', 'deactivated'))
    began = led.clock.now
    with pytest.raises(exceptions.NotActive):
        led.copy()
    assert led.clock.now - began <= 4 * LIMITS.poll_interval + 1


def test_who_follows_one_leader_after_another_polls_in_time(led):
    for number in range(30):
        lease = led.hosts_lease(f'host-{number}')
        # Each leads for a while, then nobody for as long as can be missed.
        for second in range(12):
            led.clock.after(
                20 * number + second, functools.partial(lease.hold, 2)
            )
    polls = polls_while_others_copy(led, 600)
    assert max(gaps(polls)) <= 4 * LIMITS.poll_interval + 1


def test_of_a_follower_a_deleted_server_ends_the_wait_as_soon_as_ever(led):
    led.api.pace.upload = 400
    led.is_led_by('another', 500)
    led.somebody_copies(TO_EAST)
    led.clock.after(100, lambda: setattr(led, 'deleted', True))
    began = led.clock.now
    with pytest.raises(RuntimeError, match='the server was deleted'):
        led.copy()
    assert led.clock.now - began <= 100 + 1.2 * LIMITS.poll_interval + 1


def test_a_follower_leads_when_its_leader_is_gone(led):
    led.api.pace.upload = 60
    led.is_led_by('another', 30)
    led.somebody_copies(TO_EAST)
    led.copy()
    # Somebody else's copy ends at 62 s, a follower's poll comes at 60 s.
    (*_, (at, _, status)) = led.api.requests
    assert status == 202
    assert at - 1000 < 62.3 + 2


def test_who_becomes_leader_polls_at_once(led):
    led.api.pace.upload = 20
    led.is_led_by('another', 45)
    led.somebody_copies(TO_EAST)
    led.copy()
    # The image was free all the time that the other did nothing about it.
    (*_, (at, _, status)) = led.api.requests
    assert status == 202
    assert 1045 < at < 1000 + 60


def test_the_leader_of_whom_the_image_is_hidden_leaves_the_lead(led):
    led.api.pace.upload = 100
    led.somebody_copies(TO_EAST)
    led.clock.after(50, lambda: setattr(led.image, 'status', 'deactivated'))
    with pytest.raises(exceptions.NotActive):
        led.copy()
    assert led.west.leases == {}


def test_the_leader_whose_server_is_deleted_leaves_the_lead(led):
    led.api.pace.upload = 100
    led.somebody_copies(TO_EAST)
    led.clock.after(50, lambda: setattr(led, 'deleted', True))
    with pytest.raises(RuntimeError, match='the server was deleted'):
        led.copy()
    assert led.west.leases == {}


def test_the_leader_whom_glance_does_not_answer_leaves_the_lead(led):
    led.api.pace.upload = 100
    led.somebody_copies(TO_EAST)
    led.clock.after(20, lambda: setattr(led.glance, 'away', True))
    led.clock.after(40, lambda: setattr(led.glance, 'away', False))
    seen = hosts_that_led(led)
    led.copy()
    assert seen[10] == 'ours'
    assert None in seen[20:40]
    assert seen[70] == 'ours'
    # It is asked no oftener than by a host that is alone.
    away = [at for at in led.glance.polls if 1020 < at <= 1040]
    assert len(away) <= 3


def test_a_leader_checks_its_server_no_oftener_than_once_an_interval(led):
    polls_while_others_copy(led, 200)
    assert min(gaps(led.checks)) >= LIMITS.poll_interval * 0.8


def test_a_leader_polls_tasks_no_oftener_than_once_an_interval(led):
    led.api.pace.staging = 200
    led.api.import_image(led.glance.requester, led.image.id, TO_EAST)
    led.copy()
    assert len(led.glance.task_polls) > 3
    assert min(gaps(led.glance.task_polls)) >= LIMITS.poll_interval * 0.8


def test_behind_a_copy_to_its_own_store_a_leader_is_not_eager(led):
    # Its bytes will be seen; until then, Glance has only bad news to tell.
    led.api.pace.staging = 200
    led.somebody_copies()
    led.copy()
    # The first poll tells it so.
    before_due = [at for at in led.glance.polls[1:] if at < 1200]
    assert min(gaps(before_due)) == LIMITS.poll_interval


def test_a_leader_does_not_repeat_a_409_without_a_lock_at_each_poll(led):
    led.glance.request_copy = lambda *_question: (
        led.api.requests.append((led.clock.now, 'west', 409))
        or task_values.CopyReply(task_values.Verdict.BUSY, reason='whatever')
    )
    with pytest.raises(exceptions.CopyRefused, match='whatever'):
        led.copy()
    asked = [at for at, _, _ in led.api.requests]
    assert min(gaps(asked)[1:]) >= LIMITS.poll_interval
    assert len(asked) <= LIMITS.stall_timeout / LIMITS.poll_interval + 2


def test_a_leader_whose_tasks_vanish_requests_at_the_pace_of_polls(led):
    request = led.glance.request_copy

    def forgetful(*question):
        reply = request(*question)
        led.api.kill()
        led.api.tasks.clear()
        del led.image.properties[glance_api.LOCK]
        return reply

    led.glance.request_copy = forgetful
    with pytest.raises(exceptions.CopyTimedOut):
        led.copy()
    asked = [at for at, _, _ in led.api.requests]
    assert min(gaps(asked)[1:]) >= LIMITS.poll_interval


def test_no_copy_is_taken_to_be_done_long_before_the_quickest_was(led):
    led.api.pace.upload = 28
    stores = [f'north-{number}' for number in range(3)]
    led.api.stores.update(dict.fromkeys(stores))
    begins = []

    def next_one():
        if stores:
            begins.append(led.clock.now)
            led.somebody_copies({**TO_EAST, 'stores': [stores.pop()]})
            led.clock.after(30.26, next_one)

    led.clock.after(1, next_one)
    led.clock.advance(1)
    led.copy()
    # The first one's beginning was not seen.
    for began in begins[2:]:
        polls = [at - began for at in led.glance.polls]
        assert not [at for at in polls if 3 < at < 30 * pace.QUICKEST]


def test_a_copy_quicker_than_all_before_is_missed_for_a_while_only(led):
    led.api.pace.upload = 28
    led.api.stores['north'] = None
    led.clock.after(1, lambda: led.somebody_copies(TO_EAST))

    def a_quick_one():
        led.api.pace.upload = 1
        led.somebody_copies({**TO_EAST, 'stores': ['north']})

    led.clock.after(31.26, a_quick_one)
    led.clock.advance(1)
    led.copy()
    assert led.statuses[-1] == 202
    (*_, (at, _, _)) = led.api.requests
    assert at - 1000 <= 31.26 + 30.25


def test_a_follower_of_a_leader_that_does_nothing_is_not_stalled_too_soon(
    led,
):
    led.is_led_by('another', 1000)
    led.api.pace.upload = 40
    for number in range(8):
        store = f'north-{number}'
        led.api.stores[store] = None
        body = {**TO_EAST, 'stores': [store]}
        led.clock.after(
            1 + 45 * number, lambda body=body: led.somebody_copies(body)
        )
    led.clock.advance(2)
    led.copy(stall_timeout=60)
    assert 'west' in led.record().stores


def test_a_follower_behind_a_copy_that_died_stalls_in_time(led):
    led.is_led_by('another', 1000)
    led.somebody_copies()
    led.clock.after(4, led.api.kill)
    began = led.clock.now
    with pytest.raises(exceptions.CopyStalled):
        led.copy()
    assert led.clock.now - began <= LIMITS.stall_timeout + 5 * 15 + 10


def test_a_leader_takes_an_expired_lock_over_within_an_interval(led):
    led.somebody_copies()
    led.clock.after(1, led.api.kill)
    led.clock.advance(3700)
    assert led.copy() <= LIMITS.poll_interval + 10.2 + 1
    assert led.statuses == [202, 202]


@pytest.mark.parametrize('fault', ['away', 'read-only'])
def test_where_there_can_be_no_lead_each_polls_as_if_alone(fault):
    polls = []
    for lease in (None, 'ours'):
        site = Site()
        site.lease = lease and site.hosts_lease(lease)
        if fault == 'away':
            site.west.away = True
        else:
            site.west.read_only.add('vms')
        polls.append(polls_while_others_copy(site, 200))
    assert polls[0] == polls[1]


def test_who_cannot_watch_images_arrive_neither_leads_nor_follows(led):
    led.west.hidden = True
    polls = polls_while_others_copy(led, 200)
    assert led.west.claims == 0
    assert max(gaps(polls)) == LIMITS.poll_interval


def test_a_leader_that_cannot_watch_images_arrive_any_more_resigns(led):
    led.clock.after(20, lambda: setattr(led.west, 'hidden', True))
    polls = polls_while_others_copy(led, 200)
    assert led.west.leases == {}
    assert max(gaps([at for at in polls if at > 1030])) == 15


def test_a_leader_says_so_once(led, caplog):
    caplog.set_level(logging.INFO)
    polls_while_others_copy(led, 100)
    lines = [line for line in caplog.messages if 'for all hosts' in line]
    assert len(lines) == 1
    assert led.image.id in lines[0]


def test_a_leader_with_rare_looks_keeps_its_lead(led):
    led.api.pace.upload = 100
    led.somebody_copies(TO_EAST)
    seen = hosts_that_led(led)
    led.copy(probe_interval=60, timeout=2000)
    assert None not in seen[2:100]


def test_a_leader_never_spins(led):
    polls_while_others_copy(led, 100)
    assert led.clock.naps.count(0) <= 2


# Answers that do not fit together


def answer_400(site):
    """Have Glance say that no copy is needed; returns when it did."""
    asked = []
    # "copy-image is not enabled" comes as 400, too.
    site.glance.request_copy = lambda *_question: (
        asked.append(site.clock.now)
        or task_values.CopyReply(
            task_values.Verdict.NOT_NEEDED, reason='copy-image is not enabled'
        )
    )
    return asked


def test_a_400_that_stays_is_a_failure_with_glances_reason(site):
    answer_400(site)
    with pytest.raises(exceptions.CopyFailed, match='is not enabled'):
        site.copy()


def test_a_400_is_looked_into_for_ten_seconds_ever_less_often(site):
    asked = answer_400(site)
    began = site.clock.now
    with pytest.raises(exceptions.CopyFailed):
        site.copy()
    assert gaps(asked) == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4]
    assert 10 <= site.clock.now - began < 13


def test_a_400_after_other_answers_has_its_own_ten_seconds(site):
    request, began = site.glance.request_copy, site.clock.now
    before = site.record()
    shown = site.glance.record
    # Somebody's copy has come, which a replica shows later.
    site.glance.record = lambda image: (
        shown(image) if site.clock.now >= began + 15 else before
    )
    site.west.hidden = True
    url = f'rbd://fsid-west/images/{site.image.id}/snap'
    site.clock.after(9, lambda: site.image.locations.setdefault('west', url))

    def fail_at_first(*question):
        if site.clock.now < began + 9:
            raise exceptions.GlanceUnavailable(1, 'HTTP 500 oops')
        return request(*question)

    site.glance.request_copy = fail_at_first
    site.copy()
    assert set(site.statuses) == {400}


@pytest.mark.parametrize('poll_interval', [1, 15, 60])
def test_a_400_is_looked_into_more_than_twice_at_any_interval(
    site, poll_interval
):
    asked = answer_400(site)
    with pytest.raises(exceptions.CopyFailed):
        site.copy(poll_interval=poll_interval)
    assert len(asked) > 5


def late_by(site, seconds):
    """Have records and tasks come from a database that lags behind."""
    seen = {}

    def late(ask):
        def answer(image):
            moments = seen.setdefault(ask, [])
            moments.append((site.clock.now, ask(image)))
            return next(
                found
                for at, found in reversed(moments)
                if at <= max(site.clock.now - seconds, moments[0][0])
            )

        return answer

    # It is written down all the time, whoever asks.
    record, tasks = site.glance.record, site.glance.tasks
    site.glance.record, site.glance.tasks = late(record), late(tasks)

    def write_down():
        for ask in (record, tasks):
            seen.setdefault(ask, []).append(
                (site.clock.now, ask(site.image.id))
            )
        site.glance.polls.pop()
        site.glance.task_polls.pop()
        site.clock.after(0.05, write_down)

    write_down()


@pytest.mark.parametrize('seconds', [0.5, 1, 5])
def test_a_copy_that_the_record_shows_late_is_there(site, seconds):
    before = site.record()
    site.api.import_image(site.glance.requester, site.image.id, TO_WEST)
    site.clock.advance(10.3)
    site.glance.polls.clear()
    late_by(site, 0)
    shown = site.glance.record
    due = site.clock.now + seconds
    site.glance.record = lambda image: (
        shown(image) if site.clock.now >= due else before
    )
    assert site.copy(before) < 2 * seconds + 0.2
    assert site.statuses[0] == 202
    assert set(site.statuses[1:]) == {400}


@pytest.mark.parametrize('upload', [0.1, 2, 40])
@pytest.mark.parametrize('seconds', [1, 3])
def test_a_copy_of_ours_is_followed_in_records_that_come_late(
    site, upload, seconds, caplog
):
    site.api.pace = glance_api.Pace(staging=0.1, upload=upload)
    late_by(site, seconds)
    assert site.copy() < 0.3 + upload + 2 * seconds + 1
    assert site.statuses == [202]
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


def test_a_success_whose_image_the_record_shows_late_is_one(site):
    site.api.pace = glance_api.Pace(staging=0.1, upload=0.1)
    record = site.glance.record
    before = site.record()
    due = site.clock.now + 2
    site.glance.record = lambda image: (
        record(image) if site.clock.now >= due else before
    )
    assert site.copy() < 5
    assert site.statuses == [202]


def test_refusals_409_202_and_400_may_come_in_any_order(site):
    replies = [
        task_values.CopyReply(
            task_values.Verdict.BUSY, reason='Image has active task'
        ),
        task_values.CopyReply(
            task_values.Verdict.NOT_NEEDED, reason='already present'
        ),
        task_values.CopyReply(
            task_values.Verdict.BUSY, reason='Image has active task'
        ),
    ]
    request = site.glance.request_copy
    site.glance.request_copy = lambda *question: (
        replies.pop(0) if replies else request(*question)
    )
    site.copy()
    assert site.statuses == [202]


# The lock is lost after a 202


def steal_the_lock(site, body=TO_EAST):
    """Take the lock over while its task is not stored, as another does."""
    site.clock.after(0.5, lambda: site.somebody_copies(body))
    site.clock.after(0.5, lambda: setattr(site.api.pace, 'load', 0))
    site.api.pace.load = 2


@pytest.mark.parametrize('store', ['east', 'west'])
def test_a_request_whose_lock_is_taken_over_is_not_a_failed_copy(site, store):
    steal_the_lock(site, {**TO_EAST, 'stores': [store]})
    site.copy()
    assert site.record().holds('west')
    assert glance_api.ABORTED in {t.message for t in site.api.tasks.values()}


def test_after_the_copy_that_took_the_lock_ours_is_requested_once_more(site):
    steal_the_lock(site)
    site.copy()
    assert site.statuses == [202, 202]


def test_a_lock_lost_again_and_again_is_requested_until_it_is_kept(site):
    request = site.glance.request_copy

    def contested(*question):
        if len(site.statuses) < 3:
            steal_the_lock(site, {**TO_EAST, 'stores': ['east']})
            site.image.locations.pop('east', None)
        return request(*question)

    site.glance.request_copy = contested
    site.copy()
    assert site.statuses == [202] * 4


def test_a_lost_lock_is_warned_of_once_with_what_was_seen(site, caplog):
    site.api.pace.upload = 20
    steal_the_lock(site)
    site.copy()
    (warning,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    theirs, ours = list(site.api.tasks)[:2]
    assert f'{ours} is failure, "{glance_api.ABORTED}"' in warning.getMessage()
    assert f'task {theirs} was seen to hold' in warning.getMessage()


def test_a_lock_lost_and_free_again_unseen_is_requested_at_once(site):
    # The other's copy took less time than passes between two polls.
    site.api.pace = glance_api.Pace(staging=0.1, upload=0.1)
    steal_the_lock(site)
    took = site.copy()
    assert site.statuses == [202, 202]
    assert took <= 1.2 * LIMITS.poll_interval + 1


def test_an_aged_lock_of_ours_that_was_taken_over_is_requested_again(site):
    site.clock.after(
        1, lambda: site.api._say(site.task, 'failure', glance_api.PREEMPTED)
    )
    site.clock.after(1, lambda: site.image.properties.pop(glance_api.LOCK))
    site.clock.after(1, site.api.kill)
    site.copy()
    assert site.statuses == [202, 202]


def test_a_task_that_vanishes_is_not_a_failed_copy(site):
    def vanish():
        site.api.kill()
        site.api.tasks.clear()
        del site.image.properties[glance_api.LOCK]

    site.clock.after(1, vanish)
    site.copy()
    assert site.statuses == [202, 202]


@pytest.mark.parametrize('remains', [False, True])
def test_tasks_that_vanish_each_time_are_requested_at_the_pace_of_polls(
    site, remains
):
    if remains:
        site.west.write(site.image.id, MIB)
    request = site.glance.request_copy

    def forgetful(*question):
        reply = request(*question)
        site.api.kill()
        site.api.tasks.clear()
        del site.image.properties[glance_api.LOCK]
        return reply

    site.glance.request_copy = forgetful
    with pytest.raises(exceptions.CopyTimedOut):
        site.copy()
    asked = [at for at, _, _ in site.api.requests]
    # What remains of a copy has a failure told soon, so polls come closer.
    assert min(gaps(asked)[8 if remains else 0 :]) >= LIMITS.poll_interval


def test_a_thief_that_dies_with_the_lock_is_taken_over_in_its_time(site):
    steal_the_lock(site, TO_WEST)
    site.clock.after(4, site.api.kill)
    with pytest.raises(exceptions.CopyStalled):
        site.copy()
    site.clock.advance(3700)
    site.copy()
    assert site.record().holds('west')


def test_a_copy_that_failed_before_another_took_the_lock_has_failed(site):
    site.api.failures.append(('upload', 'disk full'))
    site.clock.after(2.5, site.somebody_copies)
    site.west.hidden = True
    site.api.failures.append(('upload', 'theirs'))
    with pytest.raises(exceptions.CopyFailed, match='disk full'):
        site.copy()


def test_a_failed_copy_whose_lock_was_seen_is_not_excused_by_the_next(site):
    # East takes the lock when our copy has failed and dropped it.
    site.west.hidden = True
    site.api.pace.staging = 20
    site.api.failures.append(('staging', glance_api.INTERNAL_ERROR))
    site.clock.after(20.3, lambda: site.somebody_copies(TO_EAST))
    with pytest.raises(exceptions.CopyFailed, match='Internal Error'):
        site.copy()
    assert site.statuses == [202]


def test_a_lock_lost_as_the_copy_begins_is_requested_again_once(site):
    # Glance then says what it says of any fault of its own.
    def overtake():
        site.image.properties[glance_api.LOCK] = 'of-the-thief'
        site.clock.after(
            1, lambda: site.api._say(site.task, 'failure', 'Internal Error')
        )
        site.api.kill()
        site.clock.after(20, lambda: site.image.properties.pop('lock', None))
        site.clock.after(20, site.image.properties.clear)

    site.west.hidden = True
    site.clock.after(1, overtake)
    site.copy()
    assert site.statuses == [202, 202]


def test_a_thief_that_fails_to_our_store_does_not_fail_our_request(site):
    site.api.failures.append(('upload', 'of the thief'))
    steal_the_lock(site, TO_WEST)
    site.copy()
    assert site.statuses == [202, 202, 202]


def test_a_queued_task_that_lost_its_lock_is_not_waited_for(site):
    release = site.api.occupy('glance-a')
    site.clock.after(
        1, lambda: site.image.properties.update({glance_api.LOCK: 'theirs'})
    )
    site.clock.after(40, site.image.properties.clear)
    site.clock.after(41, release)
    site.copy()
    assert site.statuses == [202, 202]


def test_a_thief_at_work_is_waited_for_where_remains_of_a_copy_lie(site):
    site.west.write(site.image.id, MIB)
    site.api.pace.upload = 200
    steal_the_lock(site, TO_EAST)
    site.clock.after(100, lambda: site.west.remove(site.image.id))
    site.copy(stall_timeout=60)
    assert site.record().holds('west')


def test_a_task_that_vanishes_behind_a_lock_is_noticed_and_said(site, caplog):
    def vanish():
        ours = site.image.properties[glance_api.LOCK]
        del site.image.properties[glance_api.LOCK]
        site.api.kill()
        site.api.import_image(site.glance.requester, site.image.id, TO_EAST)
        del site.api.tasks[ours]

    site.api.pace.upload = 60
    site.clock.after(1, vanish)
    site.copy()
    (warning,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert warning.getMessage().count('its task is gone.') == 1
    assert site.statuses == [202, 202]


def test_after_a_lost_lock_the_one_that_has_it_is_not_asked_to_let_go(site):
    site.api.pace.upload = 60
    steal_the_lock(site)
    site.copy()
    assert 409 not in site.statuses


def test_a_lock_never_seen_with_another_does_not_excuse_a_failure(site):
    site.api.failures.append(('staging', glance_api.INTERNAL_ERROR))
    with pytest.raises(exceptions.CopyFailed, match='Internal Error'):
        site.copy()
    assert site.statuses == [202]


# Queued


@pytest.fixture
def busy():
    """A site whose one thread for tasks is busy with another image."""
    site = Site(task_threads=1)
    site.other = site.api.add_image('file')
    site.api.pace.staging = 440
    site.api.import_image(SOMEBODY, site.other.id, TO_WEST, 'glance-a')
    site.clock.advance(1)
    site.api.pace.staging = 2
    return site


def logged(caplog, words):
    return [line for line in caplog.messages if words in line]


def test_a_copy_of_ours_that_is_queued_is_not_stalled(busy):
    took = busy.copy()
    assert took > 440
    assert busy.statuses[1:] == [202]


def test_a_queued_copy_is_said_to_be_queued_once_with_its_task(busy, caplog):
    caplog.set_level(logging.INFO)
    began = busy.clock.utcnow()
    busy.copy()
    (line,) = logged(caplog, 'queued')
    assert busy.task.id in line
    assert f'since {began:%H:%M:%S} UTC' in line
    assert 'a copy to store west' in line


def test_a_copy_that_begins_at_once_is_not_said_to_be_queued(site, caplog):
    caplog.set_level(logging.INFO)
    site.api.pace.staging = 60
    site.copy()
    assert logged(caplog, 'queued') == []


def test_a_queued_copy_is_polled_at_most_once_an_interval(busy):
    busy.copy()
    queued = [at for at in busy.glance.polls if at < 1000 + 440]
    assert min(gaps(queued)) >= LIMITS.poll_interval
    assert min(gaps(busy.glance.task_polls)) >= LIMITS.poll_interval


def test_a_queued_copy_outlives_a_stall_timeout_below_the_interval(busy):
    assert busy.copy(stall_timeout=3) > 440


def test_a_queued_copy_over_what_lies_in_the_cluster_is_not_stalled(busy):
    # The rest of another copy: Glance trips over it once it has begun.
    busy.west.complete(busy.image.id)
    busy.api.failures += [('', ''), ('upload', 'it exists')]
    with pytest.raises(exceptions.CopyFailed, match='it exists'):
        busy.copy()


@pytest.mark.parametrize('store', ['west', 'east'])
def test_a_lock_whose_task_is_queued_is_not_stalled(busy, store, caplog):
    caplog.set_level(logging.INFO)
    busy.api.import_image(
        busy.glance.requester,
        busy.image.id,
        {**TO_WEST, 'stores': [store]},
        'glance-a',
    )
    busy.copy()
    (line,) = logged(caplog, 'queued')
    assert f'a copy to store {store}' in line
    assert busy.record().holds('west')


def test_a_lock_whose_queued_task_we_may_not_see_is_not_stalled(busy):
    busy.somebody_copies(endpoint='glance-a')
    busy.copy()
    assert busy.record().holds('west')


def test_a_queued_copy_that_dies_when_it_has_begun_stalls(busy):
    busy.clock.after(450 + 2, busy.api.kill)
    began = busy.clock.now
    with pytest.raises(exceptions.CopyStalled):
        busy.copy(timeout=1200)
    assert busy.clock.now - began <= 452 + 3 * 18 + LIMITS.stall_timeout


def test_at_the_timeout_a_queued_copy_is_said_to_be_queued(busy):
    with pytest.raises(exceptions.CopyQueued) as caught:
        busy.copy(timeout=400)
    said = str(caught.value)
    task = busy.task
    assert f'queued in Glance since {task.updated_at:%H:%M:%S} UTC' in said
    assert f'as task {task.id}' in said
    assert 'stalled' not in said


# Other holders of the lock


@pytest.mark.parametrize(
    ('method', 'words'),
    [
        (None, 'the hashing of a new location'),
        ('web-download', 'an import of method web-download'),
        ('glance-direct', 'an import of method glance-direct'),
    ],
)
def test_an_image_held_by_something_else_is_waited_for(
    site, method, words, caplog
):
    caplog.set_level(logging.INFO)
    task = site.api.hold(site.image, 450, method=method)
    assert 450 < site.copy() < 600
    assert site.record().holds('west')
    (line,) = logged(caplog, 'is held by')
    assert words in line
    assert task.id in line


def test_something_else_that_we_may_not_see_is_waited_for(site, caplog):
    caplog.set_level(logging.INFO)
    site.api.hold(site.image, 450, owner='somebody-else')
    assert 450 < site.copy() < 600
    assert logged(caplog, 'is held by') == []


def test_something_else_outlives_a_stall_timeout_below_the_interval(site):
    site.api.hold(site.image, 300)
    site.copy(stall_timeout=3)
    assert site.record().holds('west')


def test_at_the_timeout_something_else_is_named_with_its_task(site):
    task = site.api.hold(site.image, 10_000)
    with pytest.raises(exceptions.ImageHeld) as caught:
        site.copy()
    assert 'held by the hashing of a new location' in str(caught.value)
    assert task.id in str(caught.value)


def test_at_the_timeout_a_task_that_we_may_not_see_is_said_to_be_one(site):
    task = site.api.hold(site.image, 10_000, owner='somebody-else')
    with pytest.raises(exceptions.ImageHeld) as caught:
        site.copy()
    assert 'held by a task that Glance does not show' in str(caught.value)
    assert task.id in str(caught.value)


def test_at_the_timeout_a_copy_to_another_store_is_named(site):
    site.api.pace.upload = 1200
    site.api.import_image(site.glance.requester, site.image.id, TO_EAST)
    with pytest.raises(exceptions.ImageHeld, match='a copy to store east'):
        site.copy()


REFUSALS = {
    'request_copy': lambda: exceptions.CopyForbidden('an-image', 'west'),
    'record': lambda: exceptions.TokenRefused('an-image'),
}


def refuse(site, question, seconds):
    """Glance takes tokens for none: Keystone does not answer it."""
    ask, until = getattr(site.glance, question), site.clock.now + seconds

    def refused(*given):
        if site.clock.now < until:
            raise REFUSALS[question]()
        return ask(*given)

    setattr(site.glance, question, refused)


@pytest.mark.parametrize('question', REFUSALS)
def test_who_is_refused_for_a_moment_asks_again(site, question):
    record = site.record()
    refuse(site, question, 6 if question == 'request_copy' else 16)
    site.copy(record)
    assert site.statuses == [202]


def test_so_does_one_whose_token_is_refused_with_the_request(site):
    ask = site.glance.request_copy
    refusals = [exceptions.TokenRefused(site.image.id)]

    def refused(*question):
        if refusals:
            raise refusals.pop()
        return ask(*question)

    site.glance.request_copy = refused
    site.copy()
    assert site.statuses == [202]


@pytest.mark.parametrize('question', REFUSALS)
def test_who_is_refused_for_longer_is(site, question):
    # Without a look, polls are the only way to learn of its end.
    site.west.hidden = True
    site.api.pace.upload = 100
    record = site.record()
    refuse(site, question, 10_000)
    began = site.clock.now
    with pytest.raises(type(REFUSALS[question]())):
        site.copy(record)
    waited = 0 if question == 'request_copy' else LIMITS.poll_interval
    assert site.clock.now - began - waited <= 2 * pace.SETTLES_IN


@pytest.mark.parametrize('holder', ['something else', 'a copy'])
def test_a_dead_holder_is_not_blamed_where_the_copy_is_forbidden(site, holder):
    site.west.hidden = holder == 'something else'
    if holder == 'a copy':
        site.somebody_copies()
        site.clock.advance(1)
    else:
        site.api.hold(site.image, 10_000, owner='somebody-else')
    site.api.kill()
    refuse(site, 'request_copy', 10_000)
    with pytest.raises(exceptions.CopyForbidden):
        site.copy()


def test_at_the_timeout_it_is_said_when_a_dead_holder_can_be_replaced(site):
    site.api.hold(site.image, 10_000)
    site.api.kill()
    kept_until = site.task.updated_at + task_values.LOCK_KEPT
    with pytest.raises(exceptions.ImageHeld) as caught:
        site.copy()
    assert f'taken over at {kept_until:%Y-%m-%d %H:%M:%S} UTC' in str(
        caught.value
    )


def test_a_lock_left_by_something_else_that_has_ended_stalls(site):
    task = site.api.hold(site.image, 10_000)
    site.api._say(task, 'failure', 'its data is gone')
    with pytest.raises(exceptions.CopyStalled, match=task.id):
        site.copy()


def requests_to(site, store='west'):
    """Seconds from now, with the answers, of the requests for a copy."""
    return [
        (at - 1000, status)
        for at, asked, status in site.api.requests
        if asked == store
    ]


@pytest.mark.parametrize('owner', ['demo', 'somebody-else'])
def test_a_lock_that_expires_during_the_wait_is_taken_over(site, owner):
    site.api.hold(site.image, 100_000, owner=owner)
    site.copy(timeout=10_000)
    assert site.statuses == [409, 202]
    _, (at, _) = requests_to(site)
    assert 3600 <= at <= 3600 + 5 * LIMITS.poll_interval


def test_of_a_lock_taken_over_the_log_says_which_task_had_it(site, caplog):
    caplog.set_level(logging.INFO)
    task = site.api.hold(site.image, 100_000)
    site.copy(timeout=10_000)
    (line,) = logged(caplog, 'may let another task have image')
    assert task.id in line
    assert 'the hashing of a new location' in line


def test_a_lock_that_is_old_already_is_taken_over_when_it_expires(site):
    site.api.hold(site.image, 100_000)
    site.clock.advance(3500)
    site.copy()
    assert site.statuses == [409, 202]
    assert site.clock.now <= 1000 + 3600 + 5 * LIMITS.poll_interval


@pytest.mark.parametrize('seconds', [-4000, -600, 600, 4000])
def test_whatever_our_clock_says_an_expired_lock_is_taken_over(site, seconds):
    site.api.hold(site.image, 100_000)
    site.clock.ahead = seconds
    site.copy(timeout=20_000)
    assert site.statuses[-1] == 202
    assert 409 in site.statuses
    assert len(site.statuses) <= 4
    assert requests_to(site)[-1][0] <= 2 * 3600 + 10 * LIMITS.poll_interval


def test_who_shows_no_sign_of_life_to_us_is_asked_for_once_an_hour(site):
    task = site.api.hold(site.image, 100_000, owner='somebody-else')

    def sign_of_life():
        task.updated_at = site.clock.utcnow()
        if site.clock.now < 1000 + 8000:
            site.clock.after(50, sign_of_life)

    sign_of_life()
    site.copy(timeout=20_000)
    assert site.statuses == [409, 409, 409, 409, 202]
    asked = [at for at, _ in requests_to(site)]
    assert min(gaps(asked)[1:]) >= 3600


def test_a_long_copy_that_shows_signs_of_life_is_left_its_lock(site):
    site.api.pace.upload = 9000
    site.api.import_image(site.glance.requester, site.image.id, TO_EAST)
    site.copy(timeout=20_000)
    assert site.statuses == [409, 202]
    assert site.record().stores == {'file', 'east', 'west'}


def test_a_glance_away_as_a_lock_expires_is_asked_when_it_is_back(site):
    site.api.hold(site.image, 100_000)
    request = site.glance.request_copy

    def restarting(*question):
        if 1000 + 3600 <= site.clock.now < 1000 + 3800:
            raise exceptions.GlanceUnavailable(1)
        return request(*question)

    site.glance.request_copy = restarting
    site.copy(timeout=10_000)
    assert site.statuses == [409, 202]
    assert site.clock.now <= 1000 + 3800 + 6 * LIMITS.poll_interval


def test_our_own_copy_that_is_queued_by_the_dead_is_requested_again(busy):
    busy.clock.after(30, busy.api.kill)
    busy.copy(timeout=20_000)
    assert busy.statuses[1:] == [202, 202]
    *_, (began, _), (at, _) = requests_to(busy)
    assert began + 7200 <= at <= began + 7200 + 5 * LIMITS.poll_interval


def test_our_own_copy_that_is_queued_until_its_lock_expires_is_made(busy):
    release = busy.api.occupy('glance-a')
    busy.clock.after(7150, release)
    busy.copy(timeout=20_000)
    assert busy.statuses[1:] == [202]


def test_our_own_copy_that_has_begun_is_not_ended_by_ourselves(site):
    # Glance stages an image without a sign of life.
    site.api.pace.staging = 5000
    site.copy(timeout=20_000, stall_timeout=10_000)
    assert site.statuses == [202]


# Our copy fails


@pytest.mark.parametrize('reason', ['disk full', 'Connection to OSD lost'])
def test_a_failed_copy_is_reported_with_the_tasks_own_reason(site, reason):
    site.api.failures.append(('upload', reason))
    with pytest.raises(exceptions.CopyFailed, match=reason):
        site.copy()
    assert site.statuses == [202]


def test_a_failed_copy_is_reported_within_a_poll(site):
    site.api.failures.append(('upload', 'disk full'))
    began = site.clock.now
    with pytest.raises(exceptions.CopyFailed):
        site.copy()
    failed_at = began + 2.2
    assert site.clock.now - failed_at <= LIMITS.poll_interval * 1.2 + 0.2


def test_a_copy_that_failed_half_way_is_noticed_in_the_cluster(site):
    site.api.failures.append(('half-way', 'disk full'))
    began = site.clock.now
    with pytest.raises(exceptions.CopyFailed, match='disk full'):
        site.copy()
    assert site.clock.now - began < 6.2 + 2 * LIMITS.probe_interval


def test_a_copy_that_trips_over_what_lies_there_is_reported_at_once(site):
    site.west.write(site.image.id, MIB)
    site.api.failures.append(('upload', 'it exists'))
    began = site.clock.now
    with pytest.raises(exceptions.CopyFailed, match='it exists'):
        site.copy()
    # 0.2 s start and 2 s staging, then the next of ever rarer looks.
    assert site.clock.now - began <= 2.2 * 1.5
    assert len(site.glance.polls) <= 6


def test_a_failed_staging_sets_no_flag_and_is_reported_all_the_same(site):
    site.api.failures.append(('staging', glance_api.INTERNAL_ERROR))
    with pytest.raises(exceptions.CopyFailed, match='Internal Error'):
        site.copy()
    assert not site.record().failed
    assert site.record().importing


def test_a_lock_dropped_before_the_task_has_failed_is_waited_out(site):
    site.api.failures.append(('staging', 'no space in staging'))
    site.api.pace.close = 20
    with pytest.raises(exceptions.CopyFailed, match='no space in staging'):
        site.copy()


def test_a_task_that_is_never_closed_ends_in_a_stall(site):
    site.api.failures.append(('staging', 'never said'))
    site.api.pace.close = 10_000
    with pytest.raises(exceptions.CopyStalled):
        site.copy()
    assert min(gaps(site.glance.polls)) >= pace.FIRST_RECHECK
    assert len(site.glance.polls) < 40


def test_a_failure_without_a_reason_says_so(site):
    site.api.failures.append(('upload', ''))
    with pytest.raises(exceptions.CopyFailed, match='it gives no reason'):
        site.copy()


def test_our_task_is_found_among_those_of_the_same_nova_request(site):
    # Nova sends one request id with all it asks of Glance for one server.
    site.glance.requester = glance_api.Requester(
        service=True, request_id='req-of-nova'
    )
    for body, reason in [(TO_WEST, 'on the first host'), (TO_EAST, 'east')]:
        site.api.failures.append(('upload', reason))
        site.api.import_image(site.glance.requester, site.image.id, body)
        site.clock.advance(60)
    site.api.failures.append(('upload', 'on this host'))
    with pytest.raises(exceptions.CopyFailed, match='on this host'):
        site.copy()


def test_a_later_task_of_the_same_nova_request_for_another_store_is_not_ours(
    site,
):
    site.glance.requester = glance_api.Requester(
        service=True, request_id='req-of-nova'
    )
    site.api.failures.append(('upload', 'disk full'))
    # Ours has failed by then; this one is done before we look again.
    site.clock.after(
        3,
        lambda: site.api.import_image(
            site.glance.requester, site.image.id, TO_EAST
        ),
    )
    with pytest.raises(exceptions.CopyFailed, match='disk full'):
        site.copy()
    assert site.record().holds('east')


def test_our_task_is_found_without_the_id_of_our_request(site):
    # A proxy may drop it from the answer.
    request = site.glance.request_copy
    site.glance.request_copy = lambda *question: dataclasses.replace(
        request(*question), request_id=None
    )
    site.api.failures.append(('upload', 'disk full'))
    with pytest.raises(exceptions.CopyFailed, match='disk full'):
        site.copy()
    assert site.statuses == [202]


def test_a_task_that_glance_has_forgotten_is_a_failure(site):
    site.api.failures.append(('upload', 'disk full'))
    tasks = site.glance.tasks
    site.glance.tasks = lambda image: tasks(image) and ()
    with pytest.raises(exceptions.CopyFailed, match='its task is gone'):
        site.copy()


def test_a_success_without_the_image_is_a_failure(site):
    site.api.failures.append(('lost', ''))
    with pytest.raises(exceptions.CopyFailed, match='it says success'):
        site.copy()


def test_after_a_failure_the_next_boot_succeeds_with_the_old_flag_there(site):
    site.api.failures.append(('upload', 'image exists'))
    with pytest.raises(exceptions.CopyFailed):
        site.copy()
    assert site.record().failed == {'west'}
    site.copy()
    assert site.statuses == [202, 202]


# Our copy fails in one glance-api

FULL = ('staging', 'staging is full')
NO_FILE = ('staging', 'no such file')


def makers(site):
    """The glance-apis that were to make a copy, in turn."""
    return [task.endpoint for task in site.api.tasks.values()]


@pytest.fixture
def two(site):
    """A site with two glance-apis, of which the first makes no copy."""
    site.glance.endpoints = ['glance-a', 'glance-b']
    site.api.faults['glance-a'] = FULL
    return site


def test_a_copy_that_fails_in_one_glance_api_is_made_by_the_next(two):
    two.copy()
    assert two.record().holds('west')
    assert makers(two) == ['glance-a', 'glance-b']


def test_a_copy_that_fails_is_requested_of_the_next_at_once(two):
    two.copy()
    ((first, _, _), (second, _, _)) = two.api.requests
    # Known at the poll, an interval later.
    assert second - first <= 2.2 + LIMITS.poll_interval * 1.2


def test_each_glance_api_is_tried_once_and_the_error_names_what_each_said(two):
    two.api.faults['glance-b'] = NO_FILE
    with pytest.raises(exceptions.CopyFailed) as caught:
        two.copy()
    assert makers(two) == ['glance-a', 'glance-b']
    assert (
        'glance-api 1 of 2: staging is full; glance-api 2 of 2: no such file'
    ) in str(caught.value)


def test_no_copy_is_requested_while_another_of_ours_is_made(two):
    two.glance.endpoints.append('glance-c')
    two.api.faults['glance-b'] = ('half-way', 'the source is not reachable')
    two.copy()
    assert makers(two) == ['glance-a', 'glance-b', 'glance-c']
    assert two.statuses == [202] * 3


def test_the_next_boot_may_try_each_glance_api_again(two):
    two.api.faults['glance-b'] = NO_FILE
    for _ in range(2):
        with pytest.raises(exceptions.CopyFailed):
            two.copy()
    assert makers(two) == ['glance-a', 'glance-b'] * 2


def test_with_one_glance_api_a_failure_is_final_as_soon_as_it_is_known(site):
    site.api.faults['glance-a'] = FULL
    failed = []
    site.clock.after(2.2, lambda: failed.append(site.clock.now))
    with pytest.raises(exceptions.CopyFailed, match='image: staging is full'):
        site.copy(poll_interval=0.5)
    assert site.clock.now - failed[0] <= 1


def test_all_tries_together_have_the_time_of_one(two):
    two.api.pace.staging = 400
    began = two.clock.now
    with pytest.raises(exceptions.CopyTimedOut):
        two.copy(stall_timeout=500)
    assert makers(two) == ['glance-a', 'glance-b']
    assert two.clock.now - began == pytest.approx(LIMITS.timeout)


def test_a_copy_by_the_next_glance_api_has_its_time_to_begin(two):
    two.api.pace.staging = 200
    two.copy(stall_timeout=250)
    assert two.record().holds('west')


def test_each_failure_is_logged_with_its_glance_api_and_task(two, caplog):
    two.api.faults['glance-b'] = NO_FILE
    with pytest.raises(exceptions.CopyFailed):
        two.copy()
    errors = [r for r in caplog.records if r.levelno == logging.ERROR]
    for record, (task, maker) in zip(
        errors, two.api.tasks.items(), strict=True
    ):
        assert task in record.getMessage()
        assert f'glance-api {maker.endpoint}' in record.getMessage()
        assert maker.message in record.getMessage()


def test_where_something_lay_in_the_pool_before_no_other_glance_api_is_tried(
    two,
):
    two.west.write(two.image.id, MIB)
    two.api.faults.clear()
    two.api.failures.append(('upload', 'it exists'))
    # Glance leaves what it has not made.
    two.west.remove = lambda _name: None
    with pytest.raises(exceptions.CopyFailed, match='image: it exists'):
        two.copy()
    assert makers(two) == ['glance-a']


def test_what_a_failed_copy_has_left_is_in_the_way_of_the_next(two):
    two.api.faults['glance-a'] = ('half-way', 'the cluster is full')
    two.west.remove = lambda _name: None
    with pytest.raises(exceptions.CopyFailed, match='the cluster is full'):
        two.copy()
    assert makers(two) == ['glance-a']


def test_what_lay_in_the_pool_and_is_gone_is_in_nobodys_way(two):
    two.west.write(two.image.id, MIB)
    two.clock.after(1, lambda: two.west.remove(two.image.id))
    two.copy()
    assert makers(two) == ['glance-a', 'glance-b']


def test_where_the_pool_cannot_be_looked_into_the_next_is_tried(two):
    two.west.hidden = True
    two.copy()
    assert makers(two) == ['glance-a', 'glance-b']


def test_over_quota_in_one_glance_api_is_over_quota_in_all(two):
    two.api.faults['glance-a'] = ('staging', glance_api.OVER_QUOTA)
    with pytest.raises(exceptions.CopyFailed, match='413 Request Entity'):
        two.copy()
    assert makers(two) == ['glance-a']


@pytest.mark.parametrize(
    ('change', 'error'),
    [
        (lambda site: site.api.images.clear(), exceptions.ImageGone),
        (
            lambda site: setattr(site.image, 'status', 'deactivated'),
            exceptions.NotActive,
        ),
    ],
)
def test_for_an_image_that_is_not_there_any_more_no_other_is_tried(
    two, change, error
):
    two.clock.after(2, lambda: change(two))
    with pytest.raises(error):
        two.copy()
    assert makers(two) == ['glance-a']


def test_a_request_that_lost_its_lock_does_not_use_up_its_glance_api(two):
    two.glance.endpoints = ['glance-b', 'glance-a']
    steal_the_lock(two)
    two.copy()
    assert two.record().holds('west')
    assert [maker for maker in makers(two) if maker] == ['glance-b'] * 2


def test_somebody_elses_copy_goes_before_the_next_glance_apis(two):
    # Long enough for its lock to be seen.
    two.api.pace.staging = 20
    two.clock.after(20.3, lambda: two.somebody_copies(TO_EAST))
    two.copy()
    assert makers(two) == ['glance-a', '', 'glance-b']


def test_the_failed_task_is_not_taken_for_that_of_the_next_request(two):
    # One request id for all of a server; and no two clocks are the same.
    two.glance.requester = glance_api.Requester(
        service=True, request_id='req-of-nova'
    )
    two.api.faults['glance-b'] = NO_FILE

    def ahead():
        two.task.updated_at += datetime.timedelta(hours=1)

    two.clock.after(5, ahead)
    with pytest.raises(exceptions.CopyFailed, match='no such file'):
        two.copy()


def without_answer(two, times, fault=None, pause=0):
    """Have the second glance-api leave some questions unanswered.

    :param pause: seconds that it wants to pass until the next
    """
    request = two.glance.request_copy
    asked = []

    def silent(image, store, sources, avoid):
        if avoid:
            asked.append(two.clock.now)
            if len(asked) <= times:
                raise exceptions.GlanceUnavailable(1, fault, pause)
        return request(image, store, sources, avoid)

    two.glance.request_copy = silent
    return asked


def test_the_next_glance_api_is_asked_again_if_it_does_not_answer(two):
    without_answer(two, times=2)
    two.copy()
    assert makers(two) == ['glance-a', 'glance-b']


@pytest.mark.parametrize(
    ('fault', 'shown'),
    [(None, 'it does not answer'), ('HTTP 500 oops', 'HTTP 500 oops')],
)
def test_a_next_glance_api_that_never_does_it_ends_the_boot_soon(
    two, fault, shown
):
    asked = without_answer(two, times=1000, fault=fault)
    with pytest.raises(exceptions.CopyFailed) as caught:
        two.copy()
    assert asked[-1] - asked[0] <= 2 * LIMITS.poll_interval
    said = str(caught.value)
    assert 'glance-api 1 of 2: staging is full' in said
    assert f'glance-api 2 of 2: {shown}' in said


def test_a_next_glance_api_that_forbids_it_is_not_the_first_to_blame(two):
    request = two.glance.request_copy

    def forbid(image, store, sources, avoid):
        if avoid:
            raise exceptions.CopyForbidden(image, store)
        return request(image, store, sources, avoid)

    two.glance.request_copy = forbid
    with pytest.raises(exceptions.CopyFailed) as caught:
        two.copy()
    said = str(caught.value)
    assert 'glance-api 1 of 2: staging is full' in said
    assert 'glance-api 2 of 2: it forbids the copy' in said


@pytest.mark.parametrize('fault', [None, 'HTTP 500 oops'])
def test_pauses_that_the_next_glance_api_wants_are_not_its_silence(two, fault):
    asked = without_answer(two, times=4, fault=fault, pause=15)
    two.copy()
    assert makers(two) == ['glance-a', 'glance-b']
    assert min(gaps(asked)) == 15


def test_a_next_glance_api_that_wants_pauses_for_ever_is_said_to(two):
    asked = without_answer(two, times=1000, pause=15)
    with pytest.raises(exceptions.CopyFailed) as caught:
        two.copy()
    said = str(caught.value)
    assert 'glance-api 2 of 2: it wants no request yet' in said
    assert 'does not answer' not in said
    # The last poll is later than the last request.
    assert LIMITS.stall_timeout - asked[-1] + asked[0] <= 2 * 15


def sources_asked_for(site):
    """The stores to copy from that go with each request, as they go."""
    request = site.glance.request_copy
    seen = []

    def listening(image, store, sources, avoid):
        seen.append(sources)
        return request(image, store, sources, avoid)

    site.glance.request_copy = listening
    return seen


def test_the_request_says_which_stores_can_be_copied_from(site):
    seen = sources_asked_for(site)
    site.copy()
    assert seen == [{'file'}]


def test_behind_a_lock_the_image_may_yet_come_to_other_stores(site):
    site.api.pace.staging = 200
    site.somebody_copies(TO_EAST)
    seen = sources_asked_for(site)
    site.copy()
    assert seen == [frozenset(), {'file', 'east'}]


# Nothing moves


def test_a_copy_that_does_not_move_ends_after_the_stall_timeout(site):
    site.clock.after(4, site.api.kill)
    began = site.clock.now
    with pytest.raises(exceptions.CopyStalled) as caught:
        site.copy()
    assert site.clock.now - began <= 5 + 3 * 18 + LIMITS.stall_timeout
    said = str(caught.value)
    assert site.task.id in said
    assert f'since {site.task.updated_at:%H:%M:%S} UTC' in said
    until = site.task.updated_at + task_values.LOCK_KEPT
    assert f'at {until:%Y-%m-%d %H:%M:%S} UTC' in said


def test_a_stalled_copy_is_polled_at_most_once_an_interval(site):
    site.clock.after(1, site.api.kill)
    with pytest.raises(exceptions.CopyStalled):
        site.copy()
    asked = site.glance.polls[:-1]  # the last is a last look
    assert min(gaps(asked)) >= LIMITS.poll_interval
    assert min(gaps(site.glance.task_polls[:-1])) >= LIMITS.poll_interval


def test_a_stall_behind_a_task_that_we_may_not_see_says_what_is_known(site):
    site.somebody_copies()
    site.clock.after(4, site.api.kill)
    with pytest.raises(exceptions.CopyStalled) as caught:
        site.copy()
    assert site.task.id in str(caught.value)
    assert 'an hour after its last sign of life' in str(caught.value)


def test_a_stall_behind_another_projects_task_names_no_project(site):
    site.somebody_copies()
    site.clock.after(4, site.api.kill)
    with pytest.raises(exceptions.CopyStalled) as caught:
        site.copy()
    assert 'Glance does not show that task' in str(caught.value)
    assert 'project' not in str(caught.value)


def test_a_stall_without_a_lock_claims_none(site):
    site.api.failures.append(('staging', 'never said'))
    site.api.pace.close = 10_000
    with pytest.raises(exceptions.CopyStalled) as caught:
        site.copy()
    assert f'{site.task.id} has not ended' in str(caught.value)
    assert 'holds the image' not in str(caught.value)


def test_a_task_that_was_never_begun_keeps_its_lock_for_two_hours(site):
    # Whether its glance-api is dead or busy, nobody can tell.
    site.clock.after(0.1, site.api.kill)
    with pytest.raises(exceptions.CopyQueued) as caught:
        site.copy()
    until = site.task.updated_at + task_values.LOCK_KEPT_PENDING
    assert f'at {until:%Y-%m-%d %H:%M:%S} UTC' in str(caught.value)


def test_a_lock_that_has_expired_is_taken_over_by_the_next_boot(site):
    site.clock.after(4, site.api.kill)
    with pytest.raises(exceptions.CopyStalled):
        site.copy()
    site.clock.advance(3600)
    site.west.remove(site.image.id)
    site.copy()
    assert site.statuses == [202, 202]


def test_bytes_in_the_cluster_reset_the_stall_clock(site):
    # A MiB every few seconds; the task speaks too seldom.
    site.api.pace.upload = 400
    site.copy(stall_timeout=20)


def test_the_tasks_message_resets_the_stall_clock(site):
    # The cluster cannot be looked into, so only the task tells.
    site.west.hidden = True
    site.api.pace.upload = 400
    site.copy(stall_timeout=100)


def test_the_tasks_time_stamp_resets_the_stall_clock(site):
    site.west.hidden = True
    site.api.pace.staging = 250

    def sign_of_life():
        site.task.updated_at = site.clock.utcnow()
        site.clock.after(50, sign_of_life)

    site.clock.after(50, sign_of_life)
    site.copy(stall_timeout=100)


def test_a_change_of_the_record_resets_the_stall_clock(site):
    # Three of somebody's copies to other stores, each shorter than a stall.
    site.west.hidden = True
    site.api.pace.staging = 30
    site.api.pace.upload = 40
    site.api.stores['north'] = None
    site.somebody_copies(TO_EAST)
    record = site.glance.record

    def next_one(image):
        found = record(image)
        if not found.lock and 'north' not in found.stores:
            site.somebody_copies({**TO_EAST, 'stores': ['north']})
        return found

    site.glance.record = next_one
    assert site.copy(stall_timeout=100) > 140


def test_who_takes_over_from_another_boot_has_not_stalled_yet(site):
    # That one has waited, and given up for a reason of its own.
    site.waited = LIMITS.stall_timeout + 1
    site.copy()


def test_waiting_for_another_boot_counts_for_the_timeout(site):
    site.waited = LIMITS.timeout - 5
    with pytest.raises(exceptions.CopyTimedOut):
        site.copy()


def test_who_has_waited_for_the_whole_time_looks_once_and_requests_none(site):
    site.waited = LIMITS.timeout
    with pytest.raises(exceptions.CopyTimedOut):
        site.copy()
    assert len(site.glance.polls) <= 2
    assert site.statuses == []


def test_who_has_waited_for_the_whole_time_takes_what_is_there(site):
    site.waited = LIMITS.timeout
    site.clock.after(
        1,
        lambda: site.api.import_image(
            site.glance.requester, site.image.id, TO_WEST
        ),
    )
    assert site.copy() == 0


def test_staging_shows_nothing_and_may_take_as_long_as_a_stall(site):
    site.api.pace.staging = LIMITS.stall_timeout - 20
    site.copy()


def test_a_copy_that_moves_too_slowly_ends_after_the_timeout(site):
    site.api.pace.upload = 1200
    began = site.clock.now
    with pytest.raises(exceptions.CopyTimedOut, match='% copied') as caught:
        site.copy()
    assert site.clock.now - began == pytest.approx(LIMITS.timeout)
    assert '600 s' in str(caught.value)


def test_a_copy_that_ends_after_the_timeout_serves_the_next_boot(site):
    site.api.pace.upload = 700
    with pytest.raises(exceptions.CopyTimedOut):
        site.copy()
    site.clock.advance(200)
    assert site.copy() < 1
    assert site.statuses == [202, 400]


def test_a_copy_that_ends_with_the_timeout_is_good(site):
    # The last look is after the last probe.
    site.west.hidden = True
    site.api.pace.upload = LIMITS.timeout - 3
    site.copy(poll_interval=70)


def test_waiting_for_others_counts_for_the_timeout(site):
    site.api.pace.upload = 450
    site.api.import_image(site.glance.requester, site.image.id, TO_EAST)
    began = site.clock.now
    with pytest.raises(exceptions.CopyTimedOut):
        site.copy()
    assert site.clock.now - began == pytest.approx(LIMITS.timeout)


def test_another_projects_copy_to_another_store_is_not_taken_for_stalled(site):
    # Neither its task nor its bytes are for us to see.
    site.api.pace.upload = 400
    site.somebody_copies(TO_EAST)
    site.copy(timeout=1200)
    assert site.statuses == [409, 202]


def test_nor_is_one_to_our_store_where_arrivals_are_hidden(site):
    site.west.hidden = True
    site.api.pace.upload = LIMITS.stall_timeout + 100
    site.somebody_copies()
    site.copy()
    assert site.statuses == [202, 409]


def test_nor_is_one_that_is_at_another_store_first(site):
    site.api.pace.upload = LIMITS.stall_timeout + 100
    site.somebody_copies(import_to('east', 'west', all_or_none=True))
    site.copy(timeout=1200)
    assert site.record().stores == {'file', 'east', 'west'}


def test_nor_is_it_while_the_cluster_does_not_answer(site):
    site.api.pace.upload = LIMITS.stall_timeout + 100
    site.somebody_copies()
    site.clock.after(5, lambda: setattr(site.west, 'away', True))
    site.clock.after(
        LIMITS.stall_timeout + 50, lambda: setattr(site.west, 'away', False)
    )
    site.copy()
    assert site.statuses == [202, 409]


def test_what_shows_nothing_at_all_ends_with_the_timeout(site):
    # Dead or alive, nobody can tell.
    site.west.hidden = True
    site.somebody_copies()
    site.clock.after(4, site.api.kill)
    with pytest.raises(exceptions.CopyTimedOut) as caught:
        site.copy()
    assert not isinstance(caught.value, exceptions.ImageHeld)


def test_a_timeout_shorter_than_an_interval_is_kept(site):
    site.api.pace.upload = 100
    began = site.clock.now
    with pytest.raises(exceptions.CopyTimedOut):
        site.copy(timeout=5)
    assert site.clock.now - began == pytest.approx(5)


# Glance is away


def test_glance_away_for_20_seconds_while_copying_is_survived(site):
    def away(gone):
        site.glance.away = gone

    site.clock.after(5, lambda: away(True))
    site.clock.after(25, lambda: away(False))
    site.api.pace.upload = 40
    site.copy()
    assert site.statuses == [202]


def fail_at_requests(
    site, times, fault='HTTP 500 Internal Server Error', pause=0
):
    """Have no glance-api do what it is requested; returns when it was.

    :param pause: seconds that it wants to pass until the next
    """
    request = site.glance.request_copy
    asked = []

    def failing(*question):
        asked.append(site.clock.now)
        if len(asked) <= times:
            raise exceptions.GlanceUnavailable(1, fault, pause)
        return request(*question)

    site.glance.request_copy = failing
    return asked


def test_a_request_that_glance_answers_with_500_is_repeated_soon(site):
    fail_at_requests(site, 2)
    assert site.copy() < 10.2 + 1.5
    assert site.statuses == [202]


def test_pauses_do_not_count_for_requests_that_glance_answers_with_500(site):
    asked = fail_at_requests(site, 4, pause=15)
    site.copy()
    assert site.statuses == [202]
    assert gaps(asked) == [15] * 4


def test_a_request_that_failed_after_a_minute_is_repeated_too(site):
    asked = fail_at_requests(site, 2)
    failing = site.glance.request_copy

    def slow(*question):
        if len(asked) == 1:
            # One glance-api has failed at once, the other does not answer.
            site.clock.advance(60)
        return failing(*question)

    site.glance.request_copy = slow
    site.copy()
    assert site.statuses == [202]


def test_so_is_one_that_failed_after_the_time_of_a_stall(site):
    asked = fail_at_requests(site, 1)
    failing = site.glance.request_copy

    def slow(*question):
        if not asked:
            site.clock.advance(LIMITS.stall_timeout + 20)
        return failing(*question)

    site.glance.request_copy = slow
    site.copy()
    assert site.statuses == [202]


def test_requests_that_glance_always_answers_with_500_end_soon(site):
    asked = fail_at_requests(site, 1000)
    began = site.clock.now
    with pytest.raises(exceptions.RequestFailed, match='HTTP 500 Internal'):
        site.copy()
    assert gaps(asked) == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4]
    assert site.clock.now - began < 13


def test_requests_that_always_fail_are_the_hosts_error(site):
    fail_at_requests(site, 1000)
    with pytest.raises(exceptions.HostError) as caught:
        site.copy()
    for word in ('lock', 'task', 'project', 'stalled'):
        assert word not in str(caught.value)


def test_requests_that_fail_while_all_of_glance_does_are_survived(site):
    # The first before it comes back, the second after.
    fail_at_requests(site, 2, 'HTTP 503 Service Unavailable')
    site.glance.away = True
    site.clock.after(60, lambda: setattr(site.glance, 'away', False))
    site.copy()
    assert site.record().holds('west')


def test_requests_that_fail_behind_a_lock_leave_the_wait_for_it(site):
    site.api.pace.staging = 200
    fail_at_requests(site, 1000)
    site.somebody_copies()
    site.copy()
    assert site.record().holds('west')


def test_requests_that_fail_behind_something_else_do_not_end_the_wait(site):
    fail_at_requests(site, 5)
    site.api.hold(site.image, 400)
    assert site.copy() > 400
    assert site.record().holds('west')


def test_requests_that_get_no_answer_are_rare_and_end_as_such(site):
    asked = fail_at_requests(site, 1000, fault=None)
    with pytest.raises(exceptions.GlanceUnavailable):
        site.copy()
    assert min(gaps(asked)) >= LIMITS.poll_interval
    assert len(asked) <= 2 + LIMITS.stall_timeout / LIMITS.poll_interval


@pytest.mark.parametrize('fault', [None, 'HTTP 500 Internal Server Error'])
def test_requests_that_fail_do_not_pile_up_behind_a_lock(site, fault):
    site.somebody_copies()
    site.clock.after(1, site.api.kill)
    asked = fail_at_requests(site, 1000, fault=fault)
    with pytest.raises(exceptions.CopyStalled):
        site.copy()
    assert min(gaps(asked)) >= LIMITS.poll_interval


def test_glance_away_when_asked_is_asked_again(site):
    site.glance.away = True
    site.clock.after(20, lambda: setattr(site.glance, 'away', False))
    site.copy()
    assert site.statuses == [202]


def test_glance_away_is_asked_at_most_once_an_interval(site):
    site.clock.after(5, lambda: setattr(site.glance, 'away', True))
    site.west.hidden = True
    site.api.pace.upload = 1000
    with pytest.raises(exceptions.GlanceUnavailable):
        site.copy()
    assert min(gaps(site.glance.polls[:-1])) >= LIMITS.poll_interval


@pytest.mark.parametrize('seconds', [1, 5])
def test_glance_away_as_the_image_arrives_is_asked_again_soon(site, seconds):
    due = 0.2 + 2 + 8
    site.clock.after(due, lambda: setattr(site.glance, 'away', True))
    site.clock.after(
        due + seconds, lambda: setattr(site.glance, 'away', False)
    )
    assert site.copy() <= due + 2 * seconds + LIMITS.probe_interval + 0.2


def test_glance_away_for_long_as_the_image_arrives_is_asked_seldom(site):
    site.clock.after(10.2, lambda: setattr(site.glance, 'away', True))
    site.clock.after(160, lambda: setattr(site.glance, 'away', False))
    site.copy()
    # Doubling from 0.2 s on, then at the interval.
    assert len(site.glance.polls) <= 8 + 160 / LIMITS.poll_interval


def test_glance_away_for_good_ends_the_wait_with_that_reason(site):
    site.clock.after(5, lambda: setattr(site.glance, 'away', True))
    site.clock.after(5, site.api.kill)
    began = site.clock.now
    with pytest.raises(exceptions.GlanceUnavailable):
        site.copy()
    assert site.clock.now - began <= LIMITS.stall_timeout + 20


def test_glance_away_while_its_tasks_are_asked_for_is_survived(site):
    site.api.failures.append(('upload', 'disk full'))
    tasks = site.glance.tasks
    failures = [exceptions.GlanceUnavailable(2)]

    def once_away(image):
        if failures:
            raise failures.pop()
        return tasks(image)

    site.glance.tasks = once_away
    with pytest.raises(exceptions.CopyFailed, match='disk full'):
        site.copy()


def test_a_store_that_no_glance_knows_is_said_at_once(site):
    def unknown(_image, store, *_question):
        raise exceptions.StoreUnknown(store)

    site.glance.request_copy = unknown
    began = site.clock.now
    with pytest.raises(exceptions.StoreUnknown):
        site.copy()
    assert site.clock.now == began


# The image changes


def gone_for(site, times):
    """Have Glance say so often that there is no such image; how it is asked"""
    record = site.glance.record
    asked = []

    def ask(image, *, confirm=False):
        asked.append((site.clock.now, confirm))
        if len(asked) <= times:
            raise exceptions.ImageGone(image)
        return record(image)

    site.glance.record = ask
    return asked


def test_our_copy_is_not_given_up_for_one_word_that_the_image_is_gone(site):
    asked = gone_for(site, 1)
    site.copy()
    assert site.statuses == [202]
    (first, _), (second, confirmed), *_ = asked
    assert second - first == pytest.approx(pace.GONE_RECHECK)
    assert confirmed


def test_an_image_that_is_gone_at_the_second_look_is_gone(site):
    asked = gone_for(site, 2)
    with pytest.raises(exceptions.ImageGone):
        site.copy()
    assert len(asked) == 2


@pytest.mark.parametrize('times', [1, 2])
def test_nor_for_one_word_of_whoever_is_asked_for_its_task(site, times):
    site.api.pace.staging = 60
    tasks = site.glance.tasks
    left = [exceptions.ImageGone(site.image.id)] * times

    def ask(image):
        if left:
            raise left.pop()
        return tasks(image)

    site.glance.tasks = ask
    if times == 1:
        site.copy()
    else:
        with pytest.raises(exceptions.ImageGone):
            site.copy()
    assert site.statuses == [202]


def test_an_image_that_is_gone_in_somebodys_copy_is_gone_at_once(site):
    site.somebody_copies(TO_EAST)
    asked = gone_for(site, 1)
    with pytest.raises(exceptions.ImageGone):
        site.copy()
    assert len(asked) == 1


def test_an_image_deleted_meanwhile_ends_the_wait_at_the_next_poll(site):
    site.clock.after(1, lambda: site.api.images.clear())
    site.api.pace.staging = 100
    began = site.clock.now
    with pytest.raises(exceptions.ImageGone):
        site.copy()
    assert site.clock.now - began <= LIMITS.poll_interval + 1


def warnings(caplog):
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno == logging.WARNING
    ]


def test_where_the_copy_of_a_deleted_image_stays_is_said(site, caplog):
    site.clock.after(4, site.api.images.clear)
    with pytest.raises(exceptions.ImageGone):
        site.copy()
    (line,) = warnings(caplog)
    rbd_image = f'images/{site.image.id}'
    assert f'in cluster fsid-west as RBD image {rbd_image}' in line
    assert f'"rbd rm {rbd_image}"' in line
    # It is so: Glance goes on with what it has begun.
    site.clock.advance(100)
    arrival = site.west.arrival('images', site.image.id)
    assert arrival.complete


def test_of_a_deleted_image_that_another_copies_nothing_is_said_to_stay(
    site, caplog
):
    site.somebody_copies()
    site.clock.after(4, site.api.images.clear)
    with pytest.raises(exceptions.ImageGone):
        site.copy()
    assert warnings(caplog) == []


def test_an_image_hidden_from_the_user_meanwhile_ends_the_wait(site):
    def hide():
        site.image.visibility = 'private'
        site.image.owner = 'somebody-else'

    site.api.pace.staging = 100
    site.clock.after(1, hide)
    with pytest.raises(exceptions.ImageGone):
        site.copy()


def test_an_image_deactivated_meanwhile_ends_the_wait(site):
    site.clock.after(1, lambda: setattr(site.image, 'status', 'deactivated'))
    site.api.pace.staging = 100
    with pytest.raises(exceptions.NotActive, match='deactivated'):
        site.copy()


def test_an_image_that_is_not_active_is_not_asked_for_without_end(site):
    # Glance says 409 to the request, as if it were busy.
    request = site.glance.request_copy

    def deactivated(*question):
        site.image.status = 'deactivated'
        return request(*question)

    site.glance.request_copy = deactivated
    with pytest.raises(exceptions.NotActive):
        site.copy()
    assert site.statuses == [409]


# The server is deleted


def test_a_server_deleted_meanwhile_ends_the_wait_at_the_next_poll(site):
    site.api.pace.upload = 200
    site.clock.after(20, lambda: setattr(site, 'deleted', True))
    began = site.clock.now
    with pytest.raises(RuntimeError, match='the server was deleted'):
        site.copy()
    assert site.clock.now - began <= 20 + LIMITS.poll_interval + 1


def test_a_server_deleted_while_others_copy_ends_the_wait_as_soon(site):
    site.api.pace.upload = 500
    site.somebody_copies(TO_EAST)
    site.clock.after(300, lambda: setattr(site, 'deleted', True))
    began = site.clock.now
    with pytest.raises(RuntimeError, match='the server was deleted'):
        site.copy()
    assert site.clock.now - began <= 300 + 1.2 * LIMITS.poll_interval + 1


def test_who_is_about_to_go_on_does_not_ask_after_its_server_once_more(site):
    assert site.copy() < LIMITS.poll_interval
    assert site.checks == []


def test_a_server_deleted_while_glance_is_away_ends_the_wait_too(site):
    site.clock.after(1, lambda: setattr(site.glance, 'away', True))
    site.clock.after(2, lambda: setattr(site, 'deleted', True))
    with pytest.raises(RuntimeError, match='the server was deleted'):
        site.copy()


@pytest.mark.parametrize('question', ['record', 'request_copy'])
def test_a_pause_that_glance_wants_is_made(site, question):
    ask = getattr(site.glance, question)
    asked = []
    refused = [exceptions.GlanceUnavailable(1, wait=40)]

    def busy(*arguments):
        asked.append(site.clock.now)
        if refused:
            raise refused.pop()
        return ask(*arguments)

    setattr(site.glance, question, busy)
    # The copy is seen to be done meanwhile, which is no reason to ask.
    site.copy()
    assert asked[1] - asked[0] >= 40


def test_a_pause_that_glance_wants_does_not_outlast_the_wait(site):
    def busy(_image):
        raise exceptions.GlanceUnavailable(1, wait=40)

    site.glance.record = busy
    began = site.clock.now
    with pytest.raises(exceptions.GlanceUnavailable):
        site.copy(timeout=60)
    assert site.clock.now - began == 60


# The cluster


def test_without_a_look_into_the_cluster_the_polls_do(site, caplog):
    site.west.hidden = True
    took = site.copy()
    assert took <= LIMITS.poll_interval * 1.2
    assert site.west.looks == 1
    assert [r.levelno for r in caplog.records].count(logging.WARNING) == 1
    assert 'glance_rbd_pool' in caplog.text


def test_without_a_look_into_the_cluster_nobody_wakes_in_vain(site):
    site.west.hidden = True
    site.api.pace.upload = 400
    site.copy()
    assert min(site.clock.naps) >= 1


def test_a_cluster_that_does_not_answer_is_looked_into_again(site):
    site.west.away = True
    site.clock.after(5, lambda: setattr(site.west, 'away', False))
    assert site.copy() < 12


def test_a_cluster_away_for_the_whole_copy_leaves_the_polls(site, caplog):
    site.west.away = True
    assert site.copy() <= LIMITS.poll_interval * 1.2
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


def test_a_complete_image_left_over_in_the_cluster_is_not_trusted(site):
    # Its snapshot is there, but Glance does not know of it.
    site.west.complete(site.image.id)
    site.api.failures.append(('upload', 'image exists'))
    with pytest.raises(exceptions.CopyFailed, match='image exists'):
        site.copy()
    # Asked at once, doubling, then at the interval: never without end.
    assert len(site.glance.polls) <= 8


def test_the_wait_never_spins(site):
    site.api.pace.upload = 100
    site.copy()
    assert site.clock.naps.count(0) <= 1
    assert all(nap >= 0 for nap in site.clock.naps)


def test_the_progress_of_a_copy_to_another_store_is_not_told(site, caplog):
    caplog.set_level(logging.INFO)
    site.api.pace.upload = 400
    site.api.import_image(site.glance.requester, site.image.id, TO_EAST)
    with pytest.raises(exceptions.ImageHeld):
        site.copy(timeout=390)
    assert logged(caplog, '% copied') == []
    (line,) = logged(caplog, 'is held by')
    assert 'a copy to store east' in line


def test_of_an_import_to_several_stores_ours_alone_is_told(site, caplog):
    caplog.set_level(logging.INFO)
    site.west.hidden = True
    site.api.pace.upload = 200
    both = import_to('east', 'west', all_or_none=False)
    site.api.import_image(site.glance.requester, site.image.id, both)
    first = []
    site.clock.after(195, lambda: first.extend(logged(caplog, '% copied')))
    site.copy()
    assert first
    assert all(line.endswith('0% copied (0 MiB)') for line in first)
    assert 'MiB/s' in logged(caplog, '% copied')[-1]


def test_what_a_copy_that_failed_had_brought_is_not_of_the_next(site, caplog):
    caplog.set_level(logging.INFO)
    site.west.hidden = True
    site.api.pace.upload = 300
    site.api.failures.append(('half-way', 'disk full'))
    site.api.import_image(site.glance.requester, site.image.id, TO_WEST)
    site.copy()
    (accepted,) = [
        number
        for number, line in enumerate(caplog.messages)
        if 'Glance copies image' in line
    ]
    before, after = (
        [line for line in part if '% copied' in line]
        for part in (caplog.messages[:accepted], caplog.messages[accepted:])
    )
    assert '(102 MiB)' in before[-1]
    assert after[0].endswith('0% copied (0 MiB)')
    assert 'MiB/s' in after[-1]


def test_bytes_that_are_gone_are_no_progress_any_more(site, caplog):
    caplog.set_level(logging.INFO)
    site.api.pace.upload = 100
    site.api.failures.append(('half-way', 'disk full'))
    site.somebody_copies()
    site.clock.after(52.5, site.somebody_copies)
    site.clock.after(20, lambda: setattr(site.api.pace, 'staging', 60))
    seen = []
    site.clock.after(110, lambda: seen.extend(logged(caplog, '% copied')))
    site.copy()
    assert 'MiB/s' in seen[0]
    assert seen[-1].endswith('0% copied (0 MiB)')


def test_no_progress_is_made_up_where_bytes_are_not_known(site, caplog):
    caplog.set_level(logging.INFO)
    look = site.west.arrival

    def without_object_map(pool, image):
        seen = look(pool, image)
        return arrival.Arrival(seen.exists, seen.complete, allocated=None)

    site.west.arrival = without_object_map
    site.api.pace.upload = 50
    site.copy()
    lines = [line for line in caplog.messages if '% copied' in line]
    assert lines
    assert all(line.endswith('0% copied (0 MiB)') for line in lines)
