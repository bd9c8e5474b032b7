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


"""What was broken in a run of the nemesis, when, and what that explains."""

from collections.abc import Iterator, Mapping, Sequence
import dataclasses
import functools
import itertools
import math
import re
from typing import Any

from tests.nemesis import events as events_

Event = events_.Event

#: The glance-apis of the lab.
APIS = ('glance-api-1', 'glance-api-2')

#: Seconds for which a fault is felt after it was mended.
AFTERMATH = 60.0

#: Seconds for which it is felt that the machine was slow: a request.
SLOW_FELT = 20.0

# What faults explain an error, as patterns of their names; {site} and {host}
# are those of the boot. The marker of a health check explains nothing.

#: What Keystone cannot tell Glance, whether a service token is good, Glance
#: takes for a no.
KEYSTONE = r'(keystone|mariadb|network)\b'
#: What has one glance-api, {api}, not answer. Answers that come late do.
NO_ANSWER = (
    r'{api} (killed|stopped|frozen|without)|{api}-network '
    r'|{api}-proxy (?!delays)|glance-api: all '
)
WITHOUT = r'{api} without '
#: What has a copy fail or stand still. Nova's clients are not Glance's.
COPYING = (
    KEYSTONE,
    r'glance-api-\d+(-network)? |glance-api: all |glance-api lock aged',
    r'ceph-(mon|osd)-\w+(-network)? (?!blocklists|rotates)',
)
#: What has a boot see a copy late, or ask for it twice.
ASKING = (*COPYING, r'glance-api-\d+-proxy ')
#: What a host has of its own site's cluster.
CLUSTER = (r'ceph-(mon|osd)-{site}\b', r'network ')
REVOKED = r'token-of-\w+ revoked'

CAUSES: dict[str, tuple[str, ...]] = {
    'GlanceUnavailable': (KEYSTONE,),
    'KeystoneUnavailable': (KEYSTONE,),
    'StoreUnavailable': (KEYSTONE,),
    'RequestFailed': (KEYSTONE,),
    'StoreUnknown': (),
    'SourceOutOfReach': (),
    'TokenRefused': (KEYSTONE, REVOKED),
    'LocationsForbidden': (KEYSTONE,),
    'CopyForbidden': (KEYSTONE,),
    'CopyFailed': COPYING,
    'CopyStalled': COPYING,
    'CopyTimedOut': (*ASKING, r'{host} frozen'),
    'CopyQueued': ASKING,
    'CopyRefused': ASKING,
    'ImageHeld': ASKING,
    'NotInCluster': ('deleted', 'glance-api lock aged'),
    'ClusterUnreachable': CLUSTER,
    'ClusterRefused': CLUSTER,
    'PoolUnusable': CLUSTER,
    'DiskUnusable': CLUSTER,
    'ImageGone': ('deleted', 'withdrawn'),
    'NotActive': ('deactivated',),
    'NotCopiedOnDemand': (),
    'NotRaw': (),
}

#: The errors that a fault of each glance-api explains, too, and of which kind:
#: with one of two, all goes on.
OF_EACH = {
    'GlanceUnavailable': NO_ANSWER,
    'StoreUnavailable': NO_ANSWER,
    'RequestFailed': NO_ANSWER,
    'StoreUnknown': WITHOUT,
    'SourceOutOfReach': WITHOUT,
}

#: The errors that what is left of a fault explains, for as long as that is.
OF_LOCKS = {
    *('CopyFailed', 'CopyStalled', 'CopyTimedOut', 'CopyQueued'),
    *('CopyRefused', 'ImageHeld', 'NotInCluster'),
}

#: Those that say what Glance's task is at.
OF_TASKS = {
    *('CopyFailed', 'CopyStalled', 'CopyTimedOut', 'CopyQueued'),
    'ImageHeld',
}

#: What a task is in that has not ended.
UNDER_WAY = ('pending', 'processing')

#: Seconds by which what Glance tells is older than what a boot has seen of it.
LATE = 5.0

#: Those that come of answers that did not come in time.
OF_TIME = {
    *('GlanceUnavailable', 'StoreUnavailable', 'KeystoneUnavailable'),
    *('CopyStalled', 'CopyTimedOut', 'CopyQueued', 'ImageHeld'),
    'ClusterUnreachable',
}

