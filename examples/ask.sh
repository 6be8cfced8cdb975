#!/bin/sh
# ask.sh TEXT QUESTION prints a chat prompt in ChatML, the form that SmolLM2 was trained on: a text, then a question about it.
printf '<|im_start|>system\nYou answer questions about a text in a few sentences.<|im_end|>\n<|im_start|>user\n'
cat "$1"
printf '\n\n%s<|im_end|>\n<|im_start|>assistant\n' "$2"
