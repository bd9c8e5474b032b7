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

"""What users, a broken Glance or a mistyped option may send us.

Three things hold for all of it: only documented exceptions come out, each log
entry is one line of printable characters, and the work is linear in what was
sent. Lines are formatted as Nova's are, by oslo.log, which adds the error that
is being handled to a warning.
"""

import contextlib
import json
import logging
import math
import pathlib
import sys
import tempfile
import urllib.parse

from hypothesis import HealthCheck
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from nova import exception
from nova.conf import CONF
from oslo_config import cfg
from oslo_log import formatters
from oslo_log import log as oslo_logging
import pytest

from nova_rbd_multistore import answers
from nova_rbd_multistore import arrival
from nova_rbd_multistore import conf
from nova_rbd_multistore import copying
from nova_rbd_multistore import driver
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import image
from nova_rbd_multistore import location
from nova_rbd_multistore import pace
from nova_rbd_multistore import progress
from nova_rbd_multistore import source
from nova_rbd_multistore import task as task_values
from nova_rbd_multistore import text
from nova_rbd_multistore import wait
from tests.fakes import clock as clocks
from tests.fakes import cloud as clouds
from tests.fakes import network

FSID = 'fsid-west'
IMAGE = '5e0d2c5a-9a6b-4c0e-8f0a-0b9d7c3e1f22'
OUR_ERRORS = (exceptions.ImageError, exceptions.HostError)

#: On a busy machine, slow means nothing. Shrinking two faults takes long.
unhurried = settings(
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow],
)

#: What has broken parsers, terminals and log viewers before.
tricks = st.sampled_from(
    [
        *'\0\t\n\r\x0b\x0c\x1b\x7f\x85\u2028\u2029\u200b\ufeff',
        *'\u061c\u200e\u202a\u202e\u2066\u2069\ud800\udfff\U000e0001',
        '\r\n2026-11-21 05:00:00.000 1 CRITICAL nova [-] ',
        '\x1b]0;title\x07',
        '%s%n%(x)s{0}$x',
        'http://nova:secret@host/',
        'os_glance_staging_store',
        '9' * 400,
        'x' * 500,
        *'/,%@:?#',
        '%00%0A%2F',
        '//',
        'rbd://',
        FSID,
        IMAGE,
        'west',
    ]
)
hostile = st.lists(
    tricks | st.text(st.characters(), max_size=8), max_size=6
).map(''.join)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | hostile,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(hostile, inner, max_size=3)
    ),
    max_leaves=4,
)
names = (
    st.sampled_from(['images', 'vms', 'golden', IMAGE, 'snap', 'snap2'])
    | hostile
)


@st.composite
def rbd_urls(draw):
    """Nearly right: such URLs come far."""
    fsid = draw(st.sampled_from([FSID, 'fsid-east']) | hostile)
    parts = [fsid, *draw(st.lists(names, min_size=3, max_size=3))]
    escape = draw(st.booleans())
    return 'rbd://' + '/'.join(
        urllib.parse.quote(part.encode(errors='replace'), safe='')
        if escape
        else part
        for part in parts
    )


urls = (
    rbd_urls()
    | hostile
    | st.builds('{}://{}'.format, st.sampled_from(['rbd', 'cinder']), hostile)
)
stores = st.lists(
    st.sampled_from(['west', 'east', 'os_glance_tasks_store']) | hostile,
    max_size=3,
).map(','.join)
locations = st.lists(
    st.fixed_dictionaries(
        {'url': urls},
        optional={'metadata': st.builds(lambda s: {'store': s}, stores)},
    )
    | anything,
    max_size=3,
)


def nearly(good, **spoiled):
    """``good`` with some of its fields spoiled."""
    return st.fixed_dictionaries(
        {},
        optional={
            name: spoiled.get(name, hostile) | anything for name in good
        },
    ).map(lambda changes: {**good, **changes})


