package tasks

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"mop/bench/demo"
	"mop/internal/testutil"
	"mop/runtime/device/cpu"
	"mop/runtime/open"
)

// The perplexities are those of lm-evaluation-harness, to four digits and more.
func TestWikitextMatchesHarness(t *testing.T) {
	data, err := os.ReadFile("testdata/wikitext.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Cases []struct {
			Model, File           string
			Bytes, Context, Pages int
			Word                  float64 `json:"word_perplexity"`
			Byte                  float64 `json:"byte_perplexity"`
			Bits                  float64 `json:"bits_per_byte"`
		}
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Cases) < 2 {
		t.Fatalf("want at least 2 cases, got %d", len(golden.Cases))
	}
	demoDir, _, err := demo.Unpack(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range golden.Cases {
		t.Run(g.Model+" "+g.File, func(t *testing.T) {
			path, dir := filepath.Join("testdata", g.File), demoDir
			tolerance := 1e-5
			if g.Model != "demo" {
				tolerance = 5e-5 // four digits: 30 layers in float32 sum in another order there
			}
			if g.File != "pages.raw" {
				if testing.Short() {
					t.Skip("seconds of computing: not with -short")
				}
				path = testutil.DataPath(t, filepath.Join("wikitext-2-raw-v1", g.File))
			}
			if g.Model != "demo" {
				dir = testutil.BuiltPath(t, g.Model, g.Model)
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			part := filepath.Join(t.TempDir(), "part.raw")
			if err := os.WriteFile(part, text[:g.Bytes], 0o666); err != nil {
				t.Fatal(err)
			}
			dev, err := cpu.New(2)
			if err != nil {
				t.Fatal(err)
			}
			defer dev.Close()
			m, err := open.LoadModel(dev, dir, open.SourceOptions{}, open.ModelOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			p := perplexity{protocol: protocolHarness, text: textFlags{text: part, context: g.Context}}
			got, err := p.Run(t.Context(), Input{Model: m})
			if err != nil {
				t.Fatal(err)
			}
			r := got.(wikitextResult)
			if r.Pages != g.Pages {
				t.Errorf("want %d pages, got %d of %d bytes", g.Pages, r.Pages, r.Bytes)
			}
			for what, pair := range map[string][2]float64{"word": {g.Word, r.WordPerplexity}, "byte": {g.Byte, r.BytePerplexity}, "bits": {g.Bits, r.BitsPerByte}} {
				if want, got := pair[0], pair[1]; math.Abs(want-got) > tolerance*want {
					t.Errorf("%s: want %v, got %v", what, want, got)
				}
			}
		})
	}
}

func TestWikitextPages(t *testing.T) {
	text := "\n = One = \n a\n = = Part = = \n b\n = Two = \n c\n"
	got := wikitextPages(text)
	if len(got) != 2 || got[0] != " = One = \n a\n = = Part = = \n b" || got[1] != " = Two = \n c\n" {
		t.Errorf("got %q", got)
	}
	for page, want := range map[string]int{"": 1, "a b": 2, " a\n b ": 4} {
		if n := countWords(page); n != want {
			t.Errorf("%q: want %d words, got %d", page, want, n)
		}
	}
}
