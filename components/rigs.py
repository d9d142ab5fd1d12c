"""What is said of calibrated cameras: the same on the page of a kept rig and in a recording's report."""

from __future__ import annotations

import math
from typing import Any, Final

import dash_bootstrap_components as dbc
from dash import Input, Output, State, callback, dcc, html
from dash.exceptions import PreventUpdate

from components import ids, policy, routes
from components.attributes import aria, as_written
from components.security import current_actor
from components.states import failed, notice
from components.status import DARK, HATCH, level_icon, say_number, svg_image, verdict_badge
from pipeline.calibration.describe import find_centre_mm, measure_coverage, measure_turn_deg
from pipeline.errors import RedysError
from pipeline.measures.levels import BETWEEN, BEYOND, UNKNOWN, WITHIN, Level
from pipeline.results import Camera, Rig, RigCheck, read_rig, read_rig_check
from records import RecordingRow, RigRow, get_records
from records.rigs import refuse_reason

SOURCES: Final = {
    "checkerboard": "Calibrated from a checkerboard",
    "file": "From a file: calibrated before, or elsewhere",
    "hand": "Self-calibrated from the hand",
    "single": "One camera with a nominal lens, not calibrated",
}
"""Where a rig comes from, as a heading."""

_SHORT_SOURCES: Final = {
    "checkerboard": "checkerboard",
    "file": "file",
    "hand": "the hand itself",
    "single": "nominal lens",
}

CHECK_WORDS: Final[dict[str, tuple[str, Level]]] = {
    "good": ("good", WITHIN),
    "doubtful": ("doubtful", BETWEEN),
    "moved": ("moved", BEYOND),
    "unknown": ("cannot tell", UNKNOWN),
}
"""Word and mark of a rig check; never told by colour alone."""

_CHECK_SENTENCES: Final = {
    "good": "What the cameras saw of the hand fits where the calibration puts them.",
    "doubtful": "What the cameras saw of the hand fits the calibration less well than it should.",
    "moved": "A camera no longer stands as it was calibrated: the numbers of this recording are wrong by it.",
    "unknown": "This recording cannot tell whether the cameras still stand as they were calibrated.",
}

FORMATS: Final = (
    (".json", "ReDys (JSON), with everything"),
    (".yaml", "OpenCV (YAML), lenses and places"),
    (".toml", "aniposelib (TOML), lenses and places"),
)

UNSAID: Final = "–"
"""In a cell of which nothing is known."""

LEAST_ERROR: Final = 0.001

MOST_CELLS: Final = 4096
"""Of a coverage that is drawn; this program's have 144."""

STEPS: Final = ((1, "#C6DBEF", "1 to 4"), (5, "#6BAED6", "5 to 14"), (15, "#08519C", "15 and more"))
"""Least number of corners in a cell, its colour (one hue, so that it holds in grey print), and words."""

# --- the report of a rig -------------------------------------------------------------------------


def rig_report(rig: Rig, check: RigCheck | None = None, is_told: bool = False) -> html.Div:
    """Verdict, cameras, coverage, pairs and square of a rig, and whether it still holds.

    ``is_told``: the page has said already why a rig is in doubt (the quality box of a report does).
    """
    says_reasons = bool(rig.reasons) and not (is_told and rig.verdict in ("check", "failed"))
    parts: list[Any] = [_verdict(rig, says_reasons)]
    if rig.source == "hand":
        # The reasons of such a rig hold its expected errors, and one place is enough.
        parts.append(_self_calibrated(rig, says_errors=not says_reasons))
    if check is not None:
        parts.append(_check(check))
    parts += [_camera_table(rig), _coverage(rig), _figures(rig), _pairs(rig), _refused(rig)]
    return html.Div([part for part in parts if part is not None], className="rig-report")


def _verdict(rig: Rig, says_reasons: bool) -> html.Div:
    reasons = html.Ul([html.Li(reason) for reason in rig.reasons]) if says_reasons else None
    return html.Div(
        [
            html.P(
                [html.Strong(SOURCES.get(rig.source, rig.source)), ". Verdict: ", verdict_badge(rig.verdict)]
            ),
            reasons,
        ],
        className="rig-verdict",
    )


