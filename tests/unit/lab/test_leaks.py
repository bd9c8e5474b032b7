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
"""The search for secrets finds those that were planted."""

import base64
import pathlib
import subprocess
import sys
import threading

import pytest

from lab import credentials
from lab import layout
from lab import leaks

PASSWORD = 'Xk2-a_made-up_password-9QvT'
SECRETS = leaks.Secrets({'user/nova': PASSWORD, 'ceph/key': ''})

TOKEN = 'gAAAAAB' + 'x9-_' * 40
CEPHX = base64.b64encode(b'\1\0' + bytes(range(26))).decode()


@pytest.fixture
def where(tmp_path):
    where = layout.Layout(tmp_path)
    for path in (where.log, where.tests, where.etc):
        path.mkdir()
    return where


@pytest.fixture
def search(where):
    return leaks.Search(where, SECRETS)


def whats(found):
    return [leak.what for leak in found]


def write(path, text, mode=0o600):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def test_a_log_without_a_secret_is_in_order(where, search):
    write(where.log / 'nova.log', 'X-Auth-Token: {SHA256}0f1e2d gAAAAAB\n')

    assert list(search.in_logs()) == []
    assert search.searched == 1
    assert search.size > 0


def test_a_token_that_keystone_refuses_is_no_secret(where, search):
    said = f'Could not find token: {TOKEN}.'
    write(where.log / 'keystone.log', f'{said}\n"message":"{said}"\n')

    assert list(search.in_logs()) == []


@pytest.mark.parametrize(
    ('secret', 'what'),
    [
        (PASSWORD, 'user/nova'),
        (TOKEN, 'a token'),
        (CEPHX, 'a cephx key'),
        (f'rabbit://nova:{PASSWORD}@127.0.0.1:5672/', 'user/nova'),
    ],
)
def test_a_secret_in_a_log_is_found_and_not_repeated(
    where, search, secret, what
):
    text = f'first line\nlogging in: {secret}, {TOKEN}\nlast line\n'
    write(where.log / 'nova.log', text)

    leak = next(leak for leak in search.in_logs() if leak.what == what)

    assert leak.where == str(where.log / 'nova.log')
    assert 'logging in: ' in leak.context
    for hidden in (PASSWORD, TOKEN, CEPHX):
        assert hidden not in str(leak)


@pytest.mark.parametrize(
    'name',
    ['nova.log', 'output', 'access', 'glance-0/log', 'host-0/outcomes.json'],
)
def test_what_a_test_ran_has_logs_too(where, search, name):
    write(where.tests / 'test_x0' / name, f'{PASSWORD}\n')

    assert whats(search.in_logs()) == ['user/nova']


@pytest.mark.parametrize(
    'name',
    ['glance-0/etc/glance-api.conf', 'ceph.conf', 'nova.keyring', 'keyring'],
)
def test_configuration_may_have_secrets_that_only_root_reads(
    where, search, name
):
    path = where.tests / 'test_x0' / name
    write(path, f'password = {PASSWORD}\n')
    assert list(search.in_logs()) == []
    assert list(search.in_files_for_all()) == []

    path.chmod(0o604)
    assert whats(search.in_files_for_all()) == ['user/nova']


def test_a_log_of_libvirt_is_searched(where, search):
    log = where.computes[0].libvirt / 'log' / 'qemu' / 'instance-1.log'
    write(log, f'-object secret,data={CEPHX}\n')

    assert whats(search.in_logs()) == ['a cephx key']


def test_a_secret_on_a_command_line_is_found_while_it_runs(search):
    with subprocess.Popen(
        [sys.executable, '-c', 'input("> ")', f'--password={PASSWORD}'],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        # It may have no command line yet when Popen returns.
        process.stdout.read(1)
        found = list(search.in_processes())
        process.communicate(b'\n')

    assert whats(found) == ['user/nova']
    assert f'process {process.pid}' in str(found)
    assert PASSWORD not in str(found)
    assert list(search.in_processes()) == []


def test_a_watch_remembers_what_was_there_for_a_moment():
    leak = leaks.Leak('process 1', 'user/nova', '***')
    looks = [[leak], []]
    over = threading.Event()

    def look():
        if looks:
            return looks.pop(0)
        over.set()
        return []

    with leaks.Watch(look, interval=0.01) as watch:
        assert over.wait(60)

    assert watch.leaks == {leak}


def test_a_watch_that_cannot_look_says_so():
    def look():
        raise PermissionError('not to be read')

    with (
        pytest.raises(PermissionError, match='not to be read'),
        leaks.Watch(look),
    ):
        pass


def test_a_watch_looks_once_at_least():
    leak = leaks.Leak('process 1', 'user/nova', '***')

    with leaks.Watch(lambda: [leak]) as watch:
        pass

    assert watch.leaks == {leak}


def test_the_secrets_of_a_lab_are_all_but_its_identities(where):
    made = credentials.Credentials.make(where)
    write(where.data / 'keystone' / 'fernet-keys' / '0', 'a-key-of-keystone')

    secrets = made.secrets()

    assert made.user('nova') in secrets.values()
    assert made.ceph_key('west', 'client.nova') in secrets.values()
    assert made.libvirt_secret not in secrets.values()
    text = b'a-key-of-keystone, ' + made.database('glance').encode()
    found = leaks.Secrets.of(where).found_in(text, 'a text')
    assert whats(found) == ['database/glance', 'fernet-keys/0']


@pytest.mark.parametrize(
    'template', ['glance-api', 'keystone', 'nova', 'nova-compute']
)
def test_the_lab_logs_all_that_there_is_to_leak(template):
    path = pathlib.Path(leaks.__file__).parent / 'templates'
    text = (path / f'{template}.conf.j2').read_text()

    assert '{{ log.everything() }}' in text
    assert 'debug = true' in (path / '_log.j2').read_text()
