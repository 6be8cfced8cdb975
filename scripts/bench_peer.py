#!/usr/bin/env python3
"""mustafar and llama.cpp on the same file, interleaved, with the ratios between them: make bench-peer.

    pip install llama-cpp-python==0.3.36        (builds llama.cpp for this machine; several minutes)
    bench_peer.py [--model M] [--threads 1,2] [--depths 0,4096,8000] [--rounds 3] [-o docs/bench/cpu.md]

Each round runs our `bench` and then llama.cpp, each in a process of its own, pinned to as many processors as threads; a figure is the median of the
rounds, a ratio that of the medians. llama.cpp runs with its f16 cache, and for the row "q8_0" with that. Nothing else may run on the machine: at two
threads llama.cpp's threads spin at barriers, and lose all their speed beside another program.
"""
import argparse
import ctypes
import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


def peer(model, threads, prefill, decode, depths, kv):
    """llama.cpp in this process: yields (test, tokens/s)."""
    import llama_cpp as ll

    log = ll.llama_log_callback(lambda *_: None)
    ll.llama_backend_init()
    ll.llama_log_set(log, ctypes.c_void_p(0))
    m = ll.llama_model_load_from_file(model.encode(), ll.llama_model_default_params())
    vocab = ll.llama_vocab_n_tokens(ll.llama_model_get_vocab(m))
    ids = [(i * 7919 + 13) % vocab for i in range(max(depths) + prefill + 4 * decode + 8)]

    def context(n):
        p = ll.llama_context_default_params()
        p.n_ctx, p.n_batch, p.n_ubatch, p.n_threads, p.n_threads_batch = n, 512, 512, threads, threads
        p.type_k = p.type_v = {"f16": 1, "q8_0": 8}[kv]
        p.flash_attn_type = -1 if kv == "f16" else 1
        return ll.llama_init_from_model(m, p)

    def run(c, tokens, pos):
        b = ll.llama_batch_init(len(tokens), 0, 1)
        for i, t in enumerate(tokens):
            b.token[i], b.pos[i], b.n_seq_id[i], b.seq_id[i][0] = t, pos + i, 1, 0
            b.logits[i] = i + 1 == len(tokens)
        b.n_tokens = len(tokens)
        if ll.llama_decode(c, b):
            raise SystemExit("bench_peer: llama_decode failed")
        ll.llama_batch_free(b)

    c = context(prefill + 8)
    for _ in range(2):  # the first one warms up
        ll.llama_memory_clear(ll.llama_get_memory(c), True)
        t = time.perf_counter()
        run(c, ids[:prefill], 0)
        rate = prefill / (time.perf_counter() - t)
    yield f"pp{prefill}", rate
    ll.llama_free(c)
    for d in depths:
        c = context(d + 2 * decode + 8)
        for p in range(0, d, 512):
            run(c, ids[p : min(d, p + 512)], p)
        pos = d
        for _ in range(2):
            t = time.perf_counter()
            for _ in range(decode):
                run(c, [ids[pos]], pos)
                pos += 1
            rate = decode / (time.perf_counter() - t)
        yield f"tg{decode}" + (f" @ d{d}" if d else ""), rate
        ll.llama_free(c)


def ours(o, threads, caches):
    """Our bench: (cache, test) -> tokens/s."""
    args = [str(ROOT / "mustafar"), "bench", "-m", o.model, "--device", "cpu", "-t", str(threads), "-p", str(o.prefill), "-n", str(o.decode),
            "-d", o.depths, "--caches", caches, "-r", "1", "-o", "jsonl"]
    out = subprocess.run(args, check=True, stdout=subprocess.PIPE, text=True, preexec_fn=pin(threads)).stdout
    rows = [json.loads(line) for line in out.splitlines()]
    return {(r["cache"], r["test"]): r["avg_ts"] for r in rows}


def theirs(o, threads, kv):
    args = [sys.executable, __file__, "--peer", kv, "--model", o.model, "--threads", str(threads), "--prefill", str(o.prefill),
            "--decode", str(o.decode), "--depths", o.depths]
    out = subprocess.run(args, check=True, stdout=subprocess.PIPE, text=True, preexec_fn=pin(threads)).stdout
    return dict(json.loads(out))


def pin(threads):
    return lambda: os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def cpu_name():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--model", default=str(ROOT / "models/SmolLM2-135M-Instruct.Q4_1.gguf")), a.add_argument("--threads", default="1,2")
    a.add_argument("--prefill", type=int, default=512), a.add_argument("--decode", type=int, default=32)
    a.add_argument("--depths", default="0,4096,8000"), a.add_argument("--rounds", type=int, default=3)
    a.add_argument("--caches", default="dense,sparse:0.5"), a.add_argument("--q8", action="store_true", help="also llama.cpp's q8_0 cache")
    a.add_argument("-o", help="append a Markdown section to this file"), a.add_argument("--peer", help=argparse.SUPPRESS)
    o = a.parse_args()
    depths = [int(d) for d in o.depths.split(",")]
    if o.peer:
        print(json.dumps(list(peer(o.model, int(o.threads), o.prefill, o.decode, depths, o.peer))))
        return
    tests = [f"pp{o.prefill}"] + [f"tg{o.decode}" + (f" @ d{d}" if d else "") for d in depths]
    lines = [f"## {datetime.date.today()}, {cpu_name()}, {os.cpu_count()} processors", "",
             f"`{' '.join(['scripts/bench_peer.py'] + sys.argv[1:])}`: {pathlib.Path(o.model).name}, medians of {o.rounds} interleaved rounds, tokens/s (ratio to llama.cpp's f16 cache).", ""]
    for threads in (int(t) for t in o.threads.split(",")):
        samples = {}
        for r in range(o.rounds):
            for key, v in ours(o, threads, o.caches).items():
                samples.setdefault(key, []).append(v)
            for kv in ["f16"] + (["q8_0"] if o.q8 else []):
                for test, v in theirs(o, threads, kv).items():
                    samples.setdefault((f"llama.cpp {kv}", test), []).append(v)
            print(f"{threads} threads, round {r + 1} of {o.rounds}", file=sys.stderr)
        mid = {k: statistics.median(v) for k, v in samples.items()}
        lines += [f"**{threads} thread{'s' if threads > 1 else ''}**", "", "| cache | " + " | ".join(tests) + " |", "|---" * (len(tests) + 1) + "|"]
        for cache in dict.fromkeys(k[0] for k in mid):
            cells = []
            for t in tests:
                base = mid[("llama.cpp f16", t)]
                cells.append(f"{mid[cache, t]:.1f} ({mid[cache, t] / base:.2f})" if (cache, t) in mid else "")
            lines.append(f"| {cache} | " + " | ".join(cells) + " |")
        lines.append("")
    text = "\n".join(lines)
    print(text)
    if o.o:
        path = pathlib.Path(o.o)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as f:
            f.write(text + "\n")


if __name__ == "__main__":
    main()
