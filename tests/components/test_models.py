"""The networks on the pages: what can be chosen, what is missing, and that a choice reaches the session."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components import ids, intake
from components.models import missing_models, model_select, models_table
from pipeline.pose.digests import hash_weights
from pipeline.pose.registry import list_models
from pipeline.session import read_session
from settings import get_settings
from tests.records.site import Site, make_session, open_site


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("REDYS_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("REDYS_ESTIMATOR_WEIGHTS", str(tmp_path / "models" / "gone.npz"))
    get_settings.cache_clear()
    (tmp_path / "models" / "wilor").mkdir(parents=True)
    yield tmp_path / "models"
    get_settings.cache_clear()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("models") / "data") as opened:
        yield opened


def disabled(role: str) -> dict[str, bool]:
    return {one["value"]: one["disabled"] for one in model_select("any", role, "mediapipe").options}


def test_only_networks_that_are_ready_can_be_chosen(models: Path) -> None:
    expected = {"mediapipe": False, "redys": True, "hamer": True, "wilor": True, "hamba": True}
    assert disabled("estimator") == expected
    assert disabled("detector") == {"mediapipe": False, "wilor": True}
    (models / "wilor" / "detector.pt").write_bytes(b"weights")
    assert disabled("detector") == {"mediapipe": False, "wilor": False}


def test_what_is_missing_is_said_with_where_it_goes_but_not_where_the_server_keeps_it(models: Path) -> None:
    said = str(missing_models()) + str(models_table())
    for words in ("hamer.ckpt", "models/hamba/", "Download", "CC-BY-NC-ND 4.0", "non-commercial"):
        assert words in said
    assert str(models) not in said
    (models / "wilor" / "detector.pt").write_bytes(b"weights")
    assert "detector.pt" not in str(missing_models())


def test_a_digest_is_shown_once_it_is_known(models: Path) -> None:
    weights = models / "wilor" / "detector.pt"
    weights.write_bytes(b"weights")
    assert "not read yet" in str(models_table())
    list_models()  # as the command and a run do
    assert hash_weights(weights) in str(models_table())
    assert "not read yet" not in str(models_table())


def test_the_choice_of_the_form_is_the_sessions(site: Site, tmp_path: Path) -> None:
    form: dict[str, Any] = {"subject": "P-3", "side": "right", "preset": "standard"}
    folder = make_session(tmp_path / "bare")
    chosen = {"detector": "wilor", "estimator": "hamba"}
    with site.app.server.test_request_context("/"):
        intake.prepare("folder", {}, str(folder), form | chosen, "local")
    written = tomllib.loads((folder / "session.toml").read_text())
    assert {role: written[role] for role in chosen} == chosen
    assert read_session(folder).settings.estimator == "hamba"


def test_the_page_sends_both_choices(site: Site) -> None:
    from pages import new  # pages exist once there is an app

    sent = {name: state.component_id for name, state in new._FORM.items()}
    assert (sent["detector"], sent["estimator"]) == (ids.NEW_DETECTOR, ids.NEW_ESTIMATOR)
