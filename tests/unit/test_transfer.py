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

"""An image on its way into further stores, on a clock of its own."""

import itertools
import logging

import pytest

from nova_rbd_multistore import exceptions
from nova_rbd_multistore import pace
from nova_rbd_multistore import transfer
from tests.fakes import clock as clocks
from tests.fakes import cluster as clusters
from tests.fakes import glance_api
from tests.fakes import image_service

LIMITS = pace.Limits(
    poll_interval=15, probe_interval=0.5, timeout=600, stall_timeout=300
)


class Site:
    """A host on site west, with a snapshot in its store."""

    def __init__(self):
        self.clock = clocks.Clock()
        self.west = clusters.Cluster('fsid-west')
        self.api = glance_api.GlanceApi(
            self.clock,
            {
                'file': None,
                'east': clusters.Cluster('fsid-east'),
                'west': self.west,
            },
        )
        self.image = self.api.add_image('west')
        self.glance = image_service.ImageService(self.api)

    def transfer(self, *stores):
        """Bring the image into stores; the seconds that it took."""
        began = self.clock.now
        transfer.Transfer(
            self.image.id, stores, self.glance, LIMITS, self.clock.time()
        ).run()
        return self.clock.now - began

    @property
    def requested(self):
        return [store for _, store, _ in self.api.requests]

    @property
    def stores(self):
        return set(self.image.locations)


@pytest.fixture
def site():
    return Site()


def errors(caplog, level=logging.ERROR):
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= level and record.name == transfer.__name__
    ]


def test_an_image_is_copied_to_one_store_after_another(site, caplog):
    site.transfer('east', 'file')
    assert site.stores == {'west', 'east', 'file'}
    assert site.requested == ['east', 'file']
    assert errors(caplog) == []


def test_a_store_that_has_the_image_gets_no_copy(site):
    site.transfer('west', 'east')
    assert site.requested == ['east']


def test_glance_is_polled_once_an_interval(site):
    site.api.pace.upload = 150.0
    seconds = site.transfer('east')
    assert len(site.glance.polls) <= 2 + seconds / LIMITS.poll_interval


def test_the_cluster_of_the_host_is_not_looked_at(site):
    site.transfer('east')
    assert site.west.looks == 0


def test_a_copy_may_take_longer_than_boots_would_wait(site, caplog):
    site.api.pace.upload = 3 * LIMITS.timeout
    site.transfer('east')
    assert site.stores == {'west', 'east'}
    assert errors(caplog) == []


def test_another_projects_copy_is_waited_for_though_it_shows_nothing(
    site, caplog
):
    site.api.pace.upload = 2 * LIMITS.stall_timeout
    site.api.import_image(
        glance_api.Requester(project='somebody-else', service=True),
        site.image.id,
        {'method': {'name': 'copy-image'}, 'stores': ['east']},
    )
    site.transfer('east')
    assert site.stores == {'west', 'east'}
    assert errors(caplog) == []


def test_a_copy_that_fails_is_an_error_and_the_others_are_made(site, caplog):
    site.api.failures = [('upload', glance_api.INTERNAL_ERROR)]
    site.transfer('east', 'file')
    assert site.stores == {'west', 'file'}
    (said,) = errors(caplog)
    assert f'Cannot copy snapshot {site.image.id} to store east' in said
    assert glance_api.INTERNAL_ERROR in said


def test_a_glance_that_is_away_is_an_error(site, caplog):
    site.glance.away = True
    site.transfer('east')
    (said,) = errors(caplog)
    assert 'to store east' in said


def unanswered(site, *answers):
    """Have the first questions for the record end in these errors."""
    record, left = site.glance.record, list(answers)

    def ask(image, *, confirm=False):
        if left:
            site.glance.polls.append(site.clock.now)
            raise left.pop(0)
        return record(image, confirm=confirm)

    site.glance.record = ask


def test_a_question_without_an_answer_is_asked_again(site, caplog):
    unanswered(site, *[exceptions.GlanceUnavailable(2)] * 3)
    site.transfer('east', 'file')
    assert site.stores == {'west', 'east', 'file'}
    assert errors(caplog) == []


def test_a_pause_that_glance_asks_for_is_made(site, caplog):
    unanswered(site, exceptions.GlanceUnavailable(2, wait=40.0))
    site.transfer('east')
    first, second, *_ = site.glance.polls
    assert second - first == 40
    assert errors(caplog) == []


def test_a_glance_that_stays_away_is_given_up_in_time(site, caplog):
    site.glance.away = True
    assert site.transfer('east') == pytest.approx(LIMITS.stall_timeout, abs=1)
    (said,) = errors(caplog)
    assert 'No glance-api answered' in said


def test_while_an_image_has_no_data_glance_is_asked_ever_less_often(site):
    site.image.status = 'queued'
    site.clock.after(200, lambda: setattr(site.image, 'status', 'active'))
    site.transfer('east')
    polls = [at for at in site.glance.polls if at <= 1000 + 200]
    pauses = [after - before for before, after in itertools.pairwise(polls)]
    assert pauses[0] == pytest.approx(pace.FIRST_RECHECK)
    assert pauses[-1] == pytest.approx(pace.EAGERNESS * 200, rel=0.1)
    assert len(polls) < 200


def test_an_image_that_is_deleted_is_no_error(site, caplog):
    caplog.set_level(logging.INFO)
    del site.api.images[site.image.id]
    site.transfer('east', 'file')
    assert errors(caplog) == []
    assert len([r for r in caplog.records if 'is gone' in r.message]) == 1


