package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestExplain(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		given string // below the directory
		want  string // "" = nothing
	}{
		{"complete", map[string]string{"config.json": "{}", "model.safetensors": ""}, "", ""},
		{"PyTorch", map[string]string{"config.json": "{}", "pytorch_model.bin": "PK"}, "", "PyTorch's pytorch_model.bin: save the model as safetensors"},
		{"PyTorch shards", map[string]string{"config.json": "{}", "pytorch_model-00001-of-00002.bin": "PK"}, "", "PyTorch's pytorch_model-00001"},
		{"Meta", map[string]string{"params.json": "{}", "consolidated.00.pth": "PK"}, "", "convert_llama_weights_to_hf"},
		{"adapter", map[string]string{"adapter_config.json": "{}", "adapter_model.safetensors": ""}, "", "--adapter-init"},
		{"adapter's file", map[string]string{"adapter_config.json": "{}", "adapter_model.safetensors": ""}, "adapter_model.safetensors", "--adapter-init"},
		{"cache", map[string]string{"snapshots/abc/config.json": "{}", "blobs/x": ""}, "", "snapshots/abc"},
		{"GGUF inside", map[string]string{"model-q4.gguf": "GGUF"}, "", "mop import gguf"},
		{"GGUF", map[string]string{"model.bin": "GGUF\x03\x00\x00\x00"}, "model.bin", "mop import gguf"},
		{"weights alone", map[string]string{"model.safetensors": ""}, "model.safetensors", "give the directory"},
		{"checkpoint of PyTorch", map[string]string{"model.pth": "PK"}, "model.pth", "PyTorch file"},
		{"TensorFlow", map[string]string{"config.json": "{}", "tf_model.h5": ""}, "", "tf_model.h5"},
		{"one shard", map[string]string{"config.json": "{}", "model-00001-of-00001.safetensors": ""}, "", "one file must be called model.safetensors"},
		{"Mistral's releases", map[string]string{"config.json": "{}", "consolidated.safetensors": ""}, "", "consolidated.safetensors, whose tensors"},
		{"absent", nil, "nothing/here/at/all", "no such directory"},
	} {
		dir := filepath.Join(t.TempDir(), "a[b]*") // what globs could misread
		for name, text := range c.files {
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		switch err := Explain(filepath.Join(dir, c.given)); {
		case c.want == "" && err != nil:
			t.Errorf("%s: want nothing, got %v", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: want %q, got %v", c.name, c.want, err)
		}
	}
	if err := Explain("meta-llama/Llama-2-7b-hf"); err == nil || !strings.Contains(err.Error(), "mop downloads nothing") {
		t.Errorf("a name of the Hub: got %v", err)
	}
}
