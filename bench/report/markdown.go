package report

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"mop/bench/latency"
)

// Markdown writes a table in the style of llama-bench, with prompt processing (pp) and
// text generation (tg) side by side, then a table that compares the speeds with the
// machine's roofline, and a line that says what was measured.
func Markdown(w io.Writer, entries []Entry) error {
	if err := check(entries); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%s\n%s%s\n%s\n", latencyTable(entries), stagesTable(entries), rooflineTable(entries), Conditions(entries[0].Row))
	return err
}

// WriteQuality writes a table of perplexities, and a line that names the build.
func WriteQuality(w io.Writer, models []Quality) error {
	if len(models) == 0 {
		return errors.New("report: no models")
	}
	_, err := fmt.Fprintf(w, "%s\ncommit %s\n", qualityTable(models), models[0].Commit)
	return err
}

func qualityTable(models []Quality) string {
	var rows [][]string
	for _, q := range models {
		rows = append(rows, []string{q.Model, count(q.Params), percent(q.Compression), number(q.PPL), optional(q.PPLTrained, number)})
	}
	return Table([]string{"model", "params", "compression", "ppl", "ppl after training"}, rows)
}

func latencyTable(entries []Entry) string {
	p := entries[0].Protocol
	header := []string{
		"model", "params", "compression", "e2e ms", "ttft ms", "itl ms",
		fmt.Sprintf("pp%d t/s", p.In), fmt.Sprintf("tg%d t/s", p.Out),
		"speed-up", "gain", "gain/compression",
	}
	ppl := anyPPL(entries)
	if ppl {
		header = append(header, "ppl")
	}
	var rows [][]string
	for _, e := range entries {
		row := []string{
			e.Model, count(e.Params), percent(e.Compression), plusMinus(e.E2E.Median, e.E2E.SD),
			number(e.TTFT), optional(e.ITL, number), number(e.PrefillTPS), optional(e.DecodeTPS, number),
			interval(e.Speedup), percent(e.Gain), optional(e.GainPerCompression, fixed2),
		}
		if ppl {
			row = append(row, optional(e.PPL, number))
		}
		rows = append(rows, row)
	}
	return Table(header, rows)
}

// stagesTable divides the time to the first token where prompts hold an image, and says
// how much faster the part behind the vision tower got, since the tower stays as it is.
func stagesTable(entries []Entry) string {
	if entries[0].Stages == nil {
		return ""
	}
	var rows [][]string
	language := func(e Entry) float64 {
		return e.E2E.Median - e.Stages.Preprocess - e.Stages.Vision - e.Stages.Projection
	}
	for _, e := range entries {
		if s := e.Stages; s != nil {
			rows = append(rows, []string{e.Model, number(s.Preprocess), number(s.Vision), number(s.Projection), number(s.Prefill), number(language(e)), fixed2(language(entries[0]) / language(e))})
		}
	}
	return Table([]string{"model", "preprocess ms", "vision ms", "projection ms", "prefill ms", "language model ms", "its speed-up"}, rows) + "\n"
}

// memoryTable shows the memory that a model needs and the bytes that decoding reads.
func memoryTable(entries []Entry) string {
	var rows [][]string
	for _, e := range entries {
		rows = append(rows, []string{e.Model, size(e.PeakBytes), number(e.LoadMS), size(e.BytesPerToken)})
	}
	return Table([]string{"model", "memory", "load ms", "read a token"}, rows)
}

// rooflineTable compares the speeds with the machine's roofline, which is in the header.
func rooflineTable(entries []Entry) string {
	r := entries[0].Row
	bandwidth, peak := "bandwidth", "FMA peak"
	if r.BandwidthGBps != nil {
		bandwidth = fmt.Sprintf("of %s GB/s", number(*r.BandwidthGBps))
	}
	if r.FMAGflops != nil {
		peak = fmt.Sprintf("of %s GFLOP/s (%s)", number(*r.FMAGflops), r.FMAISA)
	}
	tg, pp := fmt.Sprintf("tg%d ", r.Protocol.Out), fmt.Sprintf("pp%d ", r.Protocol.In)
	var rows [][]string
	for _, e := range entries {
		if busyRoofline(r) {
			e.Share, e.PrefillShare = nil, nil
		}
		rows = append(rows, []string{
			e.Model, optional(e.ReadGBps, number), optional(e.Share, percent), optional(e.DecodeGflops, number),
			optional(e.PrefillGflops, number), optional(e.PrefillShare, percent), optional(e.PrefillReadGBps, number),
		})
	}
	return Table([]string{"model", tg + "GB/s", bandwidth, tg + "GFLOP/s", pp + "GFLOP/s", peak, pp + "GB/s"}, rows)
}

