package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"mop/runtime/config"
)

// shardBytes is Hugging Face's customary limit of a shard.
const shardBytes = 5_000_000_000

// SaveOptions says what else goes into a model directory, and how it is cut.
type SaveOptions struct {
	Replace    bool               // an existing model is replaced
	ShardBytes int64              // tensors of one file, bytes; 0 = 5e9
	Files      map[string]string  // name in the directory -> path of the file to copy
	Data       map[string][]byte  // name in the directory -> contents
	Wrapper    *MultimodalWrapper // what the model was a part of; nil = it is written alone

	fs fileSystem // nil = the operating system's
}

// ErrExists says that the target of a save is there already.
var ErrExists = errors.New("exists already")

// Save writes a model directory: config.json, the tensors, which must be those
// that Expected lists for the config, and the files of the options. The tensors
// are produced one after the other and never held.
//
// Everything goes to a hidden directory beside the target, on to the disk, and
// takes the target's name only then: a reader, or whoever comes after a crash at
// any moment, finds the whole new model or what was there before. An existing
// target is an error that wraps ErrExists; with Replace, a directory that holds
// a model and nothing but files is exchanged for the new one in one step, which
// the file system must be able to do (Linux's local ones are). What a killed save
// of the same target left behind is removed first; a save of the same target
// that still runs is an error.
func Save(dir string, c *config.Config, tensors []TensorSpec, o SaveOptions) error {
	if err := checkSpecs(c, tensors); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	if o.Wrapper != nil {
		tensors = o.Wrapper.join(tensors)
	} else if c.Multimodal != nil {
		c = c.Clone()
		c.Multimodal = nil
	}
	text, err := config.Marshal(c)
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(dir, configFile), err)
	}
	side, err := sideContents(o)
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	shards := cut(tensors, o.ShardBytes)
	index, err := indexText(shards)
	if err != nil {
		return err
	}
	side = append(side, content{configFile, bytesOpener(text), int64(len(text))})
	if index != nil {
		side = append(side, content{indexFile, bytesOpener(index), int64(len(index))})
	}
	need := int64(0)
	for _, s := range shards {
		need += int64(len(s.header)) + s.size
	}
	for _, f := range side {
		need += f.size
	}
	return commitDirectory(dir, o, need, func(w *writer) error {
		for _, s := range shards {
			if err := w.file(s.name, s.write); err != nil {
				return err
			}
		}
		for _, f := range side {
			if err := w.file(f.name, f.write); err != nil {
				return err
			}
		}
		return nil
	})
}

// checkSpecs holds what is to be written to the config, as Open would.
func checkSpecs(c *config.Config, tensors []TensorSpec) error {
	if err := c.Check(); err != nil {
		return fmt.Errorf("%s: %w", configFile, err)
	}
	given := make(map[string]TensorSpec, len(tensors))
	for _, s := range tensors {
		if _, ok := given[s.Name]; ok {
			return fmt.Errorf("%s: stands twice", place(s.Name))
		}
		given[s.Name] = s
	}
	for _, info := range ExpectedTensors(c) {
		s, ok := given[info.Name]
		if !ok {
			return fmt.Errorf("%s: missing, want %v", place(info.Name), info.Shape)
		}
		if !slices.Equal(s.Shape, info.Shape) {
			return fmt.Errorf("%s: want %v, got %v", place(info.Name), info.Shape, s.Shape)
		}
		delete(given, info.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		return fmt.Errorf("%s: unexpected, got %v", place(name), given[name].Shape)
	}
	return nil
}

// content is a small file of the directory.
type content struct {
	name string
	open func() (io.ReadCloser, error)
	size int64 // bytes
}

func bytesOpener(b []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
}

func (f content) write(w io.Writer) (err error) {
	r, err := f.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	_, err = io.Copy(w, r)
	return err
}

// sideContents lists the files that are carried along.
func sideContents(o SaveOptions) ([]content, error) {
	var out []content
	for _, name := range slices.Sorted(maps.Keys(o.Data)) {
		out = append(out, content{name, bytesOpener(o.Data[name]), int64(len(o.Data[name]))})
	}
	for _, name := range slices.Sorted(maps.Keys(o.Files)) {
		path := o.Files[name]
		st, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if !st.Mode().IsRegular() {
			return nil, fmt.Errorf("%s: want a regular file", path)
		}
		if _, ok := o.Data[name]; ok {
			return nil, fmt.Errorf("%s: given twice", name)
		}
		out = append(out, content{name, func() (io.ReadCloser, error) { return os.Open(path) }, st.Size()})
	}
	for _, f := range out {
		if !plainName(f.name) || f.name == configFile || f.name == indexFile || filepath.Ext(f.name) == ".safetensors" {
			return nil, fmt.Errorf("%s: not a name for a file carried along", show(f.name))
		}
	}
	return out, nil
}

// SideFiles lists the files of a model directory that belong to the model and
// are neither config nor weights: tokenizer, chat template, generation defaults.
// It is made for SaveOptions.Files: name to path.
func SideFiles(dir string) map[string]string {
	out := map[string]string{}
	for _, name := range []string{
		"tokenizer.json", "tokenizer.model", "tokenizer.bin", "tokenizer_config.json",
		"special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt",
		"generation_config.json", "chat_template.jinja", "chat_template.json", "preprocessor_config.json", "processor_config.json",
	} {
		path := filepath.Join(dir, name)
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
			out[name] = path
		}
	}
	return out
}

// Copy is the spec of a tensor that is stored as it is.
func Copy(t Tensor) TensorSpec {
	return TensorSpec{Name: t.Name, DType: t.DType, Shape: t.Shape, Write: func(w Writer) error { _, err := w.Write(t.Data); return err }}
}
