"""The decode step of a Llama as one compiled function, for up to 32 positions at once.

Every thread runs `step` from end to end; inside it they share out the rows of each product by
tickets and meet at barriers, so that a phase costs less than a microsecond and any kind of thread
will do. Weights are read from memory once, whatever the number of positions. A sum is always
taken in the same order, so logits do not depend on the number of threads or of positions.

Formats of weights, told by their type: float32; bfloat16 as uint16; int8 with a scale per row;
int4 two by two in uint8, with a bfloat16 scale for 32 of them.
Knows arrays only: no files, no checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import numba
import numpy as np
from llvmlite import binding as llvm
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic as numba_intrinsic

from smolchat.engine.layout import (
    ABORTED,
    BLOCK,
    COUNT,
    DOWN,
    ENTRY,
    GATE,
    LARGEST,
    LINE,
    MANY_ROWS,
    OUTPUT,
    SPAN,
    TEAM_ENTRY,
    TICKETS,
    TOGETHER,
    UP,
    Buffers,
    K,
    Q,
    V,
    Weights,
)

GROUP = 32
"""Numbers of a row that share a scale in int4."""
AHEAD = 8192
"""Weights are fetched so many bytes before they are needed. Processors do it by themselves only
for one stream, inside a page of memory, and some not well."""
ROWS = 16
"""Rows of a matrix that a thread takes at a time."""
PATIENCE = 2000
"""How often a thread looks for the others before it lets another process run."""

Function = TypeVar("Function", bound=Callable[..., Any])
Arguments = ParamSpec("Arguments")
Intrinsic = Callable[[Callable[Concatenate[Any, Arguments], Any]], Callable[Arguments, Any]]

# Without `_nrt=False` every array that is passed on is counted, by atomic additions that the
# threads contend for; nothing is allocated here, so there is nothing to count.
OPTIONS = {"error_model": "numpy", "_nrt": False}
compiled: Callable[[Function], Function] = njit(fastmath=True, **OPTIONS)
compiled_exactly: Callable[[Function], Function] = njit(fastmath=False, **OPTIONS)
"""Sums stay in the order in which they are written."""
intrinsic: Intrinsic[...] = numba_intrinsic(prefer_literal=True)


# Products, in LLVM's own words


I8, I16, I32, FLOAT = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.FloatType()


def _vector_at(builder: Any, pointer: Any, index: Any, element: Any, lanes: int) -> Any:
    """`lanes` elements from `pointer[index]` on."""
    vector = ir.VectorType(element, lanes)
    place = builder.bitcast(builder.gep(pointer, [index]), vector.as_pointer())
    return builder.load(place, align=4 if element == FLOAT else element.width // 8)


def _joined(builder: Any, one: Any, other: Any) -> Any:
    """The lanes of one vector, then those of the other."""
    lanes = list(range(2 * one.type.count))
    mask = ir.Constant(ir.VectorType(I32, len(lanes)), lanes)
    return builder.shuffle_vector(one, other, mask)


def _prefetch(builder: Any, pointer: Any) -> None:
    """Ask for what will be read soon, in the second cache: the first has few places to wait in."""
    kind = ir.FunctionType(ir.VoidType(), [pointer.type, I32, I32, I32])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(function, [pointer, I32(0), I32(2), I32(1)])


def _splat(vector: ir.VectorType, value: int) -> ir.Constant:
    return ir.Constant(vector, [value] * vector.count)


def _from_bfloat16(builder: Any, halves: Any) -> Any:
    """bfloat16 as floats: each is the upper half of one."""
    wide = ir.VectorType(I32, halves.type.count)
    bits = builder.shl(builder.zext(halves, wide), _splat(wide, 16))
    return builder.bitcast(bits, ir.VectorType(FLOAT, halves.type.count))


def _sum_pairs(builder: Any, left: Any, right: Any) -> Any:
    """Products of sixteen-bit numbers, summed two by two; one instruction on x86."""
    count = left.type.count
    wide = ir.VectorType(I32, count)
    product = builder.mul(builder.sext(left, wide), builder.sext(right, wide))
    even, odd = (
        builder.shuffle_vector(
            product,
            ir.Constant(wide, ir.Undefined),
            ir.Constant(ir.VectorType(I32, count // 2), list(range(first, count, 2))),
        )
        for first in (0, 1)
    )
    return builder.add(even, odd)


def _multiply_add(builder: Any, left: Any, right: Any, total: Any) -> Any:
    kind = ir.FunctionType(total.type, [total.type] * 3)
    name = f"llvm.fma.v{total.type.count}f32"
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(function, [left, right, total])


def _sum_in_pairs(add: Any, terms: list[Any]) -> Any:
    """The sum of two, four or more terms, neighbours first."""
    while len(terms) > 1:
        terms = [add(terms[i], terms[i + 1]) for i in range(0, len(terms), 2)]
    return terms[0]


def _sum_lanes(builder: Any, vectors: list[Any]) -> Any:
    """A vector of the sums of all lanes of each; how many there are is a power of two.

    Each sum is taken by halves, whatever stands beside it: lane i and i + width / 2 first.
    """
    width = vectors[0].type.count
    while len(vectors) > 1:  # side by side, two become one of as many lanes
        width //= 2
        vectors = [
            _add_halves(builder, vectors[i], vectors[i + 1], width)
            for i in range(0, len(vectors), 2)
        ]
    (vector,) = vectors
    while width > 1:
        width //= 2
        vector = _add_halves(builder, vector, None, width)
    return vector


def _add_halves(builder: Any, one: Any, other: Any, width: int) -> Any:
    """Of each run of 2 `width` lanes, first of `one` and then of `other`: low half plus high."""
    lanes = one.type.count * (1 if other is None else 2)
    low = [at + i for at in range(0, lanes, 2 * width) for i in range(width)]
    other = ir.Constant(one.type, ir.Undefined) if other is None else other
    mask = ir.VectorType(I32, len(low))
    halves = (
        builder.shuffle_vector(one, other, ir.Constant(mask, [at + shift for at in low]))
        for shift in (0, width)
    )
    return builder.fadd(*halves)


class Format:
    """How some numbers of a row are multiplied with those of a position.

    Several accumulators for each position, or several rows at once, hide the latency of a sum.
    """

    name: str
    code: Any
    """The type of a code."""
    step: int
    """Numbers that go into one accumulator at a time."""
    step_bytes = 32
    """Bytes that the codes of so many numbers take."""
    last_step: int
    """A width is a multiple of it."""
    total: ir.VectorType
    scale: Any = FLOAT
    """The type of a scale."""
    takes_rounded = False
    """Whether positions come as sixteen-bit numbers."""
    has_row_scale = False
    tiles: dict[int, tuple[int, int]]
    """For so many positions at once, rows that are read together and accumulators of each product.

    Where sums are not exact the number of accumulators is always the same.
    """
    narrow_tiles: dict[int, tuple[int, int]] = {2: (2, 1)}  # noqa: RUF012
    """The same, where sixteen vectors of 32 bytes are all that can be held; for two at most."""

    def place(self, builder: Any, index: Any) -> Any:
        """Where in a row the code of a number stands."""
        return index

    def unpack(self, builder: Any, codes: Any, scales: Any, index: Any, numbers: int) -> list[Any]:
        """What the codes of so many numbers from `index` on say, the same for each position.

        `numbers` is `step`, or `last_step` at the end of a row.
        """
        raise NotImplementedError

    def add(self, builder: Any, unpacked: list[Any], x: Any, index: Any, total: Any) -> Any:
        raise NotImplementedError

    def finish(self, builder: Any, totals: list[Any]) -> Any:
        """The sum of the accumulators, in floats."""
        return _sum_in_pairs(builder.fadd, totals)


class Floats(Format):
    """float32, 4 bytes a number: total += w x.

    One position has one row and one sum at a time: memory is slower than that.
    """

    name, code, step, total = "float32", FLOAT, 16, ir.VectorType(FLOAT, 16)
    step_bytes, last_step = 64, 16
    tiles = {1: (1, 1), 2: (4, 1), 4: (4, 1)}  # noqa: RUF012

    def unpack(self, builder: Any, codes: Any, scales: Any, index: Any, numbers: int) -> list[Any]:
        return [_vector_at(builder, codes, index, FLOAT, 16)]

    def add(self, builder: Any, unpacked: list[Any], x: Any, index: Any, total: Any) -> Any:
        return _multiply_add(builder, unpacked[0], _vector_at(builder, x, index, FLOAT, 16), total)


class Brains(Floats):
    """bfloat16, 2 bytes a number: the upper half of a float32."""

    name, code, step_bytes = "bfloat16", I16, 32

    def unpack(self, builder: Any, codes: Any, scales: Any, index: Any, numbers: int) -> list[Any]:
        return [_from_bfloat16(builder, _vector_at(builder, codes, index, I16, 16))]


class Bytes(Format):
    """int8, 1 byte a number and a scale for the row: total += w x, exact in 32 bits.

    A lane takes 2 products of at most 127 x LARGEST from every 32 numbers, so it holds for rows of
    up to 8,320. As sums are exact, any number of accumulators gives the same.
    """

    name, code, step, total = "int8", I8, 32, ir.VectorType(I32, 16)
    last_step = 32
    takes_rounded = has_row_scale = True
    tiles = {1: (1, 4), 2: (4, 1), 4: (4, 1)}  # noqa: RUF012

    def unpack(self, builder: Any, codes: Any, scales: Any, index: Any, numbers: int) -> list[Any]:
        return [builder.sext(_vector_at(builder, codes, index, I8, 32), ir.VectorType(I16, 32))]

    def add(self, builder: Any, unpacked: list[Any], x: Any, index: Any, total: Any) -> Any:
        pairs = _sum_pairs(builder, unpacked[0], _vector_at(builder, x, index, I16, 32))
        return builder.add(total, pairs)

    def finish(self, builder: Any, totals: list[Any]) -> Any:
        return builder.sitofp(_sum_in_pairs(builder.add, totals), ir.VectorType(FLOAT, 16))


class Nibbles(Format):
    """int4, 16 bytes and a bfloat16 scale for 32 numbers: total += scale (low x + high x').

    Byte i of a group holds number i in its low half and number i + 16 in its high one.
    """

    name, code, step, total = "int4", I8, 2 * GROUP, ir.VectorType(FLOAT, 16)
    last_step = GROUP
    scale = I16
    takes_rounded = True
    tiles = {1: (2, 1), 2: (4, 1), 4: (4, 1)}  # noqa: RUF012
    narrow_tiles = {1: (1, 1), 2: (1, 1)}  # noqa: RUF012

    def place(self, builder: Any, index: Any) -> Any:
        return builder.lshr(index, index.type(1))

    def unpack(self, builder: Any, codes: Any, scales: Any, index: Any, numbers: int) -> list[Any]:
        wide = ir.VectorType(I16, numbers // 2)
        place, group = self.place(builder, index), builder.lshr(index, index.type(5))
        both = builder.sext(_vector_at(builder, codes, place, I8, numbers // 2), wide)
        low = builder.ashr(builder.shl(both, _splat(wide, 12)), _splat(wide, 12))
        high = builder.ashr(both, _splat(wide, 4))
        scale = _from_bfloat16(builder, _vector_at(builder, scales, group, I16, numbers // GROUP))
        lanes = [group for group in range(numbers // GROUP) for _ in range(8)]
        mask = ir.Constant(ir.VectorType(I32, len(lanes)), lanes)
        return [low, high, builder.shuffle_vector(scale, scale, mask)]

    def add(self, builder: Any, unpacked: list[Any], x: Any, index: Any, total: Any) -> Any:
        low, high, scale = unpacked
        groups = low.type.count // 16
        sums = builder.add(
            _sum_pairs(builder, low, self._half(builder, x, index, groups)),
            _sum_pairs(
                builder, high, self._half(builder, x, builder.add(index, index.type(16)), groups)
            ),
        )
        products = builder.sitofp(sums, scale.type)
        if groups == 1:
            nothing = ir.Constant(scale.type, None)
            products, scale = (_joined(builder, each, nothing) for each in (products, scale))
        return _multiply_add(builder, products, scale, total)

    def _half(self, builder: Any, x: Any, index: Any, groups: int) -> Any:
        """Sixteen numbers from `index` on, and as many of the group after it if there are two."""
        one = _vector_at(builder, x, index, I16, 16)
        if groups == 1:
            return one
        beyond = builder.add(index, index.type(GROUP))
        return _joined(builder, one, _vector_at(builder, x, beyond, I16, 16))


def _spread(builder: Any, value: Any, vector: ir.VectorType) -> Any:
    """The same value in every lane."""
    undefined = ir.Constant(vector, ir.Undefined)
    one = builder.insert_element(undefined, value, I32(0))
    return builder.shuffle_vector(
        one, undefined, ir.Constant(ir.VectorType(I32, vector.count), [0] * vector.count)
    )


FORMATS: dict[Any, Format] = {
    types.float32: Floats(),
    types.uint16: Brains(),
    types.int8: Bytes(),
    types.uint8: Nibbles(),
}


def _next_codes(builder: Any, codes: Any, row_codes: Any, together: int) -> Any:
    """Where to fetch from while rows from `codes` on are read.

    That is AHEAD of them, or where the rows after them begin if these are several and longer: those
    are fetched from end to end, for memory is slow to be read in several places in turn.
    """
    near = builder.gep(builder.bitcast(codes, I8.as_pointer()), [ir.IntType(64)(AHEAD)])
    near = builder.bitcast(near, codes.type)
    if together == 1:
        return near
    after = builder.gep(codes, [builder.mul(row_codes, row_codes.type(together))])
    return builder.select(builder.icmp_unsigned(">", after, near), after, near)


def _product(module: Any, form: Format, positions: int, is_wide: bool) -> Any:
    """The function out[r, p] = sum_i W[r, i] x[p, i] for some rows r and a few positions p.

    Its arguments: codes and how many there are in a row, scales likewise, x and the numbers
    between two positions in it, width, rows, out. Reads each code once. `is_wide` says that the
    processor holds 32 vectors of 64 bytes.
    """
    name = f"product_{form.name}_{positions}"
    if name in module.globals:
        return module.globals[name]
    word = ir.IntType(64)
    number = (I16 if form.takes_rounded else FLOAT).as_pointer()
    floats = FLOAT.as_pointer()
    kind = ir.FunctionType(
        ir.VoidType(),
        [
            *(form.code.as_pointer(), word, form.scale.as_pointer(), word),
            *(number, word, word, word, floats),
        ],
    )
    function = ir.Function(module, kind, name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    codes, row_codes, scales, row_scales, x, stride, width, rows, out = function.args
    builder = ir.IRBuilder(function.append_basic_block())
    starts = [builder.gep(x, [builder.mul(stride, word(p))]) for p in range(positions)]

    def multiply_rows(first: Any, together: int, accumulators: int) -> None:
        these = [builder.add(first, word(r)) for r in range(together)]
        row_starts = [
            (
                builder.gep(codes, [builder.mul(row, row_codes)]),
                builder.gep(scales, [builder.mul(row, row_scales)]),
            )
            for row in these
        ]
        totals = [
            [cgutils.alloca_once(builder, form.total) for _ in range(accumulators)]
            for _ in range(together * positions)
        ]
        for total in (each for lanes in totals for each in lanes):
            builder.store(ir.Constant(form.total, None), total)

        next_codes = _next_codes(builder, row_starts[0][0], row_codes, together)

        def add(index: Any, lane: int, numbers: int) -> None:
            places = iter(totals)
            passed = builder.mul(form.place(builder, index), word(together))
            line = builder.bitcast(builder.gep(next_codes, [passed]), I8.as_pointer())
            for byte in range(0, together * form.step_bytes, LINE * 8):
                _prefetch(builder, builder.gep(line, [word(byte)]))
            for row in row_starts:
                unpacked = form.unpack(builder, *row, index, numbers)
                for start in starts:
                    place = next(places)[lane]
                    total = form.add(builder, unpacked, start, index, builder.load(place))
                    builder.store(total, place)

        unrolled = accumulators * form.step
        whole = builder.mul(builder.udiv(width, word(unrolled)), word(unrolled))
        with cgutils.for_range_slice(builder, word(0), whole, word(unrolled)) as (index, _):
            for lane in range(accumulators):
                add(builder.add(index, word(lane * form.step)), lane, form.step)
        for numbers in dict.fromkeys((form.step, form.last_step)):
            done, whole = whole, builder.mul(builder.udiv(width, word(numbers)), word(numbers))
            with cgutils.for_range_slice(builder, done, whole, word(numbers)) as (index, _):
                add(index, 0, numbers)
        sums = _sum_lanes(
            builder, [form.finish(builder, [builder.load(t) for t in lanes]) for lanes in totals]
        )
        for r, row in enumerate(these):
            mask = ir.VectorType(I32, positions)
            lanes = list(range(r * positions, (r + 1) * positions))
            result = builder.shuffle_vector(sums, sums, ir.Constant(mask, lanes))
            if form.has_row_scale:
                scale = builder.load(row_starts[r][1])
                result = builder.fmul(result, _spread(builder, scale, result.type))
            _store_floats(builder, result, out, builder.mul(row, word(SPAN)))

    tiles = form.tiles if is_wide else form.tiles | form.narrow_tiles
    together, accumulators = tiles[positions]
    whole = builder.mul(builder.udiv(rows, word(together)), word(together))
    with cgutils.for_range_slice(builder, word(0), whole, word(together)) as (first, _):
        multiply_rows(first, together, accumulators)
    if together > 1:
        with cgutils.for_range_slice(builder, whole, rows, word(1)) as (first, _):
            multiply_rows(first, 1, accumulators)
    builder.ret_void()
    return function


@intrinsic
def multiply(
    typing: Any,
    codes: Any,
    scales: Any,
    place: Any,
    row: Any,
    rows: Any,
    x: Any,
    rounded: Any,
    count: Any,
    out: Any,
) -> Any:
    """out[r, p] = sum_i W[row + r, i] x[p, i] for `rows` rows and `count` positions.

    `place` is that of W in `Weights.places`. int8 and int4 take the positions from `rounded`,
    int16, and leave it to the caller to multiply by the step.
    """
    form = FORMATS[codes.dtype]
    signature = types.void(
        codes, scales, place, types.int64, types.int64, x, rounded, types.int64, out
    )

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def array(number: int) -> Any:
            kind = signature.args[number]
            return context.make_array(kind)(context, builder, arguments[number])

        inputs = array(6 if form.takes_rounded else 5)
        width = cgutils.unpack_tuple(builder, inputs.shape)[-1]
        row, rows, count = arguments[3], arguments[4], arguments[7]
        word = row.type
        first_code, row_codes, first_scale, row_scales = (
            builder.load(builder.gep(array(2).data, [word(column)])) for column in range(4)
        )

        def begin(number: int, first: Any, per_row: Any) -> Any:
            return builder.gep(array(number).data, [builder.add(first, builder.mul(row, per_row))])

        weights = [
            begin(0, first_code, row_codes),
            row_codes,
            begin(1, first_scale, row_scales),
            row_scales,
        ]

        # With AVX-512 sixteen sums of four rows and four positions stay in registers, else four.
        is_wide = "+avx512f" in context.codegen().magic_tuple()[2]
        most = 4 if is_wide else 2
        with cgutils.for_range_slice(builder, word(0), count, word(most)) as (first, _):
            x = builder.gep(inputs.data, [builder.mul(width, first)])
            sums = builder.gep(array(8).data, [first])
            left = builder.sub(count, first)
            for several in (1, 2, 4) if is_wide else (1, 2):
                relation, than = (">", several // 2) if several == most else ("==", several)
                with builder.if_then(builder.icmp_signed(relation, left, word(than))):
                    function = _product(builder.module, form, several, is_wide)
                    builder.call(function, [*weights, x, width, width, rows, sums])
        return context.get_dummy_value()

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


# Attention to one block, in LLVM's words

LANES = 16


def _cached_at(builder: Any, cached: Any, index: Any) -> Any:
    """Sixteen numbers of the cache, float32 or bfloat16, as floats."""
    element = cached.type.pointee
    return FORMATS[types.float32 if element == FLOAT else types.uint16].unpack(
        builder, cached, None, index, 16
    )[0]


def _fetch_tile(builder: Any, tile: Any, index: Any, count: int) -> None:
    """Ask for `count` numbers of the tile that is read after this one, line by line."""
    line = LINE * 8 // (4 if tile.type.pointee == FLOAT else 2)
    for first in range(0, count, line):
        place = builder.gep(tile, [builder.add(index, ir.IntType(64)(first))])
        _prefetch(builder, builder.bitcast(place, ir.IntType(8).as_pointer()))


def _sums(builder: Any, queries: int, vectors: int) -> list[list[Any]]:
    zero = ir.Constant(ir.VectorType(FLOAT, LANES), None)
    return [
        [cgutils.alloca_once_value(builder, zero) for _ in range(vectors)] for _ in range(queries)
    ]


def _clear(builder: Any, sums: list[list[Any]]) -> None:
    for place in (each for row in sums for each in row):
        builder.store(ir.Constant(ir.VectorType(FLOAT, LANES), None), place)


def _add_product(builder: Any, number: Any, vector: Any, place: Any) -> None:
    spread = _spread(builder, builder.load(number), vector.type)
    builder.store(_multiply_add(builder, spread, vector, builder.load(place)), place)


def _store_floats(builder: Any, vector: Any, out: Any, index: Any) -> None:
    place = builder.bitcast(builder.gep(out, [index]), vector.type.as_pointer())
    builder.store(vector, place, align=4)


def _scores(builder: Any, queries: int, arguments: list[Any]) -> None:
    """out[q, t] = sum_d query[q, d] keys[d, t]; lanes are positions, 32 at a time."""
    keys, ahead, asked, size, end, out = arguments
    word = ir.IntType(64)
    sums = _sums(builder, queries, 2)
    with cgutils.for_range_slice(builder, word(0), end, word(2 * LANES)) as (t, _):
        _clear(builder, sums)
        with cgutils.for_range(builder, size) as loop:
            row = builder.add(builder.mul(loop.index, word(BLOCK)), t)
            read = builder.add(builder.mul(t, size), builder.mul(loop.index, word(2 * LANES)))
            _fetch_tile(builder, ahead, read, 2 * LANES)
            for half in range(2):
                key = _cached_at(builder, keys, builder.add(row, word(half * LANES)))
                for q in range(queries):
                    place = builder.add(builder.mul(size, word(q)), loop.index)
                    _add_product(builder, builder.gep(asked, [place]), key, sums[q][half])
        for q in range(queries):
            for half in range(2):
                place = builder.add(t, word(q * BLOCK + half * LANES))
                _store_floats(builder, builder.load(sums[q][half]), out, place)


def _blend(builder: Any, queries: int, arguments: list[Any]) -> None:
    """out[q, d] = sum_t weight[q, t] values[t, d]; lanes are numbers of the head.

    Goes on to the next even position, whose weight is zero.
    """
    values, ahead, weight, size, end, out = arguments
    word = ir.IntType(64)
    sums = _sums(builder, queries, 2)
    stride = builder.add(size, word(2))
    with cgutils.for_range_slice(builder, word(0), size, word(LANES)) as (d, _):
        _clear(builder, sums)
        with cgutils.for_range_slice(builder, word(0), end, word(2)) as (t, _):
            read = builder.add(builder.mul(d, word(BLOCK)), builder.mul(t, word(LANES)))
            _fetch_tile(builder, ahead, read, 2 * LANES)
            for half in range(2):
                position = builder.add(t, word(half))
                place = builder.add(builder.mul(position, size), d)
                value = _cached_at(builder, values, place)
                for q in range(queries):
                    number = builder.gep(weight, [builder.add(position, word(q * BLOCK))])
                    _add_product(builder, number, value, sums[q][half])
        for q in range(queries):
            both = builder.fadd(*(builder.load(each) for each in sums[q]))
            _store_floats(builder, both, out, builder.add(builder.mul(stride, word(q)), d))


def _for_queries(write: Any) -> Any:
    """An intrinsic that calls the function that `write` writes for so many queries."""

    def make(
        typing: Any,
        cached: Any,
        ahead: Any,
        given: Any,
        size: Any,
        end: Any,
        queries: Any,
        out: Any,
    ) -> Any:
        signature = types.void(cached, ahead, given, types.int64, types.int64, types.int64, out)

        def function(module: Any, element: Any, several: int) -> Any:
            name = f"{write.__name__}_{element}_{several}"
            if name in module.globals:
                return module.globals[name]
            word, floats = ir.IntType(64), FLOAT.as_pointer()
            tile = element.as_pointer()
            kind = ir.FunctionType(ir.VoidType(), [tile, tile, floats, word, word, floats])
            made = ir.Function(module, kind, name)
            made.linkage = "internal"
            made.attributes.add("noinline")
            builder = ir.IRBuilder(made.append_basic_block())
            write(builder, several, list(made.args))
            builder.ret_void()
            return made

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            def pointer(number: int) -> Any:
                kind = signature.args[number]
                return context.make_array(kind)(context, builder, arguments[number]).data

            element = FLOAT if cached.dtype == types.float32 else I16
            for several in range(1, TOGETHER + 1):
                is_it = builder.icmp_signed("==", arguments[5], arguments[5].type(several))
                with builder.if_then(is_it):
                    called = function(builder.module, element, several)
                    given = [pointer(0), pointer(1), pointer(2), *arguments[3:5], pointer(6)]
                    builder.call(called, given)
            return context.get_dummy_value()

        return signature, generate

    return intrinsic(make)


score = _for_queries(_scores)
blend = _for_queries(_blend)


@intrinsic
def two_to(typing: Any, exponent: Any) -> Any:
    """2^n as float32, for n from -126 to 127."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        biased = builder.add(arguments[0], I32(127))
        return builder.bitcast(builder.shl(biased, I32(23)), FLOAT)

    return types.float32(types.int32), generate


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
def take(sync: Any, phase: Any, thread: Any, threads: Any, units: Any) -> Any:
    """The next unit of work of a phase, -1 when none is left.

    Each thread has a run of neighbouring units, for the processor fetches ahead of who reads on;
    one that is done with its own helps the others.
    """
    for step in range(threads):
        owner = (thread + step) % threads
        first, end = units * owner // threads, units * (owner + 1) // threads
        unit = first + fetch_add(sync, TICKETS + LINE * (phase * threads + owner), 1)
        if unit < end:
            return unit
    return -1


# The parts of a layer


@compiled
def round_to_steps(x: Any, first: Any, count: Any, stride: Any, rounded: Any, steps: Any) -> None:
    """x[p] = steps[p] * rounded[p], rounded to sixteen bits with a sign."""
    for position in range(first, count, stride):
        largest = np.float32(0)
        for i in range(x.shape[1]):
            largest = max(largest, abs(x[position, i]))
        factor = np.float32(LARGEST) / max(largest, np.float32(1e-30))
        for i in range(x.shape[1]):
            scaled = x[position, i] * factor
            half = np.float32(0.5) if scaled >= 0 else np.float32(-0.5)
            rounded[position, i] = np.int16(np.int32(scaled + half))
        steps[position] = np.float32(1) / factor


@compiled_exactly
def product(
    codes: Any,
    scales: Any,
    place: Any,
    row: Any,
    rows: Any,
    x: Any,
    rounded: Any,
    steps: Any,
    count: Any,
    out: Any,
) -> None:
    """out[r, p] = W[row + r] . x[p], W one matrix."""
    multiply(codes, scales, place, row, rows, x, rounded, count, out)
    for r in range(rows):
        for position in range(count):
            out[r, position] *= steps[position]


@compiled
def normalize(
    x: Any, weight: Any, epsilon: Any, first: Any, count: Any, stride: Any, out: Any
) -> None:
    """RMS norm: out = x / sqrt(mean(x^2) + epsilon) * weight."""
    width = weight.size
    for position in range(first, count, stride):
        square = np.float32(0)
        for i in range(width):
            square += x[position, i] * x[position, i]
        factor = np.float32(1) / np.sqrt(square / np.float32(width) + epsilon)
        for i in range(width):
            out[position, i] = x[position, i] * factor * weight[i]


@compiled
def embed(weights: Any, ids: Any, out: Any) -> None:
    """out[p] = the row of ids[p] in the embedding."""
    place = weights.places[weights.places.shape[0] - 1, 1]
    for position in range(ids.size):
        first = place[0] + ids[position] * place[1]
        scale = np.float32(1)
        if place[3] > 0:
            scale = weights.head_scales[place[2] + ids[position]]
        for i in range(out.shape[1]):
            out[position, i] = widened(weights.head[first + i]) * scale


@compiled_exactly
def exponential(x: Any) -> Any:
    """e^x within 2e-7 for x up to 88, in steps that vectorise, as the C library's does not.

    e^x = 2^n e^r with r at most ln(2) / 2; the polynomial is that of Cephes.
    """
    x = min(max(x, np.float32(-87)), np.float32(88))
    n = np.floor(x * np.float32(1.44269504) + np.float32(0.5))
    r = x - n * np.float32(0.693359375) + n * np.float32(2.12194440e-4)
    y = np.float32(1.9875691500e-4)
    y = y * r + np.float32(1.3981999507e-3)
    y = y * r + np.float32(8.3334519073e-3)
    y = y * r + np.float32(4.1665795894e-2)
    y = y * r + np.float32(1.6666665459e-1)
    y = y * r + np.float32(5.0000001201e-1)
    return (y * r * r + r + np.float32(1)) * two_to(np.int32(n))


@compiled_exactly
def attend(
    keys: Any, values: Any, ahead: Any, queries: Any, end: Any, scores: Any, out: Any
) -> None:
    """Attention of a few queries to the first `end` positions of a block.

    score = q . K (q is divided by sqrt(D) already); out[q, :D] = sum_t exp(score_t - max) V_t;
    out[q, D], out[q, D + 1] = the sum of the exponentials, max. Reads 2 D numbers of the cache
    for each position, and fetches `ahead`, the keys of the next unit of work.
    """
    asked, size = queries.shape
    score(keys, values, queries, size, end, asked, scores)
    for q in range(asked):
        total, highest = weigh(scores[q], end)
        out[q, size], out[q, size + 1] = total, highest
    blend(values, ahead, scores, size, end, asked, out)


@compiled
def weigh(scores: Any, end: Any) -> Any:
    """Scores to exponentials; returns their sum and the highest score."""
    highest = np.float32(-np.inf)
    for t in range(end):
        highest = max(highest, scores[t])
    total = np.float32(0)
    for t in range(end):
        weight = exponential(scores[t] - highest)
        scores[t] = weight
        total += weight
    if end < BLOCK:
        scores[end] = np.float32(0)
    return total, highest


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
        factor = exponential(part[size + 1] - highest)
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
    thread: Any,
    threads: Any,
    met: Any,
    weights: Any,
    buffers: Any,
    ids: Any,
    places_of: Any,
    firsts: Any,
    last: Any,
) -> None:
    """Appends each of `ids` at its place; the logits of the `last` ones go to `buffers.logits`.

    `places_of` are positions, `firsts` the block of the cache where a position's sequence begins:
    the ids may belong to several sequences. Those of one sequence are in their order.

    x = embed(ids); for each layer: x += O attention(rope(Q n), rope(K n), V n) with n = norm(x),
    x += Down(silu(Gate m) * Up m) with m = norm(x); logits = Head norm(x). `met` is how many
    arrivals at barriers there were before.
    """
    sync, cache, stream = buffers.sync, buffers.cache, buffers.stream
    queries, partial, activated = buffers.queries, buffers.partial, buffers.activated
    count, hidden, inner = ids.size, stream.shape[1], activated.shape[1]
    layers, groups = cache.shape[1], cache.shape[2]
    heads, size = queries.shape[1], queries.shape[2]
    # What goes into a product: one position each thread has for itself, several they share out.
    owner, mine, stride = (thread, 0, 1) if count == 1 else (0, thread, threads)
    states, rounded_states = buffers.states[owner], buffers.rounded_states[owner]
    attended, rounded_attended = buffers.attended[owner], buffers.rounded_attended[owner]
    rounded_activated = buffers.rounded_activated[owner]
    steps, scores = buffers.steps[owner], buffers.scores[thread]
    one, other = buffers.sums[thread, 0], buffers.sums[thread, 1]
    codes, scales, places, epsilon = weights.codes, weights.scales, weights.places, weights.epsilon
    is_rounded = scales.size > 0
    blocks = 0
    for position in range(count):
        blocks = max(blocks, places_of[position] // BLOCK + 1)
    steps[:] = np.float32(1)

    if thread == 0:
        embed(weights, ids, stream)
    met = meet(sync, met + threads)
    for layer in range(layers):
        place = places[layer]
        phase = 5 * layer

        normalize(stream, weights.norms[2 * layer], epsilon, mine, count, stride, states)
        if is_rounded:
            round_to_steps(states, mine, count, stride, rounded_states, steps)
        if count > 1:
            met = meet(sync, met + threads)
        half = size // 2
        pairs = ROWS if half % ROWS == 0 else ROWS // 2
        units = (heads + 2 * groups) * (half // pairs)
        unit = take(sync, phase, thread, threads, units)
        while unit >= 0:
            head, part = divmod(unit, half // pairs)
            if head < heads:
                matrix = Q
            elif head < heads + groups:
                matrix, head = K, head - heads
            else:
                matrix, head = V, head - heads - groups
            first = part * pairs
            row = head * size + first
            product(
                codes,
                scales,
                place[matrix],
                row,
                pairs,
                states,
                rounded_states,
                steps,
                count,
                one,
            )
            product(
                codes,
                scales,
                place[matrix],
                row + half,
                pairs,
                states,
                rounded_states,
                steps,
                count,
                other,
            )
            if matrix == Q:
                place_queries(weights, one, other, pairs, first, places_of, count, head, queries)
            elif matrix == K:
                place_keys(
                    weights, one, other, pairs, first, places_of, firsts, count, cache, layer, head
                )
            else:
                place_values(
                    one, other, pairs, first, half, places_of, firsts, count, cache, layer, head
                )
            unit = take(sync, phase, thread, threads, units)
        met = meet(sync, met + threads)

        unit = take(sync, phase + 1, thread, threads, groups * blocks)
        while unit >= 0:
            block, group = divmod(unit, groups)
            next_block, next_group = divmod(min(unit + 1, groups * blocks - 1), groups)
            after = (group + 1) * (heads // groups)
            for head in range(group * (heads // groups), after, TOGETHER):
                until = min(head + TOGETHER, after)
                for position in range(count):
                    end = min(places_of[position] + 1 - block * BLOCK, BLOCK)
                    if end > 0:
                        held = cache[firsts[position] + block, layer, group]
                        keys, values = held[0], held[1]
                        ahead = cache[firsts[position] + next_block, layer, next_group, 0]
                        queries_now = queries[position, head:until]
                        out = partial[block, position, head:until]
                        attend(keys, values, ahead, queries_now, end, scores, out)
            unit = take(sync, phase + 1, thread, threads, groups * blocks)
        met = meet(sync, met + threads)

        for position in range(mine, count, stride):
            seen = places_of[position] // BLOCK + 1
            for head in range(heads):
                out = attended[position, head * size : (head + 1) * size]
                combine(partial, position, head, seen, out)
        if is_rounded:
            round_to_steps(attended, mine, count, stride, rounded_attended, steps)
        if count > 1:
            met = meet(sync, met + threads)
        unit = take(sync, phase + 2, thread, threads, parts(hidden, ROWS))
        while unit >= 0:
            row, rows = unit * ROWS, min(ROWS, hidden - unit * ROWS)
            product(
                codes,
                scales,
                place[OUTPUT],
                row,
                rows,
                attended,
                rounded_attended,
                steps,
                count,
                one,
            )
            add(one, rows, count, row, stream)
            unit = take(sync, phase + 2, thread, threads, parts(hidden, ROWS))
        met = meet(sync, met + threads)

        normalize(stream, weights.norms[2 * layer + 1], epsilon, mine, count, stride, states)
        if is_rounded:
            round_to_steps(states, mine, count, stride, rounded_states, steps)
        if count > 1:
            met = meet(sync, met + threads)
        unit = take(sync, phase + 3, thread, threads, parts(inner, MANY_ROWS))
        while unit >= 0:
            row, rows = unit * MANY_ROWS, min(MANY_ROWS, inner - unit * MANY_ROWS)
            product(
                codes,
                scales,
                place[GATE],
                row,
                rows,
                states,
                rounded_states,
                steps,
                count,
                one,
            )
            product(
                codes,
                scales,
                place[UP],
                row,
                rows,
                states,
                rounded_states,
                steps,
                count,
                other,
            )
            for position in range(count):
                gate_linear(one, other, rows, position, activated[position, row : row + rows])
            unit = take(sync, phase + 3, thread, threads, parts(inner, MANY_ROWS))
        met = meet(sync, met + threads)

        if is_rounded:
            round_to_steps(activated, mine, count, stride, rounded_activated, steps)
            if count > 1:
                met = meet(sync, met + threads)
        unit = take(sync, phase + 4, thread, threads, parts(hidden, ROWS))
        while unit >= 0:
            row, rows = unit * ROWS, min(ROWS, hidden - unit * ROWS)
            product(
                codes,
                scales,
                place[DOWN],
                row,
                rows,
                activated,
                rounded_activated,
                steps,
                count,
                one,
            )
            add(one, rows, count, row, stream)
            unit = take(sync, phase + 4, thread, threads, parts(hidden, ROWS))
        met = meet(sync, met + threads)

    if last > 0:
        final = weights.norms[2 * layers]
        normalize(stream[count - last :], final, epsilon, mine, last, stride, states)
        if is_rounded:
            round_to_steps(states, mine, last, stride, rounded_states, steps)
        if count > 1:
            met = meet(sync, met + threads)
        logits = buffers.logits
        phase = 5 * layers
        unit = take(sync, phase, thread, threads, parts(logits.shape[1], MANY_ROWS))
        while unit >= 0:
            row, rows = unit * MANY_ROWS, min(MANY_ROWS, logits.shape[1] - unit * MANY_ROWS)
            product(
                weights.head,
                weights.head_scales,
                places[layers, 0],
                row,
                rows,
                states,
                rounded_states,
                steps,
                last,
                one,
            )
            for position in range(last):
                for r in range(rows):
                    logits[position, row + r] = one[r, position]
            unit = take(sync, phase, thread, threads, parts(logits.shape[1], MANY_ROWS))
    meet(sync, met + threads)


@compiled
def parts(rows: Any, at_a_time: Any) -> Any:
    return (rows + at_a_time - 1) // at_a_time


@compiled
def gate_linear(gate: Any, up: Any, rows: Any, position: Any, out: Any) -> None:
    """out = silu(gate) * up, with silu(x) = x / (1 + e^-x)"""
    for r in range(rows):
        out[r] = gate[r, position]
    for r in range(rows):
        out[r] = out[r] / (np.float32(1) + exponential(-out[r]))
    for r in range(rows):
        out[r] *= up[r, position]


@compiled
def add(sums: Any, rows: Any, count: Any, row: Any, stream: Any) -> None:
    """stream[p, row + r] += sums[r, p]"""
    for position in range(count):
        for r in range(rows):
            stream[position, row + r] += sums[r, position]


@compiled
def place_queries(
    weights: Any,
    low: Any,
    high: Any,
    pairs: Any,
    first: Any,
    places_of: Any,
    count: Any,
    head: Any,
    queries: Any,
) -> None:
    """queries = rope(q) / sqrt(D)"""
    size = queries.shape[2]
    factor = np.float32(1) / np.sqrt(np.float32(size))
    for position in range(count):
        at = places_of[position]
        for r in range(pairs):
            i = first + r
            cosine, sine = weights.cosines[at, i], weights.sines[at, i]
            a, b = rotate(low[r, position], high[r, position], cosine, sine)
            queries[position, head, i] = a * factor
            queries[position, head, i + size // 2] = b * factor


@compiled
def place_keys(
    weights: Any,
    low: Any,
    high: Any,
    pairs: Any,
    first: Any,
    places_of: Any,
    firsts: Any,
    count: Any,
    cache: Any,
    layer: Any,
    group: Any,
) -> None:
    """keys = rope(k)"""
    half = weights.cosines.shape[1]
    for position in range(count):
        at = places_of[position]
        block, slot = divmod(at, BLOCK)
        keys = cache[firsts[position] + block, layer, group, 0]
        for r in range(pairs):
            i = first + r
            cosine, sine = weights.cosines[at, i], weights.sines[at, i]
            a, b = rotate(low[r, position], high[r, position], cosine, sine)
            keys[i * BLOCK + slot] = narrowed(a, cache)
            keys[(i + half) * BLOCK + slot] = narrowed(b, cache)


@compiled
def place_values(
    low: Any,
    high: Any,
    pairs: Any,
    first: Any,
    half: Any,
    places_of: Any,
    firsts: Any,
    count: Any,
    cache: Any,
    layer: Any,
    group: Any,
) -> None:
    """values = v"""
    for position in range(count):
        block, slot = divmod(places_of[position], BLOCK)
        values = cache[firsts[position] + block, layer, group, 1]
        for r in range(pairs):
            values[slot * 2 * half + first + r] = narrowed(low[r, position], cache)
            values[slot * 2 * half + first + r + half] = narrowed(high[r, position], cache)


# From Python to an object file


def machine_code(processor: Any, weights: Weights, buffers: Buffers) -> bytes:
    """An object file with `step` for arrays like these; `processor` is LLVM's description.

    Its function ENTRY(result, error, thread, job) takes two places that Numba wants, the number of
    the thread and the address of a `Job`. It returns 0, or another number if the step was given up.
    It needs the C library alone. TEAM_ENTRY(words) is what each thread of OpenMP runs.
    """
    numbers = types.Array(types.int64, 1, "C")
    job = (types.int64, types.int64, _type_of(weights), _type_of(buffers), *[numbers] * 3)
    step_at = _entry(types.Tuple((*job, types.int64)))
    (signature,) = step_at.signatures
    module = llvm.parse_assembly(step_at.inspect_llvm(signature))
    entry = module.get_function(step_at.overloads[signature].fndesc.llvm_func_name)
    for function in module.functions:
        if not function.is_declaration and function.linkage == llvm.Linkage.external:
            # What Python would call it by is left out, with all that this needs.
            function.linkage = llvm.Linkage.available_externally
    entry.name, entry.linkage = ENTRY, llvm.Linkage.external
    module.link_in(llvm.parse_assembly(str(_team(module.triple, module.data_layout))))
    code: bytes = processor.emit_object(module)
    return code


def _type_of(value: Any) -> Any:
    """As Numba types it, but the same for arrays that may be written and others."""
    if isinstance(value, tuple):
        return types.NamedTuple([_type_of(each) for each in value], type(value))
    if isinstance(value, np.ndarray):
        return types.Array(numba.from_dtype(value.dtype), value.ndim, "C")
    return numba.typeof(value)


def _entry(job: Any) -> Any:
    """`step`, compiled, with its arguments after the first, of the types `job`, in memory."""

    def job_at(typing: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            place = builder.inttoptr(arguments[0], context.get_value_type(job).as_pointer())
            return builder.load(place)

        return job(types.int64), generate

    read = intrinsic(job_at)

    def step_at(thread: Any, address: Any) -> None:
        step(thread, *read(address))

    return njit(types.void(types.int64, types.int64), **OPTIONS)(step_at)


def _team(triple: str, data_layout: str) -> Any:
    """TEAM_ENTRY(words): this thread's part in a job, if there are as many threads as it is for.

    The words: the address of OpenMP's function for the number of the thread, that of its function
    for how many there are, how many there should be, the address of the job, and a place for a 1
    if they are fewer.
    """
    word, place = ir.IntType(64), I8.as_pointer()
    module = ir.Module()
    module.triple, module.data_layout = triple, data_layout
    one = ir.Function(module, ir.FunctionType(I32, [place, place, word, word]), ENTRY)
    kind = ir.FunctionType(ir.VoidType(), [word.as_pointer()])
    team = ir.Function(module, kind, TEAM_ENTRY)
    builder = ir.IRBuilder(team.append_basic_block())
    places = [builder.gep(team.args[0], [word(number)]) for number in range(5)]
    ask, ask_count, count, job = (builder.load(each) for each in places[:4])
    answers = ir.FunctionType(I32, []).as_pointer()

    def asked(address: Any) -> Any:
        return builder.sext(builder.call(builder.inttoptr(address, answers), []), word)

    with builder.if_else(builder.icmp_signed("==", asked(ask_count), count)) as (whole, part):
        with whole:
            ignored = [builder.bitcast(builder.alloca(word), place) for _ in range(2)]
            builder.call(one, [*ignored, asked(ask), job])
        with part:
            builder.store(word(1), places[4])
    builder.ret_void()
    return module
