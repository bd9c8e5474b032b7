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

"""Keystone: who may do what, and where the services are."""

from collections.abc import Mapping, Sequence
import pathlib
from typing import ClassVar, Final, cast

from openstack.identity.v3 import _proxy as v3

from lab import cloud
from lab import layout
from lab import schema
from lab import service
from lab import wsgi

# What each service is in the catalog, and the APIs that serve it.
CATALOG: Final[Mapping[str, tuple[str, str, Sequence[str]]]] = {
    'glance': ('image', '', ('glance-api-1', 'glance-api-2')),
    'neutron': ('network', '', ('neutron',)),
    'nova': ('compute', '/v2.1', ('nova-api',)),
    'placement': ('placement', '', ('placement',)),
}
# The same of what only some labs have.
OPTIONAL: Final[Mapping[str, tuple[str, str, Sequence[str]]]] = {
    'cinder': ('volumev3', '/v3/%(project_id)s', ('cinder-api',)),
}
# Who makes volumes, by Cinder's policy, in the project of all services.
CINDER_USER: Final = 'glance'
# Ordinary users, each with a project of the same name.
TENANTS: Final = ('demo', 'other')


def keystone_schema(lab: service.Lab) -> schema.Schema:
    command = (
        'keystone-manage',
        f'--config-dir={lab.layout.etc / "keystone"}',
    )
    owner = ('--keystone-user=root', '--keystone-group=root')
    return schema.Schema(
        lab,
        'keystone',
        (
            (*command, 'db_sync'),
            (*command, 'fernet_setup', *owner),
            (*command, 'credential_setup', *owner),
        ),
    )


class Keystone(wsgi.WsgiService):
    module: ClassVar[str] = 'keystone.wsgi.api'
    page: ClassVar[str] = '/v3'

    def __init__(self, lab: service.Lab) -> None:
        super().__init__(lab, 'keystone', requires=('keystone-schema',))
        self._conf = self.directory / 'keystone.conf'

    def configure(self) -> None:
        super().configure()
        data = self.lab.layout.data / 'keystone'
        for keys in ('fernet-keys', 'credential-keys'):
            (data / keys).mkdir(parents=True, exist_ok=True, mode=0o700)
        self.lab.render('keystone.conf.j2', self._conf, data=data)

    def environment(self) -> Mapping[str, str]:
        return {'OS_KEYSTONE_CONFIG_DIR': str(self.directory)}

    def files(self) -> Sequence[pathlib.Path]:
        return (self._conf,)

    def start(self) -> None:
        self._bootstrap()
        super().start()
        marker = self.lab.marker('identities')
        if not marker.exists():
            with cloud.connect('admin', self.lab.layout) as admin:
                identity = cast(v3.Proxy, admin.identity)
                self._make_services(identity, CATALOG)
                self._make_tenants(identity)
            self.say('users, projects and catalog made')
            marker.touch()
        for part in self.lab.settings.parts:
            self._make_part(part)

    def _make_part(self, part: str) -> None:
        marker = self.lab.marker(f'identities-{part}')
        if marker.exists():
            return
        with cloud.connect('admin', self.lab.layout) as admin:
            identity = cast(v3.Proxy, admin.identity)
            self._make_services(identity, {part: OPTIONAL[part]})
            if part == 'cinder':
                project = _project(identity, 'service')
                self._make_user(identity, CINDER_USER, project, 'member')
        marker.touch()

    def _bootstrap(self) -> None:
        marker = self.lab.marker('keystone-bootstrap')
        if marker.exists():
            return
        url = self.lab.layout.auth_url
        self.lab.run(
            'keystone-schema',
            self.lab.layout.program_file('keystone-manage'),
            f'--config-dir={self.directory}',
            'bootstrap',
            '--bootstrap-service-name=keystone',
            f'--bootstrap-region-id={layout.REGION}',
            f'--bootstrap-public-url={url}',
            f'--bootstrap-internal-url={url}',
            environment={
                'OS_BOOTSTRAP_PASSWORD': self.lab.credentials.user('admin')
            },
        )
        marker.touch()

    def _make_services(
        self,
        identity: v3.Proxy,
        catalog: Mapping[str, tuple[str, str, Sequence[str]]],
    ) -> None:
        project = _project(identity, 'service')
        for name, (kind, path, apis) in catalog.items():
            self._make_user(identity, name, project, 'service')
            entry = identity.find_service(name) or identity.create_service(
                name=name, type=kind
            )
            known = {
                (endpoint.interface, endpoint.url)
                for endpoint in identity.endpoints(service_id=entry.id)
            }
            for api in apis:
                for interface in ('public', 'internal'):
                    url = self.lab.layout.url(api) + path
                    if (interface, url) not in known:
                        identity.create_endpoint(
                            service_id=entry.id,
                            region_id=layout.REGION,
                            interface=interface,
                            url=url,
                        )

    def _make_tenants(self, identity: v3.Proxy) -> None:
        for name in TENANTS:
            project = _project(identity, name)
            self._make_user(identity, name, project, 'member')

    def _make_user(
        self, identity: v3.Proxy, name: str, project: str, role: str
    ) -> None:
        user = identity.find_user(name) or identity.create_user(
            name=name,
            default_project_id=project,
            password=self.lab.credentials.user(name),
        )
        identity.assign_project_role_to_user(
            project, user, identity.find_role(role, ignore_missing=False)
        )


def _project(identity: v3.Proxy, name: str) -> str:
    found = identity.find_project(name)
    return (found or identity.create_project(name=name)).id
