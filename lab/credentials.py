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

"""Passwords and keys: random, made once, in one file that only root reads."""

import base64
from collections.abc import Callable, Mapping
import json
import secrets
import struct
import time
from typing import Final
import uuid

from lab import errors
from lab import files
from lab import layout

# Who has a password in Keystone.
USERS: Final = (
    'admin',
    'demo',
    'other',
    'cinder',
    'glance',
    'neutron',
    'nova',
    'placement',
)
# Who has a user in MariaDB.
DATABASE_USERS: Final = (
    'cinder',
    'glance',
    'keystone',
    'neutron',
    'nova',
    'placement',
)
# Who has a key in each Ceph cluster.
CEPH_ENTITIES: Final = (
    'mon.',
    'mgr.x',
    'osd.0',
    'client.admin',
    'client.cinder',
    'client.glance',
    'client.nova',
)


def _password() -> str:
    return secrets.token_urlsafe(24)


def _uuid() -> str:
    return str(uuid.uuid4())


def _ceph_key(key_type: int = 1, length: int = 16) -> str:
    """A cephx key, as ceph-authtool prints it.

    Little-endian: the type (1 is aes), seconds and nanoseconds of its
    making, the length of the secret, and the secret.
    """
    secret = secrets.token_bytes(length)
    head = struct.pack('<HIIH', key_type, int(time.time()), 0, len(secret))
    return base64.b64encode(head + secret).decode()


def _ceph_20_key() -> str:
    """One of type aes256k."""
    return _ceph_key(2, 32)


def _recipe() -> dict[str, Callable[[], str]]:
    recipe: dict[str, Callable[[], str]] = {
        'rabbitmq': _password,
        'libvirt/secret': _uuid,
    }
    recipe |= {f'user/{user}': _password for user in USERS}
    recipe |= {f'database/{user}': _password for user in DATABASE_USERS}
    for site in ('east', 'west'):
        recipe[f'ceph/{site}/fsid'] = _uuid
        recipe[f'ceph/{site}/osd-uuid'] = _uuid
        for entity in CEPH_ENTITIES:
            recipe[f'ceph/{site}/{entity}'] = _ceph_key
            recipe[f'ceph-20/{site}/{entity}'] = _ceph_20_key
    return recipe


class Credentials:
    """The lab's passwords, keys and identities, by what they are for."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    @classmethod
    def load(cls, where: layout.Layout) -> 'Credentials':
        """Read what an earlier `up` made."""
        path = where.root / 'credentials.json'
        try:
            return cls(json.loads(path.read_text()))
        except FileNotFoundError:
            raise errors.NotMade(
                f'no lab in {where.root}: run tools/lab up, or set '
                f'NOVA_RBD_LAB_DIR to where it is'
            ) from None

    @classmethod
    def make(cls, where: layout.Layout) -> 'Credentials':
        """Read what there is, and make what is missing."""
        path = where.root / 'credentials.json'
        values = json.loads(path.read_text()) if path.exists() else {}
        for name, make in _recipe().items():
            values.setdefault(name, make())
        files.write(path, json.dumps(values, indent=2) + '\n')
        return cls(values)

    def secrets(self) -> dict[str, str]:
        """What nobody may read, by what it is for; all but the UUIDs."""
        uuids = {name for name, make in _recipe().items() if make is _uuid}
        return {
            name: value
            for name, value in self._values.items()
            if name not in uuids
        }

    def user(self, name: str) -> str:
        return self._values[f'user/{name}']

    def database(self, user: str) -> str:
        return self._values[f'database/{user}']

    @property
    def rabbitmq(self) -> str:
        return self._values['rabbitmq']

    @property
    def libvirt_secret(self) -> str:
        """The UUID under which each libvirt knows its site's Ceph key."""
        return self._values['libvirt/secret']

    def fsid(self, site: str) -> str:
        return self._values[f'ceph/{site}/fsid']

    def osd_uuid(self, site: str) -> str:
        return self._values[f'ceph/{site}/osd-uuid']

    def ceph_key(self, site: str, entity: str) -> str:
        return self._values[f'ceph/{site}/{entity}']

    def ceph_20_key(self, site: str, entity: str) -> str:
        """For what knows keys of type aes256k."""
        return self._values[f'ceph-20/{site}/{entity}']
