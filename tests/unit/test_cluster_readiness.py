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

"""What the local cluster lacks is said before a boot meets it."""

import pytest

from nova_rbd_multistore import cluster_readiness
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import grade


@pytest.fixture
def pools(cloud):
    return lambda: cluster_readiness.pools(cloud.west, 'vms', 'images')


def test_a_cluster_that_answers_is_named(cloud):
    result = cluster_readiness.reach(cloud.west, 'nova')
    assert result.code is grade.Code.SUCCESS
    assert result.details == 'Cluster fsid-west answers client.nova.'


def test_one_that_does_not_is_an_error(cloud):
    cloud.west.away = True
    with pytest.raises(exceptions.ClusterUnreachable):
        cluster_readiness.reach(cloud.west, 'nova')


def test_pools_with_all_rights_are_well(pools):
    assert pools().code is grade.Code.SUCCESS


def test_nova_s_pool_without_the_right_to_write_is_named(cloud, pools):
    cloud.west.read_only = {'vms'}
    result = pools()
    assert result.code is grade.Code.FAILURE
    assert 'osd "profile rbd pool=vms"' in result.details


def test_glance_s_pool_without_the_right_to_read_is_named(cloud, pools):
    cloud.west.hidden = True
    result = pools()
    assert result.code is grade.Code.FAILURE
    assert 'profile rbd-read-only pool=images' in result.details


def test_of_both_both_are_named(cloud, pools):
    cloud.west.read_only, cloud.west.hidden = {'vms'}, True
    assert 'pool=vms' in pools().details
    assert 'pool=images' in pools().details


def test_no_disk_is_made(cloud, pools):
    pools()
    assert not cloud.west.disks


@pytest.mark.parametrize(
    ('version', 'code'), [(1, grade.Code.WARNING), (2, grade.Code.SUCCESS)]
)
def test_clones_of_version_1_keep_images_from_being_deleted(
    cloud, version, code
):
    cloud.west.clones = version
    result = cluster_readiness.clones(cloud.west)
    assert result.code is code
    assert f'version {version}' in result.details
