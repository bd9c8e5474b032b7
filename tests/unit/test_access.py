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

"""Nova's configuration of Glance, applied."""

import json
import logging

from keystoneauth1 import exceptions as ksa_exc
from keystoneauth1 import fixture as ksa_fixture
from keystoneauth1 import loading as ksa_loading
from keystoneauth1 import token_endpoint
from nova import context as nova_context
from nova import service_auth
import nova.conf
from nova.image import glance as nova_glance
import pytest
import requests

from nova_rbd_multistore import access as access_module
from nova_rbd_multistore import connections
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import rounds
from tests.fakes import endpoint as endpoints
from tests.fakes import network

KEYSTONE = 'http://keystone:5000'
REGION = 'RegionOne'
NOBODY = 'token-without-roles'
TOKENS = {'nova': endpoints.SERVICE, 'deputy': endpoints.DEPUTY}


#: What to do about several regions.
SET_THE_REGION = r'\(RegionOne, RegionTwo\).*set \[glance\] region_name'

#: Nobody's but Keystone's.
PASSWORD = 'a secret of the deputy'


class Keystone:
    """Gives Nova's service user its token, with the cloud's catalog.

    And the separate identity its own.

    :ivar catalog: interface and URL of each endpoint of Glance, in a region
    :ivar away: whether it answers 503
    :ivar refuses: whether it answers 401 to who logs in
    """

    def __init__(self):
        self.catalog = []
        self.away = False
        self.refuses = False

    def __call__(self, request):
        if self.away:
            return network.Answer(503, b'{}')
        if request.method == 'GET':
            version = ksa_fixture.V3Discovery(f'{KEYSTONE}/v3')
            return network.Answer(
                200, json.dumps({'version': version}).encode()
            )
        if self.refuses:
            error = {'code': 401, 'message': 'requires authentication'}
            return network.Answer(401, json.dumps({'error': error}).encode())
        auth = json.loads(request.body)['auth']
        if auth['identity']['methods'] == ['token']:
            # Whoever has a token may have another, in no project.
            assert auth['scope'] == 'unscoped'
            assert auth['identity']['token']['id'] in TOKENS.values()
            return network.Answer(
                201,
                json.dumps(ksa_fixture.V3Token(user_name='nova')).encode(),
                headers={'X-Subject-Token': NOBODY},
            )
        user = auth['identity']['password']['user']
        token = ksa_fixture.V3Token(
            user_id=f'id-of-{user["name"]}',
            user_name=user['name'],
            project_id='id-of-service',
            project_name='service',
        )
        service = token.add_service('image', name='glance')
        for interface, url, region in self.catalog:
            service.add_endpoint(interface, url, region=region)
        token.add_service('identity').add_endpoint('public', KEYSTONE)
        return network.Answer(
            201,
            json.dumps(token).encode(),
            headers={'X-Subject-Token': TOKENS[user['name']]},
        )


@pytest.fixture
def keystone(cloud):
    keystone = Keystone()
    cloud.network.servers['keystone:5000'] = keystone
    return keystone


@pytest.fixture
def access(options, cloud):
    """Makes the object under test, on the cloud's network."""
    del options

    def make():
        access = access_module.GlanceAccess()
        access._session = cloud.session
        return access

    return make


@pytest.fixture
def service_user(options):
    """Nova's section [service_user], as in an installation guide."""
    section = nova.conf.service_token.SERVICE_USER_GROUP
    service_auth.reset_globals()
    password = ksa_loading.get_plugin_loader('password')
    options.register_opts(
        ksa_loading.get_auth_plugin_conf_options(password), group=section
    )
    options.config(
        group=section,
        send_service_user_token=True,
        auth_type='password',
        auth_url=KEYSTONE,
        username='nova',
        password='a secret of nova',
        project_name='service',
        user_domain_name='Default',
        project_domain_name='Default',
    )
    yield
    service_auth.reset_globals()


