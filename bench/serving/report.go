package serving

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"

	"mop/bench/report"
)

// Result is what a measurement writes as JSON.
type Result struct {
	Command string   `json:"command"`
	Commit  string   `json:"commit"`
	CPU     string   `json:"cpu"`
	Threads int      `json:"threads"`
	Device  string   `json:"device"`
	KVType  string   `json:"kv_type,omitempty"` // of the KV cache; "" = that of other servers
	In      string   `json:"tokens_in"`
	Out     string   `json:"tokens_out"`
	Rounds  int      `json:"rounds"`
	Rows    []Row    `json:"rows"`
	Samples []Sample `json:"-"`
}

// Markdown writes a table.
func (r Result) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s tokens in, %s out, %d rounds; times in ms\n\n", r.In, r.Out, r.Rounds)
	b.WriteString("| load | model | output tokens/s | requests/s | TTFT p50 | p99 | ITL p50 | gap p99 | latency p50 | goodput/s | speed-up | errors |\n|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n")
	for _, row := range r.Rows {
		good := ""
		if row.Goodput != nil {
			good = fmt.Sprintf("%.2f", *row.Goodput)
		}
		fmt.Fprintf(&b, "| %s | %s | %.1f | %.2f | %s | %s | %s | %s | %s | %s | %.2f | %d |\n", row.Level, row.Target, row.OutputThroughput, row.RequestThroughput,
			row.TTFT.at("p50"), row.TTFT.at("p99"), row.ITL.at("p50"), row.Gap.at("p99"), row.Latency.at("p50"), good, row.Speedup, row.Errors)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// at is a percentile for a table, empty where the count does not allow it.
func (s Summary) at(p string) string {
	if v, ok := s.Percentiles[p]; ok {
		return fmt.Sprintf("%.1f", v)
	}
	return ""
}

// JSON writes the result.
func (r Result) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// WriteDirectory writes the table, the data, all samples and the plots.
func (r Result) WriteDirectory(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	var table, data, samples bytes.Buffer
	if err := r.Markdown(&table); err != nil {
		return err
	}
	if err := r.JSON(&data); err != nil {
		return err
	}
	lines := json.NewEncoder(&samples)
	for _, s := range r.Samples {
		if err := lines.Encode(s); err != nil {
			return err
		}
	}
	cache := ""
	if r.KVType != "" {
		cache = ", KV cache " + r.KVType
	}
	text := fmt.Sprintf("# Serving under load\n\n`%s`\n\nCommit %s, %s, %d threads, device %s%s.\n\n%s\n%s", r.Command, r.Commit, r.CPU, r.Threads, r.Device, cache, table.String(), r.images())
	for name, body := range map[string][]byte{"report.md": []byte(text), "results.json": data.Bytes(), "samples.jsonl": samples.Bytes()} {
		if err := renameio.WriteFile(filepath.Join(dir, name), body, 0o644); err != nil {
			return fmt.Errorf("report: %s: %w", name, err)
		}
	}
	return r.plots(dir)
}

// curves collects points of the closed-loop rows, a curve for each target from the n-th on.
func (r Result) curves(n int, point func(Row) (x, y float64)) (curves []report.Curve) {
	at := map[string]int{}
	for _, row := range r.Rows {
		if row.Concurrency == 0 || row.Requests == row.Errors {
			continue
		}
		i, ok := at[row.Target]
		if !ok {
			i = len(at)
			at[row.Target] = i
			curves = append(curves, report.Curve{Name: row.Target})
		}
		x, y := point(row)
		curves[i].X, curves[i].Y = append(curves[i].X, x), append(curves[i].Y, y)
	}
	return curves[min(n, len(curves)):]
}

func (r Result) images() string {
	if len(r.curves(0, func(Row) (float64, float64) { return 0, 0 })) == 0 {
		return ""
	}
	text := "![output throughput against latency](throughput.png)\n"
	if len(r.curves(1, func(Row) (float64, float64) { return 0, 0 })) > 0 {
		text += "\n![speed-up against concurrency](speedup.png)\n"
	}
	return text
}

func (r Result) plots(dir string) error {
	throughput := r.curves(0, func(row Row) (x, y float64) { return row.OutputThroughput, row.Latency.Percentiles["p50"] })
	if len(throughput) == 0 {
		return nil
	}
	if err := report.WriteCurves(dir, "throughput", "Latency against throughput, one point for each concurrency", "Output tokens/s", "Request latency, median (ms)", throughput); err != nil {
		return err
	}
	speedup := r.curves(1, func(row Row) (x, y float64) { return float64(row.Concurrency), row.Speedup })
	if len(speedup) == 0 {
		return nil
	}
	return report.WriteCurves(dir, "speedup", "Speed-up of the output throughput over the dense model", "Requests at a time", "Speed-up", speedup)
}
