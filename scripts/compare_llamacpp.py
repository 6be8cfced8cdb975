#!/usr/bin/env python3
"""Logits of this program against llama.cpp's: on random models of every kind, and on the demo model over 2,000 positions of a real text.

    pip install numpy gguf llama-cpp-python==0.3.36
    python scripts/compare_llamacpp.py [--only WORD] [--demo MODEL.gguf] [--text FILE] [--positions 2000]

The random models are written by the gguf package as F32 and brought to their types by llama.cpp's own quantiser. llama.cpp runs each file with its
default f16 cache, flash attention off and on, and once more with the weights unpacked to F32: beside quantised weights it rounds activations to 8 bits,
as we do without `--act f32`; unpacked, it has nothing to round. Differences are RMS of the differences / RMS of llama.cpp's logits:

    own    llama.cpp on the file from llama.cpp unpacked: what its rounding alone does
    exact  ours, f32, from llama.cpp unpacked
    f32    ours, f32, from llama.cpp on the file, flash attention off or on, whichever is worse
    q8     ours, q8, from the same
    top-1  share of positions where the most likely token is llama.cpp's on the file
    margin the largest lead of llama.cpp's most likely token over its second where ours is another, over the RMS of the differences

The bounds: exact 0.1 %; f32 1 %, q8 2 %; margin 5. Where rounding alone moves llama.cpp further, so that it could not keep to its own logits, f32 may be
1.1 times own and q8 1.5 times (two roundings, hardly alike). The demo model is such a case: against the weights unpacked, f32 must find the same most
likely token at 99 % of the positions and a mean KL divergence of 1e-3, and q8 may lose as much as llama.cpp does there, and a quarter.

Ends with status 1 when a bound is broken. Written with Python 3.11, llama-cpp-python 0.3.36 (its own build of llama.cpp), gguf 0.19.0, numpy 2.4.6.
"""
import argparse
import collections
import json
import math
import pathlib
import subprocess
import sys
import tempfile

import gguf
import numpy as np

import llamacpp

ROOT = pathlib.Path(__file__).resolve().parent.parent

# What a model is, by default; each below says how it differs.
SHAPE = dict(mix="F16", layers=4, embd=512, ff=1024, heads=8, kv_heads=2, head_dim=64, vocab=1000, ctx=4096, own_output=False, experts=0,
             rope_factors=False, scaling=None)
MODELS = {
    "D 128, GQA 4": dict(embd=1024, head_dim=128),
    "D 256": dict(heads=4, kv_heads=1, head_dim=256),
    "head_dim is not embd/heads": dict(heads=6, kv_heads=3, own_output=True),
    "rope_freqs": dict(rope_factors=True),
    "linear scaling": dict(scaling="linear"),
    "YaRN": dict(scaling="yarn"),
    "BF16": dict(mix="BF16", own_output=True),
    "Q8_0": dict(mix="Q8_0"),
    "Q4_0": dict(mix="Q4_0"),
    "Q4_1": dict(mix="Q4_1"),
    "Q5_0": dict(mix="Q5_0"),
    "Q5_1": dict(mix="Q5_1"),
    "IQ4_NL": dict(mix="IQ4_NL"),
    "Q2_K": dict(mix="Q2_K", own_output=True),
    "Q3_K_M": dict(mix="Q3_K_M", own_output=True),
    "Q4_K_M": dict(mix="Q4_K_M"),
    "Q4_K_M, own output": dict(mix="Q4_K_M", own_output=True),
    "Q5_K_M": dict(mix="Q5_K_M"),
    "Q6_K": dict(mix="Q6_K"),
    "IQ4_XS": dict(mix="IQ4_XS", own_output=True),
    "Q4_K_M, 576 wide": dict(mix="Q4_K_M", embd=576, heads=9, kv_heads=3, ff=1536),  # rows that K-quants do not divide get other types
    "Q5_K_M, 576 wide": dict(mix="Q5_K_M", embd=576, heads=9, kv_heads=3, ff=1536),
    "Q3_K_M, 576 wide": dict(mix="Q3_K_M", embd=576, heads=9, kv_heads=3, ff=1536),
    "Mixtral": dict(experts=8, layers=2, own_output=True),
    "Mixtral Q4_K_M": dict(mix="Q4_K_M", experts=8, layers=2, own_output=True),
}
POSITIONS = 300  # of a random model: more than a tile of keys


