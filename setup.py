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

import setuptools
from setuptools.command import build

STARTUP = 'nova_rbd_multistore.pth'


class BuildStartup(setuptools.Command):
    """Put a file that Python reads at its start beside the packages.

    As a step of "build", whatever is built has it: a wheel, an editable one,
    and what "setup.py install" installs. See setuptools' SubCommand.
    """

    editable_mode = False
    user_options = []  # noqa: RUF012  # As setuptools declares it.

    def initialize_options(self):
        self.build_lib = None
        self.install_lib = None

    def finalize_options(self):
        self.set_undefined_options('build', ('build_lib', 'build_lib'))
        self.set_undefined_options('install', ('install_lib', 'install_lib'))

    def run(self):
        # Nothing of build_lib gets into an editable wheel. What is installed
        # does.
        self.copy_file(
            STARTUP, self.install_lib if self.editable_mode else self.build_lib
        )

    def get_source_files(self):
        return [STARTUP]

    def get_outputs(self):
        return []

    def get_output_mapping(self):
        return {}


class Distribution(setuptools.Distribution):
    def get_command_class(self, command):
        # pbr replaces the cmdclass that setup() is given.
        if command == 'build_startup':
            return BuildStartup
        return super().get_command_class(command)


build.build.sub_commands.append(('build_startup', None))

setuptools.setup(
    setup_requires=['pbr>=6.1.1'], pbr=True, distclass=Distribution
)
