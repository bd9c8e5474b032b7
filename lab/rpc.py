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

"""Remote calls to supervisord, over its unix socket."""

import http.client
import pathlib
import threading
from typing import Any, cast
import xmlrpc.client

import supervisor.xmlrpc


class Rpc:
    """One connection, kept, and used by one thread at a time.

    One for each call would be simpler. But when supervisord closes a
    connection in the same moment in which it starts a program, it may take
    the program's pipe, which gets the same number, for that connection, and
    spin for ever (github.com/Supervisor/supervisor/issues/807).
    """

    def __init__(self, socket: pathlib.Path) -> None:
        self._transport = supervisor.xmlrpc.SupervisorTransport(
            None, None, f'unix://{socket}'
        )
        self._server = xmlrpc.client.ServerProxy(
            'http://127.0.0.1', transport=cast(Any, self._transport)
        )
        self._lock = threading.Lock()

    def call(self, method: str, *arguments: Any) -> Any:
        """Raises OSError or HTTPException if nobody answers."""
        with self._lock:
            function = getattr(self._server.supervisor, method)
            try:
                return function(*arguments)
            except (OSError, http.client.HTTPException):
                # The supervisord that we were connected to may be gone, and
                # another be there.
                self._transport.close()
                return function(*arguments)
