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

"""What came of asking one glance-api for the first byte of an image.

The words are those that operators know from Platform9's image libraries: ok,
missing, no-access, cannot-delete, offline.
"""

import dataclasses
import enum
import http


class Health(enum.Enum):
    """How an image is on one glance-api, or in one pool."""

    OK = 'ok'
    #: Its data is not where the record says.
    MISSING = 'missing'
    #: It may be there, but may not be read.
    NO_ACCESS = 'no-access'
    #: It can be read, but what is in the way keeps it from being deleted.
    CANNOT_DELETE = 'cannot-delete'
    #: Nobody answers there, or nobody who is of use.
    OFFLINE = 'offline'


@dataclasses.dataclass(frozen=True, slots=True)
class Reading:
    """A glance-api's answer to the request for the data.

    :ivar status: of HTTP, None if there was no answer
    :ivar reason: Glance's words, where it gave no data
    :ivar got_data: whether a first byte came
    """

    status: int | None
    reason: str = ''
    got_data: bool = False

    @property
    def health(self) -> Health:
        """What that says of the image on this glance-api."""
        match self.status:
            case http.HTTPStatus.OK if self.got_data:
                return Health.OK
            case (
                http.HTTPStatus.OK
                | http.HTTPStatus.NO_CONTENT
                | http.HTTPStatus.NOT_FOUND
            ):
                return Health.MISSING
            case http.HTTPStatus.UNAUTHORIZED | http.HTTPStatus.FORBIDDEN:
                return Health.NO_ACCESS
            case _:
                return Health.OFFLINE
