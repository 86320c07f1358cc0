package gguf

// object is a JSON object.
type object = map[string]any

// preTokenizer is what a name of tokenizer.ggml.pre stands for: the steps of the
// tokenizers library in front of the byte-level model, as the tokenizer.json that the
// file was made from has them.
type preTokenizer struct {
	steps        []object
	ignoreMerges bool // a word that is a token is not merged
	bos          bool // texts begin with BOS where the file does not say
}

// Patterns of released tokenizers.
const (
	llama3Pattern = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	qwen2Pattern  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	tekkenPattern = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

func byteLevel(useRegex bool) object {
	return object{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": useRegex}
}

func split(pattern string) []object {
	return []object{{"type": "Split", "pattern": object{"Regex": pattern}, "behavior": "Isolated", "invert": false}, byteLevel(false)}
}

// preTokenizers lists the names that LLaMA-type models have.
var preTokenizers = func() map[string]preTokenizer {
	digits := []object{{"type": "Digits", "individual_digits": true}, byteLevel(true)}
	llama3 := preTokenizer{split(llama3Pattern), true, true}
	qwen2 := preTokenizer{split(qwen2Pattern), false, false}
	gpt2 := preTokenizer{[]object{byteLevel(true)}, false, false}
	smollm := preTokenizer{digits, false, false}
	return map[string]preTokenizer{
		"llama3": llama3, "llama-v3": llama3, "llama-bpe": llama3,
		"smaug-bpe": {split(llama3Pattern), false, false}, "dbrx": {split(llama3Pattern), false, false},
		"qwen2": qwen2, "deepseek-r1-qwen": qwen2, "stablelm2": qwen2, "megrez": qwen2,
		"gpt-2": gpt2, "olmo": gpt2,
		"smollm": smollm, "starcoder": smollm, "refact": smollm, "command-r": smollm,
		"tekken": {split(tekkenPattern), true, true},
	}
}()
