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

"""Glance over HTTP: real keystoneauth, real glanceclient, no network."""

from concurrent import futures
import contextlib
import dataclasses
import functools
import itertools
import json
import logging
import threading

from glanceclient import exc as glance_exc
import greenlet
from keystoneauth1 import exceptions as ksa_exc
from keystoneauth1 import plugin
from keystoneauth1 import token_endpoint
from oslo_context import context as oslo_context
import pytest
import requests

from nova_rbd_multistore import asking
from nova_rbd_multistore import beside
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import glance
from nova_rbd_multistore import image as image_values
from nova_rbd_multistore import logins
from nova_rbd_multistore import rounds
from nova_rbd_multistore import task as task_values
from tests.fakes import cloud as clouds
from tests.fakes import endpoint as endpoints
from tests.fakes import glance_api
from tests.fakes import network

DEADLINE = 30

UNKNOWN = '00000000-0000-4000-8000-000000000000'


@pytest.fixture
def image(cloud):
    return cloud.api.add_image('file', 'east').id


def questions(images, image):
    """All that can be asked, by name."""
    return {
        'record': lambda: images.record(image),
        'locations': lambda: images.locations(image),
        'tasks': lambda: images.tasks(image),
        'request_copy': lambda: images.request_copy(image, 'west'),
    }


each_question = pytest.mark.parametrize(
    'question', ['record', 'locations', 'tasks', 'request_copy']
)


def page(body, status=200, content_type='application/json', **kwargs):
    return network.Answer(status, body, content_type, **kwargs)


# Answers


def test_the_record_is_read(cloud, image):
    record = cloud.glance().record(image)
    assert record.id == image
    assert record.stores == {'file', 'east'}


def test_the_locations_are_read_where_the_record_hides_them(cloud, image):
    assert cloud.glance().record(image).locations is None
    assert cloud.glance().locations(image) == (
        image_values.ImageLocation(
            f'file:///var/lib/glance/images/{image}', 'file'
        ),
        image_values.ImageLocation(
            f'rbd://fsid-east/images/{image}/snap', 'east'
        ),
    )


def test_a_copy_is_requested_of_one_store_which_must_succeed(cloud, image):
    reply = cloud.glance().request_copy(image, 'west')
    assert reply.verdict is task_values.Verdict.ACCEPTED
    assert json.loads(cloud.endpoints[0].asked[-1].body) == {
        'method': {'name': 'copy-image'},
        'stores': ['west'],
    }


def test_our_task_is_known_by_the_id_of_our_request(cloud, image):
    images = cloud.glance()
    reply = images.request_copy(image, 'west')
    (task,) = images.tasks(image)
    assert task.request_id == reply.request_id
    assert task.stores == {'west'}


def test_novas_global_request_id_is_sent_along(cloud, image):
    images = cloud.glance(request_id='req-of-nova')
    assert images.request_copy(image, 'west').request_id == 'req-of-nova'
    (task,) = images.tasks(image)
    assert task.request_id == 'req-of-nova'


def test_a_request_while_an_import_is_under_way_is_busy(cloud, image):
    images = cloud.glance()
    images.request_copy(image, 'west')
    reply = images.request_copy(image, 'west')
    assert reply.verdict is task_values.Verdict.BUSY
    assert 'Image has active task' in reply.reason


def test_a_request_for_a_store_that_has_the_image_is_not_needed(cloud, image):
    reply = cloud.glance().request_copy(image, 'east')
    assert reply.verdict is task_values.Verdict.NOT_NEEDED
    assert 'already present' in reply.reason


def test_both_tokens_go_with_every_request(cloud, image):
    images = cloud.glance()
    for ask in questions(images, image).values():
        ask()
    assert len(cloud.endpoints[0].asked) == 6  # health and stores, too
    for request in cloud.endpoints[0].asked:
        headers = {
            name: endpoints.text(value)
            for name, value in request.headers.items()
        }
        assert headers['X-Auth-Token'] == endpoints.USER
        assert headers['X-Service-Token'] == endpoints.SERVICE


def test_without_a_service_user_the_users_token_goes_alone(cloud, image):
    cloud.glance(service=None).record(image)
    assert 'X-Service-Token' not in cloud.endpoints[0].asked[-1].headers


def test_an_expired_user_token_passes_beside_a_service_token(cloud, image):
    cloud.endpoints[0].expired = True
    assert cloud.glance().record(image).id == image


def test_a_record_costs_one_request(cloud, image):
    images = cloud.glance()
    images.record(image)
    before = len(cloud.endpoints[0].asked)
    images.record(image)
    assert len(cloud.endpoints[0].asked) == before + 1


def test_an_endpoint_below_a_path_is_asked_below_it(cloud, image):
    images = cloud.glance(urls=['http://glance-a:9292/image/'])
    assert images.record(image).id == image
    assert cloud.endpoints[0].paths[-1] == f'GET /image/v2/images/{image}'


def test_an_id_in_upper_case_is_the_same_image(cloud, image):
    cloud.api.images[image.upper()] = cloud.api.images[image]
    assert cloud.glance().record(image.upper()).id == image


@pytest.mark.parametrize('name', ['../v2/tasks', 'a?b=c', 'a#b', 'a/b'])
def test_an_id_cannot_lead_to_another_address(cloud, name):
    with pytest.raises(exceptions.ImageGone):
        cloud.glance().record(name)
    assert (
        cloud.endpoints[0]
        .asked[-1]
        .url.startswith('http://glance-a:9292/v2/images/')
    )
    assert not set('?#') & set(cloud.endpoints[0].asked[-1].url)


# Refusals: Glance's word, and final


@each_question
def test_an_image_that_is_not_there_is_gone(cloud, question):
    with pytest.raises(exceptions.ImageGone, match=UNKNOWN):
        questions(cloud.glance(), UNKNOWN)[question]()
    assert not cloud.endpoints[1].asked


@each_question
def test_another_projects_private_image_is_gone(cloud, question):
    private = cloud.api.add_image(
        'east', owner='somebody-else', visibility='private'
    )
    with pytest.raises(exceptions.ImageGone):
        questions(cloud.glance(), private.id)[question]()


@each_question
def test_a_token_that_is_not_valid_is_refused(cloud, image, question):
    images = cloud.glance(token='revoked')
    with pytest.raises(exceptions.TokenRefused):
        questions(images, image)[question]()
    # Of a copy, one endpoint's word is not enough.
    asked = question == 'request_copy'
    assert bool(cloud.endpoints[1].asked) is asked


def test_an_expired_user_token_alone_is_refused(cloud, image):
    cloud.endpoints[0].expired = True
    with pytest.raises(exceptions.TokenRefused):
        cloud.glance(service=None).record(image)


def test_a_copy_without_a_service_token_is_forbidden_by_policy(cloud, image):
    with pytest.raises(exceptions.CopyForbidden):
        cloud.glance(service=None).request_copy(image, 'west')


def test_a_dead_lock_of_another_projects_image_is_taken_over(cloud):
    # By the second glance-api: the first one is left with the old flags.
    image = cloud.api.add_image('file', owner='somebody-else')
    cloud.api.import_image(
        glance_api.Requester('somebody-else', service=True),
        image.id,
        {'method': {'name': 'copy-image'}, 'stores': ['east']},
    )
    cloud.api.kill()
    cloud.clock.advance(task_values.LOCK_KEPT_PENDING.total_seconds())
    reply = cloud.glance().request_copy(image.id, 'west')
    assert reply.verdict is task_values.Verdict.ACCEPTED


def test_locations_without_a_service_token_are_forbidden_by_policy(
    cloud, image
):
    with pytest.raises(exceptions.LocationsForbidden):
        cloud.glance(service=None).locations(image)


def test_a_quota_that_is_used_up_is_said(cloud, image):
    # In two stores, of 256 MiB each.
    cloud.api.limits['demo'] = 511
    with pytest.raises(exceptions.CopyOverQuota):
        cloud.glance().request_copy(image, 'west')


def test_a_quota_may_be_used_up_by_a_copy(cloud, image):
    cloud.api.limits['demo'] = 512
    cloud.glance().request_copy(image, 'west')
    cloud.clock.advance(100)
    assert cloud.api.usage('demo') == 768


@pytest.fixture
def three():
    """A cloud of three glance-apis."""
    return clouds.Cloud(3)


def asked_of(cloud, path):
    """How often each glance-api was asked for something."""
    return [
        sum(asked.endswith(path) for asked in endpoint.paths)
        for endpoint in cloud.endpoints
    ]


@pytest.mark.parametrize('status', [401, 403])
def test_a_copy_that_one_glance_api_denies_is_asked_of_one_other(
    three, status, caplog
):
    image = three.api.add_image('file').id
    three.endpoints[0].answers['/import'] = endpoints.error_page(
        status, 'no, thank you'
    )
    reply = three.glance().request_copy(image, 'west')
    assert reply.verdict is task_values.Verdict.ACCEPTED
    assert reply.endpoint == 'http://glance-b:9292/'
    assert asked_of(three, '/import')[1:] == [1, 0]
    assert 'glance-api http://glance-a:9292/ refuses: ' in caplog.text
    assert 'no, thank you' in caplog.text


def test_locations_that_one_glance_api_denies_are_asked_of_one_other(three):
    image = three.api.add_image('file').id
    denial = endpoints.error_page(403, 'no, thank you')
    three.endpoints[0].answers['/locations'] = denial
    (found,) = three.glance().locations(image)
    assert found.store == 'file'
    three.endpoints[1].answers['/locations'] = denial
    with pytest.raises(exceptions.LocationsForbidden):
        three.glance().locations(image)
    assert asked_of(three, '/locations') == [2, 2, 0]


@pytest.mark.parametrize(
    ('status', 'error'),
    [(401, exceptions.TokenRefused), (403, exceptions.CopyForbidden)],
)
def test_a_copy_that_two_glance_apis_deny_is_denied(
    three, status, error, caplog
):
    image = three.api.add_image('file').id
    for endpoint in three.endpoints[:2]:
        endpoint.answers['/import'] = endpoints.error_page(status, 'no')
    with pytest.raises(error):
        three.glance().request_copy(image, 'west')
    assert asked_of(three, '/import')[2] == 0
    for name in ('glance-a', 'glance-b'):
        assert f'glance-api http://{name}:9292/ refuses: ' in caplog.text


