package journal

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type entry struct {
	N int `json:"n"`
}

var identity = map[string]string{"model": "a"}

func open(path string) (*Journal[entry], error) {
	return Open(path, identity, func(i int, e entry) error {
		if e.N != i {
			return errors.New("wrong number")
		}
		return nil
	})
}

// A journal continues after every possible kill: each prefix of its bytes opens with the
// complete records, and new ones are added behind them.
func TestContinuesAfterAKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j, err := open(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		if err := j.Add(entry{n}); err != nil {
			t.Fatal(err)
		}
	}
	j.Close()
	all, _ := os.ReadFile(path)
	for n := range len(all) + 1 {
		if err := os.WriteFile(path, all[:n], 0o666); err != nil {
			t.Fatal(err)
		}
		j, err := open(path)
		if err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		if want := max(0, strings.Count(string(all[:n]), "\n")-1); len(j.Records) != want {
			t.Fatalf("%d bytes: want %d records, got %d", n, want, len(j.Records))
		}
		for k := len(j.Records); k < 3; k++ {
			if err := j.Add(entry{k}); err != nil {
				t.Fatal(err)
			}
		}
		j.Close()
		if got, _ := os.ReadFile(path); string(got) != string(all) {
			t.Fatalf("%d bytes: the completed journal differs: %s", n, got)
		}
	}
}

// What does not belong to the run is refused, and the file stays as it is.
func TestRefused(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "j")
	j, err := open(path)
	if err != nil {
		t.Fatal(err)
	}
	j.Add(entry{0})
	j.Add(entry{1})
	j.Close()
	text, _ := os.ReadFile(path)
	lines := strings.SplitAfter(string(text), "\n")
	for want, text := range map[string]string{
		"line 2: its checksum":                      lines[0] + strings.Replace(lines[1], `"n":0`, `"n":7`, 1) + lines[2],
		"line 2: its checksum does not match":       lines[0] + lines[2],
		`line 1: want {"sum":" at its start`:        "dear diary",
		`line 2: want {"sum":" at its start`:        lines[0] + "{}\n",
		"line 1: its checksum does not match: it w": strings.Replace(lines[0], `"a"`, `"b"`, 1),
	} {
		os.WriteFile(path, []byte(text), 0o666)
		if _, err := open(path); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), path) {
			t.Errorf("want %q, got %v", want, err)
		}
		if now, _ := os.ReadFile(path); string(now) != text {
			t.Errorf("%s: the refused file was changed", want)
		}
	}
	os.WriteFile(path, text, 0o666)
	for want, identity := range map[string]map[string]string{
		`its model is "a", want "b"`: {"model": "b"},
		`its seed is "", want "1"`:   {"model": "a", "seed": "1"},
		"which has more settings":    {},
	} {
		if _, err := Open[entry](path, identity, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// A journal that is only read gives its records and its identity, and its file stays as it is.
func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	type record struct{ N int }
	j, err := Open[record](path, map[string]string{"model": "a"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		if err := j.Add(record{n}); err != nil {
			t.Fatal(err)
		}
	}
	j.Close()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	records, identity, err := Read[record](path)
	if err != nil || len(records) != 3 || records[2].N != 2 || identity["model"] != "a" {
		t.Errorf("want three records of model a, got %v of %v, %v", records, identity, err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("want an unchanged file, got %q, %v", after, err)
	}
	if _, _, err := Read[record](path + "x"); err == nil {
		t.Error("want an error for a file that is not there")
	}
}