#: Of so many boots it is tried whether a false error would be found.
TRIED = 200


@dataclasses.dataclass(frozen=True)
class Spell:
    """A time in which something was broken.

    :ivar name: of the fault
    :ivar mended: when it was not there any longer
    :ivar felt_by: which boots may feel it, by their details; {} for all
    :ivar aftermath: seconds for which what it leaves is felt
    """

    name: str
    at: float
    mended: float
    felt_by: Mapping[str, str]
    aftermath: float = 0.0

    def is_felt(
        self, boot: Event, since: float = 0.0, *, left: bool = False
    ) -> bool:
        """Whether a boot may have felt it.

        :param since: since when there has been the image
        :param left: whether by what it may have left, of a copy of the image
        """
        felt = AFTERMATH
        # What was killed in the middle of a copy has left its lock.
        if left and since <= self.mended:
            felt = max(self.aftermath, felt)
        return (
            self.felt_by.items() <= boot.details.items()
            and self.at <= ended(boot)
            and boot.at <= self.mended + felt
        )


class Causes:
    """All that was broken in a run.

    :ivar spells: each fault, until it was mended
    """

    def __init__(self, events: Sequence[Event]) -> None:
        self._images = {
            event.about: event for event in events if event.what == 'image'
        }
        self.spells = spells(events)
        self._tasks = _tasks(events)
        self._slow = list(_slow(events, self.spells))

    def explain(self, boot: Event, error: str) -> bool:
        """Whether a boot may have ended so."""
        if error in own_errors(boot, self._images):
            return True
        if error in OF_TASKS and not self._is_of_a_task(boot, error):
            return False
        image = self._images.get(boot.details['image'])
        since = image.at if image else -math.inf
        names = {
            spell.name
            for spell in self.spells
            if spell.is_felt(
                boot,
                since,
                left=error in OF_LOCKS or _matches(REVOKED, spell.name),
            )
        }
        slow = self._slow_names(boot)
        if KEYSTONE in CAUSES.get(error, ()) and 'keystone' in slow:
            return True
        if error not in OF_TIME:
            slow = set()
        if 'sleep' in slow or (slow and error not in OF_EACH):
            return True
        site, host = boot.details['site'], boot.details['host']
        wanted = [
            pattern.replace('{site}', site).replace('{host}', host)
            for pattern in CAUSES.get(error, ())
        ]
        if _any(wanted, names):
            return True
        return error in OF_EACH and all(
            api in slow or _any([OF_EACH[error].replace('{api}', api)], names)
            for api in APIS
        )

    def _is_of_a_task(self, boot: Event, error: str) -> bool:
        """Whether a task of Glance's was as an error says; or none is known.

        :param error: that a copy has failed, or has not ended
        """
        tasks = self._tasks.get(boot.details['image'])
        if tasks is None:
            return True
        for task in tasks:
            status, updated = task['status'], task['updated']
            if error != 'CopyFailed':
                if task['created'] <= ended(boot) and (
                    status in UNDER_WAY or updated >= ended(boot) - AFTERMATH
                ):
                    return True
            elif (
                status == 'failure'
                and boot.details['site'] in task['stores']
                and boot.at - LATE <= updated <= ended(boot) + LATE
            ):
                return True
        return False

    def _slow_names(self, boot: Event) -> set[str]:
        """What was late by itself, 'sleep' for the machine."""
        return {
            spell.name
            for spell in self._slow
            if spell.at <= ended(boot) and boot.at <= spell.mended + SLOW_FELT
        }

    def idle(self, boot: Event, until: float) -> float:
        """Seconds, until a moment, in which a boot could not go on."""
        host = f'{boot.details["host"]} frozen'
        frozen = [each for each in self.spells if each.name == host]
        return _length([*frozen, *self._slow], boot.at, until)

    def slow(self) -> float:
        """Seconds in which the machine was slow by itself."""
        return _length(self._slow, 0.0, math.inf)

    def had(
        self, patterns: Sequence[str], start: float, end: float, image: str
    ) -> bool:
        """Whether there was such a fault between two moments.

        :param image: of no other one
        """
        return any(
            _any(patterns, {spell.name})
            and spell.felt_by.get('image', image) == image
            and spell.at <= end
            and start <= spell.mended + AFTERMATH
            for spell in self.spells
        )


