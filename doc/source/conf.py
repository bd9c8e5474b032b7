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

"""Sphinx's configuration: docs.openstack.org's look, warnings are errors."""

import importlib.metadata
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / 'ext'))

project = 'nova-rbd-multistore'
copyright = 'nova-rbd-multistore developers'  # noqa: A001

release = version = importlib.metadata.version(project)

extensions = [
    'openstackdocstheme',
    'oslo_config.sphinxconfiggen',
    'oslo_config.sphinxext',
    'reno.sphinxext',
    'sequence',
]

html_theme = 'openstackdocs'
openstackdocs_auto_name = False
openstackdocs_auto_version = False
pygments_style = 'native'

config_generator_config_file = [
    (
        '../../etc/oslo-config-generator/nova-rbd-multistore.conf',
        '_static/nova-rbd-multistore',
    )
]
