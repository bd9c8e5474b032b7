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

"""Whether Glance would do what boots ask of it, as its answers show."""

from collections.abc import Callable, Collection, Iterable, Sequence
import dataclasses
import enum
from typing import Protocol

from oslo_utils import uuidutils

from nova_rbd_multistore import answers
from nova_rbd_multistore import arrival
from nova_rbd_multistore import asking
from nova_rbd_multistore import ceph
from nova_rbd_multistore import exceptions
from nova_rbd_multistore import grade
from nova_rbd_multistore import image as image_values
from nova_rbd_multistore import location
from nova_rbd_multistore import probing
from nova_rbd_multistore import rounds
from nova_rbd_multistore import source
from nova_rbd_multistore import text

#: Pages of a list that are looked through for images in our store.
PAGES = 10

#: Images that our store and our cluster are compared by, at most.
SAMPLE = 5

#: What a glance-api may have instead of an answer.
NO_ANSWER = (rounds.NoAnswer, asking.Refused, answers.MalformedAnswer)

#: Images of the local pool that Glance is asked about, at most.
CANDIDATES = 100


class Kind(enum.Enum):
    """In whose name Glance is asked."""

    #: An ordinary user, with Nova's service token beside theirs.
    USER = enum.auto()
    #: A user without any role, likewise: Nova's own, in no project.
    NOBODY = enum.auto()
    #: The identity of ``[rbd_multistore] auth_type``.
    DEPUTY = enum.auto()
    #: A user whom policies admit for a role that users have not.
    PRIVILEGED = enum.auto()


@dataclasses.dataclass(frozen=True)
class Asker:
    """Who asks.

    :ivar name: of the user
    """

    kind: Kind
    name: str

    @classmethod
    def of_user(cls, name: str, roles: Collection[str]) -> 'Asker':
        """The user of the environment."""
        privileged = {'admin', 'service'} & {role.lower() for role in roles}
        return cls(Kind.PRIVILEGED if privileged else Kind.USER, name)

    def __str__(self) -> str:
        match self.kind:
            case Kind.NOBODY:
                return 'a user without roles with the service token of Nova'
            case Kind.DEPUTY:
                return f'user {self.name} of [rbd_multistore] auth_type'
        return f'user {self.name} with the service token of Nova'


@dataclasses.dataclass(frozen=True)
class Survey:
    """The images that whoever asks may see.

    :ivar any_image: id of an active one, None if there is none
    :ivar empty_image: id of one without data, None if there is none
    :ivar largest: bytes of the largest that could be cloned
    :ivar in_store: images that our store has, or our cluster
    """

    any_image: str | None
    empty_image: str | None
    largest: int | None
    in_store: tuple[image_values.ImageRecord, ...]


class Cluster(Protocol):
    """What is asked of the local cluster; see :class:`ceph.Cluster`."""

    def fsid(self) -> str: ...

    def sizes(self, pool: str, most: int) -> dict[str, int]: ...

    def check_image(self, source: location.RbdLocation) -> None: ...


def service_token(
    *, sent: bool, name: str, roles: Collection[str]
) -> grade.Result:
    """Check that Nova's service token is one for Glance.

    :param sent: ``[service_user] send_service_user_token``
    :param name: of the service user
    :param roles: that the token has
    """
    if not sent:
        return grade.fails(
            "[service_user] send_service_user_token is False: users' tokens "
            'alone do not see locations, nor copy. Set it to True.'
        )
    if 'service' not in {role.lower() for role in roles}:
        return grade.fails(
            f'The token of [service_user], user {name}, has not the role '
            f'service: "openstack role add --user {name} --project '
            '<its project> service".'
        )
    more = sorted(set(roles) - {'service'})
    if 'admin' in more:
        return grade.warns(
            f'Service user {name} has the role admin, which this driver does '
            'not need: whoever reads nova.conf may do everything.'
        )
    return grade.passes(f'Keystone gives {name} a token with role service.')


