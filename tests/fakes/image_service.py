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

"""Glance without HTTP, as the copy engine asks it."""

from collections.abc import Callable
from typing import TypeVar

from nova_rbd_multistore import exceptions
from nova_rbd_multistore import image as image_values
from nova_rbd_multistore import task as task_values
from tests.fakes import glance_api

Answer = TypeVar('Answer')


class ImageService:
    """A :class:`copying.ImageService` on the Glance kept in memory.

    :ivar endpoints: the glance-apis, in the order in which they are asked
    :ivar away: whether no glance-api answers
    :ivar polls: seconds at which the record was asked for
    :ivar task_polls: seconds at which the tasks were asked for
    """

    def __init__(
        self,
        api: glance_api.GlanceApi,
        requester: glance_api.Requester | None = None,
    ) -> None:
        self._api = api
        self.requester = requester or glance_api.Requester(service=True)
        self.endpoints = ['glance-a']
        self.away = False
        self.polls: list[float] = []
        self.task_polls: list[float] = []

    def record(
        self, image: str, *, confirm: bool = False
    ) -> image_values.ImageRecord:
        del confirm
        self.polls.append(self._api.clock.now)
        answer = self._ask(
            image, lambda: self._api.show(self.requester, image)
        )
        return image_values.ImageRecord.from_answer(glance_api.wire(answer))

    def tasks(self, image: str) -> tuple[task_values.CopyTask, ...]:
        self.task_polls.append(self._api.clock.now)
        answer = self._ask(
            image, lambda: self._api.show_tasks(self.requester, image)
        )
        return task_values.copy_tasks(glance_api.wire(answer))

    def request_copy(
        self,
        image: str,
        store: str,
        sources: frozenset[str] = frozenset(),
        avoid: frozenset[str] = frozenset(),
    ) -> task_values.CopyReply:
        del sources
        body = {'method': {'name': 'copy-image'}, 'stores': [store]}
        left = [name for name in self.endpoints if name not in avoid]
        if not left:
            raise task_values.NoneLeft
        try:
            request_id = self._ask(
                image,
                lambda: self._api.import_image(
                    self.requester, image, body, left[0]
                ),
            )
        except glance_api.Refusal as refusal:
            return task_values.CopyReply(
                {
                    409: task_values.Verdict.BUSY,
                    400: task_values.Verdict.NOT_NEEDED,
                }[refusal.status],
                reason=refusal.explanation,
            )
        return task_values.CopyReply(
            task_values.Verdict.ACCEPTED, request_id, endpoint=left[0]
        )

    def _ask(self, image: str, question: Callable[[], Answer]) -> Answer:
        if self.away:
            raise exceptions.GlanceUnavailable(asked=2)
        try:
            return question()
        except glance_api.Refusal as refusal:
            if refusal.status == 404:
                raise exceptions.ImageGone(image) from refusal
            raise
