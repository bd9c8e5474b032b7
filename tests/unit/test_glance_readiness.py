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

"""What Glance would refuse to boots is said before a boot meets it."""

import pytest
import requests

from nova_rbd_multistore import glance_readiness
from nova_rbd_multistore import grade
from nova_rbd_multistore import probing
from nova_rbd_multistore import source
from tests.fakes import endpoint as endpoints

SUCCESS, WARNING, FAILURE = grade.Code
KINDS = glance_readiness.Kind
USER = glance_readiness.Asker(KINDS.USER, 'demo')
NOBODY = glance_readiness.Asker(KINDS.NOBODY, '')
DEPUTY = glance_readiness.Asker(KINDS.DEPUTY, 'deputy')
POOLS = source.Pools('images')


@pytest.fixture
def image(cloud):
    return cloud.api.add_image('file', 'west').id


def refuse_connections(cloud, *numbers):
    for number in numbers:
        cloud.endpoints[number].fault = requests.ConnectionError('refused')


# The service token


def test_a_service_token_with_its_role_is_well():
    result = glance_readiness.service_token(
        sent=True, name='nova', roles=['service']
    )
    assert result.code is SUCCESS


@pytest.mark.parametrize(
    ('sent', 'roles', 'code', 'said'),
    [
        (False, ['service'], FAILURE, 'send_service_user_token is False'),
        (True, ['member'], FAILURE, 'openstack role add --user nova'),
        (True, ['admin', 'service'], WARNING, 'role admin'),
    ],
)
def test_a_service_token_that_will_not_do_is_noticed(sent, roles, code, said):
    result = glance_readiness.service_token(
        sent=sent, name='nova', roles=roles
    )
    assert result.code is code
    assert said in result.details


# Endpoints and their stores


def test_endpoints_that_are_well_are_named(probes):
    result = glance_readiness.endpoints(probes)
    assert result.code is SUCCESS
    assert 'http://glance-a:9292/, http://glance-b:9292/' in result.details


def test_one_of_two_that_is_not_is_a_warning(cloud, probes):
    cloud.endpoints[1].answers['/healthcheck'] = endpoints.SICK
    result = glance_readiness.endpoints(probes)
    assert result.code is WARNING
    assert 'glance-b:9292/: its health check says 503' in result.details


def test_none_that_is_well_is_a_failure(cloud, probes):
    cloud.endpoints[1].answers['/healthcheck'] = endpoints.SICK
    refuse_connections(cloud, 0)
    result = glance_readiness.endpoints(probes)
    assert result.code is FAILURE
    assert 'refused' in result.details


def test_no_endpoint_at_all_is_a_failure():
    result = glance_readiness.endpoints([])
    assert result.code is FAILURE
    assert 'region_name' in result.details


def test_our_store_in_all_glance_apis_is_well(probes):
    assert glance_readiness.stores(probes, 'west').code is SUCCESS


def test_our_store_in_one_of_them_is_a_warning(cloud, probes):
    cloud.api.stores_of['glance-b'] = {'file', 'east'}
    result = glance_readiness.stores(probes, 'west')
    assert result.code is WARNING
    assert 'glance-b:9292/ has not store west, but east, file' in (
        result.details
    )


def test_our_store_in_none_of_them_is_a_failure(probes):
    result = glance_readiness.stores(probes, 'north')
    assert result.code is FAILURE
    assert 'no store named north' in result.details


def test_a_glance_api_with_our_store_alone_has_nothing_to_copy_from(
    cloud, probes
):
    for name in ('glance-a', 'glance-b'):
        cloud.api.stores_of[name] = {'west'}
    result = glance_readiness.stores(probes, 'west')
    assert result.code is WARNING
    assert 'nothing that it could copy from' in result.details


def test_a_store_by_a_name_of_glance_s_own_is_noticed(cloud, probes):
    cloud.api.stores['os_glance_staging_store'] = None
    result = glance_readiness.stores(probes, 'west')
    assert result.code is WARNING
    assert 'os_glance_staging_store' in result.details


def test_where_there_is_no_glance_api_no_store_is_looked_for():
    with pytest.raises(grade.NotChecked, match='no glance-api'):
        glance_readiness.stores([], 'west')


def test_without_a_name_for_our_store_nothing_is_copied(probes):
    result = glance_readiness.stores(probes, '')
    assert result.code is WARNING
    assert 'images_rbd_glance_store_name is empty' in result.details


def test_a_glance_api_that_is_away_has_no_stores(cloud, probes):
    refuse_connections(cloud, 0, 1)
    result = glance_readiness.stores(probes, 'west')
    assert result.code is FAILURE
    assert 'refused' in result.details


# Which images there are


@pytest.fixture
def survey(cloud, probes):
    def do():
        return glance_readiness.survey(
            probes, probes, 'west', cloud.west, 'images'
        )

    return do


