"""The networks on the pages: which can be chosen, and what each is, needs and may be used for."""

from __future__ import annotations

from typing import Any

import dash_bootstrap_components as dbc
from dash import html

from pipeline.pose.registry import list_models

_LABEL: Any = {"aria-label": "Networks"}


def model_select(control_id: str, role: str, chosen: str) -> dbc.Select:
    """A choice among the networks of a role; those whose files are missing cannot be chosen."""
    options = [
        {
            "label": model["title"] if model["ready"] else f"{model['title']} (files missing)",
            "value": model["name"],
            "disabled": not model["ready"],
        }
        for model in list_models(read_files=False)
        if model["role"] == role
    ]
    return dbc.Select(id=control_id, options=options, value=chosen)


def missing_models() -> html.Details | None:
    """What the networks that cannot be chosen lack; None where all are ready."""
    missing = [model for model in list_models(read_files=False) if not model["ready"]]
    if not missing:
        return None
    items = [html.Li([html.Strong(model["title"]), f": {model['place']}"]) for model in missing]
    words = "More networks, with files of your own"
    return html.Details([html.Summary(words), html.Ul(items)], className="hint")


def models_table() -> html.Div:
    """Every network: its role, whether it is ready, its licence and its files' SHA-256."""
    head = html.Tr([html.Th(name, scope="col") for name in ("Network", "Files", "Licence of the weights")])
    rows = [_row(model) for model in list_models(read_files=False)]
    table = html.Table([html.Thead(head), html.Tbody(rows)], className="table")
    return html.Div(table, className="table-scroll", tabIndex=0, role="group", **_LABEL)


def _row(model: dict[str, Any]) -> html.Tr:
    name = [model["title"], html.Div(f"{model['role']} {model['name']}", className="hint")]
    digests = [
        html.Li([f"{file}: ", html.Code(digest, className="text-reset") if digest else "not read yet"])
        for file, digest in model["sha256"].items()
    ]
    files = [
        html.Strong("Ready" if model["ready"] else "Missing"),
        html.Div(model["place"]),
        html.Details([html.Summary("SHA-256"), html.Ul(digests)], className="hint text-break"),
    ]
    return html.Tr([html.Th(name, scope="row"), html.Td(files), html.Td(model["licence"])])
