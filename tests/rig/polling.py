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

"""To wait for what has to come about."""

from collections.abc import Callable
import time
from typing import TypeVar

T = TypeVar('T')

#: Seconds that suffice for anything on a busy machine.
DEADLINE = 300.0


def until(
    look: Callable[[], T],
    what: str,
    *,
    seconds: float = DEADLINE,
    pause: float = 0.2,
) -> T:
    """Look until there is something to be seen, and give that."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, f'{what}: not in {seconds:.0f} s'
        time.sleep(pause)
    return seen
