import json
import os
import shutil
import subprocess
import sys

import pytest

from pipeline.__main__ import main
from pipeline.errors import ModelError
from pipeline.pose import digests, litert, registry
from pipeline.pose.registry import describe_models, get_entry, list_models, load_detector, load_estimator
from pipeline.session import SessionSettings, read_session
from settings import get_settings


def test_the_defaults_of_a_session_are_there_and_ready():
    settings = SessionSettings()
    assert get_entry("detector", settings.detector).find_fault() == ""
    assert get_entry("estimator", settings.estimator).find_fault() == ""


def test_every_entry_that_is_ready_loads():
    for entry in registry.MODELS:
        if not entry.find_fault():
            loaded = load_detector(entry.name) if entry.role == "detector" else load_estimator(entry.name)
            assert loaded.name == entry.name


def test_a_misspelt_name_is_refused_with_the_right_one():
    with pytest.raises(ModelError, match="Did you mean mediapipe") as caught:
        load_estimator("mediapip")
    assert "estimator" in caught.value.advice


def test_the_record_of_a_run_names_the_networks_with_licence_and_digest():
    described = describe_models("mediapipe", "mediapipe")
    assert [one["role"] for one in described] == ["detector", "estimator"]
    for one in described:
        assert one["licence"] == "Apache-2.0"
        assert all(len(digest) == 64 and name.endswith(".tflite") for name, digest in one["sha256"].items())


def test_a_missing_file_is_said_with_what_to_do(monkeypatch):
    with pytest.raises(ModelError, match=r"gone\.tflite is missing") as caught:
        litert.locate("mediapipe/gone.tflite")
    assert "make setup" in caught.value.advice
    entry = registry.ModelEntry(
        "gone", "estimator", "", "", lambda: None, lambda: [litert.locate("mediapipe/gone.tflite")], ""
    )
    monkeypatch.setattr(registry, "MODELS", (entry,))
    assert "make setup" in entry.find_fault()
    assert [one["ready"] for one in list_models()] == [False]
    with pytest.raises(ModelError, match="gone cannot be used"):
        load_estimator("gone")


def test_a_file_that_is_no_network_is_refused(tmp_path):
    import numpy as np

    path = tmp_path / "broken.tflite"
    path.write_bytes(b"not a network" * 100)
    with pytest.raises(ModelError, match=r"broken\.tflite"):
        litert.Network(path).run(np.zeros((1, 192, 192, 3), np.float32))


