package report

import (
	"bytes"
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
	Command string           // that measures the same again; "" = not told
	Entries []Entry          // the first is the dense model
	Samples []latency.Sample // discarded ones included
}

// WriteDirectory writes report.md, results.json, results.csv, samples.jsonl and
// the plots that the entries allow, PNG and SVG, into dir, which is made if
// need be. Each file is whole or the old one; report.md, which points to the
// others, comes last. Plots of an earlier report that this one lacks are
// removed.
func WriteDirectory(dir string, r Report) error {
	images, err := plots(r.Entries)
	if err != nil {
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
	for _, name := range []string{"latency", "speedup", "perplexity", "widths"} {
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

// plots draws what the entries allow: curves need two models.
func plots(entries []Entry) ([]image, error) {
	if err := check(entries); err != nil {
		return nil, err
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
		img, ok, err := f(entries)
		if err != nil {
			return nil, fmt.Errorf("report: %w", err)
		}
		if ok {
			images = append(images, img)
		}
	}
	return images, nil
}
