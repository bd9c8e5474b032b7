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

"""What tempest says of a cloud whose computes run our driver."""

import re

import pytest

from tests.tempest import suite as tempest_suite


@pytest.fixture(scope='session')
def excluded(suite, chosen):
    return suite.included() - chosen


@pytest.fixture(scope='session')
def chosen(suite):
    return suite.chosen()


@pytest.mark.parametrize(
    'exclusion', tempest_suite.exclusions(), ids=lambda it: it.regex
)
def test_an_exclusion_has_a_reason_and_excludes_something(exclusion, excluded):
    assert exclusion.reason
    assert any(re.search(exclusion.regex, name) for name in excluded)


def test_what_is_not_excluded_is_listed(chosen):
    assert chosen == set(tempest_suite.passing())


@pytest.mark.parametrize('name', tempest_suite.passing())
def test_passes(name, run):
    assert run.outcomes.get(name) == 'success', f'see {run.output}'


def test_nothing_else_fails(run):
    """Nor does what tempest does before and after a class of tests."""
    listed = tempest_suite.passing()
    failed = {
        name
        for name, outcome in run.outcomes.items()
        if outcome != 'success' and name not in listed
    }
    assert not failed, f'see {run.output}'


def test_each_disk_is_a_clone(run):
    """But an unshelved server's, which Nova flattens to delete its image."""
    text = 'flattened successfully while unshelving instance'
    flattened = [line for log in run.compute_logs for line in log.lines(text)]
    assert run.parents
    flat = [disk for disk, parent in run.parents.items() if not parent]
    assert [
        disk for disk in flat if not any(disk in line for line in flattened)
    ] == []


def test_nothing_is_downloaded_instead_of_cloned(run):
    text = 'Downloading instead of cloning'
    assert [log.lines(text) for log in run.compute_logs] == [[], [], []]
