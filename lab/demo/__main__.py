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

"""``python -m lab.demo``, which ``tools/demo.sh`` runs."""

import argparse
import sys

import rados
import rbd

from lab import errors
from lab import guest
from lab import layout
from lab.demo import story


def main() -> int:
    parser = argparse.ArgumentParser(
        prog='tools/demo.sh',
        description='Boot servers on two sites from one image that lies in '
        'neither, and show that each has a copy-on-write clone of its own '
        'in the cluster of its site.',
    )
    parser.add_argument(
        '--keep',
        action='store_true',
        help='leave the servers and the image as they are at the end',
    )
    parser.add_argument(
        '--size-mib',
        type=int,
        default=256,
        metavar='N',
        help='size of the image; the larger, the longer are the copies '
        '(default: %(default)s)',
    )
    arguments = parser.parse_args()
    if arguments.size_mib < guest.SMALLEST_MIB:
        parser.error(f'--size-mib: {guest.SMALLEST_MIB} at least')
    try:
        told = story.Story(layout.Layout.from_environment())
    except errors.LabError as error:
        parser.exit(1, f'{parser.prog}: {error}\n')
    try:
        told.tell(arguments.size_mib)
    except (
        errors.LabError,
        *story.CLOUD_FAILURES,
        rados.Error,
        rbd.Error,
    ) as error:
        told.checklist.add('The story came to its end', False, error)
    finally:
        if arguments.keep:
            print('\nServers and image are kept. To look at them:')
            print(
                f'  eval "$(tools/lab env)"; '
                f'{sys.prefix}/bin/openstack server list --all-projects'
            )
        else:
            told.clear_away()
    print(f'\n{told.checklist}')
    return 0 if told.checklist.held else 1


if __name__ == '__main__':
    sys.exit(main())
