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

"""What Nova imports as nova.virt.rbd_multistore.

:raises ImportError: without Ceph's bindings
"""

try:
    from nova_rbd_multistore.driver import LibvirtDriver
except ModuleNotFoundError as exc:
    if exc.name not in ('rados', 'rbd'):
        raise
    raise ImportError(
        f"There is no module {exc.name} for nova-compute's Python: install "
        "Ceph's bindings for it (packages python3-rados and python3-rbd, "
        'which are not on PyPI) where a virtual environment sees them'
    ) from exc

__all__ = ['LibvirtDriver']