@pytest.mark.parametrize('fault', ['dead', 'without the store'])
def test_a_copy_is_denied_if_no_other_could_confirm_it(cloud, image, fault):
    cloud.endpoints[0].answers['/import'] = endpoints.error_page(403, 'no')
    if fault == 'dead':
        cloud.endpoints[1].fault = network.Answer(500)
    else:
        cloud.api.stores_of['glance-b'] = ['file']
    with pytest.raises(exceptions.CopyForbidden):
        cloud.glance().request_copy(image, 'west')


@pytest.mark.parametrize('path', ['/import', '/locations'])
def test_a_refusal_grows_old_while_another_hangs(cloud, image, path):
    first, second = cloud.endpoints
    first.answers[path] = endpoints.error_page(403, 'no')
    second.seconds[path] = endpoints.FOR_EVER
    cloud.clock.after(30.0, lambda: first.answers.pop(path))
    images = cloud.glance()
    if path == '/import':
        reply = images.request_copy(image, 'west')
        assert reply.verdict is task_values.Verdict.ACCEPTED
    else:
        assert images.locations(image)


@pytest.mark.parametrize('seconds', [0.5, 30.0])
def test_a_refusal_that_is_asked_for_once_more_is_believed(
    cloud, image, seconds
):
    first, second = cloud.endpoints
    first.answers['/import'] = endpoints.error_page(403, 'no')
    second.seconds['/import'] = seconds
    second.answers['/import'] = network.Answer(500)
    with pytest.raises(exceptions.CopyForbidden):
        cloud.glance().request_copy(image, 'west')
    asked = 2 if seconds > asking.FRESH else 1
    assert asked_of(cloud, '/import') == [asked, 1]


@pytest.mark.parametrize(
    ('status', 'outcome'),
    [
        (409, task_values.Verdict.BUSY),
        (400, task_values.Verdict.NOT_NEEDED),
        (413, exceptions.CopyOverQuota),
    ],
)
def test_a_glance_api_that_cannot_copy_now_does_not_deny_it(
    cloud, image, status, outcome
):
    first, second = cloud.endpoints
    first.answers['/import'] = endpoints.error_page(403, 'no')
    second.answers['/import'] = endpoints.error_page(status, 'not now')
    if isinstance(outcome, task_values.Verdict):
        assert cloud.glance().request_copy(image, 'west').verdict is outcome
    else:
        with pytest.raises(outcome):
            cloud.glance().request_copy(image, 'west')


def test_one_that_refuses_to_tell_its_stores_is_not_asked_again(cloud, image):
    refusal = endpoints.error_page(401, 'no')
    cloud.endpoints[0].answers['/info/stores'] = refusal
    reply = cloud.glance().request_copy(image, 'west')
    assert reply.verdict is task_values.Verdict.ACCEPTED
    assert reply.endpoint == 'http://glance-b:9292/'


@pytest.mark.parametrize('several', [False, True])
def test_a_refusal_stands_where_nobody_is_left_to_ask(cloud, image, several):
    refusal = endpoints.error_page(401, 'no')
    for endpoint in cloud.endpoints:
        endpoint.answers['/info/stores'] = refusal
    images = cloud.glance(urls=cloud.urls[: 2 if several else 1])
    with pytest.raises(exceptions.TokenRefused):
        images.request_copy(image, 'west')


def test_an_image_that_is_gone_for_one_alone_can_be_confirmed(
    cloud, image, caplog
):
    cloud.endpoints[0].answers[image] = endpoints.error_page(404, 'no')
    with pytest.raises(exceptions.ImageGone):
        cloud.glance().record(image)
    assert asked_of(cloud, image) == [1, 0]
    assert cloud.glance().record(image, confirm=True).id == image
    assert 'glance-api http://glance-a:9292/ refuses: ' in caplog.text


def test_an_image_that_is_gone_for_two_is_gone(three, image):
    with pytest.raises(exceptions.ImageGone):
        three.glance().record(image, confirm=True)
    assert asked_of(three, image) == [1, 1, 0]


def test_where_there_is_one_glance_api_it_is_asked_once(cloud):
    images = cloud.glance(urls=cloud.urls[:1])
    with pytest.raises(exceptions.ImageGone):
        images.record('no-such-image', confirm=True)
    assert len(cloud.endpoints[0].asked) == 1


@pytest.mark.parametrize('status', [400, 404, 409, 413])
def test_a_refusal_is_not_put_to_another_endpoint(cloud, image, status):
    cloud.endpoints[0].answers['/import'] = endpoints.error_page(
        status, 'no, thank you'
    )
    with contextlib.suppress(exceptions.ImageError):
        cloud.glance(retries=3).request_copy(image, 'west')
    assert not cloud.endpoints[1].asked
    assert cloud.clock.naps == []


@pytest.mark.parametrize(
    'answer',
    [
        page(b'', 404),
        page(b'Not Found', 404, 'text/plain'),
    ],
)
def test_a_refusal_in_another_form_is_a_refusal(cloud, image, answer):
    cloud.endpoints[0].answers[image] = answer
    with pytest.raises(exceptions.ImageGone):
        cloud.glance().record(image)


# No answer: another endpoint is asked

FAULTS = {
    'connection refused': requests.ConnectionError('Errno 111'),
    'connection timed out': requests.ConnectTimeout('timed out'),
    'no answer in time': requests.ReadTimeout('timed out'),
    'broken off': requests.exceptions.ChunkedEncodingError('broken'),
    'bad certificate': requests.exceptions.SSLError('expired'),
    'too many redirects': requests.TooManyRedirects('30'),
    'no URL': requests.exceptions.InvalidURL('no host'),
    '500': endpoints.error_page(500, 'Internal Server Error'),
    '502 of a proxy': page(b'<h1>Bad Gateway</h1>', 502, 'text/html'),
    '503': endpoints.error_page(503, 'Service Unavailable'),
    '504 without a word': page(b'', 504),
    '429': page(b'slow down', 429, 'text/plain'),
    '418': page(b'short and stout', 418, 'text/plain'),
    '300': page(b'{"versions": []}', 300),
    'a redirect': page(b'', 307, headers={'Location': 'http://glance-b:9292'}),
    'a redirect to nowhere': page(b'', 302),
    '404 as a JSON list': page(b'["no"]', 404),
    '404 as broken JSON': page(b'{"no', 404),
    'an error page with 200': page(b'<html>oops</html>', 200, 'text/html'),
    'an error page as JSON': page(b'<html>oops</html>'),
    'truncated JSON': page(b'{"id": "5e0d'),
    'less than announced': page(b'{}', length=100),
    'nothing': page(b''),
    'null': page(b'null'),
    'a list': page(b'[1, 2]'),
    'a number': page(b'42'),
    'a text': page(b'"active"'),
    'no UTF-8': page(b'{"id": "\xff\xfe"}'),
    'an endless number': page(b'{"id": ' + b'9' * 5000 + b'}'),
    'deep nesting': page(b'[' * 100_000),
    'bytes': page(b'\x00\x01', content_type='application/octet-stream'),
    'another type of field': page(b'{"id": 5, "status": [], "stores": {}}'),
    'no content type': page(b'{"no": "type"}', content_type=''),
}

each_fault = pytest.mark.parametrize('fault', FAULTS.values(), ids=FAULTS)


@each_fault
def test_what_is_no_answer_is_asked_of_the_next_endpoint(cloud, image, fault):
    cloud.endpoints[0].answers[image] = fault
    assert cloud.glance().record(image).id == image
    assert cloud.endpoints[1].paths[-1] == f'GET /v2/images/{image}'


@each_fault
def test_when_all_fail_glance_is_unavailable(cloud, image, fault):
    for endpoint in cloud.endpoints:
        endpoint.answers[image] = fault
    with pytest.raises(exceptions.GlanceUnavailable, match='2 asked'):
        cloud.glance().record(image)


@each_fault
@pytest.mark.parametrize('question', ['locations', 'tasks'])
def test_no_answer_to_any_question_is_taken_for_one(
    cloud, image, question, fault
):
    cloud.endpoints[0].answers[f'/{question}'] = fault
    good = questions(cloud.glance(urls=cloud.urls[1:]), image)[question]()
    assert questions(cloud.glance(), image)[question]() == good


@pytest.mark.parametrize(
    'fault',
    # 404 is an answer: this glance-api has no such list.
    [
        fault
        for fault in FAULTS.values()
        if getattr(fault, 'status', None) != 404
    ],
)
def test_no_list_of_stores_is_an_endpoints_failure(cloud, image, fault):
    cloud.endpoints[0].answers['/info/stores'] = fault
    reply = cloud.glance().request_copy(image, 'west')
    assert reply.verdict is task_values.Verdict.ACCEPTED
    assert not any('import' in path for path in cloud.endpoints[0].paths)


@pytest.mark.parametrize('status', [400, 409, 413])
@pytest.mark.parametrize('question', ['record', 'locations', 'tasks'])
def test_a_refusal_that_fits_no_question_is_no_answer(
    cloud, image, question, status
):
    good = questions(cloud.glance(), image)[question]()
    cloud.endpoints[0].fault = endpoints.error_page(status, 'a strange proxy')
    assert questions(cloud.glance(), image)[question]() == good


@pytest.mark.parametrize('status', [400, 409, 413])
def test_a_refusal_to_list_stores_is_none_to_copy(cloud, image, status):
    cloud.endpoints[0].answers['/info/stores'] = endpoints.error_page(
        status, 'a strange proxy'
    )
    reply = cloud.glance().request_copy(image, 'west')
    assert reply.verdict is task_values.Verdict.ACCEPTED


def test_a_record_of_another_image_is_no_answer(cloud, image):
    other = cloud.api.add_image('file')
    shown = cloud.api.show(glance_api.Requester(), other.id)
    cloud.endpoints[0].answers[image] = page(json.dumps(shown).encode())
    assert cloud.glance().record(image).id == image


