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

"""A host of a cloud, with Nova's options as each test sets them."""

from keystoneauth1 import service_token
from keystoneauth1 import token_endpoint
from nova import context as nova_context
import nova.conf
from oslo_config import fixture as config_fixture
import pytest

from nova_rbd_multistore import asking
from nova_rbd_multistore import conf
from nova_rbd_multistore import host
from nova_rbd_multistore import probing
from tests.fakes import cloud as clouds
from tests.fakes import endpoint as endpoints
from tests.fakes import host as hosts


@pytest.fixture
def options():
    """Set options of Nova by ``options.config(group=…, name=value)``.

    What is made from the options, once per process, is made anew.
    """
    conf.register(nova.conf.CONF)
    nova.conf.CONF([], project='nova', default_config_files=[])
    fixture = config_fixture.Config(nova.conf.CONF)
    fixture.setUp()
    fixture.config(
        group='libvirt',
        images_type='rbd',
        images_rbd_pool='vms',
        images_rbd_glance_store_name='west',
        rbd_user='nova',
    )
    made = host.this_host
    made.cache_clear()
    try:
        yield fixture
    finally:
        made.cache_clear()
        fixture.cleanUp()
        nova.conf.CONF.reset()


@pytest.fixture
def cloud():
    return clouds.Cloud()


@pytest.fixture
def probes(cloud):
    """Of both glance-apis, as user demo beside whom Nova stands."""
    user = token_endpoint.Token('http://not-from-here', endpoints.USER)
    both = service_token.ServiceTokenAuthWrapper(
        user, token_endpoint.Token('http://nor-here', endpoints.SERVICE)
    )
    asker, alone = (
        asking.Asker(
            cloud.session,
            auth,
            cloud.urls,
            cloud.means,
            sleep=cloud.clock.sleep,
        )
        for auth in (both, user)
    )
    return [probing.Probe(url, asker, alone) for url in cloud.urls]


@pytest.fixture
def this_host(options, cloud, monkeypatch):
    """The host that all code under test runs on, on the cloud's clock."""
    del options
    found = hosts.Host(cloud)
    monkeypatch.setattr(host, 'this_host', lambda: found)
    return found


@pytest.fixture
def context():
    """A boot's request, of user demo."""
    return nova_context.RequestContext(
        'demo', 'demo', auth_token=endpoints.USER, is_admin=False
    )
