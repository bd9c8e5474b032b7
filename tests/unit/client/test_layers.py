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

"""The client imports downward, and neither Nova, Ceph nor libvirt."""

import subprocess
import sys

from tests.unit import test_layers

PACKAGE = 'nova_rbd_multistore_client'

#: Its layers, top to bottom.
LAYERS = [
    (
        'commands',
        (
            *('plugin', 'commands', 'commands.list', 'commands.show'),
            *('commands.create', 'commands.delete', 'commands.prune'),
            *('commands.sync', 'commands.watch', 'commands.repair'),
            *('commands.orphans', 'exporter'),
        ),
    ),
    ('what commands share', ('commands.options',)),
    ('engine', ('bringing', 'copies', 'showing', 'survey', 'cloud_metrics')),
    (
        'doors',
        ('glance', 'servers', 'sites', 'pool', 'rulefile'),
    ),
    (
        'values',
        (
            *('cell', 'data', 'image', 'reading', 'store', 'words'),
            *('age', 'deleting', 'plan', 'wanted', 'remedy'),
            *('orphan', 'errors', 'census', 'place', 'lock'),
            'patience',
        ),
    ),
]

#: Libraries that talk to services, and the modules that alone import them.
DOORS = {
    'rados': {'pool'},
    'rbd': {'pool'},
    'requests': {'glance', 'servers'},
    'keystoneauth1': {'glance', 'servers', 'exporter', 'plugin'},
    'openstack': {'exporter', 'plugin'},
    'prometheus_client': {'cloud_metrics', 'exporter'},
}

#: Imports every module but the one that is for Ceph alone.
IMPORT_ALL = f"""
import importlib, pkgutil, sys
import {PACKAGE} as top
for found in pkgutil.walk_packages(top.__path__, '{PACKAGE}.'):
    if found.name != '{PACKAGE}.pool':
        importlib.import_module(found.name)
print([name for name in ('nova', 'rados', 'rbd', 'libvirt', 'glanceclient')
       if name in sys.modules])
"""


def test_each_module_is_in_one_layer():
    assert (
        test_layers.misplaced(test_layers.sources(), LAYERS, PACKAGE) == set()
    )


def test_the_client_imports_downward():
    assert test_layers.upward(test_layers.sources(), LAYERS, PACKAGE) == set()


def test_a_library_of_a_service_has_one_door():
    found = test_layers.past_the_doors(test_layers.sources(), DOORS, PACKAGE)
    assert found == set()


def test_what_a_workstation_has_not_is_not_imported():
    done = subprocess.run(
        [sys.executable, '-c', IMPORT_ALL],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == '[]'
