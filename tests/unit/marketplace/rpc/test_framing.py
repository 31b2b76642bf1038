"""Frames survive chunking, and nothing on the wire breaks the reader."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shuyan_protos.link.v1 import framing
from shuyan_protos.link.v1 import link_pb2 as pb
from shuyan_protos.link.v1.framing import MAX_CHUNK_BYTES, FrameError, Reader, split


def frame(size: int) -> pb.NodeFrame:
    return pb.NodeFrame(task_reply=pb.TaskReply(task_id="t", flower_message=bytes(size)))


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.one_of(st.integers(0, 100), st.integers(MAX_CHUNK_BYTES - 20, 3 * MAX_CHUNK_BYTES)), max_size=4))
def test_frames_arrive_whole_and_in_order(sizes: list[int]) -> None:
    reader: Reader[pb.NodeFrame] = Reader(pb.NodeFrame)
    arrived = []
    for size in sizes:
        for part in split(frame(size)):
            data = part.SerializeToString()
            assert len(data) <= framing.MAX_WIRE_BYTES
            if (whole := reader.take(data)) is not None:
                arrived.append(whole)
    assert arrived == [frame(size) for size in sizes]


@given(data=st.lists(st.binary(max_size=60), max_size=5))
def test_garbage_is_a_frame_error_or_a_frame(data: list[bytes]) -> None:
    reader: Reader[pb.NodeFrame] = Reader(pb.NodeFrame)
    for item in data:
        try:
            reader.take(item)
        except FrameError:
            return


def chunk(**fields: object) -> bytes:
    return pb.NodeFrame(chunk=pb.Chunk(**fields)).SerializeToString()  # type: ignore[arg-type]


@pytest.mark.parametrize("second", [
    chunk(message_id="b", index=1, data=b"x"), chunk(message_id="a", index=2, data=b"x"),
    chunk(message_id="a", index=1, data=b""), frame(1).SerializeToString(),
    chunk(message_id="a", index=1, last=True, data=b"x", sha256=b"no"),
])
def test_chunks_out_of_order_are_refused(second: bytes) -> None:
    reader: Reader[pb.NodeFrame] = Reader(pb.NodeFrame)
    assert reader.take(chunk(message_id="a", index=0, data=b"x")) is None
    with pytest.raises(FrameError):
        reader.take(second)


def test_too_large_a_message_is_refused_before_it_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "MAX_MESSAGE_BYTES", 3 * MAX_CHUNK_BYTES)
    with pytest.raises(FrameError):
        list(split(frame(3 * MAX_CHUNK_BYTES)))
    reader: Reader[pb.NodeFrame] = Reader(pb.NodeFrame)
    for index in range(3):
        reader.take(chunk(message_id="a", index=index, data=bytes(MAX_CHUNK_BYTES)))
    with pytest.raises(FrameError):
        reader.take(chunk(message_id="a", index=3, data=b"x"))
