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

"""The DevStack plugin, phase by phase, on configuration files."""

import contextlib
import http.server
import pathlib
import sys
import threading

from nova.conf import opts as nova_opts
from oslo_config import cfg
import pytest

from tests.devstack import stack

#: The part of Glance's own that the plugin changes.
PASTE = """\
[composite:glance-api-keystone+cachemanagement]
paste.composite_factory = glance.api:root_app_factory
/: api
/healthcheck: healthcheck

[app:healthcheck]
paste.app_factory = oslo_middleware:Healthcheck.app_factory
backends = disable_by_file
disable_by_file_path = /etc/glance/healthcheck_disable
"""


class _Health(http.server.BaseHTTPRequestHandler):
    """Glance's /healthcheck; the server knows the code to answer with."""

    def do_GET(self):
        assert self.path == '/image/healthcheck'
        self.send_response(self.server.code)
        self.end_headers()

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serve_health():
    server = http.server.HTTPServer(('127.0.0.1', 0), _Health)
    server.code = 200
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def make_stack(root, health, localrc):
    url = f'http://127.0.0.1:{health.server_port}/image'
    return stack.Stack(root, PASTE, {'GLANCE_URL': url, **localrc})


@pytest.fixture
def health():
    with serve_health() as server:
        yield server


@pytest.fixture
def make(tmp_path, health):
    return lambda **localrc: make_stack(tmp_path / 'root', health, localrc)


@pytest.fixture(scope='module')
def stacked(tmp_path_factory):
    """After a stack.sh with the plugin's defaults; to look at only."""
    with serve_health() as health:
        made = make_stack(tmp_path_factory.mktemp('root'), health, {})
        made.run()
    return made


def test_default_store_of_glance_is_a_file_store(stacked):
    conf = stacked.conf('glance/glance-api.conf')
    assert conf['glance_store']['default_backend'] == 'fast'
    assert conf['DEFAULT']['enabled_backends'] == 'fast:file,robust_rbd:rbd'
    assert conf['fast']['filesystem_store_datadir'] == f'{stacked.store}/'


def test_rbd_store_of_glance_is_in_the_cluster_of_nova(stacked):
    glance = stacked.conf('glance/glance-api.conf')['robust_rbd']
    nova = stacked.conf('nova/nova-cpu.conf')['libvirt']
    assert glance['rbd_store_ceph_conf'] == nova['images_rbd_ceph_conf']
    assert glance['rbd_store_pool'] == 'images'
    assert glance['rbd_store_user'] == 'glance'
    assert glance['rados_connect_timeout'] == '60'
    assert nova['images_rbd_glance_store_name'] == 'robust_rbd'


def test_reserved_stores_have_directories_of_their_own(stacked):
    conf = stacked.conf('glance/glance-api.conf')
    directories = {
        conf[store]['filesystem_store_datadir']
        for store in (
            'fast',
            'os_glance_staging_store',
            'os_glance_tasks_store',
        )
    }
    assert len(directories) == 3


def test_glance_shows_no_user_where_an_image_lies(stacked):
    conf = stacked.conf('glance/glance-api.conf')['DEFAULT']
    assert conf['show_multiple_locations'] == 'False'
    assert conf['show_image_direct_url'] == 'False'


def test_glance_takes_service_tokens_of_services_only(stacked):
    conf = stacked.conf('glance/glance-api.conf')['keystone_authtoken']
    assert conf['service_token_roles_required'] == 'True'


def test_uploaded_images_are_imported_and_made_raw(make):
    made = make()
    printed = made.run((*stack.STACK, 'print_import_workflow'))
    assert 'GLANCE_USE_IMPORT_WORKFLOW=True' in printed
    conf = made.conf('glance/glance-image-import.conf')
    plugins = conf['image_import_opts']['image_import_plugins']
    assert plugins == "['image_conversion']"
    assert conf['image_conversion']['output_format'] == 'raw'


def test_files_of_the_directory_get_into_no_option(make):
    made = make()
    # ['image_conversion'] matches it.
    (made.root / 'n').touch()
    made.run()
    plugins = made.conf('glance/glance-image-import.conf')
    assert plugins['image_import_opts']['image_import_plugins'] == (
        "['image_conversion']"
    )


@pytest.mark.parametrize(
    ('said', 'option'), [('no', 'False'), ('1', 'True'), ('perhaps', 'True')]
)
def test_whether_to_download_is_understood_as_devstack_does(
    make, said, option
):
    made = make(RBD_MULTISTORE_NEVER_DOWNLOAD=said)
    made.run()
    conf = made.conf('nova/nova-cpu.conf')['workarounds']
    assert conf['never_download_image_if_on_rbd'] == option


