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

"""Stories that are each made for a mended fault.

Random runs would need hundreds to come upon some of them, and come upon others
or upon none as soon as the drawing changes.
"""

import dataclasses
from typing import Any

from tests.simulation import stories

Kind = stories.Kind

SMALL = stories.Story(
    seed=1,
    apis=('api-1', 'api-2'),
    sites=('west', 'east'),
    hosts=(stories.Host('west-1', 'west'), stories.Host('east-1', 'east')),
    images=(stories.Image('image-1', ('file',)),),
    boots=(stories.Boot('vm-1', 0.0, 'west-1', 'image-1', 'other'),),
    faults=(),
    limits=stories.LIMITS[0],
    upload=60.0,
)

_WEST: dict[str, Any] = {'sites': ('west',), 'hosts': SMALL.hosts[:1]}


def _small(
    *happens: stories.Boot | stories.Fault, **others: Any
) -> stories.Story:
    """The small one, with more in it."""
    boots = [one for one in happens if isinstance(one, stories.Boot)]
    faults = [one for one in happens if isinstance(one, stories.Fault)]
    story = dataclasses.replace(SMALL, **others)
    return dataclasses.replace(
        story, boots=(*story.boots, *boots), faults=tuple(faults)
    )


def _second(at: float, host: str = 'west-1') -> stories.Boot:
    return stories.Boot('vm-2', at, host, 'image-1', 'demo')


_TO_BOTH = _small(
    stories.Boot('vm-1', 56.0, 'east-1', 'image-1', 'other'),
    stories.Fault(Kind.IMPORTED, 'image-1', 12.0, 1.0, 'api-1'),
    boots=(),
    seed=848,
    apis=('api-1',),
    limits=stories.LIMITS[2],
    staging=20.0,
    upload=150.0,
    threads=1,
)

#: One whose health is bad is asked after another.
_ASKED_FIRST = (
    stories.Fault(Kind.TOKENLESS, 'api-1', 0.0, 100.0),
    stories.Fault(Kind.SICK, 'api-2', 0.0, 100.0),
)

