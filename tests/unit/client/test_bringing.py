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

"""Images are brought into stores, whatever comes in between."""

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
import pytest

from nova_rbd_multistore_client import bringing
from nova_rbd_multistore_client import errors
from nova_rbd_multistore_client import glance
from nova_rbd_multistore_client import patience
from tests.fakes import image_proxy
from tests.unit.client import conftest

Outcome = bringing.Outcome


class Report:
    def __init__(self):
        self.said = []
        self.percents = []

    def says(self, _image, words):
        self.said.append(words)

    def copied(self, _image, store, how_far):
        self.percents.append((store, str(how_far)))

    def ends(self, result):
        pass


@pytest.fixture
def report():
    return Report()


@pytest.fixture
def bring(service, proxy, report):
    """Brings images, by ids, into stores; outcomes by store and words."""

    def bring(ids, *stores, arrived=None, **wishes):
        clock = proxy.clock
        work = bringing.Bringing(
            service,
            report,
            bringing.Wishes(**{'wait': True, **wishes}),
            bringing.Time(clock, clock.sleep, clock.utcnow),
            arrived,
        )
        wanted = [(service.image(image_id), stores) for image_id in ids]
        return work.run(wanted)

    return bring


def outcomes(results):
    return {result.store: result.outcome for result in results}


def requests(proxy):
    return [path for method, path in proxy.asked if method == 'POST']


def test_what_is_missing_is_requested_at_once_and_awaited(bring, proxy):
    image_id = proxy.add('debian', 'file')
    results = bring([image_id], 'file', 'east', 'west')
    assert outcomes(results) == {
        'file': Outcome.THERE,
        'east': Outcome.COPIED,
        'west': Outcome.COPIED,
    }
    assert proxy.held(image_id) == {'file', 'east', 'west'}
    assert len(requests(proxy)) == 1


def test_nothing_is_requested_that_is_there(bring, proxy):
    image_id = proxy.add('debian', 'east')
    assert outcomes(bring([image_id], 'east')) == {'east': Outcome.THERE}
    assert requests(proxy) == []


def test_without_waiting_a_request_is_all(bring, proxy):
    image_id = proxy.add('debian', 'file')
    results = bring([image_id], 'east', wait=False)
    assert outcomes(results) == {'east': Outcome.REQUESTED}
    assert proxy.clock.now < 1


def test_given_again_it_follows_the_copy_that_is_under_way(bring, proxy):
    image_id = proxy.add('debian', 'file')
    bring([image_id], 'east', wait=False)
    proxy.clock.sleep(3)
    assert outcomes(bring([image_id], 'east', wait=False)) == {
        'east': Outcome.COPYING
    }
    assert outcomes(bring([image_id], 'east')) == {'east': Outcome.COPIED}
    assert len(requests(proxy)) == 1


def test_an_image_that_is_copied_elsewhere_is_waited_for(bring, proxy, report):
    image_id = proxy.add('debian', 'file')
    bring([image_id], 'east', wait=False)
    assert outcomes(bring([image_id], 'west')) == {'west': Outcome.COPIED}
    assert len(requests(proxy)) == 2
    assert any('waiting' in words for words in report.said)


def test_an_image_that_is_held_is_told_as_such_without_waiting(bring, proxy):
    image_id = proxy.add('debian', 'file')
    proxy.lock(image_id, 'east')
    (result,) = bring([image_id], 'west', wait=False)
    assert result.outcome is Outcome.HELD
    assert not result.well
    assert 'locked until 13:00 UTC' in str(result)


def test_the_lock_of_a_dead_task_is_taken_over_when_it_has_aged(bring, proxy):
    image_id = proxy.add('debian', 'file')
    proxy.lock(image_id, 'west')
    assert outcomes(bring([image_id], 'west')) == {'west': Outcome.COPIED}
    assert proxy.clock.now > 3600


def test_the_lock_of_a_task_that_is_gone_is_taken_over_in_a_minute(
    bring, proxy
):
    image_id = proxy.add('debian', 'file', os_glance_import_task='gone')
    assert outcomes(bring([image_id], 'west')) == {'west': Outcome.COPIED}
    assert proxy.clock.now < 120


def test_another_projects_task_is_waited_for(bring, proxy):
    image_id = proxy.add('debian', 'file')
    task = proxy.lock(image_id, 'east')
    proxy.tasks_shown = False

    def end(seconds, sleep=proxy.clock.sleep):
        sleep(seconds)
        image = proxy.images[image_id]
        if proxy.clock.now > 200 and image.get(image_proxy.LOCK) == task['id']:
            del image[image_proxy.LOCK]

    proxy.clock.sleep = end
    assert outcomes(bring([image_id], 'west')) == {'west': Outcome.COPIED}
    assert len(requests(proxy)) > 1


def test_a_store_that_fails_leaves_the_others_well(bring, proxy):
    image_id = proxy.add('debian', 'file')
    proxy.failures['east'] = 'no space'
    assert outcomes(bring([image_id], 'east', 'west')) == {
        'east': Outcome.FAILED,
        'west': Outcome.COPIED,
    }


def test_of_a_single_store_the_reason_is_told(bring, proxy):
    image_id = proxy.add('debian', 'file')
    proxy.failures['east'] = 'no space'
    (result,) = bring([image_id], 'east')
    assert str(result) == 'failed: no space'


