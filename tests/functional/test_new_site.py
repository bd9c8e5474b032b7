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

"""The tutorial for a new site: its ten commands print what it shows."""

import pytest

from tests.rig import clusters
from tests.rig import database
from tests.rig import pages
from tests.rig import servers as nova_servers

pytestmark = pytest.mark.long

PAGE = 'new-site'

#: A check that warns ends with 1, a plan that is not empty with 3.
STATUSES = (0, 1, 3)


def test_the_ten_commands_print_what_the_tutorial_shows(
    servers_to_delete,
    where,
    computes,
    admin,
    upload,
    tmp_path,
    west,
    stores_of,
    slow_cluster,
):
    servers_to_delete.append('first')
    public = {'owner': admin, 'visibility': 'public', 'store': 'east'}
    booted = upload(name='debian-12', tags=['golden'], **public)
    other = upload(64, name='debian-13', **public)
    for site in where.sites:
        (tmp_path / f'{site.name}.conf').symlink_to(site.ceph_conf)
    ((_, rules),) = pages.blocks(PAGE, 'yaml')
    (tmp_path / 'west.yaml').write_text(rules)
    steps = list(pages.steps(PAGE))
    assert [int(step.who.partition('.')[0]) for step in steps] == [
        *range(1, 11)
    ]

    host = 'west-1'
    for step in steps:
        if ' replica create ' in step.command:
            # Slow enough to be seen on its way.
            go_on = slow_cluster(west)
        if ' prune ' in step.command:
            assert stores_of(other.id) == {'east', 'west'}
            for image in (booted, other):
                database.age_image(where, image.id, 100)
        output = pages.enter(step, where, computes[host], tmp_path, STATUSES)
        pages.require_shown(step, output)
        if ' watch ' in step.command:
            go_on()
        if ' server create ' in step.command:
            server = admin.compute.find_server('first', all_projects=True)
            host = server.compute_host
            parent = clusters.of_glance(booted.id)
            assert west.parent(nova_servers.disk(server)) == parent

    assert stores_of(booted.id) == {'east', 'west'}
    assert stores_of(other.id) == {'east'}
