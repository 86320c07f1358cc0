package report

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Formats are the names that Write knows.
func Formats() []string { return []string{"md", "csv", "json", "jsonl"} }

// CheckFormat returns an error for a format that Write does not know, so that a long
// measurement is not lost.
func CheckFormat(format string) error {
	for _, f := range Formats() {
		if f == format {
			return nil
		}
	}
	return fmt.Errorf("format: want one of %s, got %q", strings.Join(Formats(), ", "), format)
}

// Write writes the entries in one of Formats.
func Write(w io.Writer, format string, entries []Entry) error {
	switch format {
	case "md":
		return Markdown(w, entries)
	case "csv":
		return CSV(w, entries)
	case "json":
		return JSON(w, entries)
	case "jsonl":
		return JSONLines(w, entries)
	}
	return CheckFormat(format)
}

// JSON writes one array with an object for each model.
func JSON(w io.Writer, entries []Entry) error {
	if err := check(entries); err != nil {
		return err
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(entries)
}

// JSONLines writes a line with an object for each model.
func JSONLines(w io.Writer, entries []Entry) error {
	if err := check(entries); err != nil {
		return err
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	for _, x := range entries {
		if err := e.Encode(x); err != nil {
			return err
		}
	}
	return nil
}

// CSV writes a header and a line for each model. Names are JSON's, with an underscore
// between the parts of nested ones. A value that does not exist is empty.
func CSV(w io.Writer, entries []Entry) error {
	if err := check(entries); err != nil {
		return err
	}
	columns := columns()
	c := csv.NewWriter(w)
	header := make([]string, len(columns))
	for i, col := range columns {
		header[i] = col.name
	}
	// The writer keeps its first error; Flush and Error report it.
	_ = c.Write(header)
	for i := range entries {
		line := make([]string, len(columns))
		for j, col := range columns {
			line[j] = text(col.value(&entries[i]))
		}
		_ = c.Write(line)
	}
	c.Flush()
	return c.Error()
}

type column struct {
	name  string
	value func(*Entry) any
}

// columns are CSV's, in order.
func columns() []column {
	return []column{
		{"model", func(e *Entry) any { return e.Model }},
		{"series", func(e *Entry) any { return e.Series }},
		{"params", func(e *Entry) any { return e.Params }},
		{"compression", func(e *Entry) any { return e.Compression }},
		{"e2e_ms_median", func(e *Entry) any { return e.E2E.Median }},
		{"e2e_ms_mean", func(e *Entry) any { return e.E2E.Mean }},
		{"e2e_ms_sd", func(e *Entry) any { return e.E2E.SD }},
		{"ttft_ms", func(e *Entry) any { return e.TTFT }},
		{"itl_ms", func(e *Entry) any { return e.ITL }},
		{"prefill_tps", func(e *Entry) any { return e.PrefillTPS }},
		{"decode_tps", func(e *Entry) any { return e.DecodeTPS }},
		{"speedup_median", func(e *Entry) any { return e.Speedup.Median }},
		{"speedup_lo", func(e *Entry) any { return e.Speedup.Lo }},
		{"speedup_hi", func(e *Entry) any { return e.Speedup.Hi }},
		{"gain", func(e *Entry) any { return e.Gain }},
		{"gain_per_compression", func(e *Entry) any { return e.GainPerCompression }},
		{"bytes_per_token", func(e *Entry) any { return e.BytesPerToken }},
		{"read_gbps", func(e *Entry) any { return e.ReadGBps }},
		{"share", func(e *Entry) any { return e.Share }},
		{"bandwidth_gbps", func(e *Entry) any { return e.BandwidthGBps }},
		{"decode_gflops", func(e *Entry) any { return e.DecodeGflops }},
		{"prefill_gflops", func(e *Entry) any { return e.PrefillGflops }},
		{"prefill_share", func(e *Entry) any { return e.PrefillShare }},
		{"prefill_read_gbps", func(e *Entry) any { return e.PrefillReadGBps }},
		{"fma_gflops", func(e *Entry) any { return e.FMAGflops }},
		{"fma_isa", func(e *Entry) any { return e.FMAISA }},
		{"peak_bytes", func(e *Entry) any { return e.PeakBytes }},
		{"load_ms", func(e *Entry) any { return e.LoadMS }},
		{"ppl", func(e *Entry) any { return e.PPL }},
		{"other_load", func(e *Entry) any { return e.OtherLoad }},
		{"steal_load", func(e *Entry) any { return e.StealLoad }},
		{"limit_load", func(e *Entry) any { return e.RooflineLoad }},
		{"device", func(e *Entry) any { return e.Device }},
		{"cpu", func(e *Entry) any { return e.CPU }},
		{"threads", func(e *Entry) any { return e.Threads }},
		{"commit", func(e *Entry) any { return e.Commit }},
		{"go", func(e *Entry) any { return e.Go }},
		{"date", func(e *Entry) any { return e.Date }},
		{"in", func(e *Entry) any { return e.Protocol.In }},
		{"out", func(e *Entry) any { return e.Protocol.Out }},
		{"batch", func(e *Entry) any { return e.Protocol.Batch }},
		{"runs", func(e *Entry) any { return e.Protocol.Runs }},
		{"discard", func(e *Entry) any { return e.Protocol.Discard }},
		{"seed", func(e *Entry) any { return e.Protocol.Seed }},
		{"kv_type", func(e *Entry) any { return e.KVType }},
	}
}

// text writes floats with enough digits to read the same value back.
func text(v any) string {
	switch v := v.(type) {
	case *float64:
		if v == nil {
			return ""
		}
		return strconv.FormatFloat(*v, 'g', -1, 64)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	return fmt.Sprint(v)
}
