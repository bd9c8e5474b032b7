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

"""Placement: what each hypervisor has to give."""

from collections.abc import Mapping, Sequence
import pathlib
from typing import ClassVar

from lab import schema
from lab import service
from lab import wsgi


def placement_schema(lab: service.Lab) -> schema.Schema:
    conf = lab.layout.etc / 'placement' / 'placement.conf'
    return schema.Schema(
        lab,
        'openstack-placement',
        (('placement-manage', f'--config-file={conf}', 'db', 'sync'),),
    )


class Placement(wsgi.WsgiService):
    module: ClassVar[str] = 'placement.wsgi.api'

    def __init__(self, lab: service.Lab) -> None:
        super().__init__(
            lab,
            'placement',
            requires=('openstack-placement-schema', 'keystone'),
        )
        self._conf = self.directory / 'placement.conf'

    def configure(self) -> None:
        super().configure()
        self.lab.render('placement.conf.j2', self._conf)

    def environment(self) -> Mapping[str, str]:
        return {'OS_PLACEMENT_CONFIG_DIR': str(self.directory)}

    def files(self) -> Sequence[pathlib.Path]:
        return (self._conf,)
