"""llama.cpp inside this process, as a peer to compare with: logits of every position, tokens of a text, files in other types.

    pip install numpy gguf llama-cpp-python==0.3.36        (builds llama.cpp for this machine; several minutes)

Its cache is the default one, f16. Everything runs on the CPU.
"""
import ctypes
import importlib.metadata
import platform

import llama_cpp as ll
import numpy as np

# enum llama_ftype: what `llama-quantize` calls these mixes of types.
FTYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10, "Q3_K_M": 12, "Q4_K_M": 15,
          "Q5_K_M": 17, "Q6_K": 18, "IQ4_NL": 25, "IQ4_XS": 30, "BF16": 32}


@ll.llama_log_callback
def _quiet(level, text, user):
    pass


ll.llama_backend_init()
ll.llama_log_set(_quiet, ctypes.c_void_p(0))


def versions():
    """What the numbers were made with, in one line."""
    packages = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in ("llama-cpp-python", "gguf", "numpy"))
    return f"Python {platform.python_version()}, {packages}"


def quantize(src, dst, mix):
    """Writes the model src to dst in the types of a mix, as llama-quantize does. F32 gives the very weights that src holds, unpacked."""
    p = ll.llama_model_quantize_default_params()
    p.ftype, p.allow_requantize, p.nthread = FTYPES[mix], True, 2
    if rc := ll.llama_model_quantize(str(src).encode(), str(dst).encode(), ctypes.byref(p)):
        raise SystemExit(f"llamacpp: llama_model_quantize to {mix} returned {rc}")


class Model:
    """A loaded model; a context manager."""

    def __init__(self, path):
        p = ll.llama_model_default_params()
        p.n_gpu_layers = 0
        self.m = ll.llama_model_load_from_file(str(path).encode(), p)
        if not self.m:
            raise SystemExit(f"llamacpp: cannot load {path}")
        self.words = ll.llama_model_get_vocab(self.m)
        self.vocab = ll.llama_vocab_n_tokens(self.words)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        ll.llama_model_free(self.m)

    def tokens(self, text):
        """The ids of a text, with BOS where the model asks for it."""
        raw = text.encode()
        buf = (ll.llama_token * (len(raw) + 16))()
        n = ll.llama_tokenize(self.words, raw, len(raw), buf, len(buf), True, False)
        return list(buf[:n])

    def logits(self, ids, flash=False, chunk=512, threads=2):
        """float32 logits of every position, (len(ids), vocab), in passes of at most chunk tokens."""
        p = ll.llama_context_default_params()
        p.n_ctx, p.n_batch, p.n_ubatch, p.n_outputs_max = len(ids) + 8, chunk, chunk, chunk
        p.n_threads = p.n_threads_batch = threads
        p.flash_attn_type = 1 if flash else 0
        c = ll.llama_init_from_model(self.m, p)
        if not c:
            raise SystemExit("llamacpp: cannot make a context")
        out = np.empty((len(ids), self.vocab), np.float32)
        for at in range(0, len(ids), chunk):
            n = min(chunk, len(ids) - at)
            b = ll.llama_batch_init(n, 0, 1)
            for i in range(n):
                b.token[i], b.pos[i], b.n_seq_id[i], b.seq_id[i][0], b.logits[i] = ids[at + i], at + i, 1, 0, 1
            b.n_tokens = n
            rc = ll.llama_decode(c, b)
            ll.llama_batch_free(b)
            if rc:
                raise SystemExit(f"llamacpp: llama_decode returned {rc}")
            out[at : at + n] = np.ctypeslib.as_array(ll.llama_get_logits(c), (n, self.vocab))
        ll.llama_free(c)
        return out
