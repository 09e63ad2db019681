"""The decode step of a Llama as one compiled function, for one to eight positions at once.

Every thread runs `step` from end to end; inside it they share out the rows of each product by
tickets and meet at barriers, so that no threading layer is needed and a phase costs less than a
microsecond. Weights are read once, whatever the number of positions. A sum is always taken in
the same order, so logits do not depend on the number of threads or of positions.

Formats of weights, told by their type: float32; bfloat16 as uint16; int8 with a scale per row.
Knows arrays only: no files, no checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic as numba_intrinsic

SPAN = 8
"""Positions that one step takes at most."""
BLOCK = 128
"""Positions in one block of the cache; one unit of work in attention."""
LANES = 16
"""Numbers in a vector; LLVM splits it where the processor has shorter ones."""
ROWS = 16
"""Rows of a matrix that a thread takes at a time."""

Q, K, V, OUTPUT, GATE, UP, DOWN = range(7)
"""The matrices of a layer, in `Weights.places`."""

COUNT, ABORTED, TICKETS = 0, 8, 16
"""Places in `Buffers.sync`, each in a cache line of its own."""
LINE = 8
PATIENCE = 2000
"""How often a thread looks for the others before it lets another process run."""

Function = TypeVar("Function", bound=Callable[..., Any])
Arguments = ParamSpec("Arguments")
Intrinsic = Callable[[Callable[Concatenate[Any, Arguments], Any]], Callable[Arguments, Any]]

compiled: Callable[[Function], Function] = njit(
    cache=True, nogil=True, fastmath=True, error_model="numpy"
)
intrinsic: Intrinsic[...] = numba_intrinsic(prefer_literal=True)


class Weights(NamedTuple):
    """What a checkpoint knows. L layers, C hidden, V tokens."""

    codes: Any
    """Every matrix, row by row: float32, uint16 (bfloat16) or int8."""
    scales: Any
    """float32; a number of `codes` is a code times the scale of its row."""
    places: Any
    """int64 [L + 1, 7, 2]: where codes and scales of a matrix begin; last are head, embedding."""
    norms: Any
    """float32 [2 L + 1, C]: before attention, before the MLP, ..., at the end."""
    cosines: Any
    sines: Any
    """float32 [context, D / 2]: the rotation of each position."""
    epsilon: Any


class Buffers(NamedTuple):
    """Where a step works. H heads, G key-value heads, D head size, I intermediate, T threads."""

    sync: Any
    """int64: see COUNT, ABORTED, TICKETS."""
    cache: Any
    """Keys [D, BLOCK] and values [BLOCK, D] in [blocks, L, G, 2, BLOCK * D]."""
    stream: Any
    """float32 [SPAN, C]: the residual stream."""
    queries: Any
    """float32 [SPAN, H, D]"""
    partial: Any
    """float32 [blocks, SPAN, H, D + 2]: attention to one block; its sum of weights; its maximum."""
    activated: Any
    """float32 [SPAN, I]"""
    normed: Any
    """float32 [T, SPAN, C]"""
    scratch: Any
    """float32 [T, 2 SPAN + BLOCK]"""
    logits: Any
    """float32 [SPAN, V]"""


# Vectors, in LLVM's own words


def _vector(element: ir.Type) -> ir.VectorType:
    return ir.VectorType(element, LANES)


FLOATS = _vector(ir.FloatType())
INTS = _vector(ir.IntType(32))


def _splat(value: int) -> ir.Constant:
    return ir.Constant(INTS, [value] * LANES)


def _address(builder: Any, pointer: Any, index: Any, vector: ir.VectorType) -> Any:
    return builder.bitcast(builder.gep(pointer, [index]), vector.as_pointer())


def _load(builder: Any, pointer: Any, index: Any, element: ir.Type) -> Any:
    vector = _vector(element)
    return builder.load(_address(builder, pointer, index, vector), align=element.width // 8)


def _widened(builder: Any, dtype: Any, codes: Any, index: Any) -> Any:
    """Sixteen codes as floats."""
    if dtype == types.float32:
        return builder.load(_address(builder, codes, index, FLOATS), align=4)
    if dtype == types.uint16:
        halves = builder.zext(_load(builder, codes, index, ir.IntType(16)), INTS)
        return builder.bitcast(builder.shl(halves, _splat(16)), FLOATS)
    integers = builder.sext(_load(builder, codes, index, ir.IntType(8)), INTS)
    return builder.sitofp(integers, FLOATS)


def _multiply_add(builder: Any, left: Any, right: Any, total: Any) -> Any:
    name = f"llvm.fma.v{LANES}f32"
    kind = ir.FunctionType(FLOATS, [FLOATS] * 3)
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(function, [left, right, total])


def _sum_lanes(builder: Any, vector: Any) -> Any:
    """The sum of sixteen lanes, by halves."""
    width = LANES
    while width > 1:
        width //= 2
        mask = [
            ir.Constant(ir.VectorType(ir.IntType(32), width), list(part))
            for part in (range(width), range(width, 2 * width))
        ]
        low, high = (builder.shuffle_vector(vector, vector, half) for half in mask)
        vector = builder.fadd(low, high)
    return builder.extract_element(vector, ir.Constant(ir.IntType(32), 0))


@intrinsic
def dot(typing: Any, codes: Any, place: Any, x: Any, first: Any, width: Any, count: Any) -> Any:
    """sum_i codes[place + i] * x[first + p, i] for `count` positions p, i < width.

    Reads `width` codes once. Four accumulators of sixteen lanes for each position hide the
    latency of the multiply-add; `width` is a multiple of sixteen.
    """
    positions = count.literal_value
    signature = types.UniTuple(types.float32, positions)(codes, place, x, first, width, count)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        code_array = context.make_array(signature.args[0])(context, builder, arguments[0])
        x_array = context.make_array(signature.args[2])(context, builder, arguments[2])
        start = builder.gep(code_array.data, [arguments[1]])
        stride = cgutils.unpack_tuple(builder, x_array.shape)[-1]
        rows = [
            builder.gep(
                x_array.data,
                [builder.mul(stride, builder.add(arguments[3], arguments[3].type(position)))],
            )
            for position in range(positions)
        ]
        zero = ir.Constant(FLOATS, [0.0] * LANES)
        totals = [
            [cgutils.alloca_once_value(builder, zero) for _ in range(4)] for _ in range(positions)
        ]

        def add(index: Any, lane: int) -> None:
            weight = _widened(builder, codes.dtype, start, index)
            for position in range(positions):
                total = totals[position][lane]
                value = builder.load(_address(builder, rows[position], index, FLOATS), align=4)
                builder.store(_multiply_add(builder, weight, value, builder.load(total)), total)

        integer = arguments[4].type
        whole = builder.and_(arguments[4], integer(-4 * LANES))
        with cgutils.for_range_slice(builder, integer(0), whole, integer(4 * LANES)) as (index, _):
            for lane in range(4):
                add(builder.add(index, integer(lane * LANES)), lane)
        with cgutils.for_range_slice(builder, whole, arguments[4], integer(LANES)) as (index, _):
            add(index, 0)
        sums = []
        for lanes in totals:
            a, b, c, d = (builder.load(total) for total in lanes)
            sums.append(_sum_lanes(builder, builder.fadd(builder.fadd(a, b), builder.fadd(c, d))))
        return context.make_tuple(builder, signature.return_type, sums)

    return signature, generate


@intrinsic
def widened(typing: Any, code: Any) -> Any:
    """One code as a float; vectorised where it stands in a loop."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if code == types.float32:
            return arguments[0]
        if code == types.uint16:
            bits = builder.shl(builder.zext(arguments[0], ir.IntType(32)), ir.IntType(32)(16))
            return builder.bitcast(bits, ir.FloatType())
        return builder.sitofp(arguments[0], ir.FloatType())

    return types.float32(code), generate


