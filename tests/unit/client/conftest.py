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

"""A command, run as OpenStackClient runs it, on a Glance kept in memory."""

import contextlib
import dataclasses
import io
import json
import types

from oslo_utils import timeutils
import pytest
import requests

from nova_rbd_multistore_client import bringing
from nova_rbd_multistore_client import data
from nova_rbd_multistore_client import glance
from nova_rbd_multistore_client import sites
from nova_rbd_multistore_client.commands import options
from tests.fakes import ceph_cluster
from tests.fakes import image_proxy


@dataclasses.dataclass
class Done:
    """How a command has ended."""

    status: int
    out: str
    err: str


@pytest.fixture
def proxy():
    """Glance with three stores, for an administrator."""
    return image_proxy.ImageProxy('file', 'east', 'west')


@pytest.fixture
def service(proxy):
    return glance.Glance(proxy)


@pytest.fixture(autouse=True)
def at_noon(monkeypatch, proxy):
    """The time of day is the one of Glance's clock."""
    monkeypatch.setattr(timeutils, 'utcnow', proxy.clock.utcnow)


class Compute:
    """Nova, behind openstacksdk's compute proxy.

    :ivar servers: the image and the last change of each, and whether it is
        deleted
    """

    def __init__(self):
        self.servers = []
        self.admin = True
        self.page = 1000

    def add(self, image_id, updated='2026-01-02T12:00:00Z', deleted=False):
        self.servers.append((image_id, updated, deleted))

    def request(self, path, method, params, raise_exc, redirect, timeout):
        assert (path, method) == ('/servers/detail', 'GET')
        assert params['all_tenants'] == '1'
        assert not raise_exc
        assert not redirect
        assert timeout
        answer = requests.Response()
        answer.status_code = 200 if self.admin else 403
        since = params.get('changes-since')
        found = [
            {'id': str(number), 'image': {'id': image_id} if image_id else ''}
            for number, (image_id, updated, deleted) in enumerate(self.servers)
            # As Nova does it: deleted ones are among those changed since.
            if (updated >= since if since else not deleted)
            and params.get('image') in (None, image_id)
            and number > int(params.get('marker', -1))
        ]
        body = {'servers': found[: self.page]}
        if len(found) > self.page:
            body['servers_links'] = [{'rel': 'next'}]
        answer._content = json.dumps(body).encode()
        return answer


@pytest.fixture
def compute():
    return Compute()


class Terminal(io.StringIO):
    """Somebody looks at what is written."""

    def isatty(self):
        return True


@pytest.fixture
def run(service, compute, monkeypatch, proxy):
    """Runs a command with arguments; how it ended."""

    monkeypatch.setattr(
        options,
        'TIME',
        bringing.Time(
            proxy.clock,
            lambda seconds: proxy.clock.sleep(seconds),
            proxy.clock.utcnow,
        ),
    )

    def run(command, *arguments, terminal=False):
        app = types.SimpleNamespace(
            stdout=Terminal() if terminal else io.StringIO(),
            stderr=io.StringIO(),
            client_manager=types.SimpleNamespace(
                image_replica=service,
                sdk_connection=types.SimpleNamespace(compute=compute),
            ),
        )
        made = command(app, None)
        parsed = made.get_parser('openstack image replica').parse_args(
            [str(argument) for argument in arguments]
        )
        status = made.run(parsed)
        return Done(status, app.stdout.getvalue(), app.stderr.getvalue())

    return run


def give_no_answer(proxy, until, for_seconds):
    """Have Glance give none from when somebody first waits.

    :param until: 'away_until' or 'silent_until'
    """

    def sleep(seconds, sleep=proxy.clock.sleep):
        if not getattr(proxy, until):
            setattr(proxy, until, proxy.clock.now + for_seconds)
        sleep(seconds)

    proxy.clock.sleep = sleep


@pytest.fixture
def clusters(proxy, monkeypatch):
    """The clusters of stores east and west, by store, and their options."""
    found = {
        store: ceph_cluster.CephCluster(f'fsid-{store}', data.Data)
        for store in ('east', 'west')
    }
    for store in found:
        proxy.stores[store] |= {
            'type': 'rbd',
            'properties': {'pool': 'images', 'fsid': f'fsid-{store}'},
        }

    @contextlib.contextmanager
    def connected(conffiles, _user):
        yield tuple(found[conffile] for conffile in conffiles)

    monkeypatch.setattr(sites, 'connected', connected)
    return found


@pytest.fixture
def east(clusters):
    return clusters['east']


@pytest.fixture
def west(clusters):
    return clusters['west']


#: The options that let a command look into both.
CEPH = ('--ceph-conf', 'east', '--ceph-conf', 'west')
