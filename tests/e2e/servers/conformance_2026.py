"""What the official suite also asks of a server of 2026-07-28, on the server object of the earlier ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from mcp.server.mcpserver import Context
from mcp_types import (
    CreateMessageRequest,
    CreateMessageRequestParams,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequest,
    InputRequiredResult,
    ListRootsRequest,
    SamplingMessage,
    TextContent,
)
from pydantic import BaseModel, Field

from tests.e2e.servers.conformance import handshake_era, server, test_sampling

Requests = Mapping[str, InputRequest]


def question(message: str, name: str, kind: str = "string") -> ElicitRequest:
    schema = {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def prompting(text: str, max_tokens: int) -> CreateMessageRequest:
    message = SamplingMessage(role="user", content=TextContent(type="text", text=text))
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=[message], max_tokens=max_tokens))


NAME: Final = {"user_name": question("What is your name?", "name")}
CAPITAL: Final = {"capital_question": prompting("What is the capital of France?", 100)}
ROOTS: Final = {"client_roots": ListRootsRequest()}
CONFIRM: Final = {"confirm": question("Please confirm", "ok", "boolean")}
CONTEXT: Final = {"user_context": question("What context should the prompt use?", "context")}
STEPS: Final = (
    {"step1": question("Step 1: What is your name?", "name")},
    {"step2": question("Step 2: What is your favorite color?", "color")},
)


def unanswered(ctx: Context, asked: Requests, state: str | None = None) -> InputRequiredResult | None:
    """The question once more, unless the client has answered all of it."""
    if set(asked) <= set(ctx.input_responses or {}):
        return None
    return InputRequiredResult(input_requests=dict(asked), request_state=state)


def said(ctx: Context, key: str, name: str) -> Any:
    answer = (ctx.input_responses or {})[key]
    return (answer.content or {}).get(name) if isinstance(answer, ElicitResult) else None


# Tools that ask, as a server does that writes each round itself


@server.tool()
async def test_input_required_result_elicitation(ctx: Context) -> str | InputRequiredResult:
    """Ask the user for a name."""
    return unanswered(ctx, NAME) or f"Hello, {said(ctx, 'user_name', 'name')}!"


@server.tool()
async def test_input_required_result_sampling(ctx: Context) -> str | InputRequiredResult:
    """Ask the client's model."""
    return unanswered(ctx, CAPITAL) or f"Answer: {(ctx.input_responses or {})['capital_question']}"


@server.tool()
async def test_input_required_result_list_roots(ctx: Context) -> str | InputRequiredResult:
    """Ask for the client's roots."""
    return unanswered(ctx, ROOTS) or f"Roots: {(ctx.input_responses or {})['client_roots']}"


@server.tool()
async def test_input_required_result_request_state(ctx: Context) -> str | InputRequiredResult:
    """Ask with a state, and say that the state came back."""
    asked = unanswered(ctx, CONFIRM, "confirming")
    return asked or ("state-ok" if ctx.request_state == "confirming" else "state-lost")


@server.tool()
async def test_input_required_result_multiple_inputs(ctx: Context) -> str | InputRequiredResult:
    """Ask the user, the model and the roots at once."""
    asked = {**NAME, "greeting": prompting("Generate a greeting", 50), **ROOTS}
    return unanswered(ctx, asked, "three") or "All three are answered."


@server.tool()
async def test_input_required_result_multi_round(ctx: Context) -> str | InputRequiredResult:
    """Ask twice, one after the other."""
    number = int(ctx.request_state or 0)
    if (again := unanswered(ctx, STEPS[number], str(number))) is not None:
        return again
    if number + 1 < len(STEPS):
        return InputRequiredResult(input_requests=dict(STEPS[number + 1]), request_state=str(number + 1))
    return f"Your favorite color is {said(ctx, 'step2', 'color')}."


@server.tool()
async def test_input_required_result_tampered_state(ctx: Context) -> str | InputRequiredResult:
    """Ask with a state that nobody else can write."""
    return unanswered(ctx, CONFIRM, "sealed") or "The state is as it was."


@server.tool()
async def test_input_required_result_capabilities(ctx: Context) -> str | InputRequiredResult:
    """Ask what the client has declared that it answers."""
    declared = ctx.client_capabilities
    asked = {
        **(NAME if declared and declared.elicitation else {}),
        **(CAPITAL if declared and declared.sampling else {}),
    }
    return unanswered(ctx, asked) or "Answered."


@server.prompt()
async def test_input_required_result_prompt(ctx: Context) -> str | InputRequiredResult:
    """A prompt that asks the user first."""
    return unanswered(ctx, CONTEXT) or f"Context: {said(ctx, 'user_context', 'context')}"


# Tools that ask as in earlier revisions


class Answer(BaseModel):
    name: str


@server.tool()
async def test_streaming_elicitation(ctx: Context) -> str:
    """Report progress, then ask the user."""
    await ctx.report_progress(1, 2)
    return str(await ctx.elicit("What is your name?", Answer))


@server.tool()
async def test_missing_capability(ctx: Context) -> str:
    """Ask the client's model, whether or not the client has declared one."""
    return await test_sampling("Anybody there?", ctx)


@server.tool()
async def test_logging_tool(ctx: Context) -> str:
    """Send a log message."""
    with handshake_era():
        await ctx.info("This is a log message")
    return "Logged."


# Tools whose lists change


@server.tool()
async def test_trigger_tool_change(ctx: Context) -> str:
    """Tell everybody that the list of tools has changed."""
    await ctx.notify_tools_changed()
    return "The list of tools has changed."


@server.tool()
async def test_trigger_prompt_change(ctx: Context) -> str:
    """Tell everybody that the list of prompts has changed."""
    await ctx.notify_prompts_changed()
    return "The list of prompts has changed."


@server.tool()
async def test_custom_header(
    region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})],
) -> str:
    """An argument that the client repeats in a header."""
    return region
