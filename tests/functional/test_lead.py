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

"""One host of a site polls Glance for all that wait there for others."""

import datetime
import uuid

import pytest

from nova_rbd_multistore import ceph
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import finding
from nova_rbd_multistore import lead
from tests.rig import clusters
from tests.rig import hosts
from tests.rig import polling

#: Nova's default, which the hosts here have.
POLL_INTERVAL = datetime.timedelta(seconds=15)

LEADS = 'Polling Glance for all hosts of this site'


def moment(text):
    return datetime.datetime.fromisoformat(text)


@pytest.fixture
def leases(east, west):
    """The leases that are there, of both sites."""

    def found():
        return {
            name
            for cluster in (east, west)
            for name in cluster.objects('vms')
            if name.startswith(finding.LEASE_PREFIX)
        }

    return found


# Two sites


def test_the_second_of_two_sites_does_not_wait_for_a_poll_interval(
    upload, make_host, demo_user, east, west, copy_tasks, leases
):
    image = upload(size_mib=64)
    parent = clusters.of_glance(image.id)
    making = [
        make_host(like) for like in ('east-1', 'east-1', 'west-1', 'west-1')
    ]
    at = hosts.soon(8.0)
    for host in making:
        host.start(demo_user, [image.id], at)

    boots = [boot for host in making for boot in host.outcomes()]

    assert [boot.message for boot in boots if boot.error] == []
    parents = [east.parent(boot.disk) for boot in boots[:2]]
    parents += [west.parent(boot.disk) for boot in boots[2:]]
    assert parents == [parent] * 4
    first, second = sorted(
        copy_tasks(image.id), key=lambda task: task['created_at']
    )
    ended, began = moment(first['updated_at']), moment(second['created_at'])
    assert ended <= began
    # Where all four polled once an interval, none would have done so yet.
    assert began - ended < POLL_INTERVAL / 2
    waiting = (
        making[:2] if second['input']['backend'] == ['east'] else making[2:]
    )
    assert any(LEADS in host.log for host in waiting)
    assert leases() == set()


@pytest.fixture
def two_waiting(upload, make_host, demo_user, hold_copy):
    """Two hosts of west that wait for a copy to east, which stands still.

    The glance-api of that copy, the image, and the hosts, the leader first.
    """
    image = upload(size_mib=64)
    api = hold_copy(image.id, 'east')
    waiting = [make_host('west-1') for _ in range(2)]
    for host in waiting:
        host.start_waiting(demo_user, image.id)
    polling.until(
        lambda: any(LEADS in host.log for host in waiting), 'a leader'
    )
    return api, image, sorted(waiting, key=lambda host: LEADS not in host.log)


@pytest.mark.fault
@pytest.mark.both_modes
def test_another_host_leads_when_the_leader_is_killed(
    two_waiting, west, leases
):
    api, image, (leader, other) = two_waiting
    assert LEADS not in other.log

    leader.kill()
    other.wait_for_log(LEADS)
    api.thaw()
    (boot,) = other.outcomes()

    assert boot.error is None, boot.message
    assert west.parent(boot.disk) == clusters.of_glance(image.id)
    assert leases() == set()


@pytest.mark.fault
def test_a_leader_that_was_frozen_does_no_harm(
    two_waiting, west, copy_tasks, leases
):
    api, image, (leader, other) = two_waiting

    leader.freeze()
    other.wait_for_log(LEADS)
    leader.thaw()
    api.thaw()
    boots = [*leader.outcomes(), *other.outcomes()]

    assert [boot.message for boot in boots if boot.error] == []
    parents = {west.parent(boot.disk) for boot in boots}
    assert parents == {clusters.of_glance(image.id)}
    assert len(copy_tasks(image.id)) == 2
    assert leases() == set()


@pytest.mark.fault
def test_a_host_that_died_before_it_asked_delays_the_others_for_a_while(
    upload, make_host, demo_user, as_nova, west, leases
):
    image = upload(size_mib=64)
    host = make_host('west-1')
    dead = as_nova()
    assert dead.hold_lease(
        'vms', f'{finding.LEASE_PREFIX}{image.id}', 'dead', lead.LEASE
    )

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error is None, boot.message
    assert west.parent(boot.disk) == clusters.of_glance(image.id)
    assert 'Waiting for image' in host.log
    # Its lease, the pause of the other between two attempts, and a copy.
    assert boot.seconds < 2.2 * lead.LEASE + 10
    assert leases() == set()


@pytest.mark.fault
def test_no_user_s_right_is_judged_by_whoever_of_a_site_asks_first(
    upload, make_host, demo_user, other, user_of, west, leases
):
    image = upload(size_mib=64, visibility='private')
    stranger = user_of(other)
    users = [stranger, stranger, demo_user]
    making = [make_host('west-1') for _ in users]
    at = hosts.soon()
    for host, user in zip(making, users, strict=True):
        host.start(user, [image.id], at)

    *failed, boot = [boot for host in making for boot in host.outcomes()]

    assert [one.error for one in failed] == ['ImageGone', 'ImageGone']
    assert boot.error is None, boot.message
    assert west.parent(boot.disk) == clusters.of_glance(image.id)
    assert leases() == set()


# The lease, by the caps of Nova's own cephx user


@pytest.fixture
def as_nova(where):
    """Makes connections of Nova's cephx user to the cluster of site west."""

    def connect():
        return ceph.Cluster(str(where.sites[1].ceph_conf), 'nova', 20, {})

    return connect


@pytest.fixture
def name(west):
    name = f'{finding.LEASE_PREFIX}{uuid.uuid4()}'
    yield name
    if name in west.objects('vms'):
        with west.pool('vms') as ioctx:
            ioctx.remove_object(name)


@pytest.mark.fault
def test_a_lease_is_one_host_s_at_a_time_and_may_be_renewed(as_nova, name):
    one, other = as_nova(), as_nova()
    assert one.hold_lease('vms', name, 'one', 60)
    assert not other.hold_lease('vms', name, 'other', 60)
    assert one.hold_lease('vms', name, 'one', 60)


@pytest.mark.fault
def test_a_lease_that_is_given_back_leaves_nothing(as_nova, name, west):
    one, other = as_nova(), as_nova()
    assert one.hold_lease('vms', name, 'one', 60)
    assert other.has_lease('vms', name)
    one.release_lease('vms', name)
    assert not other.has_lease('vms', name)
    assert name not in west.objects('vms')
    one.release_lease('vms', name)
    assert other.hold_lease('vms', name, 'other', 60)


@pytest.mark.fault
def test_a_lease_that_is_not_renewed_runs_out(as_nova, name):
    one, other = as_nova(), as_nova()
    assert one.hold_lease('vms', name, 'one', 1)
    polling.until(
        lambda: other.hold_lease('vms', name, 'other', 60), 'the end of it'
    )
    assert not one.hold_lease('vms', name, 'one', 60)


@pytest.mark.fault
def test_no_lease_is_had_in_a_pool_that_may_not_be_written_to(as_nova, name):
    with pytest.raises(exceptions.PoolUnusable):
        as_nova().hold_lease('images', name, 'one', 60)