#: By the fault.
STORIES: dict[str, stories.Story] = {
    'a right that one user lacks ends the boots of others': _small(
        _second(0.05),
        stories.Fault(Kind.OVER_QUOTA, 'other', 0.0, 100.0),
    ),
    "another user's boot is not asked about again": _small(
        _second(1.0),
        stories.Fault(Kind.EXPIRED, 'demo', 5.0, 200.0),
    ),
    'the hashing of a new location is called stalled': _small(
        _second(1.0, 'east-1'),
        stories.Fault(Kind.HELD, 'image-1', 0.0, 400.0),
    ),
    'a glance-api without the store is taken for one that is down': _small(
        stories.Fault(Kind.FEWER_STORES, 'api-1', 0.0, 700.0, 'west'),
        stories.Fault(Kind.CUT, 'api-2', 0.0, 700.0),
    ),
    'where all health checks are bad, no server boots': _small(
        *(stories.Fault(Kind.SICK, api, 0.0, 100.0) for api in SMALL.apis),
    ),
    "a dead lock of another project's image ends the boot": _small(
        stories.Fault(Kind.KILLED, 'api-1', 30.0, 5.0),
        apis=('api-1',),
        # Project other boots last.
        seed=2,
    ),
    'the lock is lost after a 202, and the boot fails with the task': _small(
        stories.Boot('vm-2', 0.0, 'east-1', 'image-1', 'demo'),
        stories.Fault(Kind.COLD, 'api-1', 0.0, 156.0, '3.6'),
        apis=('api-1',),
    ),
    'a copy that is queued is called stalled': _small(
        stories.Boot('vm-1', 17.0, 'west-1', 'image-1', 'demo'),
        stories.Boot('vm-2', 37.0, 'west-1', 'image-2', 'other'),
        boots=(),
        seed=777,
        apis=('api-1',),
        hosts=SMALL.hosts[:1],
        images=(
            stories.Image('image-1', ('east',)),
            stories.Image('image-2', ('file',)),
        ),
        limits=stories.LIMITS[1],
        upload=150.0,
        threads=1,
    ),
    'a copy that goes on as Glance answers is called stalled': _small(
        stories.Boot('vm-1', 0.4, 'west-1', 'image-1', 'other'),
        stories.Boot('vm-2', 1.0, 'west-2', 'image-1', 'other'),
        stories.Fault(Kind.FROZEN, 'api-1', 3.5, 128.1),
        boots=(),
        seed=1974,
        apis=('api-1',),
        sites=('west',),
        hosts=(
            stories.Host('west-1', 'west'),
            stories.Host('west-2', 'west'),
        ),
        limits=stories.LIMITS[1],
        staging=0.2,
        upload=3.0,
    ),
    'a copy whose task has just told of more is called stalled': _small(
        stories.Boot('vm-1', 9.0, 'east-1', 'image-1', 'demo'),
        stories.Boot('vm-2', 10.0, 'east-1', 'image-1', 'demo'),
        stories.Fault(Kind.IMPORTED_ANY, 'image-1', 4.0, 12.0, 'api-2'),
        boots=(),
        seed=4450,
        limits=stories.LIMITS[2],
        staging=20.0,
        upload=150.0,
        threads=1,
    ),
    'a copy of which nothing could be seen is called stalled': _TO_BOTH,
    'an import that is at another store first is called stalled': _TO_BOTH,
    'one failed endpoint of two ends the boot': _small(
        stories.Fault(Kind.UPLOADS_FAIL, 'api-2', 0.0, 32.0),
        seed=669,
        upload=3.0,
    ),
    'locations older than their record are taken for a mismatch': _small(
        _second(0.0, 'west-2'),
        stories.Fault(Kind.BEHIND, 'api-2', 1.0, 119.0, '4.9'),
        seed=329,
        hosts=(stories.Host('west-2', 'west'),),
        boots=(stories.Boot('vm-1', 0.0, 'west-2', 'image-1', 'other'),),
        images=(stories.Image('image-1', ('east',), mib=16),),
        limits=stories.LIMITS[1],
        staging=0.2,
        upload=3.0,
    ),
    "a record older than another user's copy is taken for missing data": (
        _small(
            _second(1.0),
            stories.Fault(Kind.BEHIND, 'api-1', 0.0, 100.0, '2.0'),
            seed=24,
            upload=10.0,
            **_WEST,
        )
    ),
    'locations that are forbidden for a moment end the boot': _small(
        *(stories.Fault(Kind.TOKENLESS, api, 0.0, 3.0) for api in SMALL.apis),
    ),
    'a token that is refused for a moment ends the wait': _small(
        stories.Fault(Kind.EXPIRED, 'other', 41.0, 4.0),
    ),
    'an image deactivated between two answers is taken for a mismatch': _small(
        stories.Fault(Kind.SLOW, 'api-1', 0.0, 10.0),
        stories.Fault(Kind.DEACTIVATED, 'image-1', 1.5, 30.0),
        apis=('api-1',),
        images=(stories.Image('image-1', ('west',)),),
    ),
    'of what holds an image, it is not said when that can be taken over': (
        _small(
            stories.Boot('vm-2', 0.0, 'east-1', 'image-2', 'demo'),
            stories.Boot('vm-3', 1.0, 'east-1', 'image-1', 'demo'),
            stories.Fault(Kind.KILLED, 'api-1', 10.0, 5.0),
            apis=('api-1',),
            images=(
                stories.Image('image-1', ('file',)),
                stories.Image('image-2', ('file',)),
            ),
            boots=(),
            # Project demo boots last.
            seed=3,
            threads=1,
            limits=stories.LIMITS[2],
        )
    ),
    'a glance-api that takes a minute to fail ends requests that fail': _small(
        stories.Fault(Kind.DEADLOCKED, 'api-1', 0.0, 20.0),
        stories.Fault(Kind.DEADLOCKED, 'api-2', 0.0, 5.0),
        stories.Fault(Kind.FROZEN, 'api-2', 0.7, 200.0),
        seed=0,
        **_WEST,
    ),
    'a request that fails after the time of a stall is not repeated': _small(
        stories.Boot('vm-1', 53.0, 'east-1', 'image-1', 'demo'),
        stories.Fault(Kind.FROZEN, 'api-2', 26.0, 215.0),
        stories.Fault(Kind.DEADLOCKED, 'api-1', 53.0, 9.0),
        boots=(),
        seed=2946,
        sites=('east',),
        hosts=(stories.Host('east-1', 'east'),),
        limits=stories.LIMITS[1],
        staging=0.2,
        upload=3.0,
    ),
    'a glance-api that alone denies a copy ends the boot': _small(
        *_ASKED_FIRST,
    ),
    'a glance-api that alone hides locations ends the boot': _small(
        *_ASKED_FIRST,
        images=(stories.Image('image-1', ('west',)),),
    ),
}
