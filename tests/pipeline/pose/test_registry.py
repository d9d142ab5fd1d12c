import subprocess
import sys

import pytest

from pipeline.errors import ModelError
from pipeline.pose import litert, registry
from pipeline.pose.registry import describe_models, get_entry, list_models, load_detector, load_estimator
from pipeline.session import SessionSettings


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
