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

"""Glance's answers, and what each means for a command."""

import pytest
import requests

from nova_rbd_multistore import task as task_values
from nova_rbd_multistore_client import errors
from nova_rbd_multistore_client import glance
from nova_rbd_multistore_client import reading


def test_thousands_of_images_take_a_request_for_each_thousand(proxy, service):
    for number in range(2500):
        proxy.add(f'image-{number}', 'east')
    assert len({image.id for image in service.images()}) == 2500
    assert len(proxy.asked) == service.requests == 3


def test_every_image_is_more_than_those_that_are_not_hidden(proxy, service):
    shown = proxy.add('shown', 'east')
    hidden = proxy.add('hidden', 'east', os_hidden=True)
    assert {image.id for image in service.images()} == {shown}
    assert {image.id for image in service.every_image()} == {shown, hidden}


@pytest.mark.parametrize('admin', [True, False])
def test_every_image_is_those_of_other_projects_communities_too(
    proxy, service, admin
):
    proxy.admin = admin
    theirs = proxy.add('t', 'east', owner='other', visibility='community')
    assert [*service.images()] == []
    assert {image.id for image in service.every_image()} == {theirs}


def test_every_image_may_be_those_of_one_visibility(proxy, service):
    proxy.add('private', 'east', visibility='private')
    public = proxy.add('public', 'east', os_hidden=True)
    listed = service.every_image({'visibility': 'public'})
    assert {image.id for image in listed} == {public}


@pytest.mark.parametrize(
    'fields',
    [{'os_hidden': True}, {'owner': 'other', 'visibility': 'community'}],
)
def test_an_image_that_lists_hide_is_found_by_its_name(proxy, service, fields):
    image_id = proxy.add('debian', 'east', **fields)
    assert service.find('debian').id == image_id
    # But nobody takes the name of one that they show.
    shown = proxy.add('debian', 'east')
    assert service.find('debian').id == shown


def test_an_image_is_found_by_its_id_or_its_name(proxy, service):
    image_id = proxy.add('debian', 'east')
    assert service.find(image_id).name == 'debian'
    assert service.find('debian').id == image_id


def test_a_name_of_several_images_is_none_of_them(proxy, service):
    ids = [proxy.add('debian', 'east') for _ in range(2)]
    with pytest.raises(errors.SeveralImages, match=min(ids)):
        service.find('debian')


@pytest.mark.parametrize('name', ['no/such', 'a b', '..', 'näme'])
def test_what_is_not_there_is_not_found(service, name):
    with pytest.raises(errors.NotFound, match='No image'):
        service.find(name)


def test_one_request_asks_for_all_stores(proxy, service):
    image_id = proxy.add('debian', 'file')
    reply = service.request_copy(image_id, ['east', 'west'])
    assert reply.verdict is task_values.Verdict.ACCEPTED
    assert [method for method, _ in proxy.asked] == ['POST']


def test_an_image_that_is_held_is_busy(proxy, service):
    image_id = proxy.add('debian', 'file')
    proxy.lock(image_id, 'east')
    reply = service.request_copy(image_id, ['west'])
    assert reply.verdict is task_values.Verdict.BUSY
    assert reply.reason == 'Image has active task'


def test_an_image_that_is_there_needs_no_copy(proxy, service):
    image_id = proxy.add('debian', 'file')
    reply = service.request_copy(image_id, ['file'])
    assert reply.verdict is task_values.Verdict.NOT_NEEDED


def test_a_user_is_told_which_right_is_missing(proxy, service):
    image_id = proxy.add('debian', 'file', 'east')
    proxy.admin = False
    with pytest.raises(errors.NotAllowed, match='policy copy_image'):
        service.request_copy(image_id, ['east'])
    with pytest.raises(errors.NotAllowed, match='delete_image_location'):
        service.delete_copy(image_id, 'east')
    with pytest.raises(errors.NotAllowed, match='stores_info_detail'):
        service.store_details()
    with pytest.raises(errors.NotAllowed, match='fetch_image_location'):
        service.locations(image_id)


def test_an_image_that_is_gone_lies_nowhere(proxy, service):
    image_id = proxy.add('debian', 'file')
    proxy.gone.add(image_id)
    with pytest.raises(errors.NotFound, match=image_id):
        service.locations(image_id)