def test_an_accepted_copy_without_a_request_id_is_accepted(cloud, image):
    cloud.endpoints[0].answers['/import'] = page(b'', 202, 'text/html')
    reply = cloud.glance().request_copy(image, 'west')
    assert reply.verdict is task_values.Verdict.ACCEPTED


def test_a_request_id_is_made_fit_for_the_log(cloud, image):
    cloud.endpoints[0].answers['/import'] = page(
        b'',
        202,
        'text/html',
        headers={'x-openstack-request-id': 'req\x85\x1b[2J'},
    )
    reply = cloud.glance().request_copy(image, 'west')
    assert reply.request_id == 'req  [2J'


def test_an_endpoint_that_is_no_url_fails_like_any_other(cloud, image, caplog):
    urls = ['http://nova:secret@[::1', *cloud.urls]
    assert cloud.glance(urls=urls).record(image).id == image
    assert 'glance-api http://[::1 failed' in caplog.text
    assert 'secret' not in caplog.text


def test_credentials_do_not_show_where_a_long_error_is_cut(
    cloud, image, caplog
):
    said = f'{"x" * 380} http://nova:secret-{"y" * 40}@glance-a/'
    cloud.endpoints[0].fault = requests.ConnectionError(said)
    assert cloud.glance().record(image).id == image
    assert 'secret' not in caplog.text


def test_without_any_endpoint_glance_is_unavailable(cloud, image, caplog):
    with pytest.raises(exceptions.GlanceUnavailable, match='0 asked'):
        cloud.glance(urls=[]).record(image)
    assert 'there is no endpoint for the service type "image"' in caplog.text


def test_when_all_fail_the_log_says_what_each_said(cloud, image, caplog):
    cloud.endpoints[0].fault = requests.ConnectionError('refused')
    cloud.endpoints[1].fault = endpoints.error_page(503, 'marker is gone')
    with pytest.raises(exceptions.GlanceUnavailable):
        cloud.glance().record(image)
    (line,) = [
        record.getMessage()
        for record in caplog.records
        if record.levelno == logging.ERROR
    ]
    assert 'http://glance-a:9292/' in line
    assert 'onnect' in line
    assert 'http://glance-b:9292/' in line
    assert 'marker is gone' in line


FAILS = endpoints.error_page(500, 'The server has either erred')


@pytest.mark.parametrize(
    ('answer', 'words'),
    [
        (FAILS, 'HTTP 500 Internal Server Error: The server has either'),
        (page(b'', 503, 'text/html'), 'HTTP 503 HTTPServiceUnavailable'),
        # Gunicorn's page does not have the number.
        (
            page(b'<h1>Internal Server Error</h1>', 500, 'text/html'),
            'HTTP 500 Internal Server Error',
        ),
    ],
)
def test_when_one_is_there_and_fails_the_error_has_its_status_and_words(
    cloud, image, answer, words
):
    cloud.endpoints[0].answers['/import'] = answer
    cloud.endpoints[1].fault = requests.ConnectionError('refused')
    with pytest.raises(exceptions.GlanceUnavailable) as caught:
        cloud.glance().request_copy(image, 'west')
    assert caught.value.fault.startswith(words)


@pytest.mark.parametrize(
    'fault', [requests.ConnectionError('refused'), page(b'{}', 429)]
)
def test_when_none_is_there_the_error_has_no_fault(cloud, image, fault):
    for endpoint in cloud.endpoints:
        endpoint.fault = fault
    with pytest.raises(exceptions.GlanceUnavailable) as caught:
        cloud.glance().record(image)
    assert caught.value.fault is None


def test_one_that_fails_at_imports_is_asked_everything_else(cloud, image):
    cloud.endpoints[0].answers['/import'] = FAILS
    images = cloud.glance()
    assert (
        images.request_copy(image, 'west').verdict
        is task_values.Verdict.ACCEPTED
    )
    before = len(cloud.endpoints[0].asked)
    images.record(image)
    assert len(cloud.endpoints[0].asked) == before + 1


def test_one_that_fails_at_records_rests(cloud, image):
    cloud.endpoints[0].answers[image] = FAILS
    images = cloud.glance()
    images.record(image)
    before = len(cloud.endpoints[0].asked)
    images.record(image)
    assert len(cloud.endpoints[0].asked) == before


def test_the_error_tells_no_tenant_where_glance_is(cloud, image):
    cloud.endpoints[0].fault = cloud.endpoints[1].fault = endpoints.error_page(
        503, 'http://glance-a:9292'
    )
    with pytest.raises(exceptions.GlanceUnavailable) as caught:
        cloud.glance().record(image)
    assert '9292' not in str(caught.value)


def test_an_endpoint_that_failed_rests(cloud, image):
    cloud.endpoints[0].fault = requests.ConnectionError('refused')
    images = cloud.glance()
    images.record(image)
    cloud.endpoints[0].fault = None
    images.record(image)
    assert len(cloud.endpoints[0].asked) == 1


def test_one_that_has_rested_is_tried_beside_a_boot(cloud, image, caplog):
    caplog.set_level(logging.INFO)
    cloud.endpoints[0].fault = requests.ConnectionError('refused')
    images = cloud.glance()
    images.record(image)
    cloud.endpoints[0].fault = None
    cloud.clock.advance(30)
    images.record(image)
    # Whoever asked has its answer of the other.
    assert cloud.endpoints[1].paths[-1] == f'GET /v2/images/{image}'
    assert cloud.endpoints[0].paths[1:] == [
        'GET /healthcheck',
        f'GET /v2/images/{image}',
    ]
    assert 'http://glance-a:9292/ answers again' in caplog.text
    images.record(image)
    assert cloud.endpoints[0].paths[-1] == f'GET /v2/images/{image}'


def test_one_that_still_fails_is_said_to_once(cloud, image, caplog):
    cloud.endpoints[0].fault = requests.ConnectionError('refused')
    images = cloud.glance()
    for _ in range(3):
        images.record(image)
        cloud.clock.advance(30)
    assert len(cloud.endpoints[0].asked) == 3
    assert caplog.text.count('http://glance-a:9292/ failed') == 1


def test_a_request_for_a_copy_is_not_used_to_try_others(cloud, image):
    cloud.endpoints[0].fault = requests.ConnectionError('refused')
    images = cloud.glance()
    images.record(image)
    cloud.clock.advance(30)
    images.request_copy(image, 'west')
    assert len(cloud.endpoints[0].asked) == 1


def test_an_endpoint_that_rests_is_asked_when_the_others_fail(cloud, image):
    cloud.endpoints[0].fault = requests.ConnectionError('refused')
    images = cloud.glance()
    images.record(image)
    cloud.endpoints[0].fault = None
    cloud.endpoints[1].fault = requests.ConnectionError('refused')
    assert images.record(image).id == image


def test_one_dying_between_request_and_poll_is_replaced(cloud, image):
    images = cloud.glance()
    images.request_copy(image, 'west')
    cloud.endpoints[0].fault = requests.ConnectionError('refused')
    assert images.record(image).lock


def test_a_copy_accepted_by_a_glance_that_then_dies_is_busy(cloud, image):
    def accept_and_die(request):
        cloud.endpoints[0](request)
        raise requests.ReadTimeout('no answer in time')

    def only_the_import_dies(request):
        if request.url.endswith('/import'):
            return accept_and_die(request)
        return cloud.endpoints[0](request)

    cloud.network.servers['glance-a:9292'] = only_the_import_dies
    reply = cloud.glance().request_copy(image, 'west')
    assert reply.verdict is task_values.Verdict.BUSY
    assert [status for _, _, status in cloud.api.requests] == [202, 409]


# One that hangs

#: Seconds after which another is asked as well.
PATIENCE = 1.0


def seconds(cloud, ask):
    began = cloud.clock.now
    ask()
    return cloud.clock.now - began


def met(caplog):
    return caplog.text.count('no answer within')


@pytest.fixture
def known_good(cloud, image):
    """All endpoints have answered, a while ago."""
    cloud.glance().record(image)
    for url in cloud.urls:
        cloud.known.note_healthy(url)
        cloud.known.answered(url)
    for endpoint in cloud.endpoints:
        endpoint.asked.clear()
    cloud.clock.advance(20)


@pytest.mark.usefixtures('known_good')
@pytest.mark.parametrize('question', ['record', 'locations', 'tasks'])
def test_the_first_that_meets_one_that_hangs_loses_a_moment(
    cloud, image, question, caplog
):
    cloud.endpoints[0].seconds[''] = endpoints.FOR_EVER
    ask = questions(cloud.glance(), image)[question]
    assert seconds(cloud, ask) == PATIENCE
    assert 'http://glance-a:9292/ failed: no answer within 1.0 s' in (
        caplog.text
    )


@pytest.mark.usefixtures('known_good')
def test_all_others_lose_nothing_for_as_long_as_it_hangs(cloud, image, caplog):
    cloud.endpoints[0].seconds[''] = endpoints.FOR_EVER
    cloud.glance().record(image)
    for _ in range(100):
        cloud.clock.advance(7)
        for question in ('record', 'locations'):
            ask = questions(cloud.glance(), image)[question]
            assert seconds(cloud, ask) == 0
    assert met(caplog) == 1


@pytest.mark.usefixtures('known_good')
def test_one_that_hangs_has_one_request_at_a_time(cloud, image):
    cloud.endpoints[0].seconds[''] = endpoints.FOR_EVER
    moments = []
    cloud.network.servers['glance-a:9292'] = lambda request: (
        moments.append(cloud.clock.now),
        cloud.endpoints[0](request),
    )[1]
    for _ in range(100):
        cloud.glance().record(image)
        cloud.clock.advance(7)
    gaps = [after - before for before, after in itertools.pairwise(moments)]
    # The time-out of the one before, and a rest.
    assert min(gaps) >= 90
    assert max(gaps) <= 105


@pytest.mark.usefixtures('known_good')
def test_one_that_hangs_on_images_alone_does_not_come_back(
    cloud, image, caplog
):
    cloud.endpoints[0].seconds[image] = endpoints.FOR_EVER
    for _ in range(50):
        cloud.glance().record(image)
        cloud.clock.advance(20)
    # Its health check is good all the while.
    assert cloud.endpoints[0].paths.count('GET /healthcheck') > 5
    assert met(caplog) == 1


