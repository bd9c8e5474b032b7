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

"""The first documents that a newcomer reads agree, and lead somewhere."""

import configparser
import pathlib
import re
from urllib import parse

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[2]
MAP = 'doc/source/how-it-works.rst'
#: At the root, and therefore with links relative to it.
FIRST = ('README.rst', 'CONTRIBUTING.rst', 'HACKING.rst', 'SECURITY.rst')
READMES = ('devstack/README.rst', 'lab/README.rst')
NAME = 'nova-rbd-multistore'


def words(page):
    return ' '.join(page.read_text().split())


def project():
    """Where git-review sends a change: the host and the project."""
    review = configparser.ConfigParser()
    review.read(ROOT / '.gitreview')
    gerrit = review['gerrit']
    return gerrit['host'], gerrit['project'].removesuffix('.git')


def test_zuul_and_git_review_name_one_project():
    host, path = project()
    jobs = yaml.safe_load((ROOT / '.zuul.yaml').read_text())
    base = jobs[0]['job']
    (url,) = base['vars']['devstack_plugins'].values()
    assert parse.urlsplit(url).path == f'/{path}'
    assert host == f'review.{parse.urlsplit(url).hostname}'


def test_no_document_names_another_project():
    _, path = project()
    place = re.compile(
        rf'\b((?:openstack|x|opendev\.org/\w+|github\.com/[\w-]+)/{NAME})\b'
    )
    pages = [
        *(ROOT / 'doc' / 'source').glob('*.rst'),
        *(ROOT / page for page in (*FIRST, *READMES)),
    ]
    named = {name for page in pages for name in place.findall(words(page))}
    assert named == {path}
    assert f'``{path}`` on OpenDev' in words(ROOT / 'CONTRIBUTING.rst')


def test_contributing_says_how_each_thing_gets_in():
    text = (ROOT / 'CONTRIBUTING.rst').read_text()
    for thing in ('A bug', 'A vulnerability', 'A change'):
        assert re.search(rf'^{thing}\n    \w', text, re.MULTILINE)
    assert 'in private' in words(ROOT / 'SECURITY.rst')


@pytest.mark.parametrize('page', FIRST)
def test_each_link_of_the_first_documents_leads_to_a_file(page):
    text = (ROOT / page).read_text()
    links = re.findall(r'<([^<>\s]+)>`_|^\.\. _[^:]+: (\S+)$', text, re.M)
    targets = {first or second for first, second in links}
    assert targets
    for target in targets:
        if not parse.urlsplit(target).scheme:
            assert (ROOT / target).is_file()


@pytest.mark.parametrize(
    'page', ['README.rst', 'CONTRIBUTING.rst', 'HACKING.rst']
)
def test_a_newcomer_is_shown_the_map(page):
    assert MAP in (ROOT / page).read_text()


def test_the_layers_have_one_name_each():
    _, _, text = (ROOT / MAP).read_text().partition('\nLayers\n')
    layers = re.findall(r'^#\. \*\*(.+?)\*\*', text, re.MULTILINE)
    assert len(layers) == 6
    assert '; '.join(layers).lower() in words(ROOT / 'HACKING.rst').lower()


def test_the_lab_needs_what_the_readme_says():
    figures = re.compile(
        r'(\S+ GiB) of free memory and (\S+ GiB) of free disk '
        r'\(``(tools/peak .+?)`` shows (\S+ GiB) and (\S+ GiB) used\)'
    )
    first, lab = (
        figures.findall(words(ROOT / page))
        for page in ('README.rst', 'lab/README.rst')
    )
    assert len(first) == 1
    assert first == lab
