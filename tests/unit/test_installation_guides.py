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

"""What the documentation has operators put into files can be read.

Each snippet is read as the program would read it that it is for, with all
options registered that Nova, Glance and this package have.
"""

import configparser
import contextlib
import dataclasses
import pathlib
import re
import textwrap

from glance import opts as glance_opts
from glance import policies as glance_policies
from glance.common import wsgi_app
import glance_store
from nova import thread_pool_factory
from nova import utils as nova_utils
import nova.conf
from nova.conf import opts as nova_opts
from oslo_config import cfg
from oslo_policy import opts as policy_opts
from oslo_policy import policy
import pytest
import stevedore
import yaml

from nova_rbd_multistore import conf

DOCUMENTATION = pathlib.Path(__file__).parents[2] / 'doc' / 'source'

BLOCK = re.compile(
    r'^( *)\.\. code-block:: (ini|yaml)\n'
    r'(?:\1   :caption: (.+)\n)?'
    r'\n((?:\1   .*\n|\n)+)',
    re.MULTILINE,
)


#: Those of all examples.
STORES = {'east': 'rbd', 'west': 'rbd'}


@dataclasses.dataclass(frozen=True)
class Snippet:
    """What is to be put into a file.

    :ivar place: the page, and what the caption says of the file
    """

    place: str
    language: str
    text: str


def snippets():
    for path in sorted(DOCUMENTATION.glob('*.rst')):
        for _, language, caption, text in BLOCK.findall(path.read_text()):
            yield Snippet(
                f'{path.name}: {caption}', language, textwrap.dedent(text)
            )


def nova_conf(path):
    return read(path, nova_opts.list_opts, conf.list_opts)


def glance_conf(path):
    options = read(path, glance_opts.list_api_opts, policy_opts.list_opts)
    if not options.enabled_backends:
        # The deployment tool names its stores itself.
        options.set_override('enabled_backends', STORES)
    glance_store.register_store_opts(
        options, reserved_stores=wsgi_app.RESERVED_STORES
    )
    return options


def read(path, *sources):
    options = cfg.ConfigOpts()
    # Before any is registered: what is required is in other files.
    options([], default_config_files=[str(path)], default_config_dirs=[])
    for source in sources:
        for name, found in source():
            # By its name: Nova's own group would keep the option.
            group = None if name in (None, 'DEFAULT') else str(name)
            for option in found:
                # keystoneauth's plugins share the names of their options.
                with contextlib.suppress(cfg.DuplicateOptError):
                    options.register_opt(option, group=group)
    return options


READERS = {'nova.conf': nova_conf, 'glance-api.conf': glance_conf}


def as_ini(sections):
    return '\n'.join(
        line
        for section, options in sections.items()
        for line in (
            f'[{section}]',
            *(f'{name} = {value}' for name, value in options.items()),
        )
    )


def of_openstack_ansible(stores, overrides):
    """What the role os_glance makes of its variables: glance-api.conf."""
    stores = list(stores)
    backends = ','.join(f'{store["name"]}:{store["type"]}' for store in stores)
    return as_ini(
        overrides
        | {store['name']: store['config'] for store in stores}
        | {'glance_store': {'default_backend': stores[0]['name']}}
        | {'DEFAULT': {**overrides['DEFAULT'], 'enabled_backends': backends}}
    )


def files_in(value):
    """The files that a deployment tool makes of its YAML, by their kind."""
    match value:
        case {'copy_image': _} | {'add_image_location': _}:
            yield 'policy.yaml', yaml.safe_dump(value)
        case {'kind': 'ConfigMap', 'data': data}:
            for name, text in data.items():
                yield name.replace('30-multistore-', ''), text
        case {'customServiceConfig': text, **others}:
            yield 'glance-api.conf', text
            yield from files_in(others)
        case {
            'glance_default_store': default,
            'glance_additional_stores': others,
            'glance_glance_api_conf_overrides': overrides,
            'glance_policy_overrides': rules,
        }:
            stores = [default, *others]
            yield 'glance-api.conf', of_openstack_ansible(stores, overrides)
            yield from files_in(rules)
        case {'nova_nova_conf_overrides': overrides}:
            yield 'nova.conf', as_ini(overrides)
        case dict():
            for inner in value.values():
                yield from files_in(inner)


