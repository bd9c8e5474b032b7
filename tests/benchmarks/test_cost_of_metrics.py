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

"""What it costs to be measured, beside what is measured."""

import statistics

import pytest

from benchmarks import contenders
from benchmarks import ground as grounds
from benchmarks import metering


@pytest.mark.long
def test_to_be_measured_takes_at_most_a_hundredth_of_a_boot(supervisor):
    del supervisor
    with (
        grounds.Ground() as ground,
        ground.contenders((contenders.OURS, ground.secure)) as (ours,),
    ):
        image = ground.upload('west')
        boots = [ours.boot(ground.user, image) for _ in range(8)]
    assert not [boot.error for boot in boots if boot.error]

    share = metering.seconds_per_boot() / statistics.median(
        boot.seconds for boot in boots
    )

    assert share <= 0.01
    print(f'{share:.3%} of a boot')