def _self_calibrated(rig: Rig, says_errors: bool) -> html.Div:
    """No board was filmed: what that costs, in figures."""
    others = [camera for camera in rig.cameras.values() if camera.name != rig.reference]
    errors = [
        f"camera {camera.name} ± {say_error(camera.sigma_deg)} degrees and ± {say_error(camera.sigma_mm)} mm"
        for camera in others
    ]
    return notice(
        "partial",
        html.P(
            "No checkerboard was filmed: lenses and places were worked out from the hand that all cameras "
            "saw, and every length hangs on the size of the hand."
        ),
        html.P(f"Expected error: {'; '.join(errors)}; lengths {_with_sign(100 * rig.scale_sigma)} %.")
        if says_errors
        else None,
    )


def _check(check: RigCheck) -> html.Div:
    rows = [
        [
            html.Th(as_written(name), scope="row"),
            html.Td(check_badge(camera.verdict)),
            html.Td(f"{say_number(camera.error_px, 1)} px"),
            html.Td(f"{say_number(camera.expected_px, 1)} px"),
            html.Td(f"{say_number(camera.turn_deg, 2)} ± {say_number(camera.turn_sigma_deg, 2)}°"),
            html.Td(f"{camera.n_points}"),
        ]
        for name, camera in check.cameras.items()
    ]
    heads = ["Camera", "Since then", "Misfit of the hand", "Expected", "Turned by", "Points"]
    return html.Div(
        [
            html.P([html.Strong("The cameras since the calibration: "), check_badge(check.verdict)]),
            html.P(_CHECK_SENTENCES[check.verdict]),
            html.Ul([html.Li(reason) for reason in check.reasons]) if check.reasons else None,
            _table("Check of each camera", heads, rows) if rows else None,
        ],
        className="rig-check",
    )


def check_badge(verdict: str) -> html.Span:
    """Whether cameras still stand as calibrated, in mark and word."""
    word, level = CHECK_WORDS[verdict]
    return html.Span([level_icon(level), word], className="level-badge")


def _camera_table(rig: Rig) -> html.Div:
    """A row a camera; columns of which nothing is known are left out, and so are their explanations."""
    found = {name: _describe_camera(camera, rig) for name, camera in rig.cameras.items()}
    heads = [
        head for head in next(iter(found.values())) if any(cells[head] != UNSAID for cells in found.values())
    ]
    rows = [
        [html.Th(as_written(name), scope="row"), *(html.Td(cells[head]) for head in heads)]
        for name, cells in found.items()
    ]
    points = "the hand's points" if rig.source == "hand" else "the board's corners"
    notes = {
        "Stands at x, y, z, mm": f"Places are seen from camera {rig.reference}: x to its right, y down, "
        "z forward.",
        "Error": f"Error: distance of {points} from where the calibration puts them.",
        "Left out": "Left out: the same where the other cameras alone place the board.",
        "Expected error": f"Expected error: of direction and place against camera {rig.reference}.",
    }
    told = [notes[head] for head in heads if head in notes]
    return html.Div(
        [
            html.H3("Each camera"),
            _table("Each camera", ["Camera", *heads], rows),
            html.P(" ".join([*told, "A dash: not known."]), className="plot-note"),
        ]
    )


def _describe_camera(camera: Camera, rig: Rig) -> dict[str, str]:
    """What is known of a camera, by column."""
    fx, fy = camera.K[0, 0], camera.K[1, 1]
    focal = f"{fx:.1f}" if math.isclose(fx, fy, rel_tol=1e-6) else f"{fx:.1f}, {fy:.1f}"
    home = camera.name == rig.reference
    place = ", ".join(say_number(float(length), 1) for length in find_centre_mm(camera))
    expected = f"{say_error(camera.sigma_deg)}°, {say_error(camera.sigma_mm)} mm"
    known = math.isfinite(camera.sigma_deg) or math.isfinite(camera.sigma_mm)
    share = 100 * measure_coverage(camera)
    counted = bool(camera.used or camera.refused)
    return {
        "Picture, px": f"{camera.size_px[0]} × {camera.size_px[1]}",
        "Focal length, px": focal,
        "Distortion k1, k2": ", ".join(say_number(float(value), 3) for value in camera.distortion[:2]),
        "Stands at x, y, z, mm": "origin" if home else place,
        f"Turned from {rig.reference}": UNSAID if home else f"{measure_turn_deg(camera):.1f}°",
        "Error": _with_unit(camera.rms_px, "px"),
        "Left out": _with_unit(camera.left_out_px, "px"),
        "Expected error": expected if known and not home else UNSAID,
        "Cells with corners": f"{share:.0f} %" if math.isfinite(share) else UNSAID,
        "Frames": f"{len(camera.used)} used, {len(camera.refused)} refused" if counted else UNSAID,
    }


