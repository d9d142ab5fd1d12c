"""Every component id of the site; nothing else spells one.

Constants for what is on a page once, small functions for what there may be many of (Dash calls those
pattern-matching ids). Grouped by room.
"""

from __future__ import annotations

from typing import Any, Final

# --- shell ---------------------------------------------------------------------------------------

LOCATION: Final = "location"
MAIN: Final = "main"
LIVE_REGION: Final = "live-region"
TOASTS: Final = "toasts"

# --- jobs ----------------------------------------------------------------------------------------

JOB_REQUEST: Final = "job-request"
JOB_DONE: Final = "job-done"
TRAY: Final = "tray"
TRAY_TICK: Final = "tray-tick"
TRAY_SEEN: Final = "tray-seen"
TRAY_BAR: Final = "tray-bar"
TRAY_TEXT: Final = "tray-text"
TRAY_RUNS: Final = "tray-runs"
TRAY_HEARD: Final = "tray-heard"


def run_panel(run_id: str | Any) -> dict[str, Any]:
    """The panel that shows one run's progress (`components.jobs.run_panel`)."""
    return {"type": "run-panel", "run": run_id}


def run_finished(run_id: str | Any) -> dict[str, Any]:
    """Store beside a run's panel: the state that the page was drawn with."""
    return {"type": "run-finished", "run": run_id}


def run_text(run_id: str | Any) -> dict[str, Any]:
    """The line of a run's panel that says how it stands."""
    return {"type": "run-text", "run": run_id}


def run_bar(run_id: str | Any) -> dict[str, Any]:
    """The progress bar of a run's panel."""
    return {"type": "run-bar", "run": run_id}


def run_steps(run_id: str | Any) -> dict[str, Any]:
    """The stages of a run in its panel."""
    return {"type": "run-steps", "run": run_id}


def run_cancel(run_id: str | Any, place: str | Any) -> dict[str, Any]:
    """Button that stops a run; ``place`` tells the tray's from the page's."""
    return {"type": "run-cancel", "run": run_id, "place": place}


def run_retry(run_id: str | Any, place: str | Any) -> dict[str, Any]:
    """Button that takes a stopped or failed run up again."""
    return {"type": "run-retry", "run": run_id, "place": place}


START_PANEL: Final = "start-panel"
START_RUN: Final = "start-run"

# --- worklist ------------------------------------------------------------------------------------

RESEARCH_SEARCH: Final = "research-search"
RESEARCH_TASK: Final = "research-task"
RESEARCH_TABLE: Final = "research-table"
RESEARCH_PAGE: Final = "research-page"
RESEARCH_PAGER: Final = "research-pager"

WORKLIST_SEARCH: Final = "worklist-search"
WORKLIST_STATE: Final = "worklist-state"
WORKLIST_SIDE: Final = "worklist-side"
WORKLIST_TASK: Final = "worklist-task"
WORKLIST_QUALITY: Final = "worklist-quality"
WORKLIST_ORDER: Final = "worklist-order"
WORKLIST_TABLE: Final = "worklist-table"
WORKLIST_PAGE: Final = "worklist-page"
WORKLIST_PAGER: Final = "worklist-pager"

# --- new recording -------------------------------------------------------------------------------