def endpoints(probes: Sequence[probing.Probe]) -> grade.Result:
    """Check that glance-apis are there, and well.

    :param probes: of all endpoints
    """
    if not probes:
        return grade.fails(
            "Keystone's catalog has no endpoint of Glance for this host: "
            'check [glance] service_type, region_name and valid_interfaces.'
        )
    ill = {}
    for probe in probes:
        try:
            illness = probe.illness()
        except NO_ANSWER as exc:
            illness = str(exc) or type(exc).__name__
        if illness:
            ill[probe.name] = illness
    said = '; '.join(f'{name}: {illness}' for name, illness in ill.items())
    if len(ill) == len(probes):
        return grade.fails(f'No glance-api is well. {said}.')
    if ill:
        return grade.warns(
            f'{len(ill)} of {len(probes)} glance-apis are not well, and the '
            f'others are asked first. {said}.'
        )
    return grade.passes(f'Well: {", ".join(probe.name for probe in probes)}.')


def stores(probes: Sequence[probing.Probe], store: str) -> grade.Result:
    """Check that our store is there, and one to copy from.

    :param store: its name, '' if there is none
    :raises NotChecked: if there is no glance-api
    """
    if not probes:
        raise grade.NotChecked('there is no glance-api.')
    if not store:
        return grade.warns(
            '[libvirt] images_rbd_glance_store_name is empty: nothing is '
            'copied for boots. Name the store that lies in the cluster of '
            'this host.'
        )
    found = [_stores_of(probe, store) for probe in probes]
    able = [result for result in found if result.code is grade.Code.SUCCESS]
    if able:
        # The others are passed over.
        worst = grade.worst(found)
        if worst.code is grade.Code.SUCCESS:
            return worst
        return grade.warns(f'{worst.details} Others have store {store}.')
    if any(result.code is grade.Code.WARNING for result in found):
        return grade.worst(
            [each for each in found if each.code is not grade.Code.FAILURE]
        )
    return grade.fails(
        f'{grade.worst(found).details} {exceptions.StoreUnknown(store)}'
    )


def _stores_of(probe: probing.Probe, store: str) -> grade.Result:
    try:
        names = probe.stores()
    except NO_ANSWER as exc:
        return grade.fails(f'glance-api {probe.name}: {exc}.')
    shown = text.printable(', '.join(sorted(names))) or 'none'
    if store not in names:
        return grade.fails(
            f'glance-api {probe.name} has not store {store}, but {shown}.'
        )
    reserved = sorted(filter(image_values.is_reserved, names))
    if reserved:
        return grade.warns(
            f'glance-api {probe.name} offers {", ".join(reserved)}, names '
            'that Glance keeps for itself: remove them from enabled_backends.'
        )
    if names == {store}:
        return grade.warns(
            f'glance-api {probe.name} has no store but {store}: there is '
            'nothing that it could copy from.'
        )
    return grade.passes(f'glance-api {probe.name} has {shown}.')


def survey(
    probes: Sequence[probing.Probe],
    insiders: Sequence[probing.Probe],
    store: str,
    cluster: Cluster,
    pool: str,
) -> Survey:
    """See which images there are, by the first endpoint that tells.

    Whoever may list no images is told of those that lie in the local pool and
    that Glance shows to everybody.

    :param insiders: the same endpoints, asked as Nova's service user
    :param pool: in which the local store keeps its images
    :raises NotChecked: if none tells
    :raises ClusterUnreachable: if that is needed, and does not answer
    """
    said = ''
    for probe, insider in zip(probes, insiders, strict=True):
        try:
            return _survey(probe, store)
        except (asking.Forbidden, asking.Unauthorized):
            pass
        except NO_ANSWER as exc:
            said = f' {probe.name}: {exc}.'
            continue
        try:
            return _survey_pool(insider, cluster, pool)
        except NO_ANSWER as exc:
            said = f' {probe.name}: {exc}.'
        except arrival.ArrivalsHidden as exc:
            said = f' Pool {pool}: {exc}.'
    raise grade.NotChecked(f'nothing tells which images there are.{said}')


