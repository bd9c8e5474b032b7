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


"""What the benchmarks stand on: the lab, and what they make there.

All of it is taken away again at the end, whatever happens.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
import contextlib
import pathlib
import tempfile
import threading
import time
from typing import Any, Self
import uuid

from keystoneauth1 import exceptions as ksa_exc
import tenacity

from benchmarks import contenders
from lab import cloud
from lab import layout
from tests.rig import apis
from tests.rig import clusters
from tests.rig import database
from tests.rig import hosts
from tests.rig import image_files

#: Seconds between two looks into Glance's database.
LOOK = 0.01

#: Processes of a glance-api, with one thread each: as in Glance's own
#: httpd/glance-api-uwsgi.ini.
WORKERS = 4

#: The lab logs everything, so that a leak would show; a cloud at work doesn't.
LOGGING = {'debug': 'false'}


class Ground:
    """Site west of the lab, and two glance-apis of our own over its database.

    A context: what was made goes with it.

    :ivar open: a Glance that shows locations to all, as Nova's own driver
        needs it
    :ivar secure: a Glance with its defaults
    """

    open: apis.GlanceApi
    secure: apis.GlanceApi

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self.where = layout.Layout.from_environment()
            self._directory = pathlib.Path(
                stack.enter_context(tempfile.TemporaryDirectory('-bench'))
            )
            self._clusters = [
                stack.enter_context(clusters.Cluster(site))
                for site in self.where.sites
            ]
            self.west = self._clusters[1]
            self._demo = cloud.connect('demo', self.where)
            self._admin = cloud.connect('admin', self.where)
            self._images: list[str] = []
            stack.callback(self.remove_images)
            self.open = self._glance(stack, show_multiple_locations='true')
            self.secure = self._glance(stack)
            for api in (self.open, self.secure):
                self._warm_up(api)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self._stack.close()

    @property
    def user(self) -> hosts.User:
        """In whose name servers are booted."""
        return hosts.user_of(self._demo)

    def _glance(
        self, stack: contextlib.ExitStack, **options: str
    ) -> apis.GlanceApi:
        api = apis.GlanceApi(
            self.where.glance_apis[0].directory,
            self._directory / f'glance-{uuid.uuid4()}',
            {'DEFAULT': {**LOGGING, **options}},
            workers=WORKERS,
            threads=1,
        )
        stack.callback(api.kill)
        api.start()
        return api

    def _warm_up(self, api: apis.GlanceApi) -> None:
        """Have all workers of a Glance copy: the first time takes longer."""
        images = [self.upload('file', 1) for _ in range(4 * WORKERS)]
        with futures.ThreadPoolExecutor(len(images)) as at_once:
            list(
                at_once.map(
                    lambda image: self._request_copy(api, image), images
                )
            )
        for image in images:
            with Watch(self.where, image, 'west') as watch:
                watch.ended()

    # Of imports at once, MariaDB ends some for a deadlock.
    @tenacity.retry(
        retry=tenacity.retry_if_exception_type(ksa_exc.InternalServerError),
        stop=tenacity.stop_after_attempt(5),
        reraise=True,
    )
    def _request_copy(
        self, api: apis.GlanceApi, image: str, store: str = 'west'
    ) -> None:
        api.request_copy(self._admin, image, store)

    @contextlib.contextmanager
    def glances(
        self, count: int, **options: str
    ) -> Iterator[list[apis.GlanceApi]]:
        """Further glance-apis, with these options."""
        with contextlib.ExitStack() as stack:
            yield [self._glance(stack, **options) for _ in range(count)]

    @contextlib.contextmanager
    def just_started(
        self, kind: str, glance: Mapping[str, str], **options: Any
    ) -> Iterator[list[contenders.Contender]]:
        """A contender on each site, each with a Glance that nobody has asked.

        All of them have just been started, and have done nothing yet.

        :param kind: of the contenders
        :param glance: options of each Glance
        :param options: of nova.conf, as ``section__name``, that differ
        """
        with contextlib.ExitStack() as stack:
            glances = [self._glance(stack, **glance) for _ in self.where.sites]
            hosts_of_sites = zip(('east-1', 'west-1'), glances, strict=True)
            with self._started(
                [(kind, like, glance) for like, glance in hosts_of_sites],
                **options,
            ) as made:
                yield made

    @contextlib.contextmanager
    def _started(
        self,
        wanted: Sequence[tuple[str, str, apis.GlanceApi]],
        **options: Any,
    ) -> Iterator[list[contenders.Contender]]:
        """Contenders by kind, by the lab's compute they are like, and Glance.

        :param options: of nova.conf, as ``section__name``, that differ
        """
        made: list[contenders.Contender] = []
        changed = {f'DEFAULT.{name}': value for name, value in LOGGING.items()}
        changed |= {
            name.replace('__', '.'): value for name, value in options.items()
        }
        by_name = {compute.name: compute for compute in self.where.computes}
        try:
            for kind, like, glance in wanted:
                contender = contenders.Contender(
                    kind,
                    by_name[like],
                    self._directory / f'contender-{uuid.uuid4()}',
                    {'glance.endpoint_override': glance.url, **changed},
                )
                made.append(contender)
            for contender in made:
                contender.wait_until_started()
            yield made
        finally:
            for contender in made:
                contender.stop()
            for contender in made:
                self.remove_disks(contender.disks)

    @contextlib.contextmanager
    def contenders(
        self,
        *wanted: tuple[str, apis.GlanceApi],
        **options: Any,
    ) -> Iterator[list[contenders.Contender]]:
        """Contenders on site west, each of a kind and with a Glance.

        Each has booted once, so that what is opened and remembered once is.

        :param options: of nova.conf, as ``section__name``, that differ
        """
        on_west = [(kind, 'west-1', glance) for kind, glance in wanted]
        with self._started(on_west, **options) as made:
            image = self.upload('west')
            user = self.user
            for boot in [contender.start(user, image) for contender in made]:
                contenders.boot_of(boot)
            yield made

    def upload(self, store: str, size_mib: int = 8) -> str:
        """Make an image of random bytes in one store; its id."""
        path = self._directory / 'image'
        image_files.write(path, 'raw', size_mib)
        return self.send(path, store)

    def send(self, path: pathlib.Path, store: str) -> str:
        """Make an image of a raw file in one store; its id."""
        answer = self._demo.image.post(
            '/images',
            json={
                'name': f'bench-{uuid.uuid4()}',
                'disk_format': 'raw',
                'container_format': 'bare',
            },
        )
        answer.raise_for_status()
        image = str(answer.json()['id'])
        self._images.append(image)
        image_files.upload(self._demo, image, path, store)
        return image

    def copy(
        self,
        image: str,
        glance: apis.GlanceApi | None = None,
        store: str = 'west',
    ) -> float:
        """Have nobody but Glance copy an image; the seconds taken.

        :param glance: that does it, if not the secure one
        :param store: to copy it to
        """
        with Watch(self.where, image, store) as watch:
            began = time.time()
            self._request_copy(glance or self.secure, image, store)
            return watch.ended() - began

    def drop_copy(self, image: str, store: str = 'west') -> None:
        """Have Glance remove an image's copy, which must be there."""
        self._admin.image.delete(f'/stores/{store}/{image}').raise_for_status()

    @contextlib.contextmanager
    def held_copy(self, image: str) -> Iterator[None]:
        """Have somebody's copy of an image to west stop half-way."""
        with contextlib.ExitStack() as stack:
            api = self._glance(stack)
            api.request_copy(self._admin, image, 'west')
            api.freeze()
            try:
                yield
            finally:
                api.thaw()
            with Watch(self.where, image, 'west') as watch:
                watch.ended()

    def add_locations(self, image: str, count: int) -> None:
        """Give an image locations in clusters that nobody knows.

        They come before its own, and only in Glance's database.
        """
        with database.connect(self.where) as glance, glance.cursor() as rows:
            rows.execute(
                'SELECT value, meta_data FROM image_locations '
                'WHERE image_id = %s AND deleted = 0',
                image,
            )
            (own,) = rows.fetchall()
            self._drop_locations(image)
            foreign = [
                (
                    f'rbd://{uuid.uuid4()}/images/{image}/snap',
                    f'{{"store": "elsewhere-{number}"}}',
                )
                for number in range(count)
            ]
            rows.executemany(
                'INSERT INTO image_locations (image_id, value, meta_data, '
                'created_at, updated_at, deleted, status) '
                "VALUES (%s, %s, %s, NOW(), NOW(), 0, 'active')",
                [(image, *values) for values in (*foreign, own)],
            )

    def _drop_locations(self, image: str) -> None:
        with database.connect(self.where) as glance, glance.cursor() as rows:
            rows.execute(
                'DELETE FROM image_locations WHERE image_id = %s', image
            )

    def forget_locations(self, image: str) -> None:
        """Undo :meth:`add_locations`, so that Glance can delete the image."""
        with database.connect(self.where) as glance, glance.cursor() as rows:
            rows.execute(
                'DELETE FROM image_locations WHERE image_id = %s '
                "AND meta_data LIKE '%%elsewhere-%%'",
                image,
            )

    def clones(self, image: str) -> set[str]:
        """The disks that are clones of an image."""
        return {
            disk
            for cluster in self._clusters
            for disk in cluster.clones(image)
        }

    def remove_disks(self, disks: list[str]) -> None:
        """Remove disks in Nova's pools, those that are there."""
        for disk in disks:
            for cluster in self._clusters:
                cluster.remove('vms', disk)
        disks.clear()

    def remove_images(self) -> None:
        """Remove all that were uploaded, with the disks cloned from them."""
        while self._images:
            image = self._images[-1]
            self.forget_locations(image)
            self.remove_disks(list(self.clones(image)))
            with contextlib.suppress(ksa_exc.NotFound):
                self._admin.image.delete_image(image)
            for cluster in self._clusters:
                cluster.remove('images', image)
            self._images.pop()


