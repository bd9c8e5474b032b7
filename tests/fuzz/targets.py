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

"""What is fuzzed, each with what must hold for any input.

A target takes bytes. It raises nothing, for then libFuzzer reports the input.
"""

from collections.abc import Callable
import contextlib
import json
from typing import Any

import atheris

# What is not instrumented here, libFuzzer cannot see into.
with atheris.instrument_imports(
    include=['nova_rbd_multistore', 'iso8601', 'oslo_utils.timeutils']
):
    from nova_rbd_multistore import answers
    from nova_rbd_multistore import image
    from nova_rbd_multistore import location
    from nova_rbd_multistore import progress
    from nova_rbd_multistore import task as task_values
    from nova_rbd_multistore import text


def locations(data: bytes) -> None:
    """A location URL."""
    url = data.decode(errors='surrogateescape')
    try:
        found = location.parse(url)
    except location.MalformedLocation as exc:
        _check(exc)
        return
    if isinstance(found, location.RbdLocation):
        for part in (found.fsid, found.pool, found.image, found.snapshot):
            assert part
            assert '\0' not in part
            part.encode()


def records(data: bytes) -> None:
    """An image's record."""
    record = _read(image.ImageRecord.from_answer, data)
    if record is None:
        return
    assert record.id.isprintable()
    assert record.size is None or 0 <= record.size < 2**63
    for store in record.stores:
        assert store
        assert ',' not in store
        assert not store.startswith('os_glance_')
        record.holds(store)


def image_locations(data: bytes) -> None:
    """An image's locations, from the record or from the location API."""
    for found in _read(image.image_locations, data) or ():
        assert found.url
        with contextlib.suppress(location.MalformedLocation):
            location.parse(found.url)


def tasks(data: bytes) -> None:
    """An image's tasks."""
    for task in _read(task_values.copy_tasks, data) or ():
        assert task.id.isprintable()
        assert task.message.isprintable()
        assert task.lock_kept_until > task.updated_at
        copied = progress.bytes_in_message(task.message)
        seen = progress.Progress(2**63 - 1, iter([0.0, 1.0, 2.0]).__next__)
        seen.saw(copied or 0)
        assert str(seen).isprintable()


def stores(data: bytes) -> None:
    """The stores of a glance-api."""
    for store in _read(image.store_ids, data) or ():
        assert store


def texts(data: bytes) -> None:
    """Any text, on its way into the log or to a tenant."""
    said = data.decode(errors='surrogateescape')
    line = text.printable(said)
    assert line.isprintable()
    assert len(line) <= text.LIMIT
    assert '://' not in text.without_urls(said)
    password = ''.join(c for c in said if not c.isspace() and c not in '/?#')
    url = f'http://nova:{password}@glance:9292/'
    assert text.without_credentials(url) == 'http://glance:9292/'


def _read(read: Callable[[object], Any], data: bytes) -> Any:
    """What ``read`` makes of JSON; None of what it, or JSON, refuses."""
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        return None
    try:
        return read(answer)
    except answers.MalformedAnswer as exc:
        _check(exc)
        return None


def _check(exc: ValueError) -> None:
    """It goes into a log entry."""
    assert str(exc).isprintable()
    assert len(str(exc)) < 150


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        locations,
        records,
        image_locations,
        tasks,
        stores,
        texts,
    )
}

#: Those that read JSON, and are to be given JSON.
JSON = frozenset({'records', 'image_locations', 'tasks', 'stores'})
