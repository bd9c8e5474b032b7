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

"""Glance's database, for what only time could otherwise bring about."""

from collections.abc import Callable, Iterator, Sequence
import contextlib
import json

import pymysql
from pymysql.constants import ER

from lab import credentials
from lab import layout
from tests.rig import polling

_ROWS_OF_AN_IMAGE = (
    'SELECT id FROM images WHERE id = %s FOR UPDATE NOWAIT',
    'SELECT id FROM image_properties WHERE image_id = %s FOR UPDATE NOWAIT',
    'SELECT id FROM image_locations WHERE image_id = %s FOR UPDATE NOWAIT',
    'SELECT id FROM tasks WHERE image_id = %s FOR UPDATE NOWAIT',
)


def connect(
    where: layout.Layout, service: str = 'glance'
) -> pymysql.Connection:
    """The database of a service; each statement is a transaction."""
    password = credentials.Credentials.load(where).database(service)
    return pymysql.connect(
        host=layout.HOST,
        port=layout.PORTS['mariadb'],
        user=service,
        password=password,
        database=service,
        autocommit=True,
    )


def age_task(where: layout.Layout, task_id: str, minutes: int) -> None:
    """Make a task's last sign of life lie ``minutes`` further back."""
    _change(
        where,
        'UPDATE tasks SET updated_at = updated_at - INTERVAL %s MINUTE '
        'WHERE id = %s',
        minutes,
        task_id,
    )


def age_image(where: layout.Layout, image_id: str, days: int) -> None:
    """Make an image's last change lie ``days`` further back."""
    _change(
        where,
        'UPDATE images SET updated_at = updated_at - INTERVAL %s DAY '
        'WHERE id = %s',
        days,
        image_id,
    )


def touch_task(where: layout.Layout, task_id: str) -> None:
    """Make a task show a sign of life."""
    _change(
        where,
        'UPDATE tasks SET updated_at = UTC_TIMESTAMP() WHERE id = %s',
        task_id,
    )


def tell_progress(where: layout.Layout, task_id: str) -> None:
    """Have a task say that it has copied one MiB more, and nothing else."""
    _change(
        where,
        "UPDATE task_info SET message = CONCAT('Copied ', "
        "COALESCE(NULLIF(REGEXP_SUBSTR(message, '[0-9]+'), ''), 0) + 1, "
        "' MiB') WHERE task_id = %s",
        task_id,
    )


def hide_task(where: layout.Layout, task_id: str) -> None:
    """Make a task as good as not stored yet."""
    _rename_task(where, task_id, task_id[::-1])


def show_task(where: layout.Layout, task_id: str) -> None:
    """Undo :func:`hide_task`."""
    _rename_task(where, task_id[::-1], task_id)


def _rename_task(where: layout.Layout, old: str, new: str) -> None:
    # Its second row, in task_info, refers to it.
    with connect(where) as glance, glance.cursor() as rows:
        rows.execute('SET SESSION foreign_key_checks = 0')
        changed = rows.execute(
            'UPDATE tasks SET id = %s WHERE id = %s', [new, old]
        )
        assert changed == 1


@contextlib.contextmanager
def deadlock(
    where: layout.Layout, image_id: str, ballast: str
) -> Iterator[Callable[[], None]]:
    """Hold the place of an image's lock, so that taking it ends in a deadlock.

    Gives what waits for a glance-api to take the lock, and wins: MariaDB ends
    the transaction of two that has written less, and that is not ours.

    :param ballast: another image, whose rows make ours the heavier one
    """
    insert = (
        'INSERT INTO image_properties '
        '(image_id, name, value, created_at, deleted) '
        'VALUES (%s, %s, %s, UTC_TIMESTAMP(), 0)'
    )
    with connect(where) as ours, ours.cursor() as rows, connect(where) as look:
        ours.begin()
        rows.executemany(
            insert, [(ballast, f'ballast-{n}', '') for n in range(100)]
        )
        rows.execute(
            'SELECT id FROM image_properties WHERE image_id = %s '
            "AND name = 'os_glance_import_task' FOR UPDATE",
            [image_id],
        )

        def is_awaited() -> bool:
            with look.cursor() as cursor:
                cursor.execute('SHOW FULL PROCESSLIST')
                return any(
                    str(row[7]).startswith('INSERT INTO image_properties')
                    for row in cursor.fetchall()
                )

        def win() -> None:
            polling.until(is_awaited, 'glance-api takes the lock', pause=0.05)
            rows.execute(insert, [image_id, 'os_glance_import_task', ''])
            ours.rollback()

        yield win
        ours.rollback()


