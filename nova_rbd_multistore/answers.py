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

"""Glance's answers, field by field: nothing in them is taken on trust."""

from collections.abc import Mapping
import datetime
import email.utils
from typing import Any

from oslo_utils import timeutils

from nova_rbd_multistore import text

#: Of Glance's database: a signed integer of 64 bits, a column of 255.
MAX_SIZE = 2**63 - 1
MAX_IDENTIFIER = 255


class MalformedAnswer(ValueError):
    """An answer that is not what Glance's API promises."""


def mapping(answer: object, otherwise: str) -> Mapping[str, Any]:
    """A JSON object.

    :param otherwise: the message, which goes on with what was sent
    :raises MalformedAnswer: if it is none
    """
    if not isinstance(answer, Mapping):
        raise MalformedAnswer(f'{otherwise} {shown(answer)}')
    return answer


def words(fields: Mapping[str, Any], name: str) -> str:
    """A text that is not empty.

    :raises MalformedAnswer: if it is missing, empty or no text
    """
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise MalformedAnswer(f'{name} is not a text but {shown(value)}')
    return value


def optional_words(fields: Mapping[str, Any], name: str) -> str | None:
    """The same, or None where it is missing or empty.

    :raises MalformedAnswer: if it is no text
    """
    return None if fields.get(name) in (None, '') else words(fields, name)


def identifier(fields: Mapping[str, Any], name: str) -> str:
    """An id: ids go into log entries and error messages as they are.

    :raises MalformedAnswer: if it is no text of one line and of 255 at most
    """
    value = words(fields, name)
    if not value.isprintable() or len(value) > MAX_IDENTIFIER:
        raise MalformedAnswer(f'{name} is no id but {shown(value)}')
    return value


def optional_identifier(fields: Mapping[str, Any], name: str) -> str | None:
    """The same, or None where it is missing or empty.

    :raises MalformedAnswer: if it is no id
    """
    return None if fields.get(name) in (None, '') else identifier(fields, name)


def store_names(fields: Mapping[str, Any], name: str) -> frozenset[str]:
    """Store names that Glance sends as a text, separated by commas.

    :raises MalformedAnswer: if it is no text
    """
    value = fields.get(name) or ''
    if not isinstance(value, str):
        raise MalformedAnswer(
            f'{name} is not a comma-separated text but {shown(value)}'
        )
    return frozenset(
        store for item in value.split(',') if (store := item.strip())
    )


def byte_count(fields: Mapping[str, Any], name: str) -> int | None:
    """A number of bytes, None where it is not known.

    :raises MalformedAnswer: if it is no number that Glance could store
    """
    value = fields.get(name)
    if value is None:
        return None
    if (
        isinstance(value, bool)
        or not isinstance(value, int)
        or not 0 <= value <= MAX_SIZE
    ):
        raise MalformedAnswer(f'{name} is not a byte count but {shown(value)}')
    return value


def moment(
    fields: Mapping[str, Any], name: str, latest: datetime.datetime
) -> datetime.datetime:
    """A time, in UTC and without a zone.

    :raises MalformedAnswer: if it is none, or after ``latest``
    """
    value = words(fields, name)
    try:
        # OverflowError: a time zone may lead out of the calendar.
        time = timeutils.normalize_time(timeutils.parse_isotime(value))
    except (OverflowError, ValueError) as exc:
        raise MalformedAnswer(f'{name} is {shown(value)}') from exc
    if time > latest:
        raise MalformedAnswer(f'{name} is {shown(value)}')
    return time


def retry_after(value: str | None, most: float) -> float:
    """Seconds to wait by a header Retry-After, a number or a date.

    :param most: that are waited, whatever it says
    :returns: 0 if it is not there, is none, or is in the past
    """
    if value is None or len(value) > MAX_IDENTIFIER:
        return 0.0
    if value.isascii() and value.isdecimal():
        return min(float(value), most)
    try:
        moment = timeutils.normalize_time(
            email.utils.parsedate_to_datetime(value)
        )
    except (OverflowError, ValueError):
        return 0.0
    seconds = (moment - timeutils.utcnow()).total_seconds()
    return min(max(seconds, 0.0), most)


def shown(value: object) -> str:
    """Whatever was sent, short, on one line, and without credentials."""
    # In this order: a cut could hide where the credentials end.
    return text.printable(text.without_credentials(repr(value)), limit=60)
