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

"""All services of the lab."""

from collections.abc import Sequence

from lab import ceph
from lab import ceph_root
from lab import cinder
from lab import glance
from lab import hypervisor
from lab import keystone
from lab import mariadb
from lab import neutron
from lab import nova
from lab import placement
from lab import rabbitmq
from lab import service


def services(lab: service.Lab) -> Sequence[service.Service]:
    """In the order in which somebody would tell of them.

    In which order they are started, what they require says.
    """
    return (
        *((ceph_root.Root(lab),) if lab.settings.ceph_20 else ()),
        *(ceph.Ceph(lab, site) for site in lab.layout.sites),
        mariadb.MariaDB(lab),
        rabbitmq.RabbitMQ(lab),
        keystone.keystone_schema(lab),
        keystone.Keystone(lab),
        neutron.neutron_schema(lab),
        neutron.Neutron(lab),
        placement.placement_schema(lab),
        placement.Placement(lab),
        glance.glance_schema(lab),
        *cinder.services(lab),
        *(glance.Glance(lab, api) for api in lab.layout.glance_apis),
        nova.nova_schema(lab),
        nova.Cell(lab),
        nova.Api(lab),
        nova.Conductor(lab),
        nova.Scheduler(lab),
        hypervisor.Namespaces(lab),
        *(hypervisor.Hypervisor(lab, host) for host in lab.layout.computes),
        *(nova.Compute(lab, host) for host in lab.layout.computes),
        nova.Zones(lab),
    )
