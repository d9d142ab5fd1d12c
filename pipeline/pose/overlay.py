"""The hand drawn over the video, camera by camera: points, bones and boxes, coloured by confidence and side.

Seed 002: joints as circles, the bones between them, colour by confidence, left and right told apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from pipeline.errors import RunFolderError
from pipeline.files import hash_file
from pipeline.hand.joints import BONES, Side
from pipeline.progress import Reporter
from pipeline.results import RunFolder, ViewTrack, read_view
from pipeline.run import read_run
from pipeline.session import VIDEO_SUFFIXES
from pipeline.video import VideoWriter, probe, read_audio, read_frames, read_times

SIDE_COLOURS_BGR: dict[Side, tuple[int, int, int]] = {"right": (200, 130, 20), "left": (14, 127, 255)}
"""Blue for right, orange for left: told apart with any colour vision, and the word stands at the box."""

UNSURE_SHARE = 0.1
"""A point whose sigma is this share of its box's longer side is drawn as unsure."""

_SURE_BGR, _HALF_BGR, _UNSURE_BGR = (119, 158, 27), (32, 194, 255), (30, 30, 200)
_WHITE, _INK = (255, 255, 255), (30, 26, 22)
_SUBPIXEL_BITS = 4
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_STATE_WORDS = {"interpolated": "box bridged", "outlier": "box mended"}
_AUDIO_HZ = 48000
_SAME_TIME_S = 1e-3


# --- one picture ---------------------------------------------------------------------------------


def draw_hand(
    image_bgr: np.ndarray,
    keypoints_px: np.ndarray,
    sigma_px: np.ndarray,
    box_px: np.ndarray,
    side: Side,
    box_state: str = "detected",
    score: float = float("nan"),
) -> None:
    """Draw one hand into a picture (H, W, 3) uint8 BGR, in place.

    Bones and box have the side's colour, and a tag at the box names the side in words, with the score; a box
    that was not detected is drawn thin and the tag says so. Points go from green over yellow to red as sigma
    goes from 0 to `UNSURE_SHARE` of the box's size.

    Parameters
    ----------
    image_bgr : ndarray (H, W, 3) uint8
        Changed in place.
    keypoints_px : ndarray (21, 2)
        NaN points and their bones are left out.
    sigma_px : ndarray (21,)
        NaN = unknown, drawn as unsure.
    box_px : ndarray (4,)
        NaN = no box drawn.
    side : "right" | "left"
        Whose hand it is.
    box_state : str
        One of `pipeline.results.BOX_STATES`.
    score : float
        0 to 1; NaN = not said.
    """
    unit = _get_unit(image_bgr)
    colour = SIDE_COLOURS_BGR[side]
    size = UNSURE_SHARE * max(image_bgr.shape[:2])
    has_box = bool(np.isfinite(box_px).all())
    if has_box:
        size = UNSURE_SHARE * float(max(box_px[2] - box_px[0], box_px[3] - box_px[1]))
        thickness = 2 * unit if box_state == "detected" else unit
        low, high = _round(box_px[:2]), _round(box_px[2:])
        cv2.rectangle(image_bgr, low, high, colour, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)
    seen = np.isfinite(keypoints_px).all(axis=1)
    ends = [(_round(keypoints_px[a]), _round(keypoints_px[b])) for a, b in BONES if seen[a] and seen[b]]
    for width, shade in ((3 * unit, _WHITE), (2 * unit, colour)):  # a rim, seen on dark and on bright skin
        for one, other in ends:
            cv2.line(image_bgr, one, other, shade, width, cv2.LINE_AA, _SUBPIXEL_BITS)
    doubt = np.clip(np.nan_to_num(sigma_px / size, nan=1.0), 0, 1)
    for joint in np.flatnonzero(seen):
        centre = _round(keypoints_px[joint])
        for radius, shade in ((3.6 * unit, _WHITE), (2.8 * unit, _shade(float(doubt[joint])))):
            reach = round(radius * (1 << _SUBPIXEL_BITS))
            cv2.circle(image_bgr, centre, reach, shade, -1, cv2.LINE_AA, _SUBPIXEL_BITS)
    if has_box:
        words = [f"{side} hand", "" if np.isnan(score) else f"{score:.2f}", _STATE_WORDS.get(box_state, "")]
        _write_tag(image_bgr, "  ".join(filter(None, words)), (box_px[0], box_px[1]), colour, unit)