@intrinsic
def narrowed(typing: Any, value: Any, like: Any) -> Any:
    """A float as float32 or as bfloat16 in uint16, rounded to even, as the array `like` holds."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if like.dtype == types.float32:
            return arguments[0]
        integer = ir.IntType(32)
        bits = builder.bitcast(arguments[0], integer)
        odd = builder.and_(builder.lshr(bits, integer(16)), integer(1))
        rounded = builder.add(bits, builder.add(odd, integer(0x7FFF)))
        return builder.trunc(builder.lshr(rounded, integer(16)), ir.IntType(16))

    return like.dtype(types.float32, like), generate


# Threads


def _place(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [index])


@intrinsic
def fetch_add(typing: Any, array: Any, index: Any, value: Any) -> Any:
    """Adds atomically and returns what was there before."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _place(context, builder, signature.args[0], arguments[0], arguments[1])
        return builder.atomic_rmw("add", place, arguments[2], "seq_cst")

    return types.int64(array, types.intp, types.int64), generate


@intrinsic
def load_now(typing: Any, array: Any, index: Any) -> Any:
    """What other threads have written by now."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _place(context, builder, signature.args[0], arguments[0], arguments[1])
        return builder.load_atomic(place, "seq_cst", 8)

    return types.int64(array, types.intp), generate


@intrinsic
def let_others_run(typing: Any) -> Any:
    """POSIX sched_yield."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.IntType(32), [])
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])

    return types.int32(), generate


