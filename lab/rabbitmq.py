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

"""RabbitMQ, over which Nova's services speak to each other.

Erlang's port mapper is a program of its own here: left to itself, RabbitMQ
starts one that outlives it and that listens on every address.
"""

from collections.abc import Sequence
import socket
from typing import ClassVar

from lab import layout
from lab import programs
from lab import service


class RabbitMQ(service.Service):
    # Debian's rabbitmq-server in /usr/sbin insists on the user rabbitmq.
    _server = '/usr/lib/rabbitmq/bin/rabbitmq-server'
    executables: ClassVar[Sequence[str]] = ('epmd', _server)

    def __init__(self, lab: service.Lab) -> None:
        super().__init__(lab, 'rabbitmq')
        self._etc = lab.layout.etc / self.name
        self._data = lab.layout.data / self.name
        self._conf = self._etc / 'rabbitmq.conf'

    def configure(self) -> None:
        self.lab.render('rabbitmq.conf.j2', self._conf)
        self.lab.render('rabbitmq-env.conf.j2', self._etc / 'env.conf')
        self._data.mkdir(parents=True, exist_ok=True)

    def daemons(self) -> Sequence[programs.Program]:
        ports = layout.PORTS
        epmd = {
            'ERL_EPMD_ADDRESS': layout.HOST,
            'ERL_EPMD_PORT': str(ports['epmd']),
        }
        server = {
            # Erlang's cookie is made there.
            'HOME': str(self._data),
            'RABBITMQ_CONFIG_FILE': str(self._conf),
            'RABBITMQ_CONF_ENV_FILE': str(self._etc / 'env.conf'),
            'RABBITMQ_DIST_PORT': str(ports['rabbitmq-distribution']),
            'RABBITMQ_ENABLED_PLUGINS_FILE': str(self._etc / 'plugins'),
            'RABBITMQ_LOGS': '-',
            'RABBITMQ_MNESIA_BASE': str(self._data),
            'RABBITMQ_NODENAME': 'rabbit@localhost',
            # Then the script gives its process to Erlang, for signals.
            'RUNNING_UNDER_SYSTEMD': 'true',
        }
        return (
            programs.Program('epmd', ('epmd',), epmd),
            programs.Program(
                self.name, (self._server,), epmd | server, (self._conf,)
            ),
        )

    def start(self) -> None:
        self.lab.supervisor.start('epmd')
        self.wait(lambda: self._listens('epmd'), 'a connection', 'epmd')
        self.lab.supervisor.start(self.name)
        self.wait(lambda: self._listens(self.name), 'a connection', self.name)

    def _listens(self, name: str) -> bool:
        address = (layout.HOST, layout.PORTS[name])
        with socket.create_connection(address, timeout=1):
            return True
