package safetensors

import (
	"bytes"
	"io"
	"path/filepath"
	"strings"
	"testing"
)

// A header is refused, or it lists tensors that lie in the file side by side and
// gives the same list when they are written again.
func FuzzSafetensorsHeader(f *testing.F) {
	f.Add(file(`{}`, 0))
	f.Add(file(`{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"BF16","shape":[1,2],"data_offsets":[8,12]}}`, 12))
	f.Add(file(`{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, 0))
	f.Add(file(`{"a":{"dtype":"F16","shape":[1],"data_offsets":[0,2]},"a":{"dtype":"F16","shape":[1],"data_offsets":[2,4]}}`, 4))
	f.Add(file(` null`, 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := Parse(data)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r") {
				t.Errorf("want one line, got %q", err)
			}
			return
		}
		total, again := 0, []Spec{}
		for _, x := range list {
			total += len(x.Data)
			again = append(again, Spec{x.Name, x.DType, x.Shape, func(w io.Writer) error { _, err := w.Write(x.Data); return err }})
		}
		if total > len(data)-8 {
			t.Errorf("%d bytes of tensors in a file of %d", total, len(data))
		}
		if len(list) == 0 {
			return
		}
		var out bytes.Buffer
		if err := Cut(again, 1<<62)[0].Write(&out); err != nil {
			t.Fatal(err)
		}
		second, err := Parse(out.Bytes())
		if err != nil {
			t.Fatalf("written again: %v", err)
		}
		for i, x := range second {
			if x.Name != list[i].Name || !bytes.Equal(x.Data, list[i].Data) {
				t.Errorf("%q: differs when written again", x.Name)
			}
		}
	})
}

// An index is refused, or it names only files of its own directory.
func FuzzIndex(f *testing.F) {
	f.Add([]byte(`{"metadata":{"total_size":1},"weight_map":{"a":"model-00001-of-00002.safetensors","b":"x.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{"a":"../x.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{"a":"a.safetensors","a":"b.safetensors"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := parseIndex(data)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r") {
				t.Errorf("want one line, got %q", err)
			}
			return
		}
		for _, name := range x.Files() {
			if !strings.HasPrefix(filepath.Join("dir", name), "dir"+string(filepath.Separator)) {
				t.Errorf("%q leaves the directory", name)
			}
		}
	})
}
