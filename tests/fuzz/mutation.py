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

"""Mutates JSON as JSON: of bytes changed at random, little remains JSON."""

from collections.abc import Iterator
import json
import random
from typing import Any

import atheris

NAMES = (
    'id',
    'status',
    'owner',
    'disk_format',
    'size',
    'stores',
    'os_glance_importing_to_stores',
    'os_glance_failed_import',
    'os_glance_import_task',
    'locations',
    'url',
    'metadata',
    'store',
    'tasks',
    'message',
    'request_id',
    'updated_at',
    'input',
    'backend',
)
VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    2**63,
    1e308,
    '',
    'os_glance_staging_store',
    'west,east',
    'active',
    'failure',
    'Copied 999999999999 MiB',
    '0001-01-01T00:00:00+23:59',
    '9999-12-31T23:59:59-23:59',
    'rbd://a/b%2F/c%00/d',
    '\n\x1b\u2028\u202e\ud800',
    [],
    {},
)


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """One change to the JSON in ``data``; libFuzzer's own if it is none."""
    chance = random.Random(seed)  # noqa: S311
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        return _mutate_bytes(data, max_size)
    holder = [answer]
    place, key = chance.choice(list(_places(holder)))
    match chance.randrange(4):
        case 0:
            place[key] = chance.choice(VALUES)
        case 1 if isinstance(place[key], str):
            old = place[key].encode(errors='surrogatepass')
            new = _mutate_bytes(old, len(old) + 16)
            place[key] = new.decode(errors='surrogateescape')
        case 2 if isinstance(place[key], dict):
            place[key][chance.choice(NAMES)] = chance.choice(VALUES)
        case 3 if isinstance(place[key], list) and place[key]:
            place[key] *= 2
        case _ if place is not holder and isinstance(place, dict):
            del place[key]
    mutated = json.dumps(holder[0]).encode()
    if len(mutated) > max_size:
        return _mutate_bytes(data, max_size)
    return mutated


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each place in nested JSON: the list or object, and index or name."""
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(entries):
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)


def _mutate_bytes(data: bytes, max_size: int) -> bytes:
    mutated: bytes = atheris.Mutate(data, max_size)
    return mutated