sizes = st.integers() | st.sampled_from([2**63 - 1, 2**63, 10**400])
records = nearly(
    {
        'id': IMAGE,
        'status': 'active',
        'owner': 'demo',
        'visibility': 'public',
        'disk_format': 'raw',
        'container_format': 'bare',
        'size': 2**28,
        'stores': 'file',
        'os_glance_importing_to_stores': 'west',
        'os_glance_failed_import': '',
        'os_glance_import_task': '',
        'locations': [{'url': f'rbd://fsid-west/images/{IMAGE}/snap'}],
    },
    status=st.sampled_from(['active', 'deactivated']),
    size=sizes,
    stores=stores,
    os_glance_importing_to_stores=stores,
    os_glance_import_task=st.just('a-task') | hostile,
    locations=locations,
)
tasks = nearly(
    {
        'id': 'a-task',
        'status': 'processing',
        'message': 'Copied 128 MiB',
        'request_id': 'req-1',
        'input': {'backend': ['west']},
        'updated_at': '2026-01-01T00:00:00',
    },
    status=st.sampled_from(['pending', 'success', 'failure']),
    message=st.integers(0, 10**13).map('Copied {} MiB'.format) | hostile,
    request_id=st.none() | hostile,
    updated_at=st.datetimes(timezones=st.none() | st.timezones()).map(str)
    | st.sampled_from(
        ['0001-01-01T00:00:00+23:59', '9999-12-31T23:59:59-23:59']
    ),
)
task_lists = st.builds(lambda found: {'tasks': found}, st.lists(tasks))
store_lists = st.builds(
    lambda ids: {'stores': [{'id': store} for store in ids]},
    st.lists(st.just('west') | hostile, max_size=3),
)
bodies = records | locations | task_lists | store_lists | anything
http_answers = st.builds(
    network.Answer,
    st.sampled_from(
        [
            *(200, 202, 204, 206, 300, 301, 304, 400, 401, 403, 404, 405, 409),
            *(410, 413, 414, 416, 418, 429, 500, 501, 502, 503, 504, 599),
        ]
    ),
    bodies.map(lambda body: json.dumps(body).encode()) | st.binary(),
    st.sampled_from(
        [
            'application/json',
            'application/json; charset=no-such',
            'text/html; charset=UTF-8',
            'text/plain',
            'application/octet-stream',
            '',
            ';;;',
        ]
    ),
    st.fixed_dictionaries(
        {},
        optional={
            'x-openstack-request-id': st.text(
                st.characters(max_codepoint=255, exclude_characters='\r\n')
            ),
            'Location': st.just('http://glance-a:9292/v2/') | urls,
            'Retry-After': hostile,
            'WWW-Authenticate': hostile,
        },
    ),
)


class Lines(logging.Handler):
    """The log, as oslo.log formats it with its defaults."""

    def __init__(self):
        super().__init__(logging.DEBUG)
        options = cfg.ConfigOpts()
        oslo_logging.register_options(options)
        options([])
        self.setFormatter(formatters.ContextFormatter(config=options))
        self.lines = []

    def emit(self, record):
        self.lines.append(self.format(record))


@contextlib.contextmanager
def clean_log():
    """Fails if what is logged meanwhile is not one printable line each."""
    log = Lines()
    logger = logging.getLogger('nova_rbd_multistore')
    before = logger.level
    logger.addHandler(log)
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(log)
        logger.setLevel(before)
    for line in log.lines:
        assert line.isprintable(), line
        assert len(line) < 2500


def check_message(exc):
    """Nova logs our errors, and shows them to the tenant."""
    assert str(exc).isprintable()
    assert len(str(exc)) < 700


# Locations


@unhurried
@given(records, st.lists(urls), stores)
def test_only_own_or_trusted_images_of_our_cluster_are_sources(
    answer, hostile_urls, store
):
    answer = {**answer, 'id': IMAGE, 'status': 'active'}
    answer['locations'] = [
        {'url': url, 'metadata': {'store': store}}
        for url in filter(None, hostile_urls)
    ]
    with clean_log(), contextlib.suppress(answers.MalformedAnswer):
        record = image.ImageRecord.from_answer(answer)
        found = []
        with contextlib.suppress(exceptions.LocationRefused):
            found = source.local_sources(
                record,
                record.locations or (),
                FSID,
                source.Pools('images', trusted=[f'{FSID}/golden']),
            )
        for each in found:
            assert each.fsid == FSID
            assert each.pool == 'golden' or (
                (each.pool, each.image) == ('images', IMAGE)
                and each.snapshot == 'snap'
            )
            assert not image.is_reserved(store)
            b''.join(part.encode() for part in (each.pool, each.image))


