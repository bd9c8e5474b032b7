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

GROUP = cfg.OptGroup(
    'rbd_multistore',
    title='RBD image backend for several Ceph clusters',
    help="""
How nova-compute finds the image of a boot disk in its own Ceph cluster, has
Glance copy it there, and follows that copy. Read by the driver
``compute_driver = rbd_multistore.LibvirtDriver``.
""",
)

#: No wait of ours makes sense beyond it.
DAY = 24 * 60 * 60

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
    cfg.StrOpt(
        'glance_rbd_pool',
        default='images',
        help="""
The pool of the local cluster in which Glance's store
``[libvirt] images_rbd_glance_store_name`` keeps its images (``rbd_store_pool``
in glance-api.conf). Used to watch an image arrive, never to choose what to
clone: with a wrong pool, or without the right to read it, Nova learns of the
end of a copy from Glance alone, up to one poll interval later.
""",
    ),
    cfg.ListOpt(
        'trusted_clone_pools',
        default=[],
        help="""
Pools from which an image may be cloned or copied under any name.

In all other pools, of any cluster, the RBD image must have the name of the
Glance image, as Glance and Nova always name it; an image with any other RBD
location is refused, for its owner may have pointed it at a disk of somebody
else's (possible with Glance's
``show_multiple_locations = True``). List only pools in which nothing is
private: never Nova's, Cinder's or Glance's own.
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
equally long before it is asked for again, before a request for a copy.
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
        default=30,
        min=1,
        max=DAY,
        help="""
Seconds after which an operation on an OSD of the local cluster fails: Ceph's
option of this name, which by default waits for ever.
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
