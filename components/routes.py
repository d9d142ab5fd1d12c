"""Every address of the site: templates for registering, builders for linking."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, urlencode

WORKLIST: Final = "/"
NEW: Final = "/new"
RECORDING: Final = "/recording/<recording_id>"
PRINT: Final = "/recording/<recording_id>/print"
PDF: Final = "/recording/<recording_id>/report.pdf"
CLOCKS: Final = "/recording/<recording_id>/clocks"
MARK: Final = "/recording/<recording_id>/mark"
COMPARE: Final = "/compare/<recording_a>/<recording_b>"
SUBJECT: Final = "/subject/<subject_id>"
RIGS: Final = "/rigs"
RIG: Final = "/rigs/<rig_id>"
PHOTOS: Final = "/photos"
PHOTO_SET: Final = "/photos/<recording_id>"
ABOUT: Final = "/about"

RESEARCH: Final = "/research"
RESEARCH_RECORDING: Final = "/research/recording/<coded>"
RESEARCH_COMPARE: Final = "/research/compare/<coded_a>/<coded_b>"
RESEARCH_PERSON: Final = "/research/person/<person>"
RESEARCH_DATA: Final = "/research/data/<coded>/<name>"
RESEARCH_EXPORT: Final = "/research/export/<coded>/<name>"
RESEARCH_NUMBERS: Final = "/research/numbers.zip"

ADMIN: Final = "/admin"
ACCOUNT: Final = "/account"
TRASH: Final = "/trash"

SIGN_IN: Final = "/sign-in"
SIGN_OUT: Final = "/sign-out"
HEALTH: Final = "/health"
METRICS: Final = "/metrics"
RIG_FILE: Final = "/rig-file/<rig_id>/<name>"
PHOTO_FILE: Final = "/photo-file/<run_id>/<name>"
EXPORT: Final = "/export/<run_id>/<name>"
MARKS_FILE: Final = "/marks/<recording_id>/marks.csv"
MEDIA: Final = "/media/<run_id>/<path:name>"
UPLOAD: Final = "/upload"
LOOK: Final = "/look"
VENDOR: Final = "/vendor"
LINKS: Final = "/links"
SHARED: Final = "/shared"
SHARED_OPEN: Final = "/shared/open"
SHARED_VIEW: Final = "/shared/view"
SHARED_DATA: Final = "/shared/data/<part>/<name>"
SHARED_CLOSE: Final = "/shared/close"
WORDS: Final = "/words/<language>.json"


def recording_url(recording_id: str, frame: int | None = None, joint: str | None = None) -> str:
    """The report of a recording; ``frame`` and ``joint`` open it at a moment (kept in the fragment)."""
    moment = {key: value for key, value in (("f", frame), ("j", joint)) if value is not None}
    return f"/recording/{_part(recording_id)}" + (f"#{urlencode(moment)}" if moment else "")


def print_url(recording_id: str) -> str:
    """The one-page version of a recording's report."""
    return f"/recording/{_part(recording_id)}/print"


def pdf_url(recording_id: str) -> str:
    """The same as a file."""
    return f"/recording/{_part(recording_id)}/report.pdf"


def clocks_url(recording_id: str, camera: str | None = None) -> str:
    """Where a recording's clocks are set by hand; ``camera`` opens it on that one (kept in the fragment)."""
    fragment = f"#{urlencode({'c': camera})}" if camera else ""
    return f"/recording/{_part(recording_id)}/clocks{fragment}"


def mark_url(recording_id: str) -> str:
    """Where a recording is rated without its numbers."""
    return f"/recording/{_part(recording_id)}/mark"


def marks_file_url(recording_id: str) -> str:
    """The marks of a recording as a table."""
    return f"/marks/{_part(recording_id)}/marks.csv"


def compare_url(recording_a: str, recording_b: str) -> str:
    """Two recordings side by side; ``recording_a`` is the earlier one."""
    return f"/compare/{_part(recording_a)}/{_part(recording_b)}"


