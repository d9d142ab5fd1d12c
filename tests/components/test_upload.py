"""Resumable upload by the tus protocol: whatever is cut, what has arrived counts."""

import base64
import hashlib
import io
import os
import random
import shutil
import tomllib
from collections import namedtuple
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components import intake, upload
from pipeline.errors import RedysError, SessionError
from records import NotFound
from records.checking import Bare, Finding, ToStrip
from records.drafts import Drafts, Placed, write_session_toml
from records.errors import UploadError
from records.room import Limits
from tests.records.site import Browser, Site, make_session, open_site, token_of

TUS = {"Tus-Resumable": "1.0.0"}
PIECE = {**TUS, "Content-Type": "application/offset+octet-stream"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    data = tmp_path_factory.mktemp("upload") / "data"
    with open_site(data, REDYS_MAX_UPLOAD_BYTES=str(50_000_000)) as opened:
        yield opened


@pytest.fixture
def client(site: Site) -> Browser:
    client = site.browser()
    client.environ_base["HTTP_X_CSRFTOKEN"] = token_of(client)["X-CSRFToken"]
    return client  # type: ignore[return-value]


@pytest.fixture
def draft(client: Browser) -> str:
    answer = client.post("/upload")
    assert answer.status_code == 201
    return str(answer.get_json()["draft"])


def begin(client: Browser, draft: str, name: str, length: int | str) -> Any:
    text = base64.b64encode(name.encode()).decode()
    headers = {**TUS, "Upload-Length": str(length), "Upload-Metadata": f"filename {text},filetype eA=="}
    return client.post(f"/upload/{draft}", headers=headers)


def offset_of(client: Browser, address: str) -> int:
    answer = client.head(address, headers=TUS)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    return int(answer.headers["Upload-Offset"])


class Cut(io.RawIOBase):
    """A connection that announces so many bytes and breaks before."""

    def __init__(self, data: bytes, announced: int) -> None:
        self._data, self._announced, self._at_end = io.BytesIO(data), announced, False

    def readable(self) -> bool:
        return True

    def seek(self, place: int, whence: int = 0) -> int:
        self._at_end = whence == io.SEEK_END
        return self.tell()

    def tell(self) -> int:
        return self._announced if self._at_end else 0

    def readinto(self, buffer: Any) -> int:
        piece = self._data.read(min(len(buffer), 1000))
        if not piece:
            raise ConnectionResetError("the network is gone")
        buffer[: len(piece)] = piece
        return len(piece)


def test_the_server_says_what_it_speaks(client: Browser, draft: str) -> None:
    answer = client.options(f"/upload/{draft}")
    assert answer.status_code == 204
    assert answer.headers["Tus-Version"] == "1.0.0"
    assert answer.headers["Tus-Extension"] == "creation,termination"
    assert answer.headers["Tus-Max-Size"] == "50000000"


def test_a_file_cut_ten_times_arrives_whole(client: Browser, draft: str, site: Site) -> None:
    data = random.Random(1).randbytes(300_000)
    address = begin(client, draft, "front.mp4", len(data)).headers["Location"]
    cuts = sorted(random.Random(2).sample(range(1, len(data)), 10))
    for cut in cuts:
        start = offset_of(client, address)
        client.patch(
            address,
            headers={**PIECE, "Upload-Offset": str(start)},
            input_stream=Cut(data[start:cut], announced=len(data) - start),
        )
        assert offset_of(client, address) == cut
    start = offset_of(client, address)
    answer = client.patch(address, headers={**PIECE, "Upload-Offset": str(start)}, data=data[start:])
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, str(len(data)))
    stored = next((site.settings.data_dir / "incoming" / draft).glob("*.part"))
    assert hashlib.sha256(stored.read_bytes()).digest() == hashlib.sha256(data).digest()
    listed = client.get(f"/upload/{draft}").get_json()["files"]
    assert [(file["name"], file["received"], file["url"]) for file in listed] == [
        ("front.mp4", len(data), address)
    ]