def say_error(value: float) -> str:
    """An expected error to two digits that count; one too small to print is not printed as none."""
    if 0 < value < LEAST_ERROR:
        return f"under {LEAST_ERROR}"
    return say_number(value, 3 if value < 0.1 else 2 if value < 1 else 1 if value < 10 else 0)


def _with_sign(value: float) -> str:
    said = say_error(value)
    return said if said.startswith("under") else f"± {said}"


def _with_unit(value: float, unit: str) -> str:
    return f"{say_number(value, 2)} {unit}" if math.isfinite(value) else UNSAID


def _table(label: str, heads: list[str], rows: list[list[Any]]) -> html.Div:
    """A table that scrolls within its frame, by keyboard too."""
    return html.Div(
        html.Table(
            [
                html.Thead(html.Tr([html.Th(head, scope="col") for head in heads])),
                html.Tbody([html.Tr(row) for row in rows]),
            ],
            className="numbers rig-table",
        ),
        className="table-scroll",
        tabIndex=0,
        role="region",
        **aria(label=label),
    )


def _figures(rig: Rig) -> html.Dl | None:
    found: list[tuple[str, str]] = []
    if math.isfinite(rig.square_error_mm):
        error = say_number(rig.square_error_mm, 3, signed=True)
        spread = f" ± {say_number(rig.square_spread_mm, 3)}" if math.isfinite(rig.square_spread_mm) else ""
        found.append(("Square of the board, measured minus stated", f"{error}{spread} mm"))
    if math.isfinite(rig.scale_sigma) and rig.source != "hand":  # else said above
        found.append(("Expected error of every length", f"{_with_sign(100 * rig.scale_sigma)} %"))
    if not found:
        return None
    return html.Dl([html.Div([html.Dt(term), html.Dd(text)]) for term, text in found], className="figures")


def _pairs(rig: Rig) -> html.Div | None:
    if not rig.pairs:
        return None
    rows = [
        [
            html.Th(f"{pair['a']} and {pair['b']}", scope="row"),
            html.Td(f"{say_number(_number(pair.get('rms_px')), 2)} px"),
            html.Td(str(pair.get("frames", "–"))),
        ]
        for pair in rig.pairs
    ]
    table = _table("Each pair of cameras", ["Pair", "Error", "Frames"], rows)
    return html.Div([html.H3("Each pair of cameras"), table], className="rig-pairs")


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan


def _refused(rig: Rig) -> html.Details | None:
    """Why frames of the checkerboard take were refused, by camera."""
    lists = []
    for camera in rig.cameras.values():
        reasons: dict[str, int] = {}
        for frame in camera.refused:
            reason = str(frame.get("reason", "no reason"))
            reasons[reason] = reasons.get(reason, 0) + 1
        if reasons:
            lists += [
                html.H4(f"Camera {camera.name}"),
                html.Ul([html.Li(f"{count} × {reason}") for reason, count in reasons.items()]),
            ]
    return html.Details([html.Summary("Frames refused, and why"), *lists]) if lists else None


# --- where the board was -------------------------------------------------------------------------


