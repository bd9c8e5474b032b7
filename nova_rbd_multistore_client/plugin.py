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

"""What OpenStackClient's plugin guide wants of a plugin."""

import argparse
from typing import Any

from keystoneauth1 import exceptions as ksa_exceptions
from openstack import exceptions

from nova_rbd_multistore import text
from nova_rbd_multistore_client import errors
from nova_rbd_multistore_client import glance

#: The client's name in the client manager, and the commands' group.
API_NAME = 'image_replica'
API_VERSION_OPTION = 'os_image_replica_api_version'
API_VERSIONS = ('1',)
DEFAULT_API_VERSION = '1'


def make_client(instance: Any) -> glance.Glance:
    """Glance, as the user of this command is let into it.

    :param instance: OpenStackClient's client manager
    :raises errors.Unreachable: if the glance-api that the commands go to, the
        first of Keystone's catalog, is none
    """
    connection = instance.sdk_connection
    if connection.session.timeout is None:
        # Of Keystone, and of the versions that a service has, openstacksdk
        # would await an answer for ever.
        connection.session.timeout = glance.TIMEOUT
    try:
        api = connection.image
    except (
        exceptions.SDKException,
        ksa_exceptions.DiscoveryFailure,
    ) as exc:
        raise errors.Unreachable(
            'No Glance at its endpoint, the first of the catalog: '
            f'{text.printable(exc)} {glance.ANOTHER}'
        ) from exc
    return glance.Glance(api)


def build_option_parser(
    parser: argparse.ArgumentParser,
) -> argparse.ArgumentParser:
    """Add global options: there is none, for Glance's version is enough."""
    return parser
