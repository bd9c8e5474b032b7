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

"""The images of a run: users upload them, take them away, give them back."""

from collections.abc import Callable
import dataclasses
import hashlib
import logging
import pathlib
import random
import time
from typing import Any
import uuid

from openstack import connection

from lab import layout
from tests.nemesis import events
from tests.nemesis import faults
from tests.rig import database
from tests.rig import image_files
from tests.rig import polling

STORES = ('file', 'east', 'west')
SIZES_MIB = (4, 16, 48)

#: One of so many is big, so that a fault is likely to meet its copy. It comes
#: so many seconds after the last at the earliest: a cluster holds 10 GiB.
BIG = 8
BIG_MIB = 512
BIG_APART = 480.0

#: Whose images are seen how; the first kind is the most frequent.
KINDS = (
    *(('demo', 'private'),) * 3,
    *(('admin', 'public'), ('demo', 'community'), ('demo', 'shared')),
)

#: One of so many is of a format that has to be converted first.
CONVERTED = 12

#: Minutes by which a lock is aged, past any time for which Glance keeps it.
AGED = 125

LOCK = 'os_glance_import_task'

#: Answers of HTTP to what there is nothing left to do for.
_GONE, _IS_MEMBER = 404, 409

LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Image:
    """An image, as its owner made it.

    :ivar owner: whose it is: the name of a project of the lab
    """

    id: str
    owner: str
    visibility: str
    disk_format: str


