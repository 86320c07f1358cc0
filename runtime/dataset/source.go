package dataset

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"mop/internal/files"
)

// magics are the first bytes of files that are not text.
var magics = []struct{ bytes, name string }{
	{"\x1f\x8b", "gzip: decompress it"},
	{"PAR1", "Parquet: write it as JSON lines"},
	{"PK\x03\x04", "a zip archive: unpack it"},
	{"\x28\xb5\x2f\xfd", "Zstandard: decompress it"},
	{"\xfd7zXZ\x00", "xz: decompress it"},
	{"BZh", "bzip2: decompress it"},
	{"\x04\x22\x4d\x18", "LZ4: decompress it"},
	{"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it"},
	{"Rar!\x1a\x07", "a RAR archive: unpack it"},
	{"ARROW1", "Apache Arrow: write it as JSON lines"},
	{"Obj\x01", "Avro: write it as JSON lines"},
	{"ORC", "ORC: write it as JSON lines"},
	{"\x93NUMPY", "NumPy: give text"},
	{"\x89HDF\r\n\x1a\n", "HDF5: give text"},
	{"SQLite format 3\x00", "SQLite: write it as JSON lines"},
	{"%PDF-", "PDF: give its text"},
	{"GGUF", "GGUF, a model: give text"},
	{"\x7fELF", "a program: give text"},
	{"\x89PNG", "a PNG image: give text"},
	{"\xff\xd8\xff", "a JPEG image: give text"},
	{"GIF8", "a GIF image: give text"},
	{"\x80\x02", "a Python pickle: write it as JSON lines"},
	{"\x80\x03", "a Python pickle: write it as JSON lines"},
	{"\x80\x04", "a Python pickle: write it as JSON lines"},
	{"\x80\x05", "a Python pickle: write it as JSON lines"},
	{"\xff\xfe\x00\x00", "UTF-32: write it as UTF-8"},
	{"\x00\x00\xfe\xff", "UTF-32: write it as UTF-8"},
	{"\xff\xfe", "UTF-16: write it as UTF-8"},
	{"\xfe\xff", "UTF-16: write it as UTF-8"},
}

// formats are endings of names whose files are not read as text, although their bytes
// may be.
var formats = map[string]string{
	".parquet": "Parquet: write it as JSON lines", ".arrow": "Apache Arrow: write it as JSON lines", ".feather": "Apache Arrow: write it as JSON lines",
	".gz": "gzip: decompress it", ".zip": "a zip archive: unpack it", ".zst": "Zstandard: decompress it", ".xz": "xz: decompress it", ".bz2": "bzip2: decompress it",
	".lz4": "LZ4: decompress it", ".7z": "a 7z archive: unpack it", ".tar": "a tar archive: unpack it", ".tgz": "gzip: decompress it",
	".csv": "CSV: write it as JSON lines", ".tsv": "tab-separated values: write it as JSON lines", ".xlsx": "a spreadsheet: write it as JSON lines",
	".pkl": "a Python pickle: write it as JSON lines", ".npy": "NumPy: give text", ".npz": "NumPy: give text", ".pdf": "PDF: give its text",
	".docx": "a Word document: give its text", ".safetensors": "safetensors, a model: give text", ".gguf": "GGUF, a model: give text", ".bin": "binary data: give text",
	".yaml": "YAML: write it as JSON lines", ".yml": "YAML: write it as JSON lines",
}

const byteOrderMark = "\xef\xbb\xbf"

// view calls use with the text of a file, without a byte order mark. It refuses what is
// not text by the name of what it is. The text is valid until use returns.
func view(path string, use func(data []byte) error) error {
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		return fmt.Errorf("%s: want a file, got a directory", path)
	}
	return files.View(path, func(data []byte) error {
		if err := files.CheckLFS(data); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if what := notText(data); what != "" {
			return fmt.Errorf("%s: want UTF-8 text, got %s", path, what)
		}
		if what := formats[strings.ToLower(filepath.Ext(path))]; what != "" {
			return fmt.Errorf("%s: want text or rows of JSON, got %s", path, what)
		}
		return use(bytes.TrimPrefix(data, []byte(byteOrderMark)))
	})
}

// notText names what a file is that is not UTF-8 text, "" for text. A few bytes that are
// not UTF-8 are accepted: the tokenizer has tokens for them.
func notText(data []byte) string {
	for _, m := range magics {
		if strings.HasPrefix(string(data[:min(len(data), 16)]), m.bytes) {
			return m.name
		}
	}
	if len(data) > 262 && string(data[257:262]) == "ustar" {
		return "a tar archive: unpack it"
	}
	if at := bytes.IndexByte(data, 0); at >= 0 {
		return nameOfZeros(data, at)
	}
	if utf8.Valid(data) {
		return ""
	}
	invalid := 0
	for rest := data; len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		if r == utf8.RuneError && n == 1 {
			invalid++
		}
		rest = rest[n:]
	}
	if invalid > len(data)/1000 {
		return fmt.Sprintf("%d bytes of %d that are not UTF-8: binary data, or text of another encoding such as Latin-1", invalid, len(data))
	}
	return ""
}

// nameOfZeros names a file with a byte 0. In UTF-16 text of Latin letters every other
// byte is 0.
func nameOfZeros(data []byte, first int) string {
	head := data[:min(len(data), 4096)&^1]
	var zeros [2]int
	for i, b := range head {
		if b == 0 {
			zeros[i%2]++
		}
	}
	if most := max(zeros[0], zeros[1]); most > len(head)/5 && min(zeros[0], zeros[1]) <= most/10 {
		return "UTF-16 without a byte order mark: write it as UTF-8"
	}
	return fmt.Sprintf("binary data: byte %d is 0", first)
}

// Errors of a file without a row that can be used.
var errNone = errors.New("no row can be used")
