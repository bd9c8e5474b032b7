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
import dataclasses
import os
import pathlib
import re
import subprocess
import textwrap

import pytest

from lab import cloud
from lab import layout
from tests.rig import clusters
from tests.rig import servers as nova_servers

pytestmark = pytest.mark.long

PAGE = pathlib.Path(__file__).parents[2] / 'doc' / 'source' / 'overview.rst'

BLOCK = re.compile(
    r'^\.\. code-block:: (\w+)\n   :caption: (.+)\n\n((?:   .*\n|\n)+)',
    re.MULTILINE,
)

#: The log is where an operator has it, for this command alone.
WITH_THE_LOG = (
    'mount -t tmpfs none /var/log && mkdir /var/log/nova && '
    'touch /var/log/nova/nova-compute.log && '
    'mount --bind "$LOG" /var/log/nova/nova-compute.log && '
    'eval "$COMMAND"'
)


@dataclasses.dataclass(frozen=True)
class Step:
    """One command, and what the page says it prints.

    :ivar who: the caption: who is to enter it, and where
    :ivar shown: lines; ``...`` stands for anything
    """

    who: str
    command: str
    shown: list[str]


def blocks(language):
    return [
        (caption, textwrap.dedent(text))
        for found, caption, text in BLOCK.findall(PAGE.read_text())
        if found == language
    ]


def steps():
    for who, text in blocks('console'):
        for entry in re.split(r'^[$#] ', text, flags=re.MULTILINE)[1:]:
            command, *shown = entry.rstrip().splitlines()
            yield Step(who, command, [line for line in shown if line != '...'])


def is_printed(line, output):
    anything = '.*'.join(map(re.escape, line.split('...')))
    return re.search(f'^{anything}$', output, re.MULTILINE) is not None


@pytest.fixture
def enter(where, computes, tmp_path):
    """Runs the command of a step; what it prints."""
    tools = f'{where.venv}/bin:{os.environ["PATH"]}'

    def run(step, host):
        account = cloud.account(
            'admin' if 'administrator' in step.who else 'demo', where
        )
        environment = {
            'PATH': tools,
            'CEPH_CONF': str(where.sites[1].ceph_conf),
            'LOG': str(computes[host].log),
            'COMMAND': step.command,
            'OS_REGION_NAME': layout.REGION,
            'OS_IDENTITY_API_VERSION': '3',
        } | {
            f'OS_{name.upper()}': value
            for name, value in dataclasses.asdict(account).items()
        }
        done = subprocess.run(
            ['/usr/bin/unshare', '--mount', '/bin/bash', '-c', WITH_THE_LOG],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, f'{step.command}: {done.stdout}'
        return done.stdout

    return run


@pytest.fixture
def to_clear_away(admin, demo, images_to_remove):
    yield
    server = demo.compute.find_server('first')
    if server:
        demo.compute.delete_server(server)
        demo.compute.wait_for_delete(server, wait=300)
    image = demo.image.find_image('cirros')
    if image:
        images_to_remove.append(image.id)


def test_the_computes_of_the_lab_run_with_the_options_of_the_first_page(
    where, computes
):
    (text,) = (text for _, text in blocks('ini'))
    shown = configparser.RawConfigParser(default_section='')
    shown.read_string(text)
    used = configparser.RawConfigParser(default_section='')
    used.read_string(computes['west-1'].nova_conf.read_text())
    for section in shown.sections():
        for name, value in shown[section].items():
            assert used[section][name].lower() == value.lower()


def test_the_commands_of_the_first_page_print_what_it_shows(
    to_clear_away, enter, admin, demo, west, tmp_path
):
    (tmp_path / 'cirros.raw').write_bytes(os.urandom(8 << 20))
    host = 'west-1'

    for step in steps():
        output = enter(step, host)
        for line in step.shown:
            assert is_printed(line, output), f'{step.command}: {output}'
        if 'server create' in step.command:
            server = admin.compute.find_server('first', all_projects=True)
            host = server.compute_host

    image = demo.image.find_image('cirros', ignore_missing=False)
    parent = clusters.of_glance(image.id)
    assert west.parent(nova_servers.disk(server)) == parent
