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

"""Native threads or eventlet, chosen as Nova's services choose it.

Before anything else of Nova is imported, and for the whole run: native
threads, unless OS_NOVA_DISABLE_EVENTLET_PATCHING says false.
"""

import os

os.environ.setdefault('OS_NOVA_DISABLE_EVENTLET_PATCHING', 'true')

from nova import monkey_patch

# Nova 31 patches when it is imported.
if hasattr(monkey_patch, 'patch'):
    monkey_patch.patch()
