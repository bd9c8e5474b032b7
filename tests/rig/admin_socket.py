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

"""What a Ceph daemon tells those who may open its admin socket."""

import json
import socket
import struct
from typing import Any

#: Seconds, for each step.
_PATIENCE = 20

_LENGTH = struct.Struct('>I')


def ask(path: str, prefix: str) -> Any:
    """The answer to a command, without librados.

    :param path: of the daemon's socket
    """
    command = json.dumps({'prefix': prefix, 'format': 'json'}).encode()
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.settimeout(_PATIENCE)
        daemon.connect(path)
        daemon.sendall(command + b'\0')
        with daemon.makefile('rb') as answer:
            (length,) = _LENGTH.unpack(answer.read(_LENGTH.size))
            return json.loads(answer.read(length))
