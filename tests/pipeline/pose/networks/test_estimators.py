import hashlib
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from smplx.lbs import lbs

from pipeline.errors import ModelError
from pipeline.pose.augmentation import PASSES, measure_hand
from pipeline.pose.crops import cut
from pipeline.pose.landmarks import MediaPipeDetector, MediaPipeEstimator
from pipeline.pose.networks import estimators
from pipeline.pose.networks.checkpoints import read_checkpoint
from pipeline.pose.networks.estimators import NetworkEstimator, load_network
from pipeline.pose.networks.files import locate
from pipeline.pose.networks.hamba import Hamba, HambaSize, read_size
from pipeline.pose.networks.hamer import Hamer, HamerSize
from pipeline.pose.networks.hand_layer import HandAnswer, HandLayer, decode_rotations
from pipeline.pose.networks.runner import Runner
from pipeline.pose.networks.vit import VitSize
from pipeline.pose.networks.wilor import Wilor
from pipeline.pose.regions import Region, apply_affine
from pipeline.pose.registry import describe_models, get_entry, load_estimator
from pipeline.video import read_frames
from settings import get_settings

VIT = VitSize(width=32, depth=2, heads=4)
HAMBA = HambaSize(VIT, width=8, inner=12, states=4, rank=3, hidden=16, first_blocks=(1, 2), graph_blocks=(2,))
SIZE_PX = (400, 300)
DATA = Path(__file__).resolve().parents[5] / "shared" / "data"


def make_mano() -> HandLayer:
    """A hand of points about the wrist; every vertex hangs on one joint."""
    draw = np.random.default_rng(5)
    layer = HandLayer()
    weights = np.zeros((778, 16))
    weights[np.arange(778), draw.integers(0, 16, 778)] = 1
    layer.take(
        {
            "v_template": draw.normal(size=(778, 3)) * 0.05,
            "shapedirs": draw.normal(size=(778, 3, 10)) * 1e-3,
            "posedirs": draw.normal(size=(778, 3, 135)) * 1e-4,
            "J_regressor": draw.dirichlet(np.ones(778) * 0.01, size=16),
            "weights": weights,
            "f": draw.integers(0, 778, (1538, 3)),
        }
    )
    return layer


def make_network(name: str):
    torch.manual_seed(7)
    network = {
        "hamer": lambda: Hamer(HamerSize(VIT, width=16, depth=1, heads=2, head_width=8), make_mano()),
        "wilor": lambda: Wilor(VIT, make_mano()),
        "hamba": lambda: Hamba(HAMBA, make_mano()),
    }[name]()
    for key, value in network.state_dict().items():
        if key.endswith("init_cam"):
            value.copy_(torch.tensor([[4.0, 0.0, 0.0]]))
        elif key.endswith("init_hand_pose"):
            value.copy_(torch.tensor([1.0, 0.2, 0, 0, 1, 0.1]).repeat(16)[None])
        elif value.is_floating_point() and not key.startswith("mano.") and "norm" not in key:
            value.add_(torch.randn_like(value) * 0.03)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module", params=["hamer", "wilor", "hamba"])
def estimator(request) -> NetworkEstimator:
    network = make_network(request.param)
    return NetworkEstimator(request.param, Runner(request.param, lambda: network, torch.device("cpu")))


def make_picture() -> np.ndarray:
    draw = np.random.default_rng(1)
    coarse = draw.integers(0, 256, (30, 40, 3)).astype(np.float32)
    return np.kron(coarse, np.ones((10, 10, 1), np.float32)).astype(np.uint8)


def test_the_answer_hangs_on_the_picture(estimator):
    crops = np.random.default_rng(0).integers(0, 256, (2, 256, 256, 3), dtype=np.uint8)
    points = estimator.estimate(crops, "right").points_px
    assert np.abs(points[0] - points[1]).max() > 0.01


