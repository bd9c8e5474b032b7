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

"""The options of the section ``[rbd_multistore]``.

What to copy, and how long to wait for it, stays where Nova has it:
``[libvirt] images_rbd_glance_store_name``,
``images_rbd_glance_copy_poll_interval`` and
``images_rbd_glance_copy_timeout``. Only what Nova has no option for is here.

This module needs oslo.config and keystoneauth alone, so that
``oslo-config-generator`` lists the options where Nova is not installed.
"""

import copy
from typing import Any

from keystoneauth1 import exceptions as ksa_exc
from keystoneauth1 import loading as ksa_loading
from keystoneauth1 import plugin as ksa_plugin
from oslo_config import cfg
from oslo_config import types

GROUP = cfg.OptGroup(
    'rbd_multistore',
    title='RBD image backend for several Ceph clusters',
    help="""
How nova-compute finds the image of a boot disk in its own Ceph cluster, has
Glance copy it there, and follows that copy. Read by the driver
``compute_driver = rbd_multistore.LibvirtDriver``, and where an option says so
by nova-scheduler.
""",
)

#: No wait of ours makes sense beyond it.
DAY = 24 * 60 * 60


class _Pool(types.String):
    """A pool, named with its cluster."""

    def __call__(self, value: Any) -> str:
        pool: str = super().__call__(value)
        fsid, _, name = pool.partition('/')
        # oslo.config tries what it cannot take together with what follows.
        if not (fsid and name) or '/' in name or ',' in pool:
            raise ValueError(
                f'{pool!r} is not <fsid>/<pool>: name the cluster of each '
                'pool, by what "ceph fsid" shows'
            )
        return pool


class Address(types.String):
    """Where to listen: a port on loopback, or a host and a port."""

    def __call__(self, value: Any) -> str:
        address: str = super().__call__(value)
        if not address:
            return ''
        host, colon, port = address.rpartition(':')
        if not colon:
            host = '127.0.0.1'
        is_port = port.isascii() and port.isdigit() and 0 < int(port) < 65536
        is_open = ':' in host and (host[0], host[-1]) != ('[', ']')
        if not host or not is_port or is_open:
            raise ValueError(
                f'{address!r} is neither a port nor <address>:<port> (an IPv6 '
                'address in brackets)'
            )
        return f'{host}:{port}'


