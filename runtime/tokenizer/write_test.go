package tokenizer

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mop/internal/testutil"
)

var written = flag.String("written", "", "a folder to which TestWriteJSON copies what it writes, for testdata/written.py")

// A tokenizer.json that mop writes gives the ids of the tokenizer from which it was
// written. testdata/written.py compares it with the tokenizers library.
func TestWriteJSON(t *testing.T) {
	g := readGolden(t)
	for _, c := range g.Tokenizers {
		if filepath.Ext(c.File) == ".json" || c.Peer == "tiktoken" || c.File == "mapped.model" {
			continue
		}
		t.Run(c.File, func(t *testing.T) {
			path := filepath.Join("testdata", c.File)
			if c.Shared {
				path = testutil.DataPath(t, c.File)
			}
			tok, out := write(t, path)
			back, err := Parse(out)
			if err != nil {
				t.Fatal(err)
			}
			if back.BOS() != tok.BOS() || !slices.Equal(back.EOS(), tok.EOS()) || back.Vocab() != tok.Vocab() {
				t.Errorf("want BOS %d, EOS %v, %d ids, got %d, %v, %d", tok.BOS(), tok.EOS(), tok.Vocab(), back.BOS(), back.EOS(), back.Vocab())
			}
			for i, text := range g.Texts {
				checkIDs(t, back, text, false, c.Encoded[0].IDs[i])
			}
			if *written != "" {
				name := filepath.Join(*written, strings.ReplaceAll(c.File, "/", "_")+".json")
				if err := os.WriteFile(name, out, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func write(t *testing.T, path string) (*Tokenizer, []byte) {
	t.Helper()
	tok, err := OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := WriteJSON(&out, tok); err != nil {
		t.Fatal(err)
	}
	return tok, out.Bytes()
}

// testdata/written.json, which was checked with the tokenizers library, is what mop
// writes.
func TestWriteJSONGolden(t *testing.T) {
	want, err := os.ReadFile("testdata/written.json")
	if err != nil {
		t.Fatal(err)
	}
	if _, got := write(t, "testdata/fallback.bin"); !bytes.Equal(got, want) {
		t.Error("WriteJSON of fallback.bin differs from testdata/written.json")
	}
}

// The tokenizer_config.json beside a written tokenizer.json has the names of BOS, EOS
// and unknown of the file that was read.
func TestWriteSettings(t *testing.T) {
	for file, want := range map[string][3]string{
		"fallback.model": {"<s>", "</s>", "<unk>"},
		"fallback.bin":   {"<s>", "</s>", "<unk>"},
	} {
		var out bytes.Buffer
		if err := WriteSettings(&out, parseFile(t, file), 512); err != nil {
			t.Fatal(err)
		}
		var got struct {
			BOS     string `json:"bos_token"`
			EOS     string `json:"eos_token"`
			Unknown string `json:"unk_token"`
			Class   string `json:"tokenizer_class"`
			Context int    `json:"model_max_length"`
		}
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if [3]string{got.BOS, got.EOS, got.Unknown} != want || got.Class != "PreTrainedTokenizerFast" || got.Context != 512 {
			t.Errorf("%s: got %s", file, out.String())
		}
	}
	// llama2.c's ids 0 to 2 may have any names.
	tok, err := Parse(binFile("a", "b"))
	if err != nil {
		t.Fatal(err)
	}
	tok.raw = addedSet{}
	tok.raw.add(addedToken{text: "[BEGIN]", id: 1, special: true})
	var out bytes.Buffer
	if err := WriteSettings(&out, tok, 8); err != nil || !strings.Contains(out.String(), `"bos_token": "[BEGIN]"`) || !strings.Contains(out.String(), `"eos_token": null`) {
		t.Errorf("got %s, %v", out.String(), err)
	}
}

// Tokenizers that a tokenizer.json cannot express are refused.
func TestWriteJSONRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"user-defined pieces", testFile(t, "mapped.model"), "user-defined"},
		{"byte-level", testFile(t, "tiktoken.model"), "want a tokenizer.bin"},
		{"scores tie", binFile("a", "b", "c", "ab", "bc"), "has the score of other pieces"},
		{"runs that doubling does not cover", binFile("a", "aa", "aaa"), "a run of"},
		{"some bytes", binFile("a", "<0x41>"), "some bytes"},
		{"a space in SentencePiece", spFile(message(2, number(3, 2)), message(1, message(1, []byte(" ")))), "a space that no text has"},
		{"a space that is a byte", binFile(append([]string{"a", "b"}, allBytes()...)...), "a space is a byte"},
		{"one spelling", binFile("a", " ", meta), "both spelled"},
		{"not UTF-8", binFile("a", "\xff"), "not UTF-8"},
	} {
		tok, err := Parse(c.data)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		var out bytes.Buffer
		if err := WriteJSON(&out, tok); err == nil || !strings.Contains(err.Error(), c.want) || out.Len() > 0 {
			t.Errorf("%s: want an error with %q and nothing written, got %v and %d bytes", c.name, c.want, err, out.Len())
		}
	}
	// An unknown piece with the name of BOS is none without a post-processor.
	tok, err := Parse(bytes.Join([][]byte{message(1, message(1, []byte("<s>")), number(3, 2)), message(1, message(1, []byte("a"))), message(2, number(3, 2))}, nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteJSON(&bytes.Buffer{}, tok); err != nil {
		t.Error(err)
	}
}

func testFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// allBytes spells the 256 byte pieces.
func allBytes() (pieces []string) {
	for b := range 256 {
		pieces = append(pieces, fmt.Sprintf("<0x%02X>", b))
	}
	return pieces
}