@pytest.fixture
def deputy(options):
    """A separate identity, as in the documentation."""
    password = ksa_loading.get_plugin_loader('password')
    options.register_opts(
        ksa_loading.get_auth_plugin_conf_options(password),
        group='rbd_multistore',
    )
    options.config(
        group='rbd_multistore',
        auth_type='password',
        auth_url=KEYSTONE,
        username='deputy',
        password=PASSWORD,
        project_name='service',
        user_domain_name='Default',
        project_domain_name='Default',
    )


def boot_of(*catalog, **kwargs):
    """A user's request, with the catalog that keystonemiddleware passes on."""
    return nova_context.RequestContext(
        'demo',
        'demo-project',
        auth_token=endpoints.USER,
        is_admin=False,
        service_catalog=[
            {
                'type': 'image',
                'name': 'glance',
                'endpoints': [
                    {'region': (*region, REGION)[0], f'{interface}URL': url}
                    for interface, url, *region in catalog
                ],
            }
        ],
        **kwargs,
    )


def asked(cloud):
    """The glance-apis that were asked, by name, in order of the alphabet."""
    return ''.join(
        name
        for name, endpoint in zip('ab', cloud.endpoints, strict=True)
        if endpoint.asked
    )


def ask_all(cloud, images):
    """Have all endpoints asked, by being away."""
    for endpoint in cloud.endpoints:
        endpoint.fault = requests.ConnectionError('refused')
    with pytest.raises(exceptions.GlanceUnavailable):
        images.record('an-id')
    return asked(cloud)


# Which endpoints


def test_an_endpoint_override_is_the_one_endpoint(options, access, cloud):
    options.config(
        group='glance', endpoint_override='http://glance-b:9292', num_retries=0
    )
    images = access().as_user_of(boot_of(('public', 'http://elsewhere')))
    assert ask_all(cloud, images) == 'b'


def test_api_servers_go_before_an_endpoint_override(options, access, cloud):
    options.config(
        group='glance',
        endpoint_override='http://glance-b:9292',
        api_servers=['http://glance-a:9292'],
        num_retries=0,
    )
    assert ask_all(cloud, access().as_user_of(boot_of())) == 'a'


def test_nova_itself_takes_api_servers_before_an_endpoint_override(options):
    options.config(
        group='glance',
        endpoint_override='http://glance-b:9292',
        api_servers=['http://glance-a:9292'],
    )
    servers = nova_glance.get_api_servers(boot_of())
    assert next(servers) == 'http://glance-a:9292'


def test_api_servers_are_the_endpoints(options, access, cloud):
    options.config(group='glance', api_servers=cloud.urls, num_retries=0)
    images = access().as_user_of(boot_of(('public', 'http://elsewhere')))
    assert ask_all(cloud, images) == 'ab'


def test_without_a_service_user_the_users_catalog_is_used(
    options, access, cloud
):
    options.config(group='glance', num_retries=0)
    images = access().as_user_of(boot_of(('internal', cloud.urls[1])))
    assert ask_all(cloud, images) == 'b'


def test_the_first_valid_interface_that_has_any_is_taken(
    options, access, cloud
):
    options.config(
        group='glance', valid_interfaces=['internal', 'public'], num_retries=0
    )
    images = access().as_user_of(
        boot_of(('public', cloud.urls[0]), ('internal', cloud.urls[1]))
    )
    assert ask_all(cloud, images) == 'b'


def test_the_next_interface_is_taken_if_the_first_has_none(
    options, access, cloud
):
    options.config(
        group='glance', valid_interfaces=['internal', 'public'], num_retries=0
    )
    images = access().as_user_of(boot_of(('public', cloud.urls[0])))
    assert ask_all(cloud, images) == 'a'


def test_only_the_region_of_glance_counts(options, access, cloud):
    options.config(group='glance', region_name='RegionTwo', num_retries=0)
    images = access().as_user_of(boot_of(('internal', cloud.urls[0])))
    assert ask_all(cloud, images) == ''


def test_without_any_catalog_there_is_no_endpoint(options, access, cloud):
    options.config(group='glance', num_retries=0)
    assert ask_all(cloud, access().as_user_of(boot_of())) == ''