NEW_SOURCE: Final = "new-source"
NEW_UPLOAD: Final = "new-upload"
NEW_FILES: Final = "new-files"
NEW_UPLOAD_PANE: Final = "new-upload-pane"
NEW_FOLDER_PANE: Final = "new-folder-pane"
NEW_FOLDER: Final = "new-folder"
NEW_FOLDER_NOTE: Final = "new-folder-note"
NEW_FOLDER_FILES: Final = "new-folder-files"
NEW_FORM: Final = "new-form"
NEW_SUBJECT: Final = "new-subject"
NEW_VISIT: Final = "new-visit"
NEW_TASK: Final = "new-task"
NEW_SIDE: Final = "new-side"
NEW_PRESET: Final = "new-preset"
NEW_DETECTOR: Final = "new-detector"
NEW_ESTIMATOR: Final = "new-estimator"
NEW_REFERENCE: Final = "new-reference"
NEW_BOARD_COLUMNS: Final = "new-board-columns"
NEW_BOARD_ROWS: Final = "new-board-rows"
NEW_BOARD_SQUARE: Final = "new-board-square"
NEW_HAND_LENGTH: Final = "new-hand-length"
NEW_PLACES: Final = "new-places"
NEW_RIG: Final = "new-rig"
NEW_RIG_PANE: Final = "new-rig-pane"
NEW_RIG_NOTE: Final = "new-rig-note"
NEW_CHECK: Final = "new-check"
NEW_CHECKS: Final = "new-checks"
NEW_CHECKED: Final = "new-checked"
NEW_START: Final = "new-start"

# --- report, comparison --------------------------------------------------------------------------

PLAYER: Final = "player"
PLAYER_B: Final = "player-b"
PLAYHEAD: Final = "playhead"
CURVES: Final = "curves"
CURVES_FINGER: Final = "curves-finger"
CURVES_RUNS: Final = "curves-runs"
CURVES_SHIFT: Final = "curves-shift"


ALIGNMENT: Final = "alignment"
ALIGNMENT_RUNS: Final = "alignment-runs"
ALIGNMENT_EVENTS: Final = "alignment-events"
ALIGNMENT_CHOSEN: Final = "alignment-chosen"
DIFFERENCE_VIEW: Final = "difference-view"
DIFFERENCE_MEASURE: Final = "difference-measure"
DIFFERENCE_SIDE: Final = "difference-side"
DIFFERENCE_MAP: Final = "difference-map"


def heat_map(kind: str | Any, side: str | Any) -> dict[str, Any]:
    """A heat map: ``kind`` is jerk, acceleration or z."""
    return {"type": "heat-map", "kind": kind, "side": side}


def late_plot(key: str | Any) -> dict[str, Any]:
    """Where a plot is put once it is near the screen; ``key`` says which."""
    return {"type": "late-plot", "key": key}


def late_wanted(key: str | Any) -> dict[str, Any]:
    """Store: whether that plot is wanted (`assets/modules/cursors.mjs` sets it)."""
    return {"type": "late-wanted", "key": key}


def trend_finger(task: str | Any, side: str | Any) -> dict[str, Any]:
    """Choice of the finger whose angles are shown over the visits."""
    return {"type": "trend-finger", "task": task, "side": side}


def trend_angles(task: str | Any, side: str | Any) -> dict[str, Any]:
    """Where those angles are drawn."""
    return {"type": "trend-angles", "task": task, "side": side}


def trend_person(task: str | Any, side: str | Any) -> dict[str, Any]:
    """Store: whose visits they are."""
    return {"type": "trend-person", "task": task, "side": side}


# --- clinical scores ------------------------------------------------------------------------------

SCORE_PERSON: Final = "score-person"
SCORE_LIST: Final = "score-list"
SCORE_SCALE: Final = "score-scale"
SCORE_HINT: Final = "score-hint"
SCORE_VALUE: Final = "score-value"
SCORE_DATE: Final = "score-date"
SCORE_RATER: Final = "score-rater"
SCORE_BLINDED: Final = "score-blinded"
SCORE_VERSION: Final = "score-version"
SCORE_ITEMS: Final = "score-items"
SCORE_NOTE: Final = "score-note"
SCORE_ADD: Final = "score-add"
SCORE_RESULT: Final = "score-result"


def score_action(score_id: str | Any, action: str | Any) -> dict[str, Any]:
    """Button that withdraws a score or brings it back."""
    return {"type": "score-action", "score": score_id, "action": action}


# --- clocks --------------------------------------------------------------------------------------

CLOCKS: Final = "clocks"
CLOCKS_REQUEST: Final = "clocks-request"
CLOCKS_ANSWER: Final = "clocks-answer"

# --- photos --------------------------------------------------------------------------------------

