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

"""How well a thing is prepared, and the sentence that helps."""

from nova_rbd_multistore import grade


def test_of_several_the_worst_counts_and_says_why():
    result = grade.worst(
        [grade.passes('a'), grade.fails('b'), grade.warns('c')]
    )
    assert (result.code, result.details) == (grade.Code.FAILURE, 'b')


def test_all_of_the_worst_kind_have_their_say_once():
    result = grade.worst(
        [grade.warns('b.'), grade.passes('a.'), grade.warns('c.')] * 2
    )
    assert (result.code, result.details) == (grade.Code.WARNING, 'b. c.')


def test_what_could_not_be_checked_says_so():
    assert str(grade.NotChecked('x.')) == 'Not checked: x.'
