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

"""The options, as an operator meets them."""

import importlib.metadata

from oslo_config import cfg
from oslo_config import generator
import pytest

from nova_rbd_multistore import conf


@pytest.fixture
def options():
    options = cfg.ConfigOpts()
    conf.register(options)
    return options


def test_every_option_has_a_default_that_it_accepts(options):
    options([])
    for option in conf.OPTIONS:
        value = options.rbd_multistore[option.dest]
        assert value is not None
        option.type(','.join(value) if isinstance(value, list) else str(value))


@pytest.mark.parametrize('option', conf.OPTIONS, ids=lambda o: o.name)
def test_every_option_says_what_it_does(option):
    first, _, _ = option.help.strip().partition('.')
    assert len(first.split()) > 5


@pytest.mark.parametrize('option', conf.OPTIONS, ids=lambda o: o.name)
def test_help_fits_a_line(option):
    assert max(map(len, option.help.split('\n'))) < 80


@pytest.mark.parametrize(
    'name',
    [
        'copy_stall_timeout',
        'copy_probe_interval',
        'glance_request_timeout',
        'glance_patience',
        'glance_endpoint_rest',
        'rados_mon_op_timeout',
        'rados_osd_op_timeout',
        'rados_long_op_timeout',
    ],
)
@pytest.mark.parametrize('value', ['0', '-1', 'soon'])
def test_a_time_must_be_a_number_above_zero(options, tmp_path, name, value):
    path = tmp_path / 'nova.conf'
    path.write_text(f'[rbd_multistore]\n{name} = {value}\n')
    options(['--config-file', str(path)])
    with pytest.raises(cfg.ConfigFileValueError):
        _ = options.rbd_multistore[name]


@pytest.mark.parametrize(
    'line',
    [
        'copy_stall_timeout = 86401',
        'copy_stall_timeout =',
        'copy_probe_interval = nan',
        'copy_probe_interval = inf',
        'glance_rbd_pool = images\n  more',
        'glance_rbd_pool = $glance_rbd_pool',
        'trusted_clone_pools = $no_such_option',
        'trusted_clone_pools = fsid/golden,fsid/a\u2028b',
        'copy_on_demand = own,private',
        'copy_on_demand = own,publik',
        'trusted_clone_pools = golden',
        'trusted_clone_pools = golden,fsid/golden',
        'trusted_clone_pools = fsid/golden,/golden',
        'trusted_clone_pools = fsid/golden/debian-12',
        'other_glance_rbd_pools = dcn/',
        'metrics_address = somewhere',
        'metrics_address = 0',
        'metrics_address = 127.0.0.1:65536',
        'metrics_address = :9103',
        'metrics_address = ::1:9103',
    ],
)
def test_what_cannot_work_is_noticed_at_start(options, tmp_path, line):
    path = tmp_path / 'nova.conf'
    path.write_text(f'[rbd_multistore]\n{line}\n')
    options(['--config-file', str(path)])
    name, _, _ = line.partition(' ')
    with pytest.raises(ValueError, match=rf'^\[rbd_multistore\] {name}'):
        conf.check(options)


def test_the_defaults_pass_the_check(options):
    options([])
    conf.check(options)


def test_options_can_be_registered_twice(options):
    conf.register(options)


def test_no_pool_is_trusted_by_default(options):
    options([])
    assert options.rbd_multistore.trusted_clone_pools == []


def test_a_pool_without_its_cluster_is_told_what_to_be(options, tmp_path):
    # As before pools were named with their cluster.
    path = tmp_path / 'nova.conf'
    path.write_text('[rbd_multistore]\ntrusted_clone_pools = golden\n')
    options(['--config-file', str(path)])
    with pytest.raises(ValueError, match="'golden' is not <fsid>/<pool>"):
        conf.check(options)


# Where metrics are served


def test_metrics_are_served_nowhere_by_default(options):
    options([])
    assert options.rbd_multistore.metrics_address == ''


@pytest.mark.parametrize(
    ('value', 'address'),
    [
        ('9103', '127.0.0.1:9103'),
        ('0.0.0.0:9103', '0.0.0.0:9103'),
        ('[::1]:9103', '[::1]:9103'),
        ('compute-1:9103', 'compute-1:9103'),
    ],
)
def test_a_port_alone_is_one_of_loopback(options, tmp_path, value, address):
    path = tmp_path / 'nova.conf'
    path.write_text(f'[rbd_multistore]\nmetrics_address = {value}\n')
    options(['--config-file', str(path)])
    conf.check(options)
    assert options.rbd_multistore.metrics_address == address


# The separate identity


def load(options, tmp_path, text):
    path = tmp_path / 'nova.conf'
    path.write_text(f'[rbd_multistore]\n{text}\n')
    options(['--config-file', str(path)])
    return conf.load_identity(options)


def test_there_is_no_separate_identity_by_default(options):
    options([])
    assert conf.load_identity(options) is None


@pytest.mark.parametrize(
    'text',
    [
        'auth_type = password\nauth_url = http://keystone\nusername = u',
        'auth_type = v3applicationcredential\nauth_url = http://keystone\n'
        'application_credential_id = i\napplication_credential_secret = s',
        'auth_section = glance_admin\n[glance_admin]\n'
        'auth_type = password\nauth_url = http://keystone',
    ],
    ids=['password', 'application credential', 'another section'],
)
def test_a_separate_identity_is_of_any_type_of_keystoneauths(
    options, tmp_path, text
):
    identity = load(options, tmp_path, text)
    assert identity.auth_url == 'http://keystone'


@pytest.mark.parametrize(
    ('text', 'named'),
    [
        ('auth_type = passwrod', 'passwrod'),
        ('auth_type = password', 'auth_url'),
        ('auth_type = password\nauth_url = $nothing', 'nothing'),
        ('auth_section = nowhere\nauth_type = password', 'nowhere'),
    ],
)
def test_a_separate_identity_that_cannot_work_is_noticed_at_start(
    options, tmp_path, text, named
):
    with pytest.raises(ValueError, match=named):
        load(options, tmp_path, text)
    with pytest.raises(ValueError, match=r'\[rbd_multistore\] auth_'):
        conf.check(options)


def test_the_options_of_a_user_with_a_password_are_documented():
    ((_, options),) = conf.list_opts()
    found = {option.name: option for option in options}
    assert {'auth-type', 'auth_type'} & set(found)
    assert {'auth-url', 'auth_url'} & set(found)
    assert found['password'].secret


def test_list_opts_is_the_generators_entry_point():
    (entry,) = (
        entry
        for entry in importlib.metadata.entry_points(group='oslo.config.opts')
        if entry.name == 'nova_rbd_multistore'
    )
    assert entry.value == 'nova_rbd_multistore.conf:list_opts'
    assert entry.load() is conf.list_opts


def test_the_generator_lists_every_option(tmp_path):
    path = tmp_path / 'sample.conf'
    options = cfg.ConfigOpts()
    generator.register_cli_opts(options)
    options(['--namespace', 'nova_rbd_multistore', '--output-file', str(path)])
    generator.generate(options)
    sample = path.read_text()
    assert '[rbd_multistore]' in sample
    for option in conf.OPTIONS:
        assert f'\n#{option.name} =' in sample
