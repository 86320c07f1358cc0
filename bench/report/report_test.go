package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"image/color"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"mop/bench/latency"
	"mop/runtime/config"
)

// Golden files here fix the format; they were checked by eye. After a wanted
// change: go test ./bench/report -update, and read the difference.
var update = flag.Bool("update", false, "write the golden files again")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: want\n%s\ngot\n%s", name, want, got)
	}
}

// A roofline that was measured on a busy machine gives no shares.
func TestBusyRoofline(t *testing.T) {
	for load, want := range map[float64]bool{latency.Busy: false, 0.31: true} {
		r := fixture().Entries[0].Row
		r.RooflineLoad = &load
		if line := Conditions(r); strings.Contains(line, "(measured while other processes took 31 % of the cores, so shares are left out)") != want || strings.Contains(line, "shares are left out") != want {
			t.Errorf("a load of %v: %s", load, line)
		}
		entries := []Entry{{Row: r}}
		if cells := strings.Split(rooflineTable(entries), "|"); (strings.TrimSpace(cells[len(cells)-6]) == "-") != want || entries[0].Share == nil {
			t.Errorf("a load of %v: shares are left out: want %v, got %q", load, want, cells)
		}
	}
}

func TestFormatsAgainstGolden(t *testing.T) {
	for _, format := range Formats() {
		var b bytes.Buffer
		if err := Write(&b, format, fixture().Entries); err != nil {
			t.Fatal(err)
		}
		golden(t, "results."+format, b.Bytes())
		if err := CheckFormat(format); err != nil {
			t.Error(err)
		}
	}
	if err := Write(io.Discard, "yaml", fixture().Entries); err == nil || err.Error() != `format: want one of md, csv, json, jsonl, got "yaml"` {
		t.Errorf("got %v", err)
	}
}

func TestMarkdownTableIsRectangular(t *testing.T) {
	r := fixture()
	r.Entries[1].Model = "a|b\\c\nd ü"
	lines := strings.Split(strings.TrimSpace(latencyTable(r.Entries)), "\n")
	if len(lines) != 2+len(r.Entries) {
		t.Fatalf("want %d lines, got %d", 2+len(r.Entries), len(lines))
	}
	for _, l := range lines {
		if utf8.RuneCountInString(l) != utf8.RuneCountInString(lines[0]) {
			t.Errorf("want lines of one width, got\n%s", strings.Join(lines, "\n"))
			break
		}
	}
	if !strings.Contains(lines[3], `a\|b\\c d ü`) {
		t.Errorf("want the name escaped, got %s", lines[3])
	}
}

func TestShortNames(t *testing.T) {
	for name, want := range map[string]string{
		"MoP 40 %": "MoP 40 %", strings.Repeat("ü", 28): strings.Repeat("ü", 28),
		"/some/long/directory/of/models/pruned/0.40": "…ctory/of/models/pruned/0.40",
	} {
		if got := short(name); got != want || utf8.RuneCountInString(got) > 28 {
			t.Errorf("%s: want %q, got %q", name, want, got)
		}
	}
}

func TestEmptyCellsAndPlainNumbers(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{number(0), "0"}, {number(1234.56), "1235"}, {number(123.456), "123.5"}, {number(0.0123456), "0.01235"}, {number(1e-9), "0.000000"},
		{plusMinus(12.3456, f(0.1)), "12.35 ± 0.10"}, {plusMinus(12.3456, nil), "12.35"},
		{optional(nil, number), "-"}, {percent(0.4), "40.0 %"}, {percent(-0.051), "-5.1 %"},
		{count(999), "999"}, {count(260_032), "260.03 K"}, {count(6_738_415_616), "6.74 B"}, {count(5_240_000), "5.24 M"},
		{size(1023), "1023 B"}, {size(1536), "1.50 KiB"}, {size(13_476_831_232), "12.55 GiB"}, {size(1 << 20), "1.00 MiB"},
		{interval(latency.Ratio{Median: 1.234}), "1.23"},
	} {
		if c.got != c.want {
			t.Errorf("want %q, got %q", c.want, c.got)
		}
	}
}

