package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/edsrzf/mmap-go"
	"github.com/nlpodyssey/safetensors"

	"mop/runtime/config"
)

const (
	configFile = "config.json"
	singleFile = "model.safetensors"
	indexFile  = "model.safetensors.index.json"
)

// Dir is an open model directory. Its tensors are views of mapped files: a file
// must not be shortened while it is open.
type Dir struct {
	Path    string
	config  *config.Config
	tensors map[string]Tensor
	maps    []mmap.MMap
}

// Open maps a Hugging Face model directory and checks it: the tensors must be
// exactly those that its config.json asks for.
func Open(dir string) (*Dir, error) {
	c, err := config.Load(filepath.Join(dir, configFile))
	if err != nil {
		return nil, err
	}
	d := &Dir{Path: dir, config: c, tensors: map[string]Tensor{}}
	if err := d.open(); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

func (d *Dir) open() error {
	index, err := readIndex(filepath.Join(d.Path, indexFile))
	switch {
	case err == nil:
		for _, file := range index.files() {
			names, err := d.addFile(file)
			if err != nil {
				return err
			}
			for _, name := range names {
				if index[name] != file {
					return fmt.Errorf("%s: holds %s, which %s puts in %q", filepath.Join(d.Path, file), name, indexFile, index[name])
				}
			}
		}
		for name, file := range index {
			if _, ok := d.tensors[name]; !ok {
				return fmt.Errorf("%s: lacks %s, which %s promises", filepath.Join(d.Path, file), name, indexFile)
			}
		}
	case errors.Is(err, os.ErrNotExist):
		if _, err := d.addFile(singleFile); err != nil {
			return err
		}
	default:
		return err
	}
	return d.check()
}

// shardIndex maps tensor names to files.
type shardIndex map[string]string

func (x shardIndex) files() []string {
	var out []string
	for _, f := range x {
		out = append(out, f)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func readIndex(path string) (shardIndex, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	x, err := parseIndex(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return x, nil
}

// parseIndex reads an index; the files it names must be plain names beside it.
func parseIndex(data []byte) (shardIndex, error) {
	if err := config.CheckJSON(data); err != nil {
		return nil, err
	}
	var f struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, err
	}
	if len(f.WeightMap) == 0 {
		return nil, errors.New("weight_map: absent or empty")
	}
	for name, file := range f.WeightMap {
		if file == "" || file == "." || file == ".." || strings.ContainsAny(file, `/\`+"\x00") {
			return nil, fmt.Errorf("weight_map: %s: want a file name in the same directory, got %q", name, file)
		}
	}
	return f.WeightMap, nil
}

// addFile maps one safetensors file and returns the names in it.
func (d *Dir) addFile(name string) ([]string, error) {
	path := filepath.Join(d.Path, name)
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil {
		return nil, err
	} else if !st.Mode().IsRegular() || st.Size() == 0 {
		return nil, fmt.Errorf("%s: want a file with data in it", path)
	}
	m, err := mmap.Map(f, mmap.RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	d.maps = append(d.maps, m)
	if err := checkHeader(m); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	st, err := safetensors.Deserialize(m)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var names []string
	for _, t := range st.Tensors() {
		if _, ok := d.tensors[t.Name]; ok {
			return nil, fmt.Errorf("%s: %s stands in another shard too", path, t.Name)
		}
		dt, ok := dtypeOf(t.TensorView.DType().String())
		if !ok {
			return nil, fmt.Errorf("%s: %s: unknown dtype %v", path, t.Name, t.TensorView.DType())
		}
		shape := make([]int, len(t.TensorView.Shape()))
		for i, s := range t.TensorView.Shape() {
			shape[i] = int(s)
		}
		d.tensors[t.Name] = Tensor{Name: t.Name, DType: dt, Shape: shape, Data: t.TensorView.Data()}
		names = append(names, t.Name)
	}
	return names, nil
}

// check holds the tensors to the config: none missing, none too many, every
// shape right. Tolerated beside them: rotary buffers of old exports, a stored
// head of a tied model, and the norm of a skipped block; none of them is used.
func (d *Dir) check() error {
	want := map[string]bool{}
	for _, info := range Expected(d.config) {
		want[info.Name] = true
		t, ok := d.tensors[info.Name]
		if !ok {
			return fmt.Errorf("%s: lacks %s %v, which %s asks for", d.Path, info.Name, info.Shape, configFile)
		}
		if !slices.Equal(t.Shape, info.Shape) {
			return fmt.Errorf("%s: %s: want %v by %s, got %v", d.Path, info.Name, info.Shape, configFile, t.Shape)
		}
	}
	spare := func(name string) bool {
		if name == HeadName && d.config.Tied || strings.HasSuffix(name, "rotary_emb.inv_freq") {
			return true
		}
		for l, s := range d.config.Layers {
			if s.Heads == 0 && name == LayerName(l, AttnNorm) || s.MLP == 0 && name == LayerName(l, MLPNorm) {
				return true
			}
		}
		return false
	}
	for name := range d.tensors {
		if !want[name] && !spare(name) {
			return fmt.Errorf("%s: holds %s, which no part of the model uses", d.Path, name)
		}
	}
	return nil
}

// Config is the model's config.
func (d *Dir) Config() *config.Config { return d.config }

// Tensor finds a tensor by name.
func (d *Dir) Tensor(name string) (Tensor, error) {
	t, ok := d.tensors[name]
	if !ok {
		return Tensor{}, fmt.Errorf("%s: no tensor %s", d.Path, name)
	}
	return t, nil
}

// Close unmaps the files; no tensor may be used any more.
func (d *Dir) Close() error {
	var errs []error
	for _, m := range d.maps {
		errs = append(errs, m.Unmap())
	}
	d.maps = nil
	return errors.Join(errs...)
}