@pytest.mark.usefixtures('service_user')
def test_the_service_users_catalog_has_all_endpoints(
    options, access, cloud, keystone
):
    options.config(group='glance', region_name=REGION, num_retries=0)
    keystone.catalog = [
        ('internal', cloud.urls[0], REGION),
        ('internal', cloud.urls[1], REGION),
        ('public', 'http://public', REGION),
        ('internal', 'http://elsewhere', 'RegionTwo'),
    ]
    images = access().as_user_of(boot_of(('internal', 'http://one-only')))
    assert ask_all(cloud, images) == 'ab'


@pytest.mark.usefixtures('service_user')
def test_the_glance_of_another_region_is_never_asked(
    options, access, cloud, keystone
):
    options.config(group='glance', num_retries=0)
    keystone.catalog = [
        ('internal', cloud.urls[0], REGION),
        ('internal', cloud.urls[1], 'RegionTwo'),
    ]
    with pytest.raises(exceptions.RegionAmbiguous, match=SET_THE_REGION):
        access().as_user_of(boot_of(('internal', cloud.urls[0])))
    assert asked(cloud) == ''


def test_nor_if_only_the_users_catalog_is_known(options, access, cloud):
    options.config(group='glance', num_retries=0)
    boot = boot_of(
        ('internal', cloud.urls[0]), ('internal', cloud.urls[1], 'RegionTwo')
    )
    with pytest.raises(exceptions.RegionAmbiguous, match=SET_THE_REGION):
        access().as_user_of(boot)
    options.config(group='glance', region_name='RegionTwo')
    assert ask_all(cloud, access().as_user_of(boot)) == 'b'


@pytest.mark.usefixtures('service_user')
def test_while_keystone_is_away_the_region_is_kept(access, cloud, keystone):
    keystone.catalog = [('internal', cloud.urls[0], REGION)]
    made = access()
    made.check_region()
    keystone.away = True
    service_auth.reset_globals()
    boot = boot_of(
        ('internal', cloud.urls[1], 'RegionTwo'), ('internal', cloud.urls[0])
    )
    assert made.as_user_of(boot)._asker._urls == (cloud.urls[0],)


@pytest.mark.usefixtures('service_user')
def test_what_keystone_says_is_made_fit_for_the_log(access, cloud, caplog):
    error = {'code': 503, 'title': 'a', 'message': 'b\x1b\u2028c'}
    cloud.network.servers['keystone:5000'] = lambda _: network.Answer(
        503, json.dumps({'error': error}).encode()
    )
    access().as_user_of(boot_of(('internal', cloud.urls[1])))
    (line,) = [line for line in caplog.messages if 'No catalog' in line]
    assert 'b  c' in line
    assert line.isprintable()


@pytest.mark.usefixtures('service_user')
def test_without_keystone_the_users_catalog_has_one(
    options, access, cloud, keystone, caplog
):
    options.config(group='glance', num_retries=0)
    keystone.away = True
    images = access().as_user_of(boot_of(('internal', cloud.urls[1])))
    assert images._asker._urls == (cloud.urls[1],)
    (line,) = [
        record.getMessage()
        for record in caplog.records
        if record.levelno == logging.WARNING
        and record.name.startswith('nova_rbd_multistore')
    ]
    assert '[service_user]' in line
    assert 'secret' not in line


@pytest.mark.parametrize(
    ('url', 'base'),
    [
        ('http://glance-a:9292', 'http://glance-a:9292'),
        ('http://glance-a:9292/', 'http://glance-a:9292/'),
        ('http://glance-a:9292/v2', 'http://glance-a:9292/'),
        ('http://glance-a:9292/v2/', 'http://glance-a:9292/'),
        ('http://glance-a:9292/v2.17/', 'http://glance-a:9292/'),
        ('http://host/image/v2', 'http://host/image/'),
        ('http://host/image', 'http://host/image'),
        ('http://host/v2image', 'http://host/v2image'),
    ],
)
def test_a_version_in_an_endpoint_is_left_out(options, access, url, base):
    options.config(group='glance', api_servers=[url])
    assert access().as_user_of(boot_of())._asker._urls == (base,)


