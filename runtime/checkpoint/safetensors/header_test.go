package safetensors

import (
	"encoding/binary"
	"strings"
	"testing"
)

// file is a safetensors file with this header text, spaces after it up to a
// multiple of 8 bytes, and this many zero bytes.
func file(header string, data int) []byte {
	return unpadded(header+strings.Repeat(" ", (8-len(header)%8)%8), data)
}

func unpadded(header string, data int) []byte {
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	out = append(out, header...)
	return append(out, make([]byte, data)...)
}

func TestHeaderAccepted(t *testing.T) {
	for name, f := range map[string][]byte{
		"one tensor":      file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 8),
		"metadata":        file(`{"__metadata__":{"format":"pt"},"a":{"dtype":"F16","shape":[],"data_offsets":[0,2]}}`, 2),
		"any order":       file(`{"b":{"dtype":"BF16","shape":[2],"data_offsets":[2,6]},"a":{"data_offsets":[0,2],"shape":[1,1],"dtype":"BF16"}}`, 6),
		"no tensors":      file(`{}`, 0),
		"odd header":      unpadded(`{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}} `, 4),
		"not aligned":     file(`{"a":{"dtype":"F16","shape":[1],"data_offsets":[0,2]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}`, 6),
		"an empty tensor": file(`{"a":{"dtype":"F16","shape":[0,4294967296,4294967296],"data_offsets":[0,0]}}`, 0),
	} {
		if err := checkHeader(f); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Parse(f); err != nil && name != "an empty tensor" { // which the library refuses
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHeaderRefused(t *testing.T) {
	const a = `"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}`
	for _, c := range []struct {
		name string
		file []byte
		want string // part of the error
	}{
		{"empty", nil, "truncated"},
		{"seven bytes", make([]byte, 7), "truncated"},
		{"header of no bytes", file("", 0)[:8:8], "{ first"},
		{"length of 2^64-1", []byte("\xff\xff\xff\xff\xff\xff\xff\xff{}"), "at most"},
		{"length one too many", append([]byte{3, 0, 0, 0, 0, 0, 0, 0}, "{}"...), "truncated"},
		{"null", file(`null`, 0), "{ first"},
		{"array", file(`[]`, 0), "{ first"},
		{"leading space", file(` {}`, 0), "{ first"},
		{"trailing text", file(`{}x`, 0), "invalid character"},
		{"trailing object", file(`{}{}`, 0), "want the end"},
		{"unfinished", file(`{"a":`, 0), "truncated JSON"},
		{"double name", file(`{`+a+`,`+a+`}`, 4), "a stands twice"},
		{"double name, escaped", file(`{`+a+`,"\u0061":{"dtype":"F16","shape":[2],"data_offsets":[4,8]}}`, 8), "a stands twice"},
		{"double key", file(`{"a":{"dtype":"F32","dtype":"F16","shape":[2],"data_offsets":[0,4]}}`, 4), "dtype stands twice"},
		{"double metadata", file(`{"__metadata__":{"x":"1","x":"2"}}`, 0), "x stands twice"},
		{"two metadatas", file(`{"__metadata__":{},"__metadata__":{}}`, 0), "stands twice"},
		{"metadata of numbers", file(`{"__metadata__":{"x":1}}`, 0), "want a string"},
		{"metadata null", file(`{"__metadata__":null}`, 0), "want {"},
		{"metadata of null", file(`{"__metadata__":{"x":null}}`, 0), "want a string"},
		{"not UTF-8", file("{\"\xff\":{}}", 0), "UTF-8"},
		{"unknown key", file(`{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4],"x":1}}`, 4), "unknown key"},
		{"key of another case", file(`{"a":{"DType":"F16","shape":[2],"data_offsets":[0,4]}}`, 4), "unknown key"},
		{"no dtype", file(`{"a":{"shape":[2],"data_offsets":[0,4]}}`, 4), "want dtype"},
		{"null tensor", file(`{"a":null}`, 0), "want {"},
		{"null shape", file(`{"a":{"dtype":"F16","shape":null,"data_offsets":[0,2]}}`, 2), "want ["},
		{"null in shape", file(`{"a":{"dtype":"F16","shape":[null],"data_offsets":[0,2]}}`, 2), "whole numbers"},
		{"nested shape", file(`{"a":{"dtype":"F16","shape":[[1]],"data_offsets":[0,2]}}`, 2), "whole numbers"},
		{"negative shape", file(`{"a":{"dtype":"F16","shape":[-1],"data_offsets":[0,2]}}`, 2), "whole numbers"},
		{"exponent shape", file(`{"a":{"dtype":"F16","shape":[1e0],"data_offsets":[0,2]}}`, 2), "whole numbers"},
		{"shape of 2^64", file(`{"a":{"dtype":"F16","shape":[18446744073709551616],"data_offsets":[0,2]}}`, 2), "whole numbers"},
		{"unknown dtype", file(`{"a":{"dtype":"F12","shape":[2],"data_offsets":[0,4]}}`, 4), `a: unknown dtype "F12"`},
		{"2^32 x 2^32 wraps to zero", file(`{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, 0), "overflows"},
		{"2^63 x 2 bytes wraps to zero", file(`{"a":{"dtype":"F16","shape":[9223372036854775808],"data_offsets":[0,0]}}`, 0), "overflows"},
		{"three offsets", file(`{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4,4]}}`, 4), "two data_offsets"},
		{"offsets reversed", file(`{"a":{"dtype":"F16","shape":[2],"data_offsets":[4,0]}}`, 4), "within"},
		{"offsets beyond the file", file(`{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}`, 3), "within"},
		{"offsets too short", file(`{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,2]}}`, 2), "want 4 bytes for F16 [2], got 2"},
		{"offsets too long", file(`{"a":{"dtype":"F16","shape":[1],"data_offsets":[0,4]}}`, 4), "want 2 bytes"},
		{"gap in front", file(`{"a":{"dtype":"F16","shape":[1],"data_offsets":[2,4]}}`, 4), "gap"},
		{"gap between", file(`{`+a+`,"b":{"dtype":"F16","shape":[1],"data_offsets":[6,8]}}`, 8), "b: a gap"},
		{"overlap", file(`{`+a+`,"b":{"dtype":"F16","shape":[2],"data_offsets":[2,6]}}`, 6), "b: overlaps"},
		{"same place", file(`{`+a+`,"b":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}`, 4), "overlaps"},
		{"bytes at the end", file(`{`+a+`}`, 5), "want 4 bytes of tensors, got 5"},
		{"Git LFS pointer", []byte("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1044984\n"), "git lfs pull"},
	} {
		err := checkHeader(c.file)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: want an error with %q, got %v", c.name, c.want, err)
		} else if strings.ContainsAny(err.Error(), "\n\r\x00") {
			t.Errorf("%s: want one line, got %q", c.name, err)
		}
	}
}