@pytest.fixture
def hide_lists(cloud):
    """Lets nobody list images, as whoever lacks the role reader."""
    for endpoint in cloud.endpoints:
        endpoint.answers['/v2/images'] = endpoints.error_page(
            403, 'You are not authorized to complete get_images action.'
        )


def test_the_largest_image_that_can_be_cloned_is_found(cloud, survey):
    cloud.api.add_image(size=9, disk_format='qcow2')
    cloud.api.add_image(size=5)
    cloud.api.add_image(size=7)
    assert survey().largest == 7


def test_images_in_our_store_are_found_on_later_pages(
    cloud, survey, monkeypatch
):
    monkeypatch.setattr(probing, 'PAGE', 2)
    for size in (5, 4, 3):
        cloud.api.add_image(size=size)
    image = cloud.api.add_image('west', size=1)
    found = survey()
    assert [record.id for record in found.in_store] == [image.id]


def test_an_image_without_data_is_found(cloud, survey, image):
    empty = cloud.api.begin_image()
    found = survey()
    assert (found.any_image, found.empty_image) == (image, empty.id)


def test_in_an_empty_cloud_there_is_nothing(survey):
    found = survey()
    assert found == glance_readiness.Survey(None, None, None, ())


def test_another_glance_api_tells_where_one_is_away(cloud, survey, image):
    refuse_connections(cloud, 0)
    assert survey().any_image == image


def test_where_none_tells_it_is_not_known(cloud, survey):
    refuse_connections(cloud, 0, 1)
    with pytest.raises(grade.NotChecked, match='refused'):
        survey()


@pytest.mark.usefixtures('hide_lists')
def test_whoever_may_list_nothing_is_told_of_images_in_the_local_pool(
    cloud, survey, image
):
    cloud.west.write(image, 5)
    cloud.api.add_image('east')
    cloud.api.add_image('west', visibility='private', owner='other')
    found = survey()
    assert found.any_image == image
    assert found.largest == 5
    (record,) = found.in_store
    assert [entry.store for entry in record.locations] == ['file', 'west']


@pytest.mark.usefixtures('hide_lists')
def test_what_is_no_image_of_glance_s_is_left_out(cloud, survey):
    cloud.west.complete('a-volume')
    cloud.west.complete('00000000-0000-4000-8000-000000000000')
    assert survey().any_image is None


@pytest.mark.usefixtures('hide_lists')
def test_a_pool_that_cannot_be_read_tells_nothing(cloud, survey):
    cloud.west.hidden = True
    with pytest.raises(grade.NotChecked, match='no right to read images'):
        survey()


# Whether our store is our cluster


def same_cluster(cloud, probes, cluster, pools=POOLS):
    return glance_readiness.same_cluster(
        probes[0],
        'west',
        glance_readiness.survey(probes, probes, 'west', cluster, 'images'),
        cluster,
        pools,
    )


@pytest.mark.parametrize('hides_locations', [False, True])
def test_an_image_of_both_shows_that_they_are_one(
    cloud, probes, image, hides_locations
):
    if hides_locations:
        cloud.api.admits_locations = lambda _: False
    result = same_cluster(cloud, probes, cloud.west)
    assert result.code is SUCCESS
    assert 'Store west is cluster fsid-west' in result.details


@pytest.mark.parametrize('hides_locations', [False, True])
def test_an_image_of_the_store_alone_shows_that_they_are_not(
    cloud, probes, image, hides_locations
):
    if hides_locations:
        cloud.api.admits_locations = lambda _: False
    result = same_cluster(cloud, probes, cloud.east)
    assert result.code is FAILURE
    assert 'fsid-east' in result.details
    assert 'images_rbd_ceph_conf' in result.details


def test_an_image_whose_data_is_gone_is_named(cloud, probes, image):
    cloud.west.remove(image)
    result = same_cluster(cloud, probes, cloud.west)
    assert result.code is FAILURE
    assert 'glance stores-delete' in result.details


def test_a_data_pool_that_cannot_be_read_is_named(cloud, probes, image):
    cloud.west.unreadable = {'images-data'}
    result = same_cluster(cloud, probes, cloud.west)
    assert result.code is FAILURE
    assert 'profile rbd-read-only pool=images-data' in result.details


def test_a_pool_that_is_not_said_to_be_glance_s_is_named(cloud, probes, image):
    result = same_cluster(
        cloud, probes, cloud.west, source.Pools('other-images')
    )
    assert result.code is FAILURE
    assert 'other_glance_rbd_pools' in result.details


@pytest.mark.usefixtures('hide_lists')
def test_a_cluster_that_is_another_store_is_named(cloud, probes):
    cloud.api.add_image('east')
    result = same_cluster(cloud, probes, cloud.east)
    assert result.code is FAILURE
    assert 'is store east of Glance, not west' in result.details


