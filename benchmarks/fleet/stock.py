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

"""A compute host with Nova 34's own backend, by what it is seen to do.

``doc/source/scenarios.rst`` says where that was measured. Told in the terms
of this simulation; none of it is Nova's source.
"""

from collections.abc import Mapping
import json
import random
from typing import Any

from benchmarks.fleet import clock as clocks
from benchmarks.fleet import glance
from nova_rbd_multistore import location
from nova_rbd_multistore import pace
from tests.fakes import cluster as clusters


class _NotCloned(Exception):
    """Nova's ImageUnacceptable: it downloads the image instead."""


class Compute:
    """Boots one server from an image that its site does not have.

    With the setting that it needs, ``show_multiple_locations``, and a user
    who may have images copied.

    :ivar downloaded: whether the disk is a full copy
    """

    def __init__(
        self,
        name: str,
        store: str,
        cluster: clusters.Cluster,
        session: glance.Session,
        apis: glance.Glance,
        limits: pace.Limits,
        clock: clocks.Clock,
        rng: random.Random,
    ) -> None:
        self.name = name
        self.downloaded = False
        self._store = store
        self._cluster = cluster
        self._session = session
        self._apis = apis
        self._limits = limits
        self._clock = clock
        self._rng = rng

    def boot(self, image: str) -> None:
        """Clone the image if it can be; else download it."""
        try:
            record = self._record(image)
            if not self._clone(record):
                self._copy(image)
                if not self._clone(self._record(image)):
                    raise _NotCloned
        except _NotCloned:
            size = self._record(image)['size']
            self._apis.download(self._rng.choice(self._apis.urls), size)
            self.downloaded = True

    def _copy(self, image: str) -> None:
        """Ask for a copy and wait for it, or give it up.

        A 409 is taken for a lasting refusal. The failure flag and the stores
        under way are looked for where Glance does not put them; the stores
        are one text, and a store is in it if its name is.
        """
        body = {
            'method': {'name': 'copy-image'},
            'stores': [self._store],
        }
        if self._ask(f'{image}/import', 'POST', body).status_code == 409:
            raise _NotCloned
        ends = self._clock.now + self._limits.timeout
        while self._store not in self._record(image)['stores']:
            self._clock.sleep(self._limits.poll_interval)
            if self._clock.now >= ends:
                raise _NotCloned

    def _clone(self, record: Mapping[str, Any]) -> bool:
        for entry in record['locations']:
            parent = location.parse(entry['url'])
            if (
                isinstance(parent, location.RbdLocation)
                and parent.fsid == self._cluster.fsid()
            ):
                self._cluster.clone(parent, 'vms', f'{self.name}_disk')
                return True
        return False

    def _record(self, image: str) -> dict[str, Any]:
        # Each look is by a new client, which asks for the schema, too.
        record: dict[str, Any] = self._ask(image).json()
        self._ask('schemas/image')
        return record

    def _ask(self, path: str, method: str = 'GET', body: object = None) -> Any:
        folder = '' if path.startswith('schemas') else 'images/'
        return self._session.request(
            f'/v2/{folder}{path}',
            method,
            endpoint_override=self._rng.choice(self._apis.urls),
            data=json.dumps(body),
        )