@pytest.mark.usefixtures('known_good')
def test_one_that_answers_late_is_good_again(cloud, image):
    cloud.endpoints[0].seconds[''] = 5.0
    assert seconds(cloud, lambda: cloud.glance().record(image)) == PATIENCE
    cloud.endpoints[0].seconds.clear()
    cloud.endpoints[0].asked.clear()
    cloud.clock.advance(5)
    cloud.glance().record(image)
    assert cloud.endpoints[0].paths == [f'GET /v2/images/{image}']


@pytest.mark.usefixtures('known_good')
@pytest.mark.parametrize(
    ('a', 'b', 'took'), [(3.0, 8.0, 3.0), (8.0, 3.0, 4.0)]
)
def test_where_all_are_slow_the_first_to_answer_is_heard(
    cloud, image, a, b, took
):
    for endpoint, takes in zip(cloud.endpoints, (a, b), strict=True):
        endpoint.seconds[''] = takes
    assert seconds(cloud, lambda: cloud.glance().record(image)) == took
    assert [len(endpoint.asked) for endpoint in cloud.endpoints] == [1, 1]


@pytest.mark.usefixtures('known_good')
def test_where_answers_are_slow_no_more_is_asked_than_before(cloud, image):
    for endpoint in cloud.endpoints:
        endpoint.seconds[''] = 3.0
    images = cloud.glance()
    images.record(image)
    cloud.clock.advance(3)
    for _ in range(5):
        images.record(image)
    assert sum(len(endpoint.asked) for endpoint in cloud.endpoints) == 2 + 5


@pytest.mark.usefixtures('known_good')
def test_where_all_hang_all_have_the_whole_time_of_a_request(
    cloud, image, caplog
):
    for endpoint in cloud.endpoints:
        endpoint.seconds[''] = endpoints.FOR_EVER

    def ask():
        with pytest.raises(exceptions.GlanceUnavailable):
            cloud.glance().record(image)

    assert seconds(cloud, ask) == PATIENCE + endpoints.TIMEOUT
    assert [len(endpoint.asked) for endpoint in cloud.endpoints] == [1, 1]
    assert 'http://glance-a:9292/: ' in caplog.text


def test_the_only_endpoint_has_the_whole_time_of_a_request(cloud, image):
    cloud.endpoints[0].seconds[''] = endpoints.TIMEOUT - 1
    images = cloud.glance(urls=cloud.urls[:1])
    assert images.record(image).id == image
    assert cloud.endpoints[0].paths == [f'GET /v2/images/{image}']


@pytest.mark.usefixtures('known_good')
def test_a_request_for_a_copy_has_it_too(cloud, image):
    cloud.glance().record(image)
    cloud.endpoints[0].seconds['/import'] = 2.5
    reply = cloud.glance().request_copy(image, 'west')
    assert reply.verdict is task_values.Verdict.ACCEPTED
    assert not cloud.endpoints[1].asked


@pytest.mark.usefixtures('known_good')
def test_a_copy_is_requested_of_whoever_has_just_answered(cloud, image):
    cloud.endpoints[0].seconds[''] = endpoints.FOR_EVER
    images = cloud.glance()
    images.record(image)
    cloud.known.answered(cloud.urls[0])
    cloud.clock.advance(0.1)
    cloud.known.answered(cloud.urls[1])
    assert seconds(cloud, lambda: images.request_copy(image, 'west')) == 0


@pytest.mark.usefixtures('known_good')
def test_whoever_has_not_answered_lately_is_asked_for_little_first(
    cloud, image
):
    for url in cloud.urls:
        cloud.known.learn_stores(url, frozenset({'west'}))
        cloud.known.note_healthy(url)
    cloud.endpoints[0].seconds[''] = endpoints.FOR_EVER
    images = cloud.glance()
    assert seconds(cloud, lambda: images.request_copy(image, 'west')) == (
        PATIENCE
    )
    assert cloud.endpoints[0].paths == ['GET /v2/info/stores']


def test_one_that_hangs_from_the_start_is_met_once(cloud, image, caplog):
    cloud.endpoints[0].seconds[''] = endpoints.FOR_EVER
    assert seconds(cloud, lambda: cloud.glance().record(image)) == PATIENCE
    for _ in range(50):
        cloud.clock.advance(9)
        assert seconds(cloud, lambda: cloud.glance().record(image)) == 0
    assert met(caplog) == 1


def test_one_that_hangs_unmet_is_found_out_beside_the_boots(
    cloud, image, caplog
):
    cloud.endpoints[1].seconds[''] = endpoints.FOR_EVER
    for _ in range(50):
        assert seconds(cloud, lambda: cloud.glance().record(image)) == 0
        cloud.clock.advance(9)
    assert met(caplog) == 0


@pytest.mark.usefixtures('known_good')
def test_a_keystone_that_is_slow_is_not_taken_for_a_glance_that_is(
    cloud, image, caplog
):
    class Keystone(token_endpoint.Token):
        token_is_here = False

        def get_headers(self, session):
            if not self.token_is_here:
                beside = greenlet.getcurrent().parent is not None
                wait = cloud.clock.idle if beside else cloud.clock.advance
                wait(5)
            self.token_is_here = True
            return super().get_headers(session)

    # Nothing of this, but then questions go on beside who asks.
    cloud.endpoints[0].seconds['/no-such-thing'] = 1

    slow = Keystone('http://not-from-here', endpoints.USER)
    asker = cloud.glance()._asker
    asked = asking.Asker(
        cloud.session, slow, cloud.urls, cloud.means, sleep=asker._sleep
    )
    assert glance.Glance(asked).record(image).id == image
    assert met(caplog) == 0


@pytest.mark.usefixtures('known_good')
def test_where_no_thread_is_left_for_a_trial_another_boot_tries(cloud, image):
    cloud.known.failed(cloud.urls[0])
    cloud.clock.advance(30)
    images = cloud.glance()
    start = cloud.means.workers.start
    left = [start]

    def start_one(work):
        return left.pop()(work) if left else no_more()

    def no_more():
        raise RuntimeError("can't start new thread")

    cloud.means.workers.start = start_one
    assert images.record(image).id == image
    assert not cloud.endpoints[0].asked
    cloud.means.workers.start = start
    images.record(image)
    assert cloud.endpoints[0].asked


# Rounds


def test_when_all_fail_further_rounds_are_a_second_apart(cloud, image):
    for endpoint in cloud.endpoints:
        endpoint.fault = requests.ConnectionError('refused')
    with pytest.raises(exceptions.GlanceUnavailable):
        cloud.glance(retries=2).record(image)
    assert cloud.clock.naps == [1, 1]
    assert len(cloud.endpoints[0].asked) == 3


def test_a_glance_that_comes_back_within_the_rounds_answers(cloud, image):
    for endpoint in cloud.endpoints:
        endpoint.fault = requests.ConnectionError('refused')
    cloud.clock.after(1.5, lambda: setattr(cloud.endpoints[1], 'fault', None))
    assert cloud.glance(retries=2).record(image).id == image


def test_who_asks_again_by_himself_has_no_further_rounds(cloud, image):
    for endpoint in cloud.endpoints:
        endpoint.fault = requests.ConnectionError('refused')
    images = cloud.glance(retries=2, request_id='req-of-nova')
    with pytest.raises(exceptions.GlanceUnavailable):
        images.without_retries().record(image)
    assert cloud.clock.naps == []


def test_without_retries_it_is_the_same_glance(cloud, image):
    images = cloud.glance(retries=2, request_id='req-of-nova')
    reply = images.without_retries().request_copy(image, 'west')
    assert reply.request_id == 'req-of-nova'


# Health


def test_an_endpoint_is_asked_for_its_health_first(cloud, image):
    cloud.glance().record(image)
    assert cloud.endpoints[0].paths[0] == 'GET /healthcheck'


def test_the_only_endpoint_is_not_asked_for_its_health(cloud, image):
    cloud.endpoints[0].answers['/healthcheck'] = endpoints.SICK
    images = cloud.glance(urls=cloud.urls[:1])
    assert images.record(image).id == image
    assert cloud.endpoints[0].paths == [f'GET /v2/images/{image}']


def test_an_endpoint_that_says_503_is_passed_over(cloud, image, caplog):
    cloud.endpoints[0].answers['/healthcheck'] = endpoints.SICK
    assert cloud.glance().record(image).id == image
    assert cloud.endpoints[0].paths == ['GET /healthcheck']
    assert 'FILE PATH MISSING' in caplog.text


def test_where_all_are_sick_all_are_asked(cloud, image):
    for endpoint in cloud.endpoints:
        endpoint.answers['/healthcheck'] = endpoints.SICK
    images = cloud.glance()
    for ask in questions(images, image).values():
        ask()
    assert cloud.api.requests[0][2] == 202


def test_where_all_are_sick_a_failure_leads_to_the_next(cloud, image):
    for endpoint in cloud.endpoints:
        endpoint.answers['/healthcheck'] = endpoints.SICK
    cloud.endpoints[0].answers[image] = requests.ConnectionError('refused')
    assert cloud.glance().record(image).id == image


def test_a_sick_one_is_asked_when_the_others_fail(cloud, image):
    cloud.endpoints[0].answers['/healthcheck'] = endpoints.SICK
    images = cloud.glance()
    images.record(image)
    cloud.endpoints[1].fault = requests.ConnectionError('refused')
    assert images.record(image).id == image
    assert cloud.endpoints[0].paths[-1] == f'GET /v2/images/{image}'


def test_a_sick_one_is_asked_again_for_its_health_beside_a_boot(cloud, image):
    cloud.endpoints[0].answers['/healthcheck'] = endpoints.SICK
    images = cloud.glance()
    images.record(image)
    cloud.clock.advance(29)
    images.record(image)
    assert cloud.endpoints[0].paths == ['GET /healthcheck']
    cloud.clock.advance(1)
    cloud.endpoints[0].answers['/healthcheck'] = endpoints.HEALTHY
    images.record(image)
    assert cloud.endpoints[0].paths == ['GET /healthcheck'] * 2
    images.record(image)
    assert cloud.endpoints[0].paths[-1] == f'GET /v2/images/{image}'


