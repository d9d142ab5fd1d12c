"""Still pictures: how far off the points are, whether their error is stated rightly, and whether the likely
reasons are raised where they are true and nowhere else.

    python -m benchmarks.photo_failures [--pictures 40] [--real FOLDER]

Made pictures (`pipeline.synth.still`): all postures, seen from all around. The floor beside the error in
space is the flat average hand, put where the truth has its palm: what one would say without looking at the
fingers.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import PhotoError
from pipeline.evaluation.alignment import fit_similarity
from pipeline.fusion.initial import get_flat_joints
from pipeline.fusion.kinematics import fix_shape
from pipeline.hand.joints import FINGERS, PALM, SIDES
from pipeline.hand.model import HandModel, load_hand_model
from pipeline.hand.rotations import mirror_points
from pipeline.photos.failures import REASONS, judge, measure_size_px
from pipeline.photos.folder import list_pictures
from pipeline.photos.hands import MeasuredHand, find_hands
from pipeline.photos.pictures import DEFAULT_FOCAL_35MM, read_picture
from pipeline.photos.single_view import SpatialHand, fit_hand
from pipeline.photos.work import make_camera
from pipeline.pose.protocols import Detector, Estimator
from pipeline.pose.registry import load_detector, load_estimator
from pipeline.synth.still import MadeHand, Still, blur, cover, cut_off, make_still
from pipeline.synth.still import make_camera as make_made_camera

FIRST_SEED = 5000
"""Far from the seeds (0 to 90, 1000 to 1090) by which `pipeline.photos.single_view.SIGMA_SCALE` was set."""


@dataclass(frozen=True)
class Found:
    """A hand that was found beside the made one that it is."""

    made: MadeHand
    hand: MeasuredHand
    spatial: SpatialHand
    reasons: frozenset[str]


def look(
    still: Still, detector: Detector, estimator: Estimator, model: HandModel, assumed_lens: bool = False
) -> list[Found]:
    """Work a made picture, with its true lens or the one that would be assumed."""
    hands = find_hands(still.image_bgr, detector, estimator, "standard", model)
    camera = still.camera
    if assumed_lens:
        camera = make_made_camera(still.camera.size_px, DEFAULT_FOCAL_35MM)
    found = []
    for hand in hands:
        made = min(still.hands, key=lambda each: measure_error_px(hand, each))
        spatial = fit_hand(hand.points_px, hand.sigma_px, camera, hand.side, model, hand.guess)
        others = [other for other in hands if other is not hand]
        failures = judge(still.image_bgr, hand, others, spatial, model.faces)
        found.append(Found(made, hand, spatial, frozenset(each.reason for each in failures)))
    return found


def measure_error_px(hand: MeasuredHand, made: MadeHand) -> float:
    """Median distance of a found hand's points from a made one's."""
    return float(np.median(np.linalg.norm(hand.points_px - made.keypoints_px, axis=1)))


def report_accuracy(found: list[Found], n_pictures: int, model: HandModel, title: str) -> None:
    """Errors in the picture and in space, beside the floor, and how many lie within two stated sigmas."""
    size = np.array([measure_size_px(each.hand) for each in found])
    off_px = np.stack([np.abs(each.hand.points_px - each.made.keypoints_px) for each in found])
    sigma_px = np.stack([each.hand.sigma_px for each in found])[..., None]
    true = np.stack([each.made.joints_mm - each.made.joints_mm[0] for each in found])
    fitted = np.stack([each.spatial.joints_mm for each in found])
    sigma_mm = np.stack([each.spatial.sigma_mm for each in found])[:, 1:]
    off_mm = np.abs(fitted - true)[:, 1:]
    floor = np.stack([place_flat(each.made, model) for each in found])
    print(f"{title}: {len(found)} hands in {n_pictures} pictures")
    share = np.linalg.norm(off_px, axis=2) / size[:, None]
    print(f"  in the picture: median error {100 * np.median(share):.1f} % of the hand's size; within 2 sigma")
    print(f"    {100 * (off_px < 2 * sigma_px).mean():.1f} % of coordinates")
    print(f"  in space, from the wrist on: MPJPE {mean_mm(fitted - true):.1f} mm, floor", end=" ")
    print(f"{mean_mm(floor - floor[:, :1] - true):.1f} mm; PA-MPJPE {mean_aligned_mm(fitted, true):.1f} mm, ")
    print(f"    floor {mean_aligned_mm(floor, true):.1f} mm; within 2 sigma along x, y, z:", end=" ")
    print(", ".join(f"{100 * part:.1f} %" for part in (off_mm < 2 * sigma_mm).mean(axis=(0, 1))), end="")
    print(f", all {100 * (off_mm < 2 * sigma_mm).mean():.1f} %")
    print(f"  side right: {100 * np.mean([each.hand.side == each.made.side for each in found]):.1f} %")


def mean_mm(off: np.ndarray) -> float:
    """Mean length of differences (N, 21, 3), without the wrist, which is the origin."""
    return float(np.linalg.norm(off[:, 1:], axis=2).mean())


def mean_aligned_mm(estimate: np.ndarray, true: np.ndarray) -> float:
    """PA-MPJPE: after the similarity of least squares, all 21 joints."""
    return float(np.linalg.norm(fit_similarity(estimate, true).apply(estimate) - true, axis=2).mean())


def place_flat(made: MadeHand, model: HandModel) -> np.ndarray:
    """The flat average hand (21, 3) with its palm where the truth has it."""
    flat = get_flat_joints(fix_shape(model, np.zeros(model.n_betas)))
    flat = mirror_points(flat) if made.side == "left" else flat
    palm = list(PALM)
    onto = fit_similarity(flat[None, palm], made.joints_mm[None, palm], with_scale=False)
    return onto.apply(flat[None])[0]


def report_reasons(
    clean: list[Found],
    spoilt: dict[str, tuple[str, list[Found], int]],
    wrong_sides: list[Found],
    right_sides: list[Found],
) -> None:
    """How often each reason is raised where it was made true, and in clean pictures."""
    print("reason            made true by              hands  raised  not found  raised in clean pictures")
    for reason in REASONS:
        false = 100 * np.mean([reason in each.reasons for each in clean])
        for name, (truth, found, missing) in spoilt.items():
            if truth == reason:
                raised = 100 * np.mean([reason in each.reasons for each in found]) if found else float("nan")
                print(f"{reason:<17} {name:<25} {len(found):5d} {raised:6.0f} % {missing:6d} {false:14.0f} %")
    doubted = [
        np.mean(["sides disagree" in each.reasons for each in part])
        for part in (wrong_sides, right_sides)
        if part
    ]
    print(f"sides disagree    raised of {len(wrong_sides)} hands with the wrong side", end=" ")
    print(f"and of {len(right_sides)} with the right one:", ", ".join(f"{100 * s:.0f} %" for s in doubted))


def report_low_confidence(everything: list[Found]) -> None:
    """Low confidence is true where the points are far off, whatever the cause."""
    far = [measure_error_px(each.hand, each.made) > 0.1 * measure_size_px(each.hand) for each in everything]
    low = ["low confidence" in each.reasons for each in everything]
    some = [bool(each.reasons) for each in everything]
    far_, low_, some_ = (np.array(part) for part in (far, low, some))
    print(f"low confidence    raised of {far_.sum()} hands more than 10 % of their size off:", end=" ")
    print(f"{100 * low_[far_].mean():.0f} % (any reason: {100 * some_[far_].mean():.0f} %);", end=" ")
    print(f"of {(~far_).sum()} others: {100 * low_[~far_].mean():.0f} %")


def report_real(folder: Path, detector: Detector, estimator: Estimator, model: HandModel) -> None:
    """Real pictures have no truth: how many hands are found, and how well the model meets the points."""
    n, with_hands, hands, ratios = 0, 0, 0, []
    for path in list_pictures(folder):
        try:
            picture = read_picture(path)
        except PhotoError as error:
            print(f"  {error}")
            continue
        camera = make_camera(picture, picture.focal_35mm or DEFAULT_FOCAL_35MM)
        found = find_hands(picture.image_bgr, detector, estimator, "standard", model)
        n, with_hands, hands = n + 1, with_hands + bool(found), hands + len(found)
        for hand in found:
            spatial = fit_hand(hand.points_px, hand.sigma_px, camera, hand.side, model, hand.guess)
            ratios.append(spatial.reprojection_px / measure_size_px(hand))
    print(
        f"real pictures: hands in {with_hands} of {n}, {hands} hands; the fitted model's joints lie", end=" "
    )
    print(f"{100 * np.median(ratios):.1f} % of the hand's size from the points (median)")


def main() -> None:
    """Make, spoil, look, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=40)
    parser.add_argument("--real", type=Path)
    options = parser.parse_args()
    model = load_hand_model()
    detector, estimator = load_detector("mediapipe"), load_estimator("mediapipe")
    seeds = range(FIRST_SEED, FIRST_SEED + options.pictures)
    stills = [make_still(seed, model, (SIDES[seed % 2],)) for seed in seeds]

    def look_at(pictures: list[Still], assumed_lens: bool = False) -> list[Found]:
        return [each for still in pictures for each in look(still, detector, estimator, model, assumed_lens)]

    clean = look_at(stills)
    report_accuracy(clean, len(stills), model, "made pictures, true lens")
    report_accuracy(look_at(stills, True), len(stills), model, "made pictures, lens assumed")
    ways: dict[str, tuple[str, Callable[[Still, int], Still]]] = {
        "15 % of joints cut off": ("truncated", lambda still, seed: cut_off(still, 0.15)),
        "40 % of joints cut off": ("truncated", lambda still, seed: cut_off(still, 0.4)),
        "blur 1 % of hand (harmless)": ("harmless", lambda still, seed: blur(still, 0.01)),
        "blur 3 % of hand": ("blurred", lambda still, seed: blur(still, 0.03)),
        "blur 5 % of hand": ("blurred", lambda still, seed: blur(still, 0.05)),
        "a thing on a finger": ("occluded", lambda still, seed: cover(still, FINGERS[seed % 5], seed)),
    }
    spoilt: dict[str, tuple[str, list[Found], int]] = {}
    for name, (truth, spoil) in ways.items():
        found = look_at([spoil(still, seed) for still, seed in zip(stills, seeds, strict=True)])
        spoilt[name] = (truth, found, len(stills) - len(found))
    pairs = look_at([make_still(seed, model, SIDES, apart=0.12) for seed in seeds])
    spoilt["the other hand before it"] = (
        "occluded",
        [each for each in pairs if each.made.hidden.sum() >= 2],
        0,
    )
    everything = clean + pairs + [each for _, found, _ in spoilt.values() for each in found]
    wrong = [each for each in everything if each.hand.side != each.made.side]
    right = [each for each in clean if each.hand.side == each.made.side]
    report_reasons(clean, spoilt, wrong, right)
    harmless = [each for truth, found, _ in spoilt.values() if truth == "harmless" for each in found]
    mild = 100 * np.mean(["blurred" in each.reasons for each in harmless])
    print(f"blurred           raised at a harmless blur: {mild:.0f} %")
    report_low_confidence(everything)
    if options.real:
        report_real(options.real, detector, estimator, model)


if __name__ == "__main__":
    main()