def test_health_check_asks_for_a_marker_in_the_file_store(stacked):
    check = stacked.conf('glance/glance-api-paste.ini')['app:healthcheck']
    assert check['backends'] == 'enable_by_files'
    assert check['enable_by_file_paths'] == f'{stacked.store}/.glance'
    assert (stacked.store / '.glance').exists()


def test_policy_is_that_of_the_documentation(stacked):
    policy = (stacked.etc / 'glance/policy.yaml').read_text()
    assert policy == (
        '"copy_image": "role:admin or service_roles:service"\n'
        '"fetch_image_location": '
        '"role:service or role:admin or service_roles:service"\n'
        '"add_image_location": "role:admin"\n'
    )


def test_policy_of_others_is_kept(make):
    made = make()
    policy = made.etc / 'glance/policy.yaml'
    policy.parent.mkdir()
    policy.write_text('"copy_image": ""\n"add_image": "role:member"\n')
    made.run()
    lines = policy.read_text().splitlines()
    assert lines[0] == '"add_image": "role:member"'
    assert [line.split(':')[0] for line in lines[1:]] == [
        '"copy_image"',
        '"fetch_image_location"',
        '"add_image_location"',
    ]


@pytest.mark.parametrize('file', ['nova/nova.conf', 'nova/nova-cpu.conf'])
def test_nova_runs_our_driver(stacked, file):
    conf = stacked.conf(file)
    assert conf['DEFAULT']['compute_driver'] == 'rbd_multistore.LibvirtDriver'
    assert conf['workarounds']['never_download_image_if_on_rbd'] == 'True'
    assert conf['libvirt']['images_type'] == 'rbd'


def test_nova_sends_its_service_token(stacked):
    conf = stacked.conf('nova/nova-cpu.conf')
    assert conf['service_user']['send_service_user_token'] == 'True'


@pytest.mark.parametrize(
    ('section', 'name'),
    [
        ('DEFAULT', 'compute_driver'),
        ('libvirt', 'images_rbd_glance_store_name'),
        ('workarounds', 'never_download_image_if_on_rbd'),
        ('service_user', 'send_service_user_token'),
    ],
)
def test_nova_has_the_option(stacked, section, name):
    conf = cfg.ConfigOpts()
    for group, options in nova_opts.list_opts():
        group_name = getattr(group, 'name', group)
        for option in options:
            if ((group_name or 'DEFAULT'), option.dest) == (section, name):
                conf.register_opt(
                    option, group=None if section == 'DEFAULT' else section
                )
    conf(['--config-file', str(stacked.etc / 'nova/nova-cpu.conf')])
    found = conf if section == 'DEFAULT' else conf[section]
    written = stacked.conf('nova/nova-cpu.conf')[section][name]
    assert str(found[name]) == written


def test_nova_is_configured_when_nobody_else_writes(stacked):
    assert 'async_wait configure_neutron_nova' in stacked.calls


def test_package_is_installed_in_development_mode(stacked):
    assert f'setup_develop {stack.HERE.parents[1]}' in stacked.calls


def test_nova_loads_the_driver(make):
    made = make()
    (made.programs / 'python3').write_text(
        f'#!/bin/sh\nexec {sys.executable} "$@"\n'
    )
    made.run(['stack install'])


def test_install_fails_if_nova_cannot_load_the_driver(make):
    made = make()
    (made.programs / 'python3').write_text('#!/bin/sh\nexit 1\n')
    with pytest.raises(stack.Failed, match='cannot load'):
        made.run(['stack install'])


def caps(made):
    """Capabilities on OSDs, by cluster's configuration and user."""
    found = {}
    for call in made.calls:
        if "'auth' 'caps'" in call:
            arguments = call.replace("'", '').split(' ')
            conf = arguments[arguments.index('--config') + 1]
            user = arguments[arguments.index('caps') + 1]
            cluster = pathlib.Path(conf).parent.name
            found[cluster, user] = call.partition("'osd' ")[2].strip("'")
    return found


#: Of whoever is not Glance.
READER = (
    'profile rbd pool=volumes, profile rbd pool=vms, '
    'profile rbd-read-only pool=images'
)


def test_nobody_but_glance_may_write_its_images(stacked):
    assert caps(stacked) == {
        ('ceph', 'client.glance'): 'profile rbd pool=images',
        ('ceph', 'client.cinder'): READER,
        ('ceph', 'client.openstack'): READER,
    }


def test_nor_in_the_second_cluster(make):
    made = make(MULTI_CEPH='True')
    made.run()
    users = ('glance', 'cinder', 'cinder2', 'openstack')
    assert caps(made) == {
        (cluster, f'client.{user}'): (
            'profile rbd pool=images' if user == 'glance' else READER
        )
        for cluster in ('ceph', 'ceph2')
        for user in users
    }