# Whose identity


@pytest.mark.usefixtures('service_user')
def test_the_users_token_goes_with_novas_service_token(
    options, access, cloud, keystone
):
    del keystone
    options.config(group='glance', api_servers=cloud.urls[:1])
    image = cloud.api.add_image('file')
    access().as_user_of(boot_of()).locations(image.id)
    request = cloud.endpoints[0].asked[-1]
    assert endpoints.text(request.headers['X-Auth-Token']) == endpoints.USER
    assert (
        endpoints.text(request.headers['X-Service-Token']) == endpoints.SERVICE
    )


def test_without_a_service_user_the_users_token_goes_alone(
    options, access, cloud
):
    options.config(group='glance', api_servers=cloud.urls[:1])
    image = cloud.api.add_image('file')
    access().as_user_of(boot_of()).record(image.id)
    assert 'X-Service-Token' not in cloud.endpoints[0].asked[-1].headers


def test_the_global_request_id_of_the_boot_is_sent_along(
    options, access, cloud
):
    options.config(group='glance', api_servers=cloud.urls[:1])
    image = cloud.api.add_image('file')
    boot = boot_of(global_request_id='req-of-the-boot')
    access().as_user_of(boot).record(image.id)
    sent = cloud.endpoints[0].asked[-1].headers['X-OpenStack-Request-ID']
    assert endpoints.text(sent) == 'req-of-the-boot'


def test_what_is_learned_of_endpoints_is_shared_by_all_users(
    options, access, cloud
):
    options.config(group='glance', api_servers=cloud.urls)
    image = cloud.api.add_image('file')
    shared = access()
    for _ in range(3):
        shared.as_user_of(boot_of()).record(image.id)
    for endpoint in cloud.endpoints:
        assert endpoint.paths.count('GET /healthcheck') <= 1


# Redirects


@pytest.fixture
def thief(cloud):
    """Where glance-a sends all who ask it: notes the tokens that come."""
    stolen = []

    def take(request):
        stolen.extend(
            endpoints.text(value)
            for name, value in request.headers.items()
            if name.endswith('-Token')
        )
        return network.Answer(200, b'{}')

    cloud.network.servers['thief:80'] = take
    # Whatever is asked; its health is good.
    cloud.endpoints[0].answers[''] = network.Answer(
        302, headers={'Location': 'http://nova:secret@thief:80/'}
    )
    return stolen


@pytest.mark.usefixtures('service_user')
@pytest.mark.parametrize('scheme', ['http', 'https'])
def test_no_token_follows_a_redirect(
    options, cloud, keystone, thief, scheme, caplog
):
    del keystone
    url = f'{scheme}://glance-a:9292'
    options.config(group='glance', api_servers=[url], num_retries=0)
    image = cloud.api.add_image('file')
    access = access_module.GlanceAccess()
    cloud.network.mount_on(access._session.session)
    with pytest.raises(exceptions.GlanceUnavailable):
        access.as_user_of(boot_of()).record(image.id)
    assert cloud.endpoints[0].asked
    assert thief == []
    assert 'HTTP 302: it redirects to "http://thief:80/"' in caplog.text


@pytest.mark.usefixtures('service_user')
def test_nor_does_one_of_novas_own_client(options, cloud, keystone, thief):
    del keystone
    options.config(group='glance', api_servers=cloud.urls[:1], num_retries=0)
    access_module.refuse_novas_redirects()
    boot = boot_of()
    session, _ = nova_glance._session_and_auth(boot)
    cloud.network.mount_on(session.session)
    with pytest.raises(ksa_exc.UnknownConnectionError):
        nova_glance.API().get(boot, cloud.api.add_image('file').id)
    assert cloud.endpoints[0].asked
    assert thief == []