@pytest.mark.parametrize('count', [1, 2])
def test_a_health_check_that_hangs_costs_one_boot_a_moment(
    cloud, image, count
):
    for endpoint in cloud.endpoints[:count]:
        endpoint.seconds['/healthcheck'] = endpoints.FOR_EVER
    assert seconds(cloud, lambda: cloud.glance().record(image)) == PATIENCE
    for _ in range(50):
        cloud.clock.advance(9)
        for question in ('record', 'locations'):
            ask = questions(cloud.glance(), image)[question]
            assert seconds(cloud, ask) == 0


def test_a_health_check_that_hangs_is_asked_once(cloud, image):
    """Each would take another thread of a glance-api whose share hangs."""
    cloud.endpoints[0].seconds['/healthcheck'] = 600
    began = cloud.clock.now
    images = cloud.glance()
    while cloud.clock.now < began + 599:
        images.record(image)
        cloud.clock.advance(10)
    assert cloud.endpoints[0].paths == ['GET /healthcheck']
    cloud.clock.advance(10)
    images.record(image)
    assert cloud.endpoints[0].paths[-1] == f'GET /v2/images/{image}'


def test_one_that_never_answers_is_asked_again_in_the_end(cloud, image):
    """Perhaps that one question was lost on the way."""
    cloud.endpoints[0].seconds['/healthcheck'] = endpoints.FOR_EVER
    cloud.glance().record(image)
    cloud.endpoints[0].seconds['/healthcheck'] = 0.1
    cloud.clock.advance(asking.HEALTH_TIMEOUT)
    for _ in range(2):
        cloud.clock.advance(30)
        cloud.glance().record(image)
    assert cloud.endpoints[0].paths[:2] == ['GET /healthcheck'] * 2
    cloud.glance().record(image)
    assert cloud.endpoints[0].paths[-1] == f'GET /v2/images/{image}'


@pytest.mark.parametrize(
    'answer',
    [
        endpoints.HEALTHY,
        page(b'no', 405, 'text/plain'),
        page(b'{"no": "json"}', 406),
        page(b'slow down', 429, 'text/plain'),
        page(b'short and stout', 418, 'text/plain'),
        endpoints.NO_HEALTHCHECK,
        endpoints.error_page(404, 'The resource could not be found'),
        endpoints.error_page(401, 'This server could not verify'),
        endpoints.error_page(403, 'no'),
        page(b'{"detailed": false, "reasons": []}'),
    ],
    ids=lambda answer: f'{answer.status} {answer.content_type}',
)
def test_an_endpoint_without_a_health_check_is_healthy(cloud, image, answer):
    cloud.endpoints[0].answers['/healthcheck'] = answer
    cloud.glance().record(image)
    assert cloud.endpoints[0].paths[-1] == f'GET /v2/images/{image}'


def test_good_health_is_believed_for_a_while(cloud, image):
    images = cloud.glance()
    for _ in range(3):
        images.record(image)
    assert cloud.endpoints[0].paths.count('GET /healthcheck') == 1
    cloud.clock.advance(30)
    images.record(image)
    assert cloud.endpoints[0].paths.count('GET /healthcheck') == 1
    # What may need its file store.
    images.request_copy(image, 'west')
    assert cloud.endpoints[0].paths.count('GET /healthcheck') == 2


def test_one_that_falls_sick_gets_no_request_for_a_copy(cloud, image):
    images = cloud.glance()
    images.record(image)
    cloud.endpoints[0].answers['/healthcheck'] = endpoints.SICK
    cloud.clock.advance(30)
    reply = images.request_copy(image, 'west')
    assert reply.verdict is task_values.Verdict.ACCEPTED
    assert not any('import' in path for path in cloud.endpoints[0].paths)


# Stores


def test_an_endpoint_without_our_store_is_passed_over(cloud, image):
    cloud.endpoints[0].answers['/info/stores'] = page(
        b'{"stores": [{"id": "file"}, {"id": "dcn-west"}]}'
    )
    reply = cloud.glance().request_copy(image, 'west')
    assert reply.verdict is task_values.Verdict.ACCEPTED
    assert not any('import' in path for path in cloud.endpoints[0].paths)


def test_an_endpoint_without_our_store_still_answers_other_questions(
    cloud, image
):
    cloud.endpoints[0].answers['/info/stores'] = page(b'{"stores": []}')
    images = cloud.glance()
    images.request_copy(image, 'west')
    images.record(image)
    assert cloud.endpoints[0].paths[-1] == f'GET /v2/images/{image}'


def test_an_endpoint_with_one_store_only_is_passed_over(cloud, image):
    cloud.endpoints[0].answers['/info/stores'] = endpoints.error_page(
        404, 'Multi backend is not supported at this site.'
    )
    reply = cloud.glance().request_copy(image, 'west')
    assert reply.verdict is task_values.Verdict.ACCEPTED


def test_a_store_that_no_endpoint_knows_is_unknown_at_once(cloud, image):
    with pytest.raises(exceptions.StoreUnknown, match='north'):
        cloud.glance(retries=3).request_copy(image, 'north')
    assert cloud.clock.naps == []
    assert cloud.api.requests == []


def test_a_store_unknown_here_while_the_other_is_down_may_be_known_there(
    cloud, image, caplog
):
    cloud.endpoints[0].answers['/info/stores'] = page(b'{"stores": []}')
    cloud.endpoints[1].fault = requests.ConnectionError('refused')
    with pytest.raises(exceptions.StoreUnavailable, match='1 of 2 lack'):
        cloud.glance().request_copy(image, 'west')
    assert 'no store west' in caplog.text


def test_the_same_where_the_other_wants_a_pause(cloud, image):
    cloud.endpoints[0].answers['/info/stores'] = page(b'{"stores": []}')
    cloud.endpoints[1].fault = busy('7')
    with pytest.raises(exceptions.StoreUnavailable) as caught:
        cloud.glance().without_retries().request_copy(image, 'west')
    assert caught.value.wait == 7


def test_a_store_that_is_unknown_to_one_that_is_slow_is_unknown(cloud, image):
    cloud.endpoints[0].seconds['/info/stores'] = 10
    with pytest.raises(exceptions.StoreUnknown, match='north'):
        cloud.glance().request_copy(image, 'north')


def test_a_store_of_glances_own_is_never_asked_for_a_copy(
    cloud, image, caplog
):
    own = 'os_glance_staging_store'
    cloud.api.stores[own] = None
    with pytest.raises(exceptions.StoreUnknown, match=own):
        cloud.glance().request_copy(image, own)
    assert cloud.api.requests == []
    assert f'http://glance-a:9292/ is misconfigured: it offers {own}' in (
        caplog.text
    )


def test_a_glance_that_offers_its_own_stores_still_copies_to_others(
    cloud, image
):
    cloud.api.stores['os_glance_staging_store'] = None
    reply = cloud.glance().request_copy(image, 'west')
    assert reply.verdict is task_values.Verdict.ACCEPTED


def test_the_stores_of_an_endpoint_are_asked_for_once(cloud, image):
    images = cloud.glance()
    images.request_copy(image, 'west')
    images.request_copy(image, 'west')
    images.request_copy(image, 'west')
    assert cloud.endpoints[0].paths.count('GET /v2/info/stores') == 1


@pytest.mark.parametrize(
    ('reason', 'times'),
    [
        ('Image has active task', 1),
        (
            'New operation on image some-id is not permitted as prior '
            'operation is still in progress',
            1,
        ),
        ('Store for identifier west not found', 2),
        ('whatever', 2),
    ],
)
def test_after_a_409_the_stores_are_looked_at_unless_the_image_is_locked(
    cloud, image, reason, times
):
    cloud.endpoints[0].answers['/import'] = endpoints.error_page(409, reason)
    images = cloud.glance()
    images.request_copy(image, 'west')
    images.request_copy(image, 'west')
    assert cloud.endpoints[0].paths.count('GET /v2/info/stores') == times


def test_a_store_taken_away_later_is_unknown_at_the_next_request(cloud, image):
    images = cloud.glance(urls=cloud.urls[:1])
    images.request_copy(image, 'west')
    cloud.clock.advance(60)
    other = cloud.api.add_image('file').id
    del cloud.api.stores['west']
    # Glance says 409, as to an image that is busy.
    reply = images.request_copy(other, 'west')
    assert reply.verdict is task_values.Verdict.BUSY
    with pytest.raises(exceptions.StoreUnknown):
        images.request_copy(other, 'west')


def test_a_store_added_later_is_found(cloud, image):
    images = cloud.glance()
    with pytest.raises(exceptions.StoreUnknown):
        images.request_copy(image, 'north')
    cloud.api.stores['north'] = None
    reply = images.request_copy(image, 'north')
    assert reply.verdict is task_values.Verdict.ACCEPTED


# An upload: which endpoint takes it


@pytest.mark.parametrize('has_it', [0, 1])
def test_an_endpoint_that_has_the_store_is_named(cloud, image, has_it):
    cloud.api.stores_of[f'glance-{"ba"[has_it]}'] = {'file', 'east'}
    named = cloud.glance().endpoint_with('west', image)
    assert named == cloud.urls[has_it]


def test_what_stores_endpoints_have_is_remembered_for_uploads(cloud, image):
    images = cloud.glance()
    images.endpoint_with('west', image)
    asked = sum(len(endpoint.asked) for endpoint in cloud.endpoints)
    images.endpoint_with('west', image)
    assert sum(len(endpoint.asked) for endpoint in cloud.endpoints) == asked


def test_where_no_endpoint_has_the_store_none_is_named(cloud, image):
    with pytest.raises(exceptions.StoreUnknown, match='north'):
        cloud.glance().endpoint_with('north', image)


def test_no_endpoint_is_named_for_a_token_that_is_not_valid(cloud, image):
    with pytest.raises(exceptions.TokenRefused):
        cloud.glance(token='expired').endpoint_with('west', image)


# A copy: which endpoint makes it


