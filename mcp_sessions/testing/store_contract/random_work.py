"""Many threads doing anything to the same few sessions: nothing fails, nothing is lost."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

from django.utils import timezone

from mcp_sessions.exceptions import SessionEnded
from mcp_sessions.identifiers import new_stream_name
from mcp_sessions.records import Append, EndReason, Send, SessionRecord, StreamKind, Touch
from mcp_sessions.stores.base import BaseSessionStore
from mcp_sessions.testing.store_contract import builders
from mcp_sessions.testing.store_contract.builders import HOUR, NOW, messages, put
from mcp_sessions.testing.store_contract.observing import events_of, reload

THREADS = 8
OPERATIONS = 40
SESSIONS = 4


class Scene:
    """What the threads share: sessions, the streams they have opened, and what became of each text."""

    def __init__(self, store: BaseSessionStore) -> None:
        self.store = store
        self.sessions = [put(store, expires_at=NOW + 10_000 * HOUR) for _ in range(SESSIONS)]
        self.streams: list[tuple[SessionRecord, str, StreamKind]] = []
        self.sent_texts: dict[str, SessionRecord] = {}
        """Texts for a session that were stored."""
        self.delivered: set[str] = set()
        self.posted: Counter[str] = Counter()
        self.ended: set[str] = set()
        self.errors: list[BaseException] = []


class Hand:
    """One thread."""

    def __init__(self, scene: Scene, number: int) -> None:
        self.scene, self.store = scene, scene.store
        self.worker = f"worker {number}"
        self.random = random.Random(number)
        self.texts = 0

    def work(self) -> None:
        often: list[Callable[[], object]] = [
            self.send,
            self.send,
            self.append,
            self.attach,
            self.attach,
            self.read,
            self.post,
        ]
        rarely: list[Callable[[], object]] = [self.open, self.touch, self.trim, self.delete_unreachable]
        for n in range(OPERATIONS):
            operation = self.random.choice(often * 2 + rarely)
            if n == OPERATIONS // 2 and self.worker == "worker 0":
                operation = self.end
            try:
                operation()
            except SessionEnded:
                pass
            except BaseException as error:
                self.scene.errors.append(error)
                raise

    def session(self) -> SessionRecord:
        return self.random.choice(self.scene.sessions)

    def some_streams(self, count: int) -> list[tuple[SessionRecord, str, StreamKind]]:
        streams = list(self.scene.streams)
        return self.random.sample(streams, min(count, len(streams)))

    def new_text(self) -> str:
        self.texts += 1
        return f"{self.worker}, {self.texts}"

    def open(self, kind: StreamKind = "post") -> str:
        session = self.session()
        worker = self.worker if kind == "post" else ""
        name = self.store.open_stream(session.key, new_stream_name(), kind, worker).name
        self.scene.streams.append((session, name, kind))
        return name

    def append(self) -> None:
        batch = [
            Append(name, messages("in passing"), ends=kind == "post" and self.random.random() < 0.2)
            for _, name, kind in self.some_streams(3)
            if kind == "post"
        ]
        self.store.append(batch)

    def send(self) -> None:
        sends = [(self.session(), self.new_text()) for _ in range(self.random.randint(1, 3))]
        placed = self.store.append([Send(session.key, "message", text) for session, text in sends])
        for (session, text), places in zip(sends, placed, strict=True):
            self.scene.streams += [(session, name, "get") for name, _ in places]
            if places:
                self.scene.sent_texts[text] = session

    def attach(self) -> None:
        session = self.session()
        name = self.store.open_stream(session.key, new_stream_name(), "get").name
        self.scene.streams.append((session, name, "get"))
        self.store.attach(session.key, name, self.worker, 0, self.random.choice([None, 2]))

    def read(self) -> None:
        """As a client does: it has what it read, and its worker says so, and may leave."""
        for session, name, kind in self.some_streams(2):
            self.store.attach(session.key, name, self.worker, 0, None)
            if kind == "get":
                reading = self.store.read(name, 0, 1000, worker=self.worker)
            else:
                reading = self.store.read(name, 0, 1000)
            if reading is None or not reading.events:
                continue
            if kind == "get":
                self.scene.delivered.update(event.data for event in reading.events)
            position = reading.events[-1].position
            self.store.mark_delivered(self.worker, {name: position}, leaving=self.random.random() < 0.7)

    def post(self) -> None:
        session = self.session()
        if builders.post(self.store, session.key, "{}"):
            self.scene.posted[session.key] += 1

    def touch(self) -> None:
        self.store.touch(
            [Touch(s.key, NOW, NOW, NOW, requests=1) for s in self.random.sample(self.scene.sessions, 3)]
        )
        self.store.save_metadata(self.session().key, {self.worker: 1})

    def trim(self) -> None:
        names = [name for _, name, _ in self.some_streams(5)]
        self.store.trim(names, self.random.choice([0, 2]), NOW)

    def delete_unreachable(self) -> None:
        self.store.delete_unreachable(timezone.now() + timedelta(seconds=1), 5)
        self.store.purge(NOW, 5)

    def end(self) -> None:
        session = self.scene.sessions[0]
        self.store.end(session.key, NOW, EndReason.DELETED)
        self.scene.ended.add(session.key)


class RandomWorkContract:
    def test_whatever_many_do_at_once_nothing_is_lost(self, store: BaseSessionStore) -> None:
        scene = Scene(store)
        threads = [store.start_thread(Hand(scene, n).work, f"hand {n}") for n in range(THREADS)]
        self.wait_for(threads)
        assert scene.errors == []
        assert len(scene.ended) == 1
        self.check_streams(scene)
        self.check_texts(scene)
        live = [session for session in scene.sessions if session.key not in scene.ended]
        assert all(reload(store, s).inbox >= scene.posted[s.key] for s in live)

    def wait_for(self, threads: list[threading.Thread]) -> None:
        for thread in threads:
            thread.join(timeout=120)
        assert not any(thread.is_alive() for thread in threads)

    def check_streams(self, scene: Scene) -> None:
        """Positions are in order and none is beyond the last; replies have them all."""
        kinds = {name: kind for _, name, kind in scene.streams}
        for name, stream in scene.store.find_streams(sorted(kinds)).items():
            positions = [event.position for event in events_of(scene.store, name)]
            assert positions == sorted(set(positions))
            assert all(1 <= position <= stream.position for position in positions)
            assert 0 <= stream.delivered <= stream.position
            if kinds[name] == "post" and positions:
                assert positions == list(range(positions[0], stream.position + 1))

    def check_texts(self, scene: Scene) -> None:
        """Each text for a session that lives is in one stream, or was seen and deleted since."""
        found: Counter[str] = Counter()
        for name in scene.store.find_streams(sorted({name for _, name, _ in scene.streams})):
            found.update(event.data for event in events_of(scene.store, name))
        live = {text for text, session in scene.sent_texts.items() if session.key not in scene.ended}
        assert {text for text in live if found[text] > 1} == set()
        assert {text for text in live if not found[text] and text not in scene.delivered} == set()
