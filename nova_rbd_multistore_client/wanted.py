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

"""A file that says which images belong in which stores."""

from collections.abc import Hashable, Iterator, Mapping
import dataclasses
import fnmatch
from typing import Any

import jsonschema
import yaml

from nova_rbd_multistore_client import errors
from nova_rbd_multistore_client import image as images

_WORD = {'type': 'string', 'minLength': 1, 'maxLength': 255}
_WORDS = {'type': 'array', 'items': _WORD, 'minItems': 1}

#: One of them has to be there: they say whose images a rule means.
_WHOSE = [
    {'required': ['owner']},
    {'required': ['ids']},
    {
        'required': ['visibility'],
        'properties': {'visibility': {'const': 'public'}},
    },
]

#: What such a file may hold, as a JSON Schema.
SCHEMA: Mapping[str, Any] = {
    '$schema': 'https://json-schema.org/draft/2020-12/schema',
    'type': 'object',
    'required': ['version', 'rules'],
    'additionalProperties': False,
    'properties': {
        'version': {'const': 1},
        'rules': {
            'type': 'array',
            'minItems': 1,
            'items': {
                'type': 'object',
                'required': ['images', 'stores'],
                'additionalProperties': False,
                'properties': {
                    'images': {
                        'type': 'object',
                        'minProperties': 1,
                        'additionalProperties': False,
                        # Names, tags and properties are users' to set: they
                        # could have their own images copied everywhere.
                        'anyOf': _WHOSE,
                        'properties': {
                            'ids': _WORDS,
                            'name': _WORD,
                            'tags': _WORDS,
                            'properties': {
                                'type': 'object',
                                'minProperties': 1,
                                'additionalProperties': {'type': 'string'},
                            },
                            'owner': _WORD,
                            'visibility': {
                                'enum': [
                                    *('public', 'community'),
                                    *('shared', 'private'),
                                ]
                            },
                        },
                    },
                    'stores': {'anyOf': [{'const': 'all'}, _WORDS]},
                    'exclusive': {'type': 'boolean'},
                },
            },
        },
    },
}


class WrongFile(errors.WrongUse):
    """A file that is not as it should be; the message names file and line."""

    def __init__(self, name: str, line: int, reason: str) -> None:
        super().__init__(f'{name}:{line}: {reason}')


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """Images, all of whose criteria are met, belong in some stores.

    :ivar line: of the file
    :ivar stores: None for all stores that can be written to
    :ivar exclusive: whether they belong in no other store
    :ivar name: a pattern, as a shell matches it
    """

    line: int
    stores: tuple[str, ...] | None
    exclusive: bool = False
    ids: frozenset[str] | None = None
    name: str | None = None
    tags: frozenset[str] = frozenset()
    properties: Mapping[str, str] = dataclasses.field(default_factory=dict)
    owner: str | None = None
    visibility: str | None = None

    def applies_to(self, image: images.Image) -> bool:
        """Whether an image meets all criteria."""
        record = image.record
        return (
            (self.ids is None or image.id in self.ids)
            and (
                self.name is None or fnmatch.fnmatchcase(image.name, self.name)
            )
            and self.tags <= image.tags
            and self.properties.items() <= image.properties.items()
            and self.owner in (None, record.owner)
            and self.visibility in (None, record.visibility)
        )


def parse(content: str, name: str) -> tuple[Rule, ...]:
    """Read such a file.

    :param name: of the file
    :raises WrongFile: for the first thing in it that is wrong
    """
    try:
        root = yaml.compose(content, Loader=yaml.SafeLoader)
        body = yaml.safe_load(content)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        line = mark.line + 1 if mark else 1
        raise WrongFile(name, line, f'no YAML: {exc.problem}') from exc
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        raise WrongFile(name, 1, f'no YAML: {exc}') from exc
    if root is None:
        raise WrongFile(name, 1, 'nothing in it')
    for key in _repeated_keys(root):
        raise WrongFile(name, _line(key), f'{key.value} is there twice')
    validator = jsonschema.Draft202012Validator(SCHEMA)
    wrong = [
        (
            _rank(error),
            _line(_node(root, error)),
            _reason(error),
        )
        for error in validator.iter_errors(body)
    ]
    if wrong:
        _, line, reason = min(wrong)
        raise WrongFile(name, line, reason)
    rules = _child(root, 'rules')
    return tuple(
        _rule(_line(node), fields)
        for node, fields in zip(rules.value, body['rules'], strict=True)
    )


def _rule(line: int, fields: Mapping[str, Any]) -> Rule:
    criteria = fields['images']
    stores = fields['stores']
    ids = criteria.get('ids')
    return Rule(
        line=line,
        stores=None if stores == 'all' else tuple(dict.fromkeys(stores)),
        exclusive=fields.get('exclusive', False),
        ids=frozenset(ids) if ids else None,
        name=criteria.get('name'),
        tags=frozenset(criteria.get('tags', ())),
        properties=criteria.get('properties', {}),
        owner=criteria.get('owner'),
        visibility=criteria.get('visibility'),
    )


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1


def _child(node: Any, key: Hashable) -> Any:
    """The part of a node that has a key, or an index."""
    if isinstance(node, yaml.SequenceNode):
        return node.value[key]
    for name, value in node.value:
        if name.value == str(key):
            return value
    return node


def _node(root: Any, error: Any) -> Any:
    """Where an error is: the key itself, where it is one too many."""
    node = root
    for step in error.absolute_path:
        node = _child(node, step)
    if error.validator == 'additionalProperties':
        allowed = error.schema.get('properties', {})
        for name, _ in node.value:
            if name.value not in allowed:
                return name
    return node


def _is_about_whose(error: Any) -> bool:
    return error.validator_value is _WHOSE


def _rank(error: Any) -> int:
    """Which of several errors of one rule is the cause of the others."""
    if error.validator == 'additionalProperties':
        # A key that is misspelled is missing, too.
        return 0
    return 2 if _is_about_whose(error) else 1


def _reason(error: Any) -> str:
    path = '.'.join(
        f'[{step}]' if isinstance(step, int) else str(step)
        for step in error.absolute_path
    ).replace('.[', '[')
    if _is_about_whose(error):
        return (
            f'{path}: any user may have images that meet this, for names, '
            'tags and properties are theirs to set: add owner, ids or '
            '"visibility: public"'
        )
    if error.validator == 'anyOf':
        return f'{path} is neither "all" nor a list of names of stores'
    return f'{path}: {error.message}' if path else str(error.message)


def _repeated_keys(node: Any) -> Iterator[Any]:
    """Keys that a mapping has twice, of which YAML keeps the last."""
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                yield key
            seen.add(str(key.value))
            yield from _repeated_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for entry in node.value:
            yield from _repeated_keys(entry)
