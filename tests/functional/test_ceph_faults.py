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

"""The site's Ceph cluster is away, out of order, or not the store's."""

import pytest

from tests.rig import clusters
from tests.rig import hosts

pytestmark = pytest.mark.fault

#: Seconds, instead of Ceph's own "for ever" and our 30.
TIMEOUTS = {
    'libvirt__rbd_connect_timeout': 5,
    'rbd_multistore__rados_mon_op_timeout': 5,
    'rbd_multistore__rados_osd_op_timeout': 5,
}


#: The one of them that Nova itself has.
STOCK_TIMEOUTS = {'libvirt__rbd_connect_timeout': 5}


def is_the_host_s(boot):
    """Whether Nova would try another host after this error."""
    return 'HostError' in boot.classes and (
        'ImageUnacceptable' not in boot.classes
    )


@pytest.mark.parametrize('daemon', ['ceph-osd-west', 'ceph-mon-west'])
def test_a_frozen_daemon_is_an_error_in_time_and_the_process_recovers(
    upload, make_host, demo_user, west, freeze, daemon
):
    image = upload(store='west')
    host = make_host('west-1', **TIMEOUTS)
    thaw = freeze(daemon)
    host.start(demo_user, [image.id] * 2, at=hosts.soon(), apart=40)
    host.wait_for_log('DISK-OUTCOME', seconds=60)
    thaw()
    during, after = host.outcomes()

    assert during.error == 'ClusterUnreachable'
    assert is_the_host_s(during)
    assert after.error is None, after.message
    assert west.parent(after.disk) == clusters.of_glance(image.id)


@pytest.mark.parametrize('daemon', ['ceph-osd-west', 'ceph-mon-west'])
def test_stock_nova_waits_for_a_frozen_daemon_for_as_long_as_it_takes(
    upload, make_stock_host, demo_user, freeze, daemon
):
    image = upload(store='west')
    host = make_stock_host(**STOCK_TIMEOUTS)
    thaw = freeze(daemon)
    host.start(demo_user, [image.id])

    with pytest.raises(AssertionError, match='DISK-OUTCOME'):
        host.wait_for_log('DISK-OUTCOME', seconds=30)
    thaw()
    (boot,) = host.outcomes()

    assert boot.error is None, boot.message


@pytest.fixture
def wrong_key(where, tmp_path):
    """A ceph.conf of site west with a key that is not Nova's."""
    keyring = tmp_path / 'keyring'
    keyring.write_text(
        '[client.nova]\nkey = AQAAAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAA==\n'
    )
    conf = tmp_path / 'ceph.conf'
    conf.write_text(
        where.sites[1].ceph_conf.read_text()
        + f'\n[client.nova]\nkeyring = {keyring}\n'
    )
    return str(conf)


def test_a_wrong_key_is_the_host_s_error(
    upload, make_host, demo_user, wrong_key
):
    image = upload(store='west')
    host = make_host(
        'west-1', libvirt__images_rbd_ceph_conf=wrong_key, **TIMEOUTS
    )

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error == 'ClusterRefused'
    assert is_the_host_s(boot)


def test_stock_nova_gives_librados_error_for_a_wrong_key(
    upload, make_stock_host, demo_user, wrong_key
):
    image = upload(store='west')
    host = make_stock_host(
        libvirt__images_rbd_ceph_conf=wrong_key, **STOCK_TIMEOUTS
    )

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error == 'PermissionDeniedError'


def test_a_missing_pool_is_named(upload, make_host, demo_user):
    image = upload(store='west')
    host = make_host('west-1', libvirt__images_rbd_pool='nope', **TIMEOUTS)

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error == 'PoolUnusable'
    assert is_the_host_s(boot)
    assert 'nope' in boot.message[:120]