@compiled
def meet(sync: Any, target: Any) -> Any:
    """Waits until all threads have arrived, `target` arrivals in all.

    Raises RuntimeError when the step was given up.
    """
    fetch_add(sync, COUNT, 1)
    looks = 0
    while load_now(sync, COUNT) < target:
        looks += 1
        if looks > PATIENCE:
            let_others_run()
            if load_now(sync, ABORTED) != 0:
                raise RuntimeError
    return target


@compiled
def take(sync: Any, phase: Any) -> Any:
    """The next unit of work of a phase."""
    return fetch_add(sync, TICKETS + LINE * phase, 1)


# The parts of a layer


@compiled
def project(
    weights: Any, layer: Any, matrix: Any, row: Any, x: Any, width: Any, count: Any, out: Any
) -> None:
    """out[p] = W[row] . x[p] for `count` positions, W one matrix of a layer."""
    place = weights.places[layer, matrix, 0] + row * width
    codes = weights.codes
    if count == 1:
        out[0] = dot(codes, place, x, 0, width, 1)[0]
    elif count == 2:
        out[0], out[1] = dot(codes, place, x, 0, width, 2)
    else:
        for first in range(0, count, 4):
            a, b, c, d = dot(codes, place, x, first, width, 4)
            out[first], out[first + 1], out[first + 2], out[first + 3] = a, b, c, d
    if weights.scales.size > 0:
        scale = weights.scales[weights.places[layer, matrix, 1] + row]
        for position in range(count):
            out[position] *= scale


@compiled
def normalize(x: Any, weight: Any, epsilon: Any, count: Any, out: Any) -> None:
    """RMS norm: out = x / sqrt(mean(x^2) + epsilon) * weight."""
    width = weight.size
    for position in range(count):
        square = np.float32(0)
        for i in range(width):
            square += x[position, i] * x[position, i]
        factor = np.float32(1) / np.sqrt(square / np.float32(width) + epsilon)
        for i in range(width):
            out[position, i] = x[position, i] * factor * weight[i]


@compiled
def embed(weights: Any, ids: Any, out: Any) -> None:
    """out[p] = the row of ids[p] in the embedding."""
    last = weights.places.shape[0] - 1
    width = out.shape[1]
    for position in range(ids.size):
        place = weights.places[last, 1, 0] + ids[position] * width
        scale = np.float32(1)
        if weights.scales.size > 0:
            scale = weights.scales[weights.places[last, 1, 1] + ids[position]]
        for i in range(width):
            out[position, i] = widened(weights.codes[place + i]) * scale


