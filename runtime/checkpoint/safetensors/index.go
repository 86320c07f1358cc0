package safetensors

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"mop/internal/files"
)

// Index maps the names of tensors to the names of the files that hold them: the
// weight_map of a model.safetensors.index.json.
type Index map[string]string

// Files lists the files of the index, sorted.
func (x Index) Files() []string {
	return slices.Compact(slices.Sorted(maps.Values(x)))
}

// ReadIndex reads a model.safetensors.index.json. The error wraps
// os.ErrNotExist where there is none.
func ReadIndex(name string) (Index, error) {
	data, err := files.ReadText(name, headerLimit)
	if err != nil {
		return nil, err
	}
	x, err := parseIndex(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return x, nil
}

// parseIndex reads an index's weight_map. The files that it names must lie in
// its own directory or below. Such a file may be a symbolic link to another place, as in
// Hugging Face's cache: the owner of the directory makes the links, but the index
// comes with the download. The metadata, total_size included, are not used.
func parseIndex(data []byte) (Index, error) {
	p, err := newReader(data)
	if err != nil {
		return nil, err
	}
	x := Index{}
	err = p.object(func(key string) error {
		if key != "weight_map" {
			return p.skip()
		}
		return p.object(func(name string) error {
			file, err := p.text()
			if err != nil {
				return err
			}
			clean := path.Clean(file)
			if !filepath.IsLocal(clean) || strings.ContainsAny(file, "\\:\x00") || path.IsAbs(file) || !strings.HasSuffix(file, ".safetensors") {
				return fmt.Errorf("want a .safetensors file of the same directory or below, got %s", Printable(file))
			}
			x[name] = clean
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

// MarshalIndex is the index of a checkpoint of several shards; nil for one shard.
func MarshalIndex(shards []Shard) ([]byte, error) {
	if len(shards) < 2 {
		return nil, nil
	}
	type metadata struct {
		TotalSize int64 `json:"total_size"` // bytes of all tensors
	}
	index := struct {
		Metadata  metadata `json:"metadata"`
		WeightMap Index    `json:"weight_map"`
	}{WeightMap: Index{}}
	for _, s := range shards {
		index.Metadata.TotalSize += s.Bytes
		for _, t := range s.tensors {
			index.WeightMap[t.Name] = s.Name
		}
	}
	text, err := json.MarshalIndent(index, "", "  ")
	return append(text, '\n'), err
}