def test_what_failed_is_requested_once_more_and_alone(bring, proxy):
    image_id = proxy.add('debian', 'file')
    proxy.failures['east'] = 'no space'
    results = bring([image_id], 'east', 'west', retry=True)
    assert [str(result) for result in results] == [
        'copied',
        'failed: no space',
    ]
    assert len(requests(proxy)) == 2


def test_an_old_failure_does_not_keep_from_another_request(bring, proxy):
    image_id = proxy.add('debian', 'file', os_glance_failed_import='east')
    assert outcomes(bring([image_id], 'east')) == {'east': Outcome.COPIED}


def test_a_user_without_the_right_is_told_so(bring, proxy):
    image_id = proxy.add('debian', 'file')
    proxy.admin = False
    with pytest.raises(errors.NotAllowed, match='copy_image'):
        bring([image_id], 'east')


def test_an_image_without_data_fails_and_the_others_go_on(bring, proxy):
    queued = proxy.add('queued', status='queued')
    image_id = proxy.add('debian', 'file')
    results = bring([queued, image_id], 'east')
    assert [(result.image.name, result.outcome) for result in results] == [
        ('queued', Outcome.FAILED),
        ('debian', Outcome.COPIED),
    ]


def test_an_image_that_is_deleted_on_the_way_fails(bring, proxy):
    image_id = proxy.add('debian', 'file')

    def delete(seconds, sleep=proxy.clock.sleep):
        proxy.images.pop(image_id, None)
        proxy._copies.clear()
        sleep(seconds)

    proxy.clock.sleep = delete
    (result,) = bring([image_id], 'east')
    assert result.outcome is Outcome.FAILED
    assert 'No image' in result.words


def test_so_many_images_are_copied_at_a_time(bring, proxy):
    ids = [proxy.add(f'image-{number}', 'file') for number in range(4)]
    bring(ids, 'east', parallel=2)
    # Two rounds, each of a start and a copy.
    assert 2 * 11 <= proxy.clock.now < 3 * 11


def test_progress_is_told_with_rate_and_time_left(bring, proxy, report):
    proxy.pace = 100
    image_id = proxy.add('debian', 'file')
    bring([image_id], 'east')
    _, words = report.percents[len(report.percents) // 2]
    assert 'MiB/s' in words
    assert 's left' in words


def test_what_a_cluster_shows_is_told_rather_than_glances_word(
    bring, proxy, report
):
    image_id = proxy.add('debian', 'file')
    bring([image_id], 'east', arrived=lambda *_: 64 << 20)
    assert report.percents[0] == ('east', '25% copied (64 MiB)')


def test_while_glance_says_nothing_it_is_asked_again(bring, proxy, report):
    image_id = proxy.add('debian', 'file')
    conftest.give_no_answer(proxy, 'silent_until', 100.0)
    assert outcomes(bring([image_id], 'west')) == {'west': Outcome.COPIED}
    assert any('does not answer' in words for words in report.said)


def test_a_glance_that_goes_on_to_say_nothing_is_given_up(bring, proxy):
    image_id = proxy.add('debian', 'file')
    conftest.give_no_answer(proxy, 'silent_until', 24 * 3600.0)
    with pytest.raises(errors.Unreachable, match='http://glance-1'):
        bring([image_id], 'west')
    assert patience.PATIENCE < proxy.clock.now < 2 * patience.PATIENCE


def test_an_image_that_had_to_wait_for_others_is_asked_for_again_too(
    bring, proxy, report, monkeypatch
):
    ids = [proxy.add(name, 'file') for name in ('debian', 'ubuntu')]
    proxy.pace = 300.0

    def go_away(_result):
        if not proxy.away_until:
            proxy.away_until = proxy.clock.now + 10.0

    monkeypatch.setattr(report, 'ends', go_away)
    results = bring(ids, 'west', parallel=1)
    assert [result.outcome for result in results] == [Outcome.COPIED] * 2


@settings(deadline=None)
@given(
    wanted=st.lists(
        st.sampled_from(['file', 'east', 'west']), min_size=1, unique=True
    ),
    there=st.frozensets(st.sampled_from(['file', 'east', 'west']), min_size=1),
    fails=st.frozensets(st.sampled_from(['file', 'east', 'west'])),
    retry=st.booleans(),
)
def test_each_store_has_one_outcome_and_glance_agrees(
    wanted, there, fails, retry
):
    proxy = image_proxy.ImageProxy('file', 'east', 'west')
    proxy.failures = dict.fromkeys(fails, 'no space')
    image_id = proxy.add('debian', *sorted(there))
    service = glance.Glance(proxy)
    work = bringing.Bringing(
        service,
        Report(),
        bringing.Wishes(wait=True, retry=retry),
        bringing.Time(proxy.clock, proxy.clock.sleep, proxy.clock.utcnow),
    )
    found = outcomes(work.run([(service.image(image_id), wanted)]))
    assert set(found) == set(wanted)
    for store, outcome in found.items():
        assert (outcome is Outcome.THERE) == (store in there)
        assert (outcome is Outcome.FAILED) == (
            store in fails and store not in there
        )
        assert (store in proxy.held(image_id)) != (outcome is Outcome.FAILED)
