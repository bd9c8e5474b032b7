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

"""What `up` was asked for, remembered from one call to the next."""

from collections.abc import Collection
import dataclasses
import json
from typing import Final

from lab import files
from lab import layout

# Nova imports a driver as nova.virt.<value>.
DRIVERS: Final = {
    'multistore': 'rbd_multistore.LibvirtDriver',
    'stock': 'libvirt.LibvirtDriver',
}
THREADING: Final = ('native', 'eventlet')
# What a lab may have beside what every lab has.
PARTS: Final = ('cinder',)
CEPHS: Final = ('machine', '20')


@dataclasses.dataclass(frozen=True)
class Settings:
    driver: str = 'multistore'
    threading: str = 'native'
    data_pools: bool = False
    site_scheduling: bool = False
    parts: tuple[str, ...] = ()
    ceph: str = 'machine'

    @classmethod
    def load(cls, where: layout.Layout) -> 'Settings':
        path = where.root / 'settings.json'
        if not path.exists():
            return cls()
        values = json.loads(path.read_text())
        return cls(**values | {'parts': tuple(values.get('parts', ()))})

    def save(self, where: layout.Layout) -> None:
        text = json.dumps(dataclasses.asdict(self), indent=2)
        files.write(where.root / 'settings.json', text + '\n')

    @property
    def compute_driver(self) -> str:
        return DRIVERS[self.driver]

    def with_parts(
        self, wanted: Collection[str], unwanted: Collection[str]
    ) -> 'Settings':
        """The same with other parts."""
        kept = {*self.parts, *wanted} - {*unwanted}
        return dataclasses.replace(self, parts=tuple(sorted(kept)))

    @property
    def cinder(self) -> bool:
        """Whether Cinder runs, and Glance has stores in it."""
        return 'cinder' in self.parts

    @property
    def ceph_20(self) -> bool:
        """Whether Ceph's daemons are of another release than the machine's."""
        return self.ceph == '20'

    @property
    def stock(self) -> bool:
        """Whether Nova's own driver runs, for comparison."""
        return self.driver == 'stock'
