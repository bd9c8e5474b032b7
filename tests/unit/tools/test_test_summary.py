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

"""The summary of a test run, of what its stages have left."""

import json
import pathlib
import subprocess
import sys

TOOL = pathlib.Path(__file__).parents[3] / 'tools' / 'test-summary'


def run_of(results, *stages, tests=None):
    results.mkdir(exist_ok=True)
    lines = [f'{name}\t{seconds}\t{code}' for name, seconds, code in stages]
    (results / 'stages.tsv').write_text('\n'.join([*lines, '']))
    for name, counts in (tests or {}).items():
        attributes = ' '.join(
            f'{key}="{count}"' for key, count in counts.items()
        )
        (results / f'{name}.xml').write_text(
            f'<testsuites><testsuite {attributes}/></testsuites>'
        )


def summary(results, tmp_path, planned=''):
    path = tmp_path / 'summary.json'
    done = subprocess.run(
        [sys.executable, TOOL, '--json', path, '--planned', planned, results],
        check=False,
        capture_output=True,
        text=True,
    )
    assert not done.stderr
    return done, json.loads(path.read_text())


def test_a_run_that_is_a_stage_has_its_stages_in_the_result(tmp_path):
    results = tmp_path / 'results'
    run_of(results, ('debian13-demo', 200, 0), ('debian13', 1500, 0))
    counts = {'tests': 140, 'failures': 0, 'errors': 0, 'skipped': 4}
    run_of(
        results / 'debian13',
        ('pep8', 60, 0),
        ('functional', 900, 0),
        tests={'functional': counts},
    )

    done, result = summary(results, tmp_path)

    assert done.returncode == 0
    assert {stage['name']: stage['passed'] for stage in result['stages']} == {
        'debian13-demo': 1,
        'debian13': 1,
        'debian13-pep8': 1,
        'debian13-functional': 136,
    }
    # Its time is in that of the stage.
    assert ['all', '1700'] in [
        line.split() for line in done.stdout.splitlines()
    ]


def test_a_stage_has_the_versions_of_its_machine(tmp_path):
    results = tmp_path / 'results'
    run_of(results, ('unit', 100, '0\t18.2.7+ds-1\tPython 3.13.5'))

    _, result = summary(results, tmp_path)

    (stage,) = result['stages']
    assert (stage['librbd'], stage['python']) == ('18.2.7+ds-1', '3.13.5')


def test_what_failed_in_such_a_run_has_failed(tmp_path):
    results = tmp_path / 'results'
    run_of(results, ('debian13', 1500, 0))
    run_of(results / 'debian13', ('docs', 60, 1))

    done, result = summary(results, tmp_path)

    assert done.returncode == 1
    assert result['failed'] == 1


def test_what_another_run_has_had_stays_with_its_commit(tmp_path):
    path = tmp_path / 'summary.json'
    kept = {'name': 'ceph20', 'passed': 7, 'failed': 1, 'skipped': 0}
    kept['commit'] = 'of another day'
    names = ('unit', 'ceph20', 'debian13-unit', 'ceph20x', 'no-longer')
    before = [{**kept, 'name': name} for name in names]
    path.write_text(json.dumps({'stages': before}))
    run_of(tmp_path / 'results', ('unit', 100, 0))

    _, result = summary(
        tmp_path / 'results', tmp_path, 'unit nemesis debian13 ceph20'
    )

    *others, ours = result['stages']
    assert others == [kept, {**kept, 'name': 'debian13-unit'}]
    assert (ours['name'], ours['passed']) == ('unit', 1)
    assert ours['commit'] == result['commit'] != kept['commit']
    assert (result['passed'], result['failed']) == (15, 2)
    assert result['left_out'] == ['nemesis', 'debian13']
