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

import atexit
import dataclasses
import functools
import os
import random
import threading
import time

import nova.conf
import pbr.version

from nova_rbd_multistore import access
from nova_rbd_multistore import ceph
from nova_rbd_multistore import compat
from nova_rbd_multistore import conf
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import finding
from nova_rbd_multistore import meter as meters
from nova_rbd_multistore import metrics
from nova_rbd_multistore import pace
from nova_rbd_multistore import source

CONF = nova.conf.CONF
conf.register(CONF)


@dataclasses.dataclass(frozen=True)
class Host:
    """One compute host, with its way into Glance and into its cluster."""

    cluster: ceph.Cluster
    access: access.GlanceAccess
    finder: finding.Finder
    #: Whose sleep ends when nova-compute stops.
    time: pace.Time
    meter: meters.Meter = meters.DEAF
    #: Set when nova-compute stops: no boot waits for a copy any longer.
    stopping: threading.Event = dataclasses.field(
        default_factory=threading.Event
    )


@functools.cache
def this_host() -> Host:
    """The one :class:`Host` of this process, made when first asked for."""
    itself = make_cluster()
    atexit.register(_close, itself, os.getpid())
    # Under eventlet this runs librbd in native threads, so that it does not
    # block the others; under native threads it is the object itself.
    cluster: ceph.Cluster = compat.tpool_wrap(itself)
    meter = _make_meter()
    way_to_glance = access.GlanceAccess(meter=meter)
    if isinstance(meter, metrics.Metrics):
        meter.watch(
            way_to_glance.endpoints_are_well, cluster.connections_given_up
        )
    stopping = threading.Event()
    hosts_time = pace.Time(
        time.monotonic, functools.partial(_sleep, stopping), random.uniform
    )
    return Host(
        cluster,
        way_to_glance,
        make_finder(cluster, hosts_time, meter),
        hosts_time,
        meter,
        stopping,
    )


def _sleep(stopping: threading.Event, seconds: float) -> None:
    """Wait for a while, unless nova-compute stops.

    :raises HostStopping: then
    """
    if stopping.wait(seconds):
        raise exceptions.HostStopping()


def _close(cluster: ceph.Cluster, process: int) -> None:
    """Close the cluster's connections when the process ends.

    Native threads have ended by then, but for those of eventlet.

    :param process: the one that has them. One that was forked has not
    """
    if os.getpid() == process:
        compat.end_native_threads()
        cluster.close()


def _make_meter() -> meters.Meter:
    """What measures the boots of this host, by its options."""
    if not CONF.rbd_multistore.metrics_address:
        return meters.DEAF
    return metrics.Metrics(
        str(pbr.version.VersionInfo('nova-rbd-multistore')),
        CONF.libvirt.images_rbd_glance_store_name,
    )


def serve_metrics() -> None:
    """Let Prometheus ask, if the options say where."""
    meter = this_host().meter
    if isinstance(meter, metrics.Metrics):
        metrics.serve(CONF.rbd_multistore.metrics_address, meter.registry)


def make_cluster() -> ceph.Cluster:
    """The cluster of this host, by its options."""
    return ceph.Cluster(
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
        dict.fromkeys(
            ('rados_mon_op_timeout', 'rados_osd_op_timeout'),
            str(CONF.rbd_multistore.rados_long_op_timeout),
        ),
    )


def make_finder(
    cluster: finding.Cluster,
    time: pace.Time,
    meter: meters.Meter = meters.DEAF,
) -> finding.Finder:
    """What finds the images of this host, by its options."""
    return finding.Finder(
        cluster,
        CONF.libvirt.images_rbd_glance_store_name,
        pools(),
        CONF.libvirt.images_rbd_pool,
        limits(),
        time,
        meter,
    )


def pools() -> source.Pools:
    """Where images may lie, by the options."""
    return source.Pools(
        CONF.rbd_multistore.glance_rbd_pool,
        CONF.rbd_multistore.other_glance_rbd_pools,
        CONF.rbd_multistore.trusted_clone_pools,
    )


def limits() -> pace.Limits:
    """How long boots of this host wait, by its options."""
    return pace.Limits(
        poll_interval=CONF.libvirt.images_rbd_glance_copy_poll_interval,
        probe_interval=CONF.rbd_multistore.copy_probe_interval,
        timeout=CONF.libvirt.images_rbd_glance_copy_timeout,
        stall_timeout=CONF.rbd_multistore.copy_stall_timeout,
    )