PHOTOS_SOURCE: Final = "photos-source"
PHOTOS_UPLOAD_PANE: Final = "photos-upload-pane"
PHOTOS_UPLOAD: Final = "photos-upload"
PHOTOS_FILES: Final = "photos-files"
PHOTOS_FOLDER_PANE: Final = "photos-folder-pane"
PHOTOS_FOLDER: Final = "photos-folder"
PHOTOS_FOLDER_NOTE: Final = "photos-folder-note"
PHOTOS_TITLE: Final = "photos-title"
PHOTOS_SUBJECT: Final = "photos-subject"
PHOTOS_VISIT: Final = "photos-visit"
PHOTOS_LENGTH: Final = "photos-length"
PHOTOS_FOCAL: Final = "photos-focal"
PHOTOS_PRESET: Final = "photos-preset"
PHOTOS_DETECTOR: Final = "photos-detector"
PHOTOS_ESTIMATOR: Final = "photos-estimator"
PHOTOS_START: Final = "photos-start"
PHOTOS_RESULT: Final = "photos-result"

# --- rigs ----------------------------------------------------------------------------------------

RIG_KEEP: Final = "rig-keep"
RIG_KEEP_NAME: Final = "rig-keep-name"
RIG_KEEP_RUN: Final = "rig-keep-run"
RIG_KEEP_RESULT: Final = "rig-keep-result"
RIG_ADD: Final = "rig-add"
RIG_ADD_FILE: Final = "rig-add-file"
RIG_ADD_NAME: Final = "rig-add-name"
RIG_ADD_RESULT: Final = "rig-add-result"
RIG_LIST: Final = "rig-list"
RIG_ID: Final = "rig-id"
RIG_NAME: Final = "rig-name"
RIG_RENAME: Final = "rig-rename"
RIG_RETIRE: Final = "rig-retire"
RIG_RESULT: Final = "rig-result"
RIG_HEADING: Final = "rig-heading"

# --- marks on the timeline -----------------------------------------------------------------------

MARKS: Final = "marks"
MARKS_LANE: Final = "marks-lane"
MARKS_LIST: Final = "marks-list"
MARKS_OF: Final = "marks-of"
MARKS_ANSWER: Final = "marks-answer"
MARK_KIND: Final = "mark-kind"
MARK_START: Final = "mark-start"
MARK_END: Final = "mark-end"
MARK_SIDE: Final = "mark-side"
MARK_JOINT: Final = "mark-joint"
MARK_TEXT: Final = "mark-text"
MARK_RATER: Final = "mark-rater"
MARK_BLINDED: Final = "mark-blinded"
MARK_ADD: Final = "mark-add"


def mark_withdraw(mark_id: str | Any) -> dict[str, Any]:
    """Button that takes a mark off the timeline."""
    return {"type": "mark-withdraw", "mark": mark_id}


def mark_back(mark_id: str | Any) -> dict[str, Any]:
    """Button that brings a withdrawn mark back."""
    return {"type": "mark-back", "mark": mark_id}


# --- corrections ---------------------------------------------------------------------------------

CORRECTIONS: Final = "corrections"
CORRECTIONS_OF: Final = "corrections-of"
CORRECTIONS_ANSWER: Final = "corrections-answer"
CORRECT_SIDE: Final = "correct-side"
CORRECT_SIDE_REASON: Final = "correct-side-reason"
CORRECT_SIDE_GO: Final = "correct-side-go"
CORRECT_CAMERAS_TAKES: Final = "correct-cameras-takes"
CORRECT_CAMERAS_REASON: Final = "correct-cameras-reason"
CORRECT_CAMERAS_GO: Final = "correct-cameras-go"
EXCLUDE_START: Final = "exclude-start"
EXCLUDE_END: Final = "exclude-end"
EXCLUDE_SIDE: Final = "exclude-side"
EXCLUDE_REASON: Final = "exclude-reason"
EXCLUDE_GO: Final = "exclude-go"
CORRECTIONS_RUN: Final = "corrections-run"


