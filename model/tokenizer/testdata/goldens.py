#!/usr/bin/env python3
"""Writes the goldens of the tests: texts.json, and what is to be made of them.

spm.json, smollm2.json   what llama.cpp makes of each text with spm.gguf and with the demo model's vocabulary
words.json               where Python's regex splits each text, by the patterns that llama.cpp has for a pre type

    goldens.py DEMO_MODEL.gguf

Written with Python 3.11, llama-cpp-python 0.3.36 (its own build of llama.cpp), regex 2026.11.15.
"""
import ctypes
import hashlib
import json
import random
import sys
from pathlib import Path

import llama_cpp
import regex

here = Path(__file__).parent

texts = [
    "", " ", "  ", "   ", "    ", "        ", "         ", "\t", "\t\t", "\n", "\n\n", "\n\n\n", "\r\n", "\r\n\r\n", "\t\n", " \n", "\n ", " \n \n  \n\n   x",
    "Good morning", " Good morning", "Good Morning", " Good Morning!", "Good morning, ", "Good  morning,   all", "Good\nmorning", "good-morning_all",
    "the end", " (the end)", "the end.\n", "The end...\n\n", "?!?!", "?!\n", " ?!\n\n ?!", "= =", "==", " ===", "--- a\n+++ b\n@@ -1,2 +1,2 @@",
    "x", "1", "12", "123", "1234", "12345678901", "a1b22c333d4444", "3.14159", "1,000,000", "v1.26.0-rc.1", "0xFF", " 7", "  7", "7 7  7", "½ and Ⅷ and ٣٤",
    "I'm sure they'll say it's what we'd've done, but he doesn't", "I'M SURE THEY'LL SAY IT'S", "'s 't 're 'S 'T 'RE", "''''", "'", "' '", "it's'll've", "rock 'n' roll", "l'été d'Été", "'ſ 's",
    "camelCase HTTPServer XMLHttpRequest iPhone ABCdef abcDEF", "ÉCOLE École école ÀB aÉb ÉAÉ", "ΑΒΓ αβγ Αβγ", "Straße STRASSE", "naïve café", "cafe\u0301 e\u0301\u0301a \u0301",
    "Привет, мир", "ПРИВЕТ мир", "こんにちは世界", "你好,世界。今天12点", "カタカナとひらがな", "안녕하세요 세계", "ﾊﾝｶｸ ＡＢＣ１２３", "שלום עולם", "مرحبا ١٢٣", "नमस्ते दुनिया", "ไทยภาษาไทย", "ქართული", "Ⴀⴀ Ꭰ",
    "😀", "😀😀😀 😀", "a😀b", "👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪🇫🇷 ❤️ 👍🏽", "→ ≤ € ™ ° ©", "… — “q” ‘s’ «g»", "\u00a0x\u00a0", "a\u3000b", "\u2028\u2029", "a\u200bb\u200dc", "\x00", "a\x00b\x00\x00", "\x01\x02\x7f", "\x0b\x0c", "\x85x", "\ufeffx", "\ufffd", "x\ufffdy",
    "func f(x int) error {\n\tif x == 0 {\n\t\treturn fmt.Errorf(\"zero: %d\", x)\n\t}\n\treturn nil\n}\n", "def f(x):\n    return {'a': [1, 2], \"b\": None}  # done\n",
    "#include <stdio.h>\n\nint main(void)\n{\n  return a->b && !c || d ^ e;\n}", "SELECT * FROM t WHERE a >= 10;", "<p class=\"x\">a &amp; b</p>", "https://example.org/a/b?c=1&d=%20#e", "user@example.org", "C:\\temp\\new.txt", "`code` **bold** ~~no~~",
    "| a | b |\n|---|---|\n| 1 | 2 |\n", "$5.00 + 7% = £5.35 ~ €6", "^`|~<>", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "no_spaces_at_all_and_a_rather_long_identifier_that_goes_on_and_on", "a" * 100, "ab" * 60, "!" * 70, " " * 65 + "x", "\n" * 40, "0" * 50, "é" * 40, "世" * 40,
    "<s>", "</s>", "<s>one</s>two", " <s> one </s> ", "<unk>", "<0x0A>", "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n", "<|im_start|><|im_start|>", "<|im_start", "<|im_start|", "|im_start|>", "<<|im_end|>>", "[INST] hello [/INST]", "[INST][/INST][INST", "<tool>{\"a\":1}</tool>", "<tool></tool", "x<tool>y", "<|endoftext|> <repo_name>a<file_sep>b",
    "▁", "a▁b ▁ ▁▁c", "Ġ Ċ ġ", "The quick brown fox jumps over the lazy dog. It was the best of times; it was the worst of times: \"Yes,\" she said.",
]


def fuzz(n, seed=1):
    r = random.Random(seed)
    parts = [t for t in texts if 0 < len(t) < 30] + list("abcXYZ019 .,'-\n\t") + ["the", "and", "token", " of", " re", "'s", "é", "世", "Ω", "😀", "  ", "\n\n", "\r\n"]
    for _ in range(n):
        yield "".join(r.choice(parts) * r.choice([1, 1, 1, 1, 2, 3]) for _ in range(r.randint(1, 8)))


texts += fuzz(80)


@llama_cpp.llama_log_callback
def silent(level, text, data):
    pass


