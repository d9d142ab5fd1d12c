"""Whether what asks for a callback is shaped as a page of ours would ask: ids, counts, and kinds of values.

Dash trusts what its own script sends; anybody else may send anything. What does not fit what the callback
declares (its inputs and states, and the types in its signature) is refused before the callback sees it, so
that a fault told by a callback is a fault of the program.
"""

from __future__ import annotations

import functools
import inspect
import json
import math
import typing
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, Final, NotRequired

import flask
from annotated_types import Len
from flask.json.provider import DefaultJSONProvider
from pydantic import StringConstraints, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from components import ids

DEEPEST: Final = 100
"""How deeply lists and objects may lie in one another; a page's own stay under thirty."""

GREATEST_INTEGER: Final = 2**53
"""Whole numbers beyond this are none that a browser can tell apart."""

UPDATE: Final = "/_dash-update-component"
"""Endpoint that all callbacks share."""

_WILD: Final = (["ALL"], ["MATCH"], ["ALLSMALLER"])
_SCALARS: Final = (str, int, float, bool)


class WrongShape(ValueError):
    """What was asked is not what a page of ours asks; says in a few words for the log what is wrong."""


class StrictJSON(DefaultJSONProvider):
    """JSON as the standard has it: no NaN, no infinity, nothing that cannot be written down again."""

    def loads(self, s: str | bytes, **values: Any) -> Any:
        """Read JSON.

        Raises
        ------
        WrongShape
            Beside the errors of `json`: numbers that are none, letters that are none, too deep.
        """
        try:
            found = json.loads(s, parse_constant=_refuse_constant, **values)
        except RecursionError as error:
            raise WrongShape("nested too deeply") from error
        _check_values(found)
        return found


def _refuse_constant(word: str) -> Any:
    raise WrongShape(f"{word} is no number of JSON")


def _check_values(found: Any) -> None:
    left = [(found, 0)]
    while left:
        value, depth = left.pop()
        if depth > DEEPEST:
            raise WrongShape("nested too deeply")
        if isinstance(value, dict):
            left += [(each, depth + 1) for each in (*value, *value.values())]
        elif isinstance(value, list):
            left += [(each, depth + 1) for each in value]
        elif isinstance(value, str) and not value.isascii():
            _check_letters(value)
        elif isinstance(value, float) and not math.isfinite(value):
            raise WrongShape("a number without an end")
        elif isinstance(value, int) and abs(value) > GREATEST_INTEGER:
            raise WrongShape("a whole number that no browser has")


def _check_letters(words: str) -> None:
    try:
        words.encode()
    except UnicodeEncodeError as error:
        raise WrongShape("half of a letter") from error


class _Runs(TypedDict):
    runs: Annotated[list[str], Len(1)]
    visits: bool


class _Visits(TypedDict):
    recordings: Annotated[list[str], Len(2, 2)]
    side: str


class _Marked(TypedDict):
    recording: str
    run: str | None
    blind: bool


class _Person(TypedDict):
    subject: str
    span: list[str] | None


class _SentFile(TypedDict):
    name: str
    complete: bool
    id: NotRequired[str | None]
    kind: NotRequired[str]
    camera: NotRequired[str | None]


class _Sent(TypedDict):
    draft: str | None
    files: list[_SentFile]


class _Checked(TypedDict):
    source: str
    draft: str | None
    folder: str | None


class _Job(TypedDict):
    run_id: str
    request: str


class _Seen(TypedDict):
    since: str | None
    runs: list[list[Any]] | None


STORES: Final[Mapping[str, Any]] = MappingProxyType(
    {
        each: TypeAdapter[Any](kind)  # type: ignore[arg-type]  # kinds or None
        for each, kind in (
            (ids.CURVES_RUNS, _Runs | None),
            (ids.ALIGNMENT_RUNS, _Visits | None),
            (ids.MARKS_OF, _Marked | None),
            (ids.SCORE_PERSON, _Person | None),
            (ids.trend_person("", "")["type"], _Person | None),
            (ids.NEW_FILES, _Sent | None),
            (ids.PHOTOS_FILES, _Sent | None),
            (ids.NEW_CHECKED, _Checked | None),
            (ids.JOB_REQUEST, _Job | None),
            (ids.TRAY_SEEN, _Seen | None),
        )
    }
)
"""What stores of our pages hold, by the component's id, or by the type in it."""


def check_request(callbacks: Mapping[str, Mapping[str, Any]]) -> None:
    """Hold the request in hand, which asks for a callback, against what the callback declares.

    Raises
    ------
    WrongShape
    """
    body = flask.request.get_json(silent=True)
    if not isinstance(body, dict):
        raise WrongShape("no object of JSON")
    output = body.get("output")
    entry = callbacks.get(output) if isinstance(output, str) else None
    if entry is None or entry.get("callback") is None:
        raise WrongShape("no such callback")
    inputs = _check_dependencies(body, "inputs", entry["inputs"])
    states = _check_dependencies(body, "state", entry["state"])
    _check_outputs(body.get("outputs"), entry)
    _check_changed(body.get("changedPropIds", []), entry["inputs"])
    _check_arguments(entry, [*inputs, *states])


