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

"""What a file of wishes means for the images that there are."""

from collections.abc import Iterable, Sequence
import dataclasses

from nova_rbd_multistore_client import image as images
from nova_rbd_multistore_client import wanted


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """One image is to come into, or go from, some stores.

    :ivar belongs_in: names of all stores that are to have it
    :ivar into: names of stores that lack it
    :ivar out_of: names of stores that are to have it no more
    """

    image: images.Image
    belongs_in: tuple[str, ...]
    into: tuple[str, ...] = ()
    out_of: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done.

    :ivar as_wanted: how many images that rules apply to lie as they should
    :ivar idle: rules that apply to no image
    """

    changes: tuple[Change, ...]
    as_wanted: int
    idle: tuple[wanted.Rule, ...]


def make(
    listed: Iterable[images.Image],
    rules: Sequence[wanted.Rule],
    stores: Sequence[str],
) -> Plan:
    """Compare wishes with what is.

    A store that any rule wants an image in keeps it, whatever others say. What
    is not active is left alone: its data is not there yet, or is to stay.

    :param stores: those that can be written to, in Glance's order
    """
    changes, as_wanted = [], 0
    idle = dict.fromkeys(range(len(rules)))
    for image in listed:
        applying = [
            number
            for number, rule in enumerate(rules)
            if rule.applies_to(image)
        ]
        for number in applying:
            idle.pop(number, None)
        if not applying or not image.record.active:
            continue
        change = change_of(image, [rules[n] for n in applying], stores)
        if change.into or change.out_of:
            changes.append(change)
        else:
            as_wanted += 1
    return Plan(tuple(changes), as_wanted, tuple(rules[n] for n in idle))


def change_of(
    image: images.Image, rules: Sequence[wanted.Rule], stores: Sequence[str]
) -> Change:
    """What is to be done for one image, that is active.

    :param rules: all that apply to it
    :param stores: those that can be written to, in Glance's order
    """
    named = {
        store
        for rule in rules
        for store in (stores if rule.stores is None else rule.stores)
    }
    held = image.record.stores
    exclusive = any(rule.exclusive for rule in rules)
    return Change(
        image,
        belongs_in=tuple(sorted(named)),
        into=tuple(
            store
            for store in stores
            if store in named and not image.record.holds(store)
        ),
        out_of=tuple(sorted(held - named)) if exclusive else (),
    )
