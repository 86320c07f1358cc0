package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
)

var hubName = regexp.MustCompile(`^[A-Za-z0-9][\w.-]*/[\w.-]+$`)

// Explain says what a path is that was given as a checkpoint but cannot be opened as
// one, and what to do. It is nil if nothing is known about it.
func Explain(path string) error {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist) && hubName.MatchString(path):
		return fmt.Errorf("no such directory; if it is the name of a model on the Hugging Face Hub, download it first (hf download %s --local-dir DIR): mop downloads nothing", path)
	case errors.Is(err, os.ErrNotExist):
		return errors.New("no such directory")
	case err != nil:
		return nil
	case !st.IsDir():
		return explainFile(path)
	}
	has := func(patterns ...string) string {
		for _, p := range patterns {
			if found, _ := filepath.Glob(filepath.Join(globQuote(path), p)); len(found) > 0 {
				return filepath.Base(found[0])
			}
		}
		return ""
	}
	switch {
	case has("config.json") == "" && has("adapter_config.json") != "":
		return errAdapter
	case has("config.json") == "" && has("consolidated.*.pth", "params.json") != "":
		return errors.New("the layout of Meta's releases: convert it with transformers' convert_llama_weights_to_hf.py")
	case has("snapshots") != "":
		if s := has("snapshots/*"); s != "" {
			return fmt.Errorf("the cache of the Hugging Face Hub: give one of its snapshots, such as %s", filepath.Join(path, "snapshots", s))
		}
		return errors.New("the cache of the Hugging Face Hub without a snapshot")
	}
	if name := has("*.gguf"); name != "" {
		return fmt.Errorf("holds the GGUF file %s: convert it with mop import gguf FILE --out DIR", name)
	}
	if name := has("pytorch_model*.bin", "*.pth", "*.pt"); name != "" {
		return fmt.Errorf("holds PyTorch's %s: save the model as safetensors, for example with transformers' save_pretrained", name)
	}
	if name := has("tf_model.h5", "flax_model.msgpack", "*.onnx", "*.parquet"); name != "" {
		return fmt.Errorf("holds %s, which is not supported: save the model as safetensors", name)
	}
	if name := has("consolidated*.safetensors"); name != "" {
		return fmt.Errorf("holds %s, whose tensors have the names of Mistral's or Meta's own releases: give the files of transformers' layout, model*.safetensors", name)
	}
	if name := has("*.safetensors"); name != "" && has("model.safetensors", "model.safetensors.index.json") == "" {
		return fmt.Errorf("holds %s: one file must be called model.safetensors, and several need a model.safetensors.index.json", name)
	}
	return nil
}

var errAdapter = errors.New("an adapter, not a model: give its base model; fine-tuning takes the adapter by --adapter-init")

// explainFile says what a file is that was given instead of a directory.
func explainFile(path string) error {
	head := make([]byte, 8)
	if f, err := os.Open(path); err == nil {
		n, _ := io.ReadFull(f, head)
		head = head[:n]
		f.Close()
	}
	name := filepath.Base(path)
	switch ext := filepath.Ext(name); {
	case bytes.HasPrefix(head, []byte("GGUF")):
		return errors.New("a GGUF file: convert it with mop import gguf FILE --out DIR")
	case name == "adapter_model.safetensors", name == "adapter_model.bin":
		return errAdapter
	case ext == ".safetensors", name == "config.json":
		return errors.New("a file: give the directory that holds it")
	case ext == ".bin", ext == ".pth", ext == ".pt":
		return errors.New("a PyTorch file: give a directory with the model saved as safetensors")
	}
	return errors.New("a file: want a directory with a config.json and safetensors files")
}

// globQuote makes a path match itself alone.
func globQuote(path string) string {
	var out []byte
	for i := range len(path) {
		if c := path[i]; c == '*' || c == '?' || c == '[' || c == '\\' {
			out = append(out, '\\')
		}
		out = append(out, path[i])
	}
	return string(out)
}
