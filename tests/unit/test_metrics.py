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

"""What boots report reaches Prometheus, named and labeled as it wants."""

import contextlib
import dataclasses
import inspect
import logging
import pathlib
import re
import socket

import prometheus_client
from prometheus_client import parser
import pytest
import requests

from nova_rbd_multistore import backend
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import meter
from nova_rbd_multistore import metrics

PAGE = pathlib.Path(__file__).parents[2] / 'doc' / 'source' / 'monitoring.rst'


@dataclasses.dataclass
class Copy:
    stage: meter.Stage = meter.Stage.STAGING
    copied: int = 0
    total: int | None = None


@pytest.fixture
def measured():
    return metrics.Metrics('1.2.3', 'west')


@pytest.fixture
def told(measured):
    """What Prometheus is told: values, by name and labels."""

    def ask():
        text = prometheus_client.generate_latest(measured.registry).decode()
        return {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in parser.text_string_to_metric_families(text)
            for sample in family.samples
        }

    return ask


def test_nobody_need_listen(measured):
    del measured
    with meter.DEAF.time(meter.Step.FIND), meter.DEAF.follow(Copy()):
        meter.DEAF.look(meter.Saw.PART)
        meter.DEAF.answer('http://glance', 'Good')
        meter.DEAF.boot('clone', good=True)


def test_it_says_what_it_is(told):
    assert told()[
        'nova_rbd_multistore_info', ('store', 'west'), ('version', '1.2.3')
    ]


def test_boots_are_counted_by_their_outcome(measured, told):
    for outcome in ('clone', 'clone', 'CopyTimedOut'):
        measured.boot(outcome, good=outcome == 'clone')
    name = 'nova_rbd_multistore_boots_total'
    assert told()[name, ('outcome', 'clone')] == 2
    assert told()[name, ('outcome', 'CopyTimedOut')] == 1


def test_each_outcome_is_there_before_it_happens(told):
    # Prometheus sees no counter rise that was not there before.
    for outcome in ('clone', 'CopyTimedOut', 'LocationRefused', 'other'):
        value = told()['nova_rbd_multistore_boots_total', ('outcome', outcome)]
        assert value == 0


def test_the_last_good_boot_is_told_and_not_the_last_bad_one(measured, told):
    name = ('nova_rbd_multistore_last_good_boot_timestamp_seconds',)
    measured.boot('CopyTimedOut', good=False)
    assert told()[name] == 0
    measured.boot('clone', good=True)
    assert told()[name] > 1e9


@pytest.mark.parametrize('step', meter.Step)
def test_each_step_takes_its_time_also_if_it_fails(measured, told, step):
    with (
        contextlib.suppress(exceptions.ImageGone),
        measured.time(step),
    ):
        raise exceptions.ImageGone('an-id')
    name = f'nova_rbd_multistore_{step.value}_seconds'
    assert told()[f'{name}_count',] == 1
    assert told()[f'{name}_sum',] >= 0
    assert told()[f'{name}_bucket', ('le', '+Inf')] == 1


@pytest.mark.parametrize('saw', meter.Saw)
def test_looks_are_counted_by_what_they_saw(measured, told, saw):
    measured.look(saw)
    name = 'nova_rbd_multistore_looks_total'
    assert told()[name, ('saw', saw.value)] == 1


def test_answers_are_counted_by_endpoint_without_its_credentials(
    measured, told
):
    measured.answer('http://me:secret@glance:9292/', 'Good')
    assert told()[
        'nova_rbd_multistore_glance_requests_total',
        ('answer', 'Good'),
        ('endpoint', 'http://glance:9292/'),
    ]


def test_copies_are_told_while_they_are_awaited(measured, told):
    one = Copy(meter.Stage.ARRIVING, copied=3, total=10)
    other = Copy(meter.Stage.STAGING)
    prefix = 'nova_rbd_multistore_copies'
    with measured.follow(one), measured.follow(other):
        assert told()[prefix, ('stage', 'arriving')] == 1
        assert told()[prefix, ('stage', 'staging')] == 1
        assert told()[prefix, ('stage', 'queued')] == 0
        assert told()[f'{prefix}_arrived_bytes',] == 3
        assert told()[f'{prefix}_size_bytes',] == 10
        one.copied = 10
        assert told()[f'{prefix}_arrived_bytes',] == 10
    assert told()[prefix, ('stage', 'arriving')] == 0
    assert told()[f'{prefix}_size_bytes',] == 0