def files():
    """Every file of the documentation: its place, its kind, its text."""
    for snippet in snippets():
        if snippet.language == 'yaml':
            for kind, text in files_in(yaml.safe_load(snippet.text)):
                yield snippet.place, kind, text
        elif re.search(r'nova(-compute)?\.conf', snippet.place):
            yield snippet.place, 'nova.conf', snippet.text
        elif 'glance-api.conf' in snippet.place:
            yield snippet.place, 'glance-api.conf', snippet.text
        else:
            yield snippet.place, 'other', snippet.text


def of_kind(*kinds):
    found = [entry for entry in files() if entry[1] in kinds]
    return pytest.mark.parametrize(
        ('kind', 'text'),
        [entry[1:] for entry in found],
        ids=[entry[0] for entry in found],
    )


def test_all_files_are_of_a_kind_that_is_read():
    kinds = [kind for _, kind, _ in files()]
    assert set(kinds) == {*READERS, 'policy.yaml', 'other'}
    for kind in (*READERS, 'policy.yaml'):
        assert kinds.count(kind) >= 4


@of_kind('nova.conf', 'glance-api.conf')
def test_each_option_is_known_and_its_value_fits(kind, text, tmp_path):
    path = tmp_path / kind
    path.write_text(text)
    known = READERS[kind](path)
    # Some options of Nova's may be given more than once.
    given = configparser.RawConfigParser(default_section='', strict=False)
    given.read_string(text)
    for section in given.sections():
        options = known if section == 'DEFAULT' else known[section]
        for name in given[section]:
            # An unknown one is not in it, one that does not fit raises.
            assert name in options
            assert options[name] is not None


@of_kind('glance-api.conf')
def test_each_store_in_ceph_has_a_time_out(kind, text, tmp_path):
    path = tmp_path / kind
    path.write_text(text)
    options = glance_conf(path)
    assert options.enabled_backends == STORES
    for store in STORES:
        # As long as the driver waits itself, and no shorter.
        assert options[store].rados_connect_timeout == 60


@pytest.fixture
def shared_threads(options, monkeypatch):
    """How many native threads Nova has for builds and snapshots."""
    monkeypatch.setattr(nova_utils, 'concurrency_mode_threading', lambda: True)

    def count(limits):
        options.config(**limits)
        return thread_pool_factory.ExecutorsPoolSize.get(
            thread_pool_factory.ExecutorType.LONG_TASK
        )

    return count


def limits_in(text, form):
    """The limits of builds and snapshots that a text has in this form."""
    found = re.findall(rf'(max_concurrent_\w+){form}', text)
    return {name: int(number) for name, number in found}


def test_builds_and_snapshots_share_the_threads_of_which_sizing_tells(
    shared_threads,
):
    page = (DOCUMENTATION / 'sizing.rst').read_text()
    limits = limits_in(page, r'`` \((\d+)\)')
    assert limits == {
        name: nova.conf.CONF[name]
        for name in ('max_concurrent_builds', 'max_concurrent_snapshots')
    }
    assert shared_threads(limits) == max(limits.values())


def test_what_sizing_has_raised_is_one_number_for_both(shared_threads):
    (text,) = (
        snippet.text
        for snippet in snippets()
        if snippet.place.startswith('sizing.rst: nova.conf')
    )
    builds, snapshots = limits_in(text, r' = (\d+)').values()
    assert shared_threads(limits_in(text, r' = (\d+)')) == builds == snapshots


@of_kind('policy.yaml')
def test_each_rule_is_one_of_glances(kind, text):
    rules = policy.Rules.load(text)
    assert rules.keys() <= {rule.name for rule in glance_policies.list_rules()}
    # What cannot be parsed becomes a rule that is never true.
    assert '!' not in map(str, rules.values())


@of_kind('policy.yaml')
def test_a_rule_is_open_to_nova_on_behalf_of_a_user_only(kind, text):
    rules = policy.Rules.load(text)
    enforcer = policy.Enforcer(cfg.ConfigOpts())
    user = {'roles': ['member'], 'service_roles': []}
    for name, check in rules.items():
        assert not check({}, user, enforcer)
        by_nova = check({}, {**user, 'service_roles': ['service']}, enforcer)
        assert by_nova == (name != 'add_image_location')


@of_kind('policy.yaml')
def test_nowhere_is_it_left_open_to_set_locations(kind, text):
    assert 'add_image_location' in policy.Rules.load(text)


@of_kind('other')
def test_other_files_can_be_parsed(kind, text):
    parsed = configparser.RawConfigParser(allow_no_value=True)
    parsed.read_string(text)
    known = stevedore.ExtensionManager('oslo.middleware.healthcheck').names()
    for section in parsed.values():
        for backend in section.get('backends', '').split():
            assert backend in known
