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

"""The checks of ``nova-rbd-multistore-status``, in the order of a boot.

Each thing that a boot could end with is looked at before a boot meets it.
Nothing is changed, in Glance or in the cluster; whether nova-compute runs does
not matter.
"""

from collections.abc import Callable
import functools
import os
from typing import Any

from keystoneauth1 import plugin as ksa_plugin
import nova.conf
from openstack import config as sdk_config
from openstack import exceptions as sdk_exceptions
from oslo_upgradecheck import upgradecheck

from nova_rbd_multistore import access
from nova_rbd_multistore import ceph
from nova_rbd_multistore import cluster_readiness
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import glance_readiness
from nova_rbd_multistore import grade
from nova_rbd_multistore import host
from nova_rbd_multistore import host_readiness
from nova_rbd_multistore import probing

CONF = nova.conf.CONF

#: Which environment has somebody to log in as.
_LOGINS = ('OS_CLOUD', 'OS_AUTH_URL')


def _row(
    check: Callable[['Checks'], grade.Result],
) -> Callable[['Checks'], grade.Result]:
    """A check whose errors are findings."""

    @functools.wraps(check)
    def run(self: 'Checks') -> grade.Result:
        try:
            return check(self)
        except grade.NotChecked as exc:
            return grade.warns(str(exc))
        except (
            exceptions.ImageError,
            exceptions.HostError,
            *glance_readiness.NO_ANSWER,
        ) as exc:
            return grade.fails(str(exc))

    return run


