from __future__ import annotations

import shutil
from pathlib import Path

from tests.example.conftest import Example


def texts(example: Example) -> list[tuple[object, ...]]:
    return example.query(
        "SELECT id, title, description, status, priority, customer_email, assignee "
        "FROM helpdesk_ticket ORDER BY id"
    )


def test_a_few_hundred_tickets_that_differ(migrated: Example) -> None:
    assert "Loaded 320 tickets." in migrated.manage("load_tickets")
    found = texts(migrated)
    assert len(found) == 320
    assert len({description for _, _, description, *_ in found}) > 300
    assert {status for _, _, _, status, *_ in found} == {"open", "pending", "closed"}
    assert {priority for *_, priority, _, _ in found} == {"low", "normal", "high", "urgent"}
    assert not any("{" in str(column) for row in found for column in row)


def test_comments_lie_in_the_past_and_after_their_ticket(migrated: Example) -> None:
    migrated.manage("load_tickets")
    [(comments,)] = migrated.query("SELECT count(*) FROM helpdesk_comment")
    assert comments > 300
    wrong = """
        SELECT count(*) FROM helpdesk_comment JOIN helpdesk_ticket ON helpdesk_ticket.id = ticket_id
        WHERE helpdesk_comment.created_at <= helpdesk_ticket.created_at
        OR helpdesk_comment.created_at > updated_at OR helpdesk_comment.created_at > datetime('now')
    """
    assert migrated.query(wrong) == [(0,)]


def test_loading_again_changes_nothing(migrated: Example) -> None:
    migrated.manage("load_tickets")
    first = texts(migrated)
    assert migrated.manage("load_tickets") == ""
    assert texts(migrated) == first


def test_everybody_has_the_same_tickets(migrated: Example, tmp_path: Path) -> None:
    other = Example(tmp_path / "other")
    other.folder.mkdir()
    shutil.copy(migrated.database, other.database)
    for example in (migrated, other):
        example.manage("load_tickets")
    assert texts(migrated) == texts(other)


def test_tickets_of_other_origin_are_left_alone(migrated: Example) -> None:
    migrated.manage(
        "shell",
        "-v0",
        "-c",
        "from example_project.helpdesk.models import Ticket; "
        "Ticket.objects.create(title='Mine', description='…', customer_email='me@mine.example')",
    )
    migrated.manage("load_tickets")
    assert migrated.query("SELECT title FROM helpdesk_ticket WHERE id = 1") == [("Mine",)]
    assert migrated.query("SELECT count(*) FROM helpdesk_ticket") == [(321,)]
