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

"""A process that ends leaves no connection to Ceph behind.

Its exit takes OpenSSL from under librados' threads. One that shakes hands at
that moment crashes the process: in one of some hundred, hence what is looked
at here is whether there are any.
"""

import contextlib
import os
import subprocess
import sys

import pytest

#: What a compute's process is, as far as its cluster is concerned.
COMPUTE = """
import atexit, pathlib, sys, threading, time

def threads():
    return sorted(
        path.read_text().strip()
        for path in pathlib.Path('/proc/self/task').glob('*/comm')
    )

# Called last, for it is the first.
atexit.register(lambda: print(threads()))

from nova import monkey_patch
monkey_patch.patch()

import nova.conf
from nova_rbd_multistore import host

conf, = sys.argv[1:]
nova.conf.CONF([], project='nova', default_config_files=[conf])
cluster = host.this_host().cluster
cluster.fsid()
assert any(name.startswith('msgr-worker') for name in threads())
"""

IN_A_CALL = """
asked = threading.Event()

def ask():
    pool = cluster.open_pool('vms')
    asked.set()
    time.sleep(1)
    cluster.close_pool(pool)

threading.Thread(target=ask).start()
asked.wait()
"""

#: As a boot that waits for a copy.
IN_A_WAIT = """
def look():
    while True:
        cluster.has_image('vms', 'a disk')
        time.sleep(0)

threading.Thread(target=look, daemon=True).start()
time.sleep(1)
"""

#: Ends when it is told to.
LATER = """
print('connected', flush=True)
sys.stdin.read()
"""

FORKED = """
import os
child = os.fork()
if not child:
    sys.exit()
assert os.waitpid(child, 0) == (child, 0)
cluster.fsid()
"""


@pytest.fixture
def start(computes):
    """Starts such a process."""
    conf = computes['west-1'].nova_conf
    with contextlib.ExitStack() as running:

        def run(program, eventlet=False):
            process = subprocess.Popen(
                [sys.executable, '-c', program, str(conf)],
                env={
                    **os.environ,
                    'OS_NOVA_DISABLE_EVENTLET_PATCHING': str(not eventlet),
                },
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            running.enter_context(process)
            running.callback(process.kill)
            return process

        yield run


@pytest.fixture
def end(start):
    """Runs such a process, and returns the threads that it ended with."""

    def run(program, eventlet=False):
        return wait(start(program, eventlet))

    return run


def wait(process):
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return output.splitlines()[-1]


def of_ceph(threads):
    return [
        name
        for name in threads.split("'")
        if name.startswith(('msgr-worker', 'io_context', 'ms_', 'service'))
    ]


@pytest.mark.parametrize('eventlet', [False, True], ids=['native', 'eventlet'])
def test_the_connection_ends_before_the_process(end, eventlet):
    assert of_ceph(end(COMPUTE, eventlet)) == []


@pytest.mark.parametrize('eventlet', [False, True], ids=['native', 'eventlet'])
def test_a_call_that_goes_on_is_the_last_of_its_connection(end, eventlet):
    assert of_ceph(end(COMPUTE + IN_A_CALL, eventlet)) == []


def test_no_connection_is_opened_at_the_end(end):
    # A native thread would be in the middle of a call.
    assert of_ceph(end(COMPUTE + IN_A_WAIT, eventlet=True)) == []


def test_a_forked_process_leaves_the_connection_alone(end):
    assert of_ceph(end(COMPUTE + FORKED)) == []


@pytest.mark.fault
@pytest.mark.parametrize('daemon', ['ceph-osd-west', 'ceph-mon-west'])
def test_a_frozen_cluster_does_not_hold_the_process(start, freeze, daemon):
    process = start(COMPUTE + LATER)
    assert process.stdout.readline() == 'connected\n'

    freeze(daemon)

    assert of_ceph(wait(process)) == []
