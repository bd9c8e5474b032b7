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

"""Where an image's data lies: Glance's location URLs as values.

Formats, from glance_store's drivers:

* RBD: ``rbd://<fsid>/<pool>/<image>/<snapshot>``, each percent-encoded, or
  ``rbd://<image>`` as written before Glance made snapshots;
* Cinder: ``cinder://<store>/<volume id>``, or ``cinder://<volume id>`` as
  written before Glance had several stores.
"""

import dataclasses
from typing import Self
import urllib.parse


class MalformedLocation(ValueError):
    """A location URL that is not of its scheme's format."""


class MalformedRbdLocation(MalformedLocation):
    """An RBD location that is not of its format."""


@dataclasses.dataclass(frozen=True, slots=True)
class RbdLocation:
    """A snapshot of an RBD image in one Ceph cluster."""

    fsid: str
    pool: str
    image: str
    snapshot: str

    @classmethod
    def from_path(cls, path: str) -> Self:
        """Read what follows ``rbd://``.

        :raises MalformedRbdLocation: unless it has four parts, none empty
        """
        parts = path.split('/', 4)
        if len(parts) != 4 or not all(parts):
            raise MalformedRbdLocation(
                'an rbd location has the form '
                'rbd://<fsid>/<pool>/<image>/<snapshot>'
            )
        return cls(*(_librbd_name(urllib.parse.unquote(p)) for p in parts))


@dataclasses.dataclass(frozen=True, slots=True)
class OldRbdLocation:
    """An RBD image in the pool of some store of Glance, whichever.

    Never cloned: it says neither which cluster it means nor which snapshot.
    """

    image: str


@dataclasses.dataclass(frozen=True, slots=True)
class CinderLocation:
    """A volume in Cinder."""

    volume: str
    store: str | None = None

    @classmethod
    def from_path(cls, path: str) -> Self:
        """Read what follows ``cinder://``.

        :raises MalformedLocation: unless it has one or two parts, none empty
        """
        parts = path.split('/', 2)
        if len(parts) > 2 or not all(parts):
            raise MalformedLocation(
                'a cinder location has the form '
                'cinder://<store>/<volume> or cinder://<volume>'
            )
        return cls(parts[-1], parts[0] if len(parts) == 2 else None)


@dataclasses.dataclass(frozen=True, slots=True)
class OtherLocation:
    """Data in a store that nothing is cloned from, such as a file store."""

    scheme: str


Location = RbdLocation | OldRbdLocation | CinderLocation | OtherLocation


def parse(url: str) -> Location:
    """Read a location URL.

    :raises MalformedLocation: if it is no URL or not of its scheme's format;
        the message does not repeat the URL, which may hold credentials
    """
    scheme, separator, path = url.partition('://')
    if not separator or not scheme:
        raise MalformedLocation('a location is a URL with a scheme')
    match scheme:
        case 'rbd' if path and '/' not in path:
            return OldRbdLocation(path)
        case 'rbd':
            return RbdLocation.from_path(path)
        case 'cinder':
            return CinderLocation.from_path(path)
        case _:
            return OtherLocation(scheme)


def _librbd_name(name: str) -> str:
    """``name``, as librbd takes it: a C string in UTF-8.

    :raises MalformedRbdLocation: if it cannot be one
    """
    try:
        name.encode()
    except UnicodeEncodeError as exc:
        raise MalformedRbdLocation('it is not Unicode') from exc
    if '\0' in name:
        raise MalformedRbdLocation('one of its parts has a NUL')
    return name
