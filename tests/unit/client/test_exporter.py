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

"""``nova-rbd-multistore-exporter``: what Prometheus is told of a cloud."""

import http.server
import json
import logging
import os
import pathlib
import re
import socket
import threading

from keystoneauth1 import exceptions as ksa_exceptions
from keystoneauth1 import fixture
import prometheus_client
from prometheus_client import parser
import pytest
import requests

from nova_rbd_multistore_client import cloud_metrics
from nova_rbd_multistore_client import errors
from nova_rbd_multistore_client import exporter
from nova_rbd_multistore_client import rulefile
from nova_rbd_multistore_client import survey

PAGE = pathlib.Path(__file__).parents[3] / 'doc' / 'source' / 'monitoring.rst'


@pytest.fixture
def make_survey(service, proxy):
    """Makes surveys of the Glance in memory."""

    def make(let_in=lambda: service, rules=None):
        return survey.Survey(
            let_in, rules, survey.Time(proxy.clock, proxy.clock.utcnow)
        )

    return make


def values(made):
    """What Prometheus is told: values, by name and labels."""
    registry = prometheus_client.CollectorRegistry()
    registry.register(cloud_metrics.CloudMetrics('1.2.3', lambda: made.sight))
    text = prometheus_client.generate_latest(registry).decode()
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in parser.text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(made, name, **labels):
    return values(made)[f'image_replica_{name}', *sorted(labels.items())]


# Looks


def test_images_are_told_by_store_and_visibility(make_survey, proxy):
    proxy.add('one', 'east', size=3)
    made = make_survey()
    made.look()
    labels = {'store': 'east', 'visibility': 'public'}
    assert value(made, 'images', **labels) == 1
    assert value(made, 'images_size_bytes', **labels) == 3
    assert value(made, 'glance_up') == 1
    assert value(made, 'info', version='1.2.3') == 1


def test_hidden_images_are_told_too(make_survey, proxy):
    proxy.add('one', 'east', os_hidden=True)
    made = make_survey()
    made.look()
    assert value(made, 'images', store='east', visibility='public') == 1


def test_copies_are_told_by_store_and_state(make_survey, proxy):
    task = proxy.lock(proxy.add('one', 'east'), 'west')
    task['created_at'] = '2026-01-02T11:59:00Z'
    made = make_survey()
    made.look()
    labels = {'store': 'west', 'state': 'copying'}
    assert value(made, 'copies', **labels) == 1
    assert value(made, 'oldest_copy_age_seconds', **labels) == 60


def test_many_images_take_few_requests_and_questions_none(make_survey, proxy):
    for number in range(2500):
        proxy.add(f'image-{number}', 'east')
    proxy.lock(proxy.add('copied', 'east'), 'west')
    made = make_survey()
    made.look()
    paths = [path for _, path in proxy.asked]
    # The stores, three pages, one of hidden images, and one image's tasks.
    assert len(paths) == 6
    assert value(made, 'glance_requests_total') == 6
    assert len(proxy.asked) == 6


def test_it_is_told_when_images_were_listed_and_how_long_that_took(
    make_survey, proxy, service, monkeypatch
):
    def slowly():
        proxy.clock.sleep(7)
        return iter(())

    monkeypatch.setattr(service, 'every_image', slowly)
    made = make_survey()
    made.look()
    # 2026-01-02T12:00:00Z, when it began.
    assert value(made, 'last_list_timestamp_seconds') == 1767355200
    assert value(made, 'last_list_duration_seconds') == 7


class Sometimes:
    """Glance's image proxy, which answers while it is not away."""

    def __init__(self, proxy):
        self._proxy = proxy
        self.away = False

    def request(self, *arguments, **more):
        if self.away:
            raise ksa_exceptions.ConnectFailure(
                'http://me:secret@glance is away'
            )
        return self._proxy.request(*arguments, **more)


def test_while_glance_is_away_the_last_count_stays_and_that_is_told(
    make_survey, proxy, service, caplog
):
    caplog.set_level(logging.INFO)
    service._api = sometimes = Sometimes(proxy)
    proxy.add('one', 'east')
    made = make_survey()
    made.look()
    counted = value(made, 'last_list_timestamp_seconds')
    sometimes.away = True
    for _ in range(3):
        proxy.clock.sleep(60)
        made.look()
    assert value(made, 'glance_up') == 0
    assert value(made, 'images', store='east', visibility='public') == 1
    assert value(made, 'last_list_timestamp_seconds') == counted
    # Once, however often it is so; and without the password.
    (said,) = caplog.messages
    assert 'does not answer' in said
    assert 'secret' not in said

    sometimes.away = False
    made.look()
    assert value(made, 'glance_up') == 1
    assert value(made, 'last_list_timestamp_seconds') == counted + 180
    assert caplog.messages[-1] == 'Glance: all is well again'