def test_a_batch_answers_as_its_crops_one_by_one(estimator):
    crops = np.random.default_rng(0).integers(0, 256, (3, 256, 256, 3), dtype=np.uint8)
    together = estimator.estimate(crops, "right")
    apart = [estimator.estimate(crop[None], "right") for crop in crops]
    np.testing.assert_allclose(
        together.points_px, np.concatenate([one.points_px for one in apart]), atol=1e-3
    )


def test_a_left_hand_is_measured_as_the_mirrored_right_one(estimator):
    crops = np.random.default_rng(0).integers(0, 256, (2, 256, 256, 3), dtype=np.uint8)
    right = estimator.estimate(crops, "right")
    left = estimator.estimate(np.ascontiguousarray(crops[:, :, ::-1]), "left")
    np.testing.assert_allclose(left.points_px, [255, 0] + right.points_px * [-1, 1], atol=1e-9)
    for name in ("betas", "global_orient", "hand_pose"):
        np.testing.assert_array_equal(getattr(left.guess, name), getattr(right.guess, name))


def test_rotations_are_rotations_and_shapes_as_promised(estimator):
    found = estimator.estimate(np.zeros((2, 256, 256, 3), np.uint8), "right")
    assert found.guess is not None
    assert found.points_px.shape == (2, 21, 2)
    assert found.guess.betas.shape == (2, 10)
    assert found.guess.global_orient.shape == (2, 3, 3)
    assert found.guess.hand_pose.shape == (2, 15, 3, 3)
    for matrices in (found.guess.global_orient, found.guess.hand_pose):
        np.testing.assert_allclose(
            matrices @ matrices.swapaxes(-1, -2), np.broadcast_to(np.eye(3), matrices.shape), atol=1e-5
        )
        np.testing.assert_allclose(np.linalg.det(matrices), 1, atol=1e-5)


def test_a_crop_without_a_hand_has_a_low_score(estimator):
    found = estimator.estimate(np.full((2, 256, 256, 3), 127, np.uint8), "right")
    assert (found.score < 0.5).all()


class Placer:
    """A runner of a network that places every hand at given shares of the crop."""

    def __init__(self, points: np.ndarray) -> None:
        self.points = points

    def run(self, pictures: np.ndarray) -> HandAnswer:
        count = len(pictures)
        answer = make_network("hamer").pose(
            torch.ones(count, 3), torch.tensor([1.0, 0, 0, 0, 1, 0]).repeat(count, 16), torch.zeros(count, 10)
        )
        return replace(answer, points=torch.as_tensor(self.points).expand(count, -1, -1))


@pytest.mark.data
@pytest.mark.parametrize("side", ["right", "left"])
def test_a_real_hand_is_found_where_it_is_and_not_where_it_is_not(side):
    """Score and side are of the hand where the network placed it: a misplaced hand is none."""
    if not DATA.is_dir():
        pytest.skip("../shared/data is not there")
    image = next(iter(read_frames(DATA / "signing-hand" / "asl_hand.25fps.mp4", 40, 41))).image
    image = image if side == "right" else np.ascontiguousarray(image[:, ::-1])
    (hand, *_) = MediaPipeDetector().detect(image)
    crop, image_from_crop = cut(image, hand.region, 224)
    points_px = apply_affine(image_from_crop, MediaPipeEstimator().estimate(crop[None], side).points_px[0])
    region = NetworkEstimator("hamer", cast(Runner, Placer(points_px))).frame_points(points_px)
    crop, image_from_crop = cut(image, region, 256)
    inside = (points_px - image_from_crop[:, 2]) / image_from_crop[0, 0]
    for shift_px, found in ((0.0, True), (120.0, False)):
        placed = inside + np.array([shift_px, 0.0])
        shares = placed / 256 - 0.5
        if side == "left":  # as the network sees it
            shares[:, 0] = 255 / 256 - 1 - shares[:, 0]
        estimates = NetworkEstimator("hamer", cast(Runner, Placer(shares))).estimate(crop[None], side)
        np.testing.assert_allclose(estimates.points_px[0], placed, atol=1e-3)
        assert (estimates.score[0] > 0.9) == found
        if found:
            assert (estimates.right[0] > 0.9) == (side == "right")


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("angle", [0.0, 0.6])
def test_the_whole_pictures_camera_agrees_with_the_crops_own_points(estimator, side, angle):
    """They differ by perspective only: the hand's depth against its pseudo distance."""
    image, region = make_picture(), Region(210.0, 140.0, 180.0, angle)
    whole = estimator.reconstruct(image, [region], side)
    crop = estimators.cut_as_published(image, region, "right")[None]
    if side == "left":
        crop = np.ascontiguousarray(estimators.cut_as_published(image, region, "left")[None, :, ::-1])
    shift = [1.0, 0.0] if side == "left" else [0.0, 0.0]  # 255 - x there, 256 - x here
    points = estimator.estimate(crop, side).points_px[0] + shift
    expected = apply_affine(region.get_image_from_crop(256), points)
    assert np.abs(whole.keypoints_px[0] - expected).max() < 0.02 * region.size_px