def draw_caption(image_bgr: np.ndarray, text: str) -> None:
    """Write a line at the picture's top left, and the meaning of the points' colours at its bottom left."""
    unit = _get_unit(image_bgr)
    _write_tag(image_bgr, text, (0.0, 0.0), _INK, unit)
    height = image_bgr.shape[0]
    x, y = 6 * unit, height - 8 * unit
    cv2.rectangle(image_bgr, (0, height - 16 * unit), (190 * unit, height), _INK, -1)
    for word, doubt in (("sure", 0.0), ("fair", 0.5), ("unsure", 1.0)):
        cv2.circle(image_bgr, (x + 3 * unit, y), 3 * unit, _WHITE, -1, cv2.LINE_AA)
        cv2.circle(image_bgr, (x + 3 * unit, y), round(2.3 * unit), _shade(doubt), -1, cv2.LINE_AA)
        place = (x + 10 * unit, y + 4 * unit)
        cv2.putText(image_bgr, word, place, _FONT, 0.4 * unit, _WHITE, unit, cv2.LINE_AA)
        x += 60 * unit


def _get_unit(image_bgr: np.ndarray) -> int:
    return max(round(max(image_bgr.shape[:2]) / 960), 1)


def _shade(doubt: float) -> tuple[int, int, int]:
    """Colour of a point: green at 0, yellow at 0.5, red at 1."""
    stops = np.array([_SURE_BGR, _HALF_BGR, _UNSURE_BGR], dtype=float)
    blue, green, red = (round(float(np.interp(doubt, [0, 0.5, 1], stops[:, i]))) for i in range(3))
    return blue, green, red


def _write_tag(
    image_bgr: np.ndarray, text: str, corner_px: tuple[float, float], colour: tuple[int, int, int], unit: int
) -> None:
    """White words on a filled tag that stands on the corner, moved into the picture where it would leave."""
    (width, height), _ = cv2.getTextSize(text, _FONT, 0.5 * unit, unit)
    width, height = width + 8 * unit, height + 8 * unit
    x = int(np.clip(corner_px[0], 0, max(image_bgr.shape[1] - width, 0)))
    y = int(np.clip(corner_px[1] - height, 0, max(image_bgr.shape[0] - height, 0)))
    cv2.rectangle(image_bgr, (x, y), (x + width, y + height), colour, -1)
    place = (x + 4 * unit, y + height - 4 * unit)
    cv2.putText(image_bgr, text, place, _FONT, 0.5 * unit, _WHITE, unit, cv2.LINE_AA)


def _round(point_px: np.ndarray) -> tuple[int, int]:
    x, y = np.round(np.asarray(point_px, dtype=float) * (1 << _SUBPIXEL_BITS)).astype(int)
    return int(x), int(y)


# --- whole runs ----------------------------------------------------------------------------------


def write_overlays(run: RunFolder, out: Path, session: Path | None, report: Reporter) -> list[Path]:
    """Write ``OUT/<camera>.mp4`` for every camera of a run, each whole or not at all.

    Parameters
    ----------
    run : RunFolder
        Its pose stages must be done.
    out : Path
        Folder; made if it is not there.
    session : Path or None
        Folder of the videos; by default looked for beside the run (`find_videos`).
    report : Reporter
        Hears of progress; cancelling leaves what is finished.

    Raises
    ------
    RunFolderError
        The run has no views yet, or its videos are gone or are others than those it worked; or the overlays
        would lie among the recordings.
    VideoError
        A video cannot be decoded.
    """
    videos = find_videos(run, session)
    stages = read_run(run).get("stages", {})
    missing = [
        camera for camera in videos if f"pose:{camera}" not in stages or not run.view_npz(camera).is_file()
    ]
    if missing:
        raise RunFolderError(
            f"{run.path} has no points of camera {', '.join(missing)} yet.",
            "Start the run again; it goes on where it stopped.",
        )
    tracks = {camera: _read_tracks(run, camera, video) for camera, video in videos.items()}
    written = []
    for number, (camera, video) in enumerate(videos.items()):
        part = report.part(number / len(videos), (number + 1) / len(videos))
        path = out / f"{camera}.mp4"
        _keep_from_recordings(path, video)
        write_overlay(path, camera, video, tracks[camera], part)
        written.append(path)
    return written