def test_the_reply_names_the_endpoint_that_accepted(cloud, image):
    cloud.endpoints[0].fault = requests.ConnectionError('refused')
    reply = cloud.glance().request_copy(image, 'west')
    assert reply.endpoint == 'http://glance-b:9292/'
    assert makers(cloud) == ['glance-b']


def test_the_name_of_an_endpoint_has_no_credentials(cloud, image):
    images = cloud.glance(urls=['http://nova:secret@glance-a:9292/'])
    reply = images.request_copy(image, 'west')
    assert reply.endpoint == 'http://glance-a:9292/'
    with pytest.raises(task_values.NoneLeft):
        images.request_copy(image, 'west', avoid=frozenset({reply.endpoint}))


def test_an_endpoint_to_avoid_is_asked_nothing(cloud, image):
    reply = cloud.glance().request_copy(
        image, 'west', avoid=frozenset({'http://glance-a:9292/'})
    )
    assert reply.endpoint == 'http://glance-b:9292/'
    assert not cloud.endpoints[0].asked


def test_when_all_endpoints_are_to_be_avoided_none_is_left(cloud, image):
    with pytest.raises(task_values.NoneLeft):
        cloud.glance(retries=3).request_copy(
            image, 'west', avoid=frozenset(cloud.urls)
        )
    assert cloud.clock.naps == []
    assert not cloud.endpoints[0].asked
    assert not cloud.endpoints[1].asked


@pytest.mark.parametrize('stores', [{'file', 'east'}, {'west'}])
def test_none_is_left_where_the_others_could_not_make_the_copy(
    cloud, image, stores, caplog
):
    cloud.api.stores_of['glance-b'] = stores
    with pytest.raises(task_values.NoneLeft):
        cloud.glance().request_copy(
            image,
            'west',
            frozenset({'file', 'east'}),
            avoid=frozenset(cloud.urls[:1]),
        )
    assert 'Passed over for want of a store: http://glance-b:9292/: no' in (
        caplog.text
    )


def test_while_the_others_do_not_answer_glance_is_unavailable(cloud, image):
    cloud.endpoints[1].fault = requests.ConnectionError('refused')
    with pytest.raises(exceptions.GlanceUnavailable):
        cloud.glance().request_copy(
            image, 'west', avoid=frozenset(cloud.urls[:1])
        )


# A copy: from where


@pytest.fixture
def at_east(cloud):
    """An image in store east alone."""
    return cloud.api.add_image('east').id


EAST = frozenset({'east'})


def makers(cloud):
    """The glance-apis that were to make a copy, in turn."""
    return [task.endpoint for task in cloud.api.tasks.values()]


@pytest.mark.parametrize('edge', ['glance-a', 'glance-b'])
def test_an_endpoint_that_could_not_read_the_image_is_passed_over(
    cloud, at_east, edge
):
    cloud.api.stores_of[edge] = {'file', 'west'}
    reply = cloud.glance().request_copy(at_east, 'west', EAST)
    assert reply.verdict is task_values.Verdict.ACCEPTED
    assert makers(cloud) != [edge]


def test_one_of_the_stores_that_hold_the_image_is_enough(cloud, image):
    cloud.api.stores_of['glance-a'] = {'file', 'west'}
    cloud.glance().request_copy(image, 'west', frozenset({'file', 'east'}))
    assert makers(cloud) == ['glance-a']


def test_where_it_is_not_known_what_holds_the_image_all_are_asked(
    cloud, at_east
):
    cloud.api.stores_of['glance-a'] = {'file', 'west'}
    cloud.glance().request_copy(at_east, 'west', frozenset())
    assert makers(cloud) == ['glance-a']


def test_an_image_that_no_endpoint_could_read_is_out_of_reach_at_once(
    cloud, at_east, caplog
):
    cloud.api.stores_of['glance-a'] = {'file', 'west'}
    cloud.api.stores_of['glance-b'] = {'west'}
    with pytest.raises(exceptions.SourceOutOfReach) as caught:
        cloud.glance(retries=3).request_copy(at_east, 'west', EAST)
    assert 'in east, and they have file, west or west' in str(caught.value)
    assert '9292' not in str(caught.value)
    assert (
        'http://glance-a:9292/: none of the stores east; '
        'http://glance-b:9292/: none of the stores east'
    ) in caplog.text
    assert cloud.clock.naps == []
    assert cloud.api.requests == []


def test_of_endpoints_without_our_store_it_is_our_store_that_is_unknown(
    cloud, at_east
):
    cloud.api.stores_of = {'glance-a': {'file'}, 'glance-b': {'file'}}
    with pytest.raises(exceptions.StoreUnknown):
        cloud.glance().request_copy(at_east, 'west', EAST)


def test_one_without_our_store_and_one_without_the_images_both_are_shown(
    cloud, at_east
):
    cloud.api.stores_of['glance-a'] = {'east', 'file'}
    cloud.api.stores_of['glance-b'] = {'west', 'file'}
    with pytest.raises(
        exceptions.SourceOutOfReach, match='have east, file or file, west'
    ):
        cloud.glance().request_copy(at_east, 'west', EAST)


def test_an_endpoint_with_one_store_only_cannot_read_from_another(
    cloud, at_east
):
    cloud.endpoints[0].answers['/info/stores'] = endpoints.error_page(
        404, 'Multi backend is not supported at this site.'
    )
    cloud.api.stores_of['glance-b'] = {'west'}
    with pytest.raises(
        exceptions.SourceOutOfReach, match='they have none or west'
    ):
        cloud.glance().request_copy(at_east, 'west', EAST)


def test_out_of_reach_here_while_the_other_is_down_may_be_in_reach_there(
    cloud, at_east
):
    cloud.api.stores_of['glance-a'] = {'file', 'west'}
    cloud.endpoints[1].fault = requests.ConnectionError('refused')
    with pytest.raises(exceptions.GlanceUnavailable):
        cloud.glance().request_copy(at_east, 'west', EAST)


def test_a_store_that_an_endpoint_gets_later_is_found(cloud, at_east):
    cloud.api.stores_of = {name: {'west'} for name in ('glance-a', 'glance-b')}
    images = cloud.glance()
    with pytest.raises(exceptions.SourceOutOfReach):
        images.request_copy(at_east, 'west', EAST)
    cloud.api.stores_of['glance-b'] = {'west', 'east'}
    images.request_copy(at_east, 'west', EAST)
    assert makers(cloud) == ['glance-b']


def test_the_stores_of_an_endpoint_that_has_them_are_asked_for_once(
    cloud, at_east
):
    images = cloud.glance()
    for _ in range(3):
        images.request_copy(at_east, 'west', EAST)
    assert cloud.endpoints[0].paths.count('GET /v2/info/stores') == 1


# Endpoints that want a pause


def busy(retry_after, status=429):
    return page(
        b'slow down',
        status,
        'text/plain',
        headers={'Retry-After': retry_after},
    )


def calm(endpoint):
    endpoint.fault = None


@pytest.mark.parametrize('status', [429, 503])
@pytest.mark.parametrize('count', [1, 2])
def test_a_pause_that_all_want_is_made(cloud, image, status, count, caplog):
    for endpoint in cloud.endpoints:
        endpoint.fault = busy('7', status)
    before = cloud.clock.now
    cloud.clock.after(7, lambda: [calm(each) for each in cloud.endpoints])
    images = cloud.glance(urls=cloud.urls[:count], retries=1)
    asked = []
    for host, server in dict(cloud.network.servers).items():
        cloud.network.servers[host] = lambda request, server=server: (
            asked.append(cloud.clock.now - before),
            server(request),
        )[1]
    assert images.record(image).id == image
    assert cloud.clock.naps == [7]
    assert asked[:count] == [0] * count
    assert set(asked[count:]) == {7}
    assert (
        f'wants no question for 7.0 s: HTTP {status} slow down' in caplog.text
    )


def test_a_pause_that_one_wants_is_spent_with_the_other(cloud, image):
    cloud.endpoints[0].fault = busy('7')
    images = cloud.glance()
    for _ in range(6):
        images.record(image)
        cloud.clock.advance(1)
    assert cloud.clock.naps == []
    assert len(cloud.endpoints[0].asked) == 1


def test_pauses_are_no_rounds_but_end(cloud, image):
    cloud.endpoints[0].fault = busy('7')
    images = cloud.glance(urls=cloud.urls[:1], retries=1)
    with pytest.raises(exceptions.GlanceUnavailable):
        images.record(image)
    assert cloud.clock.naps == [7] * 8  # a minute, as one answer may take


def test_whoever_asks_again_by_themselves_is_told_of_the_pause(cloud, image):
    cloud.endpoints[0].fault = busy('7')
    images = cloud.glance(urls=cloud.urls[:1], retries=1).without_retries()
    for wait in (7, 5):
        with pytest.raises(exceptions.GlanceUnavailable) as caught:
            images.record(image)
        assert caught.value.wait == wait
        cloud.clock.advance(2)
    assert cloud.clock.naps == []
    assert len(cloud.endpoints[0].asked) == 1


def test_the_error_tells_no_tenant_what_an_endpoint_wants(cloud, image):
    cloud.endpoints[0].fault = busy('7')
    with pytest.raises(exceptions.GlanceUnavailable) as caught:
        cloud.glance(urls=cloud.urls[:1]).record(image)
    assert '7' not in str(caught.value)


def test_a_refused_request_for_a_copy_is_not_repeated_in_the_pause(
    cloud, image
):
    images = cloud.glance(urls=cloud.urls[:1], retries=1)
    cloud.endpoints[0].answers['/import'] = busy('7')
    cloud.clock.after(7, lambda: cloud.endpoints[0].answers.clear())
    reply = images.request_copy(image, 'west')
    assert reply.verdict is task_values.Verdict.ACCEPTED
    assert cloud.clock.naps == [7]


# Secrets


@each_question
@pytest.mark.parametrize('fault', [None, *FAULTS.values()])
def test_no_token_reaches_a_log_or_an_error(
    cloud, image, question, fault, caplog
):
    caplog.set_level(logging.DEBUG)
    for endpoint in cloud.endpoints:
        endpoint.fault = fault
    said = ''
    try:
        questions(cloud.glance(), image)[question]()
    except (exceptions.ImageError, exceptions.HostError) as exc:
        said = str(exc)
    assert endpoints.USER not in caplog.text + said
    assert endpoints.SERVICE not in caplog.text + said


