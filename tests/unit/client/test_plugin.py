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

"""OpenStackClient finds the plugin, and each of its commands."""

import argparse
import configparser
import importlib
import pathlib
import types

from keystoneauth1 import noauth
from keystoneauth1 import session
from openstack import connection
from openstack import exceptions
import pytest
import requests

from nova_rbd_multistore_client import errors
from nova_rbd_multistore_client import glance
from nova_rbd_multistore_client import plugin
from tests.fakes import network

ROOT = pathlib.Path(__file__).parents[3]
NAMES = {
    *('create', 'delete', 'list', 'orphans', 'prune', 'repair'),
    *('show', 'sync', 'watch'),
}


def entry_points(group):
    config = configparser.ConfigParser()
    config.read(ROOT / 'setup.cfg')
    lines = config['entry_points'][group].strip().splitlines()
    return dict(line.split(' = ') for line in map(str.strip, lines))


COMMANDS = entry_points(f'openstack.{plugin.API_NAME}.v1')


def test_the_plugin_is_where_openstackclient_looks():
    assert entry_points('openstack.cli.extension') == {
        plugin.API_NAME: plugin.__name__
    }
    assert plugin.DEFAULT_API_VERSION in plugin.API_VERSIONS


def test_all_commands_are_there():
    assert COMMANDS.keys() == {f'image_replica_{name}' for name in NAMES}


@pytest.mark.parametrize('origin', COMMANDS.values())
def test_a_command_explains_itself(origin):
    module, _, name = origin.partition(':')
    command = getattr(importlib.import_module(module), name)
    parser = command(types.SimpleNamespace(), None).get_parser('openstack x')
    told = parser.format_help()
    # Each paragraph, and not the first line alone.
    for paragraph in command.__doc__.split('\n\n'):
        assert paragraph.split()[0] in told
    for action in parser._actions:
        assert action.help


def test_glance_is_asked_by_openstacksdk():
    manager = types.SimpleNamespace(
        sdk_connection=types.SimpleNamespace(
            image=object(), session=session.Session()
        )
    )
    assert isinstance(plugin.make_client(manager), glance.Glance)


def test_where_glance_is_not_the_command_says_how_to_name_another():
    class Connection:
        @property
        def image(self):
            raise exceptions.NotSupported('it has no supported versions.')

        session = session.Session()

    manager = types.SimpleNamespace(sdk_connection=Connection())
    with pytest.raises(errors.Unreachable) as caught:
        plugin.make_client(manager)
    assert 'no supported versions' in str(caught.value)
    assert 'OS_IMAGE_ENDPOINT_OVERRIDE' in str(caught.value)


def test_a_glance_that_does_not_tell_its_versions_is_named():
    net = network.Network()

    def say_nothing(_request):
        assert net.timeout is not None, 'it may hang for ever'
        raise requests.ReadTimeout('timed out')

    net.servers['glance-1'] = say_nothing
    manager = types.SimpleNamespace(
        sdk_connection=connection.Connection(
            session=session.Session(
                auth=noauth.NoAuth('http://glance-1'), session=net.session()
            )
        )
    )
    with pytest.raises(errors.Unreachable) as caught:
        plugin.make_client(manager)
    assert 'http://glance-1' in str(caught.value)
    assert 'image_endpoint_override' in str(caught.value)


def test_there_are_no_more_global_options():
    parser = argparse.ArgumentParser()
    assert plugin.build_option_parser(parser) is parser
