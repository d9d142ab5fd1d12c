"""Working a set of pictures, one after the other, with resume, progress, cancelling and provenance."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import Cancelled, FusionError, PhotoError, RedysError, RunFolderError
from pipeline.files import hash_file, hash_json, remove_unfinished, write_json
from pipeline.hand.model import HandModel, load_hand_model
from pipeline.photos.failures import judge
from pipeline.photos.folder import PhotoSet, read_photo_set
from pipeline.photos.hands import MeasuredHand, find_hands
from pipeline.photos.pictures import DEFAULT_FOCAL_35MM, Picture, get_focal_px, read_picture
from pipeline.photos.results import (
    SCHEMA_VERSION,
    FailureRow,
    HandRow,
    PictureRow,
    picture_file,
    read_picture_row,
    summarise_picture,
    write_picture,
    write_points,
)
from pipeline.photos.single_view import SpatialHand, fit_hand, measure_average_length
from pipeline.photos.web import write_copies, write_faces, write_mesh
from pipeline.pose.protocols import Detector, Estimator
from pipeline.pose.registry import describe_models, load_detector, load_estimator
from pipeline.results import Camera, RunFolder
from pipeline.run import RunProgress, list_versions, lock_folder, say_now
from pipeline.version import PROGRAM_VERSION

STAGE, LABEL = "photos", "Looking at the pictures"


@dataclass(frozen=True)
class Bench:
    """What every picture is worked with; ``scale`` is the hand's size against the model's average."""

    detector: Detector
    estimator: Estimator
    model: HandModel
    photo_set: PhotoSet
    scale: float


def run_photos(
    set_path: Path,
    out: Path,
    listen: Callable[[RunProgress], None] = lambda progress: None,
    is_cancelled: Callable[[], bool] = lambda: False,
    networks: Mapping[str, str] | None = None,
) -> RunFolder:
    """Work a folder of pictures into a run folder; what a run before this one finished there is kept.

    Parameters
    ----------
    set_path : Path
        The folder (`pipeline.photos.folder`).
    out : Path
        The run folder.
    listen : callable
        Called with every `RunProgress`.
    is_cancelled : callable
        Asked before each picture.
    networks : mapping, optional
        ``detector`` and ``estimator`` in place of the set's own choice.

    Raises
    ------
    RedysError
        Something that a person can mend; ``photos.json`` says it too. A picture that cannot be read is no
        such thing: it is named among the results, unless it is so with all.
    Cancelled
        The person asked to stop.
    """
    photo_set = read_photo_set(set_path)
    if networks:
        settings = photo_set.settings.model_copy(update=dict(networks))
        photo_set = replace(photo_set, settings=settings)
    folder = RunFolder(Path(out))
    if folder.path.resolve() in (photo_set.path.resolve(), photo_set.pictures[0].parent.resolve()):
        raise RunFolderError(
            f"{folder.path} is the pictures' own folder: results would lie among them.",
            "Choose another folder with --out.",
        )
    with lock_folder(folder):
        remove_unfinished(folder.path)
        record = _Record(folder.path / "photos.json", photo_set)
        try:
            _work(photo_set, folder.path, record, listen, is_cancelled)
        except Cancelled:
            record.save(state="cancelled", finished=say_now())
            raise
        except RedysError as error:
            record.save(
                state="failed", finished=say_now(), error={"what": error.what, "advice": error.advice}
            )
            raise
        except Exception as error:
            what = f"The program failed in a way it should not ({type(error).__name__}: {error})."
            record.save(
                state="failed", finished=say_now(), error={"what": what, "advice": "Please report it."}
            )
            raise
    return folder


class _Record:
    """``photos.json`` while the run goes on."""

    def __init__(self, path: Path, photo_set: PhotoSet) -> None:
        self._path = path
        settings = photo_set.settings.model_dump(mode="json")
        self.values: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "state": "running",
            "set": photo_set.path.name,
            "settings": settings,
            "settings_hash": hash_json(settings),
            "versions": list_versions(),
            "models": describe_models(photo_set.settings.detector, photo_set.settings.estimator),
            "warnings": [],
            "error": None,
            "started": say_now(),
            "finished": None,
            "pictures": [],
        }
        self.save()

    def save(self, **changes: Any) -> None:
        self.values.update(changes)
        write_json(self._path, self.values)


def _work(
    photo_set: PhotoSet,
    folder: Path,
    record: _Record,
    listen: Callable[[RunProgress], None],
    is_cancelled: Callable[[], bool],
) -> None:
    model = load_hand_model()
    average_mm = measure_average_length(model)
    stated_mm = photo_set.settings.hand_length_mm
    own = {"role": "hand model", "name": model.name, "licence": model.licence, "sha256": model.digest}
    record.save(
        models=[own, *record.values["models"]],
        hand_model=model.name,
        hand_length_mm=stated_mm or average_mm,
        scale_source="stated" if stated_mm else "average",
    )
    settings = photo_set.settings
    bench = Bench(
        load_detector(settings.detector),
        load_estimator(settings.estimator),
        model,
        photo_set,
        (stated_mm or average_mm) / average_mm,
    )
    write_faces(folder, model)
    pictures: list[PictureRow] = []
    meter = _Meter(len(photo_set.pictures), listen)
    for number, path in enumerate(photo_set.pictures):
        if is_cancelled():
            raise Cancelled
        meter.tell(number, f"Looking at picture {number + 1} of {len(photo_set.pictures)}")
        key = hash_json([PROGRAM_VERSION, number, hash_file(path), path.name, _get_settings(record)])
        kept = _read_kept(folder, number, key)
        meter.kept += kept is not None
        picture = kept or _work_picture(bench, folder, number, path, key)
        if picture.what and kept is None:
            meter.warn(number, f"{picture.what} {picture.advice}")
        pictures.append(picture)
    pictures += _name_left_out(photo_set, folder)
    _finish(folder, record, tuple(pictures))
    meter.tell(len(photo_set.pictures), "Finished")


def _name_left_out(photo_set: PhotoSet, folder: Path) -> list[PictureRow]:
    """Rows of what was sent and not taken, behind those of the pictures, with the reasons."""
    first = len(photo_set.pictures)
    rows = [
        PictureRow(number, left.name, "left out", what=left.what, advice=left.advice)
        for number, left in enumerate(photo_set.left_out, first)
    ]
    for row in rows:
        write_picture(folder, row)
    return rows


def _get_settings(record: _Record) -> Any:
    """All that results hang on beside the picture: settings without whose they are, and the networks."""
    settings = {k: v for k, v in record.values["settings"].items() if k not in ("subject", "visit")}
    return [settings, [model["sha256"] for model in record.values["models"]]]


def _read_kept(folder: Path, number: int, key: str) -> PictureRow | None:
    """What an earlier run in this folder found in the picture, if it is still the same."""
    try:
        kept = read_picture_row(picture_file(folder, number))
    except RunFolderError:
        return None
    return kept if kept.key == key else None


class _Meter:
    """Turns pictures into the progress of the run."""

    def __init__(self, total: int, listen: Callable[[RunProgress], None]) -> None:
        self._total, self._listen, self._started = total, listen, time.perf_counter()
        self.kept = 0

    def tell(self, done: int, message: str) -> None:
        share, worked = done / self._total, done - self.kept
        elapsed = time.perf_counter() - self._started
        eta = (self._total - done) * elapsed / worked if worked > 0 else float("nan")
        self._listen(RunProgress(STAGE, LABEL, share, share, message, eta))

    def warn(self, done: int, message: str) -> None:
        share = done / self._total
        self._listen(RunProgress(STAGE, LABEL, share, share, message, float("nan"), warning=True))


def _finish(folder: Path, record: _Record, pictures: tuple[PictureRow, ...]) -> None:
    if all(picture.what for picture in pictures):
        first = pictures[0]
        raise PhotoError(f"None of the pictures can be read. The first: {first.what}", first.advice)
    for old in (folder / "web").glob("picture_*.json"):  # of a longer set that was worked here before
        if old.name not in {picture_file(folder, picture.number).name for picture in pictures}:
            old.unlink()
    write_points(folder, pictures)
    record.save(
        state="done",
        finished=say_now(),
        warnings=[f"{picture.what} {picture.advice}" for picture in pictures if picture.what],
        pictures=[summarise_picture(picture) for picture in pictures],
    )


def _work_picture(bench: Bench, folder: Path, number: int, path: Path, key: str) -> PictureRow:
    try:
        picture = read_picture(path)
    except PhotoError as error:
        row = PictureRow(number, path.name, key, what=error.what, advice=error.advice)
        write_picture(folder, row)
        return row
    settings = bench.photo_set.settings
    focal_35mm, source = picture.focal_35mm, "picture"
    if focal_35mm is None:
        focal_35mm, source = settings.focal_35mm, "settings"
    if focal_35mm is None:
        focal_35mm, source = DEFAULT_FOCAL_35MM, "assumed"
    camera = make_camera(picture, focal_35mm)
    hands = find_hands(picture.image_bgr, bench.detector, bench.estimator, settings.preset, bench.model)
    rows, fitted = [], []
    for index, hand in enumerate(hands):
        spatial, fault = _fit(bench, hand, camera)
        others = [other for other in hands if other is not hand]
        rows.append(_describe(picture, hand, others, spatial, fault, bench.model))
        if spatial is not None:
            fitted.append((index, hand.side, spatial))
    scale = write_copies(folder, number, picture.image_bgr)
    write_mesh(folder, number, camera, scale, fitted, bench.model)
    row = PictureRow(number, path.name, key, picture.size_px, scale, focal_35mm, source, hands=tuple(rows))
    write_picture(folder, row)
    return row


def make_camera(picture: Picture, focal_35mm: float) -> Camera:
    """The stated camera of a picture: its lens without distortion, its axis through the picture's middle."""
    width, height = picture.size_px
    focal = get_focal_px(focal_35mm, picture.size_px)
    matrix = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    return Camera("picture", picture.size_px, matrix, np.zeros(5), np.eye(3), np.zeros(3))


