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

"""Further OpenStack APIs beside the lab's, over the same databases.

For a deployment that differs in some options: the lab's own stay as they are.
"""

from collections.abc import Callable, Mapping, Sequence
import configparser
import os
import pathlib
import re
import shlex
import shutil
import signal
import ssl
import subprocess
from typing import ClassVar
import urllib.error
import urllib.request

from openstack import connection
import requests

from lab import layout
from tests.rig import certificates
from tests.rig import polling
from tests.rig import ports

Options = Mapping[str, Mapping[str, str]]

#: By which Glance's health check sees that a file store is there.
MARKER = '.glance'


class Api:
    """A real WSGI application with a configuration of its own.

    :param like: directory of the lab's configuration that this is a copy of
    :param where: directory for its own, its data and its log
    :param options: that differ, by section and name
    :param tls: how to serve it over TLS, if so
    :param workers: processes that serve it
    :param threads: of each of them
    :param disks: directories where it alone sees an empty file system, and
        how large that is, or another directory; markers of the health check
        are there, too
    :param wrapper: the command that runs it
    """

    #: Where it listens.
    address = '127.0.0.1'
    #: The module that has the application.
    module: ClassVar[str]
    #: Its configuration file, and what tells it where that is.
    conf_file: ClassVar[str]
    conf_variable: ClassVar[str]

    def __init__(
        self,
        like: pathlib.Path,
        where: pathlib.Path,
        options: Options,
        tls: certificates.Tls | None = None,
        workers: int = 1,
        threads: int = 8,
        disks: Mapping[pathlib.Path, str | pathlib.Path] | None = None,
        wrapper: Sequence[str] = (),
    ) -> None:
        self._disks = disks or {}
        self._wrapper = wrapper
        self._where = where
        self._tls = tls
        self._workers = workers
        self._threads = threads
        self._process: subprocess.Popen[bytes] | None = None
        shutil.copytree(like, where / 'etc')
        self._port = ports.free()
        self.configure(self._own_options(), options)

    def _own_options(self) -> Options:
        """What must not be as in the one that this is a copy of."""
        return {}

    def configure(self, *changes: Options) -> None:
        """Change options, for when it is started next."""
        path = self._where / 'etc' / self.conf_file
        conf = configparser.ConfigParser(interpolation=None, strict=False)
        conf.read(path)
        for options in changes:
            for section, values in options.items():
                if section != 'DEFAULT' and not conf.has_section(section):
                    conf.add_section(section)
                for name, value in values.items():
                    conf.set(section, name, value)
        with path.open('w') as file:
            conf.write(file)

    @property
    def url(self) -> str:
        scheme = 'https' if self._tls else 'http'
        return f'{scheme}://{self.address}:{self._port}'

    @property
    def log(self) -> str:
        return (self._where / 'log').read_text()

    @property
    def requests(self) -> str:
        """The access log."""
        return (self._where / 'access').read_text()

    def start(self) -> None:
        """Run it, and wait until it answers."""
        self.launch()
        wait_for(self.url, self._tls)

    def refuse(self) -> None:
        """Run it with what it does not run with, and wait until it ends."""
        self.launch()
        assert self._process is not None
        assert self._process.wait(polling.DEADLINE)
        self._process = None

    def launch(self) -> None:
        """Run it, whether it will answer or not."""
        conf = self._gunicorn_conf
        # Of one thread, a worker that is busy takes no connection, and none
        # lasts longer than one request: as with uWSGI.
        worker_class = 'gthread' if self._threads > 1 else 'sync'
        conf.write_text(
            f"wsgi_app = '{self.module}:application'\n"
            f"bind = '{self.address}:{self._port}'\n"
            f"worker_class = '{worker_class}'\n"
            f"accesslog = '{self._where / 'access'}'\n"
            f'workers = {self._workers}\n'
            f'threads = {self._threads}\n'
            'keepalive = 75\ntimeout = 300\n'
        )
        if self._tls:
            with conf.open('a') as file:
                file.write(
                    f"certfile = '{self._tls.server.certfile}'\n"
                    f"keyfile = '{self._tls.server.keyfile}'\n"
                    f"ca_certs = '{self._tls.authority.cafile}'\n"
                    f'cert_reqs = {int(self._tls.client_certificates)}\n'
                )
        with (self._where / 'log').open('ab') as log:
            self._process = subprocess.Popen(
                self._command(),
                env={**os.environ, **self._environment()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def _gunicorn_conf(self) -> pathlib.Path:
        return self._where / 'gunicorn.conf.py'

    def _environment(self) -> dict[str, str]:
        """What tells it where its configuration is."""
        return {
            'GUNICORN_CMD_ARGS': f'--config={self._gunicorn_conf}',
            self.conf_variable: str(self._where / 'etc'),
        }

    def _command(self) -> list[str]:
        gunicorn = str(layout.Layout.from_environment().venv / 'bin/gunicorn')
        command = [*self._wrapper, gunicorn]
        if not self._disks:
            return command
        # Mounts that other processes do not see, and that go with this one.
        steps = []
        for directory, disk in self._disks.items():
            path = shlex.quote(str(directory))
            if isinstance(disk, pathlib.Path):
                steps.append(f'mount --bind {shlex.quote(str(disk))} {path}')
            else:
                steps.append(f'mount -t tmpfs -o size={disk} tmpfs {path}')
            if (directory / MARKER).exists():
                steps.append(f'touch {path}/{MARKER}')
        steps.append(f'exec {shlex.join(command)}')
        return ['unshare', '--mount', 'sh', '-c', ' && '.join(steps)]

    def do(self, *command: str) -> None:
        """Run a command that sees its disks."""
        assert self._process is not None
        # What sets up the disks becomes the API itself.
        mounts = f'--mount=/proc/{self._process.pid}/ns/mnt'
        subprocess.run(['nsenter', mounts, *command], check=True)  # noqa: S607

    def waiting_in(self, function: str) -> int:
        """How many of its threads wait in that function of the kernel."""
        assert self._process is not None
        pid = str(self._process.pid)
        children = pathlib.Path('/proc', pid, 'task', pid, 'children')
        return sum(
            thread.read_text() == function
            for worker in children.read_text().split()
            for thread in pathlib.Path('/proc', worker).glob('task/*/wchan')
        )

    def freeze(self) -> None:
        """Stop it in the middle of whatever it does."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)

    def freeze_when(self, condition: Callable[[], bool]) -> None:
        polling.until(condition, 'the moment to freeze it', pause=0.05)
        self.freeze()

    def thaw(self) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it as a crash does: it cleans nothing up."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


class GlanceApi(Api):
    module = 'glance.wsgi.api'
    conf_file = 'glance-api.conf'
    conf_variable = 'OS_GLANCE_CONFIG_DIR'

    def _own_options(self) -> Options:
        etc = self._where / 'etc'
        stores = {}
        for store in ('os_glance_staging_store', 'os_glance_tasks_store'):
            path = self._where / store
            path.mkdir()
            stores[store] = {'filesystem_store_datadir': str(path)}
        return {
            'DEFAULT': {'worker_self_reference_url': self.url},
            'paste_deploy': {'config_file': str(etc / 'glance-api-paste.ini')},
            'oslo_policy': {'policy_file': str(etc / 'policy.yaml')},
            **stores,
        }

    @property
    def staging(self) -> pathlib.Path:
        """Where it keeps what it is copying."""
        return self._where / 'os_glance_staging_store'

    @property
    def staged(self) -> int:
        """Bytes that are there."""
        return sum(path.stat().st_size for path in self.staging.iterdir())

    def health(self, seconds: float = 30) -> int | None:
        """The status of its health check; None if there is none in time."""
        try:
            with urllib.request.urlopen(  # noqa: S310
                f'{self.url}/healthcheck', timeout=seconds
            ) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except TimeoutError:
            return None

    def lose_marker(self) -> None:
        """Have the health check look for a marker that is not there."""
        self.look_for(self._where / 'gone')
        self.kill()
        self.start()

    def look_for(self, marker: pathlib.Path) -> None:
        """Have the health check look for this marker from its start on."""
        path = self._where / 'etc' / 'glance-api-paste.ini'
        text = path.read_text()
        before = re.search(r'^enable_by_file_paths = (.*)$', text, re.M)
        assert before is not None
        path.write_text(text.replace(before[1], str(marker)))

    def drop_policies(self, *names: str) -> None:
        """Go by Glance's own default for these policies."""
        path = self._where / 'etc' / 'policy.yaml'
        lines = path.read_text().splitlines()
        kept = [
            line
            for line in lines
            if not line.startswith(tuple(f'"{name}"' for name in names))
        ]
        assert len(kept) == len(lines) - len(names)
        # Glance reads the file again when it has changed.
        path.write_text('\n'.join(kept) + '\n')

    def add_policies(self, **rules: str) -> None:
        """Go by these rules for policies that the file does not name."""
        path = self._where / 'etc' / 'policy.yaml'
        added = [f'"{name}": "{rule}"\n' for name, rule in rules.items()]
        path.write_text(path.read_text() + ''.join(added))

    def request_copy(
        self, who: connection.Connection, image_id: str, store: str
    ) -> None:
        """Ask this very glance-api for a copy, so that it does the work."""
        answer = who.session.post(
            f'{self.url}/v2/images/{image_id}/import',
            json={'method': {'name': 'copy-image'}, 'stores': [store]},
        )
        answer.raise_for_status()

    def put(
        self,
        who: connection.Connection,
        image_id: str,
        data: bytes,
        store: str | None = None,
    ) -> None:
        """Give an image its data by this very glance-api.

        :param store: to put it into, if not the default one
        """
        who.session.put(
            f'{self.url}/v2/images/{image_id}/file',
            data=data,
            headers={
                'Content-Type': 'application/octet-stream',
                **({'X-Image-Meta-Store': store} if store else {}),
            },
        ).raise_for_status()

    def add_location(
        self, image_id: str, url: str, user_token: str, service_token: str
    ) -> None:
        """Say where an image lies, as Nova does after a direct snapshot.

        Glance then hashes it.
        """
        requests.post(
            f'{self.url}/v2/images/{image_id}/locations',
            json={'url': url},
            headers={
                'X-Auth-Token': user_token,
                'X-Service-Token': service_token,
            },
            timeout=60,
        ).raise_for_status()


class KeystoneApi(Api):
    module = 'keystone.wsgi.api'
    conf_file = 'keystone.conf'
    conf_variable = 'OS_KEYSTONE_CONFIG_DIR'


def wait_for(url: str, tls: certificates.Tls | None = None) -> None:
    """Wait until an API answers."""
    context = tls.context() if tls else None
    polling.until(lambda: _answers(url, context), f'{url} answers')


def _answers(url: str, context: ssl.SSLContext | None) -> bool:
    try:
        urllib.request.urlopen(  # noqa: S310
            url, timeout=5, context=context
        ).close()
    except urllib.error.HTTPError as error:
        # The list of the API's versions.
        return error.code == 300
    except OSError:
        return False
    return True
