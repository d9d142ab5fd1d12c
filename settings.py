"""Every setting of the program that comes from its surroundings: one class, one place.

Each is an environment variable with the prefix ``REDYS_`` (or a line in ``.env``), but for
``DATABASE_URL``, ``REDIS_URL`` and ``SECRET_KEY``, which are called what hosting services call them, and
``PROMETHEUS_MULTIPROC_DIR``, which the library of that name reads itself.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parent


class Settings(BaseSettings):
    """The settings, their defaults and their reasons."""

    model_config = SettingsConfigDict(env_prefix="REDYS_", env_file=".env", extra="ignore", frozen=True)

    data_dir: Path = Field(
        default=ROOT / "data",
        description="Recordings, runs, the database and caches. One folder, so that one backup has all.",
    )
    models_dir: Path = Field(
        default=ROOT / "models",
        description="Hand models and network weights: the built-in ones and the user's own.",
    )
    node_modules: Path = Field(
        default=ROOT / "node_modules",
        description="Browser modules (three.js, Bootstrap, tus-js-client) as npm installed them.",
    )
    host: str = Field(
        default="127.0.0.1",
        description="Address to serve on. Anything but loopback demands sign-in.",
    )
    port: int = Field(default=8050, ge=1, le=65535, description="Port to serve on.")
    database_url: str | None = Field(
        default=None,
        validation_alias="DATABASE_URL",
        description="SQLAlchemy URL; by default SQLite in data_dir, enough for one clinic's computer.",
    )
    redis_url: str | None = Field(
        default=None,
        validation_alias="REDIS_URL",
        description="Celery and Redis for more than one machine; by default Diskcache on this one.",
    )
    secret_key: SecretStr | None = Field(
        default=None,
        validation_alias="SECRET_KEY",
        description="Signs sessions and job handles; by default made once and kept in data_dir.",
    )
    baseline: Path | None = Field(
        default=None,
        description="Reference to measure against (`python -m pipeline baseline build`); by default the "
        "built-in simulated one, which is for trying the software only.",
    )
    reliability: Path | None = Field(
        default=None,
        description="Measurement error by the clinic's own test-retest study (`python -m pipeline "
        "reliability`); without it no change between visits is called better or worse.",
    )
    max_upload_bytes: int = Field(
        default=20 * 2**30,
        gt=0,
        description="Largest single upload: three minutes of 4K are under 4 GiB, so 20 is a mistake.",
    )
    machine: str | None = Field(
        default=None,
        description="What this machine is called among several; by default its host name.",
    )
    upload_quota_bytes: int = Field(
        default=100 * 2**30,
        gt=0,
        description="Of one person's unfinished uploads together; without sign-in there is one person alone.",
    )
    upload_disk_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Share of the disk for everybody's unfinished uploads together.",
    )
    keep_free_share: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="Share of the disk that stays free: a full one stops the database too.",
    )
    workers: int = Field(
        default=0,
        ge=0,
        description="Processes for the networks; 0 takes as many as there are cores.",
    )
    split: Literal["machines", "always", "never"] = Field(
        default="machines",
        description="Whether workers with nothing to do take cameras of runs at work: of those on other "
        "machines, of all, or of none.",
    )
    detector: str = Field(
        default="mediapipe",
        description="Finds hands where session.toml names no detector; the built-in one needs no weights.",
    )
    estimator: str = Field(
        default="mediapipe",
        description="Finds joints where session.toml names no estimator; see `python -m pipeline models`.",
    )
    estimator_weights: Path | None = Field(
        default=None,
        description="Weights of the estimator redys from a training of one's own (`python -m pipeline "
        "train`); by default those that come with the program.",
    )
    log: Literal["text", "json"] = Field(
        default="text",
        description="json: a line for each event and request, with identifiers and numbers alone.",
    )
    second_factor: Literal["administrators", "optional"] = Field(
        default="administrators",
        description="Who must sign in with a code as well; everybody else may.",
    )
    idle_minutes: int = Field(
        default=30,
        ge=5,
        le=720,
        description="After so many minutes without anything that a person does, a sign-in ends.",
    )
    metrics_token: SecretStr | None = Field(
        default=None,
        description="Lets Prometheus read /metrics from another machine (as a bearer token).",
    )
    metrics_dir: Path | None = Field(
        default=None,
        validation_alias="PROMETHEUS_MULTIPROC_DIR",
        description="Where several server processes keep their figures together; emptied at the start.",
    )
    session_folders: Path | None = Field(
        default=None,
        description="Folder on the server whose sub-folders may be picked as recordings on /new.",
    )

    store_url: str | None = Field(
        default=None,
        description="Store of recordings and runs for machines without a disk in common: s3://bucket/folder "
        "or file:///folder. By default the data folder itself.",
    )
    store_endpoint: str | None = Field(
        default=None,
        description="Address of an S3-compatible server that is not Amazon's; keys come from AWS_*.",
    )
    store_cache_bytes: int = Field(
        default=200 * 2**30,
        gt=0,
        description="What a machine keeps of the store at most; what was not used for longest goes.",
    )

    @property
    def effective_database_url(self) -> str:
        """The database to open: the one given, or SQLite in ``data_dir``."""
        return self.database_url or f"sqlite:///{(self.data_dir / 'redys.sqlite3').as_posix()}"


@functools.lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings, read once. Tests clear the cache with ``get_settings.cache_clear()``."""
    return Settings()
