"""WiLoR's detector as the pipeline meets it; the weights are drawn, so what is found is told to it."""

import multiprocessing
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from pipeline.errors import ModelError, PoseError
from pipeline.pose import crew
from pipeline.pose.crew import Crew
from pipeline.pose.landmarks import MediaPipeDetector, MediaPipeEstimator
from pipeline.pose.networks.detector import WilorDetector
from pipeline.pose.networks.files import locate_detector
from pipeline.pose.networks.yolo import letterbox
from pipeline.pose.registry import describe_models, get_entry, load_detector
from pipeline.pose.tracking import HandTracker, assign_sides
from settings import get_settings
from tests.pipeline.pose.networks.yolo_files import make_detector, write_detector

DATA = Path(__file__).resolve().parents[5] / "shared" / "data"


@pytest.fixture
def models(tmp_path, monkeypatch):
    monkeypatch.setenv("REDYS_MODELS_DIR", str(tmp_path))
    get_settings.cache_clear()
    yield tmp_path
    get_settings.cache_clear()


@pytest.fixture
def detector(models):
    write_detector(locate_detector(), make_detector())
    return WilorDetector(torch.device("cpu"))


def tell(detector, size, boxes):
    """Have its network answer for boxes x1 y1 x2 y2 in px of the whole picture, their score and class."""
    width, height = size
    shape = letterbox(np.zeros((height, width, 3), np.uint8), 640).shape
    gain = min(shape[2] / height, shape[3] / width)
    pad = (np.array(shape[:1:-1]) - np.array(size) * gain) / 2
    answer = torch.zeros(1, 69, max(len(boxes), 1))
    for column, (box, score, kind) in enumerate(boxes):
        low, high = (np.array(box[:2]) + 0.5) * gain + pad, (np.array(box[2:]) + 0.5) * gain + pad
        answer[0, :4, column] = torch.tensor([*((low + high) / 2), *(high - low)])
        answer[0, 4 + kind, column] = score

    class Told(torch.nn.Module):
        def forward(self, picture):
            assert picture.shape == shape
            return answer, None

    detector._network = Told()


def test_class_0_is_left_and_class_1_is_right_and_boxes_are_where_they_are(detector):
    boxes = [((100, 200, 400, 500), 0.95, 0), ((900, 300, 1100, 700), 0.8, 1), ((5, 5, 50, 50), 0.59, 1)]
    tell(detector, (1280, 720), boxes)
    found = detector.detect(np.zeros((720, 1280, 3), np.uint8))
    assert [(one.side, round(one.score, 3)) for one in found] == [("left", 0.95), ("right", 0.8)]
    for one, (box, _, _) in zip(found, boxes, strict=False):
        np.testing.assert_allclose(one.box_px, box, atol=1e-3)
        assert (one.region.x_px, one.region.y_px) == pytest.approx(
            ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), abs=1e-3
        )  # a black picture has no direction


def test_its_own_network_finds_nothing_in_noise_and_takes_any_size_of_picture(detector):
    for shape in ((64, 48, 3), (1080, 1920, 3)):
        assert detector.detect(np.random.default_rng(0).integers(0, 256, shape, np.uint8)) == []


def read_hands():
    """A left hand, and the same one upside down."""
    if not DATA.is_dir():
        pytest.skip("../shared/data is not there")
    image = cv2.imread(str(DATA / "signing-hand" / "hands.jpg"))
    assert image is not None
    return image


@pytest.mark.data
def test_a_hand_upside_down_gets_its_direction(detector):
    image = read_hands()
    known = MediaPipeDetector().detect(image)
    tell(detector, (image.shape[1], image.shape[0]), [(one.box_px, one.score, 0) for one in known])
    for one, other in zip(detector.detect(image), known, strict=True):
        turn = np.degrees(one.region.angle_rad - other.region.angle_rad)
        assert abs((turn + 180) % 360 - 180) < 8
        assert one.region.size_px == pytest.approx(other.region.size_px, rel=0.15)
        assert one.side == "left"


@pytest.mark.data
def test_its_boxes_begin_tracks_of_the_largest_hand_of_a_side(detector):
    image = read_hands()
    small = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    both = np.full((image.shape[0], image.shape[1] + small.shape[1], 3), 255, np.uint8)
    both[:, : image.shape[1]] = image
    both[: small.shape[0], image.shape[1] :] = small
    known = MediaPipeDetector().detect(image)
    boxes = [(one.box_px, 0.8, 0) for one in known]
    boxes += [(one.box_px / 2 + [image.shape[1], 0, image.shape[1], 0], 0.95, 0) for one in known]
    tell(detector, (both.shape[1], both.shape[0]), boxes)
    tracker = HandTracker(detector, MediaPipeEstimator(), ("left",), "minimal", 30.0)
    for frame in range(3):
        tracker.step(frame, both)
    chosen = assign_sides(tracker.tracklets, ("left",), 30.0)["left"]
    assert len(tracker.tracklets) == 4
    areas = [float(np.prod(one.last_box_px[2:] - one.last_box_px[:2])) for one in tracker.tracklets]
    # From its second frame on, the largest hand alone gets all passes, and so has a sigma.
    passes = [np.isfinite(one.sigma_px[-1]).all() for one in tracker.tracklets]
    assert passes == [area == max(areas) for area in areas]
    assert any(one is tracker.tracklets[int(np.argmax(areas))] for one in chosen)