class Vocab:
    def __init__(self, path):
        params = llama_cpp.llama_model_default_params()
        params.vocab_only = True
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
        if not self.model:
            sys.exit(f"goldens.py: llama.cpp cannot read {path}")
        self.v = llama_cpp.llama_model_get_vocab(self.model)
        self.n = llama_cpp.llama_vocab_n_tokens(self.v)

    def encode(self, text, add, parse):
        b = text.encode()
        room = len(b) + 8
        buf = (llama_cpp.llama_token * room)()
        return buf[: llama_cpp.llama_tokenize(self.v, b, len(b), buf, room, add, parse)]

    def decode(self, ids, special):
        room = 64 * len(ids) + 64
        buf = ctypes.create_string_buffer(room)
        n = llama_cpp.llama_detokenize(self.v, (llama_cpp.llama_token * len(ids))(*ids), len(ids), buf, room, False, special)
        return buf.raw[:n]

    def piece(self, id):
        buf = ctypes.create_string_buffer(1024)
        n = llama_cpp.llama_token_to_piece(self.v, id, buf, 1024, 0, True)
        return buf.raw[:n]

    def golden(self):
        bos, eos = llama_cpp.llama_vocab_bos(self.v), llama_cpp.llama_vocab_eos(self.v)
        first = [bos] if llama_cpp.llama_vocab_get_add_bos(self.v) else []
        last = [eos] if llama_cpp.llama_vocab_get_add_eos(self.v) else []
        plain = [self.encode(t, False, False) for t in texts]
        parsed = [self.encode(t, False, True) for t in texts]
        for t, a, b in zip(texts, plain, parsed):  # so that the file need not hold them
            assert self.encode(t, True, False) == first + a + last
            assert self.encode(t, True, True) == first + b + last
        pieces = hashlib.sha256()
        for i in range(self.n):
            p = self.piece(i)
            pieces.update(b"%d:" % len(p) + p)
        decoded = [self.decode(ids, False).decode() for ids in plain]
        return {
            "bos": bos, "eos": eos, "first": first, "last": last,
            "eog": [i for i in range(self.n) if llama_cpp.llama_vocab_is_eog(self.v, i)],
            "control": [i for i in range(self.n) if llama_cpp.llama_vocab_is_control(self.v, i)],
            "pieces_sha256": pieces.hexdigest(),
            "plain": plain,
            "parsed": {i: b for i, (a, b) in enumerate(zip(plain, parsed)) if a != b},
            "decoded": {i: d for i, (t, d) in enumerate(zip(texts, decoded)) if t != d},  # the rest gives the text back
        }


contractions = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
blanks = r"\s+(?!\S)|\s+"
gpt2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|" + blanks
llama3 = contractions + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,%d}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|" + blanks
upper, lower = r"((?=\p{L})[^a-z])", r"((?=\p{L})[^A-Z])"
tekken = (r"[^\r\n\p{L}\p{N}]?" + upper + "*" + lower + "+%s" + r"|[^\r\n\p{L}\p{N}]?" + upper + "+" + lower + "*%s"
          r"|\p{N}{1,%d}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|" + blanks)
patterns = {
    "gpt-2": [gpt2],
    "smollm": [r"\p{N}", gpt2],
    "llama-bpe": [llama3 % 3],
    "minicpm5": [r"\p{N}{1,3}", (llama3 % 3).replace("{1,3}", "+")],
    "qwen2": [llama3 % 1],
    "qwen35": [contractions + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|" + blanks],
    "tekken": [tekken % ("", "", 1)],
    "gpt-4o": [tekken % (contractions + "?", contractions + "?", 3)],
    "deepseek-llm": [
        r"[\r\n]",
        r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\u1f7dᾀ-ᾴᾶ-ᾼ\u1fbeῂ-ῄῆ-ῌῐ-\u1fd3ῖ-\u1fdbῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212a-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+",
        r"\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+", r"\s+\Z", "[一-龥ࠀ-一가-\ud7ff]+", r"\p{N}+",
    ],
    "deepseek-coder": [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-\ud7ff]+", r"\p{N}"],
    "deepseek-v3": [
        r"\p{N}{1,3}", "[一-龥\u3040-ゟ\u30a0-ヿ]+",
        r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|" + blanks,
    ],
    "falcon": [r"[\p{P}\$\+<=>\^~\|`]+", gpt2, r"[0-9][0-9][0-9]"],
    "default": [r"[\p{P}\$\+<=>\^~\|]+", gpt2, r"\p{N}+", r"[0-9][0-9][0-9]"],
}


def words(text, stages):
    """Each stage splits what the one before it made into its matches and what lies between them, as llama.cpp does."""
    parts = [text] if text else []
    for pattern in stages:
        split = []
        for part in parts:
            at = 0
            for m in regex.finditer(pattern, part):
                split += [part[at : m.start()], m.group()]
                at = m.end()
            split.append(part[at:])
        parts = [p for p in split if p]
    return [len(p.encode()) for p in parts]


def write(name, value):
    if isinstance(value, list):  # a text a line
        text = "[\n" + ",\n".join(json.dumps(v, ensure_ascii=False) for v in value) + "\n]"
    else:
        text = "{\n" + ",\n".join(json.dumps(k) + ": " + json.dumps(v, ensure_ascii=False, separators=(",", ":")) for k, v in value.items()) + "\n}"
    (here / name).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    llama_cpp.llama_log_set(silent, None)
    write("texts.json", texts)
    write("spm.json", Vocab(here / "spm.gguf").golden())
    write("smollm2.json", Vocab(sys.argv[1]).golden())
    write("words.json", {name: [words(t, stages) for t in texts] for name, stages in patterns.items()})
