"""Ultralytics' files: read as inert data, built anew, answering as Ultralytics' own loading of them does."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.errors import ModelError
from pipeline.pose.networks.yolo import (
    build_yolo,
    import_ultralytics,
    letterbox,
    read_yolo_file,
    suppress_doubles,
)
from tests.pipeline.pose.networks.yolo_files import make_detector, write_detector

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("yolo") / "detector.pt"
    write_detector(path, make_detector(), imgsz=512)
    return path


def make_picture(height=360, width=640):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("scale", ["n", "m"])
def test_our_reading_answers_to_the_last_bit_as_ultralytics_own(scale, tmp_path):
    write_detector(tmp_path / "detector.pt", make_detector(scale))
    file = read_yolo_file(tmp_path / "detector.pt")
    from ultralytics.nn.tasks import load_checkpoint

    theirs, _ = load_checkpoint(tmp_path / "detector.pt")
    picture = torch.from_numpy(letterbox(make_picture(), 320))
    with torch.inference_mode():
        answer, expected = build_yolo(file, "a detector")(picture), theirs(picture)
    assert answer[0].shape == (1, 4 + 2 + 63, 40 * 24 + 20 * 12 + 10 * 6)
    assert torch.equal(answer[0], expected[0])
    assert file.n_classes == 2


def test_the_size_of_the_pictures_is_that_of_the_training(written):
    assert read_yolo_file(written).input_px == 512


def test_training_that_was_not_finished_is_read_by_its_average(tmp_path):
    import_ultralytics()
    network, average = make_detector(), make_detector()
    with torch.no_grad():
        average.model[0].conv.weight.fill_(0.25)
    torch.save({"model": network, "ema": average, "train_args": {"imgsz": 640}}, tmp_path / "last.pt")
    weights = read_yolo_file(tmp_path / "last.pt").weights
    assert set(weights) == set(average.state_dict())
    assert (weights["model.0.conv.weight"] == 0.25).all()


@pytest.mark.parametrize("size", [(1920, 1080), (1080, 1920), (640, 480), (333, 777), (64, 48)])
def test_a_box_goes_through_the_letterbox_and_back(size):
    """A white rectangle is found in the letterboxed picture, and mapped back it is where it was."""
    width, height = size
    low, high = np.array([0.25 * width, 0.3 * height]).round(), np.array([0.6 * width, 0.8 * height]).round()
    image = np.zeros((height, width, 3), np.uint8)
    image[int(low[1]) : int(high[1]), int(low[0]) : int(high[0])] = 255
    picture = letterbox(image, 640)
    assert picture.shape[2] % 32 == picture.shape[3] % 32 == 0
    assert max(picture.shape) == 640
    white = picture[0, 0] > 0.7  # the grey around is 0.45
    rows, columns = np.flatnonzero(white.any(axis=1)), np.flatnonzero(white.any(axis=0))
    edges = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)
    (found,) = suppress_doubles(make_answer([(edges, 0.9, 1)]), picture, size, 2, 0.6, 0.5)
    step = max(max(size) / 640, 1.0)
    # Pixels' edges from low to high are centres from low - 0.5 to high - 0.5.
    np.testing.assert_allclose(found[:4], [*(low - 0.5), *(high - 0.5)], atol=1.01 * step)
    assert found[4:] == pytest.approx([0.9, 1])


def make_answer(boxes):
    """What the network would answer for boxes x1 y1 x2 y2 of its picture, their score and class."""
    answer = torch.zeros(1, 4 + 2 + 63, max(len(boxes), 1))
    for column, (box, score, kind) in enumerate(boxes):
        low, high = np.array(box[:2]), np.array(box[2:])
        answer[0, :4, column] = torch.tensor([*((low + high) / 2), *(high - low)])
        answer[0, 4 + kind, column] = score
    return (answer, None)


def test_blue_green_red_becomes_red_green_blue():
    image = np.zeros((64, 64, 3), np.uint8)
    image[..., 0] = 255
    picture = letterbox(image, 64)
    assert picture[0, :, 32, 32].tolist() == [0.0, 0.0, 1.0]


def test_of_two_boxes_on_one_hand_the_surer_stays_and_unsure_ones_go():
    boxes = [
        ((100, 100, 200, 200), 0.7, 0),
        ((104, 100, 204, 200), 0.9, 1),
        ((300, 100, 400, 200), 0.61, 0),
        ((450, 100, 500, 200), 0.59, 1),
    ]
    picture = np.zeros((1, 3, 640, 640), np.float32)
    found = suppress_doubles(make_answer(boxes), picture, (640, 640), 2, 0.6, 0.5)
    np.testing.assert_allclose(found[:, 4:], [[0.9, 1], [0.61, 0]], atol=1e-6)
    np.testing.assert_allclose(found[:, :4] + 0.5, [boxes[1][0], boxes[2][0]], atol=1e-4)
    assert suppress_doubles(make_answer([]), picture, (640, 640), 2, 0.6, 0.5).shape == (0, 6)


# --- files that are something else ------------------------------------------------------------------


def rewrite(path, old, new):
    """The same file with other bytes in its pickle, its checksums right."""
    with zipfile.ZipFile(path) as archive:
        parts = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    name = next(name for name in parts if name.endswith("data.pkl"))
    assert old in parts[name]
    parts[name] = parts[name].replace(old, new)
    with zipfile.ZipFile(path, "w") as archive:
        for filename, value in parts.items():
            archive.writestr(filename, value)


class Command:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


def test_a_file_that_would_run_a_command_is_refused_and_runs_nothing(tmp_path):
    network = make_detector()
    network.extra = Command(tmp_path / "done")
    torch.save({"model": network, "ema": None}, tmp_path / "detector.pt")
    with pytest.raises(ModelError, match=r"detector\.pt refers to \w+\.system"):
        read_yolo_file(tmp_path / "detector.pt")
    assert not (tmp_path / "done").exists()


@pytest.mark.parametrize("trap", ["activation", "layer", "word", "count"])
def test_a_plan_that_would_run_a_command_is_refused_and_runs_nothing(trap, tmp_path):
    """Ultralytics evaluates the plan's activation, and takes its layers from all that its module knows."""
    network = make_detector()
    target = tmp_path / "done"
    command = f"__import__('os').system('touch {target}')"
    if trap == "activation":
        network.yaml["activation"] = command
    elif trap == "layer":
        network.yaml["backbone"][0][2] = "checks.check_requirements"
    elif trap == "word":
        network.yaml["head"][0][3] = [command]
    else:
        network.yaml["backbone"][0][3] = [10**9, 3, 2]
    write_detector(tmp_path / "detector.pt", network)
    with pytest.raises(ModelError, match="which no detector of hands is known to have") as caught:
        read_yolo_file(tmp_path / "detector.pt")
    assert "detector.pt" in caught.value.what
    assert not target.exists()