def test_nor_may_the_backups_of_cinder(make):
    made = make(ENABLED_SERVICES='g-api,n-api,n-cpu,c-vol,c-bak')
    made.run()
    own = 'profile rbd pool=vms, profile rbd pool=backups'
    assert caps(made)['ceph', 'client.cinder-bak'] == READER.replace(
        'profile rbd pool=vms', own
    )


def test_manila_may_still_use_the_manager(make):
    made = make(ENABLED_SERVICES='g-api,n-api,n-cpu,m-shr')
    made.run()
    (call,) = [call for call in made.calls if 'client.manila' in call]
    assert "'mon' 'allow r' 'mgr' 'allow rw' 'osd'" in call
    assert caps(made)['ceph', 'client.manila'] == READER


def test_another_nodes_cluster_is_left_alone(make):
    made = make(REMOTE_CEPH='True')
    made.run()
    assert not [call for call in made.calls if call.startswith('cephadm')]


def test_second_cluster_has_a_store(make):
    made = make(MULTI_CEPH='True', GLANCE_DEFAULT_BACKEND='central_rbd')
    made.run()
    glance = made.conf('glance/glance-api.conf')
    assert glance['DEFAULT']['enabled_backends'] == (
        'fast:file,robust_rbd:rbd,central_rbd:rbd'
    )
    assert glance['glance_store']['default_backend'] == 'central_rbd'
    first, second = glance['robust_rbd'], glance['central_rbd']
    assert first['rbd_store_ceph_conf'] == str(made.etc / 'ceph/ceph.conf')
    assert second['rbd_store_ceph_conf'] == str(made.etc / 'ceph2/ceph.conf')
    nova = made.conf('nova/nova-cpu.conf')['libvirt']
    assert nova['images_rbd_glance_store_name'] == 'robust_rbd'


def test_second_cluster_has_the_images_pool(make):
    made = make(MULTI_CEPH='True')
    made.run()
    second = [call for call in made.calls if f'{made.etc}/ceph2/' in call]
    assert [call.partition("'--' ")[2] for call in second[:2]] == [
        "'ceph' 'osd' 'pool' 'create' 'images' '8'",
        "'rbd' 'pool' 'init' 'images'",
    ]
    assert all('22222222-' in call for call in second)


def test_key_for_the_second_cluster_is_not_the_firsts(make):
    made = make(MULTI_CEPH='True')
    made.run()
    assert made.conf('ceph2/ceph.conf')['client.glance']['keyring'] == str(
        made.etc / 'ceph2/ceph.client.glance.keyring'
    )


def test_names_of_stores_can_be_chosen(make):
    made = make(
        MULTI_CEPH='True',
        GLANCE_MULTIPLE_FILE_STORES='cheap,slow',
        GLANCE_DEFAULT_BACKEND='slow',
        RBD_MULTISTORE_STORE='east',
        RBD_MULTISTORE_CENTRAL_STORE='west',
    )
    made.run()
    glance = made.conf('glance/glance-api.conf')
    assert glance['DEFAULT']['enabled_backends'] == (
        'cheap:file,slow:file,east:rbd,west:rbd'
    )
    check = made.conf('glance/glance-api-paste.ini')['app:healthcheck']
    stores = made.root / 'opt/stack/data/glance'
    assert check['enable_by_file_paths'] == (
        f'{stores}/cheap/.glance,{stores}/slow/.glance'
    )
    nova = made.conf('nova/nova-cpu.conf')['libvirt']
    assert nova['images_rbd_glance_store_name'] == 'east'


def test_full_copies_can_be_allowed(make):
    made = make(RBD_MULTISTORE_NEVER_DOWNLOAD='False')
    made.run()
    conf = made.conf('nova/nova-cpu.conf')['workarounds']
    assert conf['never_download_image_if_on_rbd'] == 'False'


def test_what_local_conf_says_of_devstacks_variables_wins(make):
    made = make(
        GLANCE_USE_IMPORT_WORKFLOW='False', NOVA_USE_SERVICE_TOKEN='False'
    )
    printed = made.run((*stack.STACK, 'print_import_workflow'))
    assert 'GLANCE_USE_IMPORT_WORKFLOW=False' in printed
    assert 'service_user' not in made.conf('nova/nova-cpu.conf')