@pytest.mark.usefixtures('service_user')
def test_keystone_may_send_who_logs_in_elsewhere(options, cloud, keystone):
    # No token goes along: whoever moves Keystone is not to break boots.
    cloud.network.servers['old-keystone:5000'] = lambda request: (
        network.Answer(
            308,
            headers={
                'Location': request.url.replace('old-keystone', 'keystone')
            },
        )
    )
    section = nova.conf.service_token.SERVICE_USER_GROUP
    options.config(group=section, auth_url='http://old-keystone:5000')
    keystone.catalog = [('internal', cloud.urls[0], REGION)]
    access = access_module.GlanceAccess()
    cloud.network.mount_on(access._session.session)
    image = cloud.api.add_image('file')
    assert access.as_user_of(boot_of()).record(image.id).id == image.id


# A separate identity


def tokens(cloud):
    """The tokens of all requests to Glance, the services' too."""
    return {
        endpoints.text(request.headers[name])
        for request in cloud.endpoints[0].asked
        for name in ('X-Auth-Token', 'X-Service-Token')
        if name in request.headers
    }


def questions(images, image):
    images.record(image.id)
    images.locations(image.id)
    images.request_copy(image.id, 'west')
    images.tasks(image.id)


@pytest.mark.usefixtures('service_user')
def test_by_default_there_is_no_separate_identity(
    options, access, cloud, keystone
):
    del keystone
    options.config(group='glance', api_servers=cloud.urls[:1])
    questions(access().as_user_of(boot_of()), cloud.api.add_image('file'))
    assert tokens(cloud) == {endpoints.USER, endpoints.SERVICE}


@pytest.mark.usefixtures('deputy')
def test_a_separate_identity_asks_what_the_user_may_not(
    options, access, cloud, keystone
):
    del keystone
    options.config(group='glance', api_servers=cloud.urls[:1])
    questions(access().as_user_of(boot_of()), cloud.api.add_image('file'))
    assert tokens(cloud) == {endpoints.USER, endpoints.DEPUTY}


@pytest.mark.usefixtures('deputy')
def test_its_password_is_masked_where_options_are_logged(
    options, access, caplog
):
    caplog.set_level(logging.DEBUG)
    access()
    options.conf.log_opt_values(logging.getLogger(), logging.DEBUG)
    assert 'rbd_multistore.password' in caplog.text
    assert PASSWORD not in caplog.text


# What is said at start


def said(caplog, level):
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno == level
        and record.name.startswith('nova_rbd_multistore')
    ]


@pytest.mark.usefixtures('deputy')
def test_whose_name_it_asks_in_is_said_at_start(
    options, access, keystone, caplog
):
    del keystone
    caplog.set_level(logging.INFO)
    options.config(group='service_user', send_service_user_token=True)
    access().announce()
    (line,) = said(caplog, logging.INFO)
    assert 'as user id-of-deputy of project id-of-service' in line
    assert said(caplog, logging.WARNING) == []


@pytest.mark.usefixtures('deputy')
@pytest.mark.parametrize('fault', ['away', 'refuses', 'unreachable'])
def test_an_identity_that_cannot_log_in_is_said_at_start(
    options, access, cloud, keystone, caplog, fault
):
    options.config(group='service_user', send_service_user_token=True)
    setattr(keystone, fault, True)
    if fault == 'unreachable':
        del cloud.network.servers['keystone:5000']
    access().announce()
    (line,) = said(caplog, logging.ERROR)
    assert '[rbd_multistore] auth_type' in line
    assert said(caplog, logging.WARNING) == ['Boots fail until it can log in']
    assert PASSWORD not in caplog.text


@pytest.mark.usefixtures('deputy')
def test_an_identity_that_cannot_log_in_fails_the_boot(
    options, access, cloud, keystone, caplog
):
    caplog.set_level(logging.DEBUG)
    options.config(group='glance', api_servers=cloud.urls[:1])
    keystone.refuses = True
    images = access().as_user_of(boot_of())
    with pytest.raises(exceptions.IdentityUnusable, match='no token') as info:
        images.locations(cloud.api.add_image('file').id)
    assert 'requires authentication' in caplog.text
    assert PASSWORD not in caplog.text
    # Nova keeps the traceback, which would have what Keystone's client says.
    assert info.value.__context__ is None