def test_a_turned_crops_pose_is_turned_back(estimator):
    """The camera's frame of the picture must not hang on how the crop was turned."""
    image = make_picture()
    angle = 0.5
    whole = estimator.reconstruct(image, [Region(200, 150, 160, angle)], "right").guess
    crop = estimators.cut_as_published(image, Region(200, 150, 160, angle), "right")[None]
    inside = estimator.estimate(crop, "right").guess
    about = decode_rotations(
        torch.tensor([[np.cos(angle), np.sin(angle), 0, -np.sin(angle), np.cos(angle), 0]])
    )
    np.testing.assert_allclose(
        whole.global_orient[0], about[0, 0].numpy() @ inside.global_orient[0], atol=1e-5
    )
    np.testing.assert_array_equal(whole.hand_pose, inside.hand_pose)


def test_a_mirrored_picture_gives_the_same_right_hand_for_the_left_one(estimator):
    image, region = make_picture(), Region(210.0, 140.0, 180.0, 0.3)
    right = estimator.reconstruct(image, [region], "right")
    mirrored = Region(SIZE_PX[0] - 1 - region.x_px, region.y_px, region.size_px, -region.angle_rad)
    left = estimator.reconstruct(np.ascontiguousarray(image[:, ::-1]), [mirrored], "left")
    np.testing.assert_allclose(left.guess.global_orient, right.guess.global_orient, atol=2e-3)
    np.testing.assert_allclose(
        left.keypoints_px, [SIZE_PX[0] - 1, 0] + right.keypoints_px * [-1, 1], atol=0.2
    )


def test_the_seven_passes_go_through_it(estimator):
    region = Region(200, 150, 160, 0.0)
    measured = measure_hand(make_picture(), region, estimator, "left", "minimal", PASSES)
    # The pose is the upright pass's, whose crop's axes are the picture's.
    crop = cut(make_picture(), region, estimator.input_px)[0]
    alone = estimator.estimate(crop[None], "left").guess
    assert measured.guess is not None
    for name, value in vars(measured.guess).items():
        np.testing.assert_allclose(value, getattr(alone, name)[0], atol=1e-5)
    assert measured.points_px.shape == (21, 2)
    assert np.isfinite(measured.sigma_px).all()


def test_a_framed_hand_frames_itself_again(estimator):
    points = np.random.default_rng(0).uniform([100, 100], [160, 200], (21, 2))
    region = estimator.frame_points(points)
    assert region.angle_rad == 0
    assert region.size_px > 2 * np.ptp(points[:, 1])


