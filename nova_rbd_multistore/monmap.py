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

"""The monitors of a cluster, in the words of ``ceph mon dump``.

A guest's disk names each monitor by one host and one port, and a port says
nothing of the protocol: librbd takes 6789 for messenger version 1, 3300 for
version 2, and tries both at any other. So one address of each will do.
"""

import json
import re

#: As in "192.0.2.1:6789/0" and "[2001:db8::1]:3300/0"; last is a nonce.
_ADDRESS = re.compile(
    r'(?P<host>[0-9.]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]+)/[0-9]+'
)


def monitors(answer: bytes) -> list[tuple[str, str]]:
    """Host (IPv6 in brackets) and port of each monitor.

    That of messenger version 1 where the monitor has one, for librbd of any
    age speaks it. Ceph itself chooses so for those who can take one only.

    :param answer: of ``mon dump`` in JSON
    :raises ValueError: if it cannot be understood, or names no address
    """
    try:
        addresses = [
            _ADDRESS.fullmatch(monitor['addr'])
            for monitor in json.loads(answer)['mons']
        ]
    except (KeyError, TypeError) as exc:
        raise ValueError(f'mon dump without {exc}') from exc
    # A monitor that has not joined yet has none, or port 0.
    found = [
        (address['host'], address['port'])
        for address in addresses
        if address and int(address['port'])
    ]
    if not found:
        raise ValueError('mon dump names no address of a monitor')
    return found
