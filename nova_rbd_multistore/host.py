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

"""This compute host: what all its boots share, made from Nova's options."""

import dataclasses
import functools
import random
import time

import nova.conf

from nova_rbd_multistore import access
from nova_rbd_multistore import ceph
from nova_rbd_multistore import compat
from nova_rbd_multistore import conf
from nova_rbd_multistore import finding
from nova_rbd_multistore import pace

CONF = nova.conf.CONF
conf.register(CONF)


@dataclasses.dataclass(frozen=True)
class Host:
    """One compute host, with its way into Glance and into its cluster."""

    cluster: ceph.Cluster
    access: access.GlanceAccess
    finder: finding.Finder


@functools.cache
def this_host() -> Host:
    """The one :class:`Host` of this process, made when first asked for."""
    # Under eventlet this runs librbd in native threads, so that it does not
    # block the others; under native threads it is the object itself.
    cluster: ceph.Cluster = compat.tpool_wrap(
        ceph.Cluster(
            CONF.libvirt.images_rbd_ceph_conf,
            CONF.libvirt.rbd_user,
            CONF.libvirt.rbd_connect_timeout,
            {
                'rados_mon_op_timeout': str(
                    CONF.rbd_multistore.rados_mon_op_timeout
                ),
                'rados_osd_op_timeout': str(
                    CONF.rbd_multistore.rados_osd_op_timeout
                ),
            },
        )
    )
    return Host(
        cluster,
        access.GlanceAccess(),
        make_finder(
            cluster, pace.Time(time.monotonic, time.sleep, random.uniform)
        ),
    )


def make_finder(cluster: finding.Cluster, time: pace.Time) -> finding.Finder:
    """What finds the images of this host, by its options."""
    return finding.Finder(
        cluster,
        CONF.libvirt.images_rbd_glance_store_name,
        CONF.rbd_multistore.glance_rbd_pool,
        CONF.libvirt.images_rbd_pool,
        CONF.rbd_multistore.trusted_clone_pools,
        pace.Limits(
            poll_interval=CONF.libvirt.images_rbd_glance_copy_poll_interval,
            probe_interval=CONF.rbd_multistore.copy_probe_interval,
            timeout=CONF.libvirt.images_rbd_glance_copy_timeout,
            stall_timeout=CONF.rbd_multistore.copy_stall_timeout,
        ),
        time,
    )