OPTIONS = (
    cfg.IntOpt(
        'copy_stall_timeout',
        default=300,
        min=1,
        max=DAY,
        help="""
Seconds without any sign of progress after which a boot stops waiting for a
copy. Signs of progress are bytes arriving in the local cluster, and a change
of the image's record or of its task in Glance.

Glance shows no progress at all while it reads the image from the store that
it copies from into its staging directory: this must be longer than that takes
for the largest image. A copy that Glance has queued is not taken for stalled,
nor is an image that something else than a copy holds in Glance. ``[libvirt]
images_rbd_glance_copy_timeout`` limits the whole wait, progress or not.
""",
    ),
    cfg.FloatOpt(
        'copy_probe_interval',
        default=0.5,
        min=0.05,
        max=60,
        help="""
Seconds between two looks into the local cluster for the arriving image. A
look costs Glance nothing and the cluster a few small reads; the boot goes on
this soon after the image has arrived, however long
``[libvirt] images_rbd_glance_copy_poll_interval`` is. When the first bytes
arrive and when the last ones are near, looks come closer, down to 0.1 s.

Related options:

* ``glance_rbd_pool``: where to look
""",
    ),
    cfg.ListOpt(
        'copy_on_demand',
        default=['own', 'public'],
        item_type=types.String(
            choices=['own', 'public', 'shared', 'community']
        ),
        help="""
Whose images a boot may have copied here: ``own`` is those of the server's
project; ``public``, ``shared`` (with that project) and ``community`` are those
of other projects, by their visibility.

Glance checks the quota of the user who boots, and charges the image's owner.
So with ``shared`` or ``community``, the boots of others can use up an owner's
quota, who then cannot upload, nor remove a copy that servers are clones of.
And owners can go beyond their quota by way of another project. To make an
image public is, by Glance's default policy, for administrators.

Any other image boots where it is already. Elsewhere the boot fails, or
downloads it, by ``[workarounds] never_download_image_if_on_rbd``, until an
administrator has it copied: ``openstack aggregate cache image``.
""",
    ),
    cfg.StrOpt(
        'glance_rbd_pool',
        default='images',
        help="""
The pool of the local cluster in which Glance's store
``[libvirt] images_rbd_glance_store_name`` keeps its images (``rbd_store_pool``
in glance-api.conf). There an image is seen to arrive: without the right to
read the pool, Nova learns of the end of a copy from Glance alone, up to one
poll interval later.

An image is cloned, or copied here, only if each of its RBD locations is where
Glance itself puts one: in a pool of this name, in whichever cluster, under the
image's id, at the snapshot ``snap``. An image with any other RBD location is
refused, for its owner may have pointed it at a disk of somebody else's
(possible with Glance's ``show_multiple_locations = True``).

With ``snapshots_to_own_store``, direct snapshots are made in it.

Related options:

* ``other_glance_rbd_pools``: where Glance's stores have pools of other names
* ``trusted_clone_pools``: where nothing is private
""",
    ),
    cfg.ListOpt(
        'other_glance_rbd_pools',
        default=[],
        item_type=_Pool(),
        help="""
Further pools in which Glance keeps images, in this cluster or another: each
``<fsid>/<pool>``, where ``ceph fsid`` shows the first. For each of Glance's
RBD stores whose ``rbd_store_pool`` is not ``glance_rbd_pool``. There, too, an
image must lie under its id, at the snapshot ``snap``.
""",
    ),
    cfg.BoolOpt(
        'snapshots_to_own_store',
        default=False,
        help="""
Whether snapshots of this host's servers go into the store of its own site,
``[libvirt] images_rbd_glance_store_name``, instead of Glance's default store:
those of ``openstack server image create``, of ``server backup create`` and of
``server shelve``.

On the site, a server then boots from a snapshot, and is unshelved, without a
copy, and no byte crosses the line between sites. On other sites the snapshot
is copied as any image is, if there is a glance-api that has both stores. If
the site is lost, so are its snapshots and its shelved servers: see
``snapshot_copy_stores``.

The upload goes to a glance-api that has the store. Have one at the site and
set ``[glance] api_servers`` to it, or the data crosses the line twice. Nova's
option ``[libvirt] snapshot_image_format`` should stay unset: what is not raw
cannot be cloned.

Related options:

* ``glance_rbd_pool``: where a direct snapshot is made, if Nova's cephx user
  may write there
""",
    ),
    cfg.ListOpt(
        'snapshot_copy_stores',
        default=[],
        help="""
Stores to which each snapshot of this host's servers is copied when it is done,
one after another. The copies are requested in the name of whoever asked for
the snapshot; nobody waits for them.

What fails is an ERROR in nova-compute's log, ``Cannot copy snapshot``, and is
not tried again; nor is what has not been requested yet when nova-compute
stops. ``glance image-list --include-stores --property-filter
image_type=snapshot`` shows which snapshots are in which stores.

Glance leaves the data of an image that is deleted while it is copied in the
store, without a record. So where a server is unshelved while its image is
copied, Nova is made to wait for the end of the copy before it deletes the
image, ``[libvirt] images_rbd_glance_copy_timeout`` at most; the server runs
meanwhile.
""",
    ),
    cfg.ListOpt(
        'trusted_clone_pools',
        default=[],
        item_type=_Pool(),
        help="""
Pools from which an image may be cloned or copied under any name, at any
snapshot: each ``<fsid>/<pool>``, where ``ceph fsid`` shows the first. List
only pools in which nothing is private: never Nova's, Cinder's or Glance's own.
""",
    ),
    cfg.BoolOpt(
        'evacuate_to_new_disk',
        default=False,
        help="""
Whether a server gets a new disk from its image when it is evacuated to this
host and has its disk in another Ceph cluster, or nowhere. If not, such an
evacuation is refused, before anything is made here: the server stays as it is,
and can be evacuated to the hosts of its own cluster.

Only for a cluster that is lost for good: set it on the hosts that are to take
its servers, and unset it when they have. What was written to the old disk is
not in the new one, and the server does not return to it. If the old cluster
comes back, its disks are still there, for an administrator to look into and
to remove; a server that is evacuated to that cluster later, or unshelved
there, does not get them either (they are renamed to ``aside.*``). Volumes are
Cinder's, and not concerned.
""",
    ),
    cfg.IntOpt(
        'glance_request_timeout',
        default=60,
        min=1,
        max=DAY,
        help="""
Seconds to wait for one answer of one glance-api, unless ``[glance] timeout``
is set: for the whole answer, not only for its next byte.

Related options:

* ``glance_patience``: when another glance-api is asked as well
""",
    ),
    cfg.FloatOpt(
        'glance_patience',
        default=1.0,
        min=0.1,
        max=DAY,
        help="""
Seconds after which a question that one glance-api has not answered is put to
another as well; whichever answers first is heard. Requests for a copy are not:
they have ``glance_request_timeout``. Where there is one endpoint only, so have
all questions.

This is what a boot loses when it is the first to meet a glance-api that hangs:
the boots after it do not ask that one. Where answers take longer than this, it
costs requests that nobody needed: raise it if Glance is far away. While
answers are slow, twice the time of the last one is waited.
""",
    ),
    cfg.IntOpt(
        'glance_endpoint_rest',
        default=30,
        min=1,
        max=DAY,
        help="""
Seconds after which a glance-api that failed, hangs or is sick (its
``/healthcheck`` says 5xx, or nothing) is tried again. Boots do not wait for
that: it is tried beside one, and boots ask it when it is well again, or if all
others have failed too. A good answer of ``/healthcheck`` is believed for
equally long before it is asked for again, before a request for a copy. One
that hangs is not asked for again until it is answered, but every 15 minutes:
each such question takes a thread of glance-api.
""",
    ),
    cfg.IntOpt(
        'rados_mon_op_timeout',
        default=30,
        min=1,
        max=DAY,
        help="""
Seconds after which an operation on the monitors of the local cluster fails:
Ceph's option of this name, which by default waits for ever. How long a
connection may take is ``[libvirt] rbd_connect_timeout``.
""",
    ),
    cfg.IntOpt(
        'rados_osd_op_timeout',
        default=60,
        min=1,
        max=DAY,
        help="""
Seconds after which an operation on an OSD of the local cluster fails: Ceph's
option of this name, which by default waits for ever. A boot on a cluster whose
OSDs are away fails after that, and Nova tries another host.

It should be longer than Ceph takes to do without an OSD that is gone, or boots
fail that had only to wait. With Ceph's defaults that is up to 45 s: the other
OSDs look every 6 s (``osd_heartbeat_interval``) and believe it after 20 s
(``osd_heartbeat_grace``, more for an OSD that was slow before), the monitors
need some seconds to tell, and the next OSD waits 16 s until nobody can read
from the old one (``osd_pool_default_read_lease_ratio`` of the grace).

Related options:

* ``rados_long_op_timeout``: the same for what must not be broken off
""",
    ),
    cfg.IntOpt(
        'rados_long_op_timeout',
        default=600,
        min=1,
        max=DAY,
        help="""
Seconds after which an operation on an OSD or a monitor of the local cluster
fails while a disk is changed as a whole: when a resize is reverted (rollback),
a server unshelved (flatten) or deleted, a snapshot made, protected or removed.
In place of ``rados_osd_op_timeout`` and ``rados_mon_op_timeout``, for such a
change is better late than broken off: a disk would stay half rolled back, or a
snapshot protected. It is for each single operation, not for the change, which
takes as long as the disk is large.

By default as long as Ceph waits for an OSD that is down before it makes up for
its data elsewhere (``mon_osd_down_out_interval``).
""",
    ),
    cfg.Opt(
        'metrics_address',
        type=Address(),
        default='',
        help="""
Where nova-compute serves metrics of its boots to Prometheus: a port, on
loopback; or ``<address>:<port>``, an IPv6 address in brackets. Nowhere, if it
is empty.

Whoever reaches that address can read them, without a password and without
TLS: how many boots there were and what became of them, how long they took, and
the URLs of the glance-apis. No image, server or user is named.
""",
    ),
    cfg.FloatOpt(
        'image_store_weight_multiplier',
        default=10.0,
        min=0.01,
        max=10000,
        help="""
How much it counts, for Nova's scheduler, that a host's store has the image of
a server that is to be built or unshelved. Read by nova-scheduler, if
``[filter_scheduler] weight_classes`` has
``nova_rbd_multistore.store_weigher.ImageStoreWeigher``.

A host that has the image gets this weight, all others 0. Of Nova's own
weighers, those for free memory, disk and CPUs give between 0 and 1 each: with
10, hosts that have the image go before all others that the filters pass, and
with 0.5, say, only before those that are not much emptier. As for Nova's own
weighers, an aggregate's metadata of this name goes before the option.
""",
    ),
)


