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

"""A Ceph cluster, as the client's commands look into it."""

import dataclasses
import datetime
from typing import Any

MIB = 1 << 20
CREATED = datetime.datetime(2025, 1, 1)


class CephCluster:
    """Pools of RBD images, kept in memory.

    :param data_type: of what a look gives: ``data.Data``, which fakes may not
        import
    :ivar pools: what each has, by name
    :ivar closed: why a look into a pool fails, by name
    """

    def __init__(self, fsid: str, data_type: Any) -> None:
        self._fsid = fsid
        self._data_type = data_type
        self.pools: dict[str, dict[str, Any]] = {'images': {}}
        self.closed: dict[str, Exception] = {}
        self.trashed: list[Any] = []
        self.removed: list[str] = []
        self.busy: type[Exception] | None = None

    def add(self, name: str, pool: str = 'images', **fields: Any) -> None:
        """An image that Glance has stored, unless told otherwise."""
        self.pools.setdefault(pool, {})[name] = self._data_type(
            **{
                'name': name,
                'size': 256 * MIB,
                'used': 100 * MIB,
                'created_at': CREATED,
                'snapshot_size': 256 * MIB,
                'protected': True,
                **fields,
            }
        )

    def change(self, name: str, **fields: Any) -> None:
        there = self.pools['images'][name]
        self.pools['images'][name] = dataclasses.replace(there, **fields)

    def fsid(self) -> str:
        return self._fsid

    def names(self, pool: str) -> tuple[str, ...]:
        return tuple(self.pools[pool])

    def trash(self, pool: str) -> tuple[Any, ...]:
        assert pool in self.pools
        return tuple(self.trashed)

    def trashed_bytes(self, pool: str, image_id: str) -> int:
        assert pool in self.pools
        assert image_id
        return 7 * MIB

    def look(self, pool: str, name: str) -> Any:
        if pool in self.closed:
            raise self.closed[pool]
        return self.pools[pool].get(name)

    def remove(self, pool: str, name: str) -> None:
        if self.busy is not None:
            raise self.busy('in use')
        del self.pools[pool][name]
        self.removed.append(name)
