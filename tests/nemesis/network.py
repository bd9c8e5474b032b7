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

"""Faults of the network between the lab's services.

In a network namespace of the lab's own only (tools/own-lab.sh): a machine's
own loopback is not the lab's alone.
"""

from collections.abc import Sequence
import functools
import shutil
import socket
import subprocess

from lab import layout
from tests.nemesis import faults

#: Of one service's packets, and of all, that are lost.
LOST, LOST_OF_ALL = 0.15, 0.02

#: How much gets through, and how long the rest waits before it is lost.
NARROW = ('rate', '160mbit', 'burst', '256k', 'latency', '400ms')


def faults_of(where: layout.Layout) -> list[faults.Fault]:
    """Those of this network: none if it is not the lab's alone."""
    if not (_is_own() and shutil.which('iptables')):
        return []
    found = [
        _losing('network', LOST_OF_ALL, [()]),
        faults.always(
            'network narrow',
            functools.partial(_tc, 'replace', 'tbf', *NARROW),
            # It may not have begun.
            functools.partial(_tc, 'del', check=False),
            faults.LOCK,
        ),
    ]
    names = [*(api.name for api in where.glance_apis), 'keystone', 'mariadb']
    names += [f'ceph-mon-{site.name}' for site in where.sites]
    for name in names:
        port = str(layout.PORTS[name])
        both_ways = [('--dport', port), ('--sport', port)]
        found.append(_losing(f'{name}-network', LOST, both_ways))
        found.append(_losing(f'{name}-network', 1.0, both_ways))
    return found


def _losing(
    victim: str, share: float, ways: Sequence[tuple[str, ...]]
) -> faults.Fault:
    rules = [
        (
            *('INPUT', '-i', 'lo', '-p', 'tcp', *way, '-m', 'statistic'),
            *('--mode', 'random', '--probability', str(share), '-j', 'DROP'),
        )
        for way in ways
    ]

    def begin() -> None:
        for rule in rules:
            _iptables('-I', rule).check_returncode()

    def end() -> None:
        for rule in rules:
            # It may not have begun.
            if _iptables('-C', rule).returncode == 0:
                _iptables('-D', rule).check_returncode()

    return faults.always(
        f'{victim} loses {share:.0%} of packets', begin, end, faults.LOCK
    )


def _iptables(
    action: str, rule: Sequence[str]
) -> 'subprocess.CompletedProcess[bytes]':
    command = ['iptables', '--wait', action, *rule]
    return subprocess.run(
        command,
        check=False,
        capture_output=True,
        timeout=60,
    )


def _tc(action: str, *words: str, check: bool = True) -> None:
    command = ['tc', 'qdisc', action, 'dev', 'lo', 'root', *words]
    subprocess.run(command, check=check, timeout=60, stderr=subprocess.DEVNULL)


def _is_own() -> bool:
    """Whether there is nothing but a loopback in this network."""
    return [name for _, name in socket.if_nameindex()] == ['lo']
