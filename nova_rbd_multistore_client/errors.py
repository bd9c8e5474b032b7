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

"""Why a command cannot do what it was told.

Each is a CommandError, which OpenStackClient shows as one line, without a
traceback, and which ends a command with status 1.
"""

from collections.abc import Iterable

from osc_lib import exceptions

from nova_rbd_multistore import text


class ReplicaError(exceptions.CommandError):
    """A command cannot do what it was told, and says why."""


class WrongUse(ReplicaError):
    """What was given on the command line, or in a file, makes no sense."""


class NotFound(ReplicaError):
    """There is no such image or store, or this account may not see it."""


class SeveralImages(ReplicaError):
    """Several images have the name that was given.

    :param ids: theirs
    """

    def __init__(self, name: str, ids: Iterable[str]) -> None:
        super().__init__(
            f'Several images have the name {text.printable(name)}: give one '
            f'of their ids, {", ".join(ids)}'
        )


class NotAllowed(ReplicaError):
    """This account has not the right.

    :param what: was to be done, as in "may not …"
    :param right: which right is missing, as a whole sentence
    """

    def __init__(self, what: str, right: str) -> None:
        super().__init__(f'This account may not {what}. {right}')


class Refused(ReplicaError):
    """Glance refuses what was asked of it, for a reason that it tells."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f'Glance refuses to {what}: {reason}')


class Refusing(ReplicaError):
    """This command refuses, for it would do harm."""


class Unreachable(ReplicaError):
    """Glance, or a Ceph cluster, gives no answer of use."""


class InUse(ReplicaError):
    """Data in a pool is in use, whatever was seen of it before."""


class CephNeeded(ReplicaError):
    """Only the cluster knows, and no ``ceph.conf`` was given for it."""