// Whoever reads the CSV or the JSON gets the numbers back bit by bit.
func TestNumbersSurvive(t *testing.T) {
	entries := fixture().Entries
	var b bytes.Buffer
	if err := JSON(&b, entries); err != nil {
		t.Fatal(err)
	}
	var back []Entry
	if err := json.Unmarshal(b.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back, entries) {
		t.Error("JSON: the entries changed on the way")
	}
	b.Reset()
	if err := CSV(&b, entries); err != nil {
		t.Fatal(err)
	}
	records, err := csv.NewReader(&b).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(records) != 1+len(entries) {
		t.Fatalf("CSV: want %d lines, got %d", 1+len(entries), len(records))
	}
	for i, e := range entries {
		cells := map[string]string{}
		for j, name := range records[0] {
			cells[name] = records[1+i][j]
		}
		for name, want := range map[string]*float64{
			"e2e_ms_mean": &e.E2E.Mean, "e2e_ms_sd": e.E2E.SD, "prefill_tps": &e.PrefillTPS, "decode_tps": e.DecodeTPS,
			"speedup_lo": e.Speedup.Lo, "gain": &e.Gain, "gain_per_compression": e.GainPerCompression, "read_gbps": e.ReadGBps, "share": e.Share,
		} {
			got, err := strconv.ParseFloat(cells[name], 64)
			if want == nil && cells[name] != "" || want != nil && (err != nil || got != *want) {
				t.Errorf("CSV: %s: %s: got %q", e.Model, name, cells[name])
			}
		}
		if want := strconv.FormatInt(e.Params, 10); cells["params"] != want || cells["model"] != e.Model || cells["discard"] != "10" {
			t.Errorf("CSV: want %s with %s parameters, got %v", e.Model, want, cells)
		}
	}
	var lines bytes.Buffer
	if err := JSONLines(&lines, entries); err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(lines.Bytes(), []byte("\n")); n != len(entries) {
		t.Errorf("JSON lines: want %d, got %d", len(entries), n)
	}
}

func TestWriteDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "report")
	r := fixture()
	if err := WriteDirectory(dir, r); err != nil {
		t.Fatal(err)
	}
	read := func() map[string]string {
		files := map[string]string{}
		names, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			b, err := os.ReadFile(filepath.Join(dir, n.Name()))
			if err != nil {
				t.Fatal(err)
			}
			files[n.Name()] = string(b)
		}
		return files
	}
	first := read()
	if len(first) != 12 {
		t.Fatalf("want 12 files, got %d", len(first))
	}
	golden(t, "report.md", []byte(first["report.md"]))
	samples, err := latency.ReadSamples(strings.NewReader(first["samples.jsonl"]))
	if err != nil || !reflect.DeepEqual(samples, r.Samples) {
		t.Errorf("want the samples back, got %v, %v", samples, err)
	}
	for _, link := range []string{"(latency.png)", "(speedup.svg)", "(perplexity.png)", "(widths.svg)", "(results.json)", "(results.csv)", "(samples.jsonl)"} {
		if _, there := first[strings.Trim(link, "()")]; !there || !strings.Contains(first["report.md"], link) {
			t.Errorf("want report.md to point to the file %s", link)
		}
	}
	if err := WriteDirectory(dir, r); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(read(), first) {
		t.Error("the same rows: want the same bytes")
	}
	// A report of one model without layers has no plots, and keeps no old ones.
	one := Report{Entries: []Entry{{Row: r.Entries[0].Row}}}
	if err := WriteDirectory(dir, one); err != nil {
		t.Fatal(err)
	}
	if left := read(); len(left) != 4 || strings.Contains(left["report.md"], ".png") {
		t.Errorf("want report.md, two results and samples, got %d files", len(left))
	}
}