@unhurried
@given(urls)
def test_a_location_is_understood_or_malformed(url):
    try:
        found = location.parse(url)
    except location.MalformedLocation as exc:
        check_message(exc)
    else:
        if isinstance(found, location.RbdLocation):
            assert url.count('/') == 5
            assert '\0' not in found.pool + found.image + found.snapshot


# Answers, through glanceclient

QUESTIONS = {
    'record': (
        lambda images: images.record(IMAGE),
        (exceptions.ImageGone, exceptions.TokenRefused),
    ),
    'locations': (
        lambda images: images.locations(IMAGE),
        (
            exceptions.ImageGone,
            exceptions.LocationsForbidden,
            exceptions.TokenRefused,
        ),
    ),
    'tasks': (
        lambda images: images.tasks(IMAGE),
        (exceptions.ImageGone, exceptions.TokenRefused),
    ),
    'request_copy': (
        lambda images: images.request_copy(IMAGE, 'west', frozenset({'east'})),
        (
            exceptions.CopyForbidden,
            exceptions.CopyOverQuota,
            exceptions.ImageGone,
            exceptions.SourceOutOfReach,
            exceptions.StoreUnknown,
            exceptions.TokenRefused,
        ),
    ),
}


@pytest.mark.parametrize('question', QUESTIONS)
@settings(unhurried, max_examples=150)
@given(answer=http_answers, healthy=st.booleans(), store=st.booleans())
def test_an_answer_is_read_or_becomes_a_documented_error(
    question, answer, healthy, store
):
    cloud = clouds.Cloud(count=1)
    (endpoint,) = cloud.endpoints
    if healthy:
        cloud.known.note_healthy(cloud.urls[0])
    if store:
        cloud.known.learn_stores(cloud.urls[0], frozenset({'west'}))
    endpoint.fault = answer
    ask, documented = QUESTIONS[question]
    with clean_log():
        try:
            read = ask(cloud.glance())
        except (exceptions.GlanceUnavailable, *documented) as exc:
            check_message(exc)
        else:
            if isinstance(read, task_values.CopyReply):
                assert read.reason.isprintable()
                assert (read.request_id or '').isprintable()
                assert read.endpoint.isprintable()
    # Redirects are not followed.
    assert len(endpoint.asked) <= 3


@unhurried
@given(stores)
def test_no_store_of_glances_own_is_asked_for_a_copy(store):
    cloud = clouds.Cloud(count=1)
    cloud.api.stores[store] = None
    made = cloud.api.add_image('east')
    with clean_log():
        try:
            cloud.glance().request_copy(made.id, store)
        except exceptions.StoreUnknown:
            assert cloud.api.requests == []
        else:
            assert not store.startswith(image.RESERVED_PREFIX)


@unhurried
@given(stores)
def test_a_store_in_a_record_has_one_name_and_is_not_glances_own(listed):
    record = image.ImageRecord.from_answer(
        {'id': IMAGE, 'status': 'active', 'stores': listed}
    )
    for store in record.stores:
        assert store.strip() == store != ''
        assert ',' not in store
        assert not store.startswith(image.RESERVED_PREFIX)
    assert not record.holds(listed) or listed in record.stores
    assert not any(map(record.holds, record.reserved))


# A whole copy


