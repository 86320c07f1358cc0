package vision

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata/pictures", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// hugePNG is the header of a PNG of a size, without pixels.
func hugePNG(width, height uint32) []byte {
	header := binary.BigEndian.AppendUint32(nil, width)
	header = binary.BigEndian.AppendUint32(header, height)
	chunk := append([]byte("IHDR"), append(header, 8, 2, 0, 0, 0)...)
	out := append([]byte("\x89PNG\r\n\x1a\n"), 0, 0, 0, 13)
	out = append(out, chunk...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(chunk))
}

// sized is a JPEG with another size in its header.
func sized(t *testing.T, width, height uint16) []byte {
	data := bytes.Clone(read(t, "j420.jpg"))
	at := bytes.Index(data, []byte{0xff, 0xc0})
	binary.BigEndian.PutUint16(data[at+5:], height)
	binary.BigEndian.PutUint16(data[at+7:], width)
	return data
}

// A picture that cannot be read is an error that says why, before its pixels are decoded.
func TestBadPictures(t *testing.T) {
	jpg, png := read(t, "j420.jpg"), read(t, "rgb.png")
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "the file is empty"},
		{"text", []byte("hello, world"), `want JPEG or PNG, got a file that starts with "hello, w"`},
		{"gif", []byte("GIF89a......"), "want JPEG or PNG, got GIF"},
		{"webp", []byte("RIFF\x00\x00\x00\x00WEBPVP8 "), "want JPEG or PNG, got WebP"},
		{"bmp", []byte("BM\x00\x00"), "want JPEG or PNG, got BMP"},
		{"heic", []byte("\x00\x00\x00\x18ftypheic\x00\x00"), `a file of type "heic"`},
		{"jpeg header", jpg[:2], "JPEG: the file is truncated"},
		{"half a jpeg", jpg[:len(jpg)/2], "JPEG: the file is truncated"},
		{"jpeg tail", jpg[:len(jpg)-12], "JPEG: the file is truncated"},
		{"half a png", png[:len(png)/2], "PNG"},
		{"huge png", hugePNG(20000, 20000), "PNG: want at most 89478485 pixels, got 20000 x 20000"},
		{"png without height", hugePNG(5, 0), "PNG"},
		{"png without width", hugePNG(0, 5), "PNG"},
		{"huge jpeg", sized(t, 20000, 20000), "JPEG: want at most 89478485 pixels, got 20000 x 20000"},
		{"jpeg without height", sized(t, 20, 0), "JPEG: want at least 1 x 1 pixels, got 20 x 0"},
		{"jpeg without width", sized(t, 0, 20), "JPEG: want at least 1 x 1 pixels, got 0 x 20"},
		{"jpeg larger than its data", sized(t, 200, 200), "JPEG: a scan's data ends too soon"},
		{"arithmetic jpeg", bytes.Replace(jpg, []byte{0xff, 0xc0}, []byte{0xff, 0xc9}, 1), "arithmetic coding"},
		{"12 bits", bytes.Replace(jpg, []byte{0xff, 0xc0, 0, 17, 8}, []byte{0xff, 0xc0, 0, 17, 12}, 1), "want 8 bits a sample, got 12"},
	} {
		_, err := Decode(c.data)
		if err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, ErrPicture) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: want an error with %q, got %v", c.name, c.want, err)
		}
	}
	if _, err := ReadPicture("testdata/pictures"); err == nil {
		t.Error("a directory: want an error")
	}
	if _, err := ReadPicture("testdata/none.png"); err == nil || !strings.Contains(err.Error(), "none.png") {
		t.Errorf("no file: got %v", err)
	}
	if _, err := ReadPicture("https://a.b/c.png"); err == nil || !strings.Contains(err.Error(), "mop fetches nothing") {
		t.Errorf("an address: got %v", err)
	}
}

// A file is read by what it holds, whatever its name says.
func TestMislabelledPicture(t *testing.T) {
	path := filepath.Join(t.TempDir(), "photo.jpg")
	if err := os.WriteFile(path, read(t, "rgb.png"), 0o666); err != nil {
		t.Fatal(err)
	}
	m, err := ReadPicture(path)
	if err != nil || m.Width != 61 || m.Height != 47 {
		t.Errorf("got %v, %v", m, err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, name := range []string{"j420.jpg", "progressive.jpg", "cmyk.jpg", "exif-big-endian.jpg", "xmp3.png", "exif6.png", "palette2.png", "rgba16.png"} {
		f.Add(read(f, name))
	}
	p := CLIPProcessor(8)
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, err := Decode(data); err == nil && m.Width*m.Height < 1<<20 {
			p.Pixels(m)
		}
	})
}