@pytest.mark.parametrize("kinds", [None, "nc", 2.5])
def test_a_plan_that_does_not_say_how_many_kinds_it_tells_apart_is_refused(kinds, tmp_path):
    network = make_detector()
    network.yaml["nc"] = kinds
    write_detector(tmp_path / "detector.pt", network)
    with pytest.raises(ModelError, match="no number of kinds"):
        read_yolo_file(tmp_path / "detector.pt")


def test_layers_in_layers_without_end_are_refused_in_words(tmp_path):
    network = torch.nn.Sequential()
    for _ in range(1200):
        network = torch.nn.Sequential(network)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(50 * limit)  # for writing it
    try:
        torch.save({"model": network}, tmp_path / "detector.pt")
    finally:
        sys.setrecursionlimit(limit)
    with pytest.raises(ModelError, match=r"detector\.pt holds no detector .*RecursionError"):
        read_yolo_file(tmp_path / "detector.pt")


def test_no_class_of_the_file_is_imported(tmp_path, written):
    """Reading needs nothing of Ultralytics: its objects stay inert."""
    code = (
        "import sys; from pathlib import Path\n"
        "from pipeline.pose.networks.yolo import read_yolo_file\n"
        f"file = read_yolo_file(Path({str(written)!r}))\n"
        "print(len(file.weights), [n for n in ('ultralytics', 'torchvision') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{len(make_detector().state_dict())} []"


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.9999])
def test_a_file_cut_short_is_refused(share, written, tmp_path):
    whole = written.read_bytes()
    (tmp_path / "detector.pt").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ModelError, match=r"detector\.pt") as caught:
        read_yolo_file(tmp_path / "detector.pt")
    assert "Download it again" in caught.value.advice


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(ModelError, match=r"detector\.pt is missing"):
        read_yolo_file(tmp_path / "detector.pt")