@pytest.mark.parametrize("name", ["hamer", "wilor", "hamba"])
def test_half_precision_answers_nearly_the_same(name):
    pictures = torch.randn(2, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    whole = make_network(name)(pictures)
    network = make_network(name)
    network.use_half()
    half = network(pictures)
    assert network.backbone.blocks[0].mlp.fc1.weight.dtype == torch.float16
    for key, value in vars(half).items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, getattr(whole, key), rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("name", ["hamer", "wilor", "hamba"])
def test_everything_happens_on_the_device_that_the_network_is_on(name):
    """Device "meta" refuses to be mixed with the CPU, as a GPU does."""
    network = make_network(name).to("meta")
    answer = network(torch.empty(2, 3, 256, 256, device="meta"))
    assert all(value.device.type == "meta" for value in vars(answer).values())
    with pytest.raises((RuntimeError, NotImplementedError)):
        network(torch.empty(2, 3, 256, 256))


# --- the files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["hamer", "wilor", "hamba"])
def test_a_networks_file_goes_through_disk_and_answers_the_same(name, tmp_path, monkeypatch):
    network = make_network(name)
    torch.save({"state_dict": network.state_dict()}, tmp_path / "a.ckpt")
    monkeypatch.setattr(estimators, "_make", lambda *_: make_network(name))
    read = load_network(name, tmp_path / "a.ckpt")
    pictures = torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(read(pictures).points, network(pictures).points)


def test_missing_weights_are_said_with_their_place(tmp_path, monkeypatch):
    monkeypatch.setenv("REDYS_MODELS_DIR", str(tmp_path))
    get_settings.cache_clear()
    try:
        with pytest.raises(ModelError, match=r"wilor_final\.ckpt is missing") as caught:
            NetworkEstimator("wilor")
        assert str(tmp_path / "wilor") in caught.value.what
    finally:
        get_settings.cache_clear()


def test_hambas_size_is_read_from_its_weights_and_its_choices_from_its_configuration(tmp_path):
    state = make_network("hamba").state_dict()
    config = {"cfg": {"MODEL": {"CLIP_JOINT2D": False, "GRID_SAMPLE_MODE": "nearest"}}}
    torch.save({"state_dict": state, "hyper_parameters": config}, tmp_path / "a.ckpt")
    size = read_size(read_checkpoint(tmp_path / "a.ckpt"), VIT)
    assert size == HambaSize(VIT, 8, 12, 4, 3, 16, True, (1, 2), (2,), clip_joints=False, sampling="nearest")


def test_hambas_choices_are_read_from_the_file_beside_it_or_asked_for(tmp_path):
    torch.save({"state_dict": make_network("hamba").state_dict()}, tmp_path / "a.ckpt")
    with pytest.raises(ModelError, match="CLIP_JOINT2D") as caught:
        read_size(read_checkpoint(tmp_path / "a.ckpt"), VIT)
    assert "model_config.yaml" in caught.value.advice
    for text, clipped in (("true", True), ("False", False)):
        (tmp_path / "model_config.yaml").write_text(f"MODEL:\n  HEAD:\n    CLIP_JOINT2D: {text}\n")
        assert read_size(read_checkpoint(tmp_path / "a.ckpt"), VIT).clip_joints is clipped


BLOCK = "initRegression.dec_vssm.layers.0.blocks.0."


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.pop(BLOCK + "op.out_proj.weight"),
        lambda state: state.pop(BLOCK + "op.dt_projs_weight"),
        lambda state: state.update({BLOCK + "op.A_logs": torch.zeros(16)}),
    ],
)
def test_weights_that_only_begin_as_hambas_are_refused_in_words(change, tmp_path):
    state = dict(make_network("hamba").state_dict())
    change(state)
    torch.save({"state_dict": state}, tmp_path / "a.ckpt")
    with pytest.raises(ModelError, match="does not hold the weights of Hamba"):
        load_network("hamba", tmp_path / "a.ckpt")