@pytest.mark.parametrize(
    'fault',
    [
        *FAULTS.values(),
        ksa_exc.ConnectFailure('to http://nova:secret@glance-a:9292/'),
    ],
)
def test_no_credential_of_an_endpoints_url_reaches_our_log_or_an_error(
    cloud, image, fault, caplog
):
    caplog.set_level(logging.DEBUG, 'nova_rbd_multistore')
    cloud.endpoints[0].fault = fault
    images = cloud.glance(urls=['http://nova:secret@glance-a:9292/'])
    with pytest.raises(
        (exceptions.ImageError, exceptions.HostError)
    ) as caught:
        images.record(image)
    ours = [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith('nova_rbd_multistore')
    ]
    assert ours
    assert 'secret' not in '\n'.join(ours)
    assert 'secret' not in str(caught.value)


@pytest.mark.parametrize('before', [0, 380])
def test_no_credential_in_a_refusal_is_told(before):
    said = 'x' * before + ' at http://glance:secret@swift.example/v1'
    with pytest.raises(asking.Forbidden) as caught, asking.only_answers():
        raise glance_exc.HTTPForbidden(said)
    assert 'glance:' not in str(caught.value)
    assert 'secret' not in str(caught.value)


def test_a_new_line_in_an_error_page_starts_no_log_entry(cloud, image, caplog):
    cloud.endpoints[0].fault = page(
        b'oops\n2026-01-01 CRITICAL forged', 500, 'text/plain'
    )
    cloud.glance().record(image)
    assert all('\n' not in message for message in caplog.messages)


# Record and locations, side by side


class InTurn:
    """Lets two requests that are made at once be answered in an order.

    :param first: end of the path of the one that is answered first
    """

    def __init__(self, server, first):
        self._server = server
        self._first = first
        self._asked = threading.Barrier(2)
        self._answered = threading.Event()

    def __call__(self, request):
        self._asked.wait(DEADLINE)
        if not request.url.endswith(self._first):
            assert self._answered.wait(DEADLINE)
        try:
            return self._server(request)
        finally:
            if request.url.endswith(self._first):
                self._answered.set()


@pytest.fixture
def ask(cloud, image):
    """Ask once again for a record and its locations, and get both.

    In threads, for one of the answers may have to wait for the other.
    """
    cloud.means = dataclasses.replace(cloud.means, workers=beside)
    records = glance.Records()

    def ask_for(image, **kwargs):
        images = cloud.glance(records=records, **kwargs)
        return images.record_and_locations(image)

    ask_for(image)[1]()
    for endpoint in cloud.endpoints:
        endpoint.asked.clear()
    return ask_for


def asked(cloud):
    """The last parts of the paths of images that were asked for, sorted.

    A busy machine may be taken for a glance-api that is slow, whose health is
    asked for beside.
    """
    return sorted(
        path.rpartition('/')[2]
        for endpoint in cloud.endpoints
        for path in endpoint.paths
        if '/images/' in path
    )


def at_once(cloud, first):
    """Answer when both are asked for, and the one that ends so first."""
    cloud.network.servers['glance-a:9292'] = InTurn(cloud.endpoints[0], first)


@pytest.mark.parametrize('first', ['record', 'locations'])
def test_where_records_hide_locations_both_are_asked_for_at_once(
    cloud, image, ask, first
):
    at_once(cloud, image if first == 'record' else 'locations')
    record, locations = ask(image)
    assert record.id == image
    assert {where.store for where in locations()} == {'file', 'east'}
    assert asked(cloud) == sorted([image, 'locations'])


def test_what_records_show_is_learned_from_the_first(cloud, image):
    records = glance.Records()
    record, locations = cloud.glance(records=records).record_and_locations(
        image
    )
    assert record.id == image
    assert asked(cloud) == [image]
    assert len(locations()) == 2
    assert records.hide_locations


def test_locations_that_the_record_shows_are_not_asked_for(cloud, image):
    cloud.api.show_locations = True
    images = cloud.glance(records=glance.Records())
    for _ in range(2):
        record, locations = images.record_and_locations(image)
        assert locations() == record.locations
    assert 'locations' not in asked(cloud)


def test_a_glance_that_begins_to_show_locations_is_asked_in_vain_once(
    cloud, image, ask
):
    cloud.api.show_locations = True
    for _ in range(3):
        record, locations = ask(image)
        assert locations() == record.locations
    assert asked(cloud).count('locations') <= 1


def test_an_image_without_data_teaches_nothing(cloud, image):
    cloud.api.show_locations = True
    cloud.api.images[image].locations.clear()
    cloud.api.images[image].status = 'queued'
    records = glance.Records()
    cloud.glance(records=records).record(image)
    assert not records.hide_locations


def test_a_deputy_asks_for_nothing_before_the_user_has_the_record(
    cloud, image, ask
):
    deputy = token_endpoint.Token('http://not-from-here', endpoints.DEPUTY)
    _, locations = ask(image, deputy=deputy)
    assert asked(cloud) == [image]
    locations()
    assert asked(cloud) == sorted([image, image, 'locations'])


@pytest.mark.parametrize(
    ('status', 'error'),
    [
        (401, exceptions.TokenRefused),
        (403, exceptions.ImageGone),
        (404, exceptions.ImageGone),
    ],
)
@pytest.mark.parametrize('locations', [200, 401, 403, 404])
@pytest.mark.parametrize('first', ['record', 'locations'])
def test_a_refusal_of_the_record_goes_first(
    cloud, image, ask, status, error, locations, first
):
    answers = cloud.endpoints[0].answers
    answers[image] = endpoints.error_page(status, 'no, thank you')
    if locations != 200:
        answers['/locations'] = endpoints.error_page(locations, 'nor these')
    at_once(cloud, image if first == 'record' else 'locations')
    with pytest.raises(error):
        ask(image)


@pytest.mark.parametrize(
    ('status', 'error'),
    [
        (401, exceptions.TokenRefused),
        (403, exceptions.LocationsForbidden),
        (404, exceptions.ImageGone),
    ],
)
def test_a_refusal_of_the_locations_is_for_who_wants_them(
    cloud, image, ask, status, error
):
    for endpoint in cloud.endpoints:
        endpoint.answers['/locations'] = endpoints.error_page(
            status, 'no, thank you'
        )
    record, locations = ask(image)
    assert record.id == image
    with pytest.raises(error):
        locations()


def test_when_no_endpoint_tells_the_locations_glance_is_unavailable(
    cloud, image, ask
):
    for endpoint in cloud.endpoints:
        endpoint.answers['/locations'] = endpoints.error_page(500, 'oops')
    _, locations = ask(image)
    with pytest.raises(exceptions.GlanceUnavailable):
        locations()


def test_who_is_refused_the_record_waits_for_no_locations(cloud, image, ask):
    cloud.endpoints[0].answers[image] = endpoints.error_page(404, 'not here')
    hangs = threading.Event()

    def server(request):
        if request.url.endswith('/locations'):
            assert hangs.wait(DEADLINE)
        return cloud.endpoints[0](request)

    cloud.network.servers['glance-a:9292'] = server
    with pytest.raises(exceptions.ImageGone):
        ask(image)
    assert not hangs.is_set()
    hangs.set()


def test_what_is_logged_beside_has_the_id_of_the_request(
    cloud, image, ask, caplog
):
    found = []

    class Contexts(logging.Handler):
        def emit(self, _record):
            found.append(oslo_context.get_current())

    cloud.endpoints[0].answers['/locations'] = endpoints.error_page(500, 'no')
    request = oslo_context.RequestContext()
    handler = Contexts()
    rounds.LOG.logger.addHandler(handler)
    try:
        _, locations = ask(image)
        locations()
    finally:
        rounds.LOG.logger.removeHandler(handler)
    assert 'failed' in caplog.text
    assert found == [request]


# A separate identity


@pytest.fixture
def deputy():
    return token_endpoint.Token('http://not-from-here', endpoints.DEPUTY)


each_deputed = pytest.mark.parametrize(
    'question', ['locations', 'tasks', 'request_copy']
)


def askers(cloud):
    """Who asked which question about images: user or deputy, in order."""
    return [
        (
            endpoints.text(request.headers.get('X-Auth-Token')),
            request.url.rpartition('/')[2],
        )
        for endpoint in cloud.endpoints
        for request in endpoint.asked
        if '/images/' in request.url
    ]


@each_deputed
def test_the_users_token_fetches_the_image_before_each_question_of_the_deputy(
    cloud, image, deputy, question
):
    images = cloud.glance(deputy=deputy)
    ask = questions(images, image)[question]
    ask()
    ask()
    name = 'import' if question == 'request_copy' else question
    turn = [(endpoints.USER, image), (endpoints.DEPUTY, name)]
    assert askers(cloud) == turn * 2


def test_a_deputy_s_quota_is_not_taken_for_the_user_s(cloud, image, deputy):
    cloud.api.add_image('file', owner='deputy')
    cloud.api.limits['deputy'] = 255
    with pytest.raises(exceptions.IdentityUnusable, match='quota'):
        cloud.glance(deputy=deputy).request_copy(image, 'west')


def test_no_record_is_asked_for_by_the_deputy(cloud, image, deputy):
    cloud.glance(deputy=deputy).record(image)
    assert askers(cloud) == [(endpoints.USER, image)]


def test_health_and_stores_are_asked_for_by_the_user(cloud, image, deputy):
    cloud.glance(deputy=deputy).request_copy(image, 'west')
    tokens = {
        request.url.rpartition('/')[2]: endpoints.text(
            request.headers['X-Auth-Token']
        )
        for request in cloud.endpoints[0].asked
    }
    assert tokens['healthcheck'] == endpoints.USER
    assert tokens['stores'] == endpoints.USER
    assert tokens['import'] == endpoints.DEPUTY


def test_what_the_policies_deny_the_user_the_deputy_gets(cloud, image, deputy):
    images = cloud.glance(service=None, deputy=deputy)
    assert len(images.locations(image)) == 2
    reply = images.request_copy(image, 'west')
    assert reply.verdict is task_values.Verdict.ACCEPTED
    (task,) = images.tasks(image)
    assert task.request_id == reply.request_id


