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

"""What differs between the releases of Nova, in one place.

A name is here as Nova 34 (2026.2) has it; what an older release has instead
stands beside it, and goes when that release is no longer supported.
"""

from nova import service_auth
from nova import utils as nova_utils

__all__ = [
    'end_native_threads',
    'get_service_user_token_auth_plugin',
    'tpool_wrap',
]

if hasattr(nova_utils, 'tpool_wrap'):
    get_service_user_token_auth_plugin = (
        service_auth.get_service_user_token_auth_plugin
    )
    tpool_wrap = nova_utils.tpool_wrap

    def end_native_threads() -> None:
        """Wait for the calls that :func:`tpool_wrap` has under eventlet."""
        if not nova_utils.concurrency_mode_threading():
            from eventlet import tpool

            tpool.killall()

else:
    # Nova 31 (2025.1), which runs on eventlet alone.
    from eventlet import tpool

    get_service_user_token_auth_plugin = service_auth.get_auth_plugin
    tpool_wrap = tpool.Proxy
    end_native_threads = tpool.killall