def _coverage(rig: Rig) -> html.Div | None:
    """A picture a camera: where in it the board's corners were accepted."""
    shown = [camera for camera in rig.cameras.values() if 0 < _count_cells(camera) <= MOST_CELLS]
    if not shown:
        return None
    figures = [
        html.Figure(
            [
                svg_image(draw_coverage(camera), say_coverage(camera), "coverage"),
                html.Figcaption(
                    f"{camera.name}: corners in {100 * measure_coverage(camera):.0f} % of the cells"
                ),
            ]
        )
        for camera in shown
    ]
    return html.Div(
        [
            html.H3("Where the checkerboard was in each picture"),
            html.Div(figures, className="coverages"),
            _coverage_legend(),
            html.P(
                "Where no corner was, the lens is not measured but continued from the rest.",
                className="plot-note",
            ),
        ]
    )


def _count_cells(camera: Camera) -> int:
    """Cells of a camera's coverage; a file from elsewhere may have none, or any number."""
    return sum(len(row) for row in camera.coverage)


def draw_coverage(camera: Camera) -> str:
    """The outline of a camera's picture in cells, darker where more corners were accepted, as SVG."""
    width, height = camera.size_px
    rows, columns = len(camera.coverage), len(camera.coverage[0])
    scale = 240 / max(width, height)
    across, down = width * scale / columns, height * scale / rows
    cells = []
    for row, counts in enumerate(camera.coverage):
        for column, count in enumerate(counts):
            box = f'x="{column * across:.2f}" y="{row * down:.2f}" width="{across:.2f}" height="{down:.2f}"'
            cells.append(f'<rect {box} fill="{_colour(count)}" stroke="#7B8794" stroke-width="0.6"/>')
            if not count:
                cells.append(f'<rect {box} fill="url(#empty)"/>')
    frame = (
        f'<rect x="0" y="0" width="{width * scale:.2f}" height="{height * scale:.2f}" fill="none" '
        f'stroke="{DARK}" stroke-width="2"/>'
    )
    view = f"-1.5 -1.5 {width * scale + 3:.2f} {height * scale + 3:.2f}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{view}"><defs>{_EMPTY}</defs>'
        f"{''.join(cells)}{frame}</svg>"
    )


_EMPTY = HATCH.replace('id="hatch"', 'id="empty"').replace('fill="#FFFFFF"', 'fill="#5B6770"')


def _colour(count: int) -> str:
    found = "#FFFFFF"
    for least, colour, _ in STEPS:
        if count >= least:
            found = colour
    return found


def say_coverage(camera: Camera) -> str:
    """The picture of the coverage in words: how much of it, and which parts are empty."""
    rows, columns = len(camera.coverage), len(camera.coverage[0])
    empty = []
    for down, vertical in enumerate(("top", "middle", "bottom")):
        for across, horizontal in enumerate(("left", "centre", "right")):
            part = [
                camera.coverage[row][column]
                for row in range(rows)
                for column in range(columns)
                if row * 3 // rows == down and column * 3 // columns == across
            ]
            if part and not any(part):
                empty.append(f"{vertical} {horizontal}")
    share = f"Camera {camera.name}: corners in {100 * measure_coverage(camera):.0f} % of the picture's cells"
    return f"{share}; none at {', '.join(empty)}." if empty else f"{share}, in every part of it."


def _coverage_legend() -> html.Ul:
    items = [("#FFFFFF", "no corner: striped")] + [(colour, f"{words} corners") for _, colour, words in STEPS]
    return html.Ul(
        [html.Li([svg_image(_sample(colour), "", "level-icon"), words]) for colour, words in items],
        className="level-legend",
    )


def _sample(colour: str) -> str:
    box = 'x="2" y="2" width="20" height="20"'
    stripes = f'<rect {box} fill="url(#empty)"/>' if colour == "#FFFFFF" else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><defs>{_EMPTY}</defs>'
        f'<rect {box} fill="{colour}" stroke="{DARK}" stroke-width="1.4"/>{stripes}</svg>'
    )


# --- in a recording's report ---------------------------------------------------------------------


def cameras_panel(recording: RecordingRow, run_id: str) -> list[Any]:
    """The rig of a run, whether it still held, and the way to keep it."""
    run = get_records().open_run(run_id)
    try:
        rig = read_rig(run.rig_json)
        check = read_rig_check(run.rig_check_json) if run.rig_check_json.is_file() else None
    except RedysError as error:
        return [failed(error)]
    keep = _keep_form(recording, run_id, rig) if policy.may("work") else None
    return [_given(recording), rig_report(rig, check, is_told=True), keep]


