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


"""The benchmarks' report; what they measure is for a lab to show."""

import json
import pathlib

import pytest

from benchmarks import report
from benchmarks.copies import figures as copies
from benchmarks.copies import traffic

ROOT = pathlib.Path(__file__).parents[2]


def figure(**fields):
    return report.Figure('a figure', 'ms', **fields)


def table(*figures):
    return report.rows({'figures': [one.as_dict() for one in figures]})


def assert_shown(sheet):
    results = json.loads(sheet.latest.read_text())
    assert sheet.page.read_text() == sheet.as_csv(results)


def test_the_documentation_shows_the_figures_that_are_kept():
    assert_shown(report.SHEET)


def test_the_figures_kept_are_of_one_run_with_its_circumstances():
    results = json.loads(report.SHEET.latest.read_text())
    assert results['machine'].keys() >= {'date', 'commit', 'cpu', 'versions'}
    assert not [one for one in results['figures'] if 'ours' not in one]


def test_the_documentation_shows_the_copies_that_are_kept():
    assert_shown(copies.SHEET)


def test_the_documentation_shows_the_routes_that_are_kept():
    assert_shown(traffic.SHEET)


def test_of_a_route_the_seconds_of_each_size_and_the_bytes_of_the_largest():
    small = [traffic.Copy(2, 16, 16, 16).as_dict()]
    large = [
        traffic.Copy(seconds, 64.2, 65, 66).as_dict() for seconds in (9, 3, 4)
    ]
    results = {
        'sizes_mib': [16, 64],
        'routes': {'there': {'16': small, '64': large}},
    }

    header, row = traffic.table(results)

    assert header[:3] == ('Route', '16 MiB, s', '64 MiB, s')
    assert row == ('there', '2.0', '4.0', '64', '65', '66')


def copied(**samples):
    """The table of copies that were made in one way, without its header."""
    row = {store: found.as_dict() for store, found in samples.items()}
    return copies.table({'image_mib': 64, 'copies': {'so': row}})[1:]


def test_of_copies_the_medians_count():
    rows = copied(
        file=copies.Samples([9, 1, 2], [100, 300], [5]),
        east=copies.Samples([4], [200], [7, 60]),
    )
    assert rows == [('so', '2.0', '4.0', '200', '7.0')]


def test_a_copy_that_was_not_made_leaves_a_gap():
    rows = copied(file=copies.Samples([9]), east=copies.Samples())
    assert rows == [('so', '9.0', '', '', '')]


def test_the_median_counts():
    (row,) = table(figure(ours=[1, 90, 2, 3, 2.5]))
    assert row[3] == '2.5'


def test_ours_is_compared_with_stock_and_with_the_limit():
    (row,) = table(figure(stock=[200], ours=[50], limit=[40]))
    assert row[6:8] == ('0.25', '1.25')


def test_a_ratio_to_nothing_is_none():
    (row,) = table(figure(stock=[0], ours=[0]))
    assert row[6:8] == ('', '')


@pytest.mark.parametrize(
    ('ours', 'verdict'), [(5, 'five: reached'), (5.1, 'five: missed')]
)
def test_what_is_to_be_reached_is_judged(ours, verdict):
    (row,) = table(figure(ours=[ours], bound=5, target='five'))
    assert row[-1] == verdict


@pytest.mark.parametrize(
    ('ours', 'secure', 'verdict'),
    [
        (5, 6, 'five, six: reached'),
        (5.1, 6, 'five, six: missed'),
        (5, 6.1, 'five, six: missed'),
    ],
)
def test_a_secure_glance_may_have_a_bound_of_its_own(ours, secure, verdict):
    (row,) = table(
        figure(
            ours=[ours],
            secure=[secure],
            bound=5,
            secure_bound=6,
            target='five, six',
        )
    )
    assert row[-1] == verdict


def test_a_secure_glance_may_have_a_limit_of_its_own():
    (row,) = table(
        figure(ours=[60], secure=[70], limit=[50], secure_limit=[56])
    )
    assert (row[5], row[7]) == ('50, secure 56', '1.2, secure 1.25')


def test_zero_can_be_what_is_to_be_reached():
    (row,) = table(figure(ours=[1], bound=0, target='none'))
    assert row[-1] == 'none: missed'


def test_what_need_not_reach_anything_is_reported():
    (row,) = table(figure(ours=[5]))
    assert row[-1] == 'reported'
