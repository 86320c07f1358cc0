package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// An export needs little memory, whatever the size of the model: here 500 MB of weights,
// one matrix of which has 256 MB.
func TestExportMemory(t *testing.T) {
	const limit = 230 // MB; the largest matrix alone has 256
	path := program(t)
	dir := sparseModel(t)
	c := exec.Command(path, "export", "gguf", "--model", dir, "--out", filepath.Join(t.TempDir(), "m.gguf"), "--type", "q8_0", "--no-tokenizer")
	var text bytes.Buffer
	c.Stdout, c.Stderr = &text, &text
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Wait() }()
	peak, err := 0, error(nil)
	for running := true; running; {
		select {
		case err = <-done:
			running = false
		case <-time.After(5 * time.Millisecond):
			peak = max(peak, peakMegabytes(c.Process.Pid))
		}
	}
	if err != nil || !strings.Contains(text.String(), "Q8_0") {
		t.Fatalf("%v: %s", err, text.String())
	}
	t.Logf("peak memory %d MB", peak)
	if peak == 0 || peak > limit {
		t.Errorf("peak memory: want at most %d MB, got %d", limit, peak)
	}
}

// peakMegabytes is the largest resident size that a process had, 0 if it has ended. The
// usage that wait reports is no good here: it counts the process that started this one.
func peakMegabytes(pid int) int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		var kilobytes int
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kilobytes); n == 1 {
			return kilobytes / 1024
		}
	}
	return 0
}

// sparseModel is a model of zeros that takes no space on the disk.
func sparseModel(t *testing.T) (dir string) {
	t.Helper()
	const vocab, hidden, layers, neurons = 65536, 1024, 2, 8192
	dir = t.TempDir()
	header, at := map[string]any{}, 0
	add := func(name string, shape ...int) {
		size := 4
		for _, n := range shape {
			size *= n
		}
		header[name] = map[string]any{"dtype": "F32", "shape": shape, "data_offsets": []int{at, at + size}}
		at += size
	}
	add("model.embed_tokens.weight", vocab, hidden)
	for _, l := range []string{"0", "1"}[:layers] {
		p := "model.layers." + l + "."
		add(p+"input_layernorm.weight", hidden)
		for _, m := range []string{"q", "k", "v", "o"} {
			add(p+"self_attn."+m+"_proj.weight", hidden, hidden)
		}
		add(p+"post_attention_layernorm.weight", hidden)
		add(p+"mlp.gate_proj.weight", neurons, hidden)
		add(p+"mlp.up_proj.weight", neurons, hidden)
		add(p+"mlp.down_proj.weight", hidden, neurons)
	}
	add("model.norm.weight", hidden)
	text, err := json.Marshal(header)
	if err != nil {
		t.Fatal(err)
	}
	for len(text)%8 != 0 {
		text = append(text, ' ')
	}
	file := filepath.Join(dir, "model.safetensors")
	start := []byte{byte(len(text)), byte(len(text) >> 8), byte(len(text) >> 16), 0, 0, 0, 0, 0}
	if err := os.WriteFile(file, append(start, text...), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, int64(8+len(text)+at)); err != nil {
		t.Fatal(err)
	}
	settings, err := json.Marshal(map[string]any{"architectures": []string{"LlamaForCausalLM"}, "model_type": "llama", "vocab_size": vocab, "hidden_size": hidden,
		"num_hidden_layers": layers, "num_attention_heads": 16, "num_key_value_heads": 16, "intermediate_size": neurons, "hidden_act": "silu", "rms_norm_eps": 1e-5,
		"max_position_embeddings": 64, "tie_word_embeddings": true, "torch_dtype": "float32", "rope_theta": 10000.0})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "config.json"), settings, 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
