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

"""Access to Glance: whose identity and which endpoints, by Nova's options.

Every call carries the user's own token, so that Glance checks the user's
right each time, and Nova's service token beside it (``[service_user]``), which
says that the request comes by way of Nova. There is no credential of our own,
unless the operator configures a separate identity (``[rbd_multistore]
auth_type``) for what Glance's policies deny the user: :mod:`glance` keeps it
from being a confused deputy.
"""

import re
import time
from typing import Any

from keystoneauth1 import access as ksa_access
from keystoneauth1 import loading as ksa_loading
from keystoneauth1 import plugin as ksa_plugin
from keystoneauth1 import service_token
from keystoneauth1 import session as ksa_session
from keystoneauth1.access import service_catalog
from keystoneauth1.identity import v3
from nova import context as nova_context
import nova.conf
from nova.image import glance as nova_glance
from oslo_log import log as logging

from nova_rbd_multistore import asking
from nova_rbd_multistore import beside
from nova_rbd_multistore import compat
from nova_rbd_multistore import conf
from nova_rbd_multistore import connections
from nova_rbd_multistore import endpoints
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import glance
from nova_rbd_multistore import meter as meters
from nova_rbd_multistore import probing
from nova_rbd_multistore import regions
from nova_rbd_multistore import rounds

CONF = nova.conf.CONF
LOG = logging.getLogger(__name__)

#: The user, as far as Glance's answers depend on it.
User = tuple[str | None, str | None, frozenset[str]]

_VERSION = re.compile(r'/v\d+(\.\d+)?/?$', re.ASCII)


def user_of(context: nova_context.RequestContext) -> User:
    """The user of a request: those who are equal are told the same."""
    return context.user_id, context.project_id, frozenset(context.roles)


