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

"""The commands of the documentation's first page do what it says."""

import configparser
import os

import pytest

from tests.rig import clusters
from tests.rig import pages
from tests.rig import servers as nova_servers

pytestmark = pytest.mark.long

PAGE = 'overview'


@pytest.fixture
def to_clear_away(demo, servers_to_delete, images_to_remove):
    servers_to_delete.append('first')
    yield
    image = demo.image.find_image('cirros')
    if image:
        images_to_remove.append(image.id)


def test_the_computes_of_the_lab_run_with_the_options_of_the_first_page(
    where, computes
):
    ((_, text),) = pages.blocks(PAGE, 'ini')
    shown = configparser.RawConfigParser(default_section='')
    shown.read_string(text)
    used = configparser.RawConfigParser(default_section='')
    used.read_string(computes['west-1'].nova_conf.read_text())
    for section in shown.sections():
        for name, value in shown[section].items():
            assert used[section][name].lower() == value.lower()


def test_the_commands_of_the_first_page_print_what_it_shows(
    to_clear_away, where, computes, admin, demo, west, tmp_path
):
    (tmp_path / 'cirros.raw').write_bytes(os.urandom(8 << 20))
    host = 'west-1'

    for step in pages.steps(PAGE):
        output = pages.enter(step, where, computes[host], tmp_path)
        pages.require_shown(step, output)
        if 'server create' in step.command:
            server = admin.compute.find_server('first', all_projects=True)
            host = server.compute_host

    image = demo.image.find_image('cirros', ignore_missing=False)
    parent = clusters.of_glance(image.id)
    assert west.parent(nova_servers.disk(server)) == parent
