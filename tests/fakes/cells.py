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

"""Nova's databases, and what its scheduler makes of them."""

from collections.abc import Iterator, Mapping
import contextlib
from typing import Any
import uuid

from nova import context as nova_context
from nova import exception
from nova import objects
from nova.scheduler import host_manager
import pytest

from nova_rbd_multistore import site

EAST = site.Site('fsid-east', 'east')
WEST = site.Site('fsid-west', 'west')


class Cells:
    """The database of the API and that of one cell.

    A server is in the cell from its first host on. Hosts and servers are read
    by a context of the cell alone.
    """

    def __init__(self, patches: pytest.MonkeyPatch) -> None:
        objects.register_all()
        self._mapped: dict[str, objects.CellMapping | None] = {}
        self._servers: dict[str, objects.Instance] = {}
        self._nodes: dict[tuple[str, str], objects.ComputeNode] = {}
        self._cell = objects.CellMapping(uuid=str(uuid.uuid4()), name='cell1')
        self._in_cell = nova_context.get_admin_context()
        for module, name, fake in (
            (nova_context, 'target_cell', self._target),
            (objects.InstanceMapping, 'get_by_instance_uuid', self._mapping),
            (objects.Instance, 'get_by_uuid', self._server),
            (
                objects.ComputeNode,
                'get_by_host_and_nodename',
                self._compute_node,
            ),
        ):
            patches.setattr(module, name, fake)

    def add_host(
        self, name: str, where: site.Site | None
    ) -> host_manager.HostState:
        """A host; of no site if it does not run our driver.

        :returns: what the scheduler knows of it
        """
        stats = {'num_instances': '0', **(where.to_stats() if where else {})}
        self._nodes[name, name] = objects.ComputeNode(stats=stats)
        state = host_manager.HostState(name, name, self._cell.uuid)
        state.stats = stats
        return state

    def add_hosts(self) -> list[host_manager.HostState]:
        """One of east, two of west, and one that does not run our driver."""
        return [
            self.add_host('east-1', EAST),
            self.add_host('west-1', WEST),
            self.add_host('west-2', WEST),
            self.add_host('old', None),
        ]

    def remove_host(self, name: str) -> None:
        del self._nodes[name, name]

    def ask_for_server(self) -> str:
        """A server that is in no cell yet; its id."""
        server = str(uuid.uuid4())
        self._mapped[server] = None
        return server

    def add_server(
        self,
        host: str | None,
        *,
        ephemeral: int = 0,
        shelved_image: str | None = None,
    ) -> str:
        """A server on a host, or on none any more; its id."""
        server = self.ask_for_server()
        self._mapped[server] = self._cell
        self._servers[server] = objects.Instance(
            uuid=server,
            host=host,
            node=host,
            flavor=objects.Flavor(ephemeral_gb=ephemeral),
            system_metadata={'shelved_image_id': shelved_image}
            if shelved_image
            else {},
        )
        return server

    def remove_server(self, server: str) -> None:
        """As if the server was deleted while the scheduler is at work."""
        del self._servers[server]

    @contextlib.contextmanager
    def _target(
        self,
        _context: nova_context.RequestContext,
        cell: 'objects.CellMapping',
    ) -> Iterator[nova_context.RequestContext]:
        assert cell is self._cell
        yield self._in_cell

    def _mapping(
        self, _context: nova_context.RequestContext, server: str
    ) -> 'objects.InstanceMapping':
        if server not in self._mapped:
            raise exception.InstanceMappingNotFound(uuid=server)
        return objects.InstanceMapping(cell_mapping=self._mapped[server])

    def _server(
        self,
        context: nova_context.RequestContext,
        server: str,
        expected_attrs: list[str],
    ) -> 'objects.Instance':
        assert context is self._in_cell
        assert set(expected_attrs) == {'flavor', 'system_metadata'}
        if server not in self._servers:
            raise exception.InstanceNotFound(instance_id=server)
        return self._servers[server]

    def _compute_node(
        self, context: nova_context.RequestContext, host: str, node: str
    ) -> 'objects.ComputeNode':
        assert context is self._in_cell
        if (host, node) not in self._nodes:
            raise exception.ComputeHostNotFound(host=host)
        return self._nodes[host, node]


def request(
    server: str,
    context: nova_context.RequestContext | None = None,
    image: str | None = None,
    **fields: Any,
) -> 'objects.RequestSpec':
    """What the scheduler is asked."""
    known: Mapping[str, Any] = {'is_bfv': False, 'scheduler_hints': {}}
    return objects.RequestSpec(
        context,
        instance_uuid=server,
        image=objects.ImageMeta(**({'id': image} if image else {})),
        **{**known, **fields},
    )
