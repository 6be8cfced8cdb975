#!/usr/bin/env python3
"""Trains the SentencePiece vocabulary of the tests, spm.gguf, from corpus.txt, a text written for it.

Written with Python 3.11, sentencepiece 0.2.3, gguf 0.19.0. The training is deterministic: the same text gives the same
file. goldens.py asks llama.cpp what it makes of the file.
"""
import io
from pathlib import Path

import gguf
import sentencepiece

here = Path(__file__).parent
corpus = (here / "corpus.txt").read_text(encoding="utf-8")

# Like the vocabulary of Llama 2: BPE, bytes for unknown runes, digits apart, a space before the text, nothing normalised.
# A vocabulary of chat models has control tokens, and user-defined ones such as <tool>. The type of <|im_end|> is wrong as
# it is in many files; it ends the generation all the same.
control = ["[INST]", "[/INST]"]
user = ["<tool>", "</tool>", "<|im_start|>", "<|im_end|>", "▁▁▁▁▁▁▁▁"]
out = io.BytesIO()
sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(corpus.splitlines()), model_writer=out, model_type="bpe", vocab_size=1200,
    byte_fallback=True, split_digits=True, allow_whitespace_only_pieces=True, remove_extra_whitespaces=False,
    normalization_rule_name="identity", character_coverage=1.0, num_threads=1, minloglevel=2,
    control_symbols=control, user_defined_symbols=user,
)
sp = sentencepiece.SentencePieceProcessor(model_proto=out.getvalue())

tokens, scores, types = [], [], []
for i in range(sp.vocab_size()):
    piece, kind = sp.id_to_piece(i), gguf.TokenType.NORMAL
    if sp.is_unknown(i):
        kind = gguf.TokenType.UNKNOWN
    elif sp.is_control(i):
        kind = gguf.TokenType.CONTROL
    elif sp.is_byte(i):
        kind = gguf.TokenType.BYTE
    elif piece in user:
        piece, kind = piece.replace("▁", " "), gguf.TokenType.USER_DEFINED  # as converters write it
    tokens.append(piece.encode())
    scores.append(sp.get_score(i))
    types.append(kind)

w = gguf.GGUFWriter(here / "spm.gguf", "llama")
w.add_name("a vocabulary for tests")
w.add_vocab_size(len(tokens))
w.add_context_length(256)  # llama.cpp reads no file without these
w.add_embedding_length(64)
w.add_block_count(1)
w.add_feed_forward_length(64)
w.add_head_count(1)
w.add_layer_norm_rms_eps(1e-5)
w.add_tokenizer_model("llama")
w.add_tokenizer_pre("default")
w.add_token_list(tokens)
w.add_token_scores(scores)
w.add_token_types(types)
w.add_bos_token_id(sp.bos_id())
w.add_eos_token_id(sp.eos_id())
w.add_unk_token_id(sp.unk_id())
w.add_add_bos_token(True)
w.add_add_eos_token(False)
w.write_header_to_file()
w.write_kv_data_to_file()
w.close()
print(f"spm.gguf: {len(tokens)} tokens")