def _read_tracks(run: RunFolder, camera: str, video: Path) -> dict[Side, ViewTrack]:
    """A camera's tracks, after making sure that they are of this video.

    A recording that was exchanged, and whose run then was stopped, is in ``run.json`` with the points of the
    one before.
    """
    tracks, time_s = read_view(run, camera), read_times(video)
    for track in tracks.values():
        if len(track.time_s) != len(time_s) or np.abs(track.time_s - time_s).max() > _SAME_TIME_S:
            raise RunFolderError(
                f"The points of camera {camera} in {run.path} are of another recording than {video}.",
                "Start the run again: it works this camera anew.",
            )
    return tracks


def _keep_from_recordings(path: Path, video: Path) -> None:
    """Refuse a place where an overlay would replace a recording, or be taken for one."""
    folder = video.resolve().parent
    if path.resolve().parent in (folder, folder / "calibration"):
        raise RunFolderError(
            f"{path.parent} holds the recordings: {path.name} there would be taken for one of them.",
            "Choose another folder with --out.",
        )


def find_videos(run: RunFolder, session: Path | None = None) -> dict[str, Path]:
    """The recordings that a run worked, by camera; their SHA-256 is that in ``run.json``.

    Looked for in ``session`` if it is given; else in the folder that the run folder lies in, and in the
    folder of the session's name beside the run folder.

    Raises
    ------
    RunFolderError
        They are not there, or were changed since; or the run had points instead of videos.
    """
    record = read_run(run)
    inputs = record.get("inputs", {})
    if any(name.startswith("keypoints/") for name in inputs):
        raise RunFolderError(
            f"{run.path} was made from points of another tool: there is no video to draw on.",
            "Overlays are for runs on videos.",
        )
    names = [name for name in inputs if "/" not in name and Path(name).suffix.lower() in VIDEO_SUFFIXES]
    if not names:
        raise RunFolderError(
            f"The run in {run.path} was stopped before it had read a recording.",
            "Start the run again; it goes on where it stopped.",
        )
    home = run.path.resolve().parent
    places = [session] if session is not None else [home, home / str(record.get("session", ""))]
    for place in places:
        if all((place / name).is_file() for name in names):
            break
    else:
        looked = " and ".join(str(place) for place in places)
        raise RunFolderError(
            f"The recordings of this run ({', '.join(names)}) are not in {looked}.",
            "Say with --session where they are; without them there is nothing to draw on.",
        )
    for name in names:
        if hash_file(place / name) != inputs[name]:
            raise RunFolderError(
                f"{place / name} is not the recording that this run worked: its SHA-256 differs.",
                "Say with --session where the recordings are, or run the pipeline on these anew.",
            )
    return {Path(name).stem: place / name for name in names}


def write_overlay(
    path: Path, camera: str, video: Path, tracks: dict[Side, ViewTrack], report: Reporter
) -> None:
    """Write one camera's video with its hands drawn in and its own sound, whole or not at all.

    A variable frame rate becomes the nominal one: frames are repeated or left out so that every picture is
    shown within half a frame of its time.
    """
    info = probe(video)
    width, height = (side // 2 * 2 for side in info.size_px)
    sound = read_audio(video, _AUDIO_HZ) if info.has_audio else None
    audio = None if sound is None else (sound, _AUDIO_HZ)
    shown = 0
    last: np.ndarray | None = None
    with VideoWriter(path, (width, height), info.fps, crf=20, audio=audio) as writer:
        for time_s, image, index in _draw_frames(camera, video, tracks):
            report.update(index / info.n_frames, f"Drawing camera {camera}, frame {index}")
            place = round(time_s * float(info.fps))
            image = image[:height, :width]
            for _ in range(place - shown):  # nothing came in time: what was there stays
                writer.write(image if last is None else last)
            if place >= shown:
                writer.write(image)
            shown, last = max(shown, place + 1), image


def _draw_frames(
    camera: str, video: Path, tracks: dict[Side, ViewTrack]
) -> Iterator[tuple[float, np.ndarray, int]]:
    for frame in read_frames(video):
        image = frame.image
        if not image.flags.writeable:
            image = image.copy()
        there = [side for side, track in tracks.items() if track.box_state[frame.index] != "none"]
        for side in there:
            track, k = tracks[side], frame.index
            draw_hand(
                image,
                track.keypoints_px[k],
                track.sigma_px[k],
                track.box_px[k],
                side,
                str(track.box_state[k]),
                float(track.score[k]),
            )
        words = "" if there else "  no hand"
        draw_caption(image, f"{camera}  {frame.time_s:.2f} s  frame {frame.index}{words}")
        yield frame.time_s, image, frame.index
