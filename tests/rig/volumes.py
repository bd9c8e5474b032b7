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

"""Volumes in Cinder that Glance keeps images in, as an administrator."""

from collections.abc import Iterator, Sequence
import contextlib
import json
from typing import Any, cast

from openstack import connection
from openstack.block_storage.v3 import _proxy as v3

from lab import layout
from tests.rig import database
from tests.rig import polling


def locations(where: layout.Layout, image_id: str) -> dict[str, str | None]:
    """Where an image lies, and the store of each URL, as Glance's database.

    No question to Glance, which may change them when it is asked.
    """
    with database.connect(where) as glance, glance.cursor() as rows:
        rows.execute(
            'SELECT value, meta_data FROM image_locations '
            'WHERE image_id = %s AND deleted = 0',
            [image_id],
        )
        return {
            url: json.loads(metadata).get('store')
            for url, metadata in rows.fetchall()
        }


class Volumes:
    """All volumes of Cinder."""

    def __init__(self, admin: connection.Connection) -> None:
        self._cinder = cast(v3.Proxy, admin.block_storage)

    def of(self, image_id: str) -> Sequence[Any]:
        """The volumes that Glance has made for an image."""
        return [
            volume
            for volume in self._cinder.volumes(all_projects=True)
            if volume.metadata.get('glance_image_id') == image_id
        ]

    def the(self, image_id: str) -> Any:
        """The one that there is."""
        (volume,) = self.of(image_id)
        return volume

    def type_of(self, volume: Any) -> str:
        """The name of a volume's type."""
        return str(volume.volume_type)

    def delete(self, volume: Any) -> None:
        """Delete a volume as an administrator does who knows no Glance."""
        self._cinder.delete_volume(volume, force=True)
        polling.until(
            lambda: (
                self._cinder.find_volume(volume.id, all_projects=True) is None
            ),
            f'volume {volume.id} is gone',
        )

    def detach(self, volume: Any) -> None:
        """Have a volume attached to nothing."""
        for attachment in volume.attachments:
            self._cinder.delete_attachment(attachment['attachment_id'])

    @contextlib.contextmanager
    def attached(self, volume: Any) -> Iterator[None]:
        """Have a volume attached to something, as a server attaches it."""
        answer = self._cinder.post(
            '/attachments',
            json={'attachment': {'volume_uuid': volume.id, 'mode': 'ro'}},
            microversion='3.54',
        )
        answer.raise_for_status()
        attachment = answer.json()['attachment']['id']
        try:
            yield
        finally:
            self._cinder.delete_attachment(attachment)

    @contextlib.contextmanager
    def renamed_type(self, name: str, other: str) -> Iterator[None]:
        """Have a volume type bear another name."""
        kind = self._cinder.find_type(name, ignore_missing=False)
        self._cinder.update_type(kind, name=other)
        try:
            yield
        finally:
            self._cinder.update_type(kind, name=name)