def test_a_piece_at_the_wrong_place_is_refused(client: Browser, draft: str) -> None:
    address = begin(client, draft, "front.mp4", 10).headers["Location"]
    assert client.patch(address, headers={**PIECE, "Upload-Offset": "5"}, data=b"x").status_code == 409
    client.patch(address, headers={**PIECE, "Upload-Offset": "0"}, data=b"12345")
    assert client.patch(address, headers={**PIECE, "Upload-Offset": "0"}, data=b"x").status_code == 409
    assert offset_of(client, address) == 5


def test_more_than_was_announced_is_refused(client: Browser, draft: str, site: Site) -> None:
    address = begin(client, draft, "front.mp4", 10).headers["Location"]
    answer = client.patch(address, headers={**PIECE, "Upload-Offset": "0"}, data=b"x" * 11)
    assert answer.status_code == 413
    assert "front.mp4" in answer.get_data(as_text=True)
    assert offset_of(client, address) == 0


@pytest.mark.parametrize(
    ("name", "length", "status"),
    [
        ("front.exe", 10, 415), ("front", 10, 415), ("front.mp4.html", 10, 415), ("", 10, 415),
        ("front.mp4", 0, 400), ("front.mp4", -1, 400), ("front.mp4", "ten", 400), ("front.mp4", "", 400),
        ("front.mp4", 50_000_001, 413), ("front.mp4", "9" * 40, 400), ("front.mp4", "1e3", 400),
        ("front.MP4", 10, 201), ("rig.json", 10, 201), ("имя 手.mov", 10, 201),
        ("lab.toml", 10, 201), ("lab.YAML", 10, 201), ("lab.yml", 10, 201), ("lab.xml", 10, 415),
    ],
)  # fmt: skip
def test_what_is_no_file_for_here_is_refused_in_words(
    client: Browser, draft: str, name: str, length: int | str, status: int
) -> None:
    answer = begin(client, draft, name, length)
    assert answer.status_code == status
    assert status == 201 or len(answer.get_data(as_text=True)) > 20


def test_names_are_text_and_never_paths(client: Browser, draft: str, site: Site) -> None:
    for name in (
        "../../../etc/cron.d/x.mp4",
        "/etc/x.mp4",
        "..\\..\\x.mp4",
        "a\x00b.mp4",
        "x" * 5000 + ".mp4",
    ):
        begin(client, draft, name, 10)
    folder = site.settings.data_dir / "incoming" / draft
    assert all(len(path.stem) == 32 for path in folder.iterdir() if path.name != "draft.json")
    listed = client.get(f"/upload/{draft}").get_json()["files"]
    assert all("/" not in file["name"] and "\\" not in file["name"] for file in listed)
    assert not list(site.settings.data_dir.rglob("x.mp4"))


def test_too_many_files_are_refused_and_one_can_be_removed(client: Browser, draft: str) -> None:
    addresses = [begin(client, draft, f"c{number}.mp4", 10).headers["Location"] for number in range(20)]
    assert begin(client, draft, "more.mp4", 10).status_code == 409
    assert client.delete(addresses[0], headers=TUS).status_code == 204
    assert client.head(addresses[0], headers=TUS).status_code == 404
    assert begin(client, draft, "more.mp4", 10).status_code == 201


@pytest.mark.parametrize(
    "address", ["x", "0" * 32, "0" * 31, "0" * 32 + "/" + "0" * 32, "%2e%2e/" + "0" * 32]
)
def test_unknown_uploads_are_not_found(client: Browser, address: str) -> None:
    if "/" in address:
        assert client.head(f"/upload/{address}", headers=TUS).status_code == 404
        assert client.patch(f"/upload/{address}", headers={**PIECE, "Upload-Offset": "0"}).status_code == 404
    else:
        assert client.get(f"/upload/{address}").status_code == 404
        assert begin(client, address, "front.mp4", 10).status_code == 404


def test_another_version_or_kind_of_body_is_refused(client: Browser, draft: str) -> None:
    assert client.post(f"/upload/{draft}", headers={"Upload-Length": "10"}).status_code == 412
    address = begin(client, draft, "front.mp4", 10).headers["Location"]
    headers = {**TUS, "Upload-Offset": "0", "Content-Type": "text/plain"}
    assert client.patch(address, headers=headers, data=b"x").status_code == 415
    assert client.patch(address, headers=PIECE, data=b"x").status_code == 400