def test_before_the_first_good_list_nothing_is_counted(make_survey):
    def let_in():
        raise errors.Unreachable('Cannot log in')

    made = make_survey(let_in)
    assert value(made, 'glance_up') == 0
    made.look()
    assert value(made, 'glance_up') == 0
    assert not [name for name, *_ in values(made) if 'images' in name]


def test_who_could_not_log_in_tries_again(make_survey, service):
    answers = iter([errors.Unreachable('Cannot log in'), service])

    def let_in():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    made = make_survey(let_in)
    made.look()
    assert value(made, 'glance_up') == 0
    made.look()
    made.look()
    assert value(made, 'glance_up') == 1


# Rules


@pytest.fixture
def rules(tmp_path):
    """A file of rules."""
    path = tmp_path / 'rules.yaml'
    path.write_text(
        'version: 1\n'
        'rules:\n'
        '  - images: {name: "debian-*", visibility: public}\n'
        '    stores: [west]\n'
    )
    return path


@pytest.fixture
def ruled(make_survey, rules):
    return make_survey(rules=lambda known: rulefile.read(rules, known))


def test_missing_images_are_told(ruled, proxy):
    proxy.add('debian-12', 'east', size=3)
    ruled.look()
    assert value(ruled, 'rules_up') == 1
    assert value(ruled, 'missing_images', store='west') == 1
    assert value(ruled, 'missing_images_size_bytes', store='west') == 3
    assert value(ruled, 'missing_images', store='east') == 0


def test_rules_that_change_are_read_again(ruled, proxy, rules):
    proxy.add('debian-12', 'east')
    ruled.look()
    rules.write_text(rules.read_text().replace('west', 'file'))
    ruled.look()
    assert value(ruled, 'missing_images', store='west') == 0
    assert value(ruled, 'missing_images', store='file') == 1


@pytest.mark.parametrize('content', ['no rules', None, 'north'])
def test_rules_that_are_wrong_are_told_and_all_else_counted(
    ruled, proxy, rules, content, caplog
):
    proxy.add('debian-12', 'east')
    if content is None:
        rules.unlink()
    elif content == 'north':
        rules.write_text(rules.read_text().replace('west', content))
    else:
        rules.write_text(content)
    ruled.look()
    ruled.look()
    assert value(ruled, 'rules_up') == 0
    assert value(ruled, 'glance_up') == 1
    assert value(ruled, 'images', store='east', visibility='public') == 1
    assert not [name for name, *_ in values(ruled) if 'missing' in name]
    (said,) = caplog.messages
    assert str(rules) in said


def test_without_rules_nothing_is_told_of_them(make_survey):
    made = make_survey()
    made.look()
    assert not [name for name, *_ in values(made) if 'rules' in name]


# Names


def names(ruled):
    """The names of all that is told, and the labels of each."""
    ruled.look()
    found = {}
    for name, *labels in values(ruled):
        found.setdefault(name, set()).update(label for label, _ in labels)
    return found


def test_no_label_is_without_bounds(ruled, proxy):
    proxy.add('debian-12', 'east')
    assert set().union(*names(ruled).values()) == {
        *('store', 'visibility', 'state', 'version'),
    }


def test_the_page_has_each_metric_with_its_labels_and_no_other(ruled):
    rows = re.findall(
        r'\* - ``(image_replica_\w+)``\n     -(.*)\n', PAGE.read_text()
    )
    shown = {name: set(re.findall(r'``(\w+)``', said)) for name, said in rows}
    assert shown == names(ruled)


# The program


@pytest.fixture
def no_cloud(monkeypatch, tmp_path):
    """An environment that says nothing of any cloud."""
    for name in [*os.environ]:
        if name.startswith('OS_'):
            monkeypatch.delenv(name)
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.chdir(tmp_path)


def test_help_teaches(capsys):
    with pytest.raises(SystemExit, match='0'):
        exporter.main(['--help'])
    said = capsys.readouterr().out
    for word in ('--once', 'clouds.yaml', 'application credential'):
        assert word in said


@pytest.mark.parametrize(
    'arguments',
    [
        ('--address', 'nowhere'),
        ('--interval', '0'),
        ('--interval', 'often'),
        ('--timeout', 'nan'),
        # A command line is not the place for it: others may read that.
        ('--os-password', 'secret'),
    ],
)
def test_a_wrong_command_line_is_told(arguments):
    with pytest.raises(SystemExit, match='2'):
        exporter.main(arguments)


def test_by_default_it_listens_on_loopback_alone():
    assert exporter.make_parser().parse_args([]).address == '127.0.0.1:9643'
    parsed = exporter.make_parser().parse_args(['--address', '9000'])
    assert parsed.address == '127.0.0.1:9000'