def test_a_sampling_that_there_is_not_is_refused(tmp_path):
    config = {"cfg": {"MODEL": {"CLIP_JOINT2D": True, "GRID_SAMPLE_MODE": "cubic"}}}
    state = make_network("hamba").state_dict()
    torch.save({"state_dict": state, "hyper_parameters": config}, tmp_path / "a.ckpt")
    with pytest.raises(ModelError, match="GRID_SAMPLE_MODE cubic"):
        read_size(read_checkpoint(tmp_path / "a.ckpt"), VIT)


def test_a_configuration_with_a_comment_in_another_encoding_is_read(tmp_path):
    torch.save({"state_dict": make_network("hamba").state_dict()}, tmp_path / "a.ckpt")
    (tmp_path / "model_config.yaml").write_bytes("# für Hände\nCLIP_JOINT2D: true\n".encode("latin-1"))
    assert read_size(read_checkpoint(tmp_path / "a.ckpt"), VIT).clip_joints is True


# --- the hand inside --------------------------------------------------------------------------------


def test_the_hand_layer_agrees_with_smplx():
    layer = make_mano()
    draw = torch.Generator().manual_seed(0)
    betas = torch.randn(3, 10, generator=draw)
    rotations = decode_rotations(torch.randn(3, 96, generator=draw))
    vertices, joints = layer(betas, rotations)
    theirs, bare = lbs(
        betas, rotations, layer.v_template, layer.shapedirs, layer.posedirs, layer.J_regressor,
        layer.parents, layer.lbs_weights, pose2rot=False,
    )  # fmt: skip
    torch.testing.assert_close(vertices, theirs, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        joints[:, [0, 5, 9, 17, 13, 1]], bare[:, [0, 1, 4, 7, 10, 13]], rtol=1e-5, atol=1e-6
    )
    torch.testing.assert_close(joints[:, [4, 8, 12, 16, 20]], theirs[:, [744, 320, 443, 554, 671]])


@pytest.mark.parametrize("name", ["hamer", "wilor", "hamba"])
def test_the_registry_says_where_missing_weights_go_and_hashes_those_that_are_there(
    name, tmp_path, monkeypatch
):
    monkeypatch.setenv("REDYS_MODELS_DIR", str(tmp_path))
    get_settings.cache_clear()
    try:
        entry = get_entry("estimator", name)
        assert f"models/{name}/" in entry.find_fault()
        assert str(tmp_path) in entry.find_fault()
        assert "MANO" in entry.licence
        with pytest.raises(ModelError, match=f"estimator {name} cannot be used"):
            load_estimator(name)
        locate(name).parent.mkdir()
        torch.save({"state_dict": make_network(name).state_dict()}, locate(name))
        assert entry.find_fault() == ""
        (described,) = (one for one in describe_models("mediapipe", name) if one["role"] == "estimator")
        assert described["sha256"][locate(name).name] == hashlib.sha256(locate(name).read_bytes()).hexdigest()
        monkeypatch.setattr(estimators, "_make", lambda *_: make_network(name))
        assert load_estimator(name).name == name
    finally:
        get_settings.cache_clear()


def test_hambas_configuration_is_part_of_what_a_run_says_it_worked_with(tmp_path, monkeypatch):
    """Its answers hang on it: another configuration is another network."""
    monkeypatch.setenv("REDYS_MODELS_DIR", str(tmp_path))
    get_settings.cache_clear()
    try:
        locate("hamba").parent.mkdir()
        torch.save({"state_dict": make_network("hamba").state_dict()}, locate("hamba"))
        digests = [describe_models("mediapipe", "hamba")[1]["sha256"]]
        for clipped in ("true", "false"):
            locate("hamba").with_name("model_config.yaml").write_text(f"CLIP_JOINT2D: {clipped}\n")
            digests.append(describe_models("mediapipe", "hamba")[1]["sha256"])
        assert "model_config.yaml" not in digests[0]
        assert digests[1]["model_config.yaml"] != digests[2]["model_config.yaml"]
    finally:
        get_settings.cache_clear()
