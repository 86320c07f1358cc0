package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"mop/bench/latency"
)

// Report is all that a report directory shows.
type Report struct {
	Title   string           // "" = "Latency"
	Command string           // that measures the same again; "" = not known
	Entries []Entry          // the first is the dense model
	Samples []latency.Sample // discarded ones included

	// Quality holds models whose perplexity was evaluated and whose latency was not
	// measured, the dense one first. If there are any, the plots of perplexity and of
	// layers show them instead of Entries.
	Quality []Quality
}

// Quality is a model's quality, without a latency.
type Quality struct {
	Model       string   `json:"model"`
	Series      string   `json:"series,omitempty"`
	Params      int64    `json:"params"`
	Compression float64  `json:"compression"`           // 1 - params/dense
	PPL         float64  `json:"ppl"`                   // perplexity
	PPLTrained  *float64 `json:"ppl_trained,omitempty"` // after recovery training; nil = not trained
	Commit      string   `json:"commit"`
	Layers      []Layer  `json:"layers,omitempty"`
}

// qualityEntries are the entries that the plots of quality show.
func (r Report) qualityEntries() []Entry {
	if len(r.Quality) == 0 {
		return r.Entries
	}
	var entries []Entry
	for _, q := range r.Quality {
		entries = append(entries, Entry{Row: latency.Row{Model: q.Model, Params: q.Params, Compression: q.Compression}, Series: q.Series, PPL: &q.PPL, Layers: q.Layers})
	}
	return entries
}

// plotNames are the plots of a report, without their endings.
var plotNames = []string{"latency", "speedup", "perplexity", "widths"}

// WriteDirectory writes report.md, results.json, results.csv, samples.jsonl,
// quality.json if there is a Quality, and the plots that the entries allow, as PNG and
// SVG, into dir, which is created if necessary. Each file is either complete or the
// former one; report.md, which refers to the others, comes last. Plots of a former report
// that this one lacks are removed.
func WriteDirectory(dir string, r Report) error {
	images, err := plots(r.Entries, r.qualityEntries())
	if err != nil {
		return err
	}
	if err := CheckDirectory(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	type file struct {
		name string
		body []byte
	}
	var files []file
	if len(r.Quality) > 0 {
		text, err := json.MarshalIndent(r.Quality, "", "  ")
		if err != nil {
			return fmt.Errorf("report: quality.json: %w", err)
		}
		files = append(files, file{"quality.json", append(text, '\n')})
	}
	for _, f := range []struct {
		name  string
		write func(*bytes.Buffer) error
	}{
		{"results.json", func(b *bytes.Buffer) error { return JSON(b, r.Entries) }},
		{"results.csv", func(b *bytes.Buffer) error { return CSV(b, r.Entries) }},
		{"samples.jsonl", func(b *bytes.Buffer) error { return latency.WriteSamples(b, r.Samples) }},
	} {
		var b bytes.Buffer
		if err := f.write(&b); err != nil {
			return fmt.Errorf("report: %s: %w", f.name, err)
		}
		files = append(files, file{f.name, b.Bytes()})
	}
	drawn := map[string]bool{}
	for _, i := range images {
		drawn[i.name] = true
		files = append(files, file{i.name + ".png", i.png}, file{i.name + ".svg", i.svg})
	}
	files = append(files, file{"report.md", []byte(document(r, images))})
	for _, f := range files {
		if err := renameio.WriteFile(filepath.Join(dir, f.name), f.body, 0o644); err != nil {
			return fmt.Errorf("report: %s: %w", f.name, err)
		}
	}
	for _, name := range plotNames {
		for _, ending := range []string{".png", ".svg"} {
			if drawn[name] {
				continue
			}
			if err := os.Remove(filepath.Join(dir, name+ending)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("report: %w", err)
			}
		}
	}
	return nil
}

// plots draws what the entries allow: curves need two models. quality are the entries
// with perplexities and layers.
func plots(entries, quality []Entry) ([]image, error) {
	for _, e := range [][]Entry{entries, quality} {
		if err := check(e); err != nil {
			return nil, err
		}
	}
	var images []image
	if len(entries) > 1 {
		for _, f := range []func([]Entry) (image, error){latencyPlot, speedupPlot} {
			img, err := f(entries)
			if err != nil {
				return nil, fmt.Errorf("report: %w", err)
			}
			images = append(images, img)
		}
	}
	for _, f := range []func([]Entry) (image, bool, error){perplexityPlot, widthsPlot} {
		img, ok, err := f(quality)
		if err != nil {
			return nil, fmt.Errorf("report: %w", err)
		}
		if ok {
			images = append(images, img)
		}
	}
	return images, nil
}