class Watch:
    """Looks into Glance's database for the end of a copy.

    A context, which looks in a thread of its own.

    :param pause: seconds between two looks
    """

    def __init__(
        self,
        where: layout.Layout,
        image: str,
        store: str,
        pause: float = LOOK,
    ) -> None:
        self._where = where
        self._image = image
        self._store = store
        self._pause = pause
        self._stop = threading.Event()
        self._ended: float | None = None
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self._stop.set()
        self._thread.join()

    def ended(self, seconds: float = contenders.DEADLINE) -> float:
        """When it was done, or had failed, in seconds since the epoch."""
        self._thread.join(seconds)
        assert self._ended is not None, 'the copy did not end'
        return self._ended

    def _look(self) -> None:
        with (
            database.connect(self._where) as glance,
            glance.cursor() as rows,
        ):
            while not self._stop.wait(self._pause):
                if self._over(rows.execute, rows.fetchall):
                    self._ended = time.time()
                    return

    def _over(
        self,
        execute: Callable[[str, Any], Any],
        fetch: Callable[[], Any],
    ) -> bool:
        execute(
            'SELECT name, value FROM image_properties '
            'WHERE image_id = %s AND deleted = 0',
            self._image,
        )
        properties = dict(fetch())
        if self._store in properties.get('os_glance_failed_import', ''):
            return True
        if self._store in properties.get('os_glance_importing_to_stores', ''):
            return False
        execute(
            'SELECT meta_data FROM image_locations '
            'WHERE image_id = %s AND deleted = 0',
            self._image,
        )
        return any(self._store in metadata for (metadata,) in fetch())