func TestBadReportsWriteNothing(t *testing.T) {
	change := func(f func(*Entry)) []Entry {
		e := fixture().Entries
		f(&e[1])
		return e
	}
	for want, entries := range map[string][]Entry{
		"report: no rows": {},
		"report: mop-0.20: want a positive perplexity, got NaN":                                                                     change(func(e *Entry) { e.PPL = f(math.NaN()) }),
		"report: mop-0.20: want a positive perplexity, got -1":                                                                      change(func(e *Entry) { e.PPL = f(-1) }),
		"report: mop-0.20: no such layer: from -1, 8 heads, 384 neurons":                                                            change(func(e *Entry) { e.Layers[0].From = -1 }),
		"report: mop-0.20: no such layer: from 1000000, 8 heads, 384 neurons":                                                       change(func(e *Entry) { e.Layers[0].From = 1e6 }),
		"report: mop-0.20: want finite numbers and a compression below 1, got compression 1, latency 137.4 ms, speed-up 1.2096":     change(func(e *Entry) { e.Compression = 1 }),
		"report: mop-0.20: want finite numbers and a compression below 1, got compression 0.2009, latency +Inf ms, speed-up 1.2096": change(func(e *Entry) { e.E2E.Median = math.Inf(1) }),
	} {
		dir := filepath.Join(t.TempDir(), "report")
		if err := WriteDirectory(dir, Report{Entries: entries}); err == nil || err.Error() != want {
			t.Errorf("want %q, got %v", want, err)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: something was written", want)
		}
		for _, format := range Formats() {
			if err := Write(io.Discard, format, entries); err == nil {
				t.Errorf("%s: %s was written", want, format)
			}
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := WriteDirectory(file, fixture()); err == nil {
		t.Error("a file in the directory's place: want an error")
	}
}

func TestPlotsShowWhatTheyShould(t *testing.T) {
	r := fixture()
	images, err := plots(r.Entries, r.Entries)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{
		"latency":    {"End-to-end latency", "Latency (ms)", "Compression (% of parameters removed)", "MoP", "depth only", "ideal"},
		"speedup":    {"Speed-up over the dense model", "Speed-up (dense time / time)", "Compression (% of parameters removed)", "MoP", "ideal: 1 / (1 - compression)"},
		"perplexity": {"Perplexity", "Compression (% of parameters removed)", "depth only"},
		"widths":     {"mop-0.20: 169 of 192 query heads", "mop-0.40: 6276 of 9216 MLP neurons", "Layer of the dense model"},
	}
	if len(images) != len(want) {
		t.Fatalf("want %d plots, got %d", len(want), len(images))
	}
	for _, img := range images {
		if err := xml.Unmarshal(img.svg, new(struct{})); err != nil {
			t.Errorf("%s.svg: %v", img.name, err)
		}
		for _, text := range want[img.name] {
			if !bytes.Contains(img.svg, []byte(text)) {
				t.Errorf("%s.svg: no %q", img.name, text)
			}
		}
		picture, err := png.Decode(bytes.NewReader(img.png))
		if err != nil {
			t.Fatalf("%s.png: %v", img.name, err)
		}
		colors := map[color.Color]int{}
		for y := range picture.Bounds().Dy() {
			for x := range picture.Bounds().Dx() {
				colors[color.RGBAModel.Convert(picture.At(x, y))]++
			}
		}
		for n := range 2 {
			if colors[plotColor(n)] < 200 {
				t.Errorf("%s.png: color %d covers only %d pixels", img.name, n, colors[plotColor(n)])
			}
		}
		if img.name == "widths" {
			bars := 0
			for _, e := range r.Entries[1:] {
				for _, l := range e.Layers {
					if l.Heads > 0 {
						bars++
					}
				}
			}
			if got := bytes.Count(img.svg, []byte("fill:#0072B2")); got != bars {
				t.Errorf("widths.svg: want %d bars of heads, got %d", bars, got)
			}
		}
	}
}

// Whatever combination of optional parts: a report, and no error.
func TestPlotsOfOddReports(t *testing.T) {
	for name, change := range map[string]func(*Report){
		"same twice":       func(r *Report) { r.Entries = []Entry{r.Entries[0], r.Entries[0]} },
		"first is smaller": func(r *Report) { r.Entries[1].Compression = -3 },
		"nearly nothing":   func(r *Report) { r.Entries[1].Compression = 0.9999 },
		"no dense layers":  func(r *Report) { r.Entries[0].Layers = nil },
		"no dense ppl":     func(r *Report) { r.Entries[0].PPL = nil },
		"one ppl": func(r *Report) {
			r.Entries[0].PPL, r.Entries[1].PPL, r.Entries[2].PPL, r.Entries[3].PPL = nil, nil, nil, nil
		},
		"wide ppl":          func(r *Report) { r.Entries[3].PPL = f(1e300) },
		"tiny ppl":          func(r *Report) { r.Entries[3].PPL = f(1e-300) },
		"layers all empty":  func(r *Report) { r.Entries[1].Layers = []Layer{{From: 3}} },
		"time stands still": func(r *Report) { r.Entries[1].E2E.Median, r.Entries[1].Speedup.Median = 1e-9, 1e12 },
		"many layers": func(r *Report) {
			for range 30 {
				r.Entries = append(r.Entries, r.Entries[1])
			}
		},
	} {
		r := fixture()
		if !strings.Contains(name, "layers") { // the widths take the longest to draw
			for i := range r.Entries {
				r.Entries[i].Layers = nil
			}
		}
		change(&r)
		images, err := plots(r.Entries, r.Entries)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if name == "one ppl" {
			for _, img := range images {
				if img.name == "perplexity" {
					t.Error("a perplexity plot of one point")
				}
			}
		}
	}
}

func TestLinesBeginAtTheDenseModel(t *testing.T) {
	got := lines(fixture().Entries, func(e *Entry) *point { return &point{y: e.E2E.Median} })
	want := []line{
		{"MoP", points{{x: 0, y: 166.2}, {x: 20.09, y: 137.4}, {x: 29.6, y: 122}, {x: 40.4, y: 104.1}}},
		{"depth only", points{{x: 0, y: 166.2}, {x: 39.9, y: 101}}},
	}
	if len(got) != 2 {
		t.Fatalf("want two series, got %v", got)
	}
	for i := range want {
		if got[i].name != want[i].name || len(got[i].points) != len(want[i].points) {
			t.Fatalf("want %v, got %v", want[i], got[i])
		}
		for j := range want[i].points {
			if g, w := got[i].points[j], want[i].points[j]; math.Abs(g.x-w.x) > 1e-9 || g.y != w.y {
				t.Errorf("want %v, got %v", w, g)
			}
		}
	}
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		low, high float64
		t         ticks
		want      string
	}{
		{0, 42, ticks{about: 8}, "0 10 20 30 40"},
		{0.97, 1.77, ticks{about: 8}, "1.0 1.1 1.2 1.3 1.4 1.5 1.6 1.7"},
		{0, 0.03, ticks{about: 8}, "0.000 0.005 0.010 0.015 0.020 0.025 0.030"},
		{-0.7, 3.3, ticks{about: 8, whole: true}, "0 1 2 3"},
		{0, 12000, ticks{about: 5, whole: true}, "0 5000 10000"},
		{-20, 20, ticks{about: 4}, "-20 -10 0 10 20"},
		{3, 3, ticks{about: 8}, "3"},
	} {
		var got []string
		for _, x := range c.t.Ticks(c.low, c.high) {
			got = append(got, x.Label)
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%v to %v: want %s, got %s", c.low, c.high, c.want, s)
		}
	}
	labels := ""
	n := 0
	for _, x := range (logTicks{}).Ticks(0, 2) {
		labels += x.Label + " "
		n++
	}
	if strings.Join(strings.Fields(labels), " ") != "1 10 100" || n != 19 {
		t.Errorf("want 1, 10 and 100 with 16 marks between, got %s of %d", labels, n)
	}
}

func TestLayers(t *testing.T) {
	shapes := []config.LayerShape{{Heads: 4, KVHeads: 2, HeadDim: 8, Intermediate: 30}, {Intermediate: 7}}
	got, err := Layers(shapes, []int{1, 5})
	if want := []Layer{{1, 4, 2, 30}, {5, 0, 0, 7}}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("want %v, got %v, %v", want, got, err)
	}
	if got, err := Layers(shapes, nil); err != nil || got[1].From != 1 {
		t.Errorf("want the layers' own places, got %v, %v", got, err)
	}
	if _, err := Layers(shapes, []int{1}); err == nil {
		t.Error("want an error for one place of two layers")
	}
}