class Checks(upgradecheck.UpgradeCommands):
    """What ``upgrade check`` looks at."""

    display_title = 'nova-rbd-multistore on this host'

    @_row
    def options(self) -> grade.Result:
        return host_readiness.options(CONF.compute_driver)

    @_row
    def programs(self) -> grade.Result:
        return host_readiness.programs()

    @_row
    def nova(self) -> grade.Result:
        return host_readiness.nova()

    @_row
    def reach(self) -> grade.Result:
        return cluster_readiness.reach(self._cluster, CONF.libvirt.rbd_user)

    @_row
    def pools(self) -> grade.Result:
        return cluster_readiness.pools(
            self._answering_cluster,
            CONF.libvirt.images_rbd_pool,
            CONF.rbd_multistore.glance_rbd_pool,
        )

    @_row
    def clones(self) -> grade.Result:
        return cluster_readiness.clones(self._answering_cluster)

    @_row
    def service_token(self) -> grade.Result:
        if not CONF.service_user.send_service_user_token:
            return glance_readiness.service_token(
                sent=False, name='', roles=()
            )
        known = self._access.known_of(self._service_user)
        return glance_readiness.service_token(
            sent=True, name=str(known.username), roles=known.role_names or ()
        )

    @_row
    def region(self) -> grade.Result:
        try:
            probes = self._probes
        except exceptions.RegionAmbiguous as exc:
            return grade.fails(str(exc))
        if not probes:
            return glance_readiness.endpoints(probes)
        names = ', '.join(probe.name for probe in probes)
        return grade.passes(f'Glance of this host: {names}.')

    @_row
    def endpoints(self) -> grade.Result:
        return glance_readiness.endpoints(self._probes)

    @_row
    def stores(self) -> grade.Result:
        return glance_readiness.stores(self._probes, self._store)

    @_row
    def same_cluster(self) -> grade.Result:
        if not self._store:
            raise grade.NotChecked('there is no store.')
        probe = next(
            (
                probe
                for probe in self._probes
                if _has_store(probe, self._store)
            ),
            None,
        )
        if probe is None:
            raise grade.NotChecked(f'no glance-api has store {self._store}.')
        return glance_readiness.same_cluster(
            probe,
            self._store,
            self._survey,
            self._answering_cluster,
            host.pools(),
        )

    @_row
    def copying(self) -> grade.Result:
        return self._of_each(glance_readiness.copying, self._survey.any_image)

    @_row
    def locations(self) -> grade.Result:
        return self._of_each(
            glance_readiness.locations, self._survey.any_image
        )

    @_row
    def setting_locations(self) -> grade.Result:
        if self._survey.empty_image is None:
            raise grade.NotChecked(
                'Glance looks at policy add_image_location for images '
                'without data. Make one as an ordinary user ("openstack '
                'image create" without a file), run this in the environment '
                'of that user (OS_CLOUD), and delete the image.'
            )
        return self._of_each(
            glance_readiness.setting_locations, self._survey.empty_image
        )

    @_row
    def time_outs(self) -> grade.Result:
        return host_readiness.time_outs(
            self._survey.largest,
            host.limits(),
            CONF.rbd_multistore.rados_osd_op_timeout,
        )

    _upgrade_checks = (
        ('Options', options),
        ('Programs', programs),
        ('Nova', nova),
        ('Ceph cluster', reach),
        ('Pools', pools),
        ('Clones', clones),
        ('Service token', service_token),
        ('Region', region),
        ('Endpoints', endpoints),
        ('Stores', stores),
        ('Store and cluster', same_cluster),
        ('Policy copy_image', copying),
        ('Policy fetch_image_location', locations),
        ('Policy add_image_location', setting_locations),
        ('Time-outs', time_outs),
    )

    def check(self) -> grade.Code:
        """Make all checks, and say what they have found."""
        try:
            code: grade.Code = super().check()
            return code
        finally:
            self._cluster.close()

    # What the checks look at, made when first needed

    def _of_each(
        self, check: glance_readiness.Check, image: str | None
    ) -> grade.Result:
        return glance_readiness.of_each(check, self._probes, image, self._who)

    @property
    def _store(self) -> str:
        store: str = CONF.libvirt.images_rbd_glance_store_name
        return store

    @functools.cached_property
    def _cluster(self) -> ceph.Cluster:
        return host.make_cluster()

    @functools.cached_property
    def _answering_cluster(self) -> ceph.Cluster:
        try:
            self._cluster.fsid()
        except exceptions.HostError as exc:
            raise grade.NotChecked('the cluster does not answer.') from exc
        return self._cluster

    @functools.cached_property
    def _access(self) -> access.GlanceAccess:
        try:
            return access.GlanceAccess()
        except ValueError as exc:
            raise grade.NotChecked(f'{exc}.') from exc

    @functools.cached_property
    def _service_user(self) -> ksa_plugin.BaseAuthPlugin:
        found = access.load_service_user()
        if found is None:
            raise grade.NotChecked('[service_user] has no auth_type.')
        return found

    @functools.cached_property
    def _identity(
        self,
    ) -> tuple[ksa_plugin.BaseAuthPlugin, glance_readiness.Asker]:
        """Who asks Glance: as much like a user who boots as may be."""
        kinds = glance_readiness.Kind
        if self._access.separate_identity is not None:
            deputy = self._access.separate_identity
            known = self._access.known_of(deputy)
            return deputy, glance_readiness.Asker(
                kinds.DEPUTY, str(known.username)
            )
        user = _user_of_environment()
        if user is not None:
            known = self._access.known_of(user)
            return user, glance_readiness.Asker.of_user(
                str(known.username), known.role_names or ()
            )
        nobody = self._access.without_roles(self._service_user)
        return nobody, glance_readiness.Asker(kinds.NOBODY, '')

    @property
    def _who(self) -> glance_readiness.Asker:
        _, who = self._identity
        return who

    @functools.cached_property
    def _probes(self) -> list[probing.Probe]:
        identity, _ = self._identity
        return self._access.probes(identity)

    @functools.cached_property
    def _survey(self) -> glance_readiness.Survey:
        return glance_readiness.survey(
            self._probes,
            self._access.probes(self._service_user),
            self._store,
            self._answering_cluster,
            CONF.rbd_multistore.glance_rbd_pool,
        )


def _has_store(probe: probing.Probe, store: str) -> bool:
    try:
        return store in probe.stores()
    except glance_readiness.NO_ANSWER:
        return False


def _user_of_environment() -> ksa_plugin.BaseAuthPlugin | None:
    """The user that the environment names, as OpenStackClient takes it.

    :raises NotChecked: if they cannot log in by it
    """
    if not any(map(os.environ.get, _LOGINS)):
        return None
    try:
        cloud: Any = sdk_config.OpenStackConfig().get_one()
        user: ksa_plugin.BaseAuthPlugin = cloud.get_auth()
    except sdk_exceptions.SDKException as exc:
        raise grade.NotChecked(
            f'the environment (OS_*) names no user: {exc}.'
        ) from exc
    return user
