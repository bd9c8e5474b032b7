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

"""No disk is removed that could be anybody's."""

import itertools

import pytest

from nova_rbd_multistore import remains

USE, REMOVE, REFUSE = remains.Fate

NO_HEADER = remains.Remains(
    header=False, opens=False, parent=False, written=False
)
SHUT = remains.Remains(opens=False, parent=False, written=False)
NO_PARENT = remains.Remains(parent=False, written=False)
UNWRITTEN = remains.Remains(written=False)
OPEN_ELSEWHERE = remains.Remains(written=False, watched=True)
MADE_ELSEWHERE = remains.Remains(parent=False, written=False, watched=True)
FLAT = remains.Remains(parent=False)
WRITTEN = remains.Remains()

ALL = [
    remains.Remains(*bits)
    for bits in itertools.product([True, False], repeat=5)
]


@pytest.mark.parametrize('seen', [NO_HEADER, NO_PARENT, UNWRITTEN])
def test_what_holds_nothing_of_a_server_that_never_ran_is_removed(seen):
    assert seen.fate(ran=False) is REMOVE


@pytest.mark.parametrize('seen', [NO_HEADER, NO_PARENT, MADE_ELSEWHERE])
def test_what_no_guest_could_use_is_refused_if_its_server_has_run(seen):
    assert seen.fate(ran=True) is REFUSE


@pytest.mark.parametrize('seen', [NO_PARENT, MADE_ELSEWHERE, UNWRITTEN])
def test_whatever_is_on_the_disk_of_a_server_that_comes_it_is_used(seen):
    assert seen.fate(ran=True, comes=True) is USE


@pytest.mark.parametrize('seen', [NO_HEADER, SHUT])
def test_not_so_what_is_no_disk(seen):
    assert seen.fate(ran=True, comes=True) is REFUSE


@pytest.mark.parametrize('seen', [UNWRITTEN, OPEN_ELSEWHERE])
def test_a_clone_without_a_byte_is_the_disk_of_a_server_that_has_run(seen):
    assert seen.fate(ran=True) is USE


@pytest.mark.parametrize('seen', [OPEN_ELSEWHERE, MADE_ELSEWHERE])
def test_what_a_client_has_open_is_refused_if_its_server_never_ran(seen):
    assert seen.fate(ran=False) is REFUSE


@pytest.mark.parametrize('ran', [True, False])
@pytest.mark.parametrize('seen', [FLAT, WRITTEN])
def test_what_was_written_to_is_used(seen, ran):
    assert seen.fate(ran=ran) is USE


@pytest.mark.parametrize('ran', [True, False])
def test_what_has_a_header_and_cannot_be_opened_is_refused(ran):
    assert SHUT.fate(ran=ran) is REFUSE


@pytest.mark.parametrize(
    ('seen', 'is_void'),
    [
        (NO_HEADER, True),
        (NO_PARENT, True),
        (SHUT, False),
        (UNWRITTEN, False),
        (FLAT, False),
        (WRITTEN, False),
    ],
)
def test_only_what_holds_no_data_and_no_image_is_void(seen, is_void):
    assert seen.is_void is is_void


@pytest.mark.parametrize('comes', [True, False])
@pytest.mark.parametrize('seen', ALL)
def test_nothing_is_removed_of_a_server_that_has_run(seen, comes):
    assert seen.fate(ran=True, comes=comes) is not REMOVE


@pytest.mark.parametrize(
    'seen', [seen for seen in ALL if seen.header and seen.opens]
)
def test_nothing_is_removed_that_is_written_or_open(seen):
    if seen.written or seen.watched:
        assert seen.fate(ran=False) is not REMOVE


@pytest.mark.parametrize(
    ('seen', 'words'),
    [
        (NO_HEADER, 'no header'),
        (SHUT, 'cannot be opened'),
        (NO_PARENT, 'empty, and no clone'),
        (OPEN_ELSEWHERE, 'empty, and a client has it open'),
    ],
)
def test_what_is_wrong_with_a_disk_is_said(seen, words):
    assert words in str(seen)


@pytest.mark.parametrize(
    ('seen', 'words'),
    [
        (remains.Remains(snapshots=('one',)), 'it has snapshot one'),
        (
            remains.Remains(watched=True, snapshots=('one', 'two')),
            'it has snapshots one, two',
        ),
        (remains.Remains(watched=True), 'a client has it open'),
        (SHUT, 'it cannot be opened'),
        (WRITTEN, 'it is still there'),
    ],
)
def test_what_keeps_a_disk_from_being_removed_is_said(seen, words):
    assert seen.obstacle == words
