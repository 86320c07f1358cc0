package files

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, []byte("12345"), 0o666); err != nil {
		t.Fatal(err)
	}
	if got, err := Read(path, 5); err != nil || string(got) != "12345" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := Read(path, 4); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a file above the bound: %v", err)
	}
	if _, err := Read(dir, 5); err == nil || !strings.Contains(err.Error(), "a directory") {
		t.Errorf("a directory: %v", err)
	}
	if _, err := Read(filepath.Join(dir, "none"), 5); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	// /dev/zero never ends.
	link := filepath.Join(dir, "link")
	if err := os.Symlink("/dev/zero", link); err != nil {
		t.Skip(err)
	}
	if _, err := Read(link, 5); err == nil || !strings.Contains(err.Error(), "a device") {
		t.Errorf("a device: %v", err)
	}
}

func TestReadText(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for text, want := range map[string]string{"{}": "{}", "\xef\xbb\xbf{}\r\n": "{}\r\n", "": "", "\xff\xfe{\x00": "UTF-16", "\xfe\xff\x00{": "UTF-16", "\xff\xfe\x00\x00{": "UTF-32"} {
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		got, err := ReadText(path, 100)
		switch {
		case strings.HasPrefix(want, "UTF"):
			if err == nil || !strings.Contains(err.Error(), "want UTF-8 text, got "+want) {
				t.Errorf("%q: want an error with %s, got %v", text, want, err)
			}
		case err != nil || string(got) != want:
			t.Errorf("%q: want %q, got %q, %v", text, want, got, err)
		}
	}
}
