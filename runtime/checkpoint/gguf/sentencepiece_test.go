package gguf

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mop/internal/testutil"
	"mop/runtime/tokenizer"
)

var sentencePieceDir = flag.String("sentencepiece", "", "a folder to which TestSentencePieceModel copies what it writes, for testdata/sentencepiece_ids.py")

// sentencepiece loads the files that mop writes and gives the ids in
// testdata/sentencepiece_ids.json, made by testdata/sentencepiece_ids.py.
func TestSentencePieceModel(t *testing.T) {
	var golden struct {
		Texts  []string
		Models []struct {
			Name, SHA256 string
			IDs          [][]int
		}
	}
	text, err := os.ReadFile("testdata/sentencepiece_ids.json")
	if err == nil {
		err = json.Unmarshal(text, &golden)
	}
	if err != nil && *sentencePieceDir == "" {
		t.Fatal(err)
	}
	for name, path := range map[string]string{
		"demo.model":   filepath.Join("..", "..", "..", "bench", "demo", "model", "tokenizer.json"),
		"tok512.model": "stories260K/tok512.bin",
	} {
		t.Run(name, func(t *testing.T) {
			if filepath.Ext(path) == ".bin" {
				path = testutil.DataPath(t, path)
			}
			tok, err := tokenizer.OpenFile(path)
			if err != nil {
				t.Fatal(err)
			}
			model, err := SentencePieceModel(tok)
			if err != nil {
				t.Fatal(err)
			}
			if *sentencePieceDir != "" {
				copySentencePiece(t, tok, path, name, model)
				return
			}
			at := slices.IndexFunc(golden.Models, func(m struct {
				Name, SHA256 string
				IDs          [][]int
			}) bool {
				return m.Name == name
			})
			sum := sha256.Sum256(model)
			if got := hex.EncodeToString(sum[:]); got != golden.Models[at].SHA256 {
				t.Errorf("want the bytes that sentencepiece loaded, of sha256 %s, got %s", golden.Models[at].SHA256, got)
			}
			written, err := tokenizer.Parse(model)
			if err != nil {
				t.Fatal(err)
			}
			for i, text := range golden.Texts {
				for _, x := range []*tokenizer.Tokenizer{tok, written} {
					if x == tok && filepath.Ext(path) == ".bin" && strings.Contains(text, wordSpace) {
						continue // a space to SentencePiece, but not to llama2.c: see tokenizer.WriteJSON
					}
					if got, err := x.Encode([]byte(text), tokenizer.EncodeOptions{}); err != nil || !slices.Equal(got, golden.Models[at].IDs[i]) {
						t.Errorf("%q: want %v, got %v, %v", text, golden.Models[at].IDs[i], got, err)
					}
				}
			}
		})
	}
	// The demo's model carries the file.
	tok, err := tokenizer.OpenFile("../../../bench/demo/model/tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	want, err := SentencePieceModel(tok)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile("../../../bench/demo/model/tokenizer.model"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("bench/demo/model/tokenizer.model: want %d bytes made from tokenizer.json, got %d, %v", len(want), len(got), err)
	}
}

func copySentencePiece(t *testing.T, tok *tokenizer.Tokenizer, path, name string, model []byte) {
	t.Helper()
	text, err := os.ReadFile(path)
	if filepath.Ext(path) == ".bin" {
		var out bytes.Buffer
		err = tokenizer.WriteJSON(&out, tok)
		text = out.Bytes()
	}
	if err != nil {
		t.Fatal(err)
	}
	base := filepath.Join(*sentencePieceDir, name)
	if err := errors.Join(os.WriteFile(base, model, 0o666), os.WriteFile(base[:len(base)-len(".model")]+".json", text, 0o666)); err != nil {
		t.Fatal(err)
	}
}

// A tokenizer that SentencePiece cannot express is refused.
func TestNoSentencePieceModel(t *testing.T) {
	for _, path := range []string{"../../tokenizer/testdata/bytelevel.json", "../../tokenizer/testdata/first.json"} {
		tok, err := tokenizer.OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := SentencePieceModel(tok); !errors.Is(err, ErrTokenizer) {
			t.Errorf("%s: want ErrTokenizer, got %v", path, err)
		}
	}
}
