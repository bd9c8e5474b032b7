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

"""Pages of the documentation, whose commands are entered as readers do."""

from collections.abc import Collection, Iterator
import dataclasses
import os
import pathlib
import re
import subprocess
import textwrap

from lab import cloud
from lab import layout

_SOURCE = pathlib.Path(__file__).parents[2] / 'doc' / 'source'

_BLOCK = re.compile(
    r'^\.\. code-block:: (\w+)\n   :caption: (.+)\n\n((?:   .*\n|\n)+)',
    re.MULTILINE,
)

#: What is another one each time: the ``...`` of a page, ids, and times.
_VARIABLE = {
    r'\.\.\.': '.*',
    r'[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}': '[0-9a-f-]{36}',
    r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d': r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d',
    r'\d\d:\d\d UTC': r'\d\d:\d\d UTC',
}

#: The log is where an operator has it, for this command alone.
_WITH_THE_LOG = (
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


def blocks(page: str, language: str) -> list[tuple[str, str]]:
    """The caption and the text of each block of a page that has a caption."""
    text = (_SOURCE / f'{page}.rst').read_text()
    return [
        (caption, textwrap.dedent(block))
        for found, caption, block in _BLOCK.findall(text)
        if found == language
    ]


def steps(page: str) -> Iterator[Step]:
    """The commands of a page."""
    for who, text in blocks(page, 'console'):
        whole = re.sub(r' \\\n\s+', ' ', text)
        for entry in re.split(r'^[$#] ', whole, flags=re.MULTILINE)[1:]:
            command, *shown = entry.rstrip().splitlines()
            yield Step(who, command, [line for line in shown if line != '...'])


def _pattern(line: str) -> str:
    """What matches a line of a page, whatever is another one each time."""
    shown = re.compile('|'.join(f'({each})' for each in _VARIABLE))
    pattern, end = '', 0
    for found in shown.finditer(line):
        assert found.lastindex is not None
        pattern += re.escape(line[end : found.start()])
        pattern += [*_VARIABLE.values()][found.lastindex - 1]
        end = found.end()
    return f'^{pattern}{re.escape(line[end:])}$'


def require_shown(step: Step, output: str) -> None:
    """Check that a command has printed what the page shows."""
    for line in step.shown:
        assert re.search(_pattern(line), output, re.MULTILINE), (
            f'{step.command}: {output}'
        )


def enter(
    step: Step,
    where: layout.Layout,
    compute: layout.Compute,
    directory: pathlib.Path,
    statuses: Collection[int] = (0,),
) -> str:
    """Run a command in a directory, on a compute host; what it prints.

    :param statuses: with which it may end
    """
    account = cloud.account(
        'admin' if 'administrator' in step.who else 'demo', where
    )
    environment = {
        'PATH': f'{where.venv}/bin:{os.environ["PATH"]}',
        'CEPH_CONF': str(compute.site.ceph_conf),
        'LOG': str(compute.log),
        'COMMAND': step.command,
        # Where oslo.config looks first.
        'HOME': str(_home(compute, directory)),
        'OS_REGION_NAME': layout.REGION,
        'OS_IDENTITY_API_VERSION': '3',
    } | {
        f'OS_{name.upper()}': value
        for name, value in dataclasses.asdict(account).items()
    }
    done = subprocess.run(
        ['/usr/bin/unshare', '--mount', '/bin/bash', '-c', _WITH_THE_LOG],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode in statuses, f'{step.command}: {done.stdout}'
    return done.stdout


def _home(compute: layout.Compute, directory: pathlib.Path) -> pathlib.Path:
    """A directory of the user's, in which programs find nova.conf."""
    home = directory / 'home'
    conf = home / '.nova' / 'nova.conf'
    conf.parent.mkdir(parents=True, exist_ok=True)
    conf.unlink(missing_ok=True)
    conf.symlink_to(compute.nova_conf)
    return home
