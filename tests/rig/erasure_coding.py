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

"""A pool of erasure-coded data in a cluster that has a single OSD.

Ceph puts the three parts of an object (two of data, one of parity) on
three OSDs. Told by a rule of its own to take ``osd.0`` three times, it puts
them on one: the pool then protects nothing, and is erasure-coded all the
same.
"""

from collections.abc import Iterator, Sequence
import contextlib
import json
import pathlib
import subprocess
from typing import Any
import uuid

from tests.rig import polling

# Ceph 16 wants the two sizes; later ones say that they ignore them.
_RULE = """
rule {name} {{
    id {number}
    type erasure
    min_size 3
    max_size 3
{steps}
}}
"""
_STEP = '    step take osd.0\n    step emit'


@contextlib.contextmanager
def pool(
    cluster: Any, inside: Sequence[str], where: pathlib.Path
) -> Iterator[str]:
    """Make one, and remove it in the end.

    :param cluster: connection to librados, as the administrator
    :param inside: what comes before a command of Ceph's own release
    :param where: directory for a few files
    """
    name = f'erasure-{uuid.uuid4()}'
    binary, text = where / f'{name}.crush', where / f'{name}.txt'
    before = _command(cluster, 'osd getcrushmap')
    binary.write_bytes(before)
    _run(*inside, 'crushtool', '--decompile', str(binary), '-o', str(text))
    rules = json.loads(_command(cluster, 'osd crush rule dump', format='json'))
    rule = _RULE.format(
        name=name,
        number=max(each['rule_id'] for each in rules) + 1,
        steps='\n'.join([_STEP] * 3),
    )
    with text.open('a') as file:
        file.write(rule)
    _run(*inside, 'crushtool', '--compile', str(text), '-o', str(binary))
    _command(cluster, 'osd setcrushmap', binary.read_bytes())
    _command(
        cluster,
        'osd erasure-code-profile set',
        name=name,
        profile=['k=2', 'm=1', 'crush-failure-domain=osd'],
    )
    _command(
        cluster,
        'osd pool create',
        pool=name,
        pg_num=1,
        pool_type='erasure',
        erasure_code_profile=name,
        rule=name,
    )
    try:
        _command(
            cluster,
            'osd pool set',
            pool=name,
            var='allow_ec_overwrites',
            val='true',
        )
        _command(cluster, 'osd pool application enable', pool=name, app='rbd')
        polling.until(lambda: _is_active(cluster, name), 'the pool is active')
        yield name
    finally:
        # Monitors remove no pool unless they are told that they may.
        _allow_removal(cluster, True)
        _command(
            cluster,
            'osd pool delete',
            pool=name,
            pool2=name,
            yes_i_really_really_mean_it=True,
        )
        _allow_removal(cluster, False)
        _command(cluster, 'osd erasure-code-profile rm', name=name)
        _command(cluster, 'osd crush rule rm', name=name)


def _allow_removal(cluster: Any, allowed: bool) -> None:
    _command(
        cluster,
        'config set',
        who='mon',
        name='mon_allow_pool_delete',
        value=str(allowed).lower(),
    )


def _is_active(cluster: Any, pool: str) -> bool:
    try:
        with cluster.open_ioctx(pool) as ioctx:
            ioctx.write_full('is-active', b'')
            ioctx.remove_object('is-active')
    except TimeoutError:
        return False
    return True


def _command(
    cluster: Any, prefix: str, given: bytes = b'', **arguments: object
) -> bytes:
    code, output, error = cluster.mon_command(
        json.dumps({'prefix': prefix, **arguments}), given
    )
    assert code == 0, f'ceph {prefix}: {error}'
    return bytes(output)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=60)
