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

"""The lab's nova-computes, with other options for the time of a test."""

from collections.abc import Mapping
import configparser
import contextlib
import datetime
import pathlib
import subprocess

from openstack import connection

from lab import hypervisor
from lab import layout
from lab import programs
from tests.rig import polling


class ComputeServices:
    """Changes the configuration of nova-computes, each by itself."""

    def __init__(
        self,
        supervisor: programs.Supervisor,
        admin: connection.Connection,
        where: pathlib.Path,
    ) -> None:
        self._supervisor = supervisor
        self._admin = admin
        self._where = where
        self._changed = contextlib.ExitStack()

    def configure(
        self,
        compute: layout.Compute,
        options: Mapping[str, Mapping[str, str]],
    ) -> None:
        """Run a compute with options, by section and name, that differ."""
        self._hide_conf(compute, options)
        self.restart(compute)

    def refuse(
        self,
        compute: layout.Compute,
        options: Mapping[str, Mapping[str, str]],
    ) -> None:
        """Start a compute with options that differ, and see it end."""
        self._hide_conf(compute, options)
        self._supervisor.restart(compute.program)
        polling.until(
            lambda: not self._supervisor.state(compute.program).alive,
            f'{compute.name} has ended',
        )

    def _hide_conf(
        self,
        compute: layout.Compute,
        options: Mapping[str, Mapping[str, str]],
    ) -> None:
        """Hide its nova.conf by another, in its own mount name space."""
        conf = configparser.ConfigParser(interpolation=None, strict=False)
        conf.read(compute.nova_conf)
        conf.read_dict(options)
        path = self._where / f'{compute.program}.conf'
        path.touch(mode=0o600)
        with path.open('w') as file:
            conf.write(file)
        # What is entered first is done last.
        self._changed.callback(self.restart, compute)
        _run(compute, 'mount', '--bind', path, compute.nova_conf)
        self._changed.callback(_run, compute, 'umount', compute.nova_conf)

    def replace(
        self, compute: layout.Compute, program: str, script: str
    ) -> None:
        """Have a compute find a script where a program is, when it starts."""
        path = self._where / f'{compute.name}-{pathlib.Path(program).name}'
        path.write_text(script)
        path.chmod(0o755)
        self._changed.callback(self.restart, compute)
        _run(compute, 'mount', '--bind', path, program)
        self._changed.callback(_run, compute, 'umount', program)

    def restore(self) -> None:
        """Run all that were changed as they were."""
        self._changed.close()

    def restart(self, compute: layout.Compute) -> None:
        """Start a nova-compute anew, and wait until it reports."""
        self._supervisor.stop(compute.program)
        before = self._reported(compute)
        self._supervisor.start(compute.program)
        polling.until(
            lambda: self._reported(compute) > before,
            f'{compute.name} reports',
        )

    def _reported(self, compute: layout.Compute) -> datetime.datetime:
        (service,) = self._admin.compute.services(
            binary='nova-compute', host=compute.name
        )
        return datetime.datetime.fromisoformat(service.updated_at)


def _run(compute: layout.Compute, *command: str | pathlib.Path) -> None:
    subprocess.run(
        hypervisor.inside(compute, *map(str, command)), check=True, timeout=30
    )
