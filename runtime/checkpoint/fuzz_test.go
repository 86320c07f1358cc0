package checkpoint

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"mop/internal/testutil"
)

// llavaIndex is the index of a real model of three shards.
func llavaIndex(t testing.TB) shardIndex {
	t.Helper()
	x, err := readIndex(testutil.DataPath(t, "hf-llava-1.5-7b-hf/"+indexFile))
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// A header is refused, or lists tensors that lie in the file side by side, and
// gives the same list when it is written again by these.
func FuzzSafetensorsHeader(f *testing.F) {
	f.Add(file(`{}`, 0))
	f.Add(file(`{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"BF16","shape":[1,2],"data_offsets":[8,12]}}`, 12))
	f.Add(file(`{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, 0))
	f.Add(file(`{"a":{"dtype":"F16","shape":[1],"data_offsets":[0,2]},"a":{"dtype":"F16","shape":[1],"data_offsets":[2,4]}}`, 4))
	f.Add(file(` null`, 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := parseFile(data)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\r") {
				t.Errorf("want one line, got %q", err)
			}
			return
		}
		total, again := 0, []TensorSpec{}
		for _, x := range list {
			total += len(x.data)
			if d, ok := dtypeNamed(x.dtype); ok {
				again = append(again, Copy(Tensor{x.name, d, x.shape, x.data}))
			}
		}
		if total > len(data)-8 {
			t.Errorf("%d bytes of tensors in a file of %d", total, len(data))
		}
		if len(again) != len(list) || len(list) == 0 {
			return
		}
		var out bytes.Buffer
		if err := cut(again, 1<<62)[0].write(&out); err != nil {
			t.Fatal(err)
		}
		second, err := parseFile(out.Bytes())
		if err != nil {
			t.Fatalf("written again: %v", err)
		}
		for i, x := range second {
			if x.name != list[i].name || !bytes.Equal(x.data, list[i].data) {
				t.Errorf("%q: differs when written again", x.name)
			}
		}
	})
}

// An index is refused, or names files of its own directory alone.
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
		for _, name := range x.files() {
			if filepath.Dir(filepath.Join("dir", name)) != "dir" {
				t.Errorf("%q leaves the directory", name)
			}
		}
	})
}