def _given(recording: RecordingRow) -> html.P | None:
    if recording.rig_id is None:
        return None
    row = get_records().rigs.get(recording.rig_id)
    return html.P(["Kept rig used: ", dcc.Link(row.name, href=routes.rig_url(row.id))])


def _keep_form(recording: RecordingRow, run_id: str, rig: Rig) -> Any:
    """A name and a button, where the rig may be used again; else why not."""
    if recording.rig_id is not None:
        return None
    kept = [row for row in get_records().rigs.list() if row.from_run_id == run_id]
    if kept:
        return html.P(["This rig is kept as ", dcc.Link(kept[0].name, href=routes.rig_url(kept[0].id)), "."])
    refused = refuse_reason(rig)
    if refused:
        return html.P(f"Not for other recordings: {refused}", className="plot-note")
    return html.Div(
        [
            html.H3("Use these cameras again"),
            html.P(
                "As long as no camera, lens or zoom is touched, the next recordings need no checkerboard.",
                className="hint",
            ),
            dcc.Store(id=ids.RIG_KEEP_RUN, data=run_id),
            html.Div(
                [
                    html.Div(
                        [
                            html.Label("Name of the rig", htmlFor=ids.RIG_KEEP_NAME),
                            dbc.Input(id=ids.RIG_KEEP_NAME, placeholder="Studio, desk left", maxLength=80),
                        ],
                        className="field",
                    ),
                    html.Button("Keep this rig", id=ids.RIG_KEEP, className="btn btn-outline-secondary"),
                ],
                className="rig-form",
            ),
            html.Div(id=ids.RIG_KEEP_RESULT, role="status"),
        ],
        className="rig-keep",
    )


@callback(
    Output(ids.RIG_KEEP_RESULT, "children"),
    Input(ids.RIG_KEEP, "n_clicks"),
    Input(ids.RIG_KEEP_NAME, "n_submit"),
    State(ids.RIG_KEEP_NAME, "value"),
    State(ids.RIG_KEEP_RUN, "data"),
    prevent_initial_call=True,
)
def keep_rig(clicks: int | None, submits: int | None, name: str | None, run_id: str) -> Any:
    """Keep the rig of the report that is open, and say where it is."""
    if not clicks and not submits:
        raise PreventUpdate
    try:
        row = get_records().rigs.keep(run_id, name or "", current_actor())
    except RedysError as error:
        return failed(error)
    link = dcc.Link(row.name, href=routes.rig_url(row.id))
    return notice("info", html.P(["Kept as ", link, ". It can be chosen for new recordings."]))


# --- lists ---------------------------------------------------------------------------------------


def say_source(row: RigRow) -> str:
    """Where a kept rig comes from, in a word or two."""
    return _SHORT_SOURCES.get(row.source, row.source)


def say_rig(row: RigRow) -> str:
    """A rig in a line, for choosing among several: its cameras, its verdict, its last check."""
    parts = [f"cameras {', '.join(row.cameras)}", row.verdict]
    last = row.last_check
    if last is not None and last.verdict is not None and last.checked is not None:
        parts.append(f"last check {CHECK_WORDS[last.verdict][0]}, {last.checked.date().isoformat()}")
    return f"{row.name}: {'; '.join(parts)}"


def uses_table(row: RigRow) -> Any:
    """The recordings that were given a rig, and what each found of it."""
    if not row.uses:
        return html.P("No recording has used it yet.", className="hint")
    rows = [
        [
            html.Th(
                dcc.Link(as_written(use.title), href=routes.recording_url(use.recording_id)), scope="row"
            ),
            html.Td(check_badge(use.verdict) if use.verdict is not None else "not checked yet"),
            html.Td(use.checked.date().isoformat() if use.checked is not None else "–"),
        ]
        for use in row.uses
    ]
    return _table(
        "Recordings that used it", ["Recording", "The cameras since the calibration", "Checked"], rows
    )
