"""Writes goldens.json: what llama.cpp's samplers leave of small rows of logits, and with which probabilities.

Run from the repository's root:  python internal/sample/testdata/make_goldens.py models/SmolLM2-135M-Instruct.Q4_1.gguf
The model lends its vocabulary alone, to the dry sampler. The versions used are written into the file.

A case is {name, row, params, history, tokens, probs}: `params` overrides sample.Default and lists the samplers, `history` was
accepted before, `tokens` are those of probability above 0 from the most probable to the least, and `probs` their probabilities.
A row is a list of whole 1/1024ths, without equal ones, so that no expectation hangs on how an unstable sort breaks ties.
"""
import ctypes
import itertools
import json
import pathlib
import platform
import random
import sys

import llama_cpp as ll

rng = random.Random(20251124)


def make_row(n, scale, peak=0.0):
    """n distinct logits, normal, the first few of a shuffle raised by up to peak."""
    seen = set()
    while len(seen) < n:
        seen.add(round(1024 * rng.gauss(0, scale)))
    values = sorted(seen)
    rng.shuffle(values)
    for i in rng.sample(range(n), min(4, n)):
        v = values[i] + round(1024 * peak * rng.random())
        while v in seen:
            v += 1
        seen.add(v)
        values[i] = v
    return values


ROWS = [make_row(5, 1), make_row(40, 2), make_row(260, 2, 8), make_row(260, 0.5), make_row(1500, 2.5, 12), make_row(1500, 1)]

# The parameters' names are those of sample.Params; the values llama.cpp's defaults.
DEFAULTS = dict(
    Temp=0.8, TopK=40, TopP=0.95, MinP=0.05, TypP=1.0, TopNSigma=-1.0, XTCProbability=0.0, XTCThreshold=0.1,
    RepeatLastN=64, RepeatPenalty=1.0, PresencePenalty=0.0, FrequencyPenalty=0.0,
    DryMultiplier=0.0, DryBase=1.75, DryAllowedLength=2, DryLastN=64)
ORDER = "penalties dry top_n_sigma top_k typ_p top_p min_p xtc temperature".split()


def sampler(name, p, n, vocab, breakers):
    match name:
        case "penalties":
            return ll.llama_sampler_init_penalties(
                n, p["RepeatLastN"], p["RepeatPenalty"], p["FrequencyPenalty"], p["PresencePenalty"])
        case "dry":
            strings = (ctypes.c_char_p * len(breakers))(*[b.encode() for b in breakers])
            return ll.llama_sampler_init_dry(
                vocab, p["DryMultiplier"], p["DryBase"], p["DryAllowedLength"], p["DryLastN"], strings, len(breakers))
        case "top_n_sigma":
            return ll.llama_sampler_init_top_n_sigma(p["TopNSigma"])
        case "top_k":
            return ll.llama_sampler_init_top_k(p["TopK"])
        case "typ_p":
            return ll.llama_sampler_init_typical(p["TypP"], 0)
        case "top_p":
            return ll.llama_sampler_init_top_p(p["TopP"], 0)
        case "min_p":
            return ll.llama_sampler_init_min_p(p["MinP"], 0)
        case "xtc":
            return ll.llama_sampler_init_xtc(p["XTCProbability"], p["XTCThreshold"], 0, 1)
        case "temperature":
            return ll.llama_sampler_init_temp_ext(p["Temp"], 0.0, 1.0)


def run(row, params, samplers, history, bias, vocab, breakers):
    n = len(row)
    chain = ll.llama_sampler_chain_init(ll.llama_sampler_chain_default_params())
    if bias:
        items = (ll.llama_logit_bias * len(bias))(*[ll.llama_logit_bias(t, b) for t, b in bias.items()])
        ll.llama_sampler_chain_add(chain, ll.llama_sampler_init_logit_bias(n, len(bias), items))
    for name in samplers:
        ll.llama_sampler_chain_add(chain, sampler(name, DEFAULTS | params, n, vocab, breakers))
    ll.llama_sampler_chain_add(chain, ll.llama_sampler_init_dist(1))
    for token in history:
        ll.llama_sampler_accept(chain, token)
    data = (ll.llama_token_data * n)(*[ll.llama_token_data(i, v / 1024, 0) for i, v in enumerate(row)])
    array = ll.llama_token_data_array(data, n, -1, False)
    ll.llama_sampler_apply(chain, ctypes.byref(array))
    left = [(array.data[i].id, array.data[i].p) for i in range(array.size) if array.data[i].p > 0]
    ll.llama_sampler_free(chain)
    return sorted(left, key=lambda x: (-x[1], x[0]))


