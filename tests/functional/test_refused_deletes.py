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

"""An image cannot be deleted while a disk is a clone of it, of version 1.

What becomes of clones of version 2 is in test_trash.py.
"""

import pytest

from tests.rig import polling

pytestmark = pytest.mark.fault


@pytest.fixture
def delete(demo):
    """Deletes an image as its owner; the status of Glance's answer."""
    return lambda image: demo.image.delete(f'/images/{image.id}').status_code


def test_a_stranger_s_clone_leaves_half_of_a_deleted_image(
    upload,
    make_host,
    admin,
    demo,
    other,
    user_of,
    east,
    west,
    stores_of,
    where,
    delete,
):
    image = upload(store='east', visibility='community')
    admin.session.post(
        f'{where.glance_apis[0].url}/v2/images/{image.id}/import',
        json={'method': {'name': 'copy-image'}, 'stores': ['west']},
    ).raise_for_status()
    polling.until(lambda: 'west' in stores_of(image.id), 'the copy')
    stranger = user_of(other)
    (boot,) = make_host('west-1').boot(stranger, image.id)
    assert boot.error is None, boot.message

    assert delete(image) == 409

    assert image.id not in east.images('images')
    assert stores_of(image.id) == {'west'}
    assert admin.image.get_image(image.id).status == 'active'

    # What doc/source/operation.rst has its owner do.
    demo.image.update_image(image.id, visibility='private')
    (again,) = make_host('west-1').boot(stranger, image.id)
    assert again.error == 'ImageGone'
    west.remove('vms', boot.disk)
    assert delete(image) == 204
    assert image.id not in west.images('images')
