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

"""This host is made once, from Nova's options."""

import pytest

from nova_rbd_multistore import exceptions
from nova_rbd_multistore import host
from nova_rbd_multistore import meter
from nova_rbd_multistore import metrics


def test_there_is_one_host_in_a_process(options):
    del options
    assert host.this_host() is host.this_host()


def test_the_host_is_made_from_novas_options(options):
    options.config(group='libvirt', images_rbd_glance_store_name='dcn-1')
    assert host.this_host().finder.store == 'dcn-1'


def test_the_clusters_time_outs_are_from_the_options(options):
    options.config(group='libvirt', rbd_connect_timeout=3)
    options.config(
        group='rbd_multistore',
        rados_mon_op_timeout=4,
        rados_osd_op_timeout=5,
        rados_long_op_timeout=6,
    )
    cluster = host.this_host().cluster
    assert cluster._options == {
        'client_mount_timeout': '3',
        'rados_mon_op_timeout': '4',
        'rados_osd_op_timeout': '5',
    }
    assert cluster._patient_options == {
        'client_mount_timeout': '3',
        'rados_mon_op_timeout': '6',
        'rados_osd_op_timeout': '6',
    }


def test_no_boot_waits_when_nova_compute_stops(options):
    del options
    this = host.this_host()
    this.stopping.set()
    with pytest.raises(exceptions.HostStopping):
        this.finder._time.sleep(3600)


def test_making_a_host_connects_to_nothing(options):
    options.config(group='libvirt', images_rbd_ceph_conf='/does/not/exist')
    host.this_host()


def test_nothing_is_measured_by_default(options):
    del options
    assert host.this_host().meter is meter.DEAF


def test_where_metrics_are_served_all_of_a_host_is_measured(options):
    options.config(group='rbd_multistore', metrics_address='127.0.0.1:9103')
    found = host.this_host()
    assert isinstance(found.meter, metrics.Metrics)
    assert found.finder._meter is found.meter
    assert found.access._means.meter is found.meter
    names = {family.name for family in found.meter.registry.collect()}
    assert 'nova_rbd_multistore_ceph_connections_given_up' in names
