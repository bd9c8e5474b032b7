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

"""Neutron: its API server alone, over a database without networks.

The lab's servers have no network, but Nova asks Neutron about each of them
all the same. No agent runs, and no packet flows.
"""

from collections.abc import Mapping, Sequence
import pathlib
from typing import ClassVar

from lab import cloud
from lab import schema
from lab import service
from lab import wsgi


def neutron_schema(lab: service.Lab) -> schema.Schema:
    conf = lab.layout.etc / 'neutron' / 'neutron.conf'
    return schema.Schema(
        lab,
        'neutron',
        (('neutron-db-manage', f'--config-file={conf}', 'upgrade', 'heads'),),
    )


class Neutron(wsgi.WsgiService):
    module: ClassVar[str] = 'neutron.wsgi.api'

    def __init__(self, lab: service.Lab) -> None:
        super().__init__(
            lab,
            'neutron',
            requires=('neutron-schema', 'keystone', 'rabbitmq'),
        )
        self._conf = self.directory / 'neutron.conf'

    def configure(self) -> None:
        super().configure()
        data = self.lab.layout.data / self.name
        data.mkdir(parents=True, exist_ok=True)
        self.lab.render('neutron.conf.j2', self._conf, data=data)

    def environment(self) -> Mapping[str, str]:
        return {
            'OS_NEUTRON_CONFIG_DIR': str(self.directory),
            'OS_NEUTRON_CONFIG_FILES': self._conf.name,
        }

    def files(self) -> Sequence[pathlib.Path]:
        return (self._conf,)

    def answers(self) -> bool:
        # Not just a page: in Neutron 29 a list of ports fails with an
        # AttributeError until another query made SQLAlchemy relate the tables.
        with cloud.connect('admin', self.lab.layout) as admin:
            list(admin.network.networks())
        return True
