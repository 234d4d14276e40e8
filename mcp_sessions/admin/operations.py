"""What operators do to sessions: what they are asked, and the one function that each calls."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext_lazy

from mcp_sessions.conf import app_settings
from mcp_sessions.exceptions import SessionNotFound
from mcp_sessions.models import Session
from mcp_sessions.records import EndReason

YEAR_SECONDS: Final = 365 * 24 * 3600


class KnowsNoEvents(Exception):
    """Raised when a session's client speaks the specification: nothing was sent."""


class Decoder(json.JSONDecoder):
    """Fails in one way at every text that cannot be read: Django's field knows no other."""

    def decode(self, text: str, *args: Any) -> Any:
        try:
            return super().decode(text, *args)
        except (ValueError, RecursionError) as error:
            raise json.JSONDecodeError(str(error), text, 0) from error


class EndForm(forms.Form):
    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        max_length=Session._meta.get_field("end_reason").max_length,
        required=False,
        initial=EndReason.OPERATOR,
        help_text=gettext_lazy("Sent to the client, and to receivers of your signals."),
        widget=forms.TextInput(attrs={"class": "vTextField"}),
    )

    def clean_reason(self) -> str:
        reason: str = self.cleaned_data["reason"] or EndReason.OPERATOR
        if not reason.isprintable():
            raise forms.ValidationError(_("A reason is a text of printable characters."))
        return reason


class ExtendForm(forms.Form):
    seconds = forms.IntegerField(
        label=gettext_lazy("Seconds from now"),
        min_value=1,
        max_value=YEAR_SECONDS,
        initial=lambda: int(app_settings.SESSION_TIMEOUT),
        help_text=gettext_lazy(
            "So long does it live, used or not. "
            "It never becomes shorter, nor longer than MAX_SESSION_LIFETIME."
        ),
    )


class SendForm(forms.Form):
    event = forms.CharField(
        label=gettext_lazy("Name of the event"),
        max_length=64,
        help_text=gettext_lazy("Letters, digits and . _ : -, such as order-shipped; not “message”."),
        widget=forms.TextInput(attrs={"class": "vTextField"}),
    )
    value = forms.JSONField(
        label=gettext_lazy("Data (JSON)"),
        required=False,
        decoder=Decoder,
        initial=dict,
        help_text=gettext_lazy(
            "Any JSON value; empty for null. Clients of the guide's dialect get the event on every open "
            "stream, or on their next one. Clients of the specification know no named events, and get none."
        ),
        widget=forms.Textarea(attrs={"class": "vLargeTextField", "rows": 6, "spellcheck": "false"}),
    )


class RotateForm(forms.Form):
    ends = forms.BooleanField(
        label=gettext_lazy("End it where its client cannot learn another id"),
        required=False,
        help_text=gettext_lazy(
            "Specification clients cannot learn another id. Their sessions keep it, unless you end them."
        ),
    )


@dataclass(frozen=True, slots=True)
class Operation:
    """`perform` takes a session's key and what the form has; it returns what the history says.

    It raises SessionNotFound, KnowsNoEvents and RotationRefused. Texts that depend on the number of sessions
    are taken `% number`.
    """

    name: str
    title: Any
    explanation: Any
    button: Any
    done: Any
    perform: Callable[[str, Mapping[str, Any]], str]
    form: type[forms.Form] = forms.Form
    is_final: bool = False
    takes_ended: bool = False
    """Whether it makes sense for a session that has ended."""


def _end(key: str, given: Mapping[str, Any]) -> str:
    from mcp_sessions.lifecycle import end_session

    reason = given["reason"]
    if end_session(key, reason) is None:
        raise SessionNotFound
    return _("Ended.") if reason == EndReason.OPERATOR else _("Ended: %(reason)s.") % given


def _end_owned(key: str, given: Mapping[str, Any]) -> str:
    from mcp_sessions.lifecycle import end_sessions_of
    from mcp_sessions.stores import get_row_keeper

    keeper = get_row_keeper()
    row = Session.objects.using(keeper.alias if keeper else None).only("owner").get(key=key)
    if not row.owner:
        # Nobody knows who else it is: this one alone ends.
        return _end(key, given)
    if not (ended := end_sessions_of(row.owner, given["reason"])):
        raise SessionNotFound
    return _("Ended all %(number)d sessions of its owner.") % {"number": ended}


