package tokenizer

import (
	"bytes"
	"os"
	"testing"

	"mop/internal/testutil"
)

// longTexts are texts for which merging without a queue, or a search for added tokens
// without a trie, takes quadratic time.
func longTexts(n int) map[string][]byte {
	return map[string][]byte{
		"one letter":        bytes.Repeat([]byte("a"), n),
		"spaces":            bytes.Repeat([]byte(" "), n),
		"letters by turns":  bytes.Repeat([]byte("the"), n/3),
		"beginnings":        bytes.Repeat([]byte("<|"), n/2),
		"special tokens":    bytes.Repeat([]byte("<s>"), n/3),
		"unknown":           bytes.Repeat([]byte("\u2603"), n/3),
		"bytes of no text":  bytes.Repeat([]byte{0xff}, n),
		"newlines":          bytes.Repeat([]byte("\n "), n/2),
		"letter then space": bytes.Repeat([]byte("a "), n/2),
	}
}

// work is the number of merges and of regular-expression steps that a text needs.
func work(t testing.TB, tok *Tokenizer, text []byte) int {
	t.Helper()
	e := encoder{t: tok}
	if err := e.run(text, EncodeOptions{Special: true}); err != nil {
		t.Fatal(err)
	}
	total := e.pushed
	for _, m := range e.matchers {
		total += m.Steps()
	}
	return total
}

// The work for a text is in proportion to its length, also for texts that are hard for
// merging without a queue. Only the queue's operations take a logarithm more.
func TestNearLinear(t *testing.T) {
	const perByte = 100
	texts := longTexts(1 << 17)
	for _, file := range []string{"fallback.model", "mapped.model", "fallback.bin", "legacy.json", "always.json", "bytelevel.json", "tiktoken.model", "pipelines/deepseek.json", "pipelines/tekken.json", "pipelines/unigram.model", "pipelines/unigram.json", "pipelines/falcon3.json"} {
		tok := parseFile(t, file)
		for kind, text := range texts {
			if n := work(t, tok, text); n > perByte*len(text) {
				t.Errorf("%s, %s: %d bytes take %d steps", file, kind, len(text), n)
			}
		}
	}
}

// The same holds for real vocabularies, on a megabyte of real text too.
func TestNearLinearWithRealTokenizers(t *testing.T) {
	const megabyte, perByte = 1 << 20, 4
	texts := longTexts(megabyte)
	wiki, err := os.ReadFile(testutil.DataPath(t, "wikitext-2/wiki.test.raw"))
	if err != nil {
		t.Fatal(err)
	}
	texts["wikitext"] = wiki[:megabyte]
	for _, file := range []string{"tokenizer-llama2/tokenizer.model", "tokenizer-llama3/tokenizer.model"} {
		tok, err := OpenFile(testutil.DataPath(t, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, kind := range []string{"wikitext", "one letter", "spaces"} {
			if n := work(t, tok, texts[kind]); n > perByte*megabyte {
				t.Errorf("%s, %s: a megabyte takes %d merges", file, kind, n)
			}
		}
	}
}

// BenchmarkMegabyte encodes a megabyte of plain text and of texts that are hard to encode.
func BenchmarkMegabyte(b *testing.B) {
	texts := longTexts(1 << 20)
	wiki, err := os.ReadFile(testutil.DataPath(b, "wikitext-2/wiki.test.raw"))
	if err != nil {
		b.Fatal(err)
	}
	texts["wikitext"] = wiki[:1<<20]
	for _, file := range []string{"tokenizer-llama2/tokenizer.model", "tokenizer-llama2/tokenizer.bin", "hf-tinyllama-1.1b-chat/tokenizer.json", "tokenizer-llama3/tokenizer.model"} {
		tok, err := OpenFile(testutil.DataPath(b, file))
		if err != nil {
			b.Fatal(err)
		}
		for _, kind := range []string{"wikitext", "one letter", "spaces", "beginnings"} {
			b.Run(file+"/"+kind, func(b *testing.B) {
				b.SetBytes(int64(len(texts[kind])))
				for b.Loop() {
					if _, err := tok.Encode(texts[kind], EncodeOptions{Special: true}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