def _check_dependencies(
    body: Mapping[str, Any], key: str, declared: Sequence[Mapping[str, str]]
) -> list[Any]:
    """The values of inputs or states, as the callback will be given them."""
    asked = body.get(key)
    asked = [] if asked is None else asked
    if not isinstance(asked, list) or len(asked) != len(declared):
        raise WrongShape(f"{key} are not as many as declared")
    return [_read_value(each, spec) for each, spec in zip(asked, declared, strict=True)]


def _read_value(asked: Any, spec: Mapping[str, str]) -> Any:
    wanted = _read_id(spec["id"])
    if _means_several(wanted):
        if not isinstance(asked, list):
            raise WrongShape(f"{spec['id']} asks for a list")
        return [_read_one(each, wanted, spec["property"]) for each in asked]
    return _read_one(asked, wanted, spec["property"])


def _means_several(wanted: Any) -> bool:
    return isinstance(wanted, dict) and any(part in (["ALL"], ["ALLSMALLER"]) for part in wanted.values())


def _read_one(asked: Any, wanted: Any, name: str) -> Any:
    if not isinstance(asked, dict) or asked.get("property") != name or not _is_id(asked.get("id"), wanted):
        raise WrongShape(f"not {wanted}.{name}")
    value = asked.get("value")
    store = STORES.get(wanted["type"] if isinstance(wanted, dict) else wanted) if name == "data" else None
    if store is not None:
        _check_kind(store, value, str(wanted))
    if name == "id" and value != asked["id"]:
        raise WrongShape(f"the id of {wanted} is another")
    return value


def _read_id(written: str) -> Any:
    """An id as declared: text, or a dictionary with ["MATCH"] and the like for what is left open."""
    return json.loads(written) if written.startswith("{") else written


def _is_id(found: Any, wanted: Any) -> bool:
    if not isinstance(wanted, dict):
        return bool(found == wanted)
    if not isinstance(found, dict) or found.keys() != wanted.keys():
        return False
    return all(
        isinstance(found[key], _SCALARS) if part in _WILD else found[key] == part
        for key, part in wanted.items()
    )


def _check_outputs(asked: Any, entry: Mapping[str, Any]) -> None:
    declared = entry["output"]
    if entry.get("no_output"):
        return
    many = isinstance(declared, (list, tuple))
    wanted = declared if many else [declared]
    found = asked if many else [asked]
    if not isinstance(found, list) or len(found) != len(wanted):
        raise WrongShape("outputs are not as many as declared")
    for each, spec in zip(found, wanted, strict=True):
        identity = _read_id(spec.component_id_str())
        if isinstance(each, list) != _means_several(identity):
            raise WrongShape(f"not as many of the output {spec} as declared")
        for one in each if isinstance(each, list) else [each]:
            ok = isinstance(one, dict) and isinstance(one.get("property"), str)
            name = one["property"].partition("@")[0] if ok else ""
            if name != spec.component_property or not _is_id(one.get("id"), identity):
                raise WrongShape(f"not the output {spec}")


def _check_changed(asked: Any, declared: Sequence[Mapping[str, str]]) -> None:
    """What changed is named as "id.property"; Dash reads the id of it again."""
    if not isinstance(asked, list):
        raise WrongShape("changedPropIds is no list")
    for each in asked:
        written, _, name = each.rpartition(".") if isinstance(each, str) else ("", "", "")
        try:
            found = _read_id(written)
        except ValueError:
            found = None
        if not any(name == spec["property"] and _is_id(found, _read_id(spec["id"])) for spec in declared):
            raise WrongShape("what changed is no input")


def _check_arguments(entry: Mapping[str, Any], values: list[Any]) -> None:
    grouping = entry["inputs_state_indices"]
    readers = _readers_of(entry["callback"])
    if (entry.get("background") or {}).get("progress"):  # Dash puts what tells progress before what was asked
        readers = dict(list(readers.items())[1:])
    if isinstance(grouping, dict):
        given = {name: _group(each, values) for name, each in grouping.items()}
    else:
        each = [grouping] if isinstance(grouping, int) else list(grouping)
        given = dict(zip(readers, (_group(one, values) for one in each), strict=False))
    for name, reader in readers.items():
        if name in given:
            _check_kind(reader, given[name], name)


def _check_kind(reader: TypeAdapter[Any], value: Any, name: str) -> None:
    try:
        reader.validate_python(value, strict=True)  # no text for a number
    except (ValidationError, RecursionError) as error:
        raise WrongShape(f"{name} is not of its kind") from error


def _group(indices: Any, values: list[Any]) -> Any:
    if isinstance(indices, dict):
        return {name: _group(each, values) for name, each in indices.items()}
    if isinstance(indices, (list, tuple)):
        return [_group(each, values) for each in indices]
    return values[indices]


_OF_DASH: Final = {"pathname_": Annotated[str, StringConstraints(pattern="^/")], "search_": str | None}
"""Kinds of the arguments of Dash's own callback, which says none: the one that shows a page."""


@functools.cache
def _readers_of(callback: Callable[..., Any]) -> dict[str, TypeAdapter[Any]]:
    """What each argument of a callback must be, by its name."""
    function = inspect.unwrap(callback)
    hints = typing.get_type_hints(function)
    readers = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        readers[name] = TypeAdapter(hints.get(name, _OF_DASH.get(name, Any)))
    return readers
