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

"""Servers of a user, made and watched through Nova's API."""

from collections.abc import Sequence
import contextlib
from typing import Any
import uuid

from openstack import connection
from openstack import exceptions as sdk_exceptions

from tests.rig import polling

#: Properties of images whose guests run nothing that would answer the button:
#: Nova is not to wait for it (its default is 60 s).
SHUT_DOWN_AT_ONCE = {'os_shutdown_timeout': '1'}

#: In place of a zone.
ANYWHERE = ''


class Servers:
    """Makes servers without a network, and deletes them all."""

    def __init__(self, who: connection.Connection) -> None:
        self._compute = who.compute
        self._made: list[Any] = []
        self._groups: list[Any] = []

    def begin(
        self,
        image_id: str,
        *zones: str,
        flavor: str = 'm1.tiny',
        **options: Any,
    ) -> list[Any]:
        """Ask for a server in each zone, all at once.

        :param zones: of which ``ANYWHERE`` leaves the choice to Nova
        """
        found = self._compute.find_flavor(flavor, ignore_missing=False)
        servers = [
            self._compute.create_server(
                name=f'test-{uuid.uuid4()}',
                image_id=image_id,
                flavor_id=found.id,
                networks='none',
                **({'availability_zone': zone} if zone else {}),
                **options,
            )
            for zone in zones
        ]
        self._made += servers
        return servers

    def begin_on_two_hosts(self, image_id: str, zone: str) -> list[Any]:
        """Ask for two servers that may not share a host of a zone.

        Without that, Nova's scheduler may send all servers of a moment to
        one host.
        """
        group = self._compute.create_server_group(
            name=f'test-{uuid.uuid4()}', policy='anti-affinity'
        )
        self._groups.append(group)
        hints = {'group': group.id}
        servers = []
        for _ in range(2):
            (server,) = self.begin(image_id, zone, scheduler_hints=hints)
            self._wait_for_host(server)
            servers.append(server)
        return servers

    def _wait_for_host(self, server: Any) -> None:
        def at_work() -> bool:
            now = self._compute.get_server(server.id)
            assert now.status != 'ERROR', now.fault
            return now.task_state in {'spawning', None}

        polling.until(at_work, f'a host builds server {server.id}')

    def boot(
        self, image_id: str, *zones: str, flavor: str = 'm1.tiny'
    ) -> list[Any]:
        """Ask for a server in each zone, and wait until all are ACTIVE."""
        return [
            self.wait_for(server)
            for server in self.begin(image_id, *zones, flavor=flavor)
        ]

    def boot_on(
        self,
        image_id: str,
        host: str,
        flavor: str = 'm1.tiny',
        **options: Any,
    ) -> Any:
        """Boot a server on a host, as an administrator may.

        It is not bound to the host's zone. Options are Nova's.
        """
        found = self._compute.find_flavor(flavor, ignore_missing=False)
        server = self._compute.create_server(
            name=f'test-{uuid.uuid4()}',
            image_id=image_id,
            flavor_id=found.id,
            networks='none',
            host=host,
            **options,
        )
        self._made.append(server)
        return self.wait_for(server)

    def wait_for(self, server: Any, status: str = 'ACTIVE') -> Any:
        """Wait until Nova is done with a server, and has it in a status."""

        def settled() -> Any:
            now = self._compute.get_server(server.id)
            assert now.status != 'ERROR', now.fault
            return (
                now if (now.task_state, now.status) == (None, status) else None
            )

        return polling.until(settled, f'server {server.id} is {status}')

    def delete(self, servers: Sequence[Any]) -> None:
        """Delete servers, and wait until they are gone."""
        for server in servers:
            with contextlib.suppress(sdk_exceptions.NotFoundException):
                self._compute.delete_server(server, ignore_missing=False)
        for server in servers:
            self._compute.wait_for_delete(server, wait=polling.DEADLINE)

    def delete_all(self) -> None:
        self.delete(self._made)
        for group in self._groups:
            self._compute.delete_server_group(group)


def disk(server: Any) -> str:
    """The name of a server's root disk in Nova's pool."""
    return f'{server.id}_disk'
