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

"""The commands of the page on servers and sites do what it says."""

import contextlib

from openstack import exceptions as sdk_exceptions
import pytest

from tests.rig import pages

pytestmark = pytest.mark.long

PAGE = 'servers-and-sites'


@pytest.fixture
def no_zone_west(admin, computes):
    """The lab as it was before its zone west was made."""
    hosts = [name for name in computes if name.startswith('west')]
    zone = admin.compute.find_aggregate('west', ignore_missing=False)
    for host in hosts:
        admin.compute.remove_host_from_aggregate(zone, host)
    admin.compute.delete_aggregate(zone)
    yield
    zone = admin.compute.find_aggregate(
        'west'
    ) or admin.compute.create_aggregate(name='west', availability_zone='west')
    for host in hosts:
        with contextlib.suppress(sdk_exceptions.ConflictException):
            admin.compute.add_host_to_aggregate(zone, host)


@pytest.fixture
def cirros(upload):
    """An image in the store of site west, by the name that the page has."""
    return upload(store='west', name='cirros', os_shutdown_timeout='1')


def test_the_commands_of_the_page_print_what_it_shows(
    no_zone_west,
    schedule_by_site,
    cirros,
    servers_to_delete,
    where,
    computes,
    tmp_path,
):
    servers_to_delete += ['pinned', 'unpinned']
    schedule_by_site()

    for step in pages.steps(PAGE):
        output = pages.enter(step, where, computes['west-1'], tmp_path)
        pages.require_shown(step, output)