def test_pieces_are_streamed_and_other_posts_are_short(client: Browser, draft: str) -> None:
    long = 5 * 2**20
    address = begin(client, draft, "front.mp4", long).headers["Location"]
    answer = client.patch(address, headers={**PIECE, "Upload-Offset": "0"}, data=bytes(long))
    assert answer.status_code == 204
    refused = client.post("/_dash-update-component", data=bytes(long), content_type="application/json")
    assert refused.status_code == 413


def test_a_full_disk_is_said_before_anything_is_sent(
    client: Browser, draft: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 10**12 - 10**9, 10**9))
    answer = begin(client, draft, "front.mp4", 1000)
    assert answer.status_code == 507
    assert "room" in answer.get_data(as_text=True)


# --- drafts become sessions ----------------------------------------------------------------------


@pytest.fixture
def drafts(tmp_path: Path) -> Drafts:
    return make_drafts(tmp_path)


def make_drafts(tmp_path: Path, **more: Any) -> Drafts:
    """Drafts of files that are no videos: taking out what they tell is tested with real ones elsewhere."""
    limits = more.pop("limits", Limits(10**6, keep_free_share=0.0))
    return Drafts(tmp_path / "data", limits, strip=copy_bare, **more)


def copy_bare(files: Sequence[ToStrip]) -> list[Bare | Finding]:
    for file in files:
        shutil.copy(file.source, file.target)
    return [Bare(("the place",), "1" * 64, "2" * 64) for _ in files]


def put(drafts: Drafts, draft: str, name: str, data: bytes = b"video", whole: bool = True) -> str:
    file = drafts.begin(draft, "me", name, len(data))
    drafts.append(draft, "me", file.id, 0, [data if whole else data[:-1]])
    return file.id


def test_files_become_a_session_called_after_their_cameras(drafts: Drafts, tmp_path: Path) -> None:
    draft = drafts.create("me")
    placed = [
        Placed(put(drafts, draft, "GX010012.MP4", b"front"), "video", "front"),
        Placed(put(drafts, draft, "b.mov", b"left"), "video", "left"),
        Placed(put(drafts, draft, "front.mp4", b"take"), "calibration", "front"),
        Placed(put(drafts, draft, "x.json", b"{}"), "rig", ""),
    ]
    for side in ("left", "right"):  # assembled anew at each check
        session = drafts.assemble(draft, "me", placed, {"subject": "P-1", "side": side})
    assert session.settings.side == "right"
    assert session.videos["front"].read_bytes() == b"front"
    assert session.calibration_videos["front"].read_bytes() == b"take"
    assert session.rig is not None
    kept = drafts.keep(draft, "me")
    assert kept == tmp_path / "data" / "sessions" / draft
    names = sorted(path.relative_to(kept).as_posix() for path in kept.rglob("*") if path.is_file())
    assert names == [
        "calibration/front.mp4", "front.mp4", "left.mov", "origin.json", "rig.json", "session.toml"
    ]  # fmt: skip
    assert drafts.keep(draft, "me") == kept  # whoever was interrupted does it again
    drafts.forget(draft, "me")
    assert not (tmp_path / "data" / "incoming" / draft).exists()
    with pytest.raises(NotFound):
        drafts.keep(draft, "me")


