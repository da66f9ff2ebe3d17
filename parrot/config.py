"""Settings: `PARROT_*` environment variables, then the YAML file that `PARROT_CONFIG` names, then the defaults below."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError, YamlConfigSettingsSource
from yaml import YAMLError  # type: ignore[import-untyped]

from parrot.errors import ConfigurationError

PACKAGED_MODEL = "smollm2-135m-instruct"

Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Settings(BaseSettings):
    """Everything that can be set. Each field is `PARROT_<NAME>` in the environment and `<name>` in the YAML file.

    Attributes:
        redis_url: the data bus.
        celery_url: Celery's broker; by default database 1 of the same server.
        cell: the hash tag that one ServeCore leads.
        data: folder for the embedded server and logs.
        cache: folder for what can be made again, such as prepared models; shared by all projects of a user.
        engine: which engine a worker hosts.
        model: `smollm2-135m-instruct` (packaged), a Hugging Face model id or a folder.
        engine_name: a worker's name for people; host name and number by default.
        dtype: number format of weights and KV cache; `auto` is bfloat16.
        max_running: generations that an engine decodes in one batch.
        kv_gib: GiB of KV cache on a CPU; a GPU takes `gpu_memory` of its memory.
        context_tokens: longest prompt plus output.
        block_tokens: tokens of one KV block.
        gpu_memory: fraction of GPU memory that vLLM may use.
        tensor_parallel: GPUs that share one model.
        eager: no graph compilation: starts faster, decodes slower. By default on CPUs only.
        simulated_speed: how many times faster than its profile the simulated engine runs; 0 takes no time at all.
        lease_seconds: an engine that was silent for longer is given up.
        beat_seconds: how often an engine reports.
        checkpoint_seconds: how often what runs is written down, to be streamed and to be gone on from if its engine dies.
        result_seconds: how long results live after their session was closed and all ended.
        idle_seconds: an open session of which nothing was heard for so long is closed.
        unserved_seconds: after which a call fails that names a model which no engine serves.
        max_active: calls under way in the cell, beyond which apps are refused.
        max_tenant_active: calls under way of one tenant.
        max_session_calls: calls of one session.
        max_depth: generations one after the other.
        tenant_weights: of tenants that shall get more or less than others, who have 1: {"paid": 3} gives `paid` three times their share.
        isolate_tenants: engines use nothing that they have cached of one tenant's prompts for another's.
        drain_seconds: how long a stopping worker lets generations finish before it hands them back.
    """

    model_config = SettingsConfigDict(env_prefix="PARROT_", extra="forbid", frozen=True)

    redis_url: str = "redis://localhost:6379/0"
    celery_url: str | None = None
    cell: str = Field(default="main", pattern=r"^[A-Za-z0-9_\-]+$")
    data: Path = Path(".parrot")
    cache: Path = Field(default_factory=lambda: Path.home() / ".cache" / "parrot")
    engine: Literal["vllm", "simulated"] = "vllm"
    model: str = PACKAGED_MODEL
    engine_name: str | None = None
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    max_running: int = Field(default=32, ge=1)
    kv_gib: float = Field(default=2.0, gt=0)
    context_tokens: int = Field(default=4096, ge=64)
    block_tokens: int = Field(default=32, ge=1)
    gpu_memory: float = Field(default=0.9, gt=0, le=1)
    tensor_parallel: int = Field(default=1, ge=1)
    eager: bool | None = None
    simulated_speed: float = Field(default=1.0, ge=0)
    lease_seconds: float = Field(default=3.0, gt=0)
    beat_seconds: float = Field(default=1.0, gt=0)
    checkpoint_seconds: float = Field(default=0.08, gt=0)
    result_seconds: int = Field(default=3600, ge=1)
    idle_seconds: float = Field(default=24 * 3600.0, gt=0)
    unserved_seconds: float = Field(default=600.0, gt=0)
    max_active: int = Field(default=100_000, ge=1)
    max_tenant_active: int = Field(default=50_000, ge=1)
    max_session_calls: int = Field(default=50_000, ge=1)
    max_depth: int = Field(default=10_000, ge=1)
    tenant_weights: dict[str, Weight] = Field(default_factory=dict)
    isolate_tenants: bool = False
    drain_seconds: float = Field(default=20.0, ge=0)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_json: bool = False

    @cached_property
    def celery_broker(self) -> str:
        """Celery's broker URL."""
        if self.celery_url is not None:
            return self.celery_url
        url = urlsplit(self.redis_url)
        if url.scheme == "unix":
            if "@" in url.netloc:
                raise ConfigurationError("PARROT_CELERY_URL must be set: Celery cannot log in over the socket that PARROT_REDIS_URL names.")
            return f"redis+socket://{url.path}?virtual_host=1"
        tls = [option for option in url.query.split("&") if option.startswith("ssl_")]  # others are redis-py's, which Celery does not know
        return urlunsplit(url._replace(path="/1", query="&".join(tls)))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        sources: tuple[PydanticBaseSettingsSource, ...] = (init_settings, env_settings)
        if path := os.environ.get("PARROT_CONFIG"):
            if not Path(path).is_file():
                raise ConfigurationError(f"PARROT_CONFIG names {path}, which is not a file.")
            try:
                sources += (YamlConfigSettingsSource(settings_cls, yaml_file=path),)
            except (YAMLError, UnicodeError, ValueError, TypeError) as error:
                said = " ".join(str(error).split())
                raise ConfigurationError(f"PARROT_CONFIG names {path}, which has no settings in YAML, `name: value`: {said}.") from None
        return sources


def load(**arguments: object) -> Settings:
    """Read the settings; arguments that are not None win over environment and file.

    Raises:
        ConfigurationError: a setting is unknown, cannot be read or is out of range.
    """
    try:
        return Settings(**{name: value for name, value in arguments.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name, *within = map(str, first["loc"])
        of = "".join(f" of {part!r}" for part in within)
        raise ConfigurationError(f"The setting {name} (PARROT_{name.upper()}){of} is wrong: {first['msg']}.") from None
    except SettingsError:  # only what is no JSON
        raise ConfigurationError('The setting tenant_weights (PARROT_TENANT_WEIGHTS) is no JSON; write it like {"paid": 3}.') from None
