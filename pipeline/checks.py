"""What is wrong with a session, in words, before anything long is run.

Files are opened and their packets counted; nothing is decoded but one picture of each video. Free of torch
and OpenCV, since the page for new recordings shows these findings too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.calibration.formats import read_rig_file
from pipeline.calibration.rig import read_session_rig
from pipeline.errors import ModelError, RedysError, SessionError
from pipeline.files import read_npz
from pipeline.progress import Reporter
from pipeline.session import RIG_FILES, Session
from pipeline.video import VideoInfo, probe

Level = Literal["error", "warning", "note"]

DERIVATIVES_FPS = 50.0
MOVEMENT_FPS = 30.0
RATE_ROUNDING = 0.99
"""59.94 counts as 60, 29.97 as 30 and 49.95 as 50."""
LEAST_SHORT_SIDE_PX = 480
SHORT_S = 3.0
ASPECT_TOLERANCE = 0.01

SENT_FPS = (24.0, 240.0)
LONGEST_SENT_S = 600.0
MOST_SENT_TRACKS = (1, 2)
"""Of pictures and of sound: some telephones record a second one for the room."""

LEVEL_ORDER: dict[Level, int] = {"error": 0, "warning": 1, "note": 2}


@dataclass(frozen=True)
class Finding:
    """Something to know about a session.

    Attributes
    ----------
    file : str
        Path of the file inside the session folder; empty for the session as a whole.
    level : "error" | "warning" | "note"
        An error stops the run; a warning costs something; a note is information.
    what : str
        What was found, as a sentence that names the file.
    advice : str
        What to do about it; may be empty for notes.
    """

    file: str
    level: Level
    what: str
    advice: str = ""


def check_session(session: Session, was_sent: bool = False) -> list[Finding]:
    """Look at every file of a session.

    Parameters
    ----------
    session : Session
        What was read of its folder.
    was_sent : bool
        Its files were sent by somebody over the network: the limits for these hold (`check_sent`).

    Returns
    -------
    list of Finding
        Errors first, then warnings, then notes; by camera within each.
    """
    findings: list[Finding] = []
    infos = {name: info for name, info in _probe_all(session, session.videos, findings) if info}
    for info in infos.values():
        findings += _check_video(_inside(session, info.path), info)
        findings += check_sent(_inside(session, info.path), info) if was_sent else []
    findings += _check_rates(infos)
    findings += _check_sound(session, infos)
    findings += _check_keypoints(session)
    findings += _check_cameras(session)
    findings += _check_calibration(session, infos, was_sent)
    findings += _check_networks(session)
    return sorted(findings, key=lambda finding: LEVEL_ORDER[finding.level])


def require_usable(session: Session, report: Reporter) -> None:
    """Stop at the first error of a session; its warnings go into the run's record.

    Raises
    ------
    SessionError
        The session cannot be worked as it is; names the file and says what to do.
    """
    findings = check_session(session)
    for finding in findings:
        if finding.level == "error":
            raise SessionError(finding.what, finding.advice)
        if finding.level == "warning":
            report.warn(f"{finding.what} {finding.advice}".strip())
    report.update(1.0, "The session's files can be read")


def _probe_all(
    session: Session, videos: dict[str, Path], findings: list[Finding]
) -> list[tuple[str, VideoInfo | None]]:
    """Open videos in order of the cameras; what cannot be opened becomes an error among ``findings``."""
    found: list[tuple[str, VideoInfo | None]] = []
    for name in sorted(videos, key=lambda name: (name != session.settings.reference, name)):
        try:
            found.append((name, probe(videos[name])))
        except RedysError as error:
            findings.append(Finding(_inside(session, videos[name]), "error", error.what, error.advice))
            found.append((name, None))
    return found


def _inside(session: Session, path: Path) -> str:
    return path.relative_to(session.path).as_posix()


def check_sent(file: str, info: VideoInfo, is_take: bool = False) -> list[Finding]:
    """What is too much in a video that somebody sent: it is not taken, however well it can be read.

    Whoever sends a file decides how long the server works on it; a folder of the server's own has no such
    limits but that of its pictures' size (`pipeline.video.MAX_PIXELS`).
    """
    findings = []
    if info.duration_s > LONGEST_SENT_S:
        findings.append(
            Finding(
                file,
                "error",
                f"{file} is {info.duration_s / 60:.0f} min long, and {LONGEST_SENT_S / 60:.0f} is the most.",
                "Cut it to what was played, or send it in parts.",
            )
        )
    low, high = SENT_FPS
    if not is_take and not RATE_ROUNDING * low <= float(info.fps) <= high / RATE_ROUNDING:
        findings.append(
            Finding(
                file,
                "error",
                f"{file} has {_rate(info)} frames a second; {low:.0f} to {high:.0f} are taken.",
                "Film at 60 frames a second.",
            )
        )
    for count, most, what in zip(info.tracks, MOST_SENT_TRACKS, ("pictures", "sound"), strict=True):
        if count > most:
            findings.append(
                Finding(
                    file,
                    "error",
                    f"{file} has {count} tracks of {what}, and {most} is the most.",
                    "Send one file a camera.",
                )
            )
    return findings


def check_file(path: Path, name: str, is_take: bool = False, was_sent: bool = False) -> list[Finding]:
    """Look at one file by itself, as soon as it is there: what it is, then what is wrong with it.

    Parameters
    ----------
    path : Path
        A video, or a rig.
    name : str
        What it is called: its kind is told by the suffix, and it is named so in what is found.
    is_take : bool
        It is a checkerboard take: its frame rate and length cost nothing.
    was_sent : bool
        As for `check_session`.
    """
    try:
        if is_rig_name(name):
            return _check_rig_file(path, name)
        info = probe(path)
    except RedysError as error:
        return [Finding(name, "error", error.what.replace(path.name, name), error.advice)]
    too_much = check_sent(name, info, is_take) if was_sent else []
    if not is_take:
        return _check_video(name, info) + too_much
    return [Finding(name, "note", _describe(name, info)), *_check_whole(name, info), *too_much]


def is_rig_name(name: str) -> bool:
    """Whether a file of this name can only be a rig."""
    return Path(name).suffix.lower() in {Path(each).suffix for each in RIG_FILES}


def _check_rig_file(path: Path, name: str) -> list[Finding]:
    rig = read_rig_file(path)
    cameras = ", ".join(sorted(rig.cameras))
    return [Finding(name, "note", f"{name}: a rig of {len(rig.cameras)} cameras ({cameras}), {rig.verdict}.")]


def _check_video(file: str, info: VideoInfo) -> list[Finding]:
    findings = [Finding(file, "note", _describe(file, info)), *_check_whole(file, info)]
    if float(info.fps) < RATE_ROUNDING * MOVEMENT_FPS:
        findings.append(
            Finding(
                file,
                "warning",
                f"{file} has {_rate(info)} frames a second, too few to measure movement: joint angles only.",
                "Film at 60 frames a second.",
            )
        )
    elif float(info.fps) < RATE_ROUNDING * DERIVATIVES_FPS:
        findings.append(
            Finding(
                file,
                "warning",
                f"{file} has {_rate(info)} frames a second: acceleration and jerk are withheld below "
                f"{DERIVATIVES_FPS:.0f}.",
                "Film at 60 frames a second.",
            )
        )
    if min(info.size_px) < LEAST_SHORT_SIDE_PX:
        findings.append(
            Finding(
                file,
                "warning",
                f"{file} is only {info.size_px[0]}x{info.size_px[1]}: finger joints are a few pixels apart.",
                "Film at 1920x1080 with the hand filling a third of the picture.",
            )
        )
    if info.duration_s < SHORT_S:
        findings.append(
            Finding(
                file,
                "warning",
                f"{file} is only {info.duration_s:.1f} s long: too short to trust one clock.",
                "Record for at least ten seconds.",
            )
        )
    return findings


def _check_whole(file: str, info: VideoInfo) -> list[Finding]:
    if not info.is_truncated:
        return []
    what = f"{file} is cut off: it holds {info.duration_s:.1f} s, and its header promises more."
    return [Finding(file, "warning", what, "Copy the file from the camera again; what is there is used.")]


def _describe(file: str, info: VideoInfo) -> str:
    parts = [f"{info.duration_s:.1f} s", f"{info.size_px[0]}x{info.size_px[1]}"]
    parts.append(f"{_rate(info)} frames a second{' (variable)' if info.is_variable_rate else ''}")
    parts.append("with sound" if info.has_audio else "no sound")
    if info.rotation_deg:
        parts.append(f"turned by {info.rotation_deg} degrees to stand upright")
    return f"{file}: {', '.join(parts)}."


def _rate(info: VideoInfo) -> str:
    return f"{float(info.fps):.2f}".rstrip("0").rstrip(".")


def _check_rates(infos: dict[str, VideoInfo]) -> list[Finding]:
    if len({info.fps for info in infos.values()}) < 2:
        return []
    rates = ", ".join(f"{name} {_rate(info)}" for name, info in infos.items())
    return [
        Finding(
            "",
            "note",
            f"The cameras have different frame rates ({rates}).",
            "Nothing to do: all are brought to the reference camera's times.",
        )
    ]


def _check_sound(session: Session, infos: dict[str, VideoInfo]) -> list[Finding]:
    """No sound costs exactness, and only where an offset is needed and not given."""
    reference = session.settings.reference
    given = session.settings.offset_s
    needed = [name for name in session.videos if name != reference and name not in given]
    silent = [
        name
        for name in ([reference, *needed] if needed else [])
        if name in infos and not infos[name].has_audio
    ]
    if not silent:
        return []
    wanted = needed if reference in silent else silent  # without the reference's sound the others' is no use
    files = [_inside(session, infos[name].path) for name in silent]
    has = "has" if len(files) == 1 else "have"
    lines = ", ".join(f"{camera} = SECONDS" for camera in wanted)
    return [
        Finding(
            files[0],
            "warning",
            f"{' and '.join(files)} {has} no sound: the offset of {' and '.join(wanted)} will be worked out "
            "from the hand's own motion, less exactly.",
            f"Record with sound, or write under [offset_s] in session.toml: {lines} (added to the camera's "
            f"time, they give {reference}'s).",
        )
    ]


def _check_keypoints(session: Session) -> list[Finding]:
    findings = []
    sides = session.settings.sides
    for name in session.cameras if session.keypoints else ():
        file = _inside(session, session.keypoints[name])
        try:
            arrays = read_npz(session.keypoints[name])
        except RedysError as error:
            findings.append(Finding(file, "error", error.what, "Export the keypoints again."))
            continue
        expected: dict[str, tuple[int, ...]] = {"time_s": ()}
        for prefix in [f"{side}_" for side in sides] if len(sides) > 1 else [""]:
            expected |= {f"{prefix}keypoints_px": (21, 2), f"{prefix}sigma_px": (21,)}
        n_frames = arrays["time_s"].size if "time_s" in arrays else 0
        wrong = [
            key
            for key, shape in expected.items()
            if key not in arrays or arrays[key].shape != (n_frames, *shape) or n_frames == 0
        ]
        if wrong:
            findings.append(
                Finding(
                    file,
                    "error",
                    f"{file} lacks {', '.join(wrong)} or has it in another shape.",
                    "It needs time_s (T,), keypoints_px (T, 21, 2) and sigma_px (T, 21); for both hands the "
                    "latter two twice, as right_keypoints_px, left_keypoints_px and so on.",
                )
            )
        else:
            findings.append(Finding(file, "note", f"{file}: keypoints of {n_frames} frames."))
    return findings


def _check_cameras(session: Session) -> list[Finding]:
    if len(session.cameras) > 1:
        return []
    return [
        Finding(
            "",
            "warning",
            f"There is one camera only ({session.cameras[0]}): depth and size of the hand are guessed from a "
            "usual lens and hand, so lengths in mm, speed, acceleration and jerk are rough, and angles of "
            "fingers that point at the camera are uncertain.",
            "Record with two or three cameras for numbers to rely on.",
        )
    ]


def _check_calibration(
    session: Session, infos: dict[str, VideoInfo], was_sent: bool = False
) -> list[Finding]:
    if session.rig is not None:
        return [*_check_rig(session, session.rig, infos), *_note_unused_takes(session, session.rig)]
    if not session.calibration_videos:
        if len(session.cameras) == 1:
            return []
        return [
            Finding(
                "",
                "warning",
                f"There is no calibration for the {len(session.cameras)} cameras: their lenses and places "
                "will be worked out from the hand that they all see, less exactly, and lengths hang on the "
                "hand's.",
                "Film a checkerboard with all cameras at once and put the takes into calibration/ under the "
                "cameras' names, or use the rig of an earlier visit if no camera was moved since; else give "
                "hand_length_mm.",
            )
        ]
    findings: list[Finding] = []
    takes = dict(_probe_all(session, session.calibration_videos, findings))
    for name in session.cameras:
        if name not in takes:
            findings.append(
                Finding(
                    "calibration",
                    "error",
                    f"There is no checkerboard take of camera {name} in calibration/.",
                    f"Add it as calibration/{name}.mp4, or film the board again with all cameras at once.",
                )
            )
    for name, take in takes.items():
        if take is not None:
            findings += _check_take(session, name, take, infos.get(name))
            findings += check_sent(_inside(session, take.path), take, is_take=True) if was_sent else []
    return findings


def _note_unused_takes(session: Session, rig: Path) -> list[Finding]:
    if not session.calibration_videos:
        return []
    return [
        Finding(
            "calibration",
            "warning",
            f"The checkerboard takes in calibration/ are left out, since there is {_inside(session, rig)}.",
            f"Move {_inside(session, rig)} elsewhere if the cameras were calibrated anew.",
        )
    ]


def _check_take(session: Session, name: str, take: VideoInfo, video: VideoInfo | None) -> list[Finding]:
    file = _inside(session, take.path)
    if name not in session.cameras:
        return [Finding(file, "note", f"{file} is of a camera that is not in this session; it is left out.")]
    findings = [Finding(file, "note", _describe(file, take)), *_check_whole(file, take)]
    return findings if video is None else findings + _check_size(file, name, take.size_px, video.size_px)


def _check_size(
    file: str, name: str, calibrated_px: tuple[int, int], recorded_px: tuple[int, int]
) -> list[Finding]:
    """A lens holds for pictures of one shape; for another size of it, if the camera does not crop."""
    if calibrated_px == recorded_px:
        return []
    what = (
        f"{file} has camera {name} at {calibrated_px[0]}x{calibrated_px[1]}, but it recorded "
        f"{recorded_px[0]}x{recorded_px[1]}: "
    )
    advice = "Film the checkerboard in the same mode of the camera as the recording."
    shape, expected = (size[0] / size[1] for size in (calibrated_px, recorded_px))
    if abs(shape / expected - 1) > ASPECT_TOLERANCE:
        return [Finding(file, "error", f"{what}another shape of picture, so another lens.", advice)]
    scaled = "the lens is scaled, which holds only if the camera does not crop."
    return [Finding(file, "warning", what + scaled, advice)]


def _check_rig(session: Session, path: Path, infos: dict[str, VideoInfo]) -> list[Finding]:
    file = _inside(session, path)
    try:
        rig = read_session_rig(path, session)
    except RedysError as error:
        return [Finding(file, "error", error.what, error.advice)]
    missing = [name for name in session.cameras if name not in rig.cameras]
    if missing:
        return [
            Finding(
                file,
                "error",
                f"{file} has no camera {', '.join(missing)}; it has {', '.join(sorted(rig.cameras))}.",
                "Name the videos after the rig's cameras, or calibrate again with all cameras.",
            )
        ]
    called = f" ({rig.name})" if rig.name else ""
    findings = [Finding(file, "note", f"{file}{called}: {len(rig.cameras)} cameras, calibrated before.")]
    if rig.verdict != "reliable":
        what = f"{file}{called} is not known to be reliable: {' '.join(rig.reasons) or 'no reason is given.'}"
        advice = "Film a checkerboard with all cameras for numbers to rely on."
        findings.append(Finding(file, "warning", what, advice))
    for name, video in infos.items():
        findings += _check_size(file, name, rig.cameras[name].size_px, video.size_px)
    return findings


def _check_networks(session: Session) -> list[Finding]:
    """Whether the chosen detector and estimator can work; keypoints need neither."""
    if not session.videos:
        return []
    from pipeline.pose.registry import get_entry, require

    findings = []
    chosen = session.settings
    for role, name in (("detector", chosen.detector), ("estimator", chosen.estimator)):
        try:
            require(get_entry("detector" if role == "detector" else "estimator", name))
        except ModelError as error:
            findings.append(Finding("", "error", error.what, error.advice))
    return findings