def test_a_folder_that_was_half_assembled_is_never_kept(
    drafts: Drafts, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft = drafts.create("me")
    placed = [Placed(put(drafts, draft, f"{name}.mp4"), "video", name) for name in ("front", "left")]
    drafts.assemble(draft, "me", placed, {"subject": "P-1"})
    whole = os.link

    def die(source: Path, target: Path) -> None:
        if Path(target).name == "left.mp4":
            raise KeyboardInterrupt
        whole(source, target)

    with monkeypatch.context() as broken:
        broken.setattr("records.drafts.os.link", die)
        with pytest.raises(KeyboardInterrupt):
            drafts.assemble(draft, "me", placed, {"subject": "P-1"})
    with pytest.raises(NotFound, match="checked"):
        drafts.keep(draft, "me")
    drafts.assemble(draft, "me", placed, {"subject": "P-1"})
    assert (drafts.keep(draft, "me") / "left.mp4").is_file()


def test_an_earlier_try_gives_way_until_it_is_a_recording(tmp_path: Path) -> None:
    taken: list[Path] = []
    drafts = make_drafts(tmp_path, is_taken=taken.__contains__)
    draft = drafts.create("me")
    placed = [Placed(put(drafts, draft, "a.mp4"), "video", "front")]
    for subject, shown in (("P-1", "P-1"), ("P-2", "P-2"), ("P-3", "P-2")):
        drafts.assemble(draft, "me", placed, {"subject": subject})
        kept = drafts.keep(draft, "me")
        assert f'subject = "{shown}"' in (kept / "session.toml").read_text()
        if subject == "P-2":
            taken.append(kept)


@pytest.mark.parametrize("camera", ["", "../x", "a/b", ".hidden", "Front", "x" * 40, "a b", "-a"])
def test_a_camera_has_a_plain_name(drafts: Drafts, camera: str) -> None:
    draft = drafts.create("me")
    placed = [Placed(put(drafts, draft, "a.mp4"), "video", camera)]
    with pytest.raises(UploadError, match=r"a\.mp4"):
        drafts.assemble(draft, "me", placed, {})


def test_what_is_not_whole_or_called_alike_is_refused(drafts: Drafts) -> None:
    draft = drafts.create("me")
    half = put(drafts, draft, "half.mp4", whole=False)
    with pytest.raises(UploadError, match=r"half\.mp4"):
        drafts.assemble(draft, "me", [Placed(half, "video", "front")], {})
    both = [Placed(put(drafts, draft, f"{name}.mp4"), "video", "front") for name in "ab"]
    with pytest.raises(SessionError, match=r"b\.mp4"):
        drafts.assemble(draft, "me", both, {})
    with pytest.raises(NotFound):
        drafts.assemble(draft, "somebody else", both[:1], {})


def test_a_rig_keeps_its_format_and_there_is_one(drafts: Drafts) -> None:
    draft = drafts.create("me")
    video = Placed(put(drafts, draft, "front.mp4"), "video", "front")
    rigs = [Placed(put(drafts, draft, name), "rig", "") for name in ("lab.TOML", "other.yml")]
    session = drafts.assemble(draft, "me", [video, rigs[0]], {})
    assert session.rig is not None
    assert session.rig.name == "rig.toml"
    with pytest.raises(SessionError, match="Two files"):
        drafts.assemble(draft, "me", [video, *rigs], {})
    with pytest.raises(UploadError, match=r"front\.mp4 is no rig"):
        drafts.assemble(draft, "me", [Placed(video.file_id, "rig", "")], {})


def test_only_drafts_that_nobody_touches_are_swept(drafts: Drafts, tmp_path: Path) -> None:
    draft = drafts.create("me")
    put(drafts, draft, "a.mp4")
    make_session(tmp_path / "data" / "incoming" / "by-hand")
    assert drafts.sweep() == 0
    assert drafts.sweep(older_than_s=-1) == 1
    assert (tmp_path / "data" / "incoming" / "by-hand").is_dir()


def test_a_file_that_is_removed_while_it_is_written_anew_stays_removed(tmp_path: Path) -> None:
    def strip(files: Sequence[ToStrip]) -> list[Bare | Finding]:
        drafts.remove(draft, "me", file_id)
        return copy_bare(files)

    drafts = Drafts(tmp_path / "data", Limits(10**6, keep_free_share=0.0), strip=strip)
    draft = drafts.create("me")
    file_id = put(drafts, draft, "a.mp4")
    with pytest.raises(NotFound, match=r"a\.mp4 was removed"):
        drafts.assemble(draft, "me", [Placed(file_id, "video", "front")], {})
    assert drafts.list_files(draft, "me") == ()
    left = [path for path in (tmp_path / "data" / "incoming" / draft).rglob("*") if path.is_file()]
    assert [path.name for path in left] == ["draft.json"]


def test_what_was_interrupted_between_writing_anew_and_saying_so_is_written_again(
    drafts: Drafts, tmp_path: Path
) -> None:
    draft = drafts.create("me")
    file_id = put(drafts, draft, "a.mp4", b"as it came")
    placed = [Placed(file_id, "video", "front")]
    folder = tmp_path / "data" / "incoming" / draft
    (folder / f"{file_id}.bare").write_bytes(b"half")
    session = drafts.assemble(draft, "me", placed, {})
    assert session.videos["front"].read_bytes() == b"as it came"
    assert not (folder / f"{file_id}.part").exists()


@given(
    subject=st.text(max_size=40),
    task=st.text(max_size=20),
    columns=st.integers(-(10**6), 10**6),
    square=st.floats(allow_nan=False, allow_infinity=False),
)
def test_whatever_is_typed_is_toml_that_says_the_same(
    tmp_path_factory: pytest.TempPathFactory, subject: str, task: str, columns: int, square: float
) -> None:
    path = tmp_path_factory.mktemp("toml") / "session.toml"
    board = {"columns": columns, "square_mm": square}
    write_session_toml(path, {"subject": subject, "checkerboard": board, "task": task, "visit": "2026-03-02"})
    back = tomllib.loads(path.read_text(encoding="utf-8"))
    assert back["subject"] == "".join(letter for letter in subject if letter.isprintable())
    assert back["checkerboard"] == board
    assert back["visit"].isoformat() == "2026-03-02"


# --- folders on the server -----------------------------------------------------------------------

FORM = {"subject": "P-9", "visit": "2026-03-02", "task": "", "side": "left", "preset": "standard"}


def test_a_server_folder_gets_the_forms_settings_but_keeps_its_own(site: Site, tmp_path: Path) -> None:
    bare = make_session(tmp_path / "bare")
    own = make_session(tmp_path / "own", 'subject = "P-1"\n')
    with site.app.server.test_request_context("/"):
        assert "below apply" in intake.describe_folder(str(bare))
        intake.prepare("folder", {}, str(bare), FORM, "local")
        assert tomllib.loads((bare / "session.toml").read_text())["subject"] == "P-9"
        assert intake.describe_folder(str(own)) == intake.OWN_SETTINGS
        intake.prepare("folder", {}, str(own), FORM, "local")
        assert (own / "session.toml").read_text() == 'subject = "P-1"\n'
        again = {**FORM, "subject": "P-10"}
        intake.prepare("folder", {}, str(bare), again, "local")  # the person noticed a wrong pseudonym
        assert tomllib.loads((bare / "session.toml").read_text())["subject"] == "P-10"
        assert "below apply" in intake.describe_folder(str(bare))
        (tmp_path / "elsewhere").mkdir()
        with pytest.raises(RedysError, match="No videos"):
            intake.prepare("folder", {}, str(tmp_path / "elsewhere"), FORM, "local")
        assert not list((tmp_path / "elsewhere").iterdir())
        with pytest.raises(RedysError, match="whole path"):
            intake.prepare("folder", {}, "relative/folder", FORM, "local")
        with pytest.raises(RedysError, match="pseudonym"):
            intake.prepare("folder", {}, str(make_session(tmp_path / "x")), {**FORM, "subject": " "}, "local")


def test_where_folders_are_set_aside_no_other_may_be_named(tmp_path: Path) -> None:
    inside = make_session(tmp_path / "shared" / "one")
    outside = make_session(tmp_path / "secret")
    with (
        open_site(tmp_path / "data", REDYS_SESSION_FOLDERS=str(tmp_path / "shared")) as site,
        site.app.server.test_request_context("/"),
    ):
        assert intake.prepare("folder", {}, str(inside), FORM, "local") == inside
        for path in (outside, tmp_path / "shared" / ".." / "secret", "/etc", ""):
            with pytest.raises(RedysError):
                intake.prepare("folder", {}, str(path), FORM, "local")


def test_the_checks_name_the_file_and_stop_what_cannot_work(site: Site, tmp_path: Path) -> None:
    found = intake.check(make_session(tmp_path / "bad"))
    assert found[0].level == "error"
    assert any("front.mp4" in finding.what for finding in found)
    assert all(finding.advice for finding in found if finding.level == "error")
    empty = intake.check(make_session(tmp_path / "empty", cameras=()))
    assert [finding.level for finding in empty] == ["error"]


def test_the_pieces_of_the_browser_and_the_server_agree() -> None:
    module = (Path(upload.__file__).parent.parent / "assets" / "modules" / "sending.mjs").read_text()
    assert "X-CSRFToken" in module
    assert upload.TUS_VERSION in module
