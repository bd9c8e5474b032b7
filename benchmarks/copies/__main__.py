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


"""Measure how long Glance takes to copy: ``python -m benchmarks.copies``.

Each way of setting Glance up has a glance-api of its own, and all of them copy
in turn, so that a busy moment of the machine meets all alike. Needs the lab,
up, and its virtual environment. With ``--keep`` it writes the figures to where
the page about copies takes them from. ``routes`` measures copies to and from
Cinder instead, in a lab ``--with cinder``.
"""

import argparse
from collections.abc import Iterator
import contextlib
import pathlib
import signal
import sys
import tempfile
import time
from typing import Any

from benchmarks import ground as grounds
from benchmarks import machine
from benchmarks.copies import copier
from benchmarks.copies import figures
from benchmarks.copies import routes
from benchmarks.copies import setups
from benchmarks.copies import traffic
from tests.rig import apis

#: MiB of an image.
SIZE, QUICK_SIZE = 1024, 64

ROUNDS = 3

#: Where Debian has a file system in memory.
MEMORY = '/dev/shm'  # noqa: S108


@contextlib.contextmanager
def _glances(
    ground: grounds.Ground, where: pathlib.Path
) -> Iterator[list[apis.GlanceApi]]:
    """A glance-api for each way, in one process, which has copied before."""
    with contextlib.ExitStack() as stack:
        made = []
        for number, setup in enumerate(setups.SETUPS):
            options = {name: dict(of) for name, of in setup.options.items()}
            options.setdefault('DEFAULT', {}).update(grounds.LOGGING)
            if setup.in_memory:
                staging = options.setdefault('os_glance_staging_store', {})
                staging['filesystem_store_datadir'] = stack.enter_context(
                    tempfile.TemporaryDirectory('-bench', dir=MEMORY)
                )
            api = apis.GlanceApi(
                ground.where.glance_apis[0].directory,
                where / f'copies-{number}',
                options,
            )
            stack.callback(api.kill)
            api.start()
            small = ground.upload('file', 1)
            ground.copy(small, api)
            made.append(api)
        yield made


def measure(quick: bool) -> dict[str, Any]:
    facts = machine.facts()
    began = time.monotonic()
    size = QUICK_SIZE if quick else SIZE
    rows: dict[str, dict[str, figures.Samples]] = {
        title: {store: figures.Samples() for store in figures.STORES}
        for title in (
            *(setup.title for setup in setups.SETUPS),
            *('rbd import, rbd export | rbd import', 'checksums alone'),
        )
    }
    with contextlib.ExitStack() as stack:
        where = pathlib.Path(
            stack.enter_context(tempfile.TemporaryDirectory('-bench'))
        )
        image = where / 'image'
        copier.write_image(image, size)
        ground = stack.enter_context(grounds.Ground())
        glances = stack.enter_context(_glances(ground, where))
        copies = copier.Copier(
            ground,
            image,
            {
                store: [ground.send(image, store) for _ in range(2)]
                for store in figures.STORES
            },
        )
        *of_glance, limit, checksums = rows.values()
        for number in range(1 if quick else ROUNDS):
            for store in figures.STORES:
                print(
                    f'{time.monotonic() - began:6.1f} s  round {number + 1}, '
                    f'from {store}',
                    flush=True,
                )
                for setup, api, row in zip(
                    setups.SETUPS, glances, of_glance, strict=True
                ):
                    if store in setup.stores:
                        copies.by_glance(api, setup, store, row[store])
                copies.by_rbd(store, limit[store])
                copies.checksums(checksums[store])
    return {
        'machine': facts,
        'quick': quick,
        'seconds': round(time.monotonic() - began),
        'image_mib': size,
        'copies': {
            title: {store: found.as_dict() for store, found in row.items()}
            for title, row in rows.items()
        },
    }


#: How it is measured, and where it is kept.
MEASURED = {
    'setups': (measure, figures.SHEET),
    'routes': (routes.measure, traffic.SHEET),
}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog='benchmarks.copies', description=__doc__
    )
    parser.add_argument(
        'what', nargs='?', choices=list(MEASURED), default='setups'
    )
    parser.add_argument(
        '--quick',
        action='store_true',
        help='one copy of each of a small image, to see that it runs',
    )
    parser.add_argument(
        '--keep',
        action='store_true',
        help='write the figures to where the documentation takes them from',
    )
    arguments = parser.parse_args()
    # So that what was made goes when one has waited enough, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    measured, sheet = MEASURED[arguments.what]
    results = measured(arguments.quick)
    print(sheet.as_text(results))
    if arguments.keep:
        sheet.keep(results)
    return 0


if __name__ == '__main__':
    sys.exit(main())