@pytest.mark.usefixtures('deputy')
def test_with_a_deputy_but_no_service_token_expiry_alone_is_warned_of(
    access, keystone, caplog
):
    del keystone
    access().announce()
    (line,) = said(caplog, logging.WARNING)
    assert 'send_service_user_token is False' in line
    assert 'copy_image' not in line


@pytest.mark.usefixtures('service_user')
@pytest.mark.parametrize(
    ('configured', 'why'),
    [(REGION, '[glance] region_name'), (None, 'the only one')],
)
def test_the_region_is_said_at_start_and_not_again(
    options, access, cloud, keystone, caplog, configured, why
):
    caplog.set_level(logging.INFO)
    options.config(group='glance', region_name=configured)
    keystone.catalog = [('internal', cloud.urls[0], REGION)]
    made = access()
    made.check_region()
    made.as_user_of(boot_of())
    (line,) = said(caplog, logging.INFO)
    assert f'of region {REGION} ({why}' in line
    assert said(caplog, logging.WARNING) == []


@pytest.mark.usefixtures('service_user')
def test_several_regions_are_said_at_start(access, cloud, keystone):
    keystone.catalog = [
        ('internal', cloud.urls[0], REGION),
        ('internal', cloud.urls[1], 'RegionTwo'),
    ]
    with pytest.raises(exceptions.RegionAmbiguous, match=SET_THE_REGION):
        access().check_region()


@pytest.mark.usefixtures('service_user')
@pytest.mark.parametrize('option', ['api_servers', 'endpoint_override'])
def test_regions_do_not_matter_to_endpoints_that_are_configured(
    options, access, cloud, keystone, option
):
    url = cloud.urls[0]
    options.config(
        group='glance',
        **{option: [url] if option == 'api_servers' else url},
    )
    keystone.away = True
    access().check_region()
    assert access().as_user_of(boot_of())._asker._urls == (url,)


@pytest.mark.usefixtures('service_user')
def test_with_keystone_away_at_start_the_first_boot_says_it(
    access, cloud, keystone, caplog
):
    keystone.away = True
    made = access()
    made.check_region()
    (line,) = said(caplog, logging.WARNING)
    assert 'No catalog for [service_user]' in line
    keystone.away = False
    keystone.catalog = [
        ('internal', cloud.urls[0], REGION),
        ('internal', cloud.urls[1], 'RegionTwo'),
    ]
    with pytest.raises(exceptions.RegionAmbiguous, match=SET_THE_REGION):
        made.as_user_of(boot_of())


@pytest.mark.usefixtures('service_user')
def test_a_region_without_glance_is_warned_of_at_start(
    options, access, cloud, keystone, caplog
):
    options.config(group='glance', region_name='RegionOen')
    keystone.catalog = [('internal', cloud.urls[0], REGION)]
    access().check_region()
    (line,) = said(caplog, logging.WARNING)
    assert 'no endpoint of Glance' in line
    assert 'region RegionOen' in line


# The session


@pytest.mark.parametrize(
    ('of_nova', 'ours', 'wanted'), [(None, 60, 60), (5, 60, 5), (None, 7, 7)]
)
def test_one_answer_is_waited_for_as_long_as_configured(
    options, of_nova, ours, wanted
):
    options.config(group='glance', timeout=of_nova)
    options.config(group='rbd_multistore', glance_request_timeout=ours)
    access = access_module.GlanceAccess()
    assert access._session.timeout == wanted
    assert access._means.timeout == wanted


def test_another_endpoint_is_asked_as_soon_as_configured(options):
    options.config(group='rbd_multistore', glance_patience=2.5)
    assert access_module.GlanceAccess()._means.patience == 2.5


def test_who_cannot_wait_as_long_says_so(options):
    options.config(group='glance', timeout=600)
    access = access_module.GlanceAccess(timeout=2.0)
    assert access._session.timeout == access._means.timeout == 2.0


