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


def _small(
    *happens: stories.Boot | stories.Fault, **others: object
) -> stories.Story:
    """The small one, with more in it."""
    boots = [one for one in happens if isinstance(one, stories.Boot)]
    faults = [one for one in happens if isinstance(one, stories.Fault)]
    return dataclasses.replace(
        SMALL, boots=(*SMALL.boots, *boots), faults=tuple(faults), **others
    )


def _second(at: float, host: str = 'west-1') -> stories.Boot:
    return stories.Boot('vm-2', at, host, 'image-1', 'demo')


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
}