class Images:
    """All images of a run.

    :param folder: for files
    :param rng: draws what they are like, and which of them has bad luck
    :ivar all: in the order in which they come up
    """

    def __init__(
        self,
        where: layout.Layout,
        folder: pathlib.Path,
        rng: random.Random,
        journal: events.Journal,
    ) -> None:
        self._where = where
        self._folder = folder
        self._rng = rng
        self._journal = journal
        self._users: dict[str, connection.Connection] = {}
        self.log_in()
        self.all: list[Image] = []
        self._deleted: set[str] = set()
        # A run begins with small ones.
        self._last_big = time.time() - BIG_APART / 2

    def log_in(self) -> None:
        """Log in, again where that was long ago."""
        self._users = {
            name: faults.connect(name, self._where)
            for name in ('admin', 'demo', 'other')
        }

    def upload(self) -> None:
        """Make one more."""
        owner, visibility = self._rng.choice(KINDS)
        disk_format = 'raw'
        if not self._rng.randrange(CONVERTED):
            disk_format = 'qcow2'
        user = self._users[owner]
        answer = user.image.post(
            '/images',
            json={
                'name': f'nemesis-{uuid.uuid4()}',
                'disk_format': disk_format,
                'container_format': 'bare',
                'visibility': visibility,
            },
        )
        answer.raise_for_status()
        image = Image(answer.json()['id'], owner, visibility, disk_format)
        path = self._folder / 'image'
        image_files.write(path, disk_format, self._size(disk_format))
        store = self._rng.choice(STORES)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        image_files.upload(user, image.id, path, store)
        if visibility == 'shared':
            self._share(image.id)
        self.all.append(image)
        self._journal.note(
            'image',
            image.id,
            digest=digest,
            store=store,
            owner=owner,
            visibility=visibility,
            disk_format=disk_format,
        )

    def _size(self, disk_format: str) -> int:
        size = self._rng.choice(SIZES_MIB)
        # What is to be converted first is never copied.
        is_big = not self._rng.randrange(BIG) and disk_format == 'raw'
        if is_big and time.time() > self._last_big + BIG_APART:
            self._last_big = time.time()
            return BIG_MIB
        return size

    @property
    def left(self) -> list[Image]:
        """Those that nobody has deleted."""
        return [each for each in self.all if each.id not in self._deleted]

    def record(self, image: str) -> dict[str, Any]:
        """What Glance tells an administrator of one, {} if it is gone."""
        return self._tells(f'/images/{image}')

    def stores(self, image: str) -> set[str]:
        """Those that Glance lists, once it answers."""
        found = self._told(f'/images/{image}')
        return set(str(found.get('stores', '')).split(','))

    def tasks(self, image: str) -> list[dict[str, Any]]:
        """Those of an image, once Glance answers."""
        found: list[dict[str, Any]] = self._told(f'/images/{image}/tasks').get(
            'tasks', []
        )
        return found

    def _tells(self, path: str) -> dict[str, Any]:
        """What Glance tells an administrator, {} if there is no such thing."""
        answer = self._users['admin'].image.get(path, timeout=faults.UNDONE)
        if answer.status_code == _GONE:
            return {}
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def _told(self, path: str) -> dict[str, Any]:
        """The same, of a Glance that may fail for a moment."""

        def look() -> tuple[dict[str, Any], ...]:
            try:
                return (self._tells(path),)
            except faults.BROKEN as exc:
                LOG.warning('No answer yet: %s', exc)
                return ()

        (found,) = polling.until(look, f'Glance answers to {path}', pause=2.0)
        return found

    # What befalls them

    def faults(self, booted: Callable[[], list[Image]]) -> list[faults.Fault]:
        """What users do to images, and time to the locks of some.

        :param booted: the images that boots are about now
        """

        def of_one(
            name: str,
            begin: Callable[[Image], None],
            end: Callable[[Image], None],
            *,
            aftermath: float = 0.0,
            user: str = '',
            fit: Callable[[Image], bool] = lambda _: True,
        ) -> faults.Fault:
            def draw() -> faults.Trouble | None:
                found = [
                    image
                    for image in booted()
                    if image in self.left and fit(image)
                ]
                if not found:
                    return None
                image = self._rng.choice(found)
                return faults.Trouble(
                    lambda: begin(image),
                    lambda: end(image),
                    {'image': image.id, **({'user': user} if user else {})},
                )

            return faults.Fault(name, draw, aftermath)

        return [
            of_one('deleted', self._delete, _leave),
            of_one('deactivated', self._deactivate, self._reactivate),
            of_one(
                'withdrawn',
                lambda image: self._withdraw(image.id),
                lambda image: self._share(image.id),
                user='other',
                fit=lambda image: image.visibility == 'shared',
            ),
            of_one(
                'glance-api lock aged',
                self._age_lock,
                _leave,
                aftermath=faults.LOCK,
                fit=self._is_locked,
            ),
        ]

    def _delete(self, image: Image) -> None:
        answer = self._users[image.owner].image.delete(f'/images/{image.id}')
        # Where a disk is a clone, Glance refuses it, perhaps half-way.
        if answer.ok:
            self._is_gone(image.id)

    def _is_gone(self, image: str) -> None:
        self._deleted.add(image)
        self._journal.note('gone', image)

    def look_for_gone(self) -> None:
        """Note which were deleted though no answer said so."""
        for image in self.left:
            if not self._told(f'/images/{image.id}'):
                self._is_gone(image.id)

    def _deactivate(self, image: Image) -> None:
        self._act(image, 'deactivate')

    def _reactivate(self, image: Image) -> None:
        self._act(image, 'reactivate')

    def _act(self, image: Image, action: str) -> None:
        answer = self._users['admin'].image.post(
            f'/images/{image.id}/actions/{action}', timeout=faults.UNDONE
        )
        # It may be deleted meanwhile.
        if answer.status_code != _GONE:
            answer.raise_for_status()

    def _share(self, image: str) -> None:
        project = self._users['other'].current_project_id
        answer = self._users['demo'].image.post(
            f'/images/{image}/members',
            json={'member': project},
            timeout=faults.UNDONE,
        )
        # It may be shared still, or deleted meanwhile.
        if answer.status_code not in (_GONE, _IS_MEMBER):
            answer.raise_for_status()

    def _withdraw(self, image: str) -> None:
        project = self._users['other'].current_project_id
        answer = self._users['demo'].image.delete(
            f'/images/{image}/members/{project}'
        )
        answer.raise_for_status()

    def _is_locked(self, image: Image) -> bool:
        try:
            return bool(self.record(image.id).get(LOCK))
        except faults.BROKEN:
            return False

    def _age_lock(self, image: Image) -> None:
        self.age_lock(image.id, AGED)

    def age_lock(self, image: str, minutes: int) -> None:
        """Have time pass for the lock of an image, if it has one."""
        task = self.record(image).get(LOCK)
        if task:
            database.age_task(self._where, str(task), minutes)

    def delete_from(self, store: str, image: str) -> None:
        """Have Glance delete one of several copies."""
        answer = self._users['admin'].image.delete(
            f'/stores/{store}/{image}', timeout=faults.UNDONE
        )
        if answer.status_code != _GONE:
            answer.raise_for_status()


def _leave(_image: Image) -> None:
    """What cannot be undone, or need not be."""