def test_the_deputy_s_copy_is_requested_of_endpoints_that_can_make_it(
    cloud, image, deputy
):
    cloud.api.stores_of['glance-b'] = {'west'}
    images = cloud.glance(deputy=deputy)
    reply = images.request_copy(image, 'west', frozenset({'file', 'east'}))
    assert reply.endpoint == cloud.urls[0]
    with pytest.raises(task_values.NoneLeft):
        images.request_copy(
            image, 'west', frozenset({'file'}), frozenset({reply.endpoint})
        )


def test_without_retries_the_deputy_asks_as_well(cloud, image, deputy):
    images = cloud.glance(service=None, deputy=deputy).without_retries()
    assert images.locations(image)


@each_deputed
@pytest.mark.parametrize(
    ('fields', 'error'),
    [
        (
            {'owner': 'somebody-else', 'visibility': 'private'},
            exceptions.ImageGone,
        ),
        ({'status': 'deactivated'}, exceptions.NotActive),
    ],
)
def test_of_an_image_that_the_user_may_not_read_the_deputy_asks_nothing(
    cloud, deputy, question, fields, error
):
    image = cloud.api.add_image('east', **fields).id
    with pytest.raises(error):
        questions(cloud.glance(deputy=deputy), image)[question]()
    assert askers(cloud) == [(endpoints.USER, image)]


@each_deputed
def test_a_right_that_is_withdrawn_counts_at_the_deputys_next_question(
    cloud, deputy, question
):
    image = cloud.api.add_image('east')
    images = cloud.glance(deputy=deputy)
    images.record(image.id)
    questions(images, image.id)[question]()
    image.owner, image.visibility = 'somebody-else', 'private'
    before = len(askers(cloud))
    with pytest.raises(exceptions.ImageGone):
        questions(images, image.id)[question]()
    assert askers(cloud)[before:] == [(endpoints.USER, image.id)]


@each_deputed
@pytest.mark.parametrize('token', ['revoked', None])
def test_for_a_token_that_glance_refuses_the_deputy_asks_nothing(
    cloud, image, deputy, question, token
):
    images = cloud.glance(token=token, deputy=deputy)
    with pytest.raises(exceptions.TokenRefused):
        questions(images, image)[question]()
    assert endpoints.DEPUTY not in dict(askers(cloud))


@each_deputed
def test_while_glance_does_not_answer_the_user_the_deputy_asks_nothing(
    cloud, image, deputy, question
):
    for endpoint in cloud.endpoints:
        endpoint.answers[image] = requests.ConnectionError('refused')
    with pytest.raises(exceptions.GlanceUnavailable):
        questions(cloud.glance(deputy=deputy), image)[question]()
    assert endpoints.DEPUTY not in dict(askers(cloud))


@each_deputed
@pytest.mark.parametrize('status', [401, 403, 404])
def test_a_deputy_who_is_refused_is_unusable_and_no_fault_of_the_user(
    cloud, image, deputy, question, status, caplog
):
    end = 'import' if question == 'request_copy' else question
    for endpoint in cloud.endpoints:
        endpoint.answers[f'/{end}'] = endpoints.error_page(status, 'no')
    with pytest.raises(exceptions.IdentityUnusable):
        questions(cloud.glance(deputy=deputy), image)[question]()
    assert 'Glance refuses the identity of [rbd_multistore]' in caplog.text
    assert endpoints.DEPUTY not in caplog.text


@each_deputed
def test_an_image_that_goes_before_the_deputy_asks_is_gone(
    cloud, image, deputy, question
):
    def delete_before_the_deputy(request):
        if endpoints.text(request.headers['X-Auth-Token']) == endpoints.DEPUTY:
            cloud.api.images.pop(image, None)
        return cloud.endpoints[0](request)

    cloud.network.servers['glance-a:9292'] = delete_before_the_deputy
    with pytest.raises(exceptions.ImageGone):
        questions(cloud.glance(deputy=deputy), image)[question]()


class Stranger(plugin.BaseAuthPlugin):
    """An identity that gets no token of Keystone.

    :ivar tries: how often it has tried
    """

    def __init__(self, reason=ksa_exc.Unauthorized):
        super().__init__()
        self.reason = reason
        self.tries = 0

    def get_token(self, _session):
        self.tries += 1
        raise self.reason('at http://deputy:secret@keystone/v3')


@each_deputed
def test_a_deputy_who_cannot_log_in_is_said_to_be_unusable(
    cloud, image, question, caplog
):
    images = cloud.glance(deputy=Stranger(), retries=3)
    with pytest.raises(exceptions.IdentityUnusable) as caught:
        questions(images, image)[question]()
    assert cloud.clock.naps == []
    assert '://' not in str(caught.value)
    assert 'at http://keystone/v3' in caplog.text
    assert 'secret' not in caplog.text + str(caught.value)


each_way_to_be_away = pytest.mark.parametrize(
    'reason',
    [
        ksa_exc.ConnectFailure,
        ksa_exc.ConnectTimeout,
        ksa_exc.DiscoveryFailure,
        ksa_exc.ServiceUnavailable,
        functools.partial(ksa_exc.HTTPClientError, http_status=429),
    ],
)


@each_way_to_be_away
def test_a_keystone_that_is_away_is_as_good_as_a_glance_that_is(
    cloud, image, reason, caplog
):
    with pytest.raises(exceptions.KeystoneUnavailable) as caught:
        cloud.glance(deputy=Stranger(reason)).locations(image)
    assert isinstance(caught.value, exceptions.GlanceUnavailable)
    assert 'at http://keystone/v3' in caplog.text
    assert 'secret' not in caplog.text + str(caught.value)


def test_a_deputy_who_cannot_log_in_harms_no_endpoint(cloud, image):
    with pytest.raises(exceptions.IdentityUnusable):
        cloud.glance(deputy=Stranger()).locations(image)
    assert cloud.known.is_healthy('http://glance-a:9292/')
    assert cloud.glance().locations(image)


each_number_of_endpoints = pytest.mark.parametrize('count', [1, 2])


@each_number_of_endpoints
def test_a_service_user_whom_keystone_refuses_is_said_to_be_unusable(
    cloud, image, count, caplog
):
    images = cloud.glance(
        service=Stranger(), urls=cloud.urls[:count], retries=3
    )
    with pytest.raises(exceptions.IdentityUnusable) as caught:
        images.record(image)
    assert cloud.clock.naps == []
    assert 'The identity of [service_user] is not usable' in str(caught.value)
    assert '://' not in str(caught.value)
    (line,) = [r.getMessage() for r in caplog.records]
    assert 'Cannot log in with the identity of [service_user]' in line
    assert 'at http://keystone/v3' in line
    assert 'secret' not in caplog.text


@each_number_of_endpoints
@each_way_to_be_away
def test_a_keystone_that_is_away_from_the_service_user_is_asked_again(
    cloud, image, count, reason
):
    service = Stranger(reason)
    images = cloud.glance(service=service, urls=cloud.urls[:count], retries=3)
    with pytest.raises(exceptions.KeystoneUnavailable) as caught:
        images.record(image)
    assert '[service_user]' in str(caught.value)
    assert cloud.clock.naps == [asking.PAUSE] * 3
    assert service.tries == 4


@each_number_of_endpoints
@pytest.mark.parametrize(
    'reason', [ksa_exc.Unauthorized, ksa_exc.ConnectFailure]
)
def test_a_service_user_who_cannot_log_in_harms_no_endpoint(
    cloud, image, count, reason
):
    images = cloud.glance(service=Stranger(reason), urls=cloud.urls[:count])
    for question in (images.record, images.locations, images.tasks):
        with pytest.raises(exceptions.HostError):
            question(image)
    assert not any(endpoint.asked for endpoint in cloud.endpoints)
    assert not any(well is False for well in cloud.known.are_well().values())
    assert cloud.glance().locations(image)


def test_boots_at_once_wait_together_for_a_keystone_that_is_away(cloud, image):
    others = threading.Semaphore(0)

    class Silent(Stranger):
        def get_token(self, session):
            for _ in range(7):
                assert others.acquire(timeout=30)
            return super().get_token(session)

    def wait(running, seconds):
        others.release()
        futures.wait(running, seconds)

    cloud.means = dataclasses.replace(cloud.means, logins=logins.Logins(wait))
    service = Silent(ksa_exc.ConnectTimeout)

    def boot(_number):
        with pytest.raises(exceptions.KeystoneUnavailable):
            cloud.glance(service=service).record(image)

    with futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(boot, range(8)))
    assert service.tries == 1


def test_a_keystone_that_comes_back_lets_the_question_go_on(cloud, image):
    class Back(Stranger):
        def get_token(self, session):
            return (
                endpoints.SERVICE if self.tries else super().get_token(session)
            )

    service = Back(ksa_exc.ConnectFailure)
    images = cloud.glance(service=service, retries=1)
    assert images.record(image).id == image


def test_no_credential_of_a_malformed_answer_reaches_our_log(
    cloud, image, caplog
):
    # A location of the store swift has them in its URL.
    url = 'swift+https://svc:S3cret@keystone/v3/a-long-path-that-is-cut-off'
    cloud.endpoints[0].answers['/locations'] = network.Answer(
        200, json.dumps({'url': url}).encode()
    )
    with contextlib.suppress(exceptions.GlanceUnavailable):
        cloud.glance().locations(image)
    assert 'swift+https://keystone' in caplog.text
    assert 'S3cret' not in caplog.text


# What goes wrong in our own code


@pytest.mark.parametrize('bug', [AttributeError, KeyError, TypeError])
def test_a_bug_in_reading_an_answer_is_no_failure_of_the_endpoint(
    cloud, image, monkeypatch, caplog, bug
):
    def broken(_body):
        raise bug('of our own')

    monkeypatch.setattr(image_values.ImageRecord, 'from_answer', broken)
    with pytest.raises(bug, match='of our own'):
        cloud.glance().record(image)
    assert 'failed' not in caplog.text