def _survey_pool(
    insider: probing.Probe, cluster: Cluster, pool: str
) -> Survey:
    sizes = cluster.sizes(pool, CANDIDATES)
    public: list[image_values.ImageRecord] = []
    for name in sizes:
        if len(public) < SAMPLE and uuidutils.is_uuid_like(name):
            # None for one that is somebody's, or that Glance does not know.
            locations = insider.locations(name)
            if locations:
                public.append(
                    image_values.ImageRecord(
                        name, 'active', locations=locations
                    )
                )
    return Survey(
        public[0].id if public else None,
        None,
        max(sizes.values(), default=None),
        tuple(public),
    )


def _survey(probe: probing.Probe, store: str) -> Survey:
    first: image_values.ImageRecord | None = None
    largest: int | None = None
    in_store: list[image_values.ImageRecord] = []
    marker = ''
    for _ in range(PAGES):
        page = probe.images(marker, status='active', sort='size:desc')
        for record in page:
            first = first or record
            if largest is None and record.raw and record.bare:
                largest = record.size
            if record.raw and record.bare and record.holds(store):
                in_store.append(record)
        if len(page) < probing.PAGE or len(in_store) >= SAMPLE:
            break
        marker = page[-1].id
    empty = probe.images(status='queued')
    return Survey(
        first.id if first else None,
        empty[0].id if empty else None,
        largest,
        tuple(in_store[:SAMPLE]),
    )


def same_cluster(
    probe: probing.Probe,
    store: str,
    found: Survey,
    cluster: Cluster,
    pools: source.Pools,
) -> grade.Result:
    """Check that our store is the local cluster, by images of both.

    :param probe: of a glance-api with our store
    :param pools: where images may lie
    :raises HostError: if the cluster does not answer
    """
    if not found.in_store:
        return grade.warns(
            f'No image tells whether store {store} is the cluster of this '
            'host: have a public one copied there.'
        )
    fsid = cluster.fsid()
    return grade.worst(
        [
            _same_cluster(probe, store, record, fsid, cluster, pools)
            for record in found.in_store
        ]
    )


def _same_cluster(
    probe: probing.Probe,
    store: str,
    record: image_values.ImageRecord,
    fsid: str,
    cluster: Cluster,
    pools: source.Pools,
) -> grade.Result:
    places = [
        location.RbdLocation(
            fsid, pools.glance, record.id, arrival.GLANCE_SNAPSHOT
        )
    ]
    try:
        locations = record.locations or probe.locations(record.id)
        if locations is not None:
            places = source.local_sources(record, locations, fsid, pools)
            elsewhere = source.clusters(locations, store)
            if elsewhere and fsid not in elsewhere:
                raise exceptions.StoreNotLocal(
                    record.id, store, fsid, elsewhere
                )
            names = _stores_in(locations, fsid)
            if names and store not in names:
                return grade.fails(
                    f'Cluster {fsid}, that of this host, is store '
                    f'{", ".join(sorted(names))} of Glance, not {store}: '
                    'check [libvirt] images_rbd_glance_store_name and '
                    'images_rbd_ceph_conf.'
                )
        for place in places:
            cluster.check_image(place)
    except ceph.SourceDenied as exc:
        return grade.fails(str(exceptions.PoolUnreadable(record.id, exc.pool)))
    except ceph.SourceMissing:
        if locations is None:
            return grade.fails(
                f'Image {record.id} is in store {store} by its record, and '
                f'not in pool {pools.glance} of cluster {fsid}: check '
                '[libvirt] images_rbd_glance_store_name and '
                'images_rbd_ceph_conf, and [rbd_multistore] glance_rbd_pool.'
            )
        return grade.fails(str(exceptions.NotInCluster(record.id, store)))
    except (exceptions.ImageError, exceptions.HostError) as exc:
        return grade.fails(str(exc))
    except NO_ANSWER as exc:
        return grade.warns(f'glance-api {probe.name}: {exc}.')
    return grade.passes(
        f'Store {store} is cluster {fsid}, by images that both have.'
    )


