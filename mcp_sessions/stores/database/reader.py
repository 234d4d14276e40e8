"""The one statement that every request waits for, without a thread: on PostgreSQL, through libpq.

To wake a thread, and to be waked by it, costs more than the statement. So the loop itself drives one
connection. Sessions that are wanted while a statement is under way are read together, by the next one.

The reader only helps. Where it has no connection, or no answer within a second, sessions are read in the
store's threads: they know what to do, and what to say, about a database that is away.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from typing import Any, Final

import psycopg
from psycopg.adapt import Transformer
from psycopg.pq import ExecStatus

from mcp_sessions.records import SessionRecord
from mcp_sessions.stores.database.connections import own_connection
from mcp_sessions.stores.database.records import DIGEST, PREVIOUS_DIGEST, session_query, the_only_one
from mcp_sessions.stores.database.statements import array

READ_IN_THREADS_FIRST: Final = 8
"""A command, which reads a few sessions, opens no other connection."""
ANSWER_SECONDS: Final = 1.0
"""A session that has not been read by then is read in a thread, which waits for STORE_TIMEOUT."""
PAUSE_SECONDS: Final = 1.0
"""Between a connection that was lost, or could not be made, and the next."""
CLOSE_SECONDS: Final = 5.0
"""How long another thread waits for the loop to let go of the connection."""
NAME: Final = "mcp_sessions_load"
BINARY: Final = 1

logger = logging.getLogger("mcp_sessions.stores")

Row = tuple[Any, ...]
Load = Callable[[], Awaitable[SessionRecord | None]]
Wanted = tuple[str, "asyncio.Future[SessionRecord | None]"]


class NotRead(Exception):
    """Raised where the reader cannot tell."""


class Reader:
    """Reads for the loop on which it is made. It connects in a thread of the executor, once it pays."""

    def __init__(self, alias: str, executor: Executor) -> None:
        self.loop = asyncio.get_running_loop()
        self._alias = alias
        self._executor = executor
        self._connection: psycopg.Connection[Any] | None = None
        self._last_made: psycopg.Connection[Any] | None = None
        """The last that was made: the loop may end before it has it."""
        self._waiting: list[Wanted] = []
        self._in_statement: list[Wanted] = []
        """What the statement that is under way reads."""
        self._rows: list[Row] = []
        self._timer: asyncio.TimerHandle | None = None
        self._in_threads = 0
        self._connects_at = 0.0
        self._is_connecting = False
        self._is_closed = False

    async def load(self, digest: str, in_thread: Load) -> SessionRecord | None:
        """As the store's `load`, which is what `in_thread` does."""
        if self._connection is None:
            self._connect_if_due()
            return await in_thread()
        found: asyncio.Future[SessionRecord | None] = self.loop.create_future()
        self._waiting.append((digest, found))
        if not self._in_statement:
            self._begin_statement()
        try:
            return await found
        except NotRead:
            return await in_thread()

    # -- one statement after the other ---------------------------------------------------------

    def _begin_statement(self) -> None:
        self._in_statement, self._waiting = self._waiting, []
        self._timer = self.loop.call_later(ANSWER_SECONDS, self._give_up_connection, "it does not answer")
        self._guarded(self._send)

    def _send(self) -> None:
        digests = array({digest: None for digest, _ in self._in_statement})
        self._libpq.send_query_prepared(NAME.encode(), [digests.encode()], result_format=BINARY)
        self._flush()

    def _flush(self) -> None:
        self.loop.remove_writer(self._socket)
        if self._libpq.flush():  # The kernel did not take all of it, which is rare.
            self.loop.add_writer(self._socket, self._guarded, self._flush)

    def _receive(self) -> None:
        self._libpq.consume_input()
        while not self._libpq.is_busy():
            if (result := self._libpq.get_result()) is None:
                self._finish_statement()
                return
            if result.status != ExecStatus.TUPLES_OK:
                raise psycopg.OperationalError(result.get_error_message())
            self._transformer.set_pgresult(result)
            self._rows += self._transformer.load_rows(0, result.ntuples, tuple)

    def _finish_statement(self) -> None:
        if not self._in_statement:
            return
        by_digest: dict[str, list[Row]] = defaultdict(list)
        for row in self._rows:
            by_digest[row[DIGEST]].append(row)
            by_digest[row[PREVIOUS_DIGEST]].append(row)
        # Only what cannot fail comes after this: _give_up_connection() does not know these requests any more.
        wanted, self._in_statement, self._rows = self._in_statement, [], []
        self._stop_timer()
        if self._waiting:
            self._begin_statement()
        for digest, found in wanted:
            _answer(found, by_digest.get(digest, ()))

    def _guarded(self, work: Callable[..., None], *args: Any) -> None:
        try:
            work(*args)
        except (psycopg.Error, OSError) as error:
            self._give_up_connection(str(error))
        except Exception as error:
            # Without this, every request in the statement would wait for ever.
            logger.exception("the reader of sessions failed: they are read in threads")
            self._give_up_connection(repr(error))

    # -- the connection -------------------------------------------------------------------------

    @property
    def _libpq(self) -> psycopg.pq.abc.PGconn:
        assert self._connection is not None
        return self._connection.pgconn

    def _connect_if_due(self) -> None:
        self._in_threads += 1
        is_due = self._in_threads > READ_IN_THREADS_FIRST and self.loop.time() >= self._connects_at
        if is_due and not self._is_connecting and not self._is_closed:
            self._is_connecting = True
            self._executor.submit(self._connect_in_thread)

    def _connect_in_thread(self) -> None:
        """In a thread: a connection like the store's others, that has the statement prepared."""
        connection = own_connection(self._alias)
        connection.inc_thread_sharing()
        try:
            is_usable = self._prepare(connection)
        except Exception as error:
            connection.close()
            self._run_on_loop(self._fail_to_connect, str(error) or repr(error))
            return
        self._last_made = connection.connection
        # What a pooler hands out is not tried again.
        if not is_usable or not self._run_on_loop(self._use, connection.connection):
            connection.close()

    def _prepare(self, connection: Any) -> bool:
        """Whether it stays prepared. Behind a pooler that shares connections it does not."""
        with connection.cursor() as cursor:
            if connection.limits_transactions:
                return False
            # The plan is made now, perhaps for a table that is still small, and kept.
            cursor.execute("SET enable_seqscan = off")
            rest = "WHERE s.digest = ANY($1) OR s.previous_digest = ANY($1)"
            cursor.execute(f"PREPARE {NAME} (text[]) AS {session_query(connection, rest)}")
        return True

    def _run_on_loop(self, work: Callable[..., None], *args: Any) -> bool:
        """Whether the loop still runs, and will run it."""
        try:
            self.loop.call_soon_threadsafe(work, *args)
        except RuntimeError:
            return False
        return True

    def _use(self, connection: psycopg.Connection[Any]) -> None:
        self._is_connecting = False
        if self._is_closed:
            connection.close()
            return
        try:
            self._listen(connection)
        except Exception as error:
            connection.close()
            self._fail_to_connect(str(error) or repr(error))
            if isinstance(error, NotImplementedError):
                # A loop without add_reader, such as Windows' default: there is no use in trying again.
                self._connects_at = math.inf
        else:
            self._connection = connection

    def _listen(self, connection: psycopg.Connection[Any]) -> None:
        connection.pgconn.nonblocking = 1
        self._transformer = Transformer.from_context(connection)
        # libpq forgets it when the connection breaks.
        self._socket = connection.pgconn.socket
        self.loop.add_reader(self._socket, self._guarded, self._receive)

    def _fail_to_connect(self, why: str) -> None:
        self._is_connecting = False
        self._connects_at = self.loop.time() + PAUSE_SECONDS
        logger.debug("sessions are read in threads: %s", why)

    def _give_up_connection(self, why: str) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self.loop.remove_reader(self._socket)
            self.loop.remove_writer(self._socket)
            connection.close()
        self._stop_timer()
        wanted, self._in_statement, self._waiting, self._rows = (
            [*self._in_statement, *self._waiting],
            [],
            [],
            [],
        )
        for _, found in wanted:
            if not found.done():
                found.set_exception(NotRead())
        self._fail_to_connect(why)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- the end ----------------------------------------------------------------------------------

    def close(self) -> None:
        """From any thread. Sessions that are still wanted are read in the threads."""
        self._is_closed = True
        if self._is_on_loop or not self.loop.is_running():
            self._close_on_loop()
            return
        done = threading.Event()
        if self._run_on_loop(self._close_on_loop, done):
            done.wait(CLOSE_SECONDS)

    def _close_on_loop(self, done: threading.Event | None = None) -> None:
        if not self.loop.is_closed():
            self._give_up_connection("the store is closed")
        if self._last_made is not None:
            self._last_made.close()
        if done is not None:
            done.set()

    @property
    def _is_on_loop(self) -> bool:
        try:
            return asyncio.get_running_loop() is self.loop
        except RuntimeError:
            return False


def _answer(found: asyncio.Future[SessionRecord | None], rows: Sequence[Row]) -> None:
    if found.done():
        return
    try:
        found.set_result(the_only_one(rows, None))
    except Exception as error:
        # An error of one row is for the request that wants it: the others of the statement have their rows.
        found.set_exception(error)
