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

"""Programs of tox's environment, run as a packager would."""

import os
import pathlib
import subprocess
import sysconfig

ROOT = pathlib.Path(__file__).parents[2]
PROGRAMS = pathlib.Path(sysconfig.get_path('scripts'))
CONSTRAINTS = ROOT / 'lab' / 'constraints.txt'


def run(
    *command: str | pathlib.Path, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run a program; its output is both, the standard one and the errors.

    :param environ: variables of its environment, beside those of ours
    """
    return subprocess.run(
        [str(word) for word in command],
        cwd='/',
        env={**os.environ, 'UV_CONSTRAINT': str(CONSTRAINTS), **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def succeed(*command: str | pathlib.Path, **environ: str) -> str:
    """Run a program that must not fail; what it has said."""
    done = run(*command, **environ)
    assert done.returncode == 0, done.stdout
    return done.stdout
