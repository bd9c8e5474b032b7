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


"""On what, with what and when was measured."""

import datetime
import importlib.metadata
import os
import pathlib
import platform
import subprocess
from typing import Any

ROOT = pathlib.Path(__file__).parents[1]

PACKAGES = ('nova', 'glance', 'glance_store', 'keystone')


def facts() -> dict[str, Any]:
    """What a figure depends on, for the JSON beside the figures."""
    return {
        'date': datetime.datetime.now(datetime.UTC).isoformat('T', 'seconds'),
        'commit': _said('git', '-C', str(ROOT), 'rev-parse', 'HEAD'),
        'modified': bool(
            _said('git', '-C', str(ROOT), 'status', '--porcelain')
        ),
        'cpu': processor(),
        'cpus': len(os.sched_getaffinity(0)),
        'memory_gib': round(
            os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30
        ),
        'load_before': [round(load, 1) for load in os.getloadavg()],
        'kernel': platform.release(),
        'python': platform.python_version(),
        'ceph': _said('ceph', '--version'),
        'versions': {
            name: importlib.metadata.version(name) for name in PACKAGES
        },
    }


def processor() -> str:
    """The model of the machine's processor."""
    for line in pathlib.Path('/proc/cpuinfo').read_text().splitlines():
        name, _, value = line.partition(':')
        if name.strip() == 'model name':
            return value.strip()
    return platform.machine()


def _said(*command: str) -> str:
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout.strip()
