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

"""How old something is, as people write it: ``30d``, ``12h``."""

import datetime
import re

from oslo_utils import timeutils

_AGE = re.compile(r'(\d{1,5})([mhdw])', re.ASCII)
_UNITS = {'m': 'minutes', 'h': 'hours', 'd': 'days', 'w': 'weeks'}


def parse(word: str) -> datetime.timedelta:
    """An age.

    :raises ValueError: if it is not a number with one of m, h, d and w
    """
    found = _AGE.fullmatch(word)
    if found is None:
        raise ValueError(
            f'{word!r} is no age: write a number and m, h, d or w, as in 30d'
        )
    return datetime.timedelta(**{_UNITS[found[2]]: int(found[1])})


def shown(age: datetime.timedelta) -> str:
    """An age, in the largest unit that it has two of."""
    seconds = max(int(age.total_seconds()), 0)
    for unit, length in (('d', 86400), ('h', 3600), ('m', 60)):
        if seconds >= 2 * length:
            return f'{seconds // length}{unit}'
    return f'{seconds}s'


def moment(written: str) -> datetime.datetime | None:
    """A time as Glance writes it: UTC without a zone, None if it is none."""
    try:
        return timeutils.normalize_time(timeutils.parse_isotime(written))
    except (OverflowError, ValueError):
        return None