def _length(found: Sequence[Spell], start: float, end: float) -> float:
    """Seconds between two moments that are in any of some spells."""
    length = 0.0
    for spell in sorted(found, key=lambda spell: spell.at):
        start = max(start, spell.at)
        until = min(spell.mended, end)
        if until > start:
            length, start = length + until - start, until
    return length


def spells(events: Sequence[Event]) -> list[Spell]:
    """Each fault, and when it was mended: it was not there any longer."""
    return _between(events, 'fault', 'mended')


def certain(events: Sequence[Event]) -> list[Spell]:
    """Each fault that was there, and when its end began: until then it was."""
    return _between(events, 'begun', 'ending')


def _between(events: Sequence[Event], beginning: str, end: str) -> list[Spell]:
    ends = [event for event in events if event.what == end]
    found = []
    for event in events:
        if event.what != beginning:
            continue
        felt_by = event.details.get('felt_by', {})
        mended = min(
            (
                each.at
                for each in ends
                if each.about == event.about
                and each.details.get('felt_by', {}) == felt_by
                and each.at >= event.at
            ),
            default=math.inf,
        )
        found.append(
            Spell(
                *(event.about, event.at, mended, felt_by),
                event.details.get('aftermath', 0.0),
            )
        )
    return found


def _tasks(events: Sequence[Event]) -> dict[str, list[Mapping[str, Any]]]:
    """What Glance has told of the tasks of images, where that is all.

    It tells none of an image that is gone, and what was aged is told wrong.
    """
    known: dict[str, list[Mapping[str, Any]]] = {}
    unknown: set[str | None] = set()
    for event in events:
        match event.what:
            case 'image':
                known.setdefault(event.about, [])
            case 'task':
                known.setdefault(event.about, []).append(event.details)
            case 'gone' | 'cure':
                unknown.add(event.about)
            case 'fault' if event.about == 'glance-api lock aged':
                unknown.add(event.details['felt_by'].get('image'))
    if not any(event.what == 'end' for event in events):
        # It was broken off before Glance was asked.
        return {}
    return {
        image: tasks
        for image, tasks in known.items()
        if image not in unknown and all('updated' in task for task in tasks)
    }


def _slow(events: Sequence[Event], broken: Sequence[Spell]) -> Iterator[Spell]:
    """When the machine was slow, though what answered late was well."""
    for event in events:
        if event.what != 'slow':
            continue
        end = event.at + event.details['seconds']
        pattern = rf'{event.about}(-network)? |glance-api: all |network '
        if event.about == 'keystone':
            pattern = KEYSTONE
        if event.about == 'sleep' or not any(
            _matches(pattern, spell.name)
            and spell.at <= end
            and event.at <= spell.mended + AFTERMATH
            for spell in broken
        ):
            yield Spell(event.about, event.at, end, {})


def ended(boot: Event) -> float:
    return boot.at + float(boot.details.get('seconds') or 0.0)


def own_errors(boot: Event, images: Mapping[str, Event]) -> set[str]:
    """The errors that a boot may end with though nothing is broken."""
    image = images.get(boot.details['image'])
    if image is None:
        return set()
    errors = set()
    if image.details['disk_format'] != 'raw':
        errors.add('NotRaw')
    if boot.details['user'] != image.details['owner']:
        match image.details['visibility']:
            case 'private':
                errors.add('ImageGone')
            case 'community' | 'shared':
                errors.add('NotCopiedOnDemand')
    return errors


def power(events: Sequence[Event]) -> dict[str, float]:
    """Of false errors, by their class, the share that would be found.

    What is tried is that of boots, which have ended, each had ended so.
    """
    causes = Causes(events)
    boots = [
        event
        for event in events
        if event.what == 'boot' and event.details['seconds'] is not None
    ]
    tried = list(itertools.islice(boots, 0, None, len(boots) // TRIED + 1))
    return {
        error: sum(not causes.explain(boot, error) for boot in tried)
        / len(tried)
        for error in CAUSES
        if tried
    }


def _any(patterns: Sequence[str], names: set[str]) -> bool:
    return any(
        _matches(pattern, name) for pattern in patterns for name in names
    )


@functools.cache
def _matches(pattern: str, name: str) -> bool:
    return re.match(pattern, name) is not None
