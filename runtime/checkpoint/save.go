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

	"mop/internal/files"
	"mop/runtime/checkpoint/safetensors"
	"mop/runtime/config"
	"mop/runtime/modelcard"
)

// SaveOptions says what else goes into a checkpoint, and how it is sharded.
type SaveOptions struct {
	Replace    bool               // replace an existing model
	ShardBytes int64              // most bytes of tensors in one shard; 0 = 5e9
	Files      map[string]string  // name in the directory -> path of the file to copy
	Data       map[string][]byte  // name in the directory -> contents
	Wrapper    *MultimodalWrapper // the multimodal model around it; nil = write the language model alone
	Card       *modelcard.Card    // the model card, in place of which a README.md that somebody else wrote there is kept; nil = none
	// Last returns further files, name to contents, after the tensors have been written.
	Last func() (map[string][]byte, error)

	fs fileSystem // nil = the operating system's
}

// ErrExists means that the target of a save exists already.
var ErrExists = errors.New("exists already")

// Save writes a checkpoint: config.json, the tensors, which must be those that
// ExpectedTensors lists for the config, the remote code of a model whose layers differ,
// and the files of the options. The tensors
// are produced one after the other and never held in memory.
//
// Everything is written to a hidden directory beside the target and synced to
// disk; only then does the directory get the target's name. A reader, also after a
// crash at any moment, finds the whole new model or what was there before. An
// existing target is an error that wraps ErrExists. With Replace, a directory that
// holds a model and only files is exchanged for the new one in one step, which the
// file system must support (Linux's local ones do). A save first removes what a
// killed save of the same target left behind. A save of the same target that is
// still running is an error.
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
	shards := safetensors.Cut(stored(tensors), o.ShardBytes)
	index, err := safetensors.MarshalIndex(shards)
	if err != nil {
		return err
	}
	side = append(side, content{configFile, bytesOpener(text), int64(len(text))})
	code := c.RemoteCode()
	for _, name := range slices.Sorted(maps.Keys(code)) {
		side = append(side, content{name, bytesOpener(code[name]), int64(len(code[name]))})
	}
	if o.Card != nil {
		card := o.Card.Contents(dir, c)
		side = append(side, content{modelcard.File, bytesOpener(card), int64(len(card))})
	}
	if index != nil {
		side = append(side, content{indexFile, bytesOpener(index), int64(len(index))})
	}
	need := int64(0)
	for _, s := range shards {
		need += int64(len(s.Header)) + s.Bytes
	}
	for _, f := range side {
		need += f.size
	}
	return commitDirectory(dir, o, need, func(w *writer) error {
		for _, s := range shards {
			write := func(w io.Writer) error { return nameLayer(s.Write(w)) }
			if err := w.file(s.Name, write); err != nil {
				return err
			}
		}
		if o.Last != nil {
			data, err := o.Last()
			if err != nil {
				return err
			}
			last, err := sideContents(SaveOptions{Data: data})
			if err != nil {
				return err
			}
			side = append(side, last...)
		}
		for _, f := range side {
			if err := w.file(f.name, f.write); err != nil {
				return err
			}
		}
		return nil
	})
}

// nameLayer adds the layer to an error about a tensor.
func nameLayer(err error) error {
	if t, ok := err.(*safetensors.TensorError); ok {
		return fmt.Errorf("%s: %w", withLayer(t.Name), t.Err)
	}
	return err
}

// checkSpecs compares what is to be written with the config, as Open would.
func checkSpecs(c *config.Config, tensors []TensorSpec) error {
	if err := c.Check(); err != nil {
		return fmt.Errorf("%s: %w", configFile, err)
	}
	given := make(map[string]TensorSpec, len(tensors))
	for _, s := range tensors {
		if _, ok := given[s.Name]; ok {
			return fmt.Errorf("%s: stands twice", withLayer(s.Name))
		}
		given[s.Name] = s
	}
	for _, info := range ExpectedTensors(c) {
		s, ok := given[info.Name]
		if !ok {
			return fmt.Errorf("%s: missing, want %v", withLayer(info.Name), info.Shape)
		}
		if !slices.Equal(s.Shape, info.Shape) {
			return fmt.Errorf("%s: want %v, got %v", withLayer(info.Name), info.Shape, s.Shape)
		}
		delete(given, info.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		return fmt.Errorf("%s: unexpected, got %v", withLayer(name), given[name].Shape)
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

// sideContents lists the files that are copied with the model.
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
		if !files.IsPlainName(f.name) || f.name == configFile || f.name == indexFile || config.IsRemoteCode(f.name) || filepath.Ext(f.name) == ".safetensors" {
			return nil, fmt.Errorf("%s: not a name for a file beside a model", safetensors.Printable(f.name))
		}
	}
	return out, nil
}

// SideFiles lists the files of a checkpoint that belong to the model and are
// neither config.json nor weights: tokenizer, chat template, generation defaults.
// The result, name to path, is meant for SaveOptions.Files.
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
