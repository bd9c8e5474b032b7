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

"""A cloud with several glance-apis, reached over HTTP."""

from collections.abc import Callable, Sequence

from keystoneauth1 import plugin
from keystoneauth1 import service_token
from keystoneauth1 import session as ksa_session
from keystoneauth1 import token_endpoint

from nova_rbd_multistore import asking
from nova_rbd_multistore import connections
from nova_rbd_multistore import endpoints
from nova_rbd_multistore import glance
from nova_rbd_multistore import rounds
from tests.fakes import clock as clocks
from tests.fakes import cluster as clusters
from tests.fakes import endpoint as endpoint_fakes
from tests.fakes import glance_api
from tests.fakes import network
from tests.fakes import workers


class Cloud:
    """Sites east and west, their clusters, and glance-apis a, b, ….

    :param count: of glance-apis
    :ivar known: what is remembered of the endpoints; asked in order
    """

    def __init__(self, count: int = 2) -> None:
        self.clock = clocks.Clock()
        self.east = clusters.Cluster('fsid-east', self.clock.monotonic)
        self.west = clusters.Cluster('fsid-west', self.clock.monotonic)
        self.api = glance_api.GlanceApi(
            self.clock, {'file': None, 'east': self.east, 'west': self.west}
        )
        self.network = network.Network()
        names = [f'glance-{letter}' for letter in 'abcdefgh'[:count]]
        self.endpoints = [
            endpoint_fakes.Endpoint(
                self.api, name, self.clock, lambda: self.network.timeout
            )
            for name in names
        ]
        hosts = [f'{name}:9292' for name in names]
        self.urls = [f'http://{host}/' for host in hosts]
        self.network.servers.update(zip(hosts, self.endpoints, strict=True))
        self.session = ksa_session.Session(session=self.network.session())
        connections.refuse_redirects(self.session.session)
        self.known = endpoints.Endpoints(
            30,
            self.clock.monotonic,
            shuffle=_as_given,
            uniform=lambda least, _: least,
        )
        self.means = rounds.Means(
            self.known,
            workers.Workers(
                self.clock,
                lambda: any(endpoint.seconds for endpoint in self.endpoints),
            ),
            self.clock.monotonic,
            patience=1.0,
            timeout=endpoint_fakes.TIMEOUT,
        )

    def glance(
        self,
        *,
        token: str = endpoint_fakes.USER,
        service: str | plugin.BaseAuthPlugin | None = endpoint_fakes.SERVICE,
        deputy: plugin.BaseAuthPlugin | None = None,
        urls: Sequence[str] | None = None,
        request_id: str | None = None,
        retries: int = 0,
        sleep: Callable[[float], None] | None = None,
        records: glance.Records | None = None,
    ) -> glance.Glance:
        """Glance as a user sees it, with Nova's service token or without.

        Or with a separate identity, which asks on the user's behalf.

        :param service: Nova's service token, or whoever is to get it
        :param records: what is known of them; nothing, by default
        """
        auth: plugin.BaseAuthPlugin = token_endpoint.Token(
            'http://not-from-here', token
        )
        if isinstance(service, str):
            service = token_endpoint.Token('http://nor-from-here', service)
        if service is not None:
            auth = service_token.ServiceTokenAuthWrapper(auth, service)
        asker = asking.Asker(
            self.session,
            auth,
            self.urls if urls is None else urls,
            self.means,
            sleep=sleep or self.clock.sleep,
            request_id=request_id,
            retries=retries,
        )
        return glance.Glance(asker, deputy, records)


def _as_given(_urls: list[str]) -> None:
    """In place of a shuffle."""
