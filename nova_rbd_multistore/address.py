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

"""Where Nova looks for the driver: nova.virt.rbd_multistore.

Nova imports ``compute_driver`` below nova.virt, wherever Nova itself lies. A
directory nova/virt of ours would be found only beside a Nova that was copied
to the same site-packages, and would hide one that is installed editable, whose
finder Python asks last. So Python is told of this one name, at each of its
starts, by nova_rbd_multistore.pth. It is asked for only when nova.virt has
been imported, and by nobody but Nova.

Every program of the environment imports this module, so it imports no other.
"""

from __future__ import annotations

import os
import sys

# What typing.TYPE_CHECKING is, without a start of Python that loads typing.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

NAME = 'nova.virt.rbd_multistore'


class Finder:
    """Finds one module, and is asked when nothing else has found it."""

    @staticmethod
    def find_spec(
        fullname: str,
        _path: Sequence[str] | None = None,
        _target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """As importlib.abc.MetaPathFinder has it."""
        if fullname != NAME:
            return None
        import importlib.util

        return importlib.util.spec_from_file_location(
            fullname, os.path.join(os.path.dirname(__file__), 'shim.py')
        )


def make_known() -> None:
    """Have Python find the driver at Nova's address of it."""
    if Finder not in sys.meta_path:
        sys.meta_path.append(Finder)
