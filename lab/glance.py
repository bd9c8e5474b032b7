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

"""Glance: two API processes over one database and the same three stores.

Two, because a copy runs in the process that was asked for it: what another
process knows of it, and what becomes of it when its own dies, can only be
seen where there are two.
"""

from collections.abc import Mapping, Sequence
import pathlib
from typing import ClassVar

from lab import cinder
from lab import layout
from lab import schema
from lab import service
from lab import wsgi


def glance_schema(lab: service.Lab) -> schema.Schema:
    conf = lab.layout.glance_apis[0].directory / 'glance-api.conf'
    command = ('glance-manage', f'--config-file={conf}')
    return schema.Schema(lab, 'glance', ((*command, 'db_sync'),))


class Glance(wsgi.WsgiService):
    """One of the two."""

    module: ClassVar[str] = 'glance.wsgi.api'
    threads: ClassVar[int] = 16
    page: ClassVar[str] = '/healthcheck'

    def __init__(self, lab: service.Lab, api: layout.GlanceApi) -> None:
        super().__init__(
            lab,
            api.name,
            requires=(
                'glance-schema',
                'keystone',
                *(f'ceph-{site.name}' for site in lab.layout.sites),
                *((cinder.READY,) if lab.settings.cinder else ()),
            ),
        )
        self._api = api

    def configure(self) -> None:
        super().configure()
        for path in (
            self._api.staging,
            self._api.tasks,
            self.lab.layout.images,
        ):
            path.mkdir(parents=True, exist_ok=True)
        # The file store is healthy as long as this is to be seen in it.
        (self.lab.layout.images / '.glance').touch()
        for path in self.files():
            self.lab.render(f'{path.name}.j2', path, api=self._api)

    def command(self) -> Sequence[str]:
        command = super().command()
        if self.lab.settings.cinder:
            return ('sh', str(self.lab.layout.with_cinder_keyrings), *command)
        return command

    def environment(self) -> Mapping[str, str]:
        return {'OS_GLANCE_CONFIG_DIR': str(self.directory)}

    def files(self) -> Sequence[pathlib.Path]:
        return (
            self.directory / 'glance-api.conf',
            self.directory / 'glance-api-paste.ini',
            self.directory / 'policy.yaml',
        )
