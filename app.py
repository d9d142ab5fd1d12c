"""The web application: `make_app` puts it together; ``python app.py`` serves it on one computer.

Servers and workers take what they need by name, and only then is it made::

    gunicorn app:server                                 # the site
    celery -A app:celery_app worker --queues redys      # relays progress to pages, where REDIS_URL is set
    celery -A records.worker:celery_app worker --queues redys-cpu    # works runs, there (`records.worker`)
"""

from __future__ import annotations

import functools
import logging
import sys
from typing import Any

import dash

from components import (
    cache,
    exports,
    jobs,
    language,
    marks,
    media,
    operations,
    outages,
    pdf,
    photos,
    research,
    security,
    sessions,
    shared_view,
    shell,
    upload,
)
from components.cookies import name_cookie
from pipeline.errors import RedysError
from records import Records, get_records
from records.addresses import is_loopback
from records.broker import make_celery
from records.logs import set_up_logs
from records.worker import keep_watch
from settings import ROOT, Settings, get_settings

log = logging.getLogger(__name__)

EXIT_ERROR = 2


def make_app(settings: Settings | None = None, records: Records | None = None) -> dash.Dash:
    """The application.

    Parameters
    ----------
    settings : Settings, optional
        By default those of the surroundings.
    records : Records, optional
        By default the one of this process; pages and background jobs always ask for that one.

    Raises
    ------
    RedysError
        It must not be served as it is set up: the address is open to other machines and nobody may sign
        in, or the data folder or the database cannot be used.
    """
    settings = settings or get_settings()
    records = records or get_records()
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    app = dash.Dash(
        __name__,
        use_pages=True,
        pages_folder=str(ROOT / "pages"),
        assets_folder=str(ROOT / "assets"),
        assets_path_ignore=["^modules"],  # imported on demand; included as well, they would run twice
        external_stylesheets=["/vendor/bootstrap.min.css"],
        background_callback_manager=make_manager(settings),
        suppress_callback_exceptions=True,
        include_pages_meta=False,  # it writes addresses and titles into the page's head
        serve_locally=True,
        title="ReDys",
        update_title="",
        index_string=shell.index_page(),
        on_error=jobs.announce_error,
        enable_mcp=False,
        csrf_token_name=name_cookie(security.CSRF_COOKIE, is_loopback(settings.host)),
    )
    app.layout = shell.layout
    language.attach(app)
    security.protect(app, records, settings)
    media.add_routes(app.server, records, settings)
    exports.add_routes(app.server, records)
    research.add_routes(app.server, records)
    marks.add_routes(app.server, records)
    photos.add_routes(app.server, records)
    pdf.add_routes(app.server, records)
    shared_view.add_routes(app.server, records)
    upload.add_routes(app.server, records, settings)
    operations.add_routes(app.server, records, settings)
    outages.add_handlers(app.server)
    cache.attach(app.server, settings)
    sessions.attach(app.server, settings)
    jobs.register_callbacks(app)
    return app


def make_manager(settings: Settings) -> Any:
    """What runs background callbacks: Celery where ``REDIS_URL`` is set, else processes of this machine."""
    if settings.redis_url:
        return dash.CeleryManager(make_celery(settings.redis_url))
    import diskcache
    import multiprocess

    # A fork of a server with threads may hang; a fresh interpreter does not.
    multiprocess.set_start_method("spawn", force=True)
    folder = settings.data_dir / "cache" / "jobs"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Its own folder, never emptied by size: ending a job holds this cache's write lock for up to a second.
    store = diskcache.Cache(str(folder), eviction_policy="none", timeout=60)
    return dash.DiskcacheManager(store, expire=86_400)


@functools.lru_cache(maxsize=1)
def _app() -> dash.Dash:
    set_up_logs(get_settings().log == "json")
    app = make_app()
    operations.keep_house(get_records())
    keep_watch(get_records())  # after a restart, work goes on though nobody opens a page
    return app


def __getattr__(name: str) -> Any:
    """``app``, ``server`` and ``celery_app`` come into being when a server or worker asks for them."""
    if name == "app":
        return _app()
    if name == "server":
        return _app().server
    if name == "celery_app" and get_settings().redis_url:
        manager: Any = _app()._background_manager
        return manager.handle
    raise AttributeError(name)


def main() -> int:
    """Serve on the address of the settings until stopped."""
    settings = get_settings()
    try:
        app = _app()
    except RedysError as error:
        print(f"Stopped: {error.what}\nWhat to do: {error.advice}", file=sys.stderr)
        return EXIT_ERROR
    print(f"ReDys is at http://{settings.host}:{settings.port}/  (Ctrl-C stops it)", flush=True)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    app.server.run(host=settings.host, port=settings.port, threaded=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
