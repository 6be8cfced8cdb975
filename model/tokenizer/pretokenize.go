package tokenizer

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// pre is how a byte-level vocabulary splits text into words. Names and rules are llama.cpp's.
type pre struct {
	stages       []stage // each splits what the one before it made
	ignoreMerges bool    // a word that is a token stays whole, whatever the merges say
	addBOS       bool    // unless the file says otherwise
}

// stage returns the bytes of the first part of s, which is not empty.
type stage func(s string) int

// eachWord calls word for each word of text, in order.
func eachWord(text string, stages []stage, word func(string)) {
	if len(stages) == 0 {
		word(text)
		return
	}
	for len(text) > 0 {
		n := stages[0](text)
		eachWord(text[:n], stages[1:], word)
		text = text[n:]
	}
}

// pres holds what is known by the names of tokenizer.ggml.pre. The patterns are those of the models' own tokenizers,
// except for Tekken and GPT-4o, where llama.cpp's are simpler. (It hides white space beyond ASCII from the patterns of
// deepseek-llm and deepseek-coder, and so takes U+3000 for no Chinese sign.)
var pres = func() map[string]pre {
	m := map[string]pre{}
	add := func(names string, p pre) {
		for _, name := range strings.Fields(names) {
			m[name] = p
		}
	}
	add("gpt-2 phi-2 gigachat a.x-4.0 mellum mpt olmo jais trillion granite-docling exaone4", pre{stages: []stage{gpt2}})
	add("smollm starcoder refact command-r codeshell exaone minerva-7b mellum2", pre{stages: []stage{digits(1), gpt2}})
	add("llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2",
		pre{stages: []stage{llama3(letter, 3)}, ignoreMerges: true, addBOS: true})
	add("dbrx smaug-bpe chatglm-bpe", pre{stages: []stage{llama3(letter, 3)}})
	add("glm4 glm5", pre{stages: []stage{llama3(letter, 3)}, ignoreMerges: true})
	add("minicpm5", pre{stages: []stage{digits(3), llama3(letter, 3)}, ignoreMerges: true})
	add("qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2", pre{stages: []stage{llama3(letter, 1)}})
	add("qwen35", pre{stages: []stage{llama3(letter|mark, 1)}})
	add("tekken", pre{stages: []stage{tekken(false, 1)}, ignoreMerges: true, addBOS: true})
	add("gpt-4o llama4 kanana2 talkie minimax-m2", pre{stages: []stage{tekken(true, 3)}})
	add("deepseek-llm", pre{stages: []stage{
		split(`[\r\n]`),
		split(`\s?` + letters + `+`),
		split(`\s?[!-/:-~\x{ff01}-\x{ff0f}\x{ff1a}-\x{ff5e}\x{2018}-\x{201f}\x{3000}-\x{3002}]+`),
		split(`\s+$`),
		split(`[一-龥ࠀ-一가-\x{d7ff}]+`),
		split(`\p{N}+`),
	}})
	add("deepseek-coder", pre{stages: []stage{
		split(`[\r\n]`), split(`\s?\p{L}+`), split(`\s?\p{P}+`), split(`[一-龥ࠀ-一가-\x{d7ff}]+`), digits(1),
	}})
	add("deepseek-v3 hunyuan-dense hy_v4 joyai-llm", pre{stages: []stage{
		digits(3),
		split(`[一-龥\x{3040}-ゟ\x{30a0}-ヿ]+`),
		split("[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|" +
			`[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`),
	}})
	add("falcon", pre{stages: []stage{split("[\\p{P}$+<=>^~|`]+"), gpt2, split(`[0-9][0-9][0-9]`)}})
	add("default", pre{stages: []stage{split(`[\p{P}$+<=>^~|]+`), gpt2, split(`\p{N}+`), split(`[0-9][0-9][0-9]`)}})
	return m
}()

// letters that have case, as deepseek-llm counts them.
const letters = `[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\x{1f7d}ᾀ-ᾴ` +
	`ᾶ-ᾼ\x{1fbe}ῂ-ῄῆ-ῌῐ-\x{1fd3}ῖ-\x{1fdb}ῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\x{2126}ℨ\x{212a}-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯ` +
	`ꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]`

// preNames lists what pres knows.
func preNames() string {
	return strings.Join(slices.Sorted(maps.Keys(pres)), ", ")
}

// split returns a stage that splits s into the matches of a pattern and what lies between them.
//
// It makes up for what Go's regexp lacks. \s is all white space of Unicode. `\s+(?!\S)|\s+`, white space up to the last
// rune before a word, is matched as `\s+`, and then gives back a rune where a word follows.
func split(pattern string) stage {
	const ahead = `\s+(?!\S)|`
	giveBack := strings.Contains(pattern, ahead)
	pattern = strings.Replace(pattern, ahead, "", 1)
	pattern = strings.ReplaceAll(pattern, `\s`, `[\t-\r \x{85}\p{Z}]`)
	re := sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
	return func(s string) int {
		at := re().FindStringIndex(s)
		switch {
		case at == nil:
			return len(s)
		case at[0] > 0:
			return at[0]
		}
		n := at[1]
		if giveBack && n < len(s) && run(s, 0, blank) == n {
			if r, last := utf8.DecodeLastRuneInString(s[:n]); r != '\r' && r != '\n' && last < n {
				n -= last
			}
		}
		return n
	}
}