def breaker_tokens(vocab, limit, string):
    """The sequences of tokens below limit that spell a breaker of one or two ASCII characters."""
    buf = ctypes.create_string_buffer(64)
    text = {}
    for t in range(limit):
        length = ll.llama_token_to_piece(vocab, t, buf, len(buf), 0, True)
        text[t] = buf.raw[:max(length, 0)].decode(errors="replace")
    whole = [[t] for t in text if string in text[t]]
    if len(string) == 1:
        return whole
    [rest] = [t for t in text if text[t] == string[1]]
    return whole + [[t, rest] for t in text if string not in text[t] and text[t].endswith(string[0])]


def main():
    quiet = ll.llama_log_callback(lambda *_: None)
    ll.llama_log_set(quiet, None)
    mp = ll.llama_model_default_params()
    mp.vocab_only = True
    model = ll.llama_model_load_from_file(sys.argv[1].encode(), mp)
    vocab = ll.llama_model_get_vocab(model)
    cases = []

    def case(name, row, samplers, history=(), bias=None, breakers=(), **params):
        left = run(ROWS[row], params, samplers, history, bias, vocab, breakers)
        out = dict(params, Samplers=samplers)
        if bias:
            out["LogitBias"] = {str(t): b for t, b in bias.items() if b != float("-inf")}
            out["Never"] = [t for t, b in bias.items() if b == float("-inf")]
        if breakers:
            out["DryBreakers"] = [s for b in breakers for s in breaker_tokens(vocab, len(ROWS[row]), b)]
        cases.append(dict(name=name, row=row, params=out, history=list(history),
                          tokens=[t for t, _ in left], probs=[float(f"{p:.6g}") for _, p in left]))

    small = range(4)  # rows of which whole distributions are kept
    for r in range(len(ROWS)):
        case("default", r, ORDER)
        for k in (1, 7, 100 if r == 4 else 30):
            case(f"top_k {k}", r, ["top_k"], TopK=k)
        for p in (0.0, 0.3, 0.9) if r != 5 else (0.0, 0.1):
            case(f"top_p {p}", r, ["top_p"], TopP=p)
        for p in (0.02, 0.3, 1.0) if r not in (3, 5) else (0.3, 1.0):
            case(f"min_p {p}", r, ["min_p"], MinP=p)
        for p in (0.0, 0.2, 0.7) if r != 5 else (0.0, 0.05):
            case(f"typ_p {p}", r, ["typ_p"], TypP=p)
        for n in (0.5, 1.0) if r in small else (2.0,):
            case(f"top_n_sigma {n}", r, ["top_n_sigma"], TopNSigma=n)
        for t in (0.0, 0.3):
            case(f"temperature {t} of the best 20", r, ["top_k", "temperature"], TopK=20, Temp=t)
        for t in (0.01, 0.1, 0.4):
            case(f"xtc {t} of the best 20", r, ["top_k", "xtc"], TopK=20, XTCProbability=1.0, XTCThreshold=t)
        all_on = dict(TopK=30, TypP=0.9, TopP=0.9, MinP=0.02, Temp=1.3)
        for order in itertools.islice(itertools.permutations(["top_k", "typ_p", "top_p", "min_p", "temperature"]), r, None, 17):
            case("; ".join(order), r, list(order), **all_on)
    for p in (0.4, 1.0):
        case(f"whole row, min_p {p}", 1, ["min_p"], MinP=p)
    case("no samplers", 1, [])
    case("nothing on", 1, ORDER, TopK=0, TopP=1.0, MinP=0.0, Temp=1.0)
    for t in (-1.0, 0.0, 0.5, 3.0):
        case(f"temperature {t}", 1, ["temperature"], Temp=t)

    for r in (1, 2):
        n = len(ROWS[r])
        history = [rng.randrange(0, n, 3) for _ in range(100)]
        for name, params in {
            "repeat": dict(RepeatPenalty=1.3),
            "repeat below 1": dict(RepeatPenalty=0.7),
            "presence": dict(PresencePenalty=0.9),
            "frequency": dict(FrequencyPenalty=0.4),
            "all three, 10 tokens": dict(RepeatPenalty=1.1, PresencePenalty=0.2, FrequencyPenalty=0.3, RepeatLastN=10),
            "all three, off": dict(RepeatPenalty=1.1, PresencePenalty=0.2, FrequencyPenalty=0.3, RepeatLastN=0),
        }.items():
            for order in ["penalties"], ["penalties", "top_k", "top_p"], ["top_k", "penalties", "top_p"]:
                if r == 2 and len(order) == 1:
                    continue
                case(f"{name}: {'; '.join(order)}", r, order, history, TopK=25, TopP=0.8, **params)
            for first in "top_p", "min_p":
                case(f"{name}: {first}; penalties", r, [first, "penalties"], history, MinP=0.1, TopP=0.8, **params)
        best = max(range(n), key=ROWS[r].__getitem__)
        case("bias", r, ["top_k"], bias={0: 2.5, 3: -1.5, n - 1: 4.0, best: float("-inf")}, TopK=20)
        case("bias and penalties", r, ["penalties", "top_k"], history, bias={0: 2.5, 3: -1.5}, TopK=20, RepeatPenalty=1.5)

    # The letters of this history are single tokens below 260; a row of their own has them on top.
    text = "ab:cd*abc,abcd*:abc:abcde*abcd:ab*abcabcd"
    letter = {}
    for ch in sorted(set(text)):
        one = (ll.llama_token * 4)()
        assert ll.llama_tokenize(vocab, ch.encode(), 1, one, 4, False, False) == 1 and one[0] < 260
        letter[ch] = one[0]
    row = make_row(260, 0.5)
    for i, token in enumerate(letter.values()):
        row[token] = 4096 + 300 * i
    ROWS.append(row)
    for name, h, breakers, params in [
        ("plain", text, [], {}),
        ("loop", "abcabcabcabcabc", [], {}),
        ("colon", text, [":"], {}),
        ("default breakers", text, ["\n", ":", '"', "*"], {}),
        ("star colon", "cab*:cab*:cab", ["*:"], {}),
        ("star, colon star", "abcd:*abc*abcd:*abc", ["*", ":*"], {}),
        ("longest breaker", "d*:cabd*:cab", ["*:", "*"], {}),
        ("breaker at the end", text + ":", [":"], {}),
        ("breaker comes next", "ab:cdab:cdab", [":"], {}),
        ("steep", text, [], dict(DryMultiplier=2.0, DryBase=3.0)),
        ("long", text, [], dict(DryAllowedLength=4)),
        ("one", text, [], dict(DryAllowedLength=1)),
        ("last 14", text, [], dict(DryLastN=14)),
        ("last 0", text, [], dict(DryLastN=0)),
    ]:
        for order in ["dry", "top_k"], ["top_k", "dry"]:
            case(f"{'; '.join(order)}: {name}", len(ROWS) - 1, order, [letter[ch] for ch in h], breakers=breakers,
                 TopK=12, **dict(DryMultiplier=0.8) | params)

    version = ctypes.CDLL(str(next(pathlib.Path(ll.__path__[0], "lib").glob("libllama.*")))).llama_version
    version.restype = ctypes.c_char_p
    made_with = f"llama-cpp-python {ll.__version__}, llama.cpp {version().decode()}, Python {platform.python_version()}"
    path = pathlib.Path(__file__).with_name("goldens.json")
    lines = ["{", f'"made_with": {json.dumps(made_with)},', '"rows": [']
    lines.append(",\n".join(json.dumps(row, separators=(",", ":")) for row in ROWS))
    lines.append('],\n"cases": [')
    lines.append(",\n".join(json.dumps(c, separators=(",", ":")) for c in cases))
    lines.append("]}")
    path.write_text("\n".join(lines) + "\n")
    print(f"{len(cases)} cases, {path.stat().st_size} bytes")


main()
