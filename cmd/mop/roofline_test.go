package main

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"mop/bench/hardware"
	"mop/internal/machine"
)

// A cached roofline that a run exceeds is measured again, so that the share is of the
// bandwidth that the machine has now.
func TestBenchMeasuresExceededRooflineAgain(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	const old = 1e-9 // GB/s, which every machine exceeds
	const load = 0.04
	stub := func(m machine.Info, threads int, isa string) (hardware.Roofline, error) {
		return hardware.Roofline{Machine: m, Others: load, Read: hardware.Bandwidth{Threads: threads, GBps: old}, FMA: hardware.Peak{Threads: threads, GFLOPs: 1e9}}, nil
	}
	if _, err := (hardware.Meter{Dir: filepath.Join(cache, "mop"), Roofline: stub}).Measure(machine.Describe(), 1, "", true); err != nil {
		t.Fatal(err)
	}
	out, err := mop(t, "", "bench", demoDir, "--device", "cpu", "--threads", "1", "--runs", "2", "--discard", "1", "--in", "3", "--out", "3", "--format", "json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct {
		Bandwidth float64 `json:"bandwidth_gbps"`
		Peak      float64 `json:"fma_gflops"`
		Load      float64 `json:"limit_load"`
	}
	if err := json.Unmarshal([]byte(out), &rows); err != nil || len(rows) != 1 {
		t.Fatalf("want one row, got %v: %s", err, out)
	}
	if rows[0].Bandwidth <= 100*old {
		t.Errorf("want the bandwidth measured again, got %g GB/s", rows[0].Bandwidth)
	}
	if rows[0].Load > load { // the lesser of both measurements
		t.Errorf("want a load of at most %v, got %v", load, rows[0].Load)
	}
	if rows[0].Peak != 1e9 {
		t.Errorf("want the peak that was not exceeded to stay, got a peak of %g GFLOP/s", rows[0].Peak)
	}
}

// The load of other processes while the roofline was measured is cached with it
// and reported.
func TestBenchReportsRooflineLoad(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	const load = 0.03
	stub := func(m machine.Info, threads int, isa string) (hardware.Roofline, error) {
		return hardware.Roofline{Machine: m, Others: load, Read: hardware.Bandwidth{Threads: threads, GBps: 1e9}, FMA: hardware.Peak{Threads: threads, GFLOPs: 1e9}}, nil
	}
	if _, err := (hardware.Meter{Dir: filepath.Join(cache, "mop"), Roofline: stub}).Measure(machine.Describe(), 1, "", true); err != nil {
		t.Fatal(err)
	}
	out, err := mop(t, "", "bench", demoDir, "--device", "cpu", "--threads", "1", "--runs", "2", "--discard", "1", "--in", "3", "--out", "3", "--format", "json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct {
		Load float64 `json:"limit_load"`
	}
	if err := json.Unmarshal([]byte(out), &rows); err != nil || len(rows) != 1 || rows[0].Load != load {
		t.Errorf("want one row of limit_load %v, got %v: %s", load, err, out)
	}
}