class GlanceAccess:
    """Makes a :class:`glance.Glance` for a user's request.

    The session, and with it the connections that are kept alive, is shared.

    :param timeout: seconds for an answer, if not those of the options
    :param meter: hears of each answer
    :raises ValueError: if the separate identity lacks an option
    """

    def __init__(
        self,
        timeout: float | None = None,
        meter: meters.Meter = meters.DEAF,
    ) -> None:
        self._deputy = conf.load_identity(CONF)
        timeout = (
            timeout
            or CONF.glance.timeout
            or CONF.rbd_multistore.glance_request_timeout
        )
        self._session: ksa_session.Session = (
            ksa_loading.load_session_from_conf_options(
                CONF, nova.conf.glance.glance_group.name, timeout=timeout
            )
        )
        connections.limit(self._session.session)
        connections.refuse_redirects(self._session.session)
        connections.read_environment_once(self._session.session)
        self._means = rounds.Means(
            endpoints.Endpoints(CONF.rbd_multistore.glance_endpoint_rest),
            beside,
            time.monotonic,
            patience=CONF.rbd_multistore.glance_patience,
            timeout=timeout,
            meter=meter,
        )
        self._records = glance.Records()
        self._region = regions.Region(
            CONF.glance.region_name,
            CONF.glance.service_type,
            CONF.glance.valid_interfaces,
        )

    def as_user_of(
        self, context: nova_context.RequestContext
    ) -> glance.Glance:
        """Glance, as the user of ``context`` may use it."""
        asker = asking.Asker(
            self._session,
            compat.get_service_user_token_auth_plugin(context),
            self._urls(context),
            self._means,
            sleep=time.sleep,
            request_id=context.global_id,
            retries=CONF.glance.num_retries,
        )
        return glance.Glance(asker, self._deputy, self._records)

    def endpoints_are_well(self) -> dict[str, bool]:
        """Whether each endpoint that was asked is, by its URL."""
        return self._means.known.are_well()

    @property
    def separate_identity(self) -> ksa_plugin.BaseAuthPlugin | None:
        """The separate identity, if there is one."""
        return self._deputy

    def known_of(
        self, who: ksa_plugin.BaseAuthPlugin
    ) -> ksa_access.AccessInfo:
        """What Keystone says of somebody.

        :raises NoAnswer: if it does not log them in
        """
        # Any, for not each kind of plugin has it.
        plugin: Any = who
        asking.get_tokens(who, self._session, self._means.logins)
        with asking.only_answers(refusals=()):
            known: ksa_access.AccessInfo = plugin.get_access(self._session)
        return known

    def without_roles(
        self, who: ksa_plugin.BaseAuthPlugin
    ) -> ksa_plugin.BaseAuthPlugin:
        """The same user in no project, and so without any role.

        :raises NoAnswer: if Keystone does not do that
        """
        token = self.known_of(who).auth_token
        with asking.only_answers(refusals=()):
            keystone = who.get_endpoint(
                self._session,
                service_type='identity',
                interface=ksa_plugin.AUTH_INTERFACE,
                version=(3, 0),
            )
        nobody: ksa_plugin.BaseAuthPlugin = v3.Token(
            keystone or '', token or '', unscoped=True
        )
        self.known_of(nobody)
        return nobody

    def probes(self, who: ksa_plugin.BaseAuthPlugin) -> list[probing.Probe]:
        """Each endpoint of Glance, to be asked as somebody.

        :raises RegionAmbiguous: if it is not clear which there are
        :raises NoAnswer: if Keystone does not answer
        """
        urls = _listed_urls()
        if not urls:
            service_user = load_service_user()
            catalog = self.known_of(service_user or who).service_catalog
            urls = self._region.urls(catalog, whole=True)
        context = nova_context.RequestContext(user_auth_plugin=who)
        beside = (
            who
            if who is self._deputy
            else compat.get_service_user_token_auth_plugin(context)
        )
        urls = [_VERSION.sub('/', url) for url in urls]
        with_service, alone = (
            asking.Asker(
                self._session,
                auth,
                urls,
                self._means,
                sleep=time.sleep,
                request_id=context.global_id,
            )
            for auth in (beside, who)
        )
        return [
            probing.Probe(url, with_service, alone)
            for url in dict.fromkeys(urls)
        ]

    def check_region(self) -> None:
        """Log which region's Glance is asked, if that is known yet.

        :raises RegionAmbiguous: if it would be a guess
        """
        if _listed_urls():
            return
        catalog = self._service_users_catalog(nova_context.get_admin_context())
        # Without one, the first boot says it, by the catalog of its user.
        if catalog and not self._region.urls(catalog, whole=True):
            LOG.warning(
                "Keystone's catalog has no endpoint of Glance for this host: "
                'service type %s, region %s, interfaces %s ([glance] '
                'service_type, region_name, valid_interfaces). Boots fail '
                'until it has',
                CONF.glance.service_type,
                CONF.glance.region_name or 'any',
                ', '.join(CONF.glance.valid_interfaces),
            )

    def announce(self) -> None:
        """Log on whose behalf Glance is asked, and what will not work so."""
        sent = CONF.service_user.send_service_user_token
        if self._deputy is not None:
            self._announce(self._deputy)
            if not sent:
                LOG.warning(
                    '[service_user] send_service_user_token is False: a token '
                    'that expires during a copy ends the boot'
                )
        elif not sent:
            LOG.warning(
                '[service_user] send_service_user_token is False, so Glance '
                "sees the user's token alone. With its default policies it "
                'will neither tell where an image lies '
                '(fetch_image_location) nor copy one (copy_image), and a '
                'token that expires during a copy ends the boot'
            )

    def _announce(self, deputy: ksa_plugin.BaseAuthPlugin) -> None:
        try:
            asking.log_in(
                deputy, self._session, asking.DEPUTY, self._means.logins
            )
        except (exceptions.IdentityUnusable, exceptions.KeystoneUnavailable):
            # Its reason has just been logged.
            LOG.warning('Boots fail until it can log in')
            return
        LOG.info(
            'Asking Glance for locations and copies of images as user %s of '
            'project %s ([rbd_multistore] auth_type), each time after the '
            'token of the user who boots has fetched the image',
            deputy.get_user_id(self._session),
            deputy.get_project_id(self._session),
        )

    def _urls(self, context: nova_context.RequestContext) -> list[str]:
        urls = _listed_urls() or self._catalog_urls(context)
        return [_VERSION.sub('/', url) for url in urls]

    def _catalog_urls(self, context: nova_context.RequestContext) -> list[str]:
        # The catalog that came with the user's request knows one endpoint an
        # interface: keystonemiddleware hands it on in the format of Keystone
        # v2. The service user's own is whole.
        whole = self._service_users_catalog(context)
        if whole and (urls := self._region.urls(whole, whole=True)):
            return urls
        users = service_catalog.ServiceCatalogV2(context.service_catalog or [])
        return self._region.urls(users, whole=False)

    def _service_users_catalog(
        self, context: nova_context.RequestContext
    ) -> service_catalog.ServiceCatalog | None:
        """The catalog of ``[service_user]``, None if it is not to be had."""
        auth = compat.get_service_user_token_auth_plugin(context)
        if not isinstance(auth, service_token.ServiceTokenAuthWrapper):
            return None
        try:
            catalog: service_catalog.ServiceCatalog = self.known_of(
                auth.service_auth
            ).service_catalog
        except rounds.NoAnswer as exc:
            reason = str(exc)
        else:
            return catalog
        # Not in the handler: oslo.log would add the error as it is.
        LOG.warning(
            'No catalog for [service_user]: %s. Boots go by the catalogs of '
            'their users, which have one glance-api a region',
            reason,
        )
        return None


def load_service_user() -> ksa_plugin.BaseAuthPlugin | None:
    """Nova's ``[service_user]``, None if nobody is configured there."""
    user: ksa_plugin.BaseAuthPlugin | None = (
        ksa_loading.load_auth_from_conf_options(
            CONF, nova.conf.service_token.SERVICE_USER_GROUP
        )
    )
    return user


def refuse_novas_redirects() -> None:
    """Have Nova's own client of Glance, which downloads, follow none either.

    An error, for it would take what a redirect says for the image.
    """
    # Nova makes the session with it, and nobody logs in.
    session, _ = nova_glance._session_and_auth(nova_context.RequestContext())
    connections.refuse_redirects(session.session)


def _listed_urls() -> list[str]:
    """The endpoints that are configured, none if the catalog has them."""
    if CONF.glance.api_servers:
        urls: list[str] = CONF.glance.api_servers
        return urls
    if CONF.glance.endpoint_override:
        return [CONF.glance.endpoint_override]
    return []
