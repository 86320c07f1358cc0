package checkpoint

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/edsrzf/mmap-go"

	"mop/runtime/config"
)

const (
	configFile = "config.json"
	singleFile = "model.safetensors"
	indexFile  = "model.safetensors.index.json"
)

// ErrNoWeights says that a directory with a config holds no weights at all.
var ErrNoWeights = errors.New("no weights")

// Dir is an open model directory. Its tensors are views of mapped, read-only
// files and end with Close. Sizes are checked when a file is opened, and Save never
// writes in place; a file that another program shortens while it is mapped gives a
// fault at the next touch: see package mapped.
type Dir struct {
	Path    string
	config  *config.Config
	tensors map[string]Tensor  // by the names of Expected
	files   map[string]string  // the same names to the paths they were found in
	wrapper *MultimodalWrapper // what the model is a part of; nil = nothing
	maps    []mmap.MMap
}

// Open maps a Hugging Face model directory: config.json, and model.safetensors
// or, where that is absent, the shards that model.safetensors.index.json names.
// The time it takes does not depend on the size of the tensors, of which nothing
// is read. The tensors must be exactly those that Expected lists for the config,
// each in F32, F16 or BF16; see Canonical for other spellings of their names and
// for what is tolerated beside them.
func Open(dir string) (*Dir, error) {
	c, err := config.Load(filepath.Join(dir, configFile))
	if err != nil {
		return nil, err
	}
	d := &Dir{Path: dir, config: c}
	all, err := d.mapAll()
	if err == nil {
		err = d.match(all)
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// mapAll maps all files and lists their tensors, held to the index if there is
// one.
func (d *Dir) mapAll() ([]stored, error) {
	single := filepath.Join(d.Path, singleFile)
	_, err := os.Lstat(single) // a link that leads nowhere is not an absent file
	if err == nil {
		return d.mapFile(single)
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	indexPath := filepath.Join(d.Path, indexFile)
	index, err := readIndex(indexPath)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w: want %s or %s, got neither", d.Path, ErrNoWeights, singleFile, indexFile)
	}
	if err != nil {
		return nil, err
	}
	var all []stored
	found := make(map[string]bool, len(index))
	for _, file := range index.files() {
		tensors, err := d.mapFile(filepath.Join(d.Path, file))
		if err != nil {
			return nil, err
		}
		for _, t := range tensors {
			switch listed, ok := index[t.name]; {
			case !ok:
				return nil, fmt.Errorf("%s: %s: not in %s", t.file, show(t.name), indexFile)
			case listed != file:
				return nil, fmt.Errorf("%s: %s: want it in %s by %s", t.file, show(t.name), listed, indexFile)
			}
			found[t.name] = true
		}
		all = append(all, tensors...)
	}
	for _, name := range slices.Sorted(maps.Keys(index)) {
		if !found[name] {
			return nil, fmt.Errorf("%s: %s: missing from %s", indexPath, show(name), index[name])
		}
	}
	return all, nil
}

func (d *Dir) mapFile(path string) ([]stored, error) {
	m, tensors, err := mapFile(path)
	if err == nil {
		d.maps = append(d.maps, m)
	}
	return tensors, err
}

// match finds the tensors that the config asks for among those stored.
func (d *Dir) match(all []stored) error {
	found := make(map[string]stored, len(all))
	if d.config.Multimodal != nil {
		d.wrapper = &MultimodalWrapper{}
	}
	for _, t := range all {
		name, ok := Canonical(t.name)
		if !ok && d.wrapper == nil {
			return fmt.Errorf("%s: %s: unexpected beside a language model alone, got %v", t.file, show(t.name), t.shape)
		}
		if !ok {
			d.wrapper.tensors = append(d.wrapper.tensors, t)
			continue
		}
		if name == EmbedName && d.wrapper != nil {
			d.wrapper.embed = t.name
		}
		if first, ok := found[name]; ok {
			return fmt.Errorf("%s: %s: the same tensor as %s", t.file, show(t.name), show(first.name))
		}
		found[name] = t
	}
	want := ExpectedTensors(d.config)
	d.tensors = make(map[string]Tensor, len(want))
	d.files = make(map[string]string, len(want))
	for _, info := range want {
		t, ok := found[info.Name]
		if !ok {
			return fmt.Errorf("%s: %s: missing, want %v", d.Path, place(info.Name), info.Shape)
		}
		if !slices.Equal(t.shape, info.Shape) {
			return fmt.Errorf("%s: %s: want %v, got %v", t.file, place(info.Name), info.Shape, t.shape)
		}
		dtype, ok := dtypeNamed(t.dtype)
		if !ok {
			return fmt.Errorf("%s: %s: want F32, F16 or BF16, got %s", t.file, place(info.Name), t.dtype)
		}
		d.tensors[info.Name] = Tensor{info.Name, dtype, info.Shape, t.data}
		d.files[info.Name] = t.file
		delete(found, info.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		if !ignored(d.config, name) {
			return fmt.Errorf("%s: %s: unexpected, got %v", found[name].file, place(show(name)), found[name].shape)
		}
	}
	return nil
}

// Config is the model's config.
func (d *Dir) Config() *config.Config { return d.config }

// Tensor finds a tensor by its name in Expected.
func (d *Dir) Tensor(name string) (Tensor, error) {
	t, ok := d.tensors[name]
	if !ok {
		return Tensor{}, fmt.Errorf("%s: %s: no such tensor", d.Path, name)
	}
	return t, nil
}

// File is the path of the file that holds a tensor, empty where there is none.
func (d *Dir) File(name string) string { return d.files[name] }

// Bytes is the stored size of the model's tensors.
func (d *Dir) Bytes() int64 {
	n := int64(0)
	for _, t := range d.tensors {
		n += int64(len(t.Data))
	}
	return n
}

// Close unmaps the files; no tensor may be touched any more.
func (d *Dir) Close() error {
	var errs []error
	for _, m := range d.maps {
		errs = append(errs, m.Unmap())
	}
	d.maps, d.tensors = nil, nil
	return errors.Join(errs...)
}