def test_a_glance_that_does_not_tell_where_images_lie_is_of_no_use(
    proxy, service
):
    image_id = proxy.add('debian', 'file')
    proxy.tells_locations = False
    with pytest.raises(errors.Unreachable, match='does not tell where image'):
        service.locations(image_id)


def test_data_in_use_is_not_deleted(proxy, service):
    image_id = proxy.add('debian', 'file', 'east')
    proxy.in_use.add((image_id, 'east'))
    with pytest.raises(errors.Refused, match='in use'):
        service.delete_copy(image_id, 'east')
    assert proxy.held(image_id) == {'file', 'east'}


def test_tasks_of_an_image_that_is_gone_are_none(service):
    assert service.tasks('gone') == ()


class Away:
    """An image proxy that raises, or answers, one and the same."""

    def __init__(self, answer):
        self.answer = answer

    def request(self, *_arguments, **_more):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def response(status, body=b''):
    answer = requests.Response()
    answer.status_code = status
    answer._content = body
    answer._content_consumed = True
    return answer


@pytest.mark.parametrize(
    'answer',
    [
        requests.ConnectionError('http://user:secret@glance is away'),
        response(500, b'<html><body>trouble</body></html>'),
        response(302),
        response(200, b'no JSON'),
        response(200, b'[]'),
        response(200, b'{"images": [{"id": 7}]}'),
    ],
)
def test_no_answer_of_use_is_one_error(answer):
    with pytest.raises(errors.Unreachable) as caught:
        list(glance.Glance(Away(answer)).images())
    assert 'secret' not in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_glance_that_says_nothing_is_away_and_named(proxy, service):
    proxy.silent_until = 3600.0
    with pytest.raises(errors.Unreachable) as caught:
        service.stores()
    assert 'http://glance-1/v2/images timed out' in str(caught.value)
    assert 'OS_IMAGE_ENDPOINT_OVERRIDE' in str(caught.value)


def test_the_time_for_an_answer_can_be_told(proxy):
    proxy.silent_until = 3600.0
    with pytest.raises(errors.Unreachable):
        glance.Glance(proxy, timeout=7.0).stores()
    assert proxy.clock.now == 7.0


def test_a_store_may_take_minutes_to_delete_data(proxy, service):
    image_id = proxy.add('debian', 'file', 'east')
    proxy.deletion = 300.0
    service.delete_copy(image_id, 'east')
    assert proxy.held(image_id) == {'file'}


def test_an_expired_token_is_told_as_such():
    with pytest.raises(errors.NotAllowed, match='log in again'):
        glance.Glance(Away(response(401))).stores()


def test_a_glance_without_named_stores_says_so():
    with pytest.raises(errors.NotFound, match='enabled_backends'):
        glance.Glance(Away(response(404))).stores()


@pytest.mark.parametrize(
    ('status', 'health'),
    [
        (200, reading.Health.OK),
        (204, reading.Health.MISSING),
        (404, reading.Health.MISSING),
        (403, reading.Health.NO_ACCESS),
        (503, reading.Health.OFFLINE),
        (None, reading.Health.OFFLINE),
    ],
)
def test_the_first_byte_tells_how_a_glance_api_is(
    proxy, service, status, health
):
    image_id = proxy.add('debian', 'file')
    proxy.data['http://api'] = status
    assert service.first_byte('http://api/v2', image_id).health is health


def test_data_that_was_promised_and_does_not_come_is_missing():
    answer = response(200, b'')
    found = glance.Glance(Away(answer)).first_byte('http://api', 'an-image')
    assert found.health is reading.Health.MISSING


def test_the_reserved_stores_of_a_record_are_none(proxy, service):
    image_id = proxy.add('debian', 'file', 'os_glance_staging_store')
    assert service.image(image_id).record.stores == {'file'}


def test_what_people_set_of_an_image_is_no_field_of_glances(proxy, service):
    image_id = proxy.add('debian', 'file', os_distro='debian', tags=['gold'])
    proxy.lock(image_id, 'east')
    found = service.image(image_id)
    assert found.properties == {'os_distro': 'debian'}
    assert found.tags == {'gold'}


def test_the_glance_apis_of_the_catalog_are_known(service):
    assert service.endpoints() == ('http://glance-1', 'http://glance-2')