def make_direct_snapshot(site):
    """One whose location Glance adds in three seconds."""
    site.api.pace.start = 3.0
    site.image = site.api.begin_image()
    site.api.add_location(
        site.glance.requester,
        site.image.id,
        site.west.complete(site.image.id),
    )


def test_an_image_is_waited_for_until_it_has_its_data(site):
    """As that of a direct snapshot, which Glance then hashes."""
    make_direct_snapshot(site)
    site.transfer('east')
    assert site.stores == {'west', 'east'}


def test_an_image_that_gets_no_data_is_an_error(site, caplog):
    site.image = site.api.begin_image()
    seconds = site.transfer('east')
    assert seconds == pytest.approx(LIMITS.stall_timeout, abs=1)
    assert site.requested == []
    (said,) = errors(caplog)
    assert 'is queued, not active' in said


# Until an image has its data


def wait_until_active(site):
    began = site.clock.now
    record = transfer.wait_until_active(
        site.image.id, site.glance, LIMITS.timeout, site.clock.time()
    )
    return record, site.clock.now - began


def test_the_record_of_an_image_with_its_data_is_there_at_once(site):
    record, seconds = wait_until_active(site)
    assert record.active
    assert seconds == 0


REFUSALS = [exceptions.TokenRefused, exceptions.ImageGone]


@pytest.mark.parametrize('refusal', REFUSALS)
def test_a_refusal_of_a_moment_is_no_answer(site, refusal):
    """From it, Nova would delete a snapshot that is done."""
    unanswered(site, *[refusal(site.image.id)] * 4)
    record, seconds = wait_until_active(site)
    assert record.active
    assert seconds < 0.2 * pace.SETTLES_IN


@pytest.mark.parametrize('refusal', REFUSALS)
def test_one_that_stays_is_believed_when_it_is_confirmed(site, refusal):
    asked = []

    def ask(image, *, confirm=False):
        asked.append(confirm)
        raise refusal(image)

    site.glance.record = ask
    began = site.clock.now
    with pytest.raises(refusal):
        wait_until_active(site)
    assert site.clock.now - began == pytest.approx(pace.SETTLES_IN)
    assert asked[-1]
    assert not any(asked[:-1])
    assert len(asked) < 10


def test_so_is_one_in_the_middle_of_a_wait(site):
    site.image.status = 'queued'
    refused = [exceptions.TokenRefused(site.image.id)] * 2
    site.clock.after(50, lambda: unanswered(site, *refused))
    site.clock.after(60, lambda: setattr(site.image, 'status', 'active'))
    record, seconds = wait_until_active(site)
    assert record.active
    assert 60 <= seconds < 65


def test_that_of_a_direct_snapshot_is_waited_for(site):
    make_direct_snapshot(site)
    record, seconds = wait_until_active(site)
    assert record.active
    assert 3.0 <= seconds < 4.0


def test_nobody_waits_for_ever_until_an_image_has_its_data(site):
    site.image = site.api.begin_image()
    record, seconds = wait_until_active(site)
    assert record.status == 'queued'
    assert LIMITS.timeout <= seconds < 1.1 * LIMITS.timeout


def test_a_long_wait_costs_few_polls_more_than_a_short_one(site):
    site.image = site.api.begin_image()
    wait_until_active(site)
    assert len(site.glance.polls) < 250


def test_behind_a_glance_api_that_has_died_the_copy_is_made_all_the_same(
    site, caplog
):
    site.api.hold(site.image, 10_000_000)
    seconds = site.transfer('east')
    assert site.stores == {'west', 'east'}
    assert seconds <= 3600 + 6 * LIMITS.poll_interval
    assert errors(caplog) == []


# Before an image is deleted


def wait_until_free(site, check=lambda: None):
    began = site.clock.now
    transfer.wait_until_free(
        site.image.id, site.glance, LIMITS, site.clock.time(), check
    )
    return site.clock.now - began


def test_an_image_that_nobody_copies_can_be_deleted_at_once(site):
    assert wait_until_free(site) == 0


def test_an_image_that_is_copied_is_not_to_be_deleted_yet(site):
    site.glance.request_copy(site.image.id, 'east')
    site.clock.advance(1)
    wait_until_free(site)
    assert site.stores == {'west', 'east'}


@pytest.mark.parametrize('refusal', REFUSALS)
def test_nor_for_a_refusal_of_a_moment(site, refusal):
    site.glance.request_copy(site.image.id, 'east')
    site.clock.advance(1)
    unanswered(site, *[refusal(site.image.id)] * 2)
    wait_until_free(site)
    assert site.stores == {'west', 'east'}


def test_an_image_that_is_hashed_can_be_deleted_at_once(site):
    site.api.hold(site.image, 60.0)
    assert wait_until_free(site) == 0


def test_nobody_waits_for_ever_until_an_image_is_deleted(site, caplog):
    site.glance.request_copy(site.image.id, 'east')
    site.clock.advance(1)
    site.api.kill()
    assert LIMITS.timeout <= wait_until_free(site) < 1.1 * LIMITS.timeout
    (said,) = errors(caplog, logging.WARNING)
    assert 'while it is copied to east' in said


def test_nor_for_a_server_that_need_not_wait(site):
    class Deleted(Exception):
        """As Nova's of a server that is deleted."""

    def check():
        if site.clock.now >= began + 5:
            raise Deleted

    began = site.clock.now
    site.api.pace.upload = 300.0
    site.glance.request_copy(site.image.id, 'east')
    site.clock.advance(1)
    with pytest.raises(Deleted):
        wait_until_free(site, check)
    assert site.clock.now < began + 10
