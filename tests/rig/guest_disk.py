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

"""A disk of a guest, in libvirt's words and in QEMU's."""

import json
import pathlib
import re
import subprocess
from typing import Any

from lab import hypervisor
from lab import layout

#: What QEMU is told of the image itself, and not of the guest's device.
_OF_THE_IMAGE = (
    'driver',
    'pool',
    'image',
    'server',
    'user',
    'auth-client-required',
    'key-secret',
)


def options(
    compute: layout.Compute, xml: str, directory: pathlib.Path
) -> dict[str, Any]:
    """Have a compute's libvirt translate the XML of a disk for QEMU."""
    domain = directory / 'domain.xml'
    domain.write_text(
        '<domain type="qemu"><name>test</name><memory>65536</memory>'
        '<os><type arch="x86_64" machine="pc">hvm</type></os>'
        f'<devices>{xml}</devices></domain>'
    )
    command = ('virsh', 'domxml-to-native', 'qemu-argv', '--xml')
    arguments = subprocess.run(
        hypervisor.inside(compute, *command, str(domain)),
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    (found,) = re.findall(
        r"-blockdev '(\{\"driver\":\"rbd\".*?\})' ", arguments
    )
    given = json.loads(found)
    return {name: given[name] for name in _OF_THE_IMAGE if name in given}
