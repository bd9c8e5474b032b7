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

"""Zuul's jobs name only what there is.

What other projects have is listed here, with the file that has it.
"""

import configparser
import pathlib
import re

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[3]

#: Variables of localrc that are read by DevStack (stackrc, lib/glance,
#: lib/databases/mysql) and by devstack-plugin-ceph (devstack/lib/cephadm).
VARIABLES = {
    'CONTAINER_IMAGE',
    'GLANCE_DEFAULT_BACKEND',
    'GLANCE_LIMIT_IMAGE_SIZE_TOTAL',
    'MULTI_CEPH',
    'MYSQL_REDUCE_MEMORY',
}

#: Jobs of devstack-plugin-ceph (.zuul.yaml).
PARENTS = {'devstack-plugin-ceph-tempest-py3'}

#: Of openstack/openstack-zuul-jobs (zuul.d/project-templates.yaml, commit
#: b8ff5c89c4a5, 2026-06-23), with the jobs that they run on a master branch.
TEMPLATES = {
    'build-openstack-docs-pti': {'openstack-tox-docs'},
    'openstack-python3-jobs': {
        'openstack-tox-pep8',
        'openstack-tox-py311',
        'openstack-tox-py312',
        'openstack-tox-py313',
        'openstack-tox-py314',
    },
}

#: Variables of jobs that the roles of openstack/devstack, openstack/tempest
#: and of openstack-zuul-jobs (configure-swap) read.
JOB_VARIABLES = {
    'configure_swap_size',
    'devstack_localrc',
    'devstack_plugins',
    'devstack_services',
    'tempest_exclude_regex',
    'tempest_test_regex',
    'tox_envlist',
}

#: Services of stackrc and of devstack/.zuul.yaml.
SERVICES = {'c-bak', 's-account', 's-container', 's-object', 's-proxy'}

ZUUL = yaml.safe_load((ROOT / '.zuul.yaml').read_text())
JOBS = {entry['job']['name']: entry['job'] for entry in ZUUL if 'job' in entry}
(PROJECT,) = (entry['project'] for entry in ZUUL if 'project' in entry)

job = pytest.mark.parametrize('job', JOBS.values(), ids=JOBS)


def our_variables():
    """What devstack/settings lets local.conf set."""
    text = (ROOT / 'devstack/settings').read_text()
    return set(re.findall(r'\b(RBD_MULTISTORE_\w+)', text))


@job
def test_variables_are_read_by_somebody(job):
    variables = job.get('vars', {})
    assert variables.keys() <= JOB_VARIABLES
    assert variables.get('devstack_services', {}).keys() <= SERVICES
    localrc = variables.get('devstack_localrc', {})
    assert VARIABLES | our_variables() >= localrc.keys()


def test_plugin_is_enabled_after_that_of_ceph():
    enabled = JOBS['nova-rbd-multistore-base']['vars']['devstack_plugins']
    (name,) = enabled
    settings = (ROOT / 'devstack/settings').read_text().splitlines()
    assert f'define_plugin {name}' in settings
    assert f'plugin_requires {name} devstack-plugin-ceph' in settings


@job
def test_parent_is_there(job):
    assert job['parent'] in JOBS.keys() | PARENTS


@job
def test_playbooks_are_there(job):
    if 'post-run' in job:
        plays = yaml.safe_load((ROOT / job['post-run']).read_text())
        assert [play['hosts'] for play in plays] == ['controller']


def test_playbook_runs_programs_that_are_there():
    text = (ROOT / 'playbooks/check-rbd-parents/post.yaml').read_text()
    programs = re.findall(r'/opt/stack/nova-rbd-multistore/(\S+)', text)
    assert programs == ['tools/check-rbd-parents']
    assert (ROOT / programs[0]).stat().st_mode & 0o111


