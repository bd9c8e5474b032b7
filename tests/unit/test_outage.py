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

"""How long a guest's start waits for a cluster that is away."""

import logging

import pytest

from nova_rbd_multistore import exceptions
from nova_rbd_multistore import outage
from tests.fakes import clock as clocks

AWAY = exceptions.ClusterUnreachable('[errno 110] timed out')

SERVER = '00000000-0000-4000-8000-000000000000'


class Cluster:
    """One to look at.

    :ivar looks: how often somebody did
    :ivar error: what they get
    """

    def __init__(self):
        self.looks = 0
        self.error = None

    def look(self):
        self.looks += 1
        if self.error:
            raise self.error

    def come_back(self):
        self.error = None


@pytest.fixture
def clock():
    return clocks.Clock()


@pytest.fixture
def cluster():
    return Cluster()


@pytest.fixture
def outlast(clock, cluster, caplog):
    caplog.set_level(logging.INFO)
    found = outage.Outage(clock.time())
    return lambda: found.outlast(cluster.look, SERVER)


def test_a_cluster_that_answers_is_asked_once(cluster, outlast, clock, caplog):
    outlast()
    assert cluster.looks == 1
    assert clock.naps == []
    assert caplog.messages == []


def test_one_that_is_away_is_waited_for(cluster, outlast, clock, caplog):
    cluster.error = AWAY
    clock.after(60, cluster.come_back)
    outlast()
    assert clock.now == pytest.approx(1060, abs=outage.AGAIN)
    waits, came = caplog.messages
    assert waits.startswith('Waiting for the Ceph cluster')
    assert 'for 300 s at most' in waits
    assert str(AWAY) in waits
    assert 'answers, after 60 s' in came


def test_not_for_ever(cluster, outlast, clock, caplog):
    cluster.error = AWAY
    with pytest.raises(exceptions.ClusterUnreachable):
        outlast()
    assert clock.now == pytest.approx(1000 + outage.LONGEST)
    assert len(caplog.messages) == 1


def test_many_servers_wait_once_together(cluster, outlast, clock):
    cluster.error = AWAY
    for _ in range(9):
        with pytest.raises(exceptions.ClusterUnreachable):
            outlast()
    assert clock.now == pytest.approx(1000 + outage.LONGEST)


def test_when_it_has_been_there_it_is_waited_for_again(
    cluster, outlast, clock
):
    for _ in range(2):
        cluster.error = AWAY
        clock.after(200, cluster.come_back)
        outlast()
    assert clock.now == pytest.approx(1400, abs=2 * outage.AGAIN)


def test_another_outage_is_waited_for_though_nobody_saw_the_first_one_end(
    cluster, outlast, clock
):
    cluster.error = AWAY
    with pytest.raises(exceptions.ClusterUnreachable):
        outlast()
    clock.sleep(86400)
    began = clock.now
    clock.after(60, cluster.come_back)
    outlast()
    assert clock.now == pytest.approx(began + 60, abs=outage.AGAIN)


@pytest.mark.parametrize(
    'error',
    [
        exceptions.ClusterRefused('wrong key'),
        exceptions.PoolUnusable('vms', 'no such pool'),
        exceptions.HostStopping(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_a_wait_does_not_mend_is_not_waited_for(
    cluster, outlast, clock, error
):
    cluster.error = error
    with pytest.raises(type(error)):
        outlast()
    assert clock.naps == []


def test_a_stop_of_nova_compute_ends_the_wait(cluster, clock):
    def stop(_seconds):
        raise exceptions.HostStopping

    cluster.error = AWAY
    clock.sleep = stop
    with pytest.raises(exceptions.HostStopping):
        outage.Outage(clock.time()).outlast(cluster.look, SERVER)
