package tokenizer

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mop/internal/testutil"
)

// golden is testdata/golden.json, which golden.py writes.
type golden struct {
	Texts  []string
	Slices []struct {
		File      string
		At, Bytes int
	}
	Tokenizers []struct {
		File    string
		Shared  bool
		Peer    string
		Encoded []struct {
			Special bool
			IDs     [][]int // null = as without special tokens
		}
		Decoded []struct {
			IDs   []int
			Bytes []byte
		}
		Slices []struct {
			IDs    int
			SHA256 string
		}
	}
}

func readGolden(t testing.TB) *golden {
	t.Helper()
	data, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	return &g
}

// The ids and the decoded texts are those of sentencepiece, tokenizers, transformers and
// tiktoken.
func TestOtherLibraries(t *testing.T) {
	g := readGolden(t)
	for _, c := range g.Tokenizers {
		t.Run(c.Peer+"/"+c.File, func(t *testing.T) {
			path := filepath.Join("testdata", c.File)
			if c.Shared {
				path = testutil.DataPath(t, c.File)
			}
			tok, err := OpenFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range c.Encoded {
				for i, want := range e.IDs {
					if e.Special && want == nil {
						want = c.Encoded[0].IDs[i]
					}
					if strings.Contains(g.Texts[i], meta) && filepath.Ext(c.File) == ".bin" {
						continue // llama2.c, unlike SentencePiece, does not treat it as a space
					}
					checkIDs(t, tok, g.Texts[i], e.Special, want)
				}
			}
			for i, want := range c.Slices {
				s := g.Slices[i]
				data, err := os.ReadFile(testutil.DataPath(t, s.File))
				if err != nil {
					t.Fatal(err)
				}
				ids, err := tok.Encode(data[s.At:s.At+s.Bytes], EncodeOptions{})
				if err != nil {
					t.Fatal(err)
				}
				sum := sha256.Sum256([]byte(strings.Trim(strings.ReplaceAll(fmt.Sprint(ids), " ", ","), "[]")))
				if len(ids) != want.IDs || hex.EncodeToString(sum[:]) != want.SHA256 {
					t.Errorf("%s, %d bytes at %d: other ids (want %d of them, got %d)", s.File, s.Bytes, s.At, want.IDs, len(ids))
				}
			}
			for _, d := range c.Decoded {
				got, err := tok.Decode(d.IDs)
				if err != nil {
					t.Fatal(err)
				}
				// Where bytes are not valid text the other libraries write U+FFFD.
				if want := string(d.Bytes); !strings.Contains(want, "\ufffd") && string(got) != want {
					t.Errorf("%v:\nwant %q\ngot  %q", d.IDs, want, got)
				}
			}
		})
	}
}

func checkIDs(t *testing.T, tok *Tokenizer, text string, special bool, want []int) {
	t.Helper()
	got, err := tok.Encode([]byte(text), EncodeOptions{Special: special})
	if err != nil {
		t.Errorf("%q: %v", text, err)
	} else if !slices.Equal(got, want) {
		t.Errorf("%q (special %v):\nwant %v\ngot  %v", text, special, want, got)
	}
	if tok.BOS() < 0 {
		return
	}
	with, err := tok.Encode([]byte(text), EncodeOptions{Special: special, BOS: true})
	if err != nil || with[0] != tok.BOS() || !slices.Equal(with[1:], got) {
		t.Errorf("%q: with BOS %v, %v", text, with, err)
	}
}
