"""A rig in words and figures, for the terminal and for pages."""

from __future__ import annotations

import math

import numpy as np

from pipeline.results import Camera, Rig

SOURCES = {
    "checkerboard": "from a checkerboard",
    "file": "from a file",
    "hand": "self-calibrated from the hand",
    "single": "one camera with a nominal lens",
}


def measure_coverage(camera: Camera) -> float:
    """Share of the picture's cells (0 to 1) that hold an accepted corner; NaN without a board."""
    cells = [count for row in camera.coverage for count in row]
    return sum(count > 0 for count in cells) / len(cells) if cells else math.nan


def find_centre_mm(camera: Camera) -> np.ndarray:
    """Where the camera stands in the world (3,), in mm."""
    return np.asarray(-camera.R.T @ camera.t_mm)


def measure_turn_deg(camera: Camera) -> float:
    """Angle between the camera's axes and the world's, in degrees."""
    return math.degrees(math.acos(max(-1.0, min(1.0, (float(np.trace(camera.R)) - 1) / 2))))


def describe_rig(rig: Rig) -> str:
    """The rig as lines of text; what is not known is a dash."""
    name = f"{rig.name}: " if rig.name else ""
    lines = [f"{name}{len(rig.cameras)} cameras, {SOURCES.get(rig.source, rig.source)}, {rig.verdict}"]
    lines += [f"  {reason}" for reason in rig.reasons]
    for camera in rig.cameras.values():
        lines += ["", *_describe_camera(camera, rig)]
    if rig.pairs:
        lines.append("")
    for pair in rig.pairs:
        frames = f", {pair['frames']} frames" if pair.get("frames") is not None else ""
        lines.append(f"pair {pair['a']} and {pair['b']}: {_say(pair.get('rms_px'), 3)} px{frames}")
    if math.isfinite(rig.square_error_mm):
        error = f"{rig.square_error_mm:+.3f}".replace("-", "−")
        lines.append(f"square: {error} mm from what was stated, ± {_say(rig.square_spread_mm, 3)} mm")
    if math.isfinite(rig.scale_sigma):
        lines.append(f"lengths: ± {_say(100 * rig.scale_sigma, 2)} %")
    return "\n".join(lines)


def name_worst_view(camera: Camera) -> str:
    """The calibration frame that fits worst of those used, as a sentence; empty without frames."""
    if not camera.used:
        return ""
    worst = max(camera.used, key=lambda view: view["rms_px"])
    usual = float(np.median([view["rms_px"] for view in camera.used]))
    return (
        f"Camera {camera.name}: the view at {worst['time_s']:.1f} s fits worst "
        f"({worst['rms_px']:.2f} px, usually {usual:.2f} px)."
    )


def _describe_camera(camera: Camera, rig: Rig) -> list[str]:
    place = "the world's origin"
    if camera.name != rig.reference:
        at = ", ".join(f"{length:.1f}" for length in find_centre_mm(camera))
        place = f"{at} mm from {rig.reference}, turned by {measure_turn_deg(camera):.2f} degrees"
    names = ("k1", "k2", "p1", "p2", "k3")
    distortion = ", ".join(f"{n} {v:.5g}" for n, v in zip(names, camera.distortion, strict=True) if v)
    worst = name_worst_view(camera)
    return [
        f"camera {camera.name}: {camera.size_px[0]}x{camera.size_px[1]} px",
        f"  focal length   {camera.K[0, 0]:.2f}, {camera.K[1, 1]:.2f} px",
        f"  centre         {camera.K[0, 2]:.2f}, {camera.K[1, 2]:.2f} px",
        f"  distortion     {distortion or 'none'}",
        f"  place          {place}",
        f"  expected error {_say(camera.sigma_deg, 3)} degrees, {_say(camera.sigma_mm, 2)} mm",
        f"  error          {_say(camera.rms_px, 3)} px; where the others put the board "
        f"{_say(camera.left_out_px, 3)} px",
        f"  coverage       corners in {_say(100 * measure_coverage(camera), 0)} % of the picture's cells; "
        f"{len(camera.used)} frames used, {len(camera.refused)} refused",
        *([f"  {worst}"] if worst else []),
    ]


def _say(value: float | None, digits: int) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"