@pytest.mark.parametrize(
    "content",
    [{"state_dict": {"a": torch.zeros(1)}}, {"model": {"a": torch.zeros(1)}}, {"model": None}, [1], {}],
)
def test_a_file_without_a_network_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "detector.pt")
    with pytest.raises(ModelError, match=r"detector\.pt holds no detector as Ultralytics writes it"):
        read_yolo_file(tmp_path / "detector.pt")


def test_weights_that_do_not_fit_their_own_plan_are_refused(tmp_path):
    network = make_detector("n")
    network.yaml["scale"] = "s"
    write_detector(tmp_path / "detector.pt", network)
    with pytest.raises(ModelError, match=r"detector\.pt does not hold the weights of a detector"):
        build_yolo(read_yolo_file(tmp_path / "detector.pt"), "a detector")


# --- the package ------------------------------------------------------------------------------------

WATCHED = """
import os, sys, tempfile
from pathlib import Path
asked, written = [], []
def watch(event, values):
    if event.startswith("socket.") and event not in ("socket.__new__",):
        asked.append((event, str(values)))
    if event == "open" and isinstance(values[1], str) and set(values[1]) & set("wax+"):
        if isinstance(values[0], (str, bytes)) and not str(values[0]).startswith("/dev/"):
            written.append(str(values[0]))
    if event in ("os.mkdir", "os.rename", "subprocess.Popen", "os.system"):
        written.append(f"{event} {values[0]}")
import cv2, numpy, torch
import pipeline.pose.networks.detector
cv2.setNumThreads(3)
before = dict(os.environ), cv2.getNumThreads(), torch.save, numpy.get_printoptions()
sys.addaudithook(watch)
from pipeline.pose.networks.detector import WilorDetector
detector = WilorDetector(torch.device("cpu"))
detector.detect(numpy.zeros((360, 640, 3), numpy.uint8))
sys.stdout.flush()
print("asked", asked)
print("written", [one for one in written if "redys-" not in one and "__pycache__" not in one])
print("home", os.listdir(Path.home()), [n for n in os.listdir(tempfile.gettempdir()) if "redys-" in n])
print("same", before == (dict(os.environ), cv2.getNumThreads(), torch.save, numpy.get_printoptions()))
print("loaded", [n for n in ("torchvision", "polars", "matplotlib") if n in sys.modules])
"""


def test_ultralytics_asks_nobody_writes_nothing_and_leaves_the_process_as_it_was(written, tmp_path):
    models, home, temporary = tmp_path / "models", tmp_path / "home", tmp_path / "temporary"
    for folder in (models / "wilor", home, temporary):
        folder.mkdir(parents=True)
    (models / "wilor" / "detector.pt").write_bytes(written.read_bytes())
    done = subprocess.run(
        [sys.executable, "-c", WATCHED],
        cwd=ROOT,
        env={
            "PATH": "/usr/bin:/bin", "HOME": str(home), "TMPDIR": str(temporary),
            "REDYS_MODELS_DIR": str(models), "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "asked []",
        "written []",
        "home [] []",
        "same True",
        "loaded []",
    ]