def _fit(bench: Bench, hand: MeasuredHand, camera: Camera) -> tuple[SpatialHand | None, str]:
    try:
        return fit_hand(
            hand.points_px, hand.sigma_px, camera, hand.side, bench.model, hand.guess, bench.scale
        ), ""
    except FusionError as error:
        return None, str(error)


def _describe(
    picture: Picture,
    hand: MeasuredHand,
    others: list[MeasuredHand],
    spatial: SpatialHand | None,
    fault: str,
    model: HandModel,
) -> HandRow:
    failures = judge(picture.image_bgr, hand, others, spatial, model.faces)
    row = HandRow(
        side=hand.side,
        side_share=None if np.isnan(hand.side_share) else round(hand.side_share, 4),
        side_votes=hand.side_votes,
        score=round(hand.score, 4),
        second_look=hand.second_look,
        box_px=_round(hand.box_px),
        points_px=_round(hand.points_px),
        sigma_px=_round(hand.sigma_px),
        fault=fault,
        failures=tuple(
            FailureRow(each.reason, round(each.figure, 3), each.limit, each.unit, each.joints)
            for each in failures
        ),
    )
    if spatial is None:
        return row
    return replace(
        row,
        reprojection_px=round(spatial.reprojection_px, 3),
        joints_mm=_round(spatial.joints_mm),
        sigma_mm=_round(spatial.sigma_mm),
        wrist_mm=_round(spatial.wrist_mm),
        projected_px=_round(spatial.projected_px),
    )


def _round(values: np.ndarray) -> Any:
    return np.round(values.astype(float), 3).tolist()