def test_without_an_image_in_the_store_it_is_not_known(cloud, probes):
    cloud.api.add_image('file')
    result = same_cluster(cloud, probes, cloud.west)
    assert result.code is WARNING
    assert 'have a public one copied' in result.details


# Policies


def ask(check, probes, image, who=USER):
    return glance_readiness.of_each(check, probes, image, who)


CHECKS = {
    'copy_image': glance_readiness.copying,
    'fetch_image_location': glance_readiness.locations,
}
each_policy = pytest.mark.parametrize('policy', CHECKS)


@pytest.fixture
def decide(cloud):
    """Sets what a policy makes of a request."""

    def by_name(policy, admits):
        name = {
            'copy_image': 'admits_copy',
            'fetch_image_location': 'admits_locations',
        }[policy]
        setattr(cloud.api, name, admits)

    return by_name


@each_policy
def test_policies_as_documented_are_well(probes, image, policy):
    result = ask(CHECKS[policy], probes, image)
    assert result.code is SUCCESS
    assert 'user demo with the service token' in result.details


@each_policy
@pytest.mark.parametrize('who', [USER, NOBODY])
def test_a_policy_as_by_default_is_named_with_its_line(
    probes, image, decide, policy, who
):
    decide(policy, lambda _: False)
    result = ask(CHECKS[policy], probes, image, who)
    assert result.code is FAILURE
    assert 'glance-a' in result.details
    assert f'add "{policy}": ' in result.details
    assert 'service_roles:service' in result.details


@each_policy
def test_a_separate_identity_that_lacks_a_role_is_told_which(
    probes, image, decide, policy
):
    decide(policy, lambda _: False)
    result = ask(CHECKS[policy], probes, image, DEPUTY)
    assert result.code is FAILURE
    assert 'of [rbd_multistore] auth_type' in result.details
    assert 'role ' in result.details


@each_policy
def test_a_policy_that_is_open_to_users_is_a_warning(
    probes, image, decide, policy
):
    decide(policy, lambda _: True)
    result = ask(CHECKS[policy], probes, image)
    assert result.code is WARNING
    assert 'admits users themselves' in result.details


def test_one_glance_api_with_another_policy_is_found(cloud, probes, image):
    cloud.endpoints[1].answers['/import'] = endpoints.error_page(
        403, 'forbidden'
    )
    result = ask(glance_readiness.copying, probes, image)
    assert result.code is FAILURE
    assert 'glance-b' in result.details
    assert 'http://glance-a' not in result.details


@each_policy
@pytest.mark.parametrize('role', ['admin', 'service', 'Admin'])
def test_whoever_is_admitted_anyway_tells_nothing(probes, image, policy, role):
    who = glance_readiness.Asker.of_user('root', ['member', role])
    with pytest.raises(grade.NotChecked, match='user root has a role'):
        ask(CHECKS[policy], probes, image, who)


@each_policy
def test_without_an_image_no_policy_is_asked(probes, policy):
    with pytest.raises(grade.NotChecked, match='have a public one copied'):
        ask(CHECKS[policy], probes, None)


@each_policy
def test_a_glance_api_that_is_away_is_not_asked(cloud, probes, image, policy):
    refuse_connections(cloud, 1)
    result = ask(CHECKS[policy], probes, image)
    assert result.code is WARNING
    assert 'Not checked: glance-api http://glance-b:9292/' in result.details


def test_without_the_import_method_it_is_named(cloud, probes, image):
    cloud.api.import_methods = set()
    result = ask(glance_readiness.copying, probes, image)
    assert result.code is FAILURE
    assert 'enabled_import_methods' in result.details


def test_where_there_are_not_several_stores_no_copy_is_asked_for(
    cloud, probes, image
):
    for endpoint in cloud.endpoints:
        endpoint.answers['/info/stores'] = endpoints.error_page(404, 'none')
    result = ask(glance_readiness.copying, probes, image)
    assert result.code is FAILURE
    assert 'enabled_backends' in result.details
    assert not cloud.api.requests


def test_users_who_may_set_locations_are_a_warning(cloud, probes):
    image = cloud.api.begin_image().id
    result = ask(glance_readiness.setting_locations, probes, image)
    assert result.code is WARNING
    assert '"add_image_location": "role:admin"' in result.details


def test_users_who_may_not_are_well(cloud, probes):
    image = cloud.api.begin_image().id
    cloud.api.admits_setting = lambda requester: requester.admin
    result = ask(glance_readiness.setting_locations, probes, image)
    assert result.code is SUCCESS


def test_an_image_that_got_data_meanwhile_tells_nothing(probes, image):
    result = ask(glance_readiness.setting_locations, probes, image)
    assert result.code is WARNING
    assert 'Not checked' in result.details
