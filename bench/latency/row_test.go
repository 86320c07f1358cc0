package latency

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

// sample has its first token after first ms and the others every gap ms.
func sample(model string, round int, discarded bool, first, gap time.Duration, out int) Sample {
	s := Sample{Model: model, Round: round, Discarded: discarded}
	for i := range out {
		s.Tokens = append(s.Tokens, (first+time.Duration(i)*gap)*time.Millisecond)
	}
	s.TTFT, s.Total = s.Tokens[0], s.Tokens[out-1]
	return s
}

func TestRowsByHand(t *testing.T) {
	p := Protocol{In: 10, Out: 5, Batch: 2, Runs: 4, Discard: 1}
	samples := []Sample{
		sample("dense", 0, true, 9000, 9000, 5), // thrown away: would upset everything
		sample("half", 0, true, 1, 1, 5),
		sample("half", 1, false, 30, 5, 5),   // 50
		sample("dense", 1, false, 60, 10, 5), // 100
		sample("dense", 2, false, 80, 20, 5), // 160
		sample("half", 2, false, 40, 10, 5),  // 80
		sample("dense", 3, false, 70, 10, 5), // 110
		sample("half", 3, false, 20, 5, 5),   // 40
	}
	samples[0].Others, samples[3].Others, samples[4].Others = time.Hour, 90*time.Millisecond, -16*time.Millisecond
	samples[4].Steal, samples[5].Others = 37*time.Millisecond, -10*time.Millisecond
	models := []Model{
		{Name: "dense", Params: 1000, BytesPerToken: 3e6, PrefillBytes: 14e6, PrefillFlops: 21e9, DecodeFlops: 5e6, PeakBytes: 77, Load: 1500 * time.Microsecond},
		{Name: "half", Params: 600, Compression: 0.4, BytesPerToken: 2e6},
	}
	env := Environment{Device: "cpu", CPU: "Z80", Threads: 3, KVType: "int8", Commit: "c0ffee", ReadGBps: 1.6, FMAGflops: 600, FMAISA: "avx2", RooflineLoad: 0.04, Cores: 4, Date: time.Date(2026, 2, 6, 13, 0, 0, 0, time.FixedZone("", 3600))}
	rows, err := Rows(p, models, samples, env)
	if err != nil {
		t.Fatal(err)
	}
	check := func(name string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-12*math.Abs(want) {
			t.Errorf("%s: want %v, got %v", name, want, got)
		}
	}
	d, h := rows[0], rows[1]
	// dense: totals 100 160 110, first tokens 60 80 70, gaps 10 20 10.
	check("median", d.E2E.Median, 110)
	check("mean", d.E2E.Mean, 370.0/3)
	check("sd", *d.E2E.SD, math.Sqrt(((100-370.0/3)*(100-370.0/3)+(160-370.0/3)*(160-370.0/3)+(110-370.0/3)*(110-370.0/3))/2))
	check("ttft", d.TTFT, 70)
	check("itl", *d.ITL, 10)
	check("prefill", d.PrefillTPS, 20/0.070)
	check("decode", *d.DecodeTPS, 2/0.010)
	check("read", *d.ReadGBps, 3e6*200/1e9)
	check("share", *d.Share, 0.6/1.6)
	check("prefill GFLOP/s", *d.PrefillGflops, 21/0.070)
	check("prefill share", *d.PrefillShare, 21/0.070/600)
	check("prefill GB/s", *d.PrefillReadGBps, 0.014/0.070)
	check("decode GFLOP/s", *d.DecodeGflops, 5e6*200/1e9)
	check("others", *d.OtherLoad, (90.0-16)/370/4) // of 370 ms on four cores
	check("steal", *d.StealLoad, 37.0/370/4)
	check("roofline load", *d.RooflineLoad, 0.04)
	check("others, counted in unlike steps", *h.OtherLoad, 0)
	if *d.FMAGflops != 600 || d.FMAISA != "avx2" || h.PrefillGflops != nil || h.PrefillShare != nil || h.PrefillReadGBps != nil || h.DecodeGflops != nil {
		t.Errorf("peak of the environment and nothing of the unknown: got %+v, %+v", d, h)
	}
	check("load", d.LoadMS, 1.5)
	check("speed-up", d.Speedup.Median, 1)
	check("speed-up lo", *d.Speedup.Lo, 1)
	check("speed-up hi", *d.Speedup.Hi, 1)
	check("gain", d.Gain, 0)
	if d.GainPerCompression != nil {
		t.Errorf("dense: want no gain per compression, got %v", *d.GainPerCompression)
	}
	// 12 gaps are enough for p90, three runs for nothing.
	if len(d.Percentiles.E2E) != 0 || len(d.Percentiles.ITL) != 3 {
		t.Errorf("percentiles: got %+v", d.Percentiles)
	}
	// half: totals 50 80 40, first tokens 30 40 20, gaps 5 10 5.
	check("half median", h.E2E.Median, 50)
	check("half itl", *h.ITL, 5)
	check("half speed-up", h.Speedup.Median, 2.2)
	check("half gain", h.Gain, 1-50.0/110)
	check("half gain per compression", *h.GainPerCompression, (1-50.0/110)/0.4)
	// The extreme resamples are three times one round: 100/50 = 160/80 = 2, 110/40.
	check("half lo", *h.Speedup.Lo, 2)
	check("half hi", *h.Speedup.Hi, 2.75)
	if d.Device != "cpu" || d.CPU != "Z80" || d.Threads != 3 || d.KVType != "int8" || d.Commit != "c0ffee" || d.PeakBytes != 77 || d.Params != 1000 || d.Date != "2026-02-06T12:00:00Z" {
		t.Errorf("facts not carried: %+v", d)
	}
}

