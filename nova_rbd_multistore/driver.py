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

"""The driver: Nova's libvirt driver, with our backend where it has 'rbd'."""

from typing import Any

from nova import context as nova_context
from nova import exception
import nova.conf
from nova.virt.libvirt import driver as libvirt_driver
from oslo_log import log as logging
import pbr.version

from nova_rbd_multistore import access
from nova_rbd_multistore import backend
from nova_rbd_multistore import conf
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import host
from nova_rbd_multistore import image as image_values
from nova_rbd_multistore import source
from nova_rbd_multistore import text

CONF = nova.conf.CONF
conf.register(CONF)
LOG = logging.getLogger(__name__)


class LibvirtDriver(libvirt_driver.LibvirtDriver):
    """``[DEFAULT] compute_driver = rbd_multistore.LibvirtDriver``."""

    def __init__(self, virtapi: Any, read_only: bool = False) -> None:
        check_configuration()
        super().__init__(virtapi, read_only)
        self.image_backend.BACKEND['rbd'] = backend.Rbd
        # Of two boots that begin at once, each would make one of its own, and
        # share its copies with nobody.
        host.this_host()

    def init_host(self, host: str) -> None:
        """Start the driver, and say what it will do.

        :raises nova.exception.InvalidConfiguration: if it could be the Glance
            of another region
        """
        # First: Nova's part starts threads, which would keep the process of a
        # nova-compute that has refused to start.
        check_region()
        super().init_host(host)
        announce()

    def cache_image(
        self, context: nova_context.RequestContext, image_id: str
    ) -> bool:
        """Have the image copied to our store, before a boot needs it.

        ``openstack aggregate cache image`` comes here. Nova would fill a file
        cache that boots from RBD never read.

        :returns: whether it was not there yet
        :raises ImageError: if it cannot be copied
        :raises HostError: if Glance, or the store in it, is not there
        """
        this_host = host.this_host()
        finder = this_host.finder
        if not finder.store:
            cached: bool = super().cache_image(context, image_id)
            return cached
        images = this_host.access.as_user_of(context)
        record = images.record(image_id)
        source.require_cloneable(record)
        # As for a boot: what is there must be fit to be cloned, and a copy of
        # foreign data would have the image's name.
        finder.here(images, record)
        if record.holds(finder.store):
            return False
        finder.bring(images, record, access.user_of(context))
        return True


def check_configuration() -> None:
    """Refuse to start with options that cannot work.

    :raises nova.exception.InvalidConfiguration: naming the option, its value
        and what it must be
    """
    if CONF.libvirt.images_type != 'rbd':
        raise exception.InvalidConfiguration(
            f'[libvirt] images_type is {CONF.libvirt.images_type!r}, but '
            'compute_driver = rbd_multistore.LibvirtDriver needs rbd'
        )
    try:
        conf.check(CONF)
    except ValueError as exc:
        raise exception.InvalidConfiguration(text.printable(exc)) from exc
    store = CONF.libvirt.images_rbd_glance_store_name
    if ',' in store or not store.isprintable():
        raise exception.InvalidConfiguration(
            f'[libvirt] images_rbd_glance_store_name is {store!r}, but must '
            'be the name of one store, on one line'
        )
    if image_values.is_reserved(store):
        raise exception.InvalidConfiguration(
            f'[libvirt] images_rbd_glance_store_name is {store!r}, but Glance '
            f'keeps names with {image_values.RESERVED_PREFIX} for itself: '
            'name the store of enabled_backends (glance-api.conf) that lies '
            'in the Ceph cluster of this host'
        )
    for option in (
        'images_rbd_glance_copy_poll_interval',
        'images_rbd_glance_copy_timeout',
    ):
        value = CONF.libvirt[option]
        if value <= 0:
            raise exception.InvalidConfiguration(
                f'[libvirt] {option} is {value}, but must be a number of '
                'seconds above 0'
            )


def check_region() -> None:
    """Refuse to start with a region of Glance that would be a guess.

    :raises nova.exception.InvalidConfiguration: saying what to set
    """
    try:
        host.this_host().access.check_region()
    except exceptions.RegionAmbiguous as exc:
        raise exception.InvalidConfiguration(str(exc)) from exc


def announce() -> None:
    """Log what we are and what we work with; warn of what will not work."""
    this_host = host.this_host()
    try:
        fsid = this_host.finder.fsid
    except exceptions.ClusterUnreachable as exc:
        fsid = 'unknown'
        LOG.warning('%s Boots fail until it answers.', exc)
    service_tokens = CONF.service_user.send_service_user_token
    LOG.info(
        'nova-rbd-multistore %(version)s: store %(store)s, pool %(pool)s, '
        'cluster %(fsid)s, service tokens %(sent)s',
        {
            'version': pbr.version.VersionInfo('nova-rbd-multistore'),
            'store': this_host.finder.store
            or 'none (no copies are asked for)',
            'pool': CONF.libvirt.images_rbd_pool,
            'fsid': fsid,
            'sent': 'sent' if service_tokens else 'not sent',
        },
    )
    this_host.access.announce()
