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

"""One run of the benchmarks, which all of its figures share."""

import dataclasses
from typing import Any

from benchmarks import ground as grounds


@dataclasses.dataclass
class Run:
    """One run of the benchmarks.

    :ivar quick: whether a few samples of each will do
    :ivar storms: when the boots of the last storm were where, in seconds
    """

    ground: grounds.Ground
    quick: bool
    storms: dict[str, Any] = dataclasses.field(default_factory=dict)

    def times(self, count: int) -> range:
        return range(max(count // 10, 2) if self.quick else count)
