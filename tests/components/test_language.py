"""The reader's language: what is translated, what stays, and that nothing is missing."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import dash
import plotly.graph_objects as go
import polib
import pytest
from dash import dcc, html

from components import catalogue, messages
from components.attributes import Written, aria, as_written
from components.catalogue import Catalogue, is_neutral, list_languages, read_catalogue
from components.language import translate_answer, translate_tree
from pipeline.files import write_json
from pipeline.measures.summary import Summary, write_summary
from pipeline.results import RunFolder
from tests.records.site import make_session, open_site

LANGUAGES = [path.stem for path in sorted(catalogue.LOCALES.glob("*.po"))]
PLACE = re.compile(r"(?<![%$])\{(\w*)\}")

WORDS = Catalogue(
    "de",
    {
        "Start": "Beginn",
        "right": "rechts",
        "cannot tell": "nicht bestimmbar",
        "Time (s)": "Zeit (s)",
        "The {side} hand is {length} mm long.": "Die Hand ({side}) ist {length} mm lang.",
        "{run_title}: waiting, place {position}": "{run_title}: wartet, Platz {position}",
        "Run it again.": "Starten Sie es erneut.",
        "{low} to {high}": "{low} bis {high}",
    },
    decimal_sign=",",
)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_message_of_the_program_has_a_translation(language: str) -> None:
    missing = messages.list_missing(language)
    assert missing == [], (
        f"`python -m components.language --update {language}` writes these into the file, to be filled in"
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_has_the_same_values_as_its_message(language: str) -> None:
    for entry in polib.pofile(str(catalogue.file_of(language))):
        if entry.msgstr:
            assert Counter(PLACE.findall(entry.msgid)) == Counter(PLACE.findall(entry.msgstr)), entry.msgid


def test_values_are_found_in_a_sentence_and_translated_in_their_turn() -> None:
    assert WORDS.translate("The right hand is 182.5 mm long.") == "Die Hand (rechts) ist 182,5 mm lang."
    assert WORDS.translate("The hand is long.") == "The hand is long."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3.25 mm", "3,25 mm"),
        ("−0.5 to 1.25", "−0,5 bis 1,25"),
        ("0.1, 0.2, −3", "0,1; 0,2; −3"),
        ("8 cannot tell", "8 nicht bestimmbar"),
        ("cannot tell; Run it again.", "nicht bestimmbar; Starten Sie es erneut."),
        ("Cannot tell", "Nicht bestimmbar"),
        ("2026-03-02", "2026-03-02"),
        ("ReDys 0.4.0", "ReDys 0.4.0"),
        (" Start ", " Beginn "),
        ("", ""),
    ],
)
def test_figures_rows_and_small_words(text: str, expected: str) -> None:
    assert WORDS.translate(text) == expected


def test_what_a_person_typed_stays() -> None:
    assert WORDS.translate("Start: waiting, place 2") == "Start: wartet, Platz 2"
    tree = translate_tree([as_written("Start"), html.Option(Written("Start"), value="Start"), "Start"], WORDS)
    assert tree[0]["props"]["children"] == "Start"
    assert tree[1]["props"] == {"children": "Start", "value": "Start"}
    assert tree[2] == "Beginn"


def test_only_what_is_read_is_translated_and_the_page_s_own_parts_are_not_changed() -> None:
    kept: dict[str, Any] = {"id": "Start", "className": "Start", "value": "Start"}
    button = html.Button("Start", title="Start", **kept, **aria(label="Start"))
    written = translate_tree(html.Div([button, 1.5, None, html.Code("Start")]), WORDS)["props"]["children"]
    assert written[0]["props"] == {"children": "Beginn", "title": "Beginn", "aria-label": "Beginn"} | kept
    assert written[1:3] == ["1,5", None]
    assert written[3]["props"]["children"] == "Start"
    assert button.children == "Start"


def test_a_figure_s_words_are_translated_and_its_data_stay() -> None:
    figure = go.Figure(go.Bar(x=["right"], y=[1.5], name="Start", meta=["right"], customdata=["Start"]))
    figure.update_layout(xaxis={"title": {"text": "Time (s)"}}, annotations=[{"text": "cannot tell"}])
    graph = translate_tree(dcc.Graph(figure=figure, config={"displaylogo": False}), WORDS)["props"]
    (trace,), layout = graph["figure"]["data"], graph["figure"]["layout"]
    assert (trace["name"], trace["x"], trace["meta"]) == ("Beginn", ["rechts"], ["right"])
    assert list(trace["customdata"]) == ["Start"]
    assert layout["xaxis"]["title"]["text"] == "Zeit (s)"
    assert layout["annotations"][0]["text"] == "nicht bestimmbar"
    assert graph["config"]["locales"]["de"]["format"]["decimal"] == ","


def test_what_a_callback_answers_sets_and_has_come_to_is_translated() -> None:
    answer = {
        "multi": True,
        "response": {
            "a": {"children": "Start", "data": {"word": "Start"}},
            "_pages_store": {"data": {"title": "Start"}},
        },
        "sideUpdate": {"b": {"children": [html.P("Start")]}},
        "progress": {"c.children": "Start", "d.value": "Start"},
    }
    found = translate_answer(answer, WORDS)
    assert found["response"]["a"] == {"children": "Beginn", "data": {"word": "Start"}}
    assert found["response"]["_pages_store"]["data"] == {"title": "Beginn"}
    assert found["sideUpdate"]["b"]["children"][0]["props"]["children"] == "Beginn"
    assert found["progress"] == {"c.children": "Beginn", "d.value": "Start"}


def test_a_file_in_its_folder_is_all_that_a_language_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = polib.POFile()
    entries.metadata = {
        "X-Language-Name": "Français",
        "X-Decimal-Sign": ",",
        "Content-Type": "text/plain; charset=UTF-8",
    }
    entries.append(polib.POEntry(msgid="Recordings", msgstr="Enregistrements"))
    entries.save(str(tmp_path / "fr.po"))
    monkeypatch.setattr(catalogue, "LOCALES", tmp_path)
    for kept in (list_languages, read_catalogue):
        kept.cache_clear()
    try:
        assert list_languages() == {"en": "English", "fr": "Français"}
        assert read_catalogue("fr").translate("Recordings") == "Enregistrements"
    finally:
        for kept in (list_languages, read_catalogue):
            kept.cache_clear()


def test_messages_are_collected_from_calls_f_strings_and_browser_modules() -> None:
    source = '''
"""Not this."""
def say(run, found):
    """Nor this."""
    log.info("Nor this one.")
    if found == "no text":
        raise KeyError("Nor this one.")
    raise RedysError(f"{run.name} has {len(found)} frames.", "Film again.")
'''
    assert messages.collect_python(source) == ["{name} has {n_found} frames.", "Film again."]
    assert messages.collect_browser('t("Frame {n}", { n }); tt("no"); t(\n "Play")') == ["Frame {n}", "Play"]


def test_the_language_is_the_one_chosen_else_the_browser_s_else_english(tmp_path: Path) -> None:
    with open_site(tmp_path) as site:
        client = site.browser()
        assert '<html lang="en"' in client.get("/").text
        german = {"Accept-Language": "de-CH,de;q=0.9,en;q=0.5"}
        page = client.get("/", headers=german).text
        assert '<html lang="de" data-theme="dark-video">' in page
        assert "Zum Inhalt springen" in page
        client.set_cookie("redys_language", "en")
        client.set_cookie("redys_theme", "light")
        assert '<html lang="en" data-theme="light">' in client.get("/", headers=german).text
        client.set_cookie("redys_language", "xx")
        assert '<html lang="de"' in client.get("/", headers=german).text


def test_layout_titles_refusals_and_the_browser_s_words_come_in_the_reader_s_language(tmp_path: Path) -> None:
    with open_site(tmp_path) as site:
        client = site.browser()
        client.set_cookie("redys_language", "de")
        assert "Neue Aufnahme" in json.dumps(client.get("/_dash-layout").json, ensure_ascii=False)
        assert "Eine solche Bibliothek gibt es nicht." in client.get("/vendor/none.js").text
        words = client.get("/words/de.json")
        assert json.loads(words.data)["Pause"] == "Anhalten"
        assert "Recordings" not in json.loads(words.data)
        again = client.get("/words/de.json", headers={"If-None-Match": words.headers["ETag"]})
        assert (again.status_code, again.data) == (304, b"")
        assert client.get("/words/xx.json").status_code == 404


def test_signing_in_can_be_done_in_another_language(tmp_path: Path) -> None:
    from records import Records
    from settings import Settings

    records = Records(Settings(data_dir=tmp_path))
    records.users.add("ada", "a sentence to keep in mind")
    records.close()
    with open_site(tmp_path, REDYS_HOST="192.0.2.1") as site:
        client = site.browser("https", "192.0.2.1")
        page = client.get("/sign-in?next=/rigs").text
        assert "Password" in page
        assert "Deutsch" in page
        chosen = client.get("/sign-in?language=de&next=/rigs")
        assert chosen.location.endswith("/sign-in?next=/rigs")
        assert "Passwort" in client.get(chosen.location).text
        assert client.get("/words/de.json").status_code == 200


def test_nothing_on_a_report_to_print_is_left_in_english(summary: Summary, tmp_path: Path) -> None:
    words = read_catalogue("de")
    with open_site(tmp_path / "data") as site:
        session = make_session(tmp_path / "session", f'subject = "Start"\nvisit = {summary.visit}')
        run = RunFolder(tmp_path / "run")
        write_json(run.run_json, {"state": "done"})
        write_summary(run.summary_json, summary)
        row = site.records.add_recording(session)
        site.records.add_finished_run(row.id, run.path)
        page = dash.page_registry["pages.print"]["layout"](recording_id=row.id)
    words.misses = set()
    try:
        written = json.dumps(translate_tree(page, words), ensure_ascii=False, default=str)
        # The sentences that the made summary has instead of real ones.
        made = ("far.", "Withheld: too short", "local polynomial.", "found in 71 %")
        assert [miss for miss in words.misses if not any(each in miss for each in made)] == []
    finally:
        words.misses = None
    assert '"Start"' in written
    assert "Qualität der Aufnahme" in written


def test_units_and_names_are_no_words() -> None:
    assert is_neutral("12.5 mm/s, n = 24")
    assert is_neutral("%{y}, %{x:.2f} s<br>%{z:.1f} m/s²<extra></extra>")
    assert not is_neutral("60 frames/s")
