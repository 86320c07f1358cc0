package tokenizer

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"mop/internal/testutil"
)

// The texts and ids of llama.cpp's vocabulary tests, which the models' original
// tokenizers made.
func TestLlamaCppVectors(t *testing.T) {
	for _, c := range []struct{ file, vectors string }{
		{"tokenizer-llama2/tokenizer.model", "spm"},
		{"hf-tinyllama-1.1b-chat/tokenizer.json", "spm"},
		{"hf-llava-1.5-7b-hf/tokenizer.json", "spm"},
		{"tokenizer-llama2/tokenizer.bin", "spm"},
		{"tokenizer-llama3/tokenizer.model", "bpe"},
	} {
		t.Run(c.file, func(t *testing.T) {
			tok, err := OpenFile(testutil.DataPath(t, c.file))
			if err != nil {
				t.Fatal(err)
			}
			base := "llama.cpp-vocab-vectors/ggml-vocab-llama-" + c.vectors + ".gguf"
			in, err := os.ReadFile(testutil.DataPath(t, base+".inp"))
			if err != nil {
				t.Fatal(err)
			}
			out, err := os.ReadFile(testutil.DataPath(t, base+".out"))
			if err != nil {
				t.Fatal(err)
			}
			texts := strings.Split(string(in), "\n__ggml_vocab_test__\n")
			lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
			for i, line := range lines {
				var want []int
				for _, f := range strings.Fields(line) {
					id, _ := strconv.Atoi(f)
					want = append(want, id)
				}
				got, err := tok.Encode([]byte(texts[i]), EncodeOptions{})
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(got, want) {
					t.Errorf("%q:\nwant %v\ngot  %v", texts[i], want, got)
				}
				back, err := tok.Decode(got)
				if err != nil || string(back) != texts[i] {
					t.Errorf("%q: decodes to %q, %v", texts[i], back, err)
				}
			}
			t.Logf("%d texts", len(lines))
		})
	}
}
