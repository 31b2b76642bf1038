"""Every touchpoint with Flower that is not its public interface, in one place.

Not public, and pinned by ``tests/contract/test_flower_adapter.py``: ``flwr.proto``, ``flwr.common.serde``,
``flwr.supercore.run`` and ``flwr.supercore.task_identity``. Messages are built and read as protobuf where arrays need
not be decoded, which keeps a round short and the agent from parsing more of the coordinator's bytes than it must.
"""

from __future__ import annotations

import io
import json
import logging
import math
import os
import re
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

# Flower reports use and looks for updates unless told not to; this must be set before it is imported.
os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ["FLWR_DISABLE_UPDATE_CHECK"] = "1"

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.common import serde
from flwr.proto.message_pb2 import Message as ProtoMessage
from flwr.proto.message_pb2 import Metadata as ProtoMetadata
from flwr.proto.recorddict_pb2 import ArrayRecord as ProtoArrayRecord
from flwr.proto.recorddict_pb2 import ConfigRecord as ProtoConfigRecord
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.run import Run as Run
from flwr.supercore.task_identity import TaskIdentity

from shuyan.federation.answers import PlainAnswer
from shuyan.federation.checks import Question
from shuyan.federation.own import OwnFigures
from shuyan.federation.ring import Floats, Words
from shuyan.federation.vectors import Segment
from shuyan.trust.canonical import canonical

if TYPE_CHECKING:
    from shuyan.federation.apps.base import FederatedApp
    from shuyan.federation.grid import SecureGrid
    from shuyan.federation.inputs import Inputs

EXPECT: Final = "expect"
CONFIG: Final = "config"
ARRAYS: Final = "arrays"
_VECTORS: Final = "vectors"
_COHORT: Final = "cohort"
_ROWS: Final = "rows"
_MASKED: Final = "masked"
_RESULT: Final = "result"
_QUESTION: Final = {EXPECT: "config_record", CONFIG: "config_record", ARRAYS: "array_record"}
_NUMPY: Final = "numpy.ndarray"
_NPY: Final = re.compile(rb"\x93NUMPY\x01\x00..\{'descr': '<f8', 'fortran_order': False, 'shape': \(([0-9, ]*)\), \} *\n", re.DOTALL)
_RING: Final = "shuyan.ring"  # how an Array of ring elements says it is not a serialised ndarray
_TTL_SECONDS: Final = 3600.0
_COORDINATOR: Final = 1

# Flower's strategies log arrays and metrics at INFO; nothing of a round belongs in a log.
logging.getLogger("flwr").setLevel(logging.WARNING)
# Message() reads these process-global values. Several runs share this process, so they are placeholders here and the
# grid stamps the real ones on every message it sends.
TaskIdentity.task_id = 1
TaskIdentity.run_id = 0
TaskIdentity.node_id = _COORDINATOR


class NodeContext(Context):  # type: ignore[misc]
    """The context a handler of a ``ClientApp`` gets on a node: Flower's, with the data and the job's parameters."""

    def __init__(self, run_id: int, inputs: Inputs, params: Any, own: OwnFigures | None = None) -> None:
        super().__init__(run_id=run_id, node_id=0, node_config={}, state=RecordDict(), run_config={})
        self.inputs = inputs
        self.params = params
        self.own = own or OwnFigures()


def flower_run_id(run_id: str) -> int:
    """Flower's 64-bit number for one of our run ids."""
    return int.from_bytes(sha256(run_id.encode()).digest()[:8], "big") >> 1


def empty_run(run_id: str) -> Run:
    """A Flower ``Run`` for a grid to show."""
    return Run.create_empty(flower_run_id(run_id))


# --- the coordinator's side --------------------------------------------------------------------------------------


def question_content(
    config: Mapping[str, Any] | None, arrays: Mapping[str, Floats] | None, expect: Mapping[str, int]
) -> RecordDict:
    """A question: configuration, arrays, and how many elements each answered vector has."""
    content = RecordDict({EXPECT: ConfigRecord(dict(expect)), CONFIG: ConfigRecord(dict(config or {}))})
    if arrays:
        content[ARRAYS] = _record(arrays)
    return content


