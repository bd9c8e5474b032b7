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

"""Proxies in front of the glance-apis, which have their moods."""

from collections.abc import Iterable
import enum
import http.client
import http.server
import random
import socket
import time

from tests.rig import relays

#: Seconds that a proxy takes for an answer when it is slow, at most.
SLOW = 4.0

#: Seconds of the pause that it asks for.
PAUSE = '2'

_PAGE = b'<html><body><h1>502 Bad Gateway</h1></body></html>'


class Mood(enum.StrEnum):
    """What a proxy does to answers, in words that tell of it."""

    SLOW = 'delays answers'
    SHORT = 'cuts answers off'
    RUDE = 'hangs up'
    LIMITS = 'answers 429'
    FAILS = 'answers 500'
    PAUSES = 'answers 503'
    PAGE = 'answers with a page'


class Proxy(relays.Relay):
    """One in front of one glance-api.

    :ivar mood: None to let all through as it is
    """

    def __init__(self, behind: str) -> None:
        super().__init__(behind)
        self.mood: Mood | None = None
        self._rng = random.Random(behind)  # noqa: S311

    def ask(
        self,
        request: http.server.BaseHTTPRequestHandler,
        body: bytes | Iterable[bytes],
    ) -> tuple[int, dict[str, str], bytes]:
        pause = {'Retry-After': PAUSE}
        match self.mood:
            case Mood.SLOW:
                time.sleep(self._rng.uniform(0.5, SLOW))
            case Mood.RUDE:
                request.close_connection = True
                request.connection.shutdown(socket.SHUT_RDWR)
                return 502, {}, b''
            case Mood.LIMITS:
                return 429, pause, b''
            case Mood.FAILS:
                return 500, {}, b''
            case Mood.PAUSES:
                return 503, pause, b''
            case Mood.PAGE:
                return 502, {'Content-Type': 'text/html'}, _PAGE
        try:
            status, headers, answer = super().ask(request, body)
        except (OSError, http.client.HTTPException):
            return 502, {'Content-Type': 'text/html'}, _PAGE
        if self.mood is Mood.SHORT:
            answer = answer[: len(answer) // 2]
        return status, headers, answer