@pytest.mark.parametrize(
    ('localrc', 'reason'),
    [
        ({'DEVSTACK_PLUGINS': 'nova-rbd-multistore'}, 'devstack-plugin-ceph'),
        (
            {
                'DEVSTACK_PLUGINS': (
                    ',nova-rbd-multistore,neutron,devstack-plugin-ceph'
                )
            },
            'must come after',
        ),
        ({'ENABLE_CEPH_GLANCE': 'False'}, 'ENABLE_CEPH_GLANCE=True'),
        ({'ENABLE_CEPH_NOVA': 'False'}, 'ENABLE_CEPH_NOVA=True'),
        ({'GLANCE_DEFAULT_BACKEND': 'central_rbd'}, "of Glance's stores"),
        ({'GLANCE_DEFAULT_BACKEND': 'rbd'}, "of Glance's stores"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_installed(
    make, localrc, reason
):
    made = make(**localrc)
    with pytest.raises(stack.Failed, match=reason):
        made.run()
    # What die does.
    assert made.calls == ['sleep 1']


def test_compute_node_has_no_glance(make):
    made = make(
        ENABLED_SERVICES='n-cpu',
        REMOTE_CEPH='True',
        GLANCE_DEFAULT_BACKEND='a-store-of-the-controller',
    )
    made.run(
        [
            'stack pre-install',
            'configure_nova',
            'stack install',
            'config_nova',
            'stack post-config',
            'start_nova_compute',
            'stack extra',
        ]
    )
    assert not (made.etc / 'glance').exists()
    conf = made.conf('nova/nova-cpu.conf')
    assert conf['DEFAULT']['compute_driver'] == 'rbd_multistore.LibvirtDriver'


def test_controller_without_a_compute_keeps_its_nova(make):
    made = make(ENABLED_SERVICES='g-api,n-api')
    made.run()
    conf = made.conf('nova/nova.conf')
    assert conf['DEFAULT']['compute_driver'] == 'libvirt.LibvirtDriver'


def test_stack_ends_when_the_images_are_imported(make):
    made = make()
    made.image_states.write_text('importing,queued\nactive,queued\nactive\n')
    made.run()
    assert len([c for c in made.calls if c.startswith('openstack')]) == 3


def test_stack_needs_no_image(make):
    made = make()
    made.image_states.write_text('\n')
    made.run()


def test_stack_fails_if_an_image_is_never_imported(make):
    made = make(RBD_MULTISTORE_IMPORT_TIMEOUT='0')
    made.image_states.write_text('active,queued\n')
    with pytest.raises(stack.Failed, match='not imported'):
        made.run()


def test_stack_fails_if_glance_is_not_healthy(make, health):
    health.code = 503
    made = make(SERVICE_TIMEOUT='1')
    with pytest.raises(stack.Failed, match='not healthy'):
        made.run()


def test_post_config_twice_changes_nothing(make):
    made = make(MULTI_CEPH='True')
    made.run()
    before = made.files()
    made.run(['stack post-config'])
    assert made.files() == before


def test_stack_again_changes_nothing(make):
    made = make(MULTI_CEPH='True')
    made.run()
    before = made.files()
    made.run()
    assert made.files() == before


@pytest.mark.parametrize('steps', [['unstack'], ['unstack', 'clean']])
def test_unstack_leaves_none_of_our_options(make, steps):
    made = make(MULTI_CEPH='True')
    made.run()
    ours = {
        ('glance/glance-api.conf', 'DEFAULT', 'enabled_backends'),
        ('glance/glance-api.conf', 'DEFAULT', 'show_multiple_locations'),
        ('glance/glance-api.conf', 'robust_rbd', 'rbd_store_pool'),
        ('glance/glance-api.conf', 'central_rbd', 'rbd_store_pool'),
        (
            'glance/glance-image-import.conf',
            'image_conversion',
            'output_format',
        ),
        ('nova/nova.conf', 'DEFAULT', 'compute_driver'),
        ('nova/nova-cpu.conf', 'DEFAULT', 'compute_driver'),
        ('ceph2/ceph.conf', 'client.glance', 'keyring'),
    }
    for file, section, option in ours:
        assert made.conf(file).has_option(section, option)
    for step in steps:
        made.run([step])
    for file, section, option in ours:
        assert not made.conf(file).has_option(section, option)
    assert not (made.etc / 'glance/policy.yaml').exists()
    paste = made.etc / 'glance/glance-api-paste.ini'
    assert paste.read_text() == PASTE


def test_unstack_keeps_the_images_and_clean_does_not(make):
    made = make()
    made.run(stack.CONFIGURE)
    image = made.store / 'b2f5'
    image.touch()
    made.run(['unstack'])
    assert image.exists()
    made.run(['clean'])
    assert not made.store.exists()


def test_unstack_of_nothing_is_no_error(make):
    made = make()
    made.run(['unstack'])
    made.run(['clean'])


def test_stack_without_the_plugin_is_stock_after_unstack(make):
    made = make()
    made.run()
    made.run(['unstack'])
    made.run(['configure_glance', 'configure_nova'])
    conf = made.conf('nova/nova.conf')
    assert conf['DEFAULT']['compute_driver'] == 'libvirt.LibvirtDriver'
    conf = made.conf('glance/glance-api.conf')
    assert conf['DEFAULT']['enabled_backends'] == 'fast:file'
