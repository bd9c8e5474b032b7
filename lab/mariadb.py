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

"""MariaDB: one server, with the databases of all services."""

from collections.abc import Sequence
import shutil
from typing import ClassVar, Final

import pymysql

from lab import layout
from lab import programs
from lab import service

# Each database, and the service's user to whom it belongs.
DATABASES: Final = {
    'cinder': 'cinder',
    'glance': 'glance',
    'keystone': 'keystone',
    'neutron': 'neutron',
    'nova': 'nova',
    'nova_api': 'nova',
    'nova_cell0': 'nova',
    'placement': 'placement',
}


class MariaDB(service.Service):
    executables: ClassVar[Sequence[str]] = ('mariadbd', 'mariadb-install-db')

    def __init__(self, lab: service.Lab) -> None:
        super().__init__(lab, 'mariadb')
        etc = lab.layout.etc / 'mariadb'
        self._conf = etc / 'my.cnf'
        self._sql = etc / 'init.sql'
        self._data = lab.layout.data / 'mariadb'

    def configure(self) -> None:
        self.lab.render(
            'my.cnf.j2', self._conf, data=self._data, init_file=self._sql
        )
        self.lab.render('init.sql.j2', self._sql, databases=DATABASES)

    def daemons(self) -> Sequence[programs.Program]:
        return (
            programs.Program(
                self.name,
                ('mariadbd', f'--defaults-file={self._conf}'),
                files=(self._conf, self._sql),
            ),
        )

    def start(self) -> None:
        marker = self.lab.marker(self.name)
        if not marker.exists():
            shutil.rmtree(self._data, ignore_errors=True)
            self._data.mkdir(parents=True)
            self.lab.run(
                self.name,
                'mariadb-install-db',
                f'--defaults-file={self._conf}',
                '--skip-test-db',
                '--auth-root-authentication-method=socket',
            )
            marker.touch()
        self.lab.supervisor.start(self.name)
        self.wait(self._answers, 'a connection to each database')

    def _answers(self) -> bool:
        for name, user in DATABASES.items():
            pymysql.connect(
                host=layout.HOST,
                port=layout.PORTS[self.name],
                user=user,
                password=self.lab.credentials.database(user),
                database=name,
            ).close()
        return True