def look(bench, piece):
    return len(bench.detector.detect(np.zeros((90, 160, 3), np.uint8)))


def test_it_works_in_several_processes(models):
    write_detector(locate_detector(), make_detector())
    with Crew("wilor", "mediapipe", 2) as crew:
        assert crew.run(look, [1, 2, 3], lambda done: None) == [0, 0, 0]


@pytest.mark.parametrize("workers", [1, 2])
def test_weights_that_are_damaged_are_said_from_whichever_process_finds_them_so(models, workers):
    write_detector(locate_detector(), make_detector())
    whole = locate_detector().read_bytes()
    locate_detector().write_bytes(whole[: len(whole) // 2])

    def run():
        with Crew("wilor", "mediapipe", workers) as crew:
            crew.run(look, [1, 2], lambda done: None)

    with pytest.raises(ModelError, match=r"detector\.pt is not a whole file") as caught:
        run()
    assert "Download it again" in caught.value.advice
    assert multiprocessing.active_children() == []


class Crowded(torch.nn.Module):
    """A network that finds no room on a GPU, or nowhere."""

    def __init__(self, inner, everywhere=False):
        super().__init__()
        self.inner, self.everywhere, self.on_gpu = inner, everywhere, True

    def to(self, device):  # type: ignore[override]
        self.on_gpu = torch.device(device).type != "cpu"
        return self

    def forward(self, picture):
        if self.on_gpu or self.everywhere:
            raise RuntimeError("MPS backend out of memory")
        return self.inner(picture.cpu())


def test_a_gpu_without_memory_hands_over_to_the_cpu_and_says_so(detector):
    detector._network = Crowded(detector._network)
    detector._device = torch.device("meta")
    assert detector.detect(np.zeros((90, 160, 3), np.uint8)) == []
    (note,) = detector.notes
    assert "the CPU goes on" in note
    detector.detect(np.zeros((90, 160, 3), np.uint8))
    assert len(detector.notes) == 1


def test_want_of_the_computers_own_memory_is_said_in_words(detector):
    detector._network = Crowded(detector._network, everywhere=True)
    with pytest.raises(PoseError, match="memory does not suffice for WiLoR's hand detector"):
        detector.detect(np.zeros((90, 160, 3), np.uint8))


def test_a_gpu_that_is_full_already_hands_over_to_the_cpu_and_says_so(models, monkeypatch):
    write_detector(locate_detector(), make_detector())
    move = torch.nn.Module.to

    def refuse(network, device):
        if torch.device(device).type == "cuda":
            raise torch.OutOfMemoryError("CUDA")
        return move(network, device)

    monkeypatch.setattr(torch.nn.Module, "to", refuse)
    detector = WilorDetector(torch.device("cuda"))
    assert detector.detect(np.zeros((90, 160, 3), np.uint8)) == []
    (note,) = detector.notes
    assert "the CPU goes on" in note


def test_whatever_a_worker_process_cannot_begin_with_is_said_as_it_is(monkeypatch):
    def fail(name):
        raise RuntimeError("no kernel image for this device")

    monkeypatch.setattr(crew, "_bench", None)
    monkeypatch.setattr(crew, "_use_one_thread", lambda: None)  # of this very process
    monkeypatch.setattr(crew, "load_detector", fail)
    crew._set_up("wilor", "mediapipe", None, None)
    with pytest.raises(RuntimeError, match="no kernel image"):
        crew._do(look, 1)


# --- the file ---------------------------------------------------------------------------------------


def test_the_registry_says_where_it_goes_hashes_it_and_loads_it(models):
    entry = get_entry("detector", "wilor")
    assert str(models / "wilor" / "detector.pt") in entry.find_fault()
    assert "models/wilor/" in entry.find_fault()
    with pytest.raises(ModelError, match="detector wilor cannot be used"):
        load_detector("wilor")
    write_detector(locate_detector(), make_detector())
    assert entry.find_fault() == ""
    (described,) = (one for one in describe_models("wilor", "mediapipe") if one["role"] == "detector")
    assert len(described["sha256"]["detector.pt"]) == 64
    assert load_detector("wilor").name == "wilor"


@pytest.mark.parametrize("n_classes", [1, 3])
def test_another_detector_is_refused(models, n_classes):
    write_detector(locate_detector(), make_detector(n_classes=n_classes))
    with pytest.raises(ModelError, match=f"tells {n_classes} kinds of things apart") as caught:
        load_detector("wilor")
    assert "detector.pt" in caught.value.what
    assert "WiLoR's own" in caught.value.advice


def test_the_estimators_weights_in_the_detectors_place_are_refused(models):
    locate_detector().parent.mkdir()
    torch.save({"state_dict": {"refine_net.a": torch.zeros(1)}}, locate_detector())
    with pytest.raises(ModelError, match=r"detector\.pt holds no detector"):
        load_detector("wilor")
