package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestReadGeneration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "generation_config.json")
	for text, want := range map[string][]int{
		"":                                 {2}, // no file
		`{"bos_token_id":1}`:               {2},
		`{"eos_token_id":null}`:            {2},
		`{"eos_token_id":-1}`:              {2},
		`{"eos_token_id":5}`:               {5},
		`{"eos_token_id":[128001,128009]}`: {128001, 128009},
		`{"do_sample":true,"eos_token_id":[2,7]}`: {2, 7},
	} {
		if text != "" {
			if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
		} else {
			os.Remove(path)
		}
		c := parse(t, "")
		if err := c.ReadGeneration(path); err != nil || !slices.Equal(c.EOS, want) {
			t.Errorf("%s: want %v, got %v, %v", text, want, c.EOS, err)
		}
	}
	for text, want := range map[string]string{`{`: "ends inside", `[]`: "want a JSON object", `{"eos_token_id":"x"}`: "eos_token_id", "version https://git-lfs.github.com/spec/v1\n": "git lfs pull"} {
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := parse(t, "").ReadGeneration(path); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), path) {
			t.Errorf("%s: want an error with %q, got %v", text, want, err)
		}
	}
}
