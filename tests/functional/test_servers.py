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

import pytest

from tests.rig import clusters
from tests.rig import servers as nova_servers


def disks(servers):
    return [nova_servers.disk(server) for server in servers]


def test_a_user_boots_a_cold_image_on_both_sites(
    upload, servers, east, west, stores_of, copy_tasks
):
    image = upload()
    parent = clusters.of_glance(image.id)

    in_east, in_west = disks(servers.boot(image.id, 'east', 'west'))

    assert east.parent(in_east) == parent
    assert west.parent(in_west) == parent
    assert stores_of(image.id) == {'file', 'east', 'west'}
    assert len(copy_tasks(image.id)) == 2


def test_6_servers_at_once_of_a_cold_image_are_clones_of_one_copy(
    upload, servers, east, copy_tasks
):
    image = upload(size_mib=64)
    parent = clusters.of_glance(image.id)

    booted = servers.boot(image.id, *['east'] * 6)

    assert {east.parent(disk) for disk in disks(booted)} == {parent}
    assert len(copy_tasks(image.id)) == 1


# Two copies, one after the other, and two hosts: not for each change.
@pytest.mark.long
def test_two_computes_of_a_site_that_wait_for_another_s_copy_share_one(
    upload, servers, east, west, hold_copy, copy_tasks, host_of, log_of
):
    image = upload(size_mib=64)
    parent = clusters.of_glance(image.id)
    logs = [log_of(f'compute-{name}') for name in ('west-1', 'west-2')]
    theirs = hold_copy(image.id, 'east')
    begun = [
        server
        for _ in range(2)
        for server in servers.begin_on_two_hosts(image.id, 'west')
    ]
    for log in logs:
        log.wait_for('Waiting for image', image.id)

    # Now all of them want to be next.
    theirs.thaw()
    in_west = [servers.wait_for(server) for server in begun]
    in_east = servers.boot(image.id, 'east')

    hosts = sorted(host_of(server) for server in in_west)
    assert hosts == ['west-1', 'west-1', 'west-2', 'west-2']
    assert {west.parent(disk) for disk in disks(in_west)} == {parent}
    assert {east.parent(disk) for disk in disks(in_east)} == {parent}
    # One for each site.
    assert len(copy_tasks(image.id)) == 2
