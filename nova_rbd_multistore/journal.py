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

"""What the log says of one boot's copy, much of it once only."""

from collections.abc import Callable, Mapping

from oslo_log import log as logging

from nova_rbd_multistore import holder as holders
from nova_rbd_multistore import lead
from nova_rbd_multistore import location
from nova_rbd_multistore import progress
from nova_rbd_multistore import request
from nova_rbd_multistore import task as task_values
from nova_rbd_multistore import text

LOG = logging.getLogger(__name__)

#: Seconds between two log entries about the progress of one copy.
LOG_INTERVAL = 10.0


class Journal:
    """What is told of one image on its way into one store.

    :param about_server: goes with each entry
    :param clock: monotonic, in seconds
    """

    def __init__(
        self,
        image: str,
        store: str,
        about_server: Mapping[str, str],
        clock: Callable[[], float],
    ) -> None:
        self._log = logging.KeywordArgumentAdapter(LOG.logger, about_server)
        self._image = image
        self._store = store
        self._clock = clock
        self._held: tuple[str, task_values.TaskStatus] | None = None
        self._role = lead.Role.ALONE
        self._progress_at = clock()

    def begins(self) -> None:
        """The copy is watched from now on."""
        self._progress_at = self._clock()

    def accepted(self, ours: request.Request) -> None:
        """Glance has accepted our request."""
        self._log.info(
            'Glance copies image %s to store %s (its request %s, glance-api '
            '%s)',
            self._image,
            self._store,
            ours.id,
            ours.endpoint,
        )

    def waits(self, reason: str) -> None:
        """Somebody else goes first."""
        self._log.info(
            'Waiting for image %s until store %s has it or Glance lets us ask '
            '(%s)',
            self._image,
            self._store,
            reason,
        )

    def has_part(self, role: lead.Role) -> None:
        """This host has a part among those of its site."""
        before, self._role = self._role, role
        if role is lead.Role.LEADER and before is not role:
            self._log.info(
                'Polling Glance for all hosts of this site until store %s can '
                'have image %s',
                self._store,
                self._image,
            )

    def held(self, holder: holders.Holder) -> None:
        """What the image waits for shows no progress of ours."""
        task = holder.task
        if task is None or (task.id, task.status) == self._held:
            return
        self._held = task.id, task.status
        self._log.info(
            'Image %s is held by %s: waiting for it (Glance task %s)',
            self._image,
            text.printable(holder),
            task.id,
        )

    def expired(self, holder: holders.Holder) -> None:
        """What the image waits for may be dead."""
        self._log.info(
            'By now Glance may let another task have image %s, which %s has '
            'held for too long without a sign of life (Glance task %s): '
            'requesting the copy to store %s',
            self._image,
            text.printable(holder),
            holder.lock,
            self._store,
        )

    def progress(self, so_far: progress.Progress) -> None:
        """So much of the copy is there."""
        now = self._clock()
        if now - self._progress_at < LOG_INTERVAL:
            return
        self._progress_at = now
        self._log.info(
            'Copy of image %s to store %s: %s',
            self._image,
            self._store,
            # As of now, whoever reads it.
            str(so_far),
        )

    def hidden(self, reason: Exception, interval: float) -> None:
        """The image cannot be seen to arrive."""
        self._log.warning(
            'Cannot watch images arrive (%s): learning of the end of a '
            'copy from Glance alone, every %.0f s. Check [rbd_multistore] '
            'glance_rbd_pool and the cephx cap "profile rbd-read-only" '
            'on that pool',
            reason,
            interval,
        )

    def unseen(self, reason: Exception) -> None:
        """A look into the cluster has failed."""
        self._log.debug('Cannot look for image %s: %s', self._image, reason)

    def failed(
        self,
        ours: request.Request,
        task: task_values.CopyTask | None,
        reason: str,
    ) -> None:
        """Our copy has failed."""
        self._log.error(
            'Glance failed to copy image %s to store %s: %s (task %s, '
            'request %s, glance-api %s)',
            self._image,
            self._store,
            reason,
            task.id if task else 'unknown',
            ours.id,
            ours.endpoint,
        )

    def lost(
        self, ours: request.Request, task: task_values.CopyTask | None
    ) -> None:
        """Our request was accepted, and lost."""
        if ours.losses:
            return
        self._log.warning(
            'Glance accepted the copy of image %s to store %s (request '
            '%s), and did not make it: %s. Requesting the copy again when '
            'the image is free',
            self._image,
            self._store,
            ours.id,
            _loss(ours, task),
        )

    def gone(self, ours: request.Request, place: location.RbdLocation) -> None:
        """The image is gone, and a copy of it on its way."""
        rbd_image = text.printable(f'{place.pool}/{place.image}', 200)
        self._log.warning(
            'Image %s is gone for its user, after Glance had accepted a copy '
            'of it to store %s (request %s, glance-api %s). If it was '
            'deleted, the copy may stay in cluster %s as RBD image %s, in no '
            "record of Glance's and in no quota. When Glance has no such "
            'image, and "rbd status" and "rbd children" show no use of it, '
            'remove it: "rbd snap unprotect %s@%s", "rbd snap purge %s", "rbd '
            'rm %s"',
            self._image,
            self._store,
            ours.id,
            ours.endpoint,
            place.fsid,
            rbd_image,
            rbd_image,
            place.snapshot,
            rbd_image,
            rbd_image,
        )

    def arrived(self, waited: float) -> None:
        """The store has the image."""
        self._log.info(
            'Image %s is in store %s, %.1f s after it was asked for',
            self._image,
            self._store,
            waited,
        )


def _loss(ours: request.Request, task: task_values.CopyTask | None) -> str:
    if task is None:
        return 'its task is gone'
    loss = f'its task {task.id} is {task.status.value}'
    if task.message:
        loss += f', "{task.message}"'
    others = ', '.join(sorted(ours.others(task)))
    if others:
        loss += f'; task {others} was seen to hold the image'
    return loss
