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

"""``python -m lab``, which ``tools/lab`` runs."""

import sys


def main() -> int:
    try:
        from lab import cli
    except ModuleNotFoundError as error:
        # Debian's rados, rbd and libvirt, or one of PyPI's.
        print(
            f'tools/lab: {sys.prefix} has no Python module {error.name!r}: '
            f'tools/install.sh installs all that the lab needs',
            file=sys.stderr,
        )
        return 1
    return cli.main()


if __name__ == '__main__':
    sys.exit(main())