def photo_set_url(recording_id: str) -> str:
    """A set of still pictures."""
    return f"/photos/{_part(recording_id)}"


def photo_file_url(run_id: str, name: str) -> str:
    """What was found in a set of pictures, as a file (`components.photos.FILES`)."""
    return f"/photo-file/{_part(run_id)}/{quote(name)}"


def result_url(kind: str, recording_id: str) -> str:
    """Where a recording of a kind shows what was found: the report, or the pictures."""
    return photo_set_url(recording_id) if kind == "photos" else recording_url(recording_id)


def subject_url(subject_id: str) -> str:
    """All visits of one person."""
    return f"/subject/{_part(subject_id)}"


def rig_url(rig_id: str) -> str:
    """A rig that is kept."""
    return f"/rigs/{_part(rig_id)}"


def rig_file_url(rig_id: str, suffix: str) -> str:
    """A kept rig as a file: ".json", ".yaml" or ".toml"."""
    return f"/rig-file/{_part(rig_id)}/rig{quote(suffix)}"


def media_url(run_id: str, name: str) -> str:
    """A file of a run that the browser streams (`records.Records.artefact` says which there are)."""
    return f"/media/{_part(run_id)}/{quote(name)}"


def export_url(run_id: str, name: str, waited: bool = False) -> str:
    """A run's numbers as a file of another program (`records.name_export` says what it is called).

    ``waited`` is asked by the page that waits for it: a failure is then told, not tried again.
    """
    return f"/export/{_part(run_id)}/{quote(name)}" + ("?waited=1" if waited else "")


def research_recording_url(coded: str) -> str:
    """A recording as researchers see it, by its code."""
    return f"/research/recording/{_part(coded)}"


def research_compare_url(earlier: str, later: str) -> str:
    """Two of them, the earlier first."""
    return f"/research/compare/{_part(earlier)}/{_part(later)}"


def research_person_url(person: str) -> str:
    """All recordings of a person, by their code."""
    return f"/research/person/{_part(person)}"


def research_data_url(coded: str) -> str:
    """Where the moving hand of a recording is, without a slash at the end."""
    return f"/research/data/{_part(coded)}"


def research_export_url(coded: str, name: str) -> str:
    """A recording's numbers as a file of another program, without anything that was typed."""
    return f"/research/export/{_part(coded)}/{quote(name)}"


def upload_url(draft_id: str) -> str:
    """Where the files of one new recording are sent."""
    return f"{UPLOAD}/{_part(draft_id)}"


def look_url(folder: str, file: str) -> str:
    """What a file of a folder on the server is."""
    return f"{LOOK}?{urlencode({'folder': folder, 'file': file})}"


def shared_link(token: str) -> str:
    """What a collaborator is sent, without the site's name; browsers keep the fragment to themselves."""
    return f"{SHARED}#{token}"


def shared_data_url(part: str) -> str:
    """Where the moving hand of a part of a shared view is, without a slash at the end."""
    return f"{SHARED}/data/{_part(part)}"


def vendor_url(name: str) -> str:
    """A browser library that the site serves itself (`components.media.VENDOR_FILES`)."""
    return f"{VENDOR}/{quote(name)}"


def _part(value: str) -> str:
    """One segment of a path: a slash in it would be another address."""
    return quote(value, safe="")


def moment_fragment(frame: int | None = None, joint: str | None = None) -> str:
    """A moment of the page one is on, for a plain link: "#f=412&j=index_pip"."""
    moment = {key: value for key, value in (("f", frame), ("j", joint)) if value is not None}
    return f"#{urlencode(moment)}"


def alignment_fragment(a_s: float, b_s: float, joint: str | None = None) -> str:
    """Two moments of a comparison laid over each other: "#al=2.1~1.37&j=index_pip"."""
    return f"#al={a_s:.4f}~{b_s:.4f}" + (f"&{urlencode({'j': joint})}" if joint else "")