// A row reports what others took while the roofline was measured. The load during a run of
// less than 100 ms is not reported, since systems count in steps of 10 ms. The load of
// others is at most 1.
func TestBusyMachine(t *testing.T) {
	p := Protocol{In: 4, Out: 3, Batch: 1, Runs: 1}
	subject := []Model{{Name: "a", BytesPerToken: 5e6, PrefillFlops: 1e9}}
	for _, c := range []struct {
		rooflineLoad float64
		took         float64 // ms
		others       time.Duration
		known        bool
	}{
		{0, 1000, 0, true}, {0.06, 1000, 0, true}, {1, 1000, 9 * time.Second, true},
		{0, 99, 20 * time.Millisecond, false}, {0, 100, 20 * time.Millisecond, true},
	} {
		s := sample("a", 0, false, time.Duration(c.took)-2, 1, 3)
		s.Others = c.others
		env := Environment{ReadGBps: 2, FMAGflops: 3, RooflineLoad: c.rooflineLoad, Cores: 4}
		rows, err := Rows(p, subject, []Sample{s}, env)
		if err != nil {
			t.Fatal(err)
		}
		r := rows[0]
		if *r.RooflineLoad != c.rooflineLoad || r.Share == nil || r.PrefillShare == nil {
			t.Errorf("%+v: got %+v", c, r)
		}
		if (r.OtherLoad != nil) != c.known || (r.StealLoad != nil) != c.known {
			t.Errorf("%+v: want the load known %v, got %v", c, c.known, r.OtherLoad)
		}
		if c.known {
			if want := min(c.others.Seconds()*1000/c.took/4, 1); math.Abs(*r.OtherLoad-want) > 1e-12 {
				t.Errorf("%+v: want a load of %v, got %v", c, want, *r.OtherLoad)
			}
		}
	}
	rows, err := Rows(p, subject, []Sample{sample("a", 0, false, 8, 1, 3)}, Environment{})
	if err != nil || rows[0].RooflineLoad != nil {
		t.Errorf("without a roofline: want no load of its measurement, got %v, %v", rows, err)
	}
}

func TestRowsWithoutDecodeOrSpread(t *testing.T) {
	p := Protocol{In: 4, Out: 1, Batch: 1, Runs: 1}
	rows, err := Rows(p, []Model{{Name: "a", BytesPerToken: 5}}, []Sample{sample("a", 0, false, 8, 0, 1)}, Environment{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(rows[0])
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"itl_ms", "decode_tps", "read_gbps", "share", "gain_per_compression"} {
		if v, there := got[name]; !there || v != nil {
			t.Errorf("%s: want null, got %v (%v)", name, v, there)
		}
	}
	if want := map[string]any{"median": 1.0, "lo": nil, "hi": nil}; !reflect.DeepEqual(got["speedup"], want) {
		t.Errorf("speedup: want %v, got %v", want, got["speedup"])
	}
	if want := map[string]any{"median": 8.0, "mean": 8.0, "sd": nil}; !reflect.DeepEqual(got["e2e_ms"], want) {
		t.Errorf("e2e_ms: want %v, got %v", want, got["e2e_ms"])
	}
	if got["prefill_tps"] != 500.0 {
		t.Errorf("prefill_tps: want 500, got %v", got["prefill_tps"])
	}
}

// The names that others script against.
func TestRowFieldNames(t *testing.T) {
	b, err := json.Marshal(Row{})
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	for name := range strings.FieldsSeq(`model params compression e2e_ms ttft_ms itl_ms prefill_tps decode_tps speedup gain
		gain_per_compression bytes_per_token read_gbps share peak_bytes load_ms device cpu threads commit
		prefill_gflops prefill_share prefill_read_gbps decode_gflops fma_gflops fma_isa other_load steal_load limit_load`) {
		if _, there := got[name]; !there {
			t.Errorf("no field %s", name)
		}
	}
}

func TestRowsRefuseBrokenSamples(t *testing.T) {
	p := Protocol{In: 1, Out: 2, Batch: 1, Runs: 2}
	good := []Sample{sample("a", 0, false, 2, 1, 2), sample("a", 1, false, 2, 1, 2)}
	for want, samples := range map[string][]Sample{
		"bench: a: want 2 kept samples, got 0":                      {},
		"bench: a: want 2 kept samples, got 1":                      good[:1],
		"bench: a: want the sample of round 0, got round 1":         good[1:],
		"bench: a: want the sample of round 2, got round 1":         append(good[:2:2], good[1]),
		"bench: a: round 1: want 2 tokens, got 1":                   {good[0], sample("a", 1, false, 2, 1, 1)},
		"bench: a: round 0: want 0 < ttft < total, got 0s and 1ms":  {sample("a", 0, false, 0, 1, 2)},
		"bench: a: round 0: want 0 < ttft < total, got 5ms and 5ms": {sample("a", 0, false, 5, 0, 2)},
	} {
		if _, err := Rows(p, []Model{{Name: "a"}}, samples, Environment{}); err == nil || err.Error() != want {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}
