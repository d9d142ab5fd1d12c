"""The walls of the house: who may import whom, what the web process never loads, who spells what."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ORDER = ["pages", "components", "records", "pipeline"]
WEB_ONLY = {"dash", "dash_bootstrap_components", "flask", "flask_login", "flask_caching", "plotly"}
NETWORKS = ("torch", "cv2", "smplx", "ultralytics", "torchvision", "ai_edge_litert")
EXPORTS = ("ezc3d", "pynwb", "ndx_pose", "h5py", "fhir", "pygltflib")
HEAVY = NETWORKS + EXPORTS


def modules_of(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


@functools.cache
def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    """Everything that a file says, parsed once for all tests."""
    return tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


@functools.cache
def imports_of(path: Path) -> frozenset[str]:
    """First names of everything that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return frozenset(found)


@pytest.mark.parametrize("room", ORDER)
def test_imports_run_one_way(room: str) -> None:
    forbidden = {"app", *ORDER[: ORDER.index(room)]}
    assert modules_of(room)
    wrong = {path.name: sorted(imports_of(path) & forbidden) for path in modules_of(room)}
    assert {name: found for name, found in wrong.items() if found} == {}


@pytest.mark.parametrize("room", ["records", "pipeline"])
def test_only_pages_and_components_know_of_the_web(room: str) -> None:
    wrong = {path.name: sorted(imports_of(path) & WEB_ONLY) for path in modules_of(room)}
    assert {name: found for name, found in wrong.items() if found} == {}


def test_only_records_opens_the_database() -> None:
    database = {"alembic", "psycopg", "sqlite3"}
    for room in ("pages", "components", "pipeline"):
        for path in modules_of(room):
            assert not imports_of(path) & database, path


def test_settings_come_from_one_place() -> None:
    """Environment variables are read by `settings`, and by the few that hand an environment on."""
    passing_on = {"supervise.py", "checking.py", "__main__.py"}
    for room in ORDER[:3]:
        for path in modules_of(room):
            if path.name not in passing_on:
                assert "os.environ" not in path.read_text(encoding="utf-8"), path


def test_no_page_or_component_spells_a_plain_id_itself() -> None:
    """Ids come from `components.ids`; a page's own spelling would drift from the callback's."""
    for room in ("pages", "components"):
        for path in modules_of(room):
            if path.name == "ids.py":
                continue
            for node in nodes_of(path):
                if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                    continue
                if node.func.id in ("Input", "Output", "State") and node.args:
                    first = node.args[0]
                    assert not (isinstance(first, ast.Constant) and isinstance(first.value, str)), (
                        f"{path.name}:{node.lineno} spells {first.value!r}"
                    )


def run_python(code: str, tmp_path: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "REDYS_DATA_DIR": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


BLOCK = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocker())
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What a web process says of itself that can load nothing heavy, by the names of what was asked."""
    data = tmp_path_factory.mktemp("served")
    out = run_python(
        f"BLOCKED = {HEAVY!r}{BLOCK}"
        "import app, os\n"
        f"print('made:', os.listdir({str(data)!r}))\n"
        "import dash\n"
        "from components import intake\n"
        "dashboard = app.make_app()\n"
        "client = dashboard.server.test_client()\n"
        "print('answers:', client.get('/').status_code, client.get('/health').status_code)\n"
        "print('pages:', sorted(page['module'] for page in dash.page_registry.values()))\n"
        "from pages import about\n"
        "said = str(about.layout()) + str(intake.settings_form(()))\n"
        "print('unsaid:', [name for name in ('HaMeR', 'Hamba', 'WiLoR', 'MediaPipe') if name not in said])\n"
        f"print('loaded:', [name for name in {HEAVY!r} if name in sys.modules])\n",
        data,
    )
    pairs = (line.partition(": ") for line in out.splitlines())
    return {name: value for name, _, value in pairs}


def test_the_web_process_serves_every_page_without_torch_or_opencv(served: dict[str, str]) -> None:
    assert served["answers"] == "200 200"
    assert "pages.worklist" in served["pages"]
    assert served["loaded"] == "[]"


def test_the_lists_of_networks_are_made_without_loading_one(served: dict[str, str]) -> None:
    assert (served["unsaid"], served["loaded"]) == ("[]", "[]")


def test_importing_the_app_makes_nothing(served: dict[str, str]) -> None:
    assert served["made"] == "[]"


def test_the_pipeline_runs_without_the_web(tmp_path: Path) -> None:
    blocked = (*sorted(WEB_ONLY), "records", "components", "pages", "app", "sqlalchemy")
    out = run_python(
        f"BLOCKED = {blocked!r}{BLOCK}"
        "import pipeline.__main__, pipeline.run, pipeline.session, pipeline.results, pipeline.checks\n"
        "print('free')\n",
        tmp_path,
    )
    assert out.strip() == "free"


def test_a_supervisor_needs_neither_the_web_nor_the_numbers(tmp_path: Path) -> None:
    blocked = (*sorted(WEB_ONLY), *HEAVY, "scipy", "pandas")
    out = run_python(f"BLOCKED = {blocked!r}{BLOCK}import records.supervise\nprint('free')\n", tmp_path)
    assert out.strip() == "free"