def expected(content: RecordDict) -> dict[str, int]:
    """The lengths a question asks for.

    Raises:
        ValueError: the question says nothing about them.
    """
    record = content.get(EXPECT)
    if not isinstance(record, ConfigRecord) or not all(type(value) is int for value in record.values()):
        raise ValueError("a question needs a ConfigRecord “expect” with the length of each vector")
    return {name: int(value) for name, value in record.items()}


def question_parts(content: RecordDict) -> tuple[dict[str, Any], dict[str, Floats]]:
    """Configuration and arrays of a question made by :func:`question_content`."""
    config, arrays = content.get(CONFIG), content.get(ARRAYS)
    return (dict(config) if isinstance(config, ConfigRecord) else {},
            {name: _numpy(array) for name, array in arrays.items()} if isinstance(arrays, ArrayRecord) else {})


class Outgoing:
    """One question, serialised once and stamped per node."""

    def __init__(self, content: RecordDict, message_type: str, run_id: str, round_: int) -> None:
        # Concatenated protobuf encodings merge (protobuf.dev, "Last One Wins"), so only the metadata differs by node.
        self._content = ProtoMessage(content=serde.recorddict_to_proto(content)).SerializeToString(deterministic=True)
        self._message_type, self._run, self._round = message_type, flower_run_id(run_id), round_

    def to_node(self, number: int, message_id: str) -> bytes:
        """The serialised Flower message for the node that has this number among the participants."""
        metadata = ProtoMetadata(
            run_id=self._run, message_id=message_id, src_node_id=_COORDINATOR, dst_node_id=number, reply_to_message_id="",
            group_id=str(self._round), ttl=_TTL_SECONDS, message_type=self._message_type, created_at=time.time(),
        )
        return bytes(ProtoMessage(metadata=metadata).SerializeToString() + self._content)


def read_masked(data: bytes, segments: Sequence[Segment]) -> dict[str, Words]:
    """The ring elements of a masked reply, as read-only views.

    Raises:
        ValueError: not a message, or not exactly these vectors in these shapes.
    """
    proto = _parse(data)
    records = [item.array_record for item in proto.content.items if item.key == _MASKED]
    if len(records) != 1 or len(proto.content.items) != 1 or proto.HasField("error"):
        raise ValueError("not a masked reply")
    shapes = {segment.name: (segment.limbs, segment.length) for segment in segments}
    words: dict[str, Words] = {}
    for item in records[0].items:
        shape = shapes.pop(item.key, None)
        array = item.value
        if shape is None or array.stype != _RING or tuple(array.shape) != shape or len(array.data) != 8 * shape[0] * shape[1]:
            raise ValueError("not the vectors that were asked for")
        words[item.key] = np.frombuffer(array.data, dtype="<u8").reshape(shape)
    if shapes:
        raise ValueError("a vector is missing")
    return words


def sum_reply(question: Message, vectors: Mapping[str, Floats], cohort: int, participants: int) -> Message:
    """The one reply a strategy sees: the sums over all participants."""
    content = RecordDict({
        _VECTORS: _record(vectors),
        "metrics": MetricRecord({"cohort": cohort, "participants": participants}),
    })
    return Message(content, reply_to=question)


def sums_of(message: Message) -> dict[str, Floats]:
    """The sums in a reply made by :func:`sum_reply`."""
    return {name: _numpy(array) for name, array in message.content[_VECTORS].items()}


def server_app(app: FederatedApp) -> ServerApp:
    """A ``ServerApp`` whose main runs ``app.serve`` and leaves the result in ``context.state``."""
    built = ServerApp()

    @built.main()  # type: ignore[untyped-decorator,unused-ignore]
    def main(grid: Grid, context: Context) -> None:
        secure: SecureGrid = grid  # type: ignore[assignment,unused-ignore]
        content = app.serve(secure, secure.params, secure.progress)
        context.state[_RESULT] = ConfigRecord({"json": json.dumps(content, allow_nan=False)})

    return built


def run_server_app(app: ServerApp, grid: SecureGrid) -> dict[str, Any]:
    """Run a ``ServerApp`` made by :func:`server_app` and take out its result."""
    context = Context(run_id=grid.run.run_id, node_id=_COORDINATOR, node_config={}, state=RecordDict(), run_config={})
    app(grid, context)
    result: dict[str, Any] = json.loads(str(context.state[_RESULT]["json"]))
    return result


