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

"""The lab's cloud, as its users see it."""

import dataclasses

import openstack
from openstack import connection

from lab import credentials
from lab import layout

# The users of the lab that are people, and their projects.
PROJECTS = {'admin': 'admin', 'demo': 'demo', 'other': 'other'}


@dataclasses.dataclass(frozen=True)
class Account:
    """All that one needs to log in."""

    auth_url: str
    username: str
    password: str
    project_name: str
    user_domain_name: str = 'Default'
    project_domain_name: str = 'Default'


def account(user: str, where: layout.Layout | None = None) -> Account:
    where = where or layout.Layout.from_environment()
    return Account(
        auth_url=where.auth_url,
        username=user,
        password=credentials.Credentials.load(where).user(user),
        project_name=PROJECTS[user],
    )


def connect(
    user: str,
    where: layout.Layout | None = None,
    timeout: float | None = None,
) -> connection.Connection:
    """Log in as 'admin', 'demo' or 'other'.

    :param timeout: seconds for an answer, None for any time
    """
    return openstack.connect(
        load_envvars=False,
        load_yaml_config=False,
        region_name=layout.REGION,
        api_timeout=timeout,
        auth=dataclasses.asdict(account(user, where)),
    )