def test_a_whole_answer_has_to_come_in_time(options):
    del options
    session = access_module.GlanceAccess()._session.session
    for adapter in session.adapters.values():
        pool = adapter.poolmanager.connection_from_url('https://glance:9292')
        assert pool.ConnectionCls.__module__ == connections.__name__


def test_the_certificates_of_glance_are_novas(options):
    options.config(group='glance', cafile='/etc/ssl/glance.pem')
    made = access_module.GlanceAccess()
    assert made._session.verify == '/etc/ssl/glance.pem'


# What a host is checked by


@pytest.mark.usefixtures('service_user', 'keystone')
def test_the_service_user_is_known_with_its_roles(access):
    known = access().known_of(access_module.load_service_user())
    assert known.username == 'nova'


def test_without_a_service_user_there_is_none_to_load(options):
    del options
    service_auth.reset_globals()
    assert access_module.load_service_user() is None


@pytest.mark.usefixtures('service_user')
def test_a_keystone_that_refuses_says_so_without_the_password(
    access, keystone
):
    keystone.refuses = True
    with pytest.raises(rounds.NoAnswer, match='requires authentication') as no:
        access().known_of(access_module.load_service_user())
    assert 'a secret' not in str(no.value)


@pytest.mark.usefixtures('service_user', 'keystone')
def test_the_service_user_in_no_project_has_no_roles(access, cloud):
    found = access()
    nobody = found.without_roles(access_module.load_service_user())
    assert nobody.get_token(cloud.session) == NOBODY
    assert not found.known_of(nobody).role_names


@pytest.mark.usefixtures('service_user')
def test_each_endpoint_of_the_catalog_is_probed_with_both_tokens(
    access, keystone, cloud
):
    keystone.catalog = [
        ('public', 'http://glance-a:9292/v2', REGION),
        ('public', 'http://glance-b:9292', REGION),
    ]
    found = access()
    user = token_endpoint.Token('http://not-from-here', endpoints.USER)

    probes = found.probes(user)

    assert [probe.name for probe in probes] == [
        'http://glance-a:9292/',
        'http://glance-b:9292',
    ]
    for probe in probes:
        assert probe.stores() == {'file', 'east', 'west'}
    for endpoint in cloud.endpoints:
        headers = endpoint.asked[-1].headers
        assert endpoints.text(headers['X-Auth-Token']) == endpoints.USER
        assert endpoints.text(headers['X-Service-Token']) == endpoints.SERVICE


@pytest.mark.usefixtures('service_user', 'keystone', 'deputy')
def test_the_separate_identity_is_probed_by_itself(options, access, cloud):
    options.config(group='glance', endpoint_override='http://glance-a:9292')
    found = access()

    (probe,) = found.probes(found.separate_identity)
    probe.stores()

    headers = cloud.endpoints[0].asked[-1].headers
    assert endpoints.text(headers['X-Auth-Token']) == endpoints.DEPUTY
    assert 'X-Service-Token' not in headers


@pytest.mark.usefixtures('service_user')
def test_probes_of_a_region_that_would_be_a_guess_are_refused(
    access, keystone
):
    keystone.catalog = [
        ('public', 'http://glance-a:9292', 'RegionOne'),
        ('public', 'http://glance-b:9292', 'RegionTwo'),
    ]
    user = token_endpoint.Token('http://not-from-here', endpoints.USER)
    with pytest.raises(exceptions.RegionAmbiguous, match=SET_THE_REGION):
        access().probes(user)


def test_endpoints_that_were_asked_are_told_to_be_well_or_not(
    options, access, cloud
):
    options.config(
        group='glance',
        api_servers=['http://glance-a:9292', 'http://glance-b:9292'],
        num_retries=0,
    )
    found = access()
    ask_all(cloud, found.as_user_of(boot_of()))
    assert found.endpoints_are_well() == {
        'http://glance-a:9292': False,
        'http://glance-b:9292': False,
    }