def _stores_in(
    locations: Iterable[image_values.ImageLocation], fsid: str
) -> set[str]:
    """The names of the stores that have an image in a cluster."""
    return {
        entry.store
        for entry in locations
        if entry.store and fsid in source.clusters([entry], entry.store)
    }


Check = Callable[[probing.Probe, str, Asker], grade.Result]


def of_each(
    check: Check,
    probes: Sequence[probing.Probe],
    image: str | None,
    who: Asker,
) -> grade.Result:
    """The worst of what a check finds of each glance-api that answers.

    :param image: id of one to ask about
    :raises NotChecked: if there is no such image
    """
    if image is None:
        raise grade.NotChecked(
            f'there is no image to ask about as {who}: have a public one '
            'copied to the store of this host.'
        )
    if who.kind is Kind.PRIVILEGED:
        raise grade.NotChecked(
            f'user {who.name} has a role that policies admit anyway, as '
            'ordinary users have not.'
        )
    results = []
    for probe in probes:
        try:
            results.append(check(probe, image, who))
        except NO_ANSWER as exc:
            results.append(
                grade.warns(f'Not checked: glance-api {probe.name}: {exc}.')
            )
    if not results:
        raise grade.NotChecked('there is no glance-api.')
    return grade.worst(results)


def copying(probe: probing.Probe, image: str, who: Asker) -> grade.Result:
    """Check that policy ``copy_image`` admits what boots ask for."""
    api = f'glance-api {probe.name}'
    if not probe.stores():
        return grade.fails(
            f'{api} has not several stores: set enabled_backends.'
        )
    policy, said = probe.copies(image)
    if policy is probing.Policy.FORBIDS:
        if who.kind is Kind.DEPUTY:
            return grade.fails(
                f'{api}: policy copy_image does not admit {who}: give it the '
                'role admin, or another policy.'
            )
        return grade.fails(
            f'{api}: policy copy_image does not admit {who}: add "copy_image":'
            ' "role:admin or service_roles:service" to its policy file.'
        )
    if policy is probing.Policy.UNASKED:
        return grade.fails(
            f'{api} refuses copies: {said}. Check that '
            'enabled_import_methods has copy-image, and the image quota.'
        )
    if who.kind is not Kind.DEPUTY and probe.copies_alone(image):
        return grade.warns(
            f'{api}: policy copy_image admits users themselves, who can fill '
            'every store: "role:admin or service_roles:service" is enough.'
        )
    return grade.passes(f'Policy copy_image admits {who}.')


def locations(probe: probing.Probe, image: str, who: Asker) -> grade.Result:
    """Check that policy ``fetch_image_location`` admits what boots ask."""
    api = f'glance-api {probe.name}'
    if probe.locations(image) is None:
        if who.kind is Kind.DEPUTY:
            return grade.fails(
                f'{api}: policy fetch_image_location does not admit {who}: '
                'give it the role service.'
            )
        return grade.fails(
            f'{api}: policy fetch_image_location does not admit {who}: add '
            '"fetch_image_location": "role:service or role:admin or '
            'service_roles:service" to its policy file.'
        )
    if who.kind is not Kind.DEPUTY and probe.shows_locations_alone(image):
        return grade.warns(
            f'{api}: policy fetch_image_location admits users themselves, who '
            'then see where images lie: "role:service or role:admin or '
            'service_roles:service" is enough.'
        )
    return grade.passes(f'Policy fetch_image_location admits {who}.')


def setting_locations(
    probe: probing.Probe, image: str, who: Asker
) -> grade.Result:
    """Check that policy ``add_image_location`` admits no user of Nova's."""
    api = f'glance-api {probe.name}'
    match probe.sets_locations(image):
        case probing.Policy.FORBIDS:
            return grade.passes(
                f'Policy add_image_location does not admit {who}.'
            )
        case probing.Policy.ADMITS:
            return grade.warns(
                f'{api}: policy add_image_location admits {who}. Whoever has '
                'the password of one compute can read and delete every image: '
                'add "add_image_location": "role:admin" to its policy file.'
            )
    return grade.warns(
        f'Not checked: {api} says of policy add_image_location nothing.'
    )
