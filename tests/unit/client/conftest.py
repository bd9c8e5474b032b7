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

    As with [api] list_records_by_skipping_down_cells, a list of servers has
    none of a cell that is away, and does not say so: from microversion 2.69
    on, Nova does, but not where a list has pages or filters, as all have here.
    Of services, it does then.

    :ivar servers: the image and the last change of each, whether it is
        deleted, and its cell
    :ivar hosts: of each cell
    :ivar away: cells whose databases do not answer
    :ivar listed: what is called after each list of servers
    """

    def __init__(self):
        self.servers = []
        self.hosts = {'cell1': ['host-1'], 'cell2': ['host-2', 'host-3']}
        self.away = set()
        self.listed = lambda: None
        self.admin = True
        self.sees_services = True
        self.page = 1000

    def add(
        self,
        image_id,
        updated='2026-01-02T12:00:00Z',
        deleted=False,
        cell='cell1',
    ):
        self.servers.append((image_id, updated, deleted, cell))

    def request(
        self,
        path,
        method,
        params,
        raise_exc,
        redirect,
        timeout,
        microversion=None,
    ):
        assert method == 'GET'
        assert not raise_exc
        assert not redirect
        assert timeout
        answer = requests.Response()
        answer.status_code = 200
        if path == '/os-services':
            body = self._services(microversion)
            if not self.sees_services:
                answer.status_code = 403
        else:
            assert path == '/servers/detail'
            body = self._servers(params)
            if not self.admin:
                answer.status_code = 403
            self.listed()
        answer._content = json.dumps(body).encode()
        return answer

    def _services(self, microversion):
        found = []
        for cell, hosts in self.hosts.items():
            for host in hosts:
                service = {'binary': 'nova-compute', 'host': host}
                if cell not in self.away:
                    found.append({**service, 'status': 'enabled', 'id': host})
                elif microversion == '2.69':
                    found.append({**service, 'status': 'UNKNOWN'})
        return {'services': found}

    def _servers(self, params):
        assert params['all_tenants'] == '1'
        assert 'limit' in params
        since = params.get('changes-since')
        found = [
            {'id': str(number), 'image': {'id': image_id} if image_id else ''}
            for number, (image_id, updated, deleted, cell) in enumerate(
                self.servers
            )
            # As Nova does it: deleted ones are among those changed since.
            if (updated >= since if since else not deleted)
            and params.get('image') in (None, image_id)
            and number > int(params.get('marker', -1))
            and cell not in self.away
        ]
        body = {'servers': found[: self.page]}
        if len(found) > self.page:
            body['servers_links'] = [{'rel': 'next'}]
        return body


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
