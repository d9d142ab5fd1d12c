"""What each number means, in the words that stand beside it, and who defined it so.

The same names mean different things in different papers. Each reading has a key of its own here; numbers
with different keys are not to be compared. Unless a definition says otherwise, a point that is missing in
the estimate or in the truth is left out of a mean, so an estimate that leaves out what is hard looks better
than it is: the share of points that were estimated stands beside the scores.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Definition:
    """What one number means.

    Attributes
    ----------
    name : str
        As papers call it, with what tells it from others of that name.
    unit : str
        "mm", "px", "m/s²", "mm/frame²", or "share" (0 to 1).
    text : str
        The definition, complete in itself. ``{root}`` stands for the root joint.
    source : str
        Who defined it so.
    """

    name: str
    unit: str
    text: str
    source: str


_COMMON = "common usage"
_FREIHAND = "FreiHAND (Zimmermann et al. 2019), eval.py; so HaMeR on FreiHAND"
_INTERHAND = "InterHand2.6M (Moon et al. 2020), dataset.py"
_FIRST_TWO = "SLAHMR (Ye et al. 2023), there “first-frame”; G-MPJPE of Dyn-HaMR by that lineage"
_WHOLE = "SLAHMR (Ye et al. 2023), there “global”; GA-MPJPE of Dyn-HaMR by that lineage"
_SEQUENCES = "SLAHMR (Ye et al. 2023), WHAM (Shin et al. 2024)"
_PIECES = "WHAM (Shin et al. 2024), HaWoR (Zhang et al. 2025)"

_JOINTS = "Mean distance of the joints to the true ones"
_VERTICES = "Mean distance of the vertices to the true ones"
_PLAIN = "nothing aligned (camera or world frame)"
_ROOT = "after each frame's and hand's {root} is put at the origin, in the estimate and in the truth"
_PA = "after the best rotation, shift and scale of each frame and hand"
_RIGID = "after the best rotation and shift of each frame and hand; the size stays"
_MIRROR = "after the best rotation or reflection, shift and scale of each frame"
_CLIP = "after one rotation, shift and scale for a whole clip and hand, fitted to"
_CLIP_RIGID = "after one rotation and shift for a whole clip and hand (the size stays), fitted to"
_PIECE = "after one rotation, shift and scale for each piece of 100 frames (a clip’s last may be shorter)"
_MISSING = "what was not estimated counts as wrong"
_AREA = "Area under the share of {of} within 0 to 50 mm (100 thresholds, trapezoid) over the largest one, "


def _pck(threshold_mm: int) -> Definition:
    text = f"Share of the true joints that lie at most {threshold_mm} mm away {_ROOT}; {_MISSING}."
    return Definition(f"PCK at {threshold_mm} mm, root-relative", "share", text, _COMMON)


def _auc(name: str, aligned: str, source: str, of: str = "joints") -> Definition:
    text = f"{_AREA.replace('{of}', of)}all {of} pooled, {aligned}; {_MISSING}."
    return Definition(f"AUC, {name}", "share", text, source)


def _f_score(threshold_mm: int, name: str, aligned: str) -> Definition:
    text = (
        f"Harmonic mean of the share of estimated vertices with a true one nearer than {threshold_mm} mm and "
        f"of the share of true ones with an estimated one as near, {aligned}; mean over frames."
    )
    return Definition(f"F-score at {threshold_mm} mm, {name}", "share", text, _FREIHAND)


def _interhand(name: str, of: str) -> Definition:
    text = (
        f"Over pictures of {of}: each hand's wrist is put at the origin; for each of the 42 joints the mean "
        "distance over the pictures in which it is valid; then the mean over the joints. A hand without a "
        "valid wrist is left out; the wrist itself counts with its 0."
    )
    return Definition(f"MPJPE of InterHand2.6M, {name}", "mm", text, _INTERHAND)


_FROM_SURFACE = f"{_PA}, found from the vertices (from the joints where the two meshes differ)"
_ACCELERATIONS = "Mean length of the difference of the joints' accelerations over three neighbouring frames"
_TIMES = "at their own times, none further apart than 1.5 times the usual step"

DEFINITIONS: dict[str, Definition] = {
    "mpjpe": Definition("MPJPE, absolute", "mm", f"{_JOINTS}, {_PLAIN}.", _FREIHAND),
    "mpjpe_root": Definition(
        "MPJPE, root-relative", "mm", f"{_JOINTS}, {_ROOT}; the root itself counts with its 0.", _COMMON
    ),
    "pa_mpjpe": Definition("PA-MPJPE", "mm", f"{_JOINTS}, {_PA}.", _SEQUENCES),
    "pa_mpjpe_rigid": Definition("PA-MPJPE, rigid", "mm", f"{_JOINTS}, {_RIGID}.", _COMMON),
    "pck_10_root": _pck(10),
    "pck_20_root": _pck(20),
    "pck_30_root": _pck(30),
    "auc": _auc("absolute", _PLAIN, _FREIHAND),
    "auc_root": _auc("root-relative", _ROOT, _COMMON),
    "auc_pa": _auc("aligned", _PA, _COMMON),
    "mpvpe": Definition("MPVPE, absolute", "mm", f"{_VERTICES}, {_PLAIN}.", _FREIHAND),
    "mpvpe_root": Definition("MPVPE, root-relative", "mm", f"{_VERTICES}, {_ROOT}.", _COMMON),
    "pa_mpvpe": Definition(
        "PA-MPVPE", "mm", f"{_VERTICES}, {_PA}, found from the vertices themselves.", _COMMON
    ),
    "f_5": _f_score(5, "absolute", _PLAIN),
    "f_15": _f_score(15, "absolute", _PLAIN),
    "pa_f_5": _f_score(5, "aligned", _FROM_SURFACE),
    "pa_f_15": _f_score(15, "aligned", _FROM_SURFACE),
    "g_mpjpe": Definition(
        "G-MPJPE, first two frames",
        "mm",
        f"{_JOINTS}, {_CLIP} its first two frames with a hand, so that drift counts.",
        _FIRST_TWO,
    ),
    "g_mpjpe_rigid": Definition(
        "G-MPJPE, first two frames, rigid",
        "mm",
        f"{_JOINTS}, {_CLIP_RIGID} its first two frames.",
        _COMMON,
    ),
    "ga_mpjpe": Definition("GA-MPJPE, whole clip", "mm", f"{_JOINTS}, {_CLIP} all its frames.", _WHOLE),
    "ga_mpjpe_rigid": Definition(
        "GA-MPJPE, whole clip, rigid", "mm", f"{_JOINTS}, {_CLIP_RIGID} all its frames.", _COMMON
    ),
    "w_mpjpe_100": Definition(
        "W-MPJPE, pieces of 100",
        "mm",
        f"{_JOINTS}, {_PIECE}, fitted to its first two frames.",
        _PIECES,
    ),
    "wa_mpjpe_100": Definition(
        "WA-MPJPE, pieces of 100", "mm", f"{_JOINTS}, {_PIECE}, fitted to all its frames.", _PIECES
    ),
    "ga_mpjpe_group": Definition(
        "GA-MPJPE, group in each frame",
        "mm",
        f"{_JOINTS}, after the best rotation, shift and scale of each frame, one for both hands together. It "
        "has nothing in common with GA-MPJPE of a clip but the name.",
        "HSfM (Müller et al. 2025), CHROMM; there of persons",
    ),
    "mrrpe": Definition(
        "MRRPE",
        "mm",
        "Mean distance of the left wrist, as seen from the right one, to its true place seen so.",
        _INTERHAND,
    ),
    "acceleration": Definition(
        "Acceleration error",
        "m/s²",
        f"{_ACCELERATIONS}, {_TIMES}; {_PLAIN}.",
        "HMMR (Kanazawa et al. 2019), in SI as HaWoR has it",
    ),
    "acceleration_root": Definition(
        "Acceleration error, root-relative",
        "m/s²",
        f"{_ACCELERATIONS}, {_TIMES}, {_ROOT}.",
        "WHAM (Shin et al. 2024)",
    ),
    "acceleration_frames": Definition(
        "Acceleration error by frames",
        "mm/frame²",
        f"{_ACCELERATIONS}, as plain second differences, {_PLAIN}. Not comparable between frame rates.",
        "HMMR (Kanazawa et al. 2019)",
    ),
    "freihand_pa_mpjpe": Definition("PA-MPJPE of FreiHAND", "mm", f"{_JOINTS}, {_MIRROR}.", _FREIHAND),
    "freihand_auc_pa": _auc("aligned, of FreiHAND", _MIRROR, _FREIHAND),
    "freihand_auc_mesh": _auc("vertices, absolute", _PLAIN, _FREIHAND, "vertices"),
    "freihand_pa_mpvpe": Definition(
        "PA-MPVPE of FreiHAND", "mm", f"{_VERTICES}, {_MIRROR}, found from the vertices.", _FREIHAND
    ),
    "freihand_auc_mesh_pa": _auc("vertices, aligned, of FreiHAND", _MIRROR, _FREIHAND, "vertices"),
    "freihand_f_5": _f_score(5, "aligned, of FreiHAND", _MIRROR),
    "freihand_f_15": _f_score(15, "aligned, of FreiHAND", _MIRROR),
    "picture": Definition(
        "Error in the picture",
        "px",
        "Mean distance in the picture between the estimated joints and where the true ones are seen.",
        _COMMON,
    ),
    "picture_palms": Definition(
        "Error in the picture over the palm",
        "share",
        "Mean distance in the picture as a share of the hand's own palm there (median distance of the wrist "
        "to the four knuckles).",
        "this project",
    ),
    "picture_pck": Definition(
        "PCK at 20 px",
        "share",
        "Share of the joints that lie at most 20 px from where the true ones are seen.",
        _COMMON,
    ),
    "interhand_mpjpe": _interhand("all", "single and of interacting hands"),
    "interhand_mpjpe_single": _interhand("single hands", "single hands"),
    "interhand_mpjpe_two": _interhand("interacting hands", "interacting hands"),
}
"""By key, in the order in which they are told."""