class HostileService:
    """A Glance that answers anything, as often as it is asked.

    :ivar asked: how often that was
    """

    def __init__(self, draw):
        self._draw = draw
        self.asked = 0

    def record(self, image_id):
        answer = self._answer(records)
        with self._reading():
            return image.ImageRecord.from_answer({**answer, 'id': image_id})

    def tasks(self, _image_id):
        answer = self._answer(task_lists)
        with self._reading():
            return task_values.copy_tasks(answer)

    def request_copy(self, *_question):
        self.asked += 1
        return task_values.CopyReply(
            self._draw(st.sampled_from(task_values.Verdict)),
            self._draw(st.none() | st.just('req-1')),
            text.printable(self._draw(hostile)),
        )

    def _answer(self, strategy):
        self.asked += 1
        # What comes out of a copy is decided early; later on, one answer
        # is as good as another.
        return self._draw(strategy) if self.asked < 8 else {}

    @contextlib.contextmanager
    def _reading(self):
        try:
            yield
        except answers.MalformedAnswer as exc:
            raise exceptions.GlanceUnavailable(1) from exc


@unhurried
@given(
    data=st.data(),
    size=sizes.filter(lambda size: 0 <= size < 2**63),
    arrivals=st.lists(
        st.builds(
            arrival.Arrival,
            st.booleans(),
            st.booleans(),
            st.none() | st.integers(0, 2**63),
        ),
        min_size=1,
        max_size=6,
    ),
)
def test_a_copy_ends_in_time_whatever_glance_and_the_cluster_say(
    data, size, arrivals
):
    clock = clocks.Clock()
    service = HostileService(data.draw)
    looks = iter(arrivals)
    waiting = wait.Wait(
        IMAGE,
        lambda: next(looks, arrivals[-1]),
        None,
        pace.Limits(
            poll_interval=15, probe_interval=0.5, timeout=60, stall_timeout=30
        ),
        clock.time(),
    )
    copy = copying.Copy(
        image.ImageRecord(
            IMAGE,
            'active',
            disk_format='raw',
            container_format='bare',
            size=size,
        ),
        'west',
        location.RbdLocation(FSID, 'images', IMAGE, 'snap'),
        service,
        waiting,
    )
    began = clock.now
    with clean_log():
        try:
            copy.run()
        except OUR_ERRORS as exc:
            check_message(exc)
    assert clock.now - began <= 60.5
    assert service.asked < 200


# Options

option_values = st.one_of(
    hostile.filter(lambda value: value.isascii()),
    st.floats().map(str),
    st.integers().map(str),
    st.sampled_from(['', 'nan', '-inf', '1e999', '0x10', '1_0', '$x', '١٢']),
    st.sampled_from(['$glance_rbd_pool', '${trusted_clone_pools}', '$$']),
    st.sampled_from(['a\n  b', 'a\u2028b', 'west,\n east', '"a', "'a,b'"]),
)


@pytest.mark.parametrize('option', conf.OPTIONS, ids=lambda o: o.name)
@settings(unhurried, max_examples=60)
@given(value=option_values)
def test_an_option_is_usable_or_refused_at_start(option, value):
    options = cfg.ConfigOpts()
    conf.register(options)
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory, 'nova.conf')
        path.write_text(f'[rbd_multistore]\n{option.name} = {value}\n')
        try:
            options(['--config-file', str(path)])
        except cfg.ConfigFileParseError:
            return
        try:
            conf.check(options)
        except ValueError:
            return
    read = options.rbd_multistore[option.dest]
    if isinstance(read, bool):
        return
    if isinstance(read, int | float):
        assert math.isfinite(read)
        assert 0 < read <= conf.DAY
    else:
        assert ''.join(read).isprintable()


@pytest.mark.parametrize(
    'value',
    [
        'os_glance_staging_store',
        'os_glance_',
        'os_glance_\nx',
        'west\r\n2026-11-21 CRITICAL',
        'we\u2029st',
        'we\u2066st',
        'west,east',
    ],
)
def test_the_name_of_our_store_is_one_name_on_one_line(options, value):
    del options
    CONF.set_override('images_rbd_glance_store_name', value, group='libvirt')
    with pytest.raises(exception.InvalidConfiguration) as caught:
        driver.check_configuration()
    assert str(caught.value).isprintable()


# Texts


@unhurried
@given(st.text(st.characters()) | hostile, st.integers(1, 600))
def test_what_is_made_printable_is_one_line_of_limited_length(said, limit):
    line = text.printable(said, limit)
    assert line.isprintable()
    assert len(line) <= limit
    assert not set('\n\r\x1b\x85\u2028\u2029\u202e\u2066') & set(line)