def test_mediapipe_itself_is_never_imported_and_the_list_needs_no_network():
    code = (
        "import sys; from pipeline.pose.registry import list_models; list_models(); "
        "import pipeline.pose.estimate; "
        "print([n for n in ('mediapipe', 'torch', 'ai_edge_litert') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_networks_greeting_does_not_reach_the_terminal():
    code = (
        "import numpy as np; from pipeline.pose.palm import PalmNetwork; "
        "print(PalmNetwork().find(np.zeros((90, 160, 3), np.uint8)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


# --- what people and pages see ----------------------------------------------------------------------


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A folder of models of one's own, none of which has been read."""
    folder = tmp_path / "models"
    (folder / "wilor").mkdir(parents=True)
    monkeypatch.setenv("REDYS_MODELS_DIR", str(folder))
    monkeypatch.setenv("REDYS_ESTIMATOR_WEIGHTS", str(folder / "gone.npz"))
    monkeypatch.setattr(digests, "_known", {})
    get_settings.cache_clear()
    yield folder
    get_settings.cache_clear()


@pytest.fixture
def reads(monkeypatch):
    """Names of the files that were read to be hashed."""
    names: list[str] = []
    hash_file = digests.hash_file

    def count(path):
        names.append(path.name)
        return hash_file(path)

    monkeypatch.setattr(digests, "hash_file", count)
    return names


def find(listed, role, name):
    (one,) = (one for one in listed if (one["role"], one["name"]) == (role, name))
    return one


def test_gigabytes_are_hashed_once_for_a_file_as_it_is(models, reads, monkeypatch):
    weights = models / "wilor" / "detector.pt"
    weights.write_bytes(b"weights")
    first = digests.hash_weights(weights)
    assert digests.hash_weights(weights) == first
    monkeypatch.setattr(digests, "_known", {})  # another process
    assert digests.hash_weights(weights) == first == digests.recall_digest(weights)
    assert reads == ["detector.pt"]
    weights.write_bytes(b"weightS")
    os.utime(weights, ns=(1, 1))
    assert digests.recall_digest(weights) is None
    assert digests.hash_weights(weights) != first
    assert reads == ["detector.pt"] * 2


def test_a_folder_that_cannot_be_written_to_costs_time_only(models, reads, monkeypatch):
    weights = models / "wilor" / "detector.pt"
    weights.write_bytes(b"weights")
    (models / "digests.json").mkdir()
    assert digests.hash_weights(weights) == digests.hash_weights(weights)
    assert reads == ["detector.pt"]
    monkeypatch.setattr(digests, "_known", {})
    assert digests.recall_digest(weights) is None


def test_a_page_reads_no_weights(models, reads):
    (models / "wilor" / "detector.pt").write_bytes(b"weights")
    listed = find(list_models(read_files=False), "detector", "wilor")
    assert listed["ready"]
    assert listed["sha256"]["detector.pt"] is None
    assert reads == []
    digest = find(list_models(), "detector", "wilor")["sha256"]["detector.pt"]
    assert find(list_models(read_files=False), "detector", "wilor")["sha256"]["detector.pt"] == digest


def test_the_command_says_of_each_network_whether_it_is_ready_where_it_goes_and_what_it_is(models, capsys):
    (models / "wilor" / "detector.pt").write_bytes(b"weights")
    assert main(["models"]) == 0
    said = capsys.readouterr().out
    assert main(["models", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(one["role"], one["name"]) for one in listed] == [
        (role, name)
        for role, names in (
            ("detector", ("mediapipe", "wilor")),
            ("estimator", ("mediapipe", "redys", "hamer", "wilor", "hamba")),
        )
        for name in names
    ]
    assert [one["ready"] for one in listed] == [True, True, True, False, False, False, False]
    digest = find(listed, "detector", "wilor")["sha256"]["detector.pt"]
    for words in (digest, str(models / "hamba" / "hamba.ckpt"), "CC-BY-NC-ND 4.0", "Download"):
        assert words in said
    for one in listed:
        assert one["licence"] in said
        assert (one["fault"] or one["place"]) in said


def test_a_file_that_may_not_be_read_is_said_and_the_others_are_listed(models, monkeypatch, capsys):
    weights = models / "wilor" / "detector.pt"
    weights.write_bytes(b"weights")
    monkeypatch.setattr(registry.os, "access", lambda path, how: path != weights)  # root may read everything
    assert main(["models", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    one = find(listed, "detector", "wilor")
    assert (one["ready"], "detector.pt" in one["sha256"]) == (False, False)
    assert f"{weights} may not be read" in one["fault"]
    assert find(listed, "detector", "mediapipe")["ready"]


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_had_enough_is_no_failure(models, unbuffered):
    """``models --json | head -1``"""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "models", "--json"],
        stdout=writing,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


# --- the choice -------------------------------------------------------------------------------------


@pytest.fixture
def session_folder(tmp_path):
    folder = tmp_path / "session"
    folder.mkdir()
    (folder / "front.mp4").write_bytes(b"no video")
    return folder


def test_the_session_has_the_say_before_the_settings(session_folder, monkeypatch):
    monkeypatch.setenv("REDYS_ESTIMATOR", "hamer")
    monkeypatch.setenv("REDYS_DETECTOR", "wilor")
    get_settings.cache_clear()
    try:
        assert read_session(session_folder).settings.estimator == "hamer"
        (session_folder / "session.toml").write_text('estimator = "hamba"')
        chosen = read_session(session_folder).settings
        assert (chosen.detector, chosen.estimator) == ("wilor", "hamba")
    finally:
        get_settings.cache_clear()


@pytest.mark.parametrize(("role", "other"), [("detector", "estimator"), ("estimator", "detector")])
def test_the_command_line_has_the_last_word(role, other, models, session_folder, tmp_path, capsys):
    shutil.rmtree(models / "wilor")
    (session_folder / "session.toml").write_text(f'{role} = "mediapipe"')
    code = main(["run", str(session_folder), "--out", str(tmp_path / "run"), f"--{role}", "wilor"])
    said = capsys.readouterr().err
    assert code == 2
    assert f"The {role} wilor cannot be used" in said
    assert "Download" in said
    assert other not in said


def test_a_name_that_is_none_is_refused_on_the_command_line(session_folder, tmp_path, capsys):
    run = ["run", str(session_folder), "--out", str(tmp_path / "run")]
    assert main([*run, "--estimator", "hamr"]) == 2
    said = capsys.readouterr().err
    assert "There is no estimator hamr" in said
    assert "Did you mean hamer" in said
    assert "Choose one of: mediapipe, redys, hamer, wilor, hamba" in said
