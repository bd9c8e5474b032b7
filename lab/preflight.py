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

"""What has to be true of the machine before anything is started."""

from collections.abc import Sequence
import os
import shutil
from typing import Final

import psutil

from lab import cgroup
from lab import errors
from lab import layout
from lab import programs
from lab import service
from lab import settings

# A unix socket's path has at most 107 characters.
_LONGEST_ROOT: Final = 75


def superuser() -> None:
    if os.geteuid():
        raise errors.NotPossible(
            'the lab makes mounts and name spaces for its three hypervisors: '
            'run tools/lab as root'
        )


def machine(where: layout.Layout) -> None:
    """Whether there can be a lab here; nothing is written yet."""
    superuser()
    _root_directory(where)
    _ports(where)


def _root_directory(where: layout.Layout) -> None:
    if len(str(where.root)) > _LONGEST_ROOT:
        raise errors.NotPossible(
            f'{where.root} is too long a path for the sockets below it: set '
            f'NOVA_RBD_LAB_DIR to one of at most {_LONGEST_ROOT} characters'
        )


def clusters(
    where: layout.Layout, before: settings.Settings, chosen: settings.Settings
) -> None:
    """Whether clusters that there are would get another Ceph."""
    made = any(where.done.glob('ceph-mon-*'))
    if made and before.ceph != chosen.ceph:
        raise errors.NotPossible(
            f'the clusters in {where.root} were made by another Ceph '
            f'(--ceph {before.ceph}): run tools/lab destroy first'
        )


def packages(
    where: layout.Layout, services: Sequence[service.Service]
) -> None:
    """Whether all is installed that the services need."""
    path = programs.environment(where)['PATH']
    executables = {name for item in services for name in item.executables}
    missing = [
        name for name in executables if not shutil.which(name, path=path)
    ]
    if missing:
        raise errors.NotPossible(
            f'not installed: {", ".join(sorted(missing))}; '
            f'tools/install.sh installs all that the lab needs'
        )


def _ports(where: layout.Layout) -> None:
    ours = cgroup.ControlGroup(where).pids()
    names = {port: name for name, port in layout.PORTS.items()}
    for connection in psutil.net_connections('inet'):
        if connection.status != psutil.CONN_LISTEN:
            continue
        name = names.get(connection.laddr.port)
        if name is None or connection.pid in ours:
            continue
        raise errors.NotPossible(
            f'port {connection.laddr.port}, for {name}, is in use by '
            f'{_whose(connection.pid)}'
        )


def _whose(pid: int | None) -> str:
    if pid is None:
        return 'a process of another network or process name space'
    if root := cgroup.lab_of(pid):
        return (
            f'the lab in {root} (process {pid}): two labs cannot run at a '
            f'time; NOVA_RBD_LAB_DIR={root} tools/lab down stops that one'
        )
    return f'process {pid} ({psutil.Process(pid).name()}): stop it first'
