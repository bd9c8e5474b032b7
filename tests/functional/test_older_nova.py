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

"""A compute of an older Nova, as in an upgrade host by host.

The rest of the cloud is Nova 34, which works with computes of the release
before. That one's environment is made by tox -e nova33.
"""

import os
import pathlib

import pytest

from tests.rig import clusters
from tests.rig import compute_services
from tests.rig import database
from tests.rig import servers as nova_servers

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def run_older(where, supervisor, admin, computes, tmp_path):
    """Restarts a compute on Nova 33, with eventlet, as is its default."""
    older = pathlib.Path(
        os.environ.get('NOVA_RBD_OLDER_VENV') or ROOT / '.tox' / 'nova33'
    )
    changed = compute_services.ComputeServices(supervisor, admin, tmp_path)

    def by_name(name):
        compute = computes[name]
        # As if this host had never been upgraded (72: Gazpacho): Nova refuses
        # a compute that is older than all that there are. One that runs
        # writes its own version with each report, and the conductor keeps
        # the lowest in mind.
        supervisor.stop(compute.program, 'nova-conductor')
        with database.connect(where, 'nova') as nova, nova.cursor() as cursor:
            cursor.execute(
                'UPDATE services SET version = 72 '
                "WHERE `binary` = 'nova-compute' AND host = %s",
                (name,),
            )
        supervisor.start('nova-conductor')
        changed.replace(
            compute,
            where.program_file('nova-compute'),
            '#!/bin/sh\n'
            'export OS_NOVA_DISABLE_EVENTLET_PATCHING=false\n'
            f'exec {older}/bin/nova-compute "$@"\n',
        )
        helper = f'{older}/bin/privsep-helper'
        command = f'{helper} --config-file {compute.nova_conf}'
        changed.configure(
            compute, {'nova_sys_admin': {'helper_command': command}}
        )

    yield by_name
    changed.restore()


@pytest.mark.older
def test_a_compute_of_nova_33_boots_a_clone_of_a_copy(
    run_older, upload, servers, east, host_of, log_of, copy_tasks
):
    log = log_of('compute-east-1')
    run_older('east-1')
    log.wait_for('Starting compute node (version 33.')
    image = upload()

    (server,) = servers.boot(image.id, 'east')

    assert host_of(server) == 'east-1'
    parent = clusters.of_glance(image.id)
    assert east.parent(nova_servers.disk(server)) == parent
    assert len(copy_tasks(image.id)) == 1