def write_model(path, s, seed):
    """Writes the F32 model of the shape s.

    The gains keep attention between uniform and one-hot, logits at a standard deviation of 2, and let a layer add a little to the residual stream, as
    in a trained model: with layers of equal weight, llama.cpp's own rounding moves its logits by 5 to 8 %, which hides smaller errors from f32 and q8.
    """
    rng = np.random.default_rng(seed)
    w = gguf.GGUFWriter(str(path), "llama")
    w.add_name("random"), w.add_block_count(s.layers), w.add_context_length(s.ctx), w.add_embedding_length(s.embd), w.add_feed_forward_length(s.ff)
    w.add_head_count(s.heads), w.add_head_count_kv(s.kv_heads), w.add_key_length(s.head_dim), w.add_value_length(s.head_dim)
    w.add_layer_norm_rms_eps(1e-5), w.add_rope_freq_base(10000.0), w.add_rope_dimension_count(s.head_dim)
    w.add_vocab_size(s.vocab), w.add_tokenizer_model("no_vocab")
    if s.experts:
        w.add_expert_count(s.experts), w.add_expert_used_count(2)
    if s.scaling:
        w.add_rope_scaling_type(gguf.RopeScalingType(s.scaling)), w.add_rope_scaling_factor(4.0), w.add_rope_scaling_orig_ctx_len(s.ctx // 4)

    def matrix(name, gain, *shape):
        w.add_tensor(name + ".weight", (rng.standard_normal(shape, np.float32) * np.float32(gain / math.sqrt(shape[-1]))))

    def norm(name, x=None):
        w.add_tensor(name + ".weight", (1 if x is None else x) * (1 + 0.1 * rng.standard_normal(s.embd, np.float32)))

    q, kv = s.heads * s.head_dim, s.kv_heads * s.head_dim
    matrix("token_embd", math.sqrt(s.embd), s.vocab, s.embd)
    for i in range(s.layers):
        blk = f"blk.{i}."
        norm(blk + "attn_norm"), norm(blk + "ffn_norm")
        matrix(blk + "attn_q", 1.25, q, s.embd), matrix(blk + "attn_k", 1.25, kv, s.embd)
        matrix(blk + "attn_v", 1, kv, s.embd), matrix(blk + "attn_output", 0.3, s.embd, q)
        kind, each = ("_exps", (s.experts,)) if s.experts else ("", ())
        if s.experts:
            matrix(blk + "ffn_gate_inp", 4, s.experts, s.embd)
        matrix(blk + "ffn_gate" + kind, 1, *each, s.ff, s.embd), matrix(blk + "ffn_up" + kind, 1, *each, s.ff, s.embd)
        matrix(blk + "ffn_down" + kind, 0.25, *each, s.embd, s.ff)
    # With random signs, what a tied embedding finds likeliest is not the token itself.
    norm("output_norm", rng.choice([-1, 1], s.embd).astype(np.float32) * np.float32(2 / math.sqrt(s.embd)))
    if s.own_output:
        matrix("output", math.sqrt(s.embd), s.vocab, s.embd)
    if s.rope_factors:  # as Llama 3.1's: high frequencies stay, low ones are divided by 8
        w.add_tensor("rope_freqs.weight", np.linspace(1, 8, s.head_dim // 2, dtype=np.float32))
    w.write_header_to_file(), w.write_kv_data_to_file(), w.write_tensors_to_file(), w.close()


def types_in(path):
    """The types of the matrices in a file, the most frequent first: "25 Q4_K, 4 Q6_K"."""
    count = collections.Counter(t.tensor_type.name for t in gguf.GGUFReader(str(path)).tensors if len(t.shape) > 1)
    return ", ".join(f"{n} {t}" for t, n in count.most_common())


class Ours:
    """This program's logits."""

    def __init__(self, tmp):
        self.tmp, self.binary = tmp, tmp / "logits"
        subprocess.run(["go", "build", "-o", self.binary, "./scripts/logits"], cwd=ROOT, check=True)

    def logits(self, path, ids, act):
        (self.tmp / "ids.json").write_text(json.dumps(ids))
        subprocess.run([self.binary, "-m", path, "-ids", self.tmp / "ids.json", "-act", act, "-o", self.tmp / "logits.f32"], check=True)
        return np.fromfile(self.tmp / "logits.f32", "<f4").reshape(len(ids), -1)


def rms(x):
    return math.sqrt(np.mean(np.square(x, dtype=np.float64)))


class Difference:
    """How logits a differ from the reference b."""

    def __init__(self, a, b):
        self.rms = rms(a - b)
        self.ratio = self.rms / rms(b)
        first, second = (np.partition(b, i, axis=1)[:, i] for i in (-1, -2))
        same = a.argmax(1) == b.argmax(1)
        self.top1 = same.mean()
        self.margin = np.max((first - second)[~same], initial=0) / max(self.rms, 1e-30)


def kl(a, b):
    """Mean KL divergence, in nats, of the distributions that logits b stand for from those of the reference a."""
    total = 0.0
    for x, y in zip(a, b):
        p, q = (z - z.max() for z in (x.astype(np.float64), y.astype(np.float64)))
        p, q = (z - math.log(np.exp(z).sum()) for z in (p, q))
        total += float((np.exp(p) * (p - q)).sum())
    return total / len(a)


def all_logits(ours, tmp, path, ids):
    """Logits of the model at path: llama.cpp's, flash attention off and on, llama.cpp's unpacked, ours in f32 and in q8."""
    unpacked = tmp / "unpacked.gguf"
    llamacpp.quantize(path, unpacked, "F32")
    with llamacpp.Model(path) as m:
        peers = [m.logits(ids, flash) for flash in (False, True)]
    with llamacpp.Model(unpacked) as m:
        exact = m.logits(ids)
    return *peers, exact, *(ours.logits(path, ids, act) for act in ("f32", "q8"))


class Bounds:
    """Collects the bounds that are broken."""

    def __init__(self):
        self.broken = []

    def hold(self, name, what, value, most):
        if not value <= most:
            self.broken.append(f"{name}: {what} is {value:.3g}, want at most {most:.3g}")


def hold(bounds, name, own, exact, f32, q8):
    """The bounds that all models have in common."""
    bounds.hold(name, "exact", exact.ratio, 0.001)
    bounds.hold(name, "f32", f32.ratio, max(0.01, 1.1 * own.ratio))
    bounds.hold(name, "q8", q8.ratio, max(0.02, 1.5 * own.ratio))
    bounds.hold(name, "margin", max(d.margin for d in (exact, f32, q8)), 5)


def compare_random(ours, tmp, bounds, seed, name):
    s = argparse.Namespace(**(SHAPE | MODELS[name]))
    source, path = tmp / "f32.gguf", tmp / "model.gguf"
    write_model(source, s, seed)
    llamacpp.quantize(source, path, s.mix)
    ids = np.random.default_rng(seed).integers(0, s.vocab, POSITIONS).tolist()
    off, on, exact, f32, q8 = all_logits(ours, tmp, path, ids)
    own, e = Difference(off, exact), Difference(f32, exact)
    f, q = (max((Difference(x, peer) for peer in (off, on)), key=lambda d: d.ratio) for x in (f32, q8))
    margin = max(d.margin for d in (e, f, q))
    print(f"| {name} | {types_in(path)} | {own.ratio:.2%} | {e.ratio:.3%} | {f.ratio:.2%} | {q.ratio:.2%} | {f.top1:.1%} | {q.top1:.1%} | {margin:.1f} |", flush=True)
    hold(bounds, name, own, e, f, q)


def compare_demo(ours, tmp, bounds, path, text, positions):
    with llamacpp.Model(path) as m:
        ids = m.tokens(text)[:positions]
    if len(ids) < positions:
        raise SystemExit(f"compare_llamacpp: the text has {len(ids)} tokens, want {positions}")
    off, on, exact, f32, q8 = all_logits(ours, tmp, path, ids)
    print(f"\n{pathlib.Path(path).name}: {types_in(path)}; {len(ids)} positions\n\n| logits | RMS | top-1 | margin | mean KL |\n|---|---|---|---|---|")

    def row(what, x, reference):
        d = Difference(x, reference)
        d.kl = kl(reference, x)
        print(f"| {what} | {d.ratio:.3%} | {d.top1:.2%} | {d.margin:.1f} | {d.kl:.2e} |", flush=True)
        return d

    row("llama.cpp, flash attention, from llama.cpp", on, off)
    own = row("llama.cpp from llama.cpp unpacked", off, exact)
    f32_exact = row("ours, f32, from llama.cpp unpacked", f32, exact)
    q8_exact = row("ours, q8, from llama.cpp unpacked", q8, exact)
    hold(bounds, "demo", own, f32_exact, row("ours, f32, from llama.cpp", f32, off), row("ours, q8, from llama.cpp", q8, off))
    bounds.hold("demo", "share of other tokens, f32", 1 - f32_exact.top1, 0.01)
    bounds.hold("demo", "KL, f32", f32_exact.kl, 1e-3)
    bounds.hold("demo", "share of other tokens, q8", 1 - q8_exact.top1, 1.25 * (1 - own.top1))
    bounds.hold("demo", "KL, q8", q8_exact.kl, 1.25 * own.kl)


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--only", default="", help="models whose name has this word; the demo model is called demo")
    a.add_argument("--demo", default=ROOT / "models/SmolLM2-135M-Instruct.Q4_1.gguf", help="default: %(default)s")
    a.add_argument("--text", type=pathlib.Path, default=ROOT / "scripts/testdata/text.txt", help="default: %(default)s")
    a.add_argument("--positions", type=int, default=2000, help="of the text; default: %(default)s")
    o = a.parse_args()
    print(llamacpp.versions())
    bounds = Bounds()
    with tempfile.TemporaryDirectory() as folder:
        tmp = pathlib.Path(folder)
        ours = Ours(tmp)
        print("\n| model | matrices | own | exact | f32 | q8 | top-1 f32 | top-1 q8 | margin |\n|---|---|---|---|---|---|---|---|---|")
        for seed, name in enumerate(MODELS):
            if o.only in name:
                compare_random(ours, tmp, bounds, seed, name)
        if o.only in "demo":
            compare_demo(ours, tmp, bounds, o.demo, o.text.read_text(), o.positions)
    print("\n" + "\n".join(bounds.broken or ["All bounds hold."]))
    return 1 if bounds.broken else 0


if __name__ == "__main__":
    sys.exit(main())