# --- the node's side ---------------------------------------------------------------------------------------------


def read_question(data: bytes) -> Question:
    """What a request asks: lengths, single values and one-dimensional float64 arrays, and nothing besides.

    Raises:
        ValueError: not a question.
    """
    proto = _parse(data)
    records = {item.key: item for item in proto.content.items}
    if len(records) != len(proto.content.items) or proto.HasField("error") or not {EXPECT} <= records.keys() <= _QUESTION.keys():
        raise ValueError("not a question")
    if any(item.WhichOneof("value") != _QUESTION[name] for name, item in records.items()):
        raise ValueError("not a question")
    expect = _values(records[EXPECT].config_record)
    if not expect or any(type(length) is not int for length in expect.values()):
        raise ValueError("not a question")
    config = _values(records[CONFIG].config_record) if CONFIG in records else {}
    arrays = _vectors(records[ARRAYS].array_record) if ARRAYS in records else {}
    meaning: dict[str, Any] = {
        # A number is told as its bits: canonical JSON does not tell 1 from 1.0.
        "expect": expect, "config": {name: [type(value).__name__, value.hex() if isinstance(value, float) else str(value)]
                                     for name, value in config.items()},
        # Adding nought makes one zero of the two.
        "arrays": {name: sha256((array + 0.0).tobytes()).hexdigest() for name, array in arrays.items()},
    }
    digest = sha256(canonical(meaning)).hexdigest()
    return Question(proto.metadata.message_type, {name: int(length) for name, length in expect.items()}, config,
                    {name: len(array) for name, array in arrays.items()}, f"sha256:{digest}")


def _values(record: ProtoConfigRecord) -> dict[str, bool | int | float | str]:
    values: dict[str, bool | int | float | str] = {}
    for item in record.items:
        kind = item.value.WhichOneof("value")
        if kind not in ("sint64", "uint64", "double", "bool", "string") or item.key in values:
            raise ValueError("not a question")
        value = getattr(item.value, kind)
        if (isinstance(value, float) and not math.isfinite(value)) or (type(value) is int and abs(value) > 2**53 - 1):
            raise ValueError("not a question")
        values[item.key] = value + 0.0 if isinstance(value, float) else value
    return values


def _vectors(record: ProtoArrayRecord) -> dict[str, Floats]:
    """The arrays' values, as views; NumPy's own reader is not let near what the coordinator sent."""
    vectors: dict[str, Floats] = {}
    for item in record.items:
        shape, start = _npy_header(item.value.data) or _any_header(item.value.data)
        if item.value.stype != _NUMPY or item.key in vectors or len(shape) != 1:
            raise ValueError("not a question")
        if item.value.dtype != "float64" or tuple(item.value.shape) != shape or len(item.value.data) != start + 8 * shape[0]:
            raise ValueError("not a question")
        vector = np.frombuffer(item.value.data, dtype="<f8", offset=start)
        if not np.isfinite(vector).all():
            raise ValueError("not a question")
        vectors[item.key] = vector
    return vectors


def _npy_header(data: bytes) -> tuple[tuple[int, ...], int] | None:
    """Shape and first byte of a float64 array as ``numpy.save`` writes it (format 1.0, C order); None of anything else.

    NumPy parses the header as Python, and CPython 3.11's parser fails now and then where several threads use it
    ("AST constructor recursion depth mismatch", python/cpython#106905).
    """
    found = _NPY.match(data)
    if found is None or len(data) < found.end() or found.end() != 10 + int.from_bytes(data[8:10], "little"):
        return None
    return tuple(int(extent) for extent in found[1].split(b",") if extent.strip()), found.end()


def _any_header(data: bytes) -> tuple[tuple[int, ...], int]:
    """The same for other spellings of such an array's header; raises ValueError for anything else."""
    stream = io.BytesIO(data)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("not a question")
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype != np.dtype("<f8"):
        raise ValueError("not a question")
    return shape, stream.tell()


