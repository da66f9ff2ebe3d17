"""What vLLM's engine process says about its KV cache, over a socket that nobody else can reach.

There is no task that reads: ZeroMQ's own thread gathers what comes, and whoever wants the news takes it from there.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from tempfile import mkdtemp
from typing import Any

import structlog

from parrot.errors import EngineError

log = structlog.get_logger("parrot.engine")

_CONNECT_MS = 5000


class VllmEvents:
    """The hearing end. Used by one thread at a time."""

    def __init__(self) -> None:
        self._folder = mkdtemp(prefix="parrot-kv-")
        self._endpoint = f"ipc://{self._folder}/events"
        self._context: Any = None
        self._socket: Any = None

    def config(self) -> Any:
        """What vLLM needs to know to be heard."""
        from vllm.config.kv_events import KVEventsConfig

        return KVEventsConfig(enable_kv_cache_events=True, publisher="zmq", endpoint=self._endpoint, buffer_steps=1)

    def connect(self) -> None:
        """Begin to listen to an engine that has been loaded and has not generated yet.

        Raises:
            EngineError: it does not answer.
        """
        import zmq
        from msgspec.msgpack import Decoder
        from vllm.distributed.kv_events import KVEventBatch

        self._decoder = Decoder(KVEventBatch)
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.RCVHWM, 0)  # keep all that was not read yet
        self._socket.setsockopt(zmq.SUBSCRIBE, b"")
        connected = self._socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        self._socket.connect(self._endpoint)
        answers = connected.poll(_CONNECT_MS)
        self._socket.disable_monitor()
        self._remove_folder()  # those who are connected stay so, and a worker that is killed leaves nothing behind
        if not answers:
            raise EngineError("vLLM does not publish its KV cache events. Start the worker again.")

    def batches(self) -> Iterator[tuple[int, Sequence[Any]]]:
        """What has come since the last time: numbers, which grow by one, and vLLM's events."""
        import zmq
        from msgspec import DecodeError

        while self._socket is not None:
            try:
                _, number, payload = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return  # nothing more has come yet
            try:
                yield int.from_bytes(number, "big"), self._decoder.decode(payload).events
            except DecodeError as error:  # it is left out: the next number shows that one is missing
                log.warning("KV cache events were not understood", error=str(error))

    def close(self) -> None:
        """Listen no more. Safe to call twice."""
        if self._context is not None:
            self._context.destroy(linger=0)
            self._socket = self._context = None
        self._remove_folder()

    def _remove_folder(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
