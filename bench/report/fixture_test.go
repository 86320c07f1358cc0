package report

import (
	"time"

	"mop/bench/latency"
)

func f(x float64) *float64 { return &x }

// fixture is a dense model of 24 layers with 8 heads and 384 neurons, three MoP
// models of it and a depth-only one, which lacks all that may be absent.
func fixture() Report {
	row := func(name string, params int64, compression, e2e, sd, ttft, itl, speedup, lo, hi float64) latency.Row {
		r := latency.Row{
			Model: name, Params: params, Compression: compression,
			E2E:  latency.Spread{Median: e2e, Mean: e2e * 1.01, SD: f(sd)},
			TTFT: ttft, ITL: f(itl), PrefillTPS: 12e3 / ttft, DecodeTPS: f(1e3 / itl),
			Speedup: latency.Ratio{Median: speedup, Lo: f(lo), Hi: f(hi)}, Gain: 1 - 1/speedup,
			BytesPerToken: 2 * params, ReadGBps: f(2e-6 * float64(params) / itl), Share: f(2e-6 * float64(params) / itl / 28.5),
			PrefillGflops: f(24e-6 * float64(params) / ttft), PrefillShare: f(24e-6 * float64(params) / ttft / 190), PrefillReadGBps: f(2e-6 * float64(params) / ttft),
			DecodeGflops: f(2e-6 * float64(params) / itl), FMAGflops: f(190), FMAISA: "avx2", OtherLoad: f(0.03), StealLoad: f(0.001), RooflineLoad: f(0.02),
			PeakBytes: 2*params + 1<<20, LoadMS: 1.5,
			Device: "cpu", CPU: "Example Processor", Threads: 2, KVType: "f16", Commit: "0123456789ab",
			Percentiles:   latency.Percentiles{E2E: map[string]float64{"p25": e2e * 0.99, "p75": e2e * 1.02, "p90": e2e * 1.05}},
			BandwidthGBps: f(28.5), Protocol: latency.Default(), Go: "go1.26", Date: "2026-02-06T12:00:00Z",
		}
		if compression > 0 {
			r.GainPerCompression = f(r.Gain / compression)
		}
		return r
	}
	layers := func(removed ...int) func(heads, mlp func(i int) int) []Layer {
		return func(heads, mlp func(i int) int) (out []Layer) {
			gone := map[int]bool{}
			for _, i := range removed {
				gone[i] = true
			}
			for i := range 24 {
				if !gone[i] {
					out = append(out, Layer{From: i, Heads: heads(i), KVHeads: heads(i), MLP: mlp(i)})
				}
			}
			return out
		}
	}
	const eight, wide = 8, 384
	all := func(n int) func(int) int { return func(int) int { return n } }
	r := Report{
		Title:   "Example",
		Command: "mop bench dense,mop-0.20,mop-0.30,mop-0.40,depth-0.40 --report out",
		Entries: []Entry{
			{Row: row("dense", 5_240_000, 0, 166.2, 2.1, 7.31, 1.251, 1, 1, 1), PPL: f(3.214), Layers: layers()(all(eight), all(wide))},
			{Row: row("mop-0.20", 4_187_500, 0.2009, 137.4, 1.9, 6.2, 1.033, 1.2096, 1.1921, 1.2315), Series: "MoP", PPL: f(3.552),
				Layers: layers(9, 14)(func(i int) int { return eight - i%3/2 }, func(i int) int { return wide - 5*(i%7) })},
			{Row: row("mop-0.30", 3_689_000, 0.296, 122.0, 3.4, 5.61, 0.9163, 1.3623, 1.3207, 1.391), Series: "MoP", PPL: f(3.981),
				Layers: layers(9, 14, 17)(func(i int) int { return eight - i%3 }, func(i int) int { return wide - 12*(i%7) })},
			{Row: row("mop-0.40", 3_123_000, 0.404, 104.1, 1.5, 4.98, 0.7805, 1.5965, 1.5703, 1.6241), Series: "MoP", PPL: f(4.92),
				Layers: layers(4, 9, 14, 17, 20)(func(i int) int { return eight - i%4 }, func(i int) int { return wide - 20*(i%7) })},
			{Row: row("depth-0.40", 3_150_000, 0.399, 101.0, 1.1, 4.9, 0.7567, 1.6455, 1.62, 1.66), Series: "depth only", PPL: f(7.75)},
		},
		Samples: []latency.Sample{
			{Model: "mop-0.20", Discarded: true, Total: 30, TTFT: 10, Tokens: []time.Duration{10, 30}},
			{Model: "dense", Position: 1, Start: 31, Total: 40, TTFT: 15, Tokens: []time.Duration{15, 40}},
		},
	}
	last := &r.Entries[4]
	last.E2E.SD, last.Speedup.Lo, last.Speedup.Hi, last.Share, last.Percentiles = nil, nil, nil, nil, latency.Percentiles{}
	return r
}
