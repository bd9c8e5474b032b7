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

"""All checks of a host, in the order of a boot, whatever fails."""

from keystoneauth1 import token_endpoint
import pytest
import rados
import rbd

from nova_rbd_multistore import access
from nova_rbd_multistore import asking
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import glance_readiness
from nova_rbd_multistore import grade
from nova_rbd_multistore import probing
from nova_rbd_multistore import readiness
from nova_rbd_multistore import rounds
from tests.fakes import endpoint as endpoints
from tests.fakes import librados

SUCCESS, WARNING, FAILURE = grade.Code


class Known:
    """As much of what Keystone says of somebody as is looked at."""

    def __init__(self, username, *role_names):
        self.username = username
        self.role_names = list(role_names)


class Access:
    """In place of the real one: who is who, and the cloud's glance-apis."""

    def __init__(self, cloud):
        self.separate_identity = None
        self.known = {'nova': Known('nova', 'service')}
        self.failure = None
        asker = asking.Asker(
            cloud.session,
            token_endpoint.Token('http://not-from-here', endpoints.USER),
            cloud.urls,
            cloud.means,
            sleep=cloud.clock.sleep,
        )
        self._probes = [probing.Probe(url, asker, asker) for url in cloud.urls]

    def without_roles(self, who):
        self.known_of(who)
        return 'nobody'

    def known_of(self, who):
        if self.failure is not None:
            raise self.failure
        return self.known[who]

    def probes(self, who):
        assert who in {*self.known, 'nobody'}
        if self.failure is not None:
            raise self.failure
        return self._probes


@pytest.fixture
def library(monkeypatch):
    library = librados.Librados()
    monkeypatch.setattr(rados, 'Rados', library.Rados)
    monkeypatch.setattr(rbd, 'RBD', library.RBD)
    monkeypatch.setattr(rbd, 'Image', library.Image)
    return library


@pytest.fixture
def found(monkeypatch, cloud):
    """The way to Glance, with nobody in the environment."""
    found = Access(cloud)
    monkeypatch.setattr(access, 'GlanceAccess', lambda: found)
    monkeypatch.setattr(access, 'load_service_user', lambda: 'nova')
    for name in ('OS_CLOUD', 'OS_AUTH_URL'):
        monkeypatch.delenv(name, raising=False)
    return found


@pytest.fixture
def results(options, library, found):
    """What the checks say, by their names."""
    options.config(group='service_user', send_service_user_token=True)

    def run():
        checks = readiness.Checks()
        return {name: check(checks) for name, check in checks._upgrade_checks}

    return run


def test_each_check_says_a_sentence(results):
    for name, result in results().items():
        assert result.details, name
        assert result.details.endswith('.'), name


def test_an_unreachable_cluster_is_said_once(library, results):
    library.faults['connect'] = rados.TimedOut('error', errno=110)
    said = results()
    assert said['Ceph cluster'].code is FAILURE
    for name in ('Pools', 'Clones'):
        assert said[name].code is WARNING
        assert said[name].details.startswith('Not checked: the cluster')


def test_a_cluster_that_is_there_is_looked_at(library, results):
    library.least_client = 'mimic'
    said = results()
    assert said['Ceph cluster'].details == (
        'Cluster fsid-west answers client.nova.'
    )
    assert said['Pools'].code is SUCCESS
    assert said['Clones'].code is SUCCESS


def test_without_a_configured_service_user_glance_is_not_asked(
    monkeypatch, results
):
    monkeypatch.setattr(access, 'load_service_user', lambda: None)
    said = results()
    for name in ('Service token', 'Endpoints', 'Policy copy_image'):
        assert said[name].code is WARNING
        assert '[service_user] has no auth_type' in said[name].details


def test_without_service_tokens_it_is_said(options, results):
    options.config(group='service_user', send_service_user_token=False)
    said = readiness.Checks().service_token()
    assert said.code is FAILURE
    assert 'send_service_user_token is False' in said.details


def test_a_keystone_that_is_away_is_a_failure(found, results):
    found.failure = rounds.NoAnswer('connection refused')
    said = results()
    assert said['Service token'].code is FAILURE
    assert said['Service token'].details == 'connection refused'


def test_a_region_that_would_be_a_guess_is_a_failure(found, results):
    def probes(_who):
        raise exceptions.RegionAmbiguous(['one', 'two'])

    found.probes = probes
    said = results()
    assert said['Region'].code is FAILURE
    assert 'set [glance] region_name' in said['Region'].details


def test_a_user_without_roles_asks_where_there_is_nobody_else(results):
    assert readiness.Checks()._who.kind is glance_readiness.Kind.NOBODY


def test_a_region_without_a_glance_is_a_failure(found, results):
    found.probes = lambda _who: []
    said = results()
    for name in ('Region', 'Endpoints'):
        assert said[name].code is FAILURE
        assert 'region_name' in said[name].details
    for name in ('Stores', 'Store and cluster', 'Policy copy_image'):
        assert said[name].code is WARNING
        assert said[name].details.startswith('Not checked')


def test_the_user_of_the_environment_asks_if_there_is_one(
    options, monkeypatch, found, results
):
    found.known['demo'] = Known('demo', 'member')
    monkeypatch.setenv('OS_CLOUD', 'mine')
    monkeypatch.setattr(readiness, '_user_of_environment', lambda: 'demo')
    assert readiness.Checks()._who.kind is glance_readiness.Kind.USER


def test_the_separate_identity_asks_if_there_is_one(found, results):
    found.known['deputy'] = Known('deputy', 'admin', 'service')
    found.separate_identity = 'deputy'
    assert readiness.Checks()._who.kind is glance_readiness.Kind.DEPUTY


def test_an_environment_that_names_nobody_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv('OS_CLOUD', 'nowhere')
    monkeypatch.setenv('OS_CLIENT_CONFIG_FILE', str(tmp_path / 'none.yaml'))
    with pytest.raises(grade.NotChecked, match='nowhere'):
        readiness._user_of_environment()


def test_the_user_of_the_environment_is_taken_as_openstackclient_does(
    monkeypatch, tmp_path
):
    for name in ('OS_CLOUD', 'OS_CLIENT_CONFIG_FILE'):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        'OS_AUTH_URL': 'http://keystone:5000/v3',
        'OS_USERNAME': 'demo',
        'OS_PASSWORD': 'a secret',
        'OS_PROJECT_NAME': 'demo',
        'OS_USER_DOMAIN_NAME': 'Default',
        'OS_PROJECT_DOMAIN_NAME': 'Default',
    }.items():
        monkeypatch.setenv(name, value)
    user = readiness._user_of_environment()
    assert user.auth_url == 'http://keystone:5000/v3'


def test_without_a_user_in_the_environment_there_is_none(found):
    assert readiness._user_of_environment() is None
