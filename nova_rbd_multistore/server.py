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

"""The server that Nova's scheduler is to find a host for.

The scheduler's request does not say whether the server has been on a host
before. Nova's databases do, which nova-scheduler may read.
"""

import dataclasses

from nova import context as nova_context
from nova import exception
from nova import objects

from nova_rbd_multistore import site


@dataclasses.dataclass(frozen=True)
class Server:
    """A server that is in a cell; a new one is not, until it has a host.

    :ivar on_host: whether it is on a host; if not, it was shelved, or a first
        host has failed to build it
    :ivar cluster: fsid of its host's cluster, '' if that is not told
    :ivar has_data: whether it has disks of Nova's, and not of Cinder's, whose
        content counts: Nova makes swap disks and config drives anew
    :ivar shelved_image: id of the image that it was shelved to, if it was
    """

    on_host: bool
    cluster: str
    has_data: bool
    shelved_image: str | None


def of_request(spec: 'objects.RequestSpec') -> Server | None:
    """The server of a request of the scheduler; None if it is new."""
    context = nova_context.get_admin_context()
    try:
        cell = objects.InstanceMapping.get_by_instance_uuid(
            context, spec.instance_uuid
        ).cell_mapping
        if cell is None:
            return None
        with nova_context.target_cell(context, cell) as in_cell:
            return _read(in_cell, spec)
    except (
        exception.InstanceMappingNotFound,
        exception.InstanceNotFound,
    ):
        return None


def _read(
    in_cell: nova_context.RequestContext, spec: 'objects.RequestSpec'
) -> Server:
    instance = objects.Instance.get_by_uuid(
        in_cell,
        spec.instance_uuid,
        expected_attrs=['flavor', 'system_metadata'],
    )
    return Server(
        on_host=bool(instance.host),
        cluster=cluster_of(in_cell, instance.host, instance.node)
        if instance.host
        else '',
        has_data=not is_volume_backed(spec)
        or instance.flavor.ephemeral_gb > 0,
        shelved_image=instance.system_metadata.get('shelved_image_id'),
    )


def cluster_of(
    context: nova_context.RequestContext, host: str, node: str
) -> str:
    """The fsid of the cluster that a host has told, '' if it has told none."""
    try:
        found = objects.ComputeNode.get_by_host_and_nodename(
            context, host, node
        )
    except exception.ComputeHostNotFound:
        return ''
    return site.Site.from_stats(found.stats or {}).cluster


def is_volume_backed(spec: 'objects.RequestSpec') -> bool:
    """Whether the server's root disk is a volume of Cinder's."""
    return 'is_bfv' in spec and bool(spec.is_bfv)