passwords = st.text(
    st.characters(min_codepoint=33, max_codepoint=126).filter(
        lambda c: c not in '/?#'
    )
)


@unhurried
@given(hostile, passwords, hostile)
def test_no_credentials_are_left_in_a_url(before, password, after):
    secret = f'<{password}>'
    said = f'{before} http://nova:{secret}@glance {after}'
    assert secret not in text.without_credentials(said)


@unhurried
@given(hostile | rbd_urls())
def test_no_url_is_left_for_tenants(said):
    assert '://' not in text.without_urls(said)


# Work


def work(function):
    """How many calls a call makes, those of built-in functions among them."""
    calls = 0

    def count(_frame, event, _argument):
        nonlocal calls
        calls += event in ('call', 'c_call')

    sys.setprofile(count)
    try:
        with contextlib.suppress(*OUR_ERRORS, ValueError):
            function()
    finally:
        sys.setprofile(None)
    return calls


def ask(question, body):
    cloud = clouds.Cloud(count=1)
    cloud.known.note_healthy(cloud.urls[0])
    cloud.endpoints[0].fault = network.Answer(200, json.dumps(body).encode())
    return lambda: QUESTIONS[question][0](cloud.glance())


GROWING = {
    'parts of a location': lambda n: (
        lambda: location.parse('rbd://' + '/'.join(['%41'] * n))
    ),
    'escapes in a location': lambda n: (
        lambda: location.parse('rbd://a/b/c/' + '%41x' * n)
    ),
    'locations': lambda n: (
        lambda: source.local_sources(
            image.ImageRecord(IMAGE, 'active'),
            [image.ImageLocation(f'rbd://{FSID}/images/{IMAGE}/snap')] * n,
            FSID,
            source.Pools('images'),
        )
    ),
    'malformed locations': lambda n: (
        lambda: source.local_sources(
            image.ImageRecord(IMAGE, 'active'),
            [image.ImageLocation('cinder://a/b/c', 'os_glance_x')] * n,
            FSID,
            source.Pools('images'),
        )
    ),
    'stores of an image': lambda n: ask(
        'record',
        {
            'id': IMAGE,
            'status': 'active',
            'stores': ','.join(f's{i}' for i in range(n)),
        },
    ),
    'locations in an answer': lambda n: ask(
        'locations', [{'url': 'file:///x', 'metadata': {}}] * n
    ),
    'tasks': lambda n: ask(
        'tasks',
        {
            'tasks': [
                {
                    'id': 'a-task',
                    'status': 'failure',
                    'message': 'x' * 1000,
                    'updated_at': '2026-01-01T00:00:00',
                }
            ]
            * n
        },
    ),
    'stores of Glance': lambda n: ask(
        'request_copy',
        {'stores': [{'id': f'os_glance_{i}'} for i in range(n)]},
    ),
    'stores of an endpoint': lambda n: ask(
        'request_copy',
        {'stores': [{'id': 'west'}, *({'id': f'at-{i}'} for i in range(n))]},
    ),
    'a field of the wrong type': lambda n: ask('record', {'id': ['x'] * n}),
    'credentials': lambda n: (
        lambda: text.without_credentials('http://a@b@' * n)
    ),
    'addresses': lambda n: lambda: text.without_urls('a' * n + '://x ' * n),
}


@pytest.mark.parametrize('growing', GROWING)
def test_twice_as_much_input_is_at_most_twice_the_work(growing):
    make = GROWING[growing]
    work(make(100))  # what is done once per process
    once, twice = work(make(1000)), work(make(2000))
    assert twice <= 2.1 * once


@pytest.mark.parametrize(
    'read',
    [text.printable, progress.bytes_in_message],
    ids=['printable', 'message'],
)
def test_no_more_of_a_text_is_looked_at_than_is_used(read):
    assert work(lambda: read('Copied ' * 2000)) == work(
        lambda: read('Copied ' * 4000)
    )
