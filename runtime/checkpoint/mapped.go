package checkpoint

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/edsrzf/mmap-go"
	"github.com/nlpodyssey/safetensors"

	"mop/internal/files"
)

// shardIndex maps stored tensor names to files of the same directory.
type shardIndex map[string]string

func (x shardIndex) files() []string {
	return slices.Compact(slices.Sorted(maps.Values(x)))
}

// readIndex reads a model.safetensors.index.json; os.ErrNotExist where there
// is none.
func readIndex(path string) (shardIndex, error) {
	data, err := files.Read(path, headerLimit)
	if err != nil {
		return nil, err
	}
	x, err := parseIndex(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return x, nil
}

// parseIndex reads an index's weight_map. The files that it names must be plain
// names beside it. Such a name may be a symbolic link that leads elsewhere, as
// in Hugging Face's cache: links are made by the directory's owner, an index
// comes with the download. Its metadata, total_size included, is not used.
func parseIndex(data []byte) (shardIndex, error) {
	p, err := newReader(data)
	if err != nil {
		return nil, err
	}
	x := shardIndex{}
	err = p.object(func(key string) error {
		if key != "weight_map" {
			return p.skip()
		}
		return p.object(func(name string) error {
			file, err := p.text()
			if err != nil {
				return err
			}
			if !plainName(file) || !strings.HasSuffix(file, ".safetensors") {
				return fmt.Errorf("want a .safetensors file of the same directory, got %s", show(file))
			}
			x[name] = file
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	if err := p.finish(); err != nil {
		return nil, err
	}
	if len(x) == 0 {
		return nil, errors.New("weight_map: want at least one tensor, got none")
	}
	return x, nil
}

// plainName reports whether a name stays in its directory on every system.
func plainName(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\\:\x00")
}

// stored is a tensor as a file holds it, of any type that the format has.
type stored struct {
	file  string // where it was found
	name  string
	dtype string
	shape []int
	data  []byte
}

// Map maps a regular file of at least so many bytes, read-only. The mapping is
// the caller's to undo.
func Map(path string, least int64) (mmap.MMap, error) {
	n, err := files.Check(path)
	if err != nil {
		return nil, err
	}
	if n < least || int64(int(n)) != n {
		return nil, fmt.Errorf("%s: want at least %d bytes, got %d: truncated", path, least, n)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // a mapping outlives its file
	return files.Map(f, int(n))
}

// mapFile maps a safetensors file and lists its tensors in the order of their
// names. The mapping is the caller's to undo.
func mapFile(path string) (mmap.MMap, []stored, error) {
	m, err := Map(path, 8)
	if err != nil {
		return nil, nil, err
	}
	tensors, err := parseFile(m)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", path, err), m.Unmap())
	}
	for i := range tensors {
		tensors[i].file = path
	}
	return m, tensors, nil
}

// parseFile lists the tensors of a safetensors file's bytes, sorted by name;
// their data are views of it.
func parseFile(file []byte) ([]stored, error) {
	if err := checkHeader(file); err != nil {
		return nil, err
	}
	st, err := safetensors.Deserialize(file)
	if err != nil {
		return nil, err
	}
	var out []stored
	for _, t := range st.Tensors() {
		v := t.TensorView
		shape := make([]int, len(v.Shape()))
		for i, s := range v.Shape() {
			if shape[i] = int(s); shape[i] < 0 || uint64(shape[i]) != s {
				return nil, fmt.Errorf("%s: shape %v overflows", t.Name, v.Shape())
			}
		}
		out = append(out, stored{name: t.Name, dtype: v.DType().String(), shape: shape, data: v.Data()})
	}
	slices.SortFunc(out, func(a, b stored) int { return strings.Compare(a.name, b.name) })
	return out, nil
}
