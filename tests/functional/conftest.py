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

"""What the functional tests take of the fixtures.

The lab must be up, with our driver: ``tools/lab up``. A service that does not
run is an error, never a skip.
"""

from tests.fixtures.faults import busy_glance as busy_glance
from tests.fixtures.faults import cut_off as cut_off
from tests.fixtures.faults import find_again as find_again
from tests.fixtures.faults import freeze as freeze
from tests.fixtures.faults import freeze_glance as freeze_glance
from tests.fixtures.faults import full_cluster as full_cluster
from tests.fixtures.faults import hold_copy as hold_copy
from tests.fixtures.faults import is_up as is_up
from tests.fixtures.faults import kill_guest as kill_guest
from tests.fixtures.faults import lose as lose
from tests.fixtures.faults import move_monitor as move_monitor
from tests.fixtures.faults import slow_cluster as slow_cluster
from tests.fixtures.faults import stop as stop
from tests.fixtures.handles import admin as admin
from tests.fixtures.handles import computes as computes
from tests.fixtures.handles import copy_tasks as copy_tasks
from tests.fixtures.handles import demo as demo
from tests.fixtures.handles import demo_user as demo_user
from tests.fixtures.handles import east as east
from tests.fixtures.handles import host_of as host_of
from tests.fixtures.handles import log_of as log_of
from tests.fixtures.handles import other as other
from tests.fixtures.handles import private_files as private_files
from tests.fixtures.handles import process_list as process_list
from tests.fixtures.handles import stores_of as stores_of
from tests.fixtures.handles import supervisor as supervisor
from tests.fixtures.handles import user_of as user_of
from tests.fixtures.handles import west as west
from tests.fixtures.handles import where as where
from tests.fixtures.makers import begin_image as begin_image
from tests.fixtures.makers import boot_with_data as boot_with_data
from tests.fixtures.makers import compute_changes as compute_changes
from tests.fixtures.makers import config_drives as config_drives
from tests.fixtures.makers import configure as configure
from tests.fixtures.makers import configure_stock as configure_stock
from tests.fixtures.makers import glance_for_stock as glance_for_stock
from tests.fixtures.makers import images_to_remove as images_to_remove
from tests.fixtures.makers import keep_snapshots as keep_snapshots
from tests.fixtures.makers import leave_in_cache as leave_in_cache
from tests.fixtures.makers import location_glance as location_glance
from tests.fixtures.makers import make_glance as make_glance
from tests.fixtures.makers import make_host as make_host
from tests.fixtures.makers import make_stock_host as make_stock_host
from tests.fixtures.makers import refuse as refuse
from tests.fixtures.makers import schedule_by_site as schedule_by_site
from tests.fixtures.makers import servers as servers
from tests.fixtures.makers import servers_to_delete as servers_to_delete
from tests.fixtures.makers import short_lived as short_lived
from tests.fixtures.makers import ten_thousand as ten_thousand
from tests.fixtures.makers import threads as threads
from tests.fixtures.makers import upload as upload
from tests.fixtures.rights import host_of_ceph_user as host_of_ceph_user
from tests.fixtures.rights import limit_account as limit_account
from tests.fixtures.rights import make_ceph_user as make_ceph_user
from tests.fixtures.rights import make_service_user as make_service_user
from tests.fixtures.rights import nova_account as nova_account
from tests.fixtures.rights import nova_may_write as nova_may_write
from tests.fixtures.rights import token_of as token_of


def pytest_generate_tests(metafunc):
    if metafunc.definition.get_closest_marker('both_modes'):
        metafunc.parametrize('threads', ['native', 'eventlet'], indirect=True)
