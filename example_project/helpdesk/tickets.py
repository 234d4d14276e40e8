"""Tickets to try things with: the same ones every time, dated relative to the day they are loaded."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from example_project.helpdesk.models import Comment, Ticket
from example_project.helpdesk.situations import SITUATIONS, Situation

TICKETS_PER_SITUATION: Final = 8
OLDEST_DAYS: Final = 120

AGENTS: Final = ("Amira Haddad", "Jonas Lindqvist", "Mei-Ling Chen", "Piotr Zieliński", "Rosa Oliveira")
CUSTOMERS: Final = (
    ("Hannah Vogel", "hannah@vogel-books.example"),
    ("Luca Moretti", "luca@gelateria-moretti.example"),
    ("Grace Okafor", "grace@okafor-fabrics.example"),
    ("Sven Dahl", "post@dahl-cykler.example"),
    ("Marie Lefèvre", "marie@boulangerie-lefevre.example"),
    ("Aiko Tanaka", "aiko@tanaka-tea.example"),
    ("Pablo Herrera", "pablo@herrera-tapas.example"),
    ("Katarzyna Nowak", "biuro@nowak-kwiaty.example"),
    ("Declan Byrne", "declan@byrnes-bakehouse.example"),
    ("Fatima El Amrani", "fatima@elamrani-spices.example"),
    ("Oliver Hughes", "oliver@harbourside-cafe.example"),
    ("Ingrid Solheim", "ingrid@solheim-ull.example"),
    ("Nikos Papadakis", "nikos@papadakis-deli.example"),
    ("Ruth Abrams", "ruth@corner-toys.example"),
    ("Mateus Silva", "mateus@silva-surf.example"),
    ("Eszter Kovács", "eszter@kovacs-ceramics.example"),
    ("Ben Whitaker", "ben@whitaker-hardware.example"),
    ("Anneke de Vries", "anneke@kaashuis-devries.example"),
    ("Samuel Mensah", "samuel@mensah-barbers.example"),
    ("Chiara Russo", "chiara@libreria-russo.example"),
    ("Jakub Svoboda", "jakub@svoboda-pivo.example"),
    ("Priya Nair", "priya@nair-kitchen.example"),
    ("Emil Andersen", "emil@andersen-optik.example"),
    ("Yusuf Demir", "yusuf@demir-market.example"),
    ("Laura Steiner", "laura@steiner-naturkost.example"),
    ("Tomás Quinn", "tomas@quinn-records.example"),
    ("Elena Popescu", "elena@popescu-atelier.example"),
    ("Henrik Saarinen", "henrik@saarinen-kalastus.example"),
    ("Zoe Marshall", "zoe@marshall-plants.example"),
    ("Daniel Weiss", "daniel@weiss-wein.example"),
)
COLLEAGUES: Final = ("Alex", "Bea", "Cem", "Dora", "Filip", "Gianna", "Ivo", "Noor")
DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
ITEMS: Final = (
    "enamel coffee pot",
    "wool blanket",
    "picture book with the whale",
    "gift box with three teas",
    "green watering can",
    "bread knife",
    "leather dog lead",
    "olive oil from Crete",
    "wooden train",
    "rain jacket for children",
)
OPENINGS: Final = ("Hello,", "Good morning,", "Hi there,", "Dear support team,", "Hello again,")
CLOSINGS: Final = (
    "Best regards,\n{customer}",
    "Thanks for your help,\n{first}",
    "Many thanks in advance,\n{first}",
    "Kind regards,\n{customer}",
)


@dataclass(frozen=True, slots=True)
class Case:
    """One ticket that is not stored yet, with what is said about it."""

    ticket: Ticket
    comments: tuple[Comment, ...]


def cases(now: datetime) -> Iterator[Case]:
    """Every ticket of the example, oldest first. Only their dates depend on `now`."""
    # Seeded: everybody has the same tickets, and those of a second run are known by their keys.
    chance = random.Random("helpdesk")
    drawn = [
        (chance.random() ** 2 * OLDEST_DAYS, f"example-{kind:02}-{copy}", situation)
        for kind, situation in enumerate(SITUATIONS)
        for copy in range(TICKETS_PER_SITUATION)
    ]
    for age_days, key, situation in sorted(drawn, key=lambda one: (-one[0], one[1])):
        yield _case(key, situation, now - timedelta(days=age_days), age_days)


def _case(key: str, situation: Situation, created_at: datetime, age_days: float) -> Case:
    chance = random.Random(key)
    name, email = chance.choice(CUSTOMERS)
    agent = chance.choice(AGENTS)
    details = _details(chance, situation, name)
    title, description = chance.choice(list(zip(situation.titles, situation.descriptions, strict=True)))
    status = _status(chance, age_days)
    comments = tuple(_comments(chance, situation, details, status, (agent, name), created_at, age_days))
    ticket = Ticket(
        import_key=key,
        title=title.format(**details),
        description=_letter(chance, description, details),
        status=status,
        priority=chance.choice(situation.priorities.split()),
        customer_name=name,
        customer_email=email,
        assignee=agent if comments or status != Ticket.Status.OPEN else "",
        created_at=created_at,
        updated_at=comments[-1].created_at if comments else created_at,
    )
    return Case(ticket, comments)


def _details(chance: random.Random, situation: Situation, customer: str) -> dict[str, str]:
    return {
        "product": chance.choice(situation.products),
        "customer": customer,
        "first": customer.split()[0],
        "colleague": chance.choice(COLLEAGUES),
        "day": chance.choice(DAYS),
        "time": f"{chance.randint(8, 18)}:{chance.randint(0, 59):02}",
        "amount": f"€{chance.randint(12, 180)}.{chance.choice(('00', '50', '90', '95'))}",
        "ref": f"{chance.randint(2024, 2026)}-{chance.randint(1, 99999):05}",
        "version": f"{chance.randint(6, 8)}.{chance.randint(0, 12)}.{chance.randint(0, 4)}",
        "count": str(chance.randint(3, 60)),
        "item": chance.choice(ITEMS),
    }


def _letter(chance: random.Random, body: str, details: dict[str, str]) -> str:
    parts = (chance.choice(OPENINGS), body, chance.choice(CLOSINGS))
    return "\n\n".join(part.format(**details) for part in parts)


def _status(chance: random.Random, age_days: float) -> str:
    """What is old is mostly done, what is new is mostly not."""
    if chance.random() < min(age_days / 14, 0.93):
        return Ticket.Status.CLOSED
    return Ticket.Status.PENDING if chance.random() < 0.4 else Ticket.Status.OPEN


def _comments(
    chance: random.Random,
    situation: Situation,
    details: dict[str, str],
    status: str,
    people: tuple[str, str],
    created_at: datetime,
    age_days: float,
) -> Iterator[Comment]:
    """As much of the dialogue as fits the status: all, up to an agent's question, or hardly any."""
    said = {Ticket.Status.CLOSED: len(situation.dialogue), Ticket.Status.PENDING: 1}.get(
        Ticket.Status(status), chance.choice((0, 0, 2)) if len(situation.dialogue) > 2 else 0
    )
    # Spread over the first days of the ticket's life, and never into the future.
    step = timedelta(days=min(age_days, 3) / (said + 1))
    for number, text in enumerate(situation.dialogue[:said]):
        at = created_at + step * (number + chance.uniform(0.2, 0.9))
        yield Comment(author=people[number % 2], text=text.format(**details), created_at=at)
