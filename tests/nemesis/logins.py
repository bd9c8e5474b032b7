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

"""The tokens that hosts boot with: renewed, revoked, and gone too soon."""

import dataclasses
import functools
import logging
import pathlib
import time

from keystoneauth1.identity import v3

from lab import cloud
from lab import layout
from tests.nemesis import faults
from tests.rig import apis
from tests.rig import hosts
from tests.rig import polling

#: The projects in whose name hosts boot.
PROJECTS = ('demo', 'other')

#: Seconds for which tokens of a hasty Keystone are good: less than a boot that
#: waits for a copy.
SHORT = 20

#: Seconds after which a project logs in again.
RENEWED = 1200.0

#: Seconds for which Glance may go on with a token that was revoked: it asks
#: Keystone every five minutes, and a boot goes on with the token that it has.
KNOWN = 450.0

LOG = logging.getLogger(__name__)


class Logins:
    """Who is logged in, and how.

    :param folder: for a second Keystone, whose tokens live shortly
    """

    def __init__(self, where: layout.Layout, folder: pathlib.Path) -> None:
        self._where = where
        self.hasty = apis.KeystoneApi(
            where.etc / 'keystone',
            folder / 'keystone',
            {'token': {'expiration': str(SHORT)}},
        )
        self._users: dict[str, hosts.User] = {}
        self._since: dict[str, float] = {}
        self._short: set[str] = set()
        for project in PROJECTS:
            self.renew_patiently(project)

    def user(self, project: str) -> hosts.User:
        """In whose name a host may boot now."""
        age = time.time() - self._since[project]
        if age > (SHORT / 2 if project in self._short else RENEWED):
            self._try(project)
        return self._users[project]

    def _try(self, project: str) -> bool:
        try:
            self.renew(project)
        except faults.BROKEN as exc:
            LOG.warning('Cannot log %s in: %s', project, exc)
            return False
        return True

    def renew_patiently(self, project: str) -> None:
        """Log in again, on a machine that may be slow."""
        polling.until(
            lambda: self._try(project), f'{project} is logged in', pause=2.0
        )

    def renew(self, project: str) -> None:
        """Log in again: the token of before is used no more."""
        now = time.time()
        # Boots wait for it.
        who = faults.connect(project, self._where, faults.UNDONE)
        user = hosts.user_of(who)
        if project in self._short:
            account = dataclasses.asdict(cloud.account(project, self._where))
            account['auth_url'] = f'{self.hasty.url}/v3'
            token = v3.Password(**account).get_token(who.session)
            assert token is not None
            user = dataclasses.replace(user, auth_token=token)
        self._users[project], self._since[project] = user, now

    def _of(self, project: str) -> list[faults.Fault]:
        of_project = {'user': project}
        revoked = faults.Trouble(
            functools.partial(self._revoke, project),
            functools.partial(self.renew, project),
            of_project,
        )
        hasty = faults.Trouble(
            functools.partial(self._hurry, project),
            functools.partial(self._rest, project),
            of_project,
        )
        return [
            faults.Fault(
                f'token-of-{project} revoked', lambda: revoked, KNOWN
            ),
            # Nova's own token helps: nothing may be felt of it.
            faults.Fault(f'token-of-{project} short', lambda: hasty, 0.0),
        ]

    def _revoke(self, project: str) -> None:
        token = self._users[project].auth_token
        faults.connect(project, self._where).session.delete(
            f'{self._where.auth_url}/auth/tokens',
            headers={'X-Subject-Token': token},
        )

    def _hurry(self, project: str) -> None:
        self._short.add(project)
        self.renew(project)

    def _rest(self, project: str) -> None:
        self._short.discard(project)
        self.renew(project)

    def faults(self) -> list[faults.Fault]:
        """What befalls the tokens of a project."""
        return [fault for project in PROJECTS for fault in self._of(project)]
