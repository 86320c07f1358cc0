package tokenizer

import (
	"bytes"
	"os"
	"testing"
	"time"

	"mop/internal/testutil"
)

// long texts that a merge without a queue, or a search for added tokens without a
// trie, takes quadratic time for.
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

// Sixteen times the text takes about sixteen times as long, and not 256 times.
// The bound leaves room for caches and for a busy machine, and what another
// process delayed is measured again.
func TestNearLinear(t *testing.T) {
	const small, bound = 1 << 13, 64
	for _, name := range []string{"fallback.model", "mapped.model", "fallback.bin", "legacy.json", "always.json", "bytelevel.json", "tiktoken.model"} {
		tok := parseFile(t, name)
		large := longTexts(16 * small)
		for kind, text := range longTexts(small) {
			short, took := time.Hour, time.Hour
			for range 12 {
				short = max(min(short, best(t, tok, text)), time.Millisecond/2)
				if took = min(took, best(t, tok, large[kind])); took <= bound*short {
					break
				}
			}
			if took > bound*short {
				t.Errorf("%s, %s: %d bytes take %v, %d take %v", name, kind, len(text), short, len(large[kind]), took)
			}
		}
	}
}

func best(t testing.TB, tok *Tokenizer, text []byte) time.Duration {
	took := time.Hour
	for range 2 {
		start := time.Now()
		if _, err := tok.Encode(text, EncodeOptions{Special: true}); err != nil {
			t.Fatal(err)
		}
		took = min(took, time.Since(start))
	}
	return took
}

// A megabyte takes seconds and about sixteen times as long as its first sixteenth,
// for the real tokenizers' hardest texts and for a plain one. The bounds are wide,
// for caches and for a busy machine; a slow run is repeated.
func TestMegabyte(t *testing.T) {
	const megabyte, bound, limit = 1 << 20, 64, 20 * time.Second
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
			var short, took time.Duration
			for range 4 {
				short = best(t, tok, texts[kind][:megabyte/16])
				start := time.Now()
				ids, err := tok.Encode(texts[kind], EncodeOptions{})
				if took = time.Since(start); err != nil || len(ids) == 0 {
					t.Fatalf("%s, %s: %d ids, %v", file, kind, len(ids), err)
				}
				if took <= min(bound*short, limit) {
					break
				}
			}
			if took > min(bound*short, limit) {
				t.Errorf("%s, %s: a sixteenth of a megabyte takes %v, a megabyte %v, want at most %d times as long and %v", file, kind, short, took, bound, limit)
			}
		}
	}
}

// A megabyte of the real tokenizers' hardest texts and of plain ones.
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