def _extend(key: str, given: Mapping[str, Any]) -> str:
    from mcp_sessions.lifecycle import extend_session

    extend_session(key, given["seconds"])
    return _("Extended by %(seconds)d seconds from then.") % given


def _rotate(key: str, given: Mapping[str, Any]) -> str:
    from mcp_sessions.lifecycle import rotate_session

    # The id itself is its client's, and is shown to nobody.
    has_another = rotate_session(key, end=given["ends"]) is not None
    return _("Was given another id.") if has_another else _("Ended: %s.") % EndReason.ROTATED


def _send(key: str, given: Mapping[str, Any]) -> str:
    from mcp_sessions.messages import asend_session_message
    from mcp_sessions.runtime import run_sync

    if not run_sync(asend_session_message(key, event=given["event"], data=given["value"])):
        raise KnowsNoEvents
    return _("Was sent the event %(event)s.") % given


END: Final = Operation(
    "end",
    ngettext_lazy("End session", "End sessions"),
    ngettext_lazy(
        "Its id opens nothing any more, its streams close and its running calls are cancelled, at every "
        "worker and at once. Its client is notified, and can open another session. This cannot be undone.",
        "Their ids open nothing any more, their streams close and their running calls are cancelled, at "
        "every worker and at once. Their clients are notified, and can open others. This cannot be undone.",
    ),
    ngettext_lazy("Yes, end it", "Yes, end them"),
    ngettext_lazy("%d session was ended.", "%d sessions were ended."),
    _end,
    EndForm,
    is_final=True,
)
END_OWNED: Final = Operation(
    "end_owned",
    ngettext_lazy("End all sessions of its owner", "End all sessions of their owners"),
    ngettext_lazy(
        "All sessions of its owner end, at every endpoint and at once. The owner can open others: first "
        "deactivate the user, or revoke the token. This cannot be undone.",
        "All sessions of their owners end, at every endpoint and at once; of anonymous clients the selected "
        "ones. The owners can open others: first deactivate the users, or revoke the tokens. This cannot be "
        "undone.",
    ),
    ngettext_lazy("Yes, end them", "Yes, end them"),
    ngettext_lazy("All sessions of %d owner were ended.", "The sessions of %d owners were ended."),
    _end_owned,
    EndForm,
    is_final=True,
    takes_ended=True,
)
EXTEND: Final = Operation(
    "extend",
    ngettext_lazy("Extend session", "Extend sessions"),
    ngettext_lazy(
        "A user who pauses finds the session unchanged.",
        "A user who pauses finds the sessions unchanged.",
    ),
    ngettext_lazy("Extend", "Extend"),
    ngettext_lazy("%d session was extended.", "%d sessions were extended."),
    _extend,
    ExtendForm,
)
ROTATE: Final = Operation(
    "rotate",
    ngettext_lazy("Rotate the session id", "Rotate the session ids"),
    ngettext_lazy(
        "It gets another id, and its client is sent it. The id it has now opens nothing after a short grace.",
        "They get other ids, and their clients are sent them. The ids they have now open nothing after a "
        "short grace.",
    ),
    ngettext_lazy("Rotate", "Rotate"),
    ngettext_lazy("%d session no longer has the id that it had.", "%d sessions no longer have their ids."),
    _rotate,
    RotateForm,
)
SEND: Final = Operation(
    "send",
    ngettext_lazy("Send an event", "Send an event"),
    ngettext_lazy(
        "A named event for the client, as send_session_message() sends it.",
        "A named event for the clients, as send_session_message() sends it.",
    ),
    ngettext_lazy("Send", "Send"),
    ngettext_lazy("The event was sent to %d session.", "The event was sent to %d sessions."),
    _send,
    SendForm,
)
OPERATIONS: Final = (END, END_OWNED, EXTEND, ROTATE, SEND)
