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


@dataclasses.dataclass(frozen=True)
class Settings:
    driver: str = 'multistore'
    threading: str = 'native'

    @classmethod
    def load(cls, where: layout.Layout) -> 'Settings':
        path = where.root / 'settings.json'
        if not path.exists():
            return cls()
        return cls(**json.loads(path.read_text()))

    def save(self, where: layout.Layout) -> None:
        text = json.dumps(dataclasses.asdict(self), indent=2)
        files.write(where.root / 'settings.json', text + '\n')

    @property
    def compute_driver(self) -> str:
        return DRIVERS[self.driver]

    @property
    def stock(self) -> bool:
        """Whether Nova's own driver runs, for comparison."""
        return self.driver == 'stock'