@compiled
def attend(
    cache: Any, block: Any, layer: Any, group: Any, query: Any, end: Any, scores: Any, out: Any
) -> None:
    """Attention of one query to the first `end` positions of a block.

    scores = q . K / sqrt(D); out[:D] = sum_t exp(s_t - max) V_t; out[D], out[D + 1] = the sum of
    the exponentials, max. Reads 2 D numbers of the cache for each position.
    """
    size = query.size
    keys = cache[block, layer, group, 0]
    values = cache[block, layer, group, 1]
    scores[:end] = np.float32(0)
    for d in range(size):
        q = query[d]
        for t in range(end):
            scores[t] += q * widened(keys[d * BLOCK + t])
    highest = np.float32(-np.inf)
    for t in range(end):
        highest = max(highest, scores[t])
    total = np.float32(0)
    out[:] = np.float32(0)
    for t in range(end):
        weight = np.exp(scores[t] - highest)
        total += weight
        for d in range(size):
            out[d] += weight * widened(values[t * size + d])
    out[size] = total
    out[size + 1] = highest


@compiled
def combine(partial: Any, position: Any, head: Any, blocks: Any, out: Any) -> None:
    """Attention to the whole context from that to its blocks."""
    size = out.size
    highest = np.float32(-np.inf)
    for block in range(blocks):
        highest = max(highest, partial[block, position, head, size + 1])
    total = np.float32(0)
    out[:] = np.float32(0)
    for block in range(blocks):
        part = partial[block, position, head]
        factor = np.exp(part[size + 1] - highest)
        total += factor * part[size]
        for d in range(size):
            out[d] += factor * part[d]
    for d in range(size):
        out[d] /= total


@compiled
def rotate(low: Any, high: Any, cosine: Any, sine: Any) -> Any:
    """The rotary embedding of one pair of numbers."""
    return low * cosine - high * sine, high * cosine + low * sine


