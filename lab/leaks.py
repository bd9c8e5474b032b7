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
"""The lab's secrets, looked for where somebody else could read them.

Passwords, keys and tokens may be in the files that exist for them, which only
root reads: in no log, no list of processes, no message to a user, and no file
that all may read.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent import futures
import contextlib
import dataclasses
import fnmatch
import mmap
import os
import pathlib
import re
import stat
import threading
from typing import Final, Self

import pymysql

from lab import credentials
from lab import layout

#: Secrets that are made while the lab runs, by what they look like: Keystone's
#: tokens, and cephx keys of users that a test has made. Keystone repeats one
#: sort of token, that which it does not take any more: nobody can use it.
SHAPES: Final = {
    'a token': re.compile(rb'(?<!Could not find token: )gAAAA[\w-]{50,}'),
    'a cephx key': re.compile(rb'\bAQ[A-Za-z0-9+/]{36}=='),
}

#: Bytes around a secret that are shown, to find it by.
CONTEXT: Final = 60

#: What is configuration and not log in a directory of a test.
CONFIGURATION: Final = ('*/etc/*', '*.conf', '*keyring')


@dataclasses.dataclass(frozen=True)
class Leak:
    """A secret where it may not be.

    :ivar where: the file, the process or the table
    :ivar what: which secret; never the secret itself
    :ivar context: what it stands in, with all secrets left out
    """

    where: str
    what: str
    context: str

    def __str__(self) -> str:
        return f'{self.where}: {self.what}: {self.context}'


class Secrets:
    """What nobody but its owner may read.

    :param values: secrets by what they are
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = {
            name: value.encode() for name, value in values.items() if value
        }

    @classmethod
    def of(cls, where: layout.Layout) -> 'Secrets':
        """All of a lab: those that it was made with, and Keystone's keys."""
        values = dict(credentials.Credentials.load(where).secrets())
        for path in (where.data / 'keystone').glob('*-keys/*'):
            values[f'{path.parent.name}/{path.name}'] = path.read_text()
        return cls(values)

    def found_in(self, text: bytes | mmap.mmap, where: str) -> Iterator[Leak]:
        """The first of each secret in a text."""
        for what, value in self._values.items():
            at = text.find(value)
            if at >= 0:
                yield self._leak(text, where, what, at, at + len(value))
        for what, shape in SHAPES.items():
            match = next(
                (
                    match
                    for match in shape.finditer(text)
                    if match[0] not in self._values.values()
                ),
                None,
            )
            if match:
                yield self._leak(text, where, what, *match.span())

    def _leak(
        self,
        text: bytes | mmap.mmap,
        where: str,
        what: str,
        begin: int,
        end: int,
    ) -> Leak:
        before = text[max(text.rfind(b'\n', 0, begin) + 1, 0) : begin]
        line_end = text.find(b'\n', end)
        after = text[end : line_end if line_end >= 0 else len(text)]
        shown = b''.join(
            (
                self._hidden(before)[-CONTEXT:],
                b'***',
                self._hidden(after)[:CONTEXT],
            )
        )
        return Leak(where, what, shown.decode(errors='replace'))

    def _hidden(self, text: bytes) -> bytes:
        for value in self._values.values():
            text = text.replace(value, b'***')
        for shape in SHAPES.values():
            text = shape.sub(b'***', text)
        return text


class Search:
    """All places of a lab.

    :ivar searched: how many files, processes and messages were looked at
    :ivar size: bytes of them
    """

    def __init__(self, where: layout.Layout, secrets: Secrets) -> None:
        self._layout = where
        self._secrets = secrets
        self.searched = 0
        self.size = 0

    def everywhere(self) -> Iterator[Leak]:
        yield from self.in_logs()
        yield from self.in_files_for_all()
        yield from self.in_processes()
        yield from self.in_faults()

    def in_logs(self) -> Iterator[Leak]:
        """The logs of daemons, of libvirt's guests, of what the tests ran."""
        for directory in (
            self._layout.log,
            *(compute.libvirt / 'log' for compute in self._layout.computes),
        ):
            for path in _files(directory):
                yield from self._in_file(path)
        tests = self._layout.tests
        for path in _files(tests):
            name = str(path.relative_to(tests))
            if not any(fnmatch.fnmatch(name, kind) for kind in CONFIGURATION):
                yield from self._in_file(path)

    def in_files_for_all(self) -> Iterator[Leak]:
        """Files whose own mode lets everybody read them."""
        for path in _files(self._layout.root):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mode & stat.S_IROTH:
                    yield from self._in_file(path)

    def in_processes(self) -> Iterator[Leak]:
        """The command lines of what runs now, which everybody may list."""
        for path in pathlib.Path('/proc').glob('[0-9]*/cmdline'):
            # It may end at any time.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                command = path.read_bytes().replace(b'\0', b' ')
                yield from self._in_text(command, f'process {path.parts[2]}')

    def in_faults(self) -> Iterator[Leak]:
        """What users were told of why their servers failed."""
        known = credentials.Credentials.load(self._layout)
        for database in ('nova', 'nova_cell0'):
            connection = pymysql.connect(
                host=layout.HOST,
                port=layout.PORTS['mariadb'],
                user='nova',
                password=known.database('nova'),
                database=database,
            )
            with connection, connection.cursor() as cursor:
                cursor.execute(
                    'SELECT instance_uuid, message, details '
                    'FROM instance_faults'
                )
                for server, *texts in cursor.fetchall():
                    yield from self._in_text(
                        ' '.join(map(str, texts)).encode(),
                        f'fault of server {server}',
                    )

    def _in_file(self, path: pathlib.Path) -> Iterator[Leak]:
        # One that was removed meanwhile, or is empty, which cannot be mapped.
        with (
            contextlib.suppress(FileNotFoundError),
            path.open('rb') as file,
        ):
            if os.fstat(file.fileno()).st_size:
                with mmap.mmap(
                    file.fileno(), 0, access=mmap.ACCESS_READ
                ) as text:
                    yield from self._in_text(text, str(path))

    def _in_text(self, text: bytes | mmap.mmap, where: str) -> Iterator[Leak]:
        self.searched += 1
        self.size += len(text)
        return self._secrets.found_in(text, where)


class Watch:
    """Looks again and again, at once and while it is open.

    :param look: tells what there is to be seen
    :param interval: seconds between two looks
    :ivar leaks: what was seen, once it is closed
    """

    def __init__(
        self, look: Callable[[], Iterable[Leak]], interval: float = 1.0
    ) -> None:
        self._look = look
        self._interval = interval
        self._ended = threading.Event()
        self._thread = futures.ThreadPoolExecutor(1)
        self.leaks: set[Leak] = set()

    def _run(self) -> set[Leak]:
        seen = set(self._look())
        while not self._ended.wait(self._interval):
            seen |= set(self._look())
        return seen

    def __enter__(self) -> Self:
        self._seen = self._thread.submit(self._run)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ended.set()
        self._thread.shutdown()
        # What went wrong with a look is raised here.
        self.leaks = self._seen.result()


def _files(directory: pathlib.Path) -> Iterator[pathlib.Path]:
    """The regular files below a directory, not by way of links."""
    for parent, _, names in os.walk(directory):
        for name in names:
            path = pathlib.Path(parent, name)
            if path.is_file() and not path.is_symlink():
                yield path
