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

"""The program says what it can, and ends with the worst of it."""

import json
import subprocess
import sys

from nova_rbd_multistore import status

COMMAND = [sys.executable, '-m', 'nova_rbd_multistore.status']


def run(*arguments, without=()):
    """Run the program in a process that lacks some modules."""
    lack = ''.join(f'sys.modules[{name!r}] = None; ' for name in without)
    return subprocess.run(
        [
            sys.executable,
            '-c',
            f'import sys; {lack}sys.argv[0] = "status"; '
            'from nova_rbd_multistore import status; sys.exit(status.main())',
            *arguments,
        ],
        capture_output=True,
        text=True,
    )


def test_ceph_s_bindings_are_there_or_named(monkeypatch):
    assert status.missing() == []
    monkeypatch.setitem(sys.modules, 'rbd', None)
    assert status.missing() == ['rbd']


def test_without_ceph_s_bindings_that_is_all_there_is_to_say():
    ended = run('upgrade', 'check', '--json', without=['rados', 'rbd'])
    (check,) = json.loads(ended.stdout)['checks']
    assert ended.returncode == 2
    assert check['check'] == 'Ceph bindings'
    assert 'no module rados nor rbd' in check['details']
    assert 'python3-rados' in check['details']


def test_all_checks_are_made_whatever_fails(tmp_path):
    conf = tmp_path / 'nova.conf'
    conf.write_text(
        '[libvirt]\nimages_type = rbd\n'
        f'images_rbd_ceph_conf = {tmp_path}/no.conf\n'
    )
    ended = run('--config-file', str(conf), 'upgrade', 'check', '--json')
    said = {
        check['check']: check for check in json.loads(ended.stdout)['checks']
    }
    assert ended.returncode == 2
    assert len(said) == 15
    assert 'compute_driver' in said['Options']['details']
    assert said['Ceph cluster']['result'] == 2
    assert not ended.stderr
