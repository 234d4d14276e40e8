"""Tools, resources and prompts on the ORM, synchronous and not, of both server libraries."""

from __future__ import annotations

from typing import Any

from django.db import connection
from fastmcp import FastMCP
from mcp.server.mcpserver import MCPServer

from example_project.helpdesk.models import Ticket


def count_sync() -> int:
    """Count tickets in a thread of the library's; it takes a moment, so that many threads are needed."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(0.05)")
    return Ticket.objects.count()


async def count_async() -> int:
    """Count tickets by Django's asynchronous ORM."""
    return await Ticket.objects.acount()


def tickets() -> str:
    """How many tickets there are, as a resource."""
    return str(Ticket.objects.count())


def ask() -> str:
    """A prompt that says how many tickets there are."""
    return f"There are {Ticket.objects.count()} tickets."


official: MCPServer[Any] = MCPServer("orm")
fast: FastMCP[Any] = FastMCP("orm")
mounted: FastMCP[Any] = FastMCP("inner")
mounted.tool(count_sync)
outer: FastMCP[Any] = FastMCP("outer")
outer.mount(mounted, namespace="inner")

for library in (official, fast):
    register: Any = library
    register.tool()(count_sync)
    register.tool()(count_async)
    register.resource("count://tickets")(tickets)
    register.prompt()(ask)
