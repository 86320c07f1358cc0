// Package trace sums the launches of a pass by kernel and grid, and writes the table that says
// where a device's time goes.
package trace

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"mop/runtime/device"
)

// Row is the sum of a kernel's launches of one grid.
type Row struct {
	Kernel                   string
	Grid                     [3]int
	Calls                    int
	Time                     time.Duration
	Flops, Bytes, CacheBytes float64
}

// Sum returns a row for each kernel and grid, the longest first.
func Sum(launches []device.Launch) []Row {
	type key struct {
		kernel string
		grid   [3]int
	}
	index := map[key]int{}
	var rows []Row
	for _, l := range launches {
		k := key{l.Kernel, l.Grid}
		i, ok := index[k]
		if !ok {
			i = len(rows)
			index[k] = i
			rows = append(rows, Row{Kernel: l.Kernel, Grid: l.Grid})
		}
		r := &rows[i]
		r.Calls++
		r.Time += l.Time
		r.Flops, r.Bytes, r.CacheBytes = r.Flops+l.Flops, r.Bytes+l.Bytes, r.CacheBytes+l.CacheBytes
	}
	slices.SortStableFunc(rows, func(a, b Row) int { return int(b.Time - a.Time) })
	return rows
}

// Share is the part of a row's time that the device would need at its limits, by operations
// or by memory, whichever is more; 0 where nothing is known.
func (r Row) Share(l device.Limits) float64 {
	if r.Time <= 0 || l.BytesPerSecond <= 0 || l.FlopsPerSecond <= 0 {
		return 0
	}
	return max(r.Bytes/l.BytesPerSecond, r.Flops/l.FlopsPerSecond) / r.Time.Seconds()
}

// Pass is a pass that was run twice: without a trace, which gives Wall, and with one.
type Pass struct {
	Title    string
	Hardware string
	Commit   string
	Wall     time.Duration
	Launches []device.Launch
	Limits   device.Limits
}

// Markdown writes the pass's table.
func (p Pass) Markdown(w io.Writer) error {
	rows := Sum(p.Launches)
	var total Row
	for _, r := range rows {
		total.Calls, total.Time = total.Calls+r.Calls, total.Time+r.Time
	}
	fmt.Fprintf(w, "### %s\n\n%s; commit %s. Copy %.4g GB/s, measured; tensor cores %.4g TFLOP/s at %.4g MHz, the highest clock.\n", p.Title, p.Hardware, p.Commit, p.Limits.BytesPerSecond/1e9, p.Limits.FlopsPerSecond/1e12, p.Limits.ClockMHz)
	fmt.Fprintf(w, "%d launches, %.4g ms in all; %.4g ms of wall time without events.\n\n", total.Calls, milliseconds(total.Time), milliseconds(p.Wall))
	t := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	fmt.Fprintln(t, "| kernel\t| grid\t| calls\t| us\t| sum ms\t| GB/s\t| TFLOP/s\t| L2 TB/s\t| % of roofline\t|\n|---\t|---\t|---:\t|---:\t|---:\t|---:\t|---:\t|---:\t|---:\t|")
	for _, r := range rows {
		seconds := r.Time.Seconds()
		rate := func(amount, unit float64) string {
			if amount == 0 || seconds <= 0 {
				return "-"
			}
			return fmt.Sprintf("%.4g", amount/seconds/unit)
		}
		share := "-"
		if s := r.Share(p.Limits); s > 0 {
			share = fmt.Sprintf("%.0f", 100*s)
		}
		grid := strings.Trim(fmt.Sprint(r.Grid), "[]")
		fmt.Fprintf(t, "| %s\t| %s\t| %d\t| %.4g\t| %.4g\t| %s\t| %s\t| %s\t| %s\t|\n", r.Kernel, grid, r.Calls, milliseconds(r.Time)*1e3/float64(r.Calls), milliseconds(r.Time),
			rate(r.Bytes, 1e9), rate(r.Flops, 1e12), rate(r.CacheBytes, 1e12), share)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w)
	return err
}

func milliseconds(d time.Duration) float64 { return float64(d) / 1e6 }

// Record runs a pass with a trace.
func Record(dev device.Device, run func() error) ([]device.Launch, device.Limits, error) {
	t, ok := dev.(device.Tracer)
	if !ok {
		return nil, device.Limits{}, fmt.Errorf("device %s: its launches cannot be timed", dev.Capabilities().Name)
	}
	limits, err := t.Limits()
	if err != nil {
		return nil, limits, err
	}
	if err := t.StartTrace(); err != nil {
		return nil, limits, err
	}
	failed := run()
	launches, err := t.StopTrace()
	if failed != nil {
		return nil, limits, failed
	}
	return launches, limits, err
}