@job
def test_irrelevant_files_match_files_that_are_there(job):
    files = [
        str(path.relative_to(ROOT))
        for name in ('README.rst', 'doc', 'lab', 'releasenotes', 'tests')
        for path in (ROOT / name, *(ROOT / name).rglob('*'))
    ]
    for pattern in job.get('irrelevant-files', ()):
        assert [file for file in files if re.match(pattern, file)]
        assert not re.match(pattern, 'devstack/plugin.sh')
        assert not re.match(pattern, 'nova_rbd_multistore/backend.py')


def selected():
    """The modules of Tempest that the jobs run."""
    variables = JOBS['nova-rbd-multistore-base']['vars']
    test = re.compile(variables['tempest_test_regex'].strip())
    exclude = re.compile(variables['tempest_exclude_regex'])
    modules = pathlib.Path(__file__).with_name('tempest-47.txt')
    return {
        module
        for module in modules.read_text().splitlines()
        if test.search(module) and not exclude.search(module)
    }


@pytest.mark.parametrize(
    'module',
    [
        'tempest.api.compute.servers.test_create_server',
        'tempest.api.compute.servers.test_server_actions',
        'tempest.api.compute.images.test_images_oneserver',
        'tempest.api.image.v2.test_images',
        'tempest.scenario.test_minimum_basic',
        'tempest.scenario.test_server_basic_ops',
        'tempest.scenario.test_shelve_instance',
        'tempest.scenario.test_snapshot_pattern',
    ],
)
def test_tempest_runs_what_boots_servers(module):
    assert module in selected()


@pytest.mark.parametrize(
    'module',
    [
        'tempest.api.compute.volumes.test_attach_volume',
        'tempest.api.image.v2.test_images_formats',
        'tempest.scenario.test_network_basic_ops',
    ],
)
def test_tempest_runs_nothing_else(module):
    modules = pathlib.Path(__file__).with_name('tempest-47.txt')
    assert module in modules.read_text().splitlines()
    assert module not in selected()


def braces(text):
    """The names that "py3{,11}" of tox stands for."""
    head, brace, rest = text.partition('{')
    if not brace:
        return [text]
    middle, _, tail = rest.partition('}')
    return [head + each + tail for each in middle.split(',')]


def test_templates_run_environments_of_tox_that_are_there():
    ini = configparser.ConfigParser(interpolation=None)
    ini.read(ROOT / 'tox.ini')
    known = {
        expanded
        for section in ini.sections()
        for expanded in braces(section.removeprefix('testenv:'))
    }
    for template in PROJECT['templates']:
        for name in TEMPLATES[template]:
            assert name.removeprefix('openstack-tox-') in known


def test_project_has_one_name():
    gitreview = configparser.ConfigParser()
    gitreview.read(ROOT / '.gitreview')
    (name,) = re.findall(
        r'opendev\.org/(\S+/nova-rbd-multistore)',
        (ROOT / '.zuul.yaml').read_text(),
    )
    assert gitreview['gerrit']['project'] == f'{name}.git'
    assert f'``{name}``' in (ROOT / 'CONTRIBUTING.rst').read_text()


@pytest.mark.parametrize('pipeline', ['check', 'gate'])
def test_pipelines_run_jobs_that_are_not_abstract(pipeline):
    jobs = PROJECT[pipeline]['jobs']
    assert jobs
    for name in jobs:
        assert not JOBS[name].get('abstract')


def test_gate_runs_voting_jobs_only():
    for name in PROJECT['gate']['jobs']:
        assert JOBS[name].get('voting', True)


def test_second_cluster_has_the_default_store_of_one_job():
    localrc = JOBS['nova-rbd-multistore-rbd-to-rbd']['vars'][
        'devstack_localrc'
    ]
    assert localrc['MULTI_CEPH'] is True
    settings = (ROOT / 'devstack/settings').read_text()
    default = localrc['GLANCE_DEFAULT_BACKEND']
    assert f'RBD_MULTISTORE_CENTRAL_STORE:-{default}' in settings