def register(conf: cfg.ConfigOpts) -> None:
    """Make the options readable as ``conf.rbd_multistore``."""
    # A copy: a group keeps what is registered in it, the options of the
    # separate identity too, for every other ConfigOpts that has it.
    conf.register_group(copy.deepcopy(GROUP))
    conf.register_opts(OPTIONS, group=GROUP)
    ksa_loading.register_auth_conf_options(conf, GROUP.name)


def load_identity(conf: cfg.ConfigOpts) -> ksa_plugin.BaseAuthPlugin | None:
    """The separate identity of ``[rbd_multistore]``, None where there is none.

    Nothing is asked of Keystone yet.

    :raises ValueError: saying which option is missing or wrong
    """
    try:
        # Again, for auth_section is known only now.
        ksa_loading.register_auth_conf_options(conf, GROUP.name)
        identity = ksa_loading.load_auth_from_conf_options(conf, GROUP.name)
        section = conf[GROUP.name].auth_section
    except (cfg.Error, ksa_exc.ClientException, RecursionError) as exc:
        raise ValueError(
            f'the identity of [{GROUP.name}] auth_type is not usable: {exc}'
        ) from exc
    if section and identity is None:
        raise ValueError(
            f'[{GROUP.name}] auth_section is {section!r}, but there is no '
            'auth_type in that section'
        )
    return identity


def check(conf: cfg.ConfigOpts) -> None:
    """Read all options once, so that a bad value is noticed at start.

    :raises ValueError: naming the option and what is wrong with its value
    """
    for option in OPTIONS:
        try:
            value = conf[GROUP.name][option.dest]
        except (cfg.Error, RecursionError) as exc:
            raise ValueError(f'[{GROUP.name}] {option.name}: {exc}') from exc
        # oslo.config passes "name =" (None), NaN and values of several lines.
        shown = ''.join(value) if isinstance(value, list) else str(value)
        if value is None or shown == 'nan' or not shown.isprintable():
            raise ValueError(
                f'[{GROUP.name}] {option.name} is {value!r}: leave the option '
                'out for its default, or give it a value on one line'
            )
    load_identity(conf)


def list_opts() -> list[tuple[cfg.OptGroup, tuple[Any, ...]]]:
    """The options, for ``oslo-config-generator`` and the documentation."""
    return [(GROUP, (*OPTIONS, *_identity_options()))]


def _identity_options() -> list[cfg.Opt]:
    """Those of a user with a password; other types have others."""
    return [
        *ksa_loading.get_auth_common_conf_options(),
        *ksa_loading.get_auth_plugin_conf_options('password'),
    ]
