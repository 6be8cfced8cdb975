#!/usr/bin/env python3
"""Writes llamacpp.json: logits that llama.cpp finds for random models of gguf/synth and for the demo model.

    pip install numpy gguf llama-cpp-python==0.3.36
    python model/testdata/make_llamacpp.py          from the repository's root, after `make model`

A model is {flags, sha256, ids, columns, at, top, margin, file, exact}: the flags of scripts/randmodel that make it (none: the demo model) and what its
bytes must hash to, the tokens, and for the positions `at` the most likely token, by how much it leads the second, and the logits of some columns, as
llama.cpp finds them with the file itself, where it rounds activations to 8 bits beside quantised weights, and with the same weights unpacked to F32.
`greedy` is a prompt and, for both files, the most likely tokens after it, one after the other, and their margins. The versions used are written into the
file.
"""
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import llamacpp

DEMO = ROOT / "models/SmolLM2-135M-Instruct.Q4_1.gguf"
TEXT = ROOT / "scripts/testdata/text.txt"
PROMPT = "The capital of France is"
TOKENS, POSITIONS, COLUMNS = 40, 6, 40

# Flags of scripts/randmodel. The seed is a model's place.
MODELS = [
    *(f"-type {t} -own-output" for t in ("F32", "BF16", "Q8_0", "Q4_0", "Q5_1", "Q2_K", "Q4_K", "Q6_K", "IQ4_XS")),
    *(f"-type {t}" for t in ("F16", "Q4_1", "Q5_0", "IQ4_NL", "Q3_K", "Q5_K")),
    "-type Q4_K_M -layers 3",
    "-type F16 -embd 512 -heads 4 -kv-heads 1",  # D = 128, GQA 4
    "-type F16 -embd 512 -heads 2 -kv-heads 1",  # D = 256
    "-type Q8_0 -embd 192 -heads 6 -kv-heads 3 -head-dim 64",
    "-type F16 -rope-factors",
    "-type F16 -scaling linear",
    "-type F16 -scaling yarn",
    "-type F16 -ff 256 -experts 8",
    "-type Q5_K -ff 256 -experts 8 -own-output",
]


def numbers(x):
    return [float(f"{v:.5g}") for v in np.ravel(x)]


def lead(logits):
    """By how much the most likely token of each row leads the second."""
    order = np.sort(logits, axis=1)
    return numbers(order[:, -1] - order[:, -2])


def on_both(path, do):
    """What do(model) returns for the file, and for the same weights unpacked."""
    with tempfile.TemporaryDirectory() as tmp:
        unpacked = pathlib.Path(tmp) / "unpacked.gguf"
        llamacpp.quantize(path, unpacked, "F32")
        for p in (path, unpacked):
            with llamacpp.Model(p) as m:
                yield do(m)


def golden(path, ids, rng):
    """llama.cpp's logits of a model: some of the columns of some of the positions."""
    file, exact = on_both(path, lambda m: m.logits(ids))
    if not 1 < file.std() < 8:
        raise SystemExit(f"make_llamacpp: logits have a standard deviation of {file.std():.2g}: nothing like a model's")
    at = np.linspace(0, len(ids) - 1, POSITIONS).astype(int)
    columns = np.sort(rng.choice(file.shape[1], COLUMNS, replace=False))
    return {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "ids": ids, "columns": columns.tolist(), "at": at.tolist(),
            "top": file[at].argmax(1).tolist(), "margin": lead(file[at]),
            "file": numbers(file[np.ix_(at, columns)]), "exact": numbers(exact[np.ix_(at, columns)])}


def greedy(m, prompt, n):
    start, ids = m.tokens(prompt), m.tokens(prompt)
    for _ in range(n):
        ids.append(int(m.logits(ids)[-1].argmax()))
    return {"prompt": start, "ids": ids[len(start) :], "margin": lead(m.logits(ids)[len(start) - 1 : -1])}


def main():
    models = []
    with tempfile.TemporaryDirectory() as tmp:
        path, made = pathlib.Path(tmp) / "model.gguf", pathlib.Path(tmp) / "randmodel"
        subprocess.run(["go", "build", "-o", made, "./scripts/randmodel"], cwd=ROOT, check=True)
        for seed, flags in enumerate(MODELS):
            rng = np.random.default_rng(seed)
            flags = [*flags.split(), "-seed", str(seed)]
            subprocess.run([made, *flags, "-o", path], check=True)
            models.append({"flags": flags} | golden(path, rng.integers(3, 512, TOKENS).tolist(), rng))
    with llamacpp.Model(DEMO) as m:
        ids = m.tokens(TEXT.read_text())[:TOKENS]
    models.append({"flags": None} | golden(DEMO, ids, np.random.default_rng(0)))
    file, exact = on_both(DEMO, lambda m: greedy(m, PROMPT, 16))
    head = {"versions": llamacpp.versions(), "greedy": {"file": file, "exact": exact}}
    lines = ",\n".join(json.dumps(m, separators=(",", ":")) for m in models)
    (ROOT / "model/testdata/llamacpp.json").write_text(json.dumps(head)[:-1] + ',\n"models": [\n' + lines + "\n]}\n")


if __name__ == "__main__":
    main()
