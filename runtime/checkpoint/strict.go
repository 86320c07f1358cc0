package checkpoint

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"mop/runtime/config"
)

// headerLimit bounds a safetensors header, in bytes, as the format does.
const headerLimit = 100_000_000

// entry is one tensor of a safetensors header.
type entry struct {
	DType   string   `json:"dtype"`
	Shape   []uint64 `json:"shape"`
	Offsets []uint64 `json:"data_offsets"` // [begin, end), from the end of the header
}

// checkHeader refuses every safetensors file that two readers could take for
// different things, before the library sees it: names that stand twice, white
// space or null in front, gaps, overlaps, sizes that overflow, tensors not
// aligned to their elements, a length that is not exactly the file's.
func checkHeader(file []byte) error {
	if len(file) < 8 {
		return fmt.Errorf("want at least 8 bytes, got %d", len(file))
	}
	n := binary.LittleEndian.Uint64(file)
	if n > headerLimit || n > uint64(len(file))-8 {
		return fmt.Errorf("header of %d bytes in a file of %d", n, len(file))
	}
	header, data := file[8:8+n], uint64(len(file))-8-n
	if len(header) == 0 || header[0] != '{' {
		return errors.New("header: want an object that begins with {")
	}
	if err := config.CheckJSON(header); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(header, &raw); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	type placed struct {
		name       string
		begin, end uint64
	}
	var all []placed
	for name, text := range raw {
		if name == "__metadata__" {
			var m map[string]string
			if err := json.Unmarshal(text, &m); err != nil || m == nil {
				return errors.New("header: __metadata__: want an object of strings")
			}
			continue
		}
		var e entry
		d := json.NewDecoder(strings.NewReader(string(text)))
		d.DisallowUnknownFields()
		if err := d.Decode(&e); err != nil {
			return fmt.Errorf("header: %s: %w", name, err)
		}
		if string(text) == "null" || e.Shape == nil || len(e.Offsets) != 2 {
			return fmt.Errorf("header: %s: want dtype, shape and two data_offsets", name)
		}
		dt, ok := dtypeOf(e.DType)
		if !ok {
			return fmt.Errorf("header: %s: want dtype F32, F16 or BF16, got %q", name, e.DType)
		}
		size := uint64(dt.Size())
		for _, s := range e.Shape {
			hi, lo := bits.Mul64(size, s)
			if hi != 0 || lo > data {
				return fmt.Errorf("header: %s: shape %v is larger than the file", name, e.Shape)
			}
			size = lo
		}
		begin, end := e.Offsets[0], e.Offsets[1]
		if begin > end || end > data || end-begin != size {
			return fmt.Errorf("header: %s: want %d bytes within %d, got offsets [%d %d]", name, size, data, begin, end)
		}
		if (8+n+begin)%uint64(dt.Size()) != 0 {
			return fmt.Errorf("header: %s: offset %d is not aligned to %s", name, begin, e.DType)
		}
		all = append(all, placed{name, begin, end})
	}
	slices.SortFunc(all, func(a, b placed) int {
		if a.begin != b.begin {
			return int(min(a.begin, 1<<62)) - int(min(b.begin, 1<<62))
		}
		return int(min(a.end, 1<<62)) - int(min(b.end, 1<<62))
	})
	at := uint64(0)
	for _, p := range all {
		if p.begin != at {
			return fmt.Errorf("header: %s: begins at %d, want %d: a gap or an overlap", p.name, p.begin, at)
		}
		at = p.end
	}
	if at != data {
		return fmt.Errorf("tensors end at %d of %d bytes of data: truncated or followed by something else", at, data)
	}
	return nil
}

func dtypeOf(name string) (DType, bool) {
	for _, d := range []DType{F32, F16, BF16} {
		if d.String() == name {
			return d, true
		}
	}
	return 0, false
}
