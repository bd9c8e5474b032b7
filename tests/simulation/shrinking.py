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


"""A story without what does not matter: short enough for a person to read."""

from collections.abc import Callable, Iterator
import dataclasses
from typing import TypeVar

from tests.simulation import stories

Part = TypeVar('Part')

#: Decimals to which times are rounded, the fewest first.
_DECIMALS = (0, 1)


def shrink(
    story: stories.Story, is_bad: Callable[[stories.Story], bool]
) -> stories.Story:
    """The smallest story like this one that is still bad.

    One part after another is left out, or made plainer, for as long as the
    rest is bad.
    """
    plainer = True
    while plainer:
        plainer = False
        for candidate in _plainer(story):
            if is_bad(candidate):
                story, plainer = candidate, True
                break
    return story


def _plainer(story: stories.Story) -> Iterator[stories.Story]:
    for index in range(len(story.boots)):
        yield dataclasses.replace(story, boots=_without(story.boots, index))
    for index in range(len(story.faults)):
        yield dataclasses.replace(story, faults=_without(story.faults, index))
    yield from _with_less_of_the_cloud(story)
    for index, boot in enumerate(story.boots):
        plain = [dataclasses.replace(boot, deleted_at=None)]
        plain += [
            dataclasses.replace(boot, at=round(boot.at, decimals))
            for decimals in _DECIMALS
        ]
        for one in plain:
            if one != boot:
                yield dataclasses.replace(
                    story, boots=_with(story.boots, index, one)
                )
    for index, fault in enumerate(story.faults):
        for decimals in _DECIMALS:
            other = dataclasses.replace(
                fault,
                at=round(fault.at, decimals),
                seconds=max(round(fault.seconds, decimals), 1.0),
            )
            if other != fault:
                yield dataclasses.replace(
                    story, faults=_with(story.faults, index, other)
                )


def _with_less_of_the_cloud(story: stories.Story) -> Iterator[stories.Story]:
    """Without what no boot and no fault is about."""
    used = {fault.target for fault in story.faults}
    used |= {fault.detail for fault in story.faults}
    used |= {boot.host for boot in story.boots}
    used |= {boot.image for boot in story.boots}
    for index, host in enumerate(story.hosts):
        if host.name not in used:
            yield dataclasses.replace(
                story, hosts=_without(story.hosts, index)
            )
    for index, image in enumerate(story.images):
        if image.name not in used and len(story.images) > 1:
            yield dataclasses.replace(
                story, images=_without(story.images, index)
            )
    if len(story.apis) > 1 and story.apis[-1] not in used:
        yield dataclasses.replace(story, apis=story.apis[:-1])


def _without(parts: tuple[Part, ...], index: int) -> tuple[Part, ...]:
    return parts[:index] + parts[index + 1 :]


def _with(parts: tuple[Part, ...], index: int, part: Part) -> tuple[Part, ...]:
    return (*parts[:index], part, *parts[index + 1 :])
