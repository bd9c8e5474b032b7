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

"""A file of rules: which images belong in which stores, and the stores."""

from collections.abc import Sequence
import pathlib

from nova_rbd_multistore_client import errors
from nova_rbd_multistore_client import store as stores
from nova_rbd_multistore_client import wanted


def read(
    path: pathlib.Path, known: Sequence[stores.Store]
) -> tuple[wanted.Rule, ...]:
    """Read a file of rules for the stores that there are.

    :raises errors.WrongUse: if it cannot be read, is wrong, or names a store
        that Glance does not have
    """
    try:
        content = path.read_text(encoding='utf-8')
    except OSError as exc:
        raise errors.WrongUse(f'{path}: {exc.strerror}') from exc
    except UnicodeDecodeError as exc:
        raise errors.WrongUse(f'{path}: not in UTF-8') from exc
    rules = wanted.parse(content, str(path))
    ids = [store.id for store in known]
    for rule in rules:
        for name in rule.stores or ():
            if name not in ids:
                raise wanted.WrongFile(
                    str(path),
                    rule.line,
                    f'Glance has no store {name}, only {", ".join(ids)}',
                )
    return rules