@pytest.mark.parametrize('arguments', [(), ('--os-cloud', 'nope')])
def test_who_has_not_said_where_to_log_in_is_told_how_to(
    no_cloud, caplog, arguments
):
    assert exporter.main(['--once', *arguments]) == 1
    (said,) = caplog.messages
    assert said.startswith('Do not know where to log in')
    assert '--os-cloud' in said


@pytest.mark.parametrize('password', ['hush', None])
def test_a_login_that_fails_ends_no_service(
    no_cloud, monkeypatch, caplog, capsys, password
):
    monkeypatch.setenv('OS_AUTH_URL', 'http://127.0.0.1:1/v3')
    monkeypatch.setenv('OS_USERNAME', 'me')
    if password is not None:
        monkeypatch.setenv('OS_PASSWORD', password)
    assert exporter.main(['--once']) == 1
    assert 'Cannot log in' in caplog.messages[-1]
    assert 'hush' not in caplog.text
    assert 'image_replica_glance_up 0.0' in capsys.readouterr().out


class Keystone(http.server.BaseHTTPRequestHandler):
    """Lets everybody in, to a cloud that has no Glance."""

    def do_GET(self):
        url = f'http://127.0.0.1:{self.server.server_port}/v3'
        self.answer(200, {'version': fixture.V3Discovery(url)})

    def do_POST(self):
        token = fixture.V3Token()
        token.set_project_scope()
        service = token.add_service('identity')
        service.add_standard_endpoints(public='http://keystone')
        self.answer(201, token, {'X-Subject-Token': 'a-token'})

    def answer(self, status, body, headers=None):
        self.send_response(status)
        for name, content in (headers or {}).items():
            self.send_header(name, content)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_args):
        pass


@pytest.fixture
def keystone():
    """The URL of a Keystone whose catalog has no Glance."""
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Keystone) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f'http://127.0.0.1:{server.server_port}/v3'
        server.shutdown()


def test_a_cloud_without_glance_ends_no_service(
    no_cloud, monkeypatch, caplog, capsys, keystone
):
    monkeypatch.setenv('OS_AUTH_URL', keystone)
    for name in ('USERNAME', 'PASSWORD', 'PROJECT_NAME'):
        monkeypatch.setenv(f'OS_{name}', 'me')
    monkeypatch.setenv('OS_USER_DOMAIN_NAME', 'Default')
    monkeypatch.setenv('OS_PROJECT_DOMAIN_NAME', 'Default')
    assert exporter.main(['--once']) == 1
    assert 'image service not found' in caplog.messages[-1]
    assert 'image_replica_glance_up 0.0' in capsys.readouterr().out


@pytest.fixture
def cloud(monkeypatch, service):
    """The Glance in memory is the cloud to log in to."""
    monkeypatch.setattr(exporter, 'connect', lambda _options: None)
    monkeypatch.setattr(exporter, '_let_in', lambda _options: service)


def test_once_the_metrics_are_printed(cloud, proxy, capsys):
    proxy.add('one', 'east')
    assert exporter.main(['--once']) == 0
    assert (
        'image_replica_images{store="east",visibility="public"} 1.0'
        in capsys.readouterr().out
    )


def test_an_address_that_is_taken_is_told(cloud, caplog):
    with socket.socket() as other:
        other.bind(('127.0.0.1', 0))
        other.listen()
        address = f'127.0.0.1:{other.getsockname()[1]}'
        assert exporter.main(['--address', address]) == 1
    assert f'Cannot listen at {address}' in caplog.text


class EnoughError(Exception):
    """Ends what would go on for ever."""


def test_it_serves_and_looks_again(cloud, proxy, monkeypatch):
    proxy.add('one', 'east')
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    answers, asked = [], []

    def sleep(seconds):
        answer = requests.get(f'http://127.0.0.1:{port}/metrics', timeout=60)
        answers.append((seconds, answer))
        asked.append(len(proxy.asked))
        if len(answers) == 2:
            raise EnoughError

    monkeypatch.setattr(exporter.time, 'sleep', sleep)
    with pytest.raises(EnoughError):
        exporter.main(['--address', f'{port}', '--interval', '30'])
    assert all(29 < seconds <= 30 for seconds, _ in answers)
    assert all('image_replica_images{' in a.text for _, a in answers)
    # The stores, images and hidden images, each time.
    assert asked == [3, 6]


@pytest.mark.parametrize(
    ('took', 'slept'), [(2.0, 58.0), (30.0, 30.0), (50.0, 50.0), (90.0, 90.0)]
)
def test_at_most_half_of_the_time_glance_is_asked(proxy, took, slept):
    pauses = []

    def sleep(seconds):
        pauses.append(seconds)
        raise EnoughError

    with pytest.raises(EnoughError):
        exporter.look_for_ever(
            lambda: proxy.clock.sleep(took), 60.0, proxy.clock, sleep
        )
    assert pauses == [slept]
