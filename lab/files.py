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

"""Files of the lab: written whole, and readable by root alone."""

import functools
import os
import pathlib
import tempfile
from typing import IO, Any

import jinja2


def write(path: pathlib.Path, text: str) -> None:
    """Put text there, in one step, unless it is there already."""
    if path.exists() and path.read_text() == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # mkstemp makes the file with mode 0600.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(descriptor, 'w') as file:
        file.write(text)
    pathlib.Path(name).replace(path)


def append(path: pathlib.Path) -> IO[bytes]:
    """Open a log, for a program to write to."""
    path.touch(mode=0o600)
    return path.open('ab')


def end(path: pathlib.Path, count: int = 15) -> str:
    """The last lines of a log, for an error's text."""
    if not path.exists():
        return f'{path} was not written.'
    lines = path.read_text(errors='replace').splitlines()[-count:]
    return '\n'.join([f'The end of {path}:', *lines])


@functools.cache
def _templates() -> jinja2.Environment:
    # Configuration files are not HTML: nothing is to be escaped in them.
    return jinja2.Environment(  # noqa: S701
        loader=jinja2.PackageLoader('lab'),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def render(template: str, values: dict[str, Any]) -> str:
    """Fill in a file of lab/templates."""
    return _templates().get_template(template).render(values)