// busyRoofline reports whether the machine was busy when its roofline was measured, so that
// it means nothing.
func busyRoofline(r latency.Row) bool { return r.RooflineLoad != nil && *r.RooflineLoad > latency.Busy }

func anyPPL(entries []Entry) bool {
	for _, e := range entries {
		if e.PPL != nil {
			return true
		}
	}
	return false
}

func interval(r latency.Ratio) string {
	if r.Lo == nil || r.Hi == nil {
		return fixed2(r.Median)
	}
	return fmt.Sprintf("%.2f [%.2f, %.2f]", r.Median, *r.Lo, *r.Hi)
}

// Conditions is one line: protocol, machine, build.
func Conditions(r latency.Row) string {
	p := r.Protocol
	bandwidth := ""
	if r.BandwidthGBps != nil {
		bandwidth = fmt.Sprintf(", reads %s GB/s", number(*r.BandwidthGBps))
	}
	if r.FMAGflops != nil {
		bandwidth += fmt.Sprintf(", multiply-add peak %s GFLOP/s (%s)", number(*r.FMAGflops), r.FMAISA)
	}
	if busyRoofline(r) {
		bandwidth += fmt.Sprintf(" (measured while other processes took %.0f %% of the cores, so shares are left out)", 100**r.RooflineLoad)
	}
	busy := ""
	if r.OtherLoad != nil && r.StealLoad != nil {
		busy = fmt.Sprintf("; meanwhile other processes took %.0f %% of the cores, the hypervisor %.0f %%", 100**r.OtherLoad, 100**r.StealLoad)
	}
	cache := ""
	if r.KVType != "" {
		cache = ", KV cache " + r.KVType
	}
	machine := r.CPU
	if r.Device != "cpu" {
		machine = r.Device + " on " + r.CPU
	}
	turns := ""
	if p.Turns == latency.TurnsSteps {
		turns = ", models in turns by steps"
	}
	return fmt.Sprintf("%d tokens in, %d out, batch %d, %d runs of which %d discarded%s, seed %d; %s, %d threads%s%s%s; commit %s, %s, %s",
		p.In, p.Out, p.Batch, p.Runs, p.Discard, turns, p.Seed, machine, r.Threads, cache, bandwidth, busy, r.Commit, r.Go, r.Date)
}

// Table pads its cells, so that it is readable in a terminal too. The first column is
// text, the others are numbers.
func Table(header []string, rows [][]string) string {
	widths := make([]int, len(header))
	for i, h := range header {
		widths[i] = max(utf8.RuneCountInString(h), 3)
	}
	for _, row := range rows {
		row[0] = cell(row[0])
		for i, c := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	var b strings.Builder
	line := func(row []string) {
		for i, c := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c))
			if i == 0 {
				b.WriteString("| " + c + pad + " |")
			} else {
				b.WriteString(" " + pad + c + " |")
			}
		}
		b.WriteByte('\n')
	}
	line(header)
	for i, n := range widths {
		if i == 0 {
			b.WriteString("| " + strings.Repeat("-", n) + " |")
		} else {
			b.WriteString(" " + strings.Repeat("-", n-1) + ": |")
		}
	}
	b.WriteByte('\n')
	for _, row := range rows {
		line(row)
	}
	return b.String()
}

// cell escapes a name, so that it cannot break the table.
func cell(s string) string {
	return strings.NewReplacer("\\", "\\\\", "|", "\\|", "\r", " ", "\n", " ").Replace(s)
}