def _record(vectors: Mapping[str, Floats]) -> ArrayRecord:
    """Vectors as ``ArrayRecord`` and ``Array`` hold them, without a copy of each and without ``numpy.save``, most of a small answer's time."""
    record = ArrayRecord()
    for name, vector in vectors.items():
        array = np.ascontiguousarray(vector, dtype="<f8")
        record[name] = Array("float64", array.shape, _NUMPY, _written_header(array.shape) + array.tobytes())
    return record


@lru_cache(maxsize=256)
def _written_header(shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return stream.getvalue()


def _numpy(array: Array) -> np.ndarray[Any, Any]:
    """What an Array holds."""
    header = _npy_header(array.data) if array.stype == _NUMPY else None
    if header is None or len(array.data) != header[1] + 8 * math.prod(header[0]):
        return np.asarray(array.numpy())
    return np.frombuffer(array.data, dtype="<f8", offset=header[1]).reshape(header[0]).copy()


def answer(
    app: FederatedApp, data: bytes, params: Any, inputs: Inputs, own: OwnFigures | None = None,
) -> PlainAnswer:
    """Run the ``ClientApp`` on one message; for the worker.

    Args:
        own: what the node's verified grant says about single departments' figures; by default the strictest.

    Raises:
        ValueError: the message or the app's reply is malformed.
        Exception: whatever the app raises; a ``ProblemError`` with a code of ``problems.APP_CODES`` may be passed on.
    """
    message = serde.message_from_proto(_parse(data))
    reply_ = app.client_app(message, NodeContext(message.metadata.run_id, inputs, params, own))
    vectors, cohort = reply_.content.get(_VECTORS), reply_.content.get(_COHORT)
    if not isinstance(vectors, ArrayRecord) or not isinstance(cohort, MetricRecord):
        raise ValueError("a handler must return reply(message, vectors, cohort)")
    rows = reply_.content.get(_ROWS)
    used = rows["rows"] if isinstance(rows, ConfigRecord) else b""
    if not isinstance(used, bytes):
        raise ValueError("rows are handed over as bytes")
    return PlainAnswer({name: _numpy(array) for name, array in vectors.items()}, int(cohort["rows"]), used)


def reply(message: Message, vectors: Mapping[str, Floats], cohort: int, rows: bytes = b"") -> Message:
    """A handler's answer: plain float64 vectors and the number of rows they are about.

    Args:
        rows: which rows, as :mod:`shuyan.federation.rowsets` writes it, for the node's differencing guard; it never
            leaves the node. Empty: all rows of the resource.
    """
    content = RecordDict({
        _VECTORS: _record(vectors),
        _COHORT: MetricRecord({"rows": int(cohort)}),
        _ROWS: ConfigRecord({"rows": rows}),
    })
    return Message(content, reply_to=message)


def arrays_of(message: Message) -> dict[str, Floats]:
    """The arrays that came with a question."""
    record = message.content.get(ARRAYS)
    return {name: _numpy(array) for name, array in record.items()} if isinstance(record, ArrayRecord) else {}


def masked_reply(data: bytes, words: Mapping[str, Words]) -> bytes:
    """The serialised reply to the question ``data``, holding ring elements and nothing else."""
    question = _parse(data).metadata
    metadata = ProtoMetadata(
        run_id=question.run_id, message_id="", src_node_id=question.dst_node_id, dst_node_id=question.src_node_id,
        reply_to_message_id=question.message_id, group_id=question.group_id, ttl=_TTL_SECONDS,
        message_type=question.message_type, created_at=time.time(),
    )
    proto = ProtoMessage(metadata=metadata)
    record: ProtoArrayRecord = proto.content.items.add(key=_MASKED).array_record
    for name in sorted(words):
        array = words[name]
        item = record.items.add(key=name)
        item.value.dtype, item.value.stype = "uint64", _RING
        item.value.shape.extend(array.shape)
        item.value.data = array.astype("<u8", copy=False).tobytes()
    return bytes(proto.SerializeToString())


def _parse(data: bytes) -> ProtoMessage:
    try:
        proto: ProtoMessage = ProtoMessage.FromString(data)
    except Exception:  # the protobuf runtimes raise different things
        raise ValueError("not a Flower message") from None
    if not proto.HasField("content"):
        raise ValueError("not a Flower message with content")
    return proto