def test_a_full_cluster_is_an_error_in_time(
    upload, make_host, demo_user, west, full_cluster
):
    image = upload(store='west')
    full_cluster(west)

    (boot,) = make_host('west-1', **TIMEOUTS).boot(demo_user, image.id)

    assert boot.error == 'ClusterUnreachable'
    assert is_the_host_s(boot)


def test_stock_nova_waits_until_the_cluster_is_not_full(
    upload, make_stock_host, demo_user, west, full_cluster
):
    image = upload(store='west')
    full_cluster(west)
    host = make_stock_host(**STOCK_TIMEOUTS)
    host.start(demo_user, [image.id])

    with pytest.raises(AssertionError, match='DISK-OUTCOME'):
        host.wait_for_log('DISK-OUTCOME', seconds=30)


def test_the_next_location_is_tried_when_a_snapshot_is_gone(
    upload, make_host, demo_user, west, admin, glance_for_stock
):
    image = upload(store='west')
    west.create_snapshot('images', image.id, 'second')
    second = {
        'url': f'rbd://{west.fsid}/images/{image.id}/second',
        'metadata': {'store': 'west'},
    }
    admin.session.patch(
        f'{glance_for_stock.url}/v2/images/{image.id}',
        headers={
            'Content-Type': 'application/openstack-images-v2.1-json-patch'
        },
        json=[{'op': 'add', 'path': '/locations/-', 'value': second}],
    ).raise_for_status()
    west.remove_snapshot('images', image.id, 'snap')
    host = make_host(
        'west-1', rbd_multistore__trusted_clone_pools=[f'{west.fsid}/images']
    )

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error is None, boot.message
    parent = clusters.Parent('images', image.id, 'second')
    assert west.parent(boot.disk) == parent
    assert 'Cannot clone image' in host.log


def test_when_the_snapshot_is_gone_what_to_do_is_said(
    upload, make_host, demo_user, west
):
    image = upload(store='west')
    west.remove_snapshot('images', image.id, 'snap')

    (boot,) = make_host('west-1').boot(demo_user, image.id)

    assert boot.error == 'NotInCluster'
    assert 'missing' in boot.message[:120]


def test_stock_nova_says_that_no_locations_are_accessible(
    upload, make_stock_host, demo_user, west
):
    image = upload(store='west')
    west.remove_snapshot('images', image.id, 'snap')

    (boot,) = make_stock_host().boot(demo_user, image.id)

    assert 'No image locations are accessible' in boot.message


def test_a_store_of_another_cluster_is_an_error_with_both_fsids(
    upload, make_host, demo_user, east, west, copy_tasks
):
    image = upload()
    host = make_host('west-1', libvirt__images_rbd_glance_store_name='east')

    (boot,) = host.boot(demo_user, image.id)

    assert boot.error == 'StoreNotLocal'
    assert is_the_host_s(boot)
    assert west.fsid in boot.message
    assert east.fsid in boot.message


def test_no_further_copies_go_to_a_store_of_another_cluster(
    upload, make_host, demo_user, copy_tasks
):
    first, second = upload(), upload()
    host = make_host(
        'west-1',
        libvirt__images_rbd_glance_store_name='east',
        libvirt__images_rbd_glance_copy_poll_interval=2,
    )
    host.start(demo_user, [first.id, second.id], at=hosts.soon(), apart=30)

    boots = host.outcomes()

    assert [boot.error for boot in boots] == ['StoreNotLocal'] * 2
    assert copy_tasks(second.id) == []


def test_stock_nova_has_each_image_copied_to_a_store_of_another_cluster(
    upload, make_stock_host, demo_user, copy_tasks
):
    images = [upload(), upload()]
    host = make_stock_host(
        libvirt__images_rbd_glance_store_name='east',
        libvirt__images_rbd_glance_copy_poll_interval=2,
    )

    boots = host.boot(demo_user, *[image.id for image in images])

    for image, boot in zip(images, boots, strict=True):
        assert 'No image locations are accessible' in boot.message
        assert len(copy_tasks(image.id)) == 1
