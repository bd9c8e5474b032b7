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

"""One glance-api is asked what it would do, and does nothing."""

import json

import pytest
import requests

from nova_rbd_multistore import answers
from nova_rbd_multistore import probing
from nova_rbd_multistore import rounds
from tests.fakes import endpoint as endpoints
from tests.fakes import network


@pytest.fixture
def probe(probes):
    return probes[0]


@pytest.fixture
def image(cloud):
    return cloud.api.add_image('file', 'east').id


@pytest.fixture
def empty_image(cloud):
    return cloud.api.begin_image().id


def unchanged(cloud):
    """What nobody's question may change."""
    return json.dumps(
        [
            [image.__dict__ for image in cloud.api.images.values()],
            [task.__dict__ for task in cloud.api.tasks.values()],
        ],
        default=str,
    )


def test_it_is_named_without_credentials(cloud):
    probe = probing.Probe('http://me:secret@glance-a:9292/?x', None, None)
    assert probe.name == 'http://glance-a:9292/'


def test_one_that_is_well_has_no_illness(probe):
    assert probe.illness() == ''


def test_one_that_is_sick_says_why(cloud, probe):
    cloud.endpoints[0].answers['/healthcheck'] = endpoints.SICK
    assert probe.illness() == 'its health check says 503: FILE PATH MISSING'


def test_one_without_a_health_check_has_no_illness(cloud, probe):
    cloud.endpoints[0].answers['/healthcheck'] = endpoints.NO_HEALTHCHECK
    assert probe.illness() == ''


def test_one_that_is_away_gives_no_answer(cloud, probe):
    cloud.endpoints[0].fault = requests.ConnectionError('refused')
    for ask in (probe.illness, probe.stores, probe.images):
        with pytest.raises(rounds.NoAnswer, match='refused'):
            ask()


def test_its_stores_are_named_and_the_reserved_ones_too(cloud, probe):
    cloud.api.stores['os_glance_tasks_store'] = None
    assert probe.stores() == {'file', 'east', 'west', 'os_glance_tasks_store'}


def test_one_without_several_stores_has_none(cloud, probe):
    cloud.endpoints[0].answers['/info/stores'] = endpoints.error_page(
        404, 'Multi backend is not supported'
    )
    assert probe.stores() == frozenset()


def test_images_come_page_by_page(cloud, probe, monkeypatch):
    monkeypatch.setattr(probing, 'PAGE', 2)
    made = [cloud.api.add_image(size=size).id for size in (3, 1, 2)]
    first = probe.images(status='active', sort='size:desc')
    assert [record.id for record in first] == [made[0], made[2]]
    rest = probe.images(first[-1].id, status='active', sort='size:desc')
    assert [record.id for record in rest] == [made[1]]


@pytest.mark.parametrize('body', [b'[]', b'{"images": 1}', b'{"images": [1]}'])
def test_what_is_no_list_of_images_is_refused(cloud, probe, body):
    cloud.endpoints[0].answers['/images'] = network.Answer(200, body)
    with pytest.raises(answers.MalformedAnswer):
        probe.images()


def test_locations_are_told_by_the_service_token(probe, image):
    (one, other) = probe.locations(image)
    assert {one.store, other.store} == {'file', 'east'}
    assert not probe.shows_locations_alone(image)


def test_locations_that_the_policy_hides_are_none(cloud, probe, image):
    cloud.api.admits_locations = lambda _: False
    assert probe.locations(image) is None


def test_locations_that_users_see_themselves_are_noticed(cloud, probe, image):
    cloud.api.admits_locations = lambda _: True
    assert probe.shows_locations_alone(image)


def test_a_copy_is_admitted_by_the_service_token(probe, image):
    assert probe.copies(image)[0] is probing.Policy.ADMITS
    assert not probe.copies_alone(image)


def test_a_copy_that_the_policy_forbids_is_noticed(cloud, probe, image):
    cloud.api.admits_copy = lambda _: False
    assert probe.copies(image)[0] is probing.Policy.FORBIDS


def test_copies_that_users_may_make_themselves_are_noticed(
    cloud, probe, image
):
    cloud.api.admits_copy = lambda _: True
    assert probe.copies_alone(image)


def test_without_the_import_method_the_policy_is_not_asked(
    cloud, probe, image
):
    cloud.api.import_methods = {'glance-direct'}
    policy, said = probe.copies(image)
    assert policy is probing.Policy.UNASKED
    assert 'copy-image' in said


def test_beyond_a_quota_the_policy_is_not_asked(cloud, probe, image):
    cloud.api.limits['demo'] = 1
    policy, said = probe.copies(image)
    assert policy is probing.Policy.UNASKED
    assert 'over a limit' in said


def test_an_image_that_is_held_does_not_hide_the_policy(cloud, probe, image):
    cloud.api.hold(cloud.api.images[image], 100)
    assert probe.copies(image)[0] is probing.Policy.ADMITS


def test_setting_a_location_is_admitted_or_forbidden(
    cloud, probe, empty_image
):
    assert probe.sets_locations(empty_image) is probing.Policy.ADMITS
    cloud.api.admits_setting = lambda _: False
    assert probe.sets_locations(empty_image) is probing.Policy.FORBIDS


def test_of_an_image_with_data_that_policy_is_not_asked(probe, image):
    assert probe.sets_locations(image) is probing.Policy.UNASKED


def test_another_complaint_says_nothing_of_that_policy(
    cloud, probe, empty_image
):
    cloud.endpoints[0].answers['/locations'] = endpoints.error_page(
        400, 'no such scheme'
    )
    assert probe.sets_locations(empty_image) is probing.Policy.UNASKED


def test_no_question_changes_anything(cloud, probe, image, empty_image):
    before = unchanged(cloud)
    probe.illness()
    probe.stores()
    probe.images()
    probe.locations(image)
    probe.shows_locations_alone(image)
    probe.copies(image)
    probe.copies_alone(image)
    probe.sets_locations(empty_image)
    assert unchanged(cloud) == before
    cloud.clock.sleep(100)
    assert unchanged(cloud) == before