def place_image(
    where: layout.Layout,
    image_id: str,
    locations: Sequence[tuple[str, str | None]],
) -> None:
    """Have an image lie elsewhere: URLs, each with a store's name or none."""
    with connect(where) as connection, connection.cursor() as cursor:
        cursor.execute(
            'UPDATE image_locations SET deleted = 1 WHERE image_id = %s',
            [image_id],
        )
        for url, store in locations:
            cursor.execute(
                'INSERT INTO image_locations (image_id, value, meta_data, '
                'status, deleted, created_at) '
                "VALUES (%s, %s, %s, 'active', 0, UTC_TIMESTAMP())",
                [image_id, url, json.dumps({'store': store} if store else {})],
            )


def release(where: layout.Layout, image_id: str) -> None:
    """Have no task of Glance's hold an image any more."""
    with connect(where) as connection, connection.cursor() as cursor:
        cursor.execute(
            'DELETE FROM image_properties WHERE image_id = %s AND name IN '
            "('os_glance_import_task', 'os_glance_hash_op_host')",
            [image_id],
        )


def is_free(where: layout.Layout, image_id: str) -> bool:
    """Whether no transaction under way holds what there is of an image."""
    with connect(where) as connection, connection.cursor() as cursor:
        connection.begin()
        try:
            for statement in _ROWS_OF_AN_IMAGE:
                cursor.execute(statement, [image_id])
        except pymysql.err.OperationalError as exc:
            if exc.args[0] != ER.LOCK_WAIT_TIMEOUT:
                raise
            return False
    return True


def _change(where: layout.Layout, statement: str, *values: object) -> None:
    connection = connect(where)
    with connection, connection.cursor() as cursor:
        assert cursor.execute(statement, values) == 1


def add_images(
    where: layout.Layout, ids: Sequence[str], owner: str, url: str, store: str
) -> None:
    """Make images that are in a store, as far as Glance's records say.

    :param url: of the data of each, with ``{}`` for its id
    """
    with connect(where) as connection, connection.cursor() as cursor:
        connection.begin()
        cursor.executemany(
            'INSERT INTO images (id, name, disk_format, container_format, '
            'size, status, visibility, min_disk, min_ram, owner, protected, '
            'os_hidden, created_at, updated_at, deleted) '
            "VALUES (%s, %s, 'raw', 'bare', 1048576, 'active', 'private', "
            '0, 0, %s, 0, 0, UTC_TIMESTAMP(), UTC_TIMESTAMP(), 0)',
            [(image_id, f'many-{image_id}', owner) for image_id in ids],
        )
        cursor.executemany(
            'INSERT INTO image_locations (image_id, value, meta_data, '
            'status, deleted, created_at) '
            "VALUES (%s, %s, %s, 'active', 0, UTC_TIMESTAMP())",
            [
                (image_id, url.format(image_id), json.dumps({'store': store}))
                for image_id in ids
            ],
        )
        connection.commit()


def remove_images(where: layout.Layout, ids: Sequence[str]) -> None:
    """Undo :func:`add_images`."""
    with connect(where) as connection, connection.cursor() as cursor:
        connection.begin()
        for statement in (
            'DELETE FROM image_locations WHERE image_id = %s',
            'DELETE FROM images WHERE id = %s',
        ):
            cursor.executemany(statement, [(image_id,) for image_id in ids])
        connection.commit()
