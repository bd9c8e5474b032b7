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

"""A name server that knows a few names, and a process that asks it."""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import pathlib
import socketserver
import struct
import subprocess
import threading

#: Not where a machine's own would listen.
ADDRESS = '127.0.0.99'

AAAA, SRV = 28, 33

Records = Mapping[tuple[str, int], bytes]

_HEAD = struct.Struct('>HHHHHH')
#: A response, of whoever knows.
_AUTHORITATIVE = 0x8400
#: In place of a name: that of the question, after the head.
_SAME_NAME = b'\xc0\x0c'


def encoded(name: str) -> bytes:
    """A name as it is in a message."""
    return b''.join(
        bytes([len(label)]) + label.encode()
        for label in [*name.split('.'), '']
    )


def service(port: int, host: str) -> bytes:
    """A record of type SRV."""
    return struct.pack('>HHH', 10, 5, port) + encoded(host)


@contextlib.contextmanager
def serving(records: Records) -> Iterator[None]:
    """Answer questions on UDP.

    :param records: what there is, by name and type
    """

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            data, socket = self.request
            socket.sendto(_answer(data, records), self.client_address)

    with socketserver.ThreadingUDPServer((ADDRESS, 53), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()


def _answer(data: bytes, records: Records) -> bytes:
    number, *_ = _HEAD.unpack_from(data)
    labels, at = [], _HEAD.size
    while data[at]:
        labels.append(data[at + 1 : at + 1 + data[at]].decode())
        at += 1 + data[at]
    kind, group = struct.unpack_from('>HH', data, at + 1)
    found = records.get(('.'.join(labels), kind))
    answer = b''
    if found is not None:
        answer = _SAME_NAME + struct.pack('>HHIH', kind, group, 60, len(found))
        answer += found
    return (
        _HEAD.pack(number, _AUTHORITATIVE, 1, int(bool(answer)), 0, 0)
        + data[_HEAD.size : at + 5]
        + answer
    )


def run(command: Sequence[str], where: pathlib.Path) -> str:
    """What a program says that asks this name server, and no other."""
    conf = where / 'resolv.conf'
    conf.write_text(f'nameserver {ADDRESS}\noptions timeout:2 attempts:2\n')
    mount = f'mount --bind {conf} /etc/resolv.conf && exec "$@"'
    alone = ('unshare', '--mount', 'sh', '-c', mount, 'sh')
    return subprocess.run(
        [*alone, *command],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
    ).stdout
