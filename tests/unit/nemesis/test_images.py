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


"""What the nemesis asks Glance, and makes of its answers."""

import time
import types

import pytest
import requests

from tests.nemesis import images


class Glance:
    """Answers each request with the next of some statuses."""

    current_project_id = 'a-project'

    def __init__(self, *statuses):
        self._statuses = list(statuses)
        self.image = self

    def get(self, _path, **_how):
        answer = requests.Response()
        answer.status_code = self._statuses.pop(0)
        answer._content = b'{"stores": "east,west"}'
        return answer

    post = get


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(images.polling.time, 'sleep', lambda _: None)


def images_of(*statuses):
    made = object.__new__(images.Images)
    glance = Glance(*statuses)
    made._users = {'admin': glance, 'demo': glance, 'other': glance}
    return made


def test_an_image_is_gone_if_glance_says_so():
    assert images_of(404).record('an-image') == {}


def test_one_that_glance_fails_to_tell_of_is_not_gone():
    with pytest.raises(requests.HTTPError):
        images_of(500).record('an-image')


def test_what_stores_have_it_is_asked_until_glance_tells():
    assert images_of(500, 503, 200).stores('an-image') == {'east', 'west'}


@pytest.mark.parametrize('status', [200, 404, 409])
def test_what_is_shared_still_or_gone_is_shared_again(status):
    images_of(status)._share('an-image')


@pytest.mark.parametrize('status', [200, 404])
def test_what_is_gone_meanwhile_need_not_be_active_again(status):
    images_of(status)._reactivate(types.SimpleNamespace(id='an-image'))


def test_what_fails_is_not_done():
    with pytest.raises(requests.HTTPError):
        images_of(500)._share('an-image')


@pytest.mark.parametrize(
    ('disk_format', 'seconds_ago', 'size'),
    [('raw', 500.0, 512), ('raw', 400.0, 4), ('qcow2', 500.0, 4)],
)
def test_a_big_image_comes_now_and_then_and_can_be_copied(
    disk_format, seconds_ago, size
):
    made = images_of()
    made._rng = types.SimpleNamespace(
        choice=lambda sizes: sizes[0], randrange=lambda _limit: 0
    )
    made._last_big = time.time() - seconds_ago
    assert made._size(disk_format) == size
