"""Writes python.gguf, next to this script: what the gguf Python package makes of every tensor type and metadata kind.

  dequantize.T        type T  blocks of random bits, scales from a list of extremes and random
  dequantize.T.want   F32     gguf.dequantize of those
  quantize.T.src      F32     random values, ties, zeros, one outlier, tiny and large ones
  quantize.T          type T  gguf.quantize of those

and one key for each metadata kind and array (golden_test.go has the same list).

  pip install numpy gguf && python make_goldens.py

The committed file was written by gguf 0.19.0, numpy 2.4.6, Python 3.11, x86-64.
"""

import pathlib

import numpy as np
from gguf import GGMLQuantizationType as T, GGUFWriter, GGUFValueType as K, dequantize, quantize
from gguf.constants import GGML_QUANT_SIZES

BLOCKS = {1: 64, 32: 24, 256: 12}  # blocks a type, by block size
# Where the float16 scales (and minima) of a block lie.
SCALES = {
    T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0], T.Q2_K: [80, 82], T.Q3_K: [108],
    T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208], T.IQ4_NL: [0], T.IQ4_XS: [0],
}
# As bits: 0, -0, the least and the greatest subnormal, the least normal, 1, 65504, -65504, infinity, NaN.
EXTREMES = [0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x3C00, 0x7BFF, 0xFBFF, 0x7C00, 0x7E00]

rng = np.random.default_rng(1)


def random_halves(n):
    return rng.normal(0, 0.02, n).astype(np.float16)


def blocks(t):
    size, nbytes = GGML_QUANT_SIZES[t]
    n = BLOCKS[size]
    b = rng.integers(0, 256, (n, nbytes), dtype=np.uint8)
    if t == T.F32:
        b.view(np.uint32)[:8, 0] = [0, 1 << 31, 1, 0x7FFFFF, 0x800000, 0x7F7FFFFF, 0x7F800000, 0x7FC00000]
    elif t == T.F16:
        b.view(np.uint16)[:10, 0] = EXTREMES
    elif t == T.BF16:
        b.view(np.uint16)[:8, 0] = [0, 0x8000, 1, 0x7F, 0x80, 0x7F7F, 0x7F80, 0x7FC0]
    else:
        for k, at in enumerate(SCALES[t]):
            d = random_halves(n).view(np.uint16)
            d[: len(EXTREMES)] = np.roll(EXTREMES, 3 * k)
            b[:, at : at + 2] = d.view(np.uint8).reshape(n, 2)
        scales = {at + i for at in SCALES[t] for i in range(2)}
        rest = [i for i in range(nbytes) if i not in scales]
        b[5, rest], b[6, rest] = 0x00, 0xFF  # under the scales 1 and 65504
    return b.reshape(-1)


def values():
    x = rng.normal(0, 0.5, (16, 32)).astype(np.float32)
    x[0] = 0
    x[1] = np.arange(-16, 16)  # ties: halves and quarters of the step
    x[2] = np.arange(32) / 2
    x[3] = -3
    x[4, 7] = -40  # one outlier
    x[5] *= 1e-7  # subnormal scales
    x[6] *= 1e4
    x[7, 3], x[7, 20] = 1.5, -1.5  # the largest twice, with both signs
    x[7, :3] = x[7, :3].clip(-1, 1)
    x[8] = np.arange(32) * 127 / 31 - 63.5
    return x.reshape(-1)


def main():
    w = GGUFWriter(pathlib.Path(__file__).with_name("python.gguf"), "test")
    w.add_uint8("u8", 255)
    w.add_int8("i8", -128)
    w.add_uint16("u16", 65535)
    w.add_int16("i16", -32768)
    w.add_uint32("u32", 4294967295)
    w.add_int32("i32", -2147483648)
    w.add_uint64("u64", 18446744073709551615)
    w.add_int64("i64", -9223372036854775808)
    w.add_float32("f32", 0.1)
    w.add_float64("f64", 0.1)
    w.add_bool("true", True)
    w.add_bool("false", False)
    w.add_string("string", "mustafar \N{VOLCANO}")
    w.add_array("strings", ["a", "", "\N{VOLCANO}"])
    w.add_array("ints", [1, -2, 3])
    w.add_array("floats", [0.5, -0.25])
    w.add_array("bools", [True, False])
    w.add_key_value("bytes", b"\x00\xff", K.ARRAY)
    w.add_array("nested", [[1, 2], [3]])
    w.add_custom_alignment(64)
    types = [T.F32, T.F16, T.BF16, *SCALES]
    with np.errstate(all="ignore"):
        for t in types:
            b = blocks(t)
            w.add_tensor(f"dequantize.{t.name}", b.reshape(1, -1), raw_dtype=t)
            w.add_tensor(f"dequantize.{t.name}.want", dequantize(b, t).reshape(-1))
        for t in [T.F32, T.F16, T.BF16, T.Q8_0, T.Q4_0, T.Q4_1]:
            x = values()
            w.add_tensor(f"quantize.{t.name}.src", x)
            w.add_tensor(f"quantize.{t.name}", quantize(x, t).view(np.uint8).reshape(1, -1), raw_dtype=t)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


main()
