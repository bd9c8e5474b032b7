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

"""Servers booted by an ordinary user through Nova's API."""

from collections.abc import Iterator
import contextlib
from typing import Any
import uuid

import pytest

from tests.functional import clusters

#: Seconds for a server to become ACTIVE or ERROR; a guest takes ten more.
BOOT_DEADLINE = 240


@pytest.fixture
def boot_servers(demo) -> Iterator[Any]:
    """Boots servers of m1.tiny without a network, all at once."""
    made = []

    def boot(image_id, *zones, wait=True):
        flavor = demo.compute.find_flavor('m1.tiny')
        servers = [
            demo.compute.create_server(
                name=f'test-{uuid.uuid4()}',
                image_id=image_id,
                flavor_id=flavor.id,
                networks='none',
                availability_zone=zone,
            )
            for zone in zones
        ]
        made.extend(servers)
        return [
            demo.compute.wait_for_server(
                server, wait=BOOT_DEADLINE, failures=['ERROR']
            )
            if wait
            else server
            for server in servers
        ]

    yield boot
    for server in made:
        with contextlib.suppress(Exception):
            demo.compute.delete_server(server, force=False)
    for server in made:
        demo.compute.wait_for_delete(server, wait=120)


def disk(server) -> str:
    return f'{server.id}_disk'


def test_a_user_boots_a_cold_image_on_both_sites(
    upload, boot_servers, east, west, stores_of
):
    image = upload()
    parent = clusters.of_glance(image.id)

    in_east, in_west = boot_servers(image.id, 'east', 'west')

    assert east.parent(disk(in_east)) == parent
    assert west.parent(disk(in_west)) == parent
    assert stores_of(image.id) == {'file', 'east', 'west'}
