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

"""The program ``nova-rbd-multistore-status upgrade check``.

Says of this compute host, by its own nova.conf, what boots would meet.
"""

import importlib
import logging
import sys
import warnings

from oslo_config import cfg
from oslo_upgradecheck import upgradecheck

from nova_rbd_multistore import grade

#: Of Ceph, and of no use to say anything without.
BINDINGS = ('rados', 'rbd')


class WithoutBindings(upgradecheck.UpgradeCommands):
    """All that can be said without Ceph's bindings."""

    display_title = 'nova-rbd-multistore on this host'

    def bindings(self) -> grade.Result:
        return grade.fails(
            f'There is no module {" nor ".join(missing())} for '
            f'{sys.executable}: install python3-rados and python3-rbd where '
            'it sees them. Nothing else can be checked before.'
        )

    _upgrade_checks = (('Ceph bindings', bindings),)


def missing() -> list[str]:
    """Those of Ceph's bindings that cannot be imported."""
    found = []
    for name in BINDINGS:
        try:
            importlib.import_module(name)
        except ImportError:
            found.append(name)
    return found


def main() -> int:
    """Run the program; return its exit code: 0, 1 or 2 as a check ends."""
    # What is logged on the way is said by the checks.
    logging.getLogger().addHandler(logging.NullHandler())
    if not sys.warnoptions:
        # Of Nova's libraries, for their developers.
        warnings.simplefilter('ignore')
    if missing():
        return upgradecheck.main(
            cfg.ConfigOpts(), 'nova', WithoutBindings(), sys.argv[1:]
        )
    # Not above: without the bindings, these cannot be imported.
    import nova.conf

    from nova_rbd_multistore import readiness

    return upgradecheck.main(
        nova.conf.CONF,
        'nova',
        readiness.Checks(),
        sys.argv[1:],
        # What nova-compute reads.
        cfg.find_config_files('nova', 'nova-compute'),
    )


if __name__ == '__main__':
    sys.exit(main())
