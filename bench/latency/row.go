package latency

import (
	"fmt"
	"runtime"
	"time"
)

// Environment is what all rows of a measurement share.
type Environment struct {
	Device       string    // "cpu", or the accelerator's name
	CPU          string    // the processor's name
	Threads      int       // that the device uses
	KVType       string    // of the KV cache
	Commit       string    // of mop; see package build
	ReadGBps     float64   // the device's measured bandwidth, 1e9 bytes/s: of reading on the CPU, of a copy within its memory on a GPU; 0 = not measured
	FMAGflops    float64   // its measured peak of multiply-adds, 1e9 operations/s; 0 = not measured
	FMAISA       string    // the instruction set of that peak
	RooflineLoad float64   // share of the cores that others took while both were measured
	Cores        int       // of the machine, where samples know the load of others; 0 = they do not
	Date         time.Time // of the measurement
}

// Row is one model's result. A field is nil if the protocol gives nothing to compute it
// from. Times are in milliseconds, rates per second, and all are
// over kept rounds; GB are 1e9 bytes.
type Row struct {
	Model       string  `json:"model"`
	Params      int64   `json:"params"`
	Compression float64 `json:"compression"` // 1 - params/dense

	E2E        Spread   `json:"e2e_ms"`      // tokens in to last token out
	TTFT       float64  `json:"ttft_ms"`     // tokens in to first token out, median
	ITL        *float64 `json:"itl_ms"`      // a run's mean gap between tokens after the first; median over runs
	PrefillTPS float64  `json:"prefill_tps"` // in*batch / ttft
	DecodeTPS  *float64 `json:"decode_tps"`  // batch / itl = batch*(out-1) / (total-ttft)

	Stages *StageTimes `json:"stages,omitempty"` // of the time to the first token, with an image

	Speedup            Ratio    `json:"speedup"`              // median(dense)/median(model), end to end
	Gain               float64  `json:"gain"`                 // 1 - model/dense, of the end-to-end medians
	GainPerCompression *float64 `json:"gain_per_compression"` // 1 = as much faster as smaller; nil for the dense model

	BytesPerToken int64    `json:"bytes_per_token"` // read by a decode step, over batch
	ReadGBps      *float64 `json:"read_gbps"`       // bytes_per_token * decode_tps
	Share         *float64 `json:"share"`           // read_gbps / bandwidth_gbps; means nothing if limit_load is above Busy
	PeakBytes     int64    `json:"peak_bytes"`      // the model's weights and cache, counted
	LoadMS        float64  `json:"load_ms"`

	Device  string `json:"device"`
	CPU     string `json:"cpu"`
	Threads int    `json:"threads"`
	KVType  string `json:"kv_type,omitempty"` // of the KV cache
	Commit  string `json:"commit"`

	// Disturbances, as shares of all cores' time during the kept runs; nil if the
	// system does not say, as for runs that are over within a few of its time steps.
	OtherLoad    *float64 `json:"other_load"` // that other processes took
	StealLoad    *float64 `json:"steal_load"` // that the hypervisor gave to other machines
	RooflineLoad *float64 `json:"limit_load"` // that both took while the machine's roofline was measured; nil = no roofline

	Percentiles   Percentiles `json:"percentiles"`
	BandwidthGBps *float64    `json:"bandwidth_gbps"` // what share is a share of

	PrefillGflops   *float64 `json:"prefill_gflops"`    // operations of the prompt's pass / ttft
	PrefillShare    *float64 `json:"prefill_share"`     // prefill_gflops / fma_gflops; likewise
	PrefillReadGBps *float64 `json:"prefill_read_gbps"` // weights, each read once / ttft
	DecodeGflops    *float64 `json:"decode_gflops"`     // operations of a decode step / itl
	FMAGflops       *float64 `json:"fma_gflops"`        // the peak of multiply-adds that prefill_share is a share of
	FMAISA          string   `json:"fma_isa"`           // its instruction set

	Protocol Protocol `json:"protocol"`
	Go       string   `json:"go"`
	Date     string   `json:"date"` // RFC 3339, UTC
}

// StageTimes are the medians of the parts of the time to the first token, in milliseconds.
type StageTimes struct {
	Preprocess float64 `json:"preprocess_ms"`
	Vision     float64 `json:"vision_ms"`
	Projection float64 `json:"projection_ms"`
	Prefill    float64 `json:"prefill_ms"`
}

// Busy is the share of the cores above which the load of others has an effect: times are
// too long, and a measured roofline is too low.
const Busy = 0.05

// loadStep is how finely systems count the time of processors.
const loadStep = 10 * time.Millisecond

// Percentiles by name ("p90"), only those that the sample allows: of the kept
// runs for E2E and TTFT, of all their single gaps between tokens for ITL.
type Percentiles struct {
	E2E  map[string]float64 `json:"e2e_ms"`
	TTFT map[string]float64 `json:"ttft_ms"`
	ITL  map[string]float64 `json:"itl_ms"`
}

// series is one model's kept runs, in order of rounds, in milliseconds.
type series struct {
	total, ttft []float64    // [kept]
	itl         []float64    // [kept], a run's mean gap; empty where out = 1
	gaps        []float64    // [kept*(Out-1)]
	stages      [4][]float64 // [kept] each, empty without an image

	others, steal float64 // processor time
}