def correct_camera(camera: str | Any) -> dict[str, Any]:
    """Field for what a camera should be called."""
    return {"type": "correct-camera", "camera": camera}


def correction_undo(correction_id: str | Any) -> dict[str, Any]:
    """Button that puts back what a correction changed."""
    return {"type": "correction-undo", "correction": correction_id}


# --- links for collaborators ---------------------------------------------------------------------

SHARE: Final = "share"
SHARE_OF: Final = "share-of"
SHARE_KEEP: Final = "share-keep"
SHARE_DAYS: Final = "share-days"
SHARE_VIEWS: Final = "share-views"
SHARE_PASSWORD: Final = "share-password"
SHARE_MAKE: Final = "share-make"
SHARE_MADE: Final = "share-made"
SHARE_ADDRESS: Final = "share-address"
SHARE_LIST: Final = "share-list"
SHARE_TICK: Final = "share-tick"
SHARE_REVOKE_ALL: Final = "share-revoke-all"


def share_revoke(link_id: str | Any) -> dict[str, Any]:
    """Button that ends a link."""
    return {"type": "share-revoke", "link": link_id}


# --- trash and retention -------------------------------------------------------------------------

KEEP_OF: Final = "keep-of"
KEEP_UNTIL: Final = "keep-until"
KEEP_GO: Final = "keep-go"
KEEP_ANSWER: Final = "keep-answer"
TRASH_GO: Final = "trash-go"
TRASH_BODY: Final = "trash-body"
TRASH_ANSWER: Final = "trash-answer"


def trash_back(recording_id: str | Any) -> dict[str, Any]:
    """Button that takes a recording out of the trash."""
    return {"type": "trash-back", "recording": recording_id}


# --- administration ------------------------------------------------------------------------------

ADMIN_USERS: Final = "admin-users"
ADMIN_USERS_ANSWER: Final = "admin-users-answer"
ADMIN_NAME: Final = "admin-name"
ADMIN_ROLE: Final = "admin-role"
ADMIN_ADD: Final = "admin-add"
ADMIN_AUDIT: Final = "admin-audit"
ADMIN_AUDIT_PAGE: Final = "admin-audit-page"
ADMIN_VERIFY: Final = "admin-verify"
ADMIN_VERIFIED: Final = "admin-verified"
ADMIN_TRASH: Final = "admin-trash"
ADMIN_TRASH_ANSWER: Final = "admin-trash-answer"
ADMIN_ERASE: Final = "admin-erase"
ADMIN_ERASE_LOOK: Final = "admin-erase-look"
ADMIN_ERASE_PLAN: Final = "admin-erase-plan"
ADMIN_ERASE_AGAIN: Final = "admin-erase-again"
ADMIN_ERASE_GO: Final = "admin-erase-go"
ADMIN_ERASE_ANSWER: Final = "admin-erase-answer"


def admin_do(action: str | Any, user_id: str | Any) -> dict[str, Any]:
    """Button that does something to a user: role, disable, enable, end or password."""
    return {"type": "admin-do", "action": action, "user": user_id}


def admin_role(user_id: str | Any) -> dict[str, Any]:
    """Choice of a user's role."""
    return {"type": "admin-role", "user": user_id}


def admin_purge(recording_id: str | Any) -> dict[str, Any]:
    """Button that removes a recording in the trash for good."""
    return {"type": "admin-purge", "recording": recording_id}


# --- one's own sign-in ---------------------------------------------------------------------------

ACCOUNT_OLD: Final = "account-old"
ACCOUNT_NEW: Final = "account-new"
ACCOUNT_GO: Final = "account-go"
ACCOUNT_ANSWER: Final = "account-answer"
FACTOR: Final = "factor"
FACTOR_SECRET: Final = "factor-secret"
FACTOR_CODE: Final = "factor-code"
FACTOR_GO: Final = "factor-go"
FACTOR_OFF_CODE: Final = "factor-off-code"
FACTOR_OFF: Final = "factor-off"
FACTOR_ANSWER: Final = "factor-answer"
