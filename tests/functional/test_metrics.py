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

"""Prometheus is told what becomes of boots, while they are under way."""

import socket

import pytest

from tests.rig import metrics_ports
from tests.rig import polling
from tests.rig import ports

PREFIX = 'nova_rbd_multistore_'


@pytest.fixture
def port():
    return ports.free()


@pytest.fixture
def told(port):
    """What is told now, by name and labels as they stand there."""
    return lambda: metrics_ports.told(port, PREFIX)


@pytest.mark.both_modes
def test_boots_are_told_while_another_waits_for_its_copy(
    told, port, upload, make_host, demo_user, hold_copy, where
):
    local, held = upload(store='west'), upload()
    glance = hold_copy(held.id, 'east')
    host = make_host(
        'west-1',
        rbd_multistore__metrics_address=port,
        glance__api_servers=[where.glance_apis[0].url],
    )

    host.start(demo_user, [held.id, local.id])
    polling.until(
        lambda: (
            told().get('boots_total{outcome="clone"}') == 1
            and told().get('copies{stage="locked"}') == 1
        ),
        'one boot is done, and one waits',
    )
    # Who says nothing keeps nobody waiting.
    with socket.create_connection(('127.0.0.1', port)):
        now = told()
    glance.thaw()
    waited, cloned = host.outcomes()

    assert waited.error is None, waited.message
    assert cloned.error is None, cloned.message
    url = where.glance_apis[0].url
    assert now['copies_size_bytes'] == 8 << 20
    assert now['find_seconds_count'] >= 1
    assert now['clone_seconds_count'] == 1
    assert now['looks_total{saw="whole"}'] >= 1
    assert now[f'glance_endpoint_up{{endpoint="{url}"}}'] == 1
    assert now[f'glance_requests_total{{answer="Good",endpoint="{url}"}}'] >= 2
    assert now['ceph_connections_given_up_total{reason="lost"}'] == 0
    assert now['last_good_boot_timestamp_seconds'] > 1e9


@pytest.mark.long
def test_nova_compute_tells_of_its_servers(
    told, port, configure, upload, servers
):
    image = upload(store='east')
    configure('east-1', rbd_multistore__metrics_address=port)
    assert told()['boots_total{outcome="clone"}'] == 0

    servers.boot(image.id, 'east')

    assert told()['boots_total{outcome="clone"}'] == 1
    assert told()['find_seconds_count'] == 1
