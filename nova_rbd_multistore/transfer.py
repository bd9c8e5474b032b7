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

"""One image on its way into further stores, with nobody waiting for it."""

from collections.abc import Callable, Sequence
import contextlib
import dataclasses

from oslo_log import log as logging

from nova_rbd_multistore import arrival
from nova_rbd_multistore import conf
from nova_rbd_multistore import copying
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import image as image_values
from nova_rbd_multistore import pace
from nova_rbd_multistore import source
from nova_rbd_multistore import wait

LOG = logging.getLogger(__name__)

#: What a glance-api may say of an image that is there: from a replica of the
#: database that lags behind, or while it has no answer of Keystone's.
_DOUBTED = (exceptions.ImageGone, exceptions.TokenRefused)


class Transfer:
    """The copies of one image into some stores, one after another.

    Glance makes one copy of an image at a time. Nothing of these can be seen
    in the local cluster, so Glance is polled for each, as seldom as for a copy
    that a boot waits for.

    :param image: its id
    :param stores: names of the stores
    :param images: Glance, as the user whose image it is
    :param limits: those of boots; the whole time does not count here
    :param server: uuid of the server whose snapshot it is, for the log
    """

    def __init__(
        self,
        image: str,
        stores: Sequence[str],
        images: copying.ImageService,
        limits: pace.Limits,
        time: pace.Time,
        server: str | None = None,
    ) -> None:
        self._image = image
        self._stores = stores
        self._images = images
        self._limits = dataclasses.replace(
            limits, timeout=conf.DAY, probe_interval=limits.poll_interval
        )
        self._time = time
        self._server = server
        about_server = {'instance_uuid': server} if server else {}
        self._log = logging.KeywordArgumentAdapter(LOG.logger, about_server)

    def run(self) -> None:
        """Have all copies made; log those that fail."""
        for store in self._stores:
            failure = self._failure(store)
            if failure is None:
                continue
            if isinstance(failure, exceptions.ImageGone):
                self._log.info(
                    'Image %s is gone: not copying it to store %s',
                    self._image,
                    store,
                )
                return
            self._log.error(
                'Cannot copy snapshot %s to store %s: %s',
                self._image,
                store,
                failure,
            )

    def _failure(self, store: str) -> Exception | None:
        """Bring the image into a store; return what was in the way."""
        try:
            self._bring(store)
        except (exceptions.ImageError, exceptions.HostError) as exc:
            failure: Exception = exc.with_traceback(None)
            return failure
        return None

    def _bring(self, store: str) -> None:
        record = self._record()
        if record.holds(store):
            return
        with wait.Wait(
            self._image,
            lambda: arrival.ABSENT,
            None,
            self._limits,
            self._time,
            server=self._server,
        ) as waiting:
            copying.Copy(record, store, None, self._images, waiting).run()

    def _record(self) -> image_values.ImageRecord:
        """The image's record, when it has its data.

        :raises NotActive: if it does not get its data
        :raises GlanceUnavailable: if Glance does not answer in all that time
        """
        record = wait_until_active(
            self._image, self._images, self._limits.stall_timeout, self._time
        )
        source.require_active(record)
        return record


def wait_until_active(
    image: str,
    images: copying.ImageService,
    seconds: float,
    time: pace.Time,
) -> image_values.ImageRecord:
    """The record of an image when it has its data.

    Glance adds the location of a direct snapshot a moment after Nova has asked
    for that. After so many seconds, the record is as it is.

    :raises ImageError: if the image is no longer there for this user
    :raises GlanceUnavailable: if Glance does not answer in all that time
    """
    began = time.clock()
    while True:
        wanted = 0.0
        try:
            record = _record(image, images, time)
        except exceptions.GlanceUnavailable as exc:
            if time.clock() - began >= seconds:
                raise
            wanted = exc.wait
        else:
            if record.active or time.clock() - began >= seconds:
                return record
        waited = time.clock() - began
        pause = max(pace.FIRST_RECHECK, pace.EAGERNESS * waited)
        time.sleep(max(min(pause, seconds - waited), wanted, 0.0))


def _record(
    image: str, images: copying.ImageService, time: pace.Time
) -> image_values.ImageRecord:
    """The image's record; a refusal is believed when it stays.

    From one, Nova concludes that a snapshot has failed, and deletes it; or it
    deletes an image in the middle of a copy.

    :raises ImageGone: see :func:`wait_until_active`
    :raises TokenRefused: see :func:`wait_until_active`
    :raises GlanceUnavailable: if no endpoint answers
    """
    left, pause = pace.SETTLES_IN, pace.FIRST_RECHECK
    # Without the time of the answers: one glance-api may have refused only
    # after another had hung for a minute.
    while left > 0:
        with contextlib.suppress(*_DOUBTED):
            return images.record(image)
        pause = min(pause, left)
        time.sleep(pause)
        left -= pause
        pause *= 2
    return images.record(image, confirm=True)


def wait_until_free(
    image: str,
    images: copying.ImageService,
    limits: pace.Limits,
    time: pace.Time,
    check: Callable[[], None],
) -> None:
    """Return when an image is not being copied, so that it can be deleted.

    Or when a boot would give up: then Glance will leave the data of the copy
    in its store, without a record.

    :param check: raises if there is no need to wait any longer
    :raises ImageError: if the image is no longer there for this user
    :raises HostError: if Glance does not answer
    """
    began = time.clock()
    while True:
        record = _record(image, images, time)
        if not (record.lock and record.importing):
            return
        stores = ', '.join(sorted(record.importing))
        waited = time.clock() - began
        if waited >= limits.timeout:
            LOG.warning(
                'Image %s is about to be deleted while it is copied to %s: '
                'Glance may leave its data there',
                image,
                stores,
            )
            return
        if not waited:
            LOG.info(
                'Waiting until image %s is copied to %s, before it is deleted',
                image,
                stores,
            )
        check()
        time.sleep(max(pace.EAGER_PAUSE, pace.EAGERNESS * waited))