// Rows computes a row for each model, in their order, from the samples of a
// whole measurement; the first model is the dense one. Models' Generate is not
// called, so rows can be computed again from stored samples.
func Rows(p Protocol, models []Model, samples []Sample, env Environment) ([]Row, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	kept, err := keep(p, samples)
	if err != nil {
		return nil, err
	}
	rows := make([]Row, 0, len(models))
	for _, s := range models {
		x := kept[s.Name]
		if x == nil || len(x.total) != p.Kept() {
			n := 0
			if x != nil {
				n = len(x.total)
			}
			return nil, fmt.Errorf("bench: %s: want %d kept samples, got %d", s.Name, p.Kept(), n)
		}
		rows = append(rows, row(p, s, kept[models[0].Name], x, env))
	}
	return rows, nil
}

// keep sorts the samples into models. Rounds must come in order, so that entry
// i of every series is the same round.
func keep(p Protocol, samples []Sample) (map[string]*series, error) {
	kept := map[string]*series{}
	for _, s := range samples {
		if s.Discarded {
			continue
		}
		x := kept[s.Model]
		if x == nil {
			x = &series{}
			kept[s.Model] = x
		}
		if want := p.Discard + len(x.total); s.Round != want {
			return nil, fmt.Errorf("bench: %s: want the sample of round %d, got round %d", s.Model, want, s.Round)
		}
		if len(s.Tokens) != p.Out {
			return nil, fmt.Errorf("bench: %s: round %d: want %d tokens, got %d", s.Model, s.Round, p.Out, len(s.Tokens))
		}
		if s.TTFT <= 0 || s.Total < s.TTFT || (p.Out > 1 && s.Total == s.TTFT) {
			return nil, fmt.Errorf("bench: %s: round %d: want 0 < ttft < total, got %v and %v", s.Model, s.Round, s.TTFT, s.Total)
		}
		x.total = append(x.total, ms(s.Total))
		x.ttft = append(x.ttft, ms(s.TTFT))
		if g := s.Stages; g != nil {
			for i, d := range []time.Duration{g.Preprocess, g.Vision, g.Projection, g.Prefill} {
				x.stages[i] = append(x.stages[i], ms(d))
			}
		}
		x.others += ms(s.Others)
		x.steal += ms(s.Steal)
		if p.Out > 1 {
			x.itl = append(x.itl, ms(s.Total-s.TTFT)/float64(p.Out-1))
		}
		for i := 1; i < len(s.Tokens); i++ {
			x.gaps = append(x.gaps, ms(s.Tokens[i]-s.Tokens[i-1]))
		}
	}
	return kept, nil
}

func row(p Protocol, s Model, dense, x *series, env Environment) Row {
	r := Row{
		Model:         s.Name,
		Params:        s.Params,
		Compression:   s.Compression,
		E2E:           spread(x.total),
		TTFT:          median(x.ttft),
		Speedup:       speedup(p, dense.total, x.total),
		BytesPerToken: s.BytesPerToken,
		PeakBytes:     s.PeakBytes,
		LoadMS:        ms(s.Load),
		Device:        env.Device,
		CPU:           env.CPU,
		Threads:       env.Threads,
		KVType:        env.KVType,
		Commit:        env.Commit,
		Percentiles:   Percentiles{percentiles(x.total), percentiles(x.ttft), percentiles(x.gaps)},
		Protocol:      p,
		Go:            runtime.Version(),
		Date:          env.Date.UTC().Format(time.RFC3339),
	}
	if x.stages[0] != nil {
		r.Stages = &StageTimes{median(x.stages[0]), median(x.stages[1]), median(x.stages[2]), median(x.stages[3])}
	}
	r.PrefillTPS = 1e3 * float64(p.In) * float64(p.Batch) / r.TTFT
	r.Gain = 1 - r.E2E.Median/median(dense.total)
	if s.Compression > 0 {
		r.GainPerCompression = finite(r.Gain / s.Compression)
	}
	if env.ReadGBps > 0 {
		r.BandwidthGBps = &env.ReadGBps
	}
	if env.FMAGflops > 0 {
		r.FMAGflops, r.FMAISA = &env.FMAGflops, env.FMAISA
	}
	if env.ReadGBps > 0 || env.FMAGflops > 0 {
		r.RooflineLoad = &env.RooflineLoad
	}
	if s.PrefillFlops > 0 {
		r.PrefillGflops = finite(float64(s.PrefillFlops) / r.TTFT / 1e6) // 1e9 operations and 1e3 ms
		if env.FMAGflops > 0 {
			r.PrefillShare = finite(*r.PrefillGflops / env.FMAGflops)
		}
	}
	if s.PrefillBytes > 0 {
		r.PrefillReadGBps = finite(float64(s.PrefillBytes) / r.TTFT / 1e6)
	}
	if env.Cores > 0 {
		elapsed := 0.0
		for _, t := range x.total {
			elapsed += t
		}
		// The system counts this process and the whole in unlike steps.
		share := func(t float64) *float64 { return finite(min(max(0, t/elapsed/float64(env.Cores)), 1)) }
		if elapsed >= ms(10*loadStep) {
			r.OtherLoad, r.StealLoad = share(x.others), share(x.steal)
		}
	}
	if p.Out > 1 {
		itl := median(x.itl)
		tps := 1e3 * float64(p.Batch) / itl
		read := float64(s.BytesPerToken) * tps / 1e9
		r.ITL, r.DecodeTPS = &itl, &tps
		if s.BytesPerToken > 0 { // 0 = the runtime does not know
			r.ReadGBps = &read
			if env.ReadGBps > 0 {
				r.Share = finite(read / env.ReadGBps)
			}
		}
		if s.DecodeFlops > 0 {
			r.DecodeGflops = finite(float64(s.DecodeFlops) * tps / 1e9)
		}
	}
	return r
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }
