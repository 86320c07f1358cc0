package tokenizer

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"mop/internal/testutil"
)

// inChunksOf is Encode in chunks of so many bytes, and the number of chunks.
func inChunksOf(t testing.TB, tok *Tokenizer, text []byte, size int, o EncodeOptions) (ids []int, chunks int) {
	t.Helper()
	if err := tok.inChunks(text, o, size, size, func(more []int) bool {
		ids, chunks = append(ids, more...), chunks+1
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return ids, chunks
}

// sameInChunks compares encoding in chunks of several sizes, and the first ids, with
// encoding the whole text. It returns the largest number of chunks.
func sameInChunks(t testing.TB, name string, tok *Tokenizer, text []byte) int {
	t.Helper()
	most := 0
	for _, o := range []EncodeOptions{{BOS: true}, {Special: true}} {
		want, err := tok.encode(text, o)
		if err != nil {
			return most // a vocabulary without its characters
		}
		for _, size := range []int{1, 300, 5000} {
			got, chunks := inChunksOf(t, tok, text, size, o)
			most = max(most, chunks)
			if !slices.Equal(got, want) {
				at := 0
				for at < min(len(got), len(want)) && got[at] == want[at] {
					at++
				}
				t.Fatalf("%s, chunks of %d: %d ids, want %d; they differ from %d on", name, size, len(got), len(want), at)
			}
		}
		for _, n := range []int{0, 1, 7, 100, len(want), len(want) + 1} {
			got, err := tok.EncodeFirst(text, n, o)
			if err != nil || !slices.Equal(got, want[:min(n, len(want))]) {
				t.Fatalf("%s: the first %d ids: got %d others, %v", name, n, len(got), err)
			}
		}
	}
	return most
}

// trickyText is made of parts that could interact across a cut.
func trickyText(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 3))
	parts := []string{"a", "b", "ab", "the", " ", "  ", "   ", "\n", "\r\n", "\t", "'s", "'ll", "don't", "1", "1234", ".", "...", "é", "e\u0301", "ﬁ", "ﷺ", "①", "中文", "😀", "\xff", "\xc3", meta, " " + meta,
		"<s>", "</s>", "<unk>", "<|begin_of_text|>", "<|end", "<|endoftext|>", "<0x41>", "[X]", "tok", "\u00a0", "\u2028", " <s> ", "x <s> y", "A B C"}
	var b strings.Builder
	for range n {
		b.WriteString(parts[r.IntN(len(parts))])
	}
	return []byte(b.String())
}

// A text in chunks has the ids of the whole text, for every kind of tokenizer.
func TestChunks(t *testing.T) {
	for _, name := range []string{"fallback.model", "mapped.model", "fallback.bin", "legacy.json", "first.json", "always.json", "bytelevel.json", "prefixed.json", "tiktoken.model"} {
		tok := parseFile(t, name)
		most := 0
		for seed := range uint64(6) {
			most = max(most, sameInChunks(t, name, tok, trickyText(seed, 400)))
		}
		most = max(most, sameInChunks(t, name, tok, []byte(strings.Repeat("the cat sat on a mat and Tom said so. ", 300))))
		t.Logf("%s: up to %d chunks", name, most)
		if _, ok := tok.seams(); ok && most < 3 {
			t.Errorf("%s: texts are not cut", name)
		}
	}
}

// The same holds for real tokenizers on real text.
func TestChunksOfRealTexts(t *testing.T) {
	wiki, err := os.ReadFile(testutil.DataPath(t, "wikitext-2/wiki.test.raw"))
	if err != nil {
		t.Fatal(err)
	}
	stories, err := os.ReadFile(testutil.DataPath(t, "tinystories/tinystories_sample_2M.txt"))
	if err != nil {
		t.Fatal(err)
	}
	text := slices.Concat(wiki[:40_000], stories[:40_000], trickyText(9, 4000))
	for _, file := range []string{"tokenizer-llama2/tokenizer.model", "tokenizer-llama2/tokenizer.bin", "hf-tinyllama-1.1b-chat/tokenizer.json", "tokenizer-llama3/tokenizer.model", "hf-llava-1.5-7b-hf/tokenizer.json", "stories260K/tok512.bin", "babyllama-tok105/tok105.bin"} {
		tok, err := OpenFile(testutil.DataPath(t, file))
		if err != nil {
			t.Fatal(err)
		}
		if most := sameInChunks(t, file, tok, text); most < 40 {
			t.Errorf("%s: want many chunks, got %d", file, most)
		}
	}
}

// EncodeFirst examines only as much of the text as the ids need.
func TestEncodeFirst(t *testing.T) {
	tok := parseFile(t, "fallback.bin")
	text := []byte(strings.Repeat("the cat sat on a mat ", 1<<20))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	ids, err := tok.EncodeFirst(text, 64, EncodeOptions{})
	runtime.ReadMemStats(&after)
	if err != nil || len(ids) != 64 {
		t.Fatalf("got %d ids, %v", len(ids), err)
	}
	if made := after.TotalAlloc - before.TotalAlloc; made > 1<<20 {
		t.Errorf("64 ids of %d bytes take %d bytes", len(text), made)
	}
}

func FuzzChunks(f *testing.F) {
	var all []*Tokenizer
	for _, name := range []string{"fallback.model", "mapped.model", "fallback.bin", "legacy.json", "always.json", "bytelevel.json", "tiktoken.model"} {
		all = append(all, parseFile(f, name))
	}
	f.Add([]byte("a cat\n sat <s> on  a mat"))
	f.Add(trickyText(1, 100))
	f.Fuzz(func(t *testing.T, text []byte) {
		for i, tok := range all {
			sameInChunks(t, fmt.Sprint(i), tok, text)
		}
	})
}