def test_a_copy_that_fails_is_awaited_no_more(measured, told):
    with (
        contextlib.suppress(exceptions.ImageGone),
        measured.follow(Copy(meter.Stage.QUEUED)),
    ):
        raise exceptions.ImageGone('an-id')
    assert told()['nova_rbd_multistore_copies', ('stage', 'queued')] == 0


def test_what_is_true_at_a_moment_is_looked_up_then(measured, told):
    endpoints, connections = {'http://a:secret@b/': True}, {'lost': 2}
    measured.watch(lambda: endpoints, lambda: connections)
    up = 'nova_rbd_multistore_glance_endpoint_up', ('endpoint', 'http://b/')
    assert told()[up] == 1
    endpoints['http://a:secret@b/'] = False
    assert told()[up] == 0
    assert (
        told()[
            'nova_rbd_multistore_ceph_connections_given_up_total',
            ('reason', 'lost'),
        ]
        == 2
    )


# Names


def names(measured):
    """The names of all that is told, and the labels of each."""
    measured.watch(lambda: {'http://b/': True}, lambda: {'lost': 1})
    measured.boot('clone', good=True)
    measured.look(meter.Saw.PART)
    measured.answer('http://b/', 'Good')
    found = {}
    for family in measured.registry.collect():
        for sample in family.samples:
            if not sample.name.endswith('_created'):
                found.setdefault(
                    re.sub('_(bucket|count|sum)$', '', sample.name), set()
                ).update(set(sample.labels) - {'le'})
    return found


def test_names_and_units_are_as_prometheus_wants_them(measured):
    for name in names(measured):
        assert name.startswith('nova_rbd_multistore_')
        assert re.fullmatch('[a-z][a-z_]+[a-z]', name)
        assert not re.search('_(ms|mib|mb|seconds_total|minutes)$', name)


def test_no_label_is_without_bounds(measured):
    labels = set().union(*names(measured).values())
    assert labels == {
        *('outcome', 'saw', 'stage', 'endpoint', 'answer', 'reason'),
        *('version', 'store'),
    }


def test_the_page_has_each_metric_with_its_labels_and_no_other(measured):
    rows = re.findall(
        r'\* - ``(nova_rbd_multistore_\w+)``\n     -(.*)\n', PAGE.read_text()
    )
    shown = {name: set(re.findall(r'``(\w+)``', said)) for name, said in rows}
    assert shown == names(measured)


def test_the_page_has_each_value_of_a_label():
    page = PAGE.read_text()
    for values in (meter.Stage, meter.Saw):
        for value in values:
            assert f'``{value.value}``' in page


def test_the_page_has_each_outcome_that_is_no_class():
    source = inspect.getsource(backend)
    made = set(re.findall(r"self\._made = '(\w+)'", source))
    assert made == {'clone', 'copy_and_clone', 'download'}
    for word in made | {'deleted', 'other'}:
        assert f'``{word}``' in PAGE.read_text()


# Over HTTP


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def get(url):
    answer = requests.get(url, timeout=60)
    answer.raise_for_status()
    return answer.headers['Content-Type'], answer.text


def test_prometheus_is_told_over_http(measured, port):
    metrics.serve(f'127.0.0.1:{port}', measured.registry)
    kind, text = get(f'http://127.0.0.1:{port}/metrics')
    assert kind.startswith('text/plain')
    assert 'nova_rbd_multistore_info{' in text
    assert get(f'http://127.0.0.1:{port}/metrics')[1]


def test_it_may_ask_over_ipv6(measured):
    with socket.socket(socket.AF_INET6) as probe:
        probe.bind(('::1', 0))
        port = probe.getsockname()[1]
    metrics.serve(f'[::1]:{port}', measured.registry)
    assert 'nova_rbd' in get(f'http://[::1]:{port}/metrics')[1]


def test_one_who_says_nothing_keeps_nobody_waiting(measured, port):
    metrics.serve(f'127.0.0.1:{port}', measured.registry)
    with socket.create_connection(('127.0.0.1', port)):
        assert 'nova_rbd' in get(f'http://127.0.0.1:{port}/metrics')[1]


def test_an_address_that_is_taken_is_an_error_in_the_log_alone(
    measured, port, caplog
):
    with socket.socket() as other:
        other.bind(('127.0.0.1', port))
        other.listen()
        metrics.serve(f'127.0.0.1:{port}', measured.registry)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert f'Cannot serve metrics at 127.0.0.1:{port}' in record.getMessage()