@compiled
def step(
    thread: Any, threads: Any, met: Any, weights: Any, buffers: Any, ids: Any, start: Any, last: Any
) -> None:
    """Appends `ids` at position `start`; the logits of the `last` ones go to `buffers.logits`.

    x = embed(ids); for each layer: x += O attention(rope(Q n), rope(K n), V n) with n = norm(x),
    x += Down(silu(Gate m) * Up m) with m = norm(x); logits = Head norm(x). `met` is how many
    arrivals at barriers there were before.
    """
    sync, cache, stream = buffers.sync, buffers.cache, buffers.stream
    queries, partial, activated = buffers.queries, buffers.partial, buffers.activated
    normed, scratch = buffers.normed[thread], buffers.scratch[thread]
    first, second, scores = scratch[:SPAN], scratch[SPAN : 2 * SPAN], scratch[2 * SPAN :]
    count, hidden = ids.size, stream.shape[1]
    layers, groups = cache.shape[1], cache.shape[2]
    heads, size = queries.shape[1], queries.shape[2]
    half, sharing, inner = size // 2, heads // groups, activated.shape[1]
    pairs = min(8, half)
    blocks = (start + count + BLOCK - 1) // BLOCK
    factor = np.float32(1) / np.sqrt(np.float32(size))
    attended = normed.reshape(-1)[: SPAN * heads * size].reshape((SPAN, heads, size))
    flat = attended.reshape((SPAN, heads * size))
    states = normed.reshape(-1)[: SPAN * hidden].reshape((SPAN, hidden))

    if thread == 0:
        embed(weights, ids, stream)
    met = meet(sync, met + threads)
    for layer in range(layers):
        phase = 4 * layer

        normalize(stream, weights.norms[2 * layer], weights.epsilon, count, states)
        units = (heads + 2 * groups) * (half // pairs)
        unit = take(sync, phase)
        while unit < units:
            head, part = divmod(unit, half // pairs)
            for i in range(part * pairs, (part + 1) * pairs):
                if head < heads:
                    matrix, row = Q, head * size + i
                elif head < heads + groups:
                    matrix, row = K, (head - heads) * size + i
                else:
                    matrix, row = V, (head - heads - groups) * size + i
                project(weights, layer, matrix, row, states, hidden, count, first)
                project(weights, layer, matrix, row + half, states, hidden, count, second)
                for position in range(count):
                    at = start + position
                    block, slot = divmod(at, BLOCK)
                    low, high = first[position], second[position]
                    if matrix != V:
                        low, high = rotate(low, high, weights.cosines[at, i], weights.sines[at, i])
                    if matrix == Q:
                        queries[position, head, i] = low * factor
                        queries[position, head, i + half] = high * factor
                    elif matrix == K:
                        keys = cache[block, layer, head - heads, 0]
                        keys[i * BLOCK + slot] = narrowed(low, cache)
                        keys[(i + half) * BLOCK + slot] = narrowed(high, cache)
                    else:
                        values = cache[block, layer, head - heads - groups, 1]
                        values[slot * size + i] = narrowed(low, cache)
                        values[slot * size + i + half] = narrowed(high, cache)
            unit = take(sync, phase)
        met = meet(sync, met + threads)

        unit = take(sync, phase + 1)
        while unit < groups * blocks:
            block, group = divmod(unit, groups)
            for head in range(group * sharing, (group + 1) * sharing):
                for position in range(count):
                    end = min(start + position + 1 - block * BLOCK, BLOCK)
                    if end > 0:
                        query = queries[position, head]
                        out = partial[block, position, head]
                        attend(cache, block, layer, group, query, end, scores, out)
            unit = take(sync, phase + 1)
        met = meet(sync, met + threads)

        for position in range(count):
            seen = (start + position + BLOCK) // BLOCK
            for head in range(heads):
                combine(partial, position, head, seen, attended[position, head])
        add_product(
            weights, layer, OUTPUT, flat, heads * size, count, sync, phase + 2, first, stream
        )
        met = meet(sync, met + threads)

        normalize(stream, weights.norms[2 * layer + 1], weights.epsilon, count, states)
        unit = take(sync, phase + 3)
        while unit * ROWS < inner:
            for row in range(unit * ROWS, min((unit + 1) * ROWS, inner)):
                project(weights, layer, GATE, row, states, hidden, count, first)
                project(weights, layer, UP, row, states, hidden, count, second)
                for position in range(count):
                    gate = first[position]
                    silu = gate / (np.float32(1) + np.exp(-gate))
                    activated[position, row] = silu * second[position]
            unit = take(sync, phase + 3)
        met = meet(sync, met + threads)

        add_product(
            weights,
            layer,
            DOWN,
            activated,
            inner,
            count,
            sync,
            4 * layers + 1 + layer,
            first,
            stream,
        )
        met = meet(sync, met + threads)

    normalize(stream[count - last :], weights.norms[2 * layers], weights.epsilon, last, states)
    logits = buffers.logits
    unit = take(sync, 4 * layers)
    while unit * ROWS < logits.shape[1]:
        for row in range(unit * ROWS, min((unit + 1) * ROWS, logits.shape[1])):
            project(weights, layers, 0, row, states, hidden, last, first)
            for position in range(last):
                logits[position, row] = first[position]
        unit = take(sync, 4 * layers)
    meet(sync, met + threads)


@compiled
def add_product(
    weights: Any,
    layer: Any,
    matrix: Any,
    x: Any,
    width: Any,
    count: Any,
    sync: Any,
    phase: Any,
    sums: Any,
    stream: Any,
) -> None:
    """stream[p] += W x[p], this thread's share of the rows."""
    rows = stream.shape[1]
    unit = take(sync, phase)
    while unit * ROWS < rows:
        for row in range(unit * ROWS, min((unit + 1) * ROWS, rows)):
            project(weights, layer, matrix, row, x, width, count, sums)
            for position in range(count):
                stream[position, row] += sums[position]
        unit = take(sync, phase)


def barriers(layers: int) -> int:
    """How often the threads meet in one step."""
    return 5 * layers + 2


def phases(layers: int) -> int:
    """How many counters of tickets one step needs."""
    return 5 * layers + 1
