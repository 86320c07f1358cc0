//go:build cudaemu

package cuda

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What a GPU answers with a hang, a wrong number or an illegal instruction the emulation
// reports, or it shows in the result.
func TestFaultsAreFound(t *testing.T) {
	checkFaults(t, "testdata/faults.cc", map[string]string{
		"fault_kRight":               "right",
		"fault_kFewBytes":            "deadlock",
		"fault_kManyBytes":           "deadlock",
		"fault_kTwoArrivals":         "more than 1 arrivals",
		"fault_kNoBarrier":           "no barrier was made",
		"fault_kOtherPhase":          "wrong",
		"fault_kNoWait":              "wrong",
		"fault_kNotAligned":          "not where eight swizzled rows begin",
		"fault_kNotAMap":             "no tensor map",
		"fault_kDescriptor":          "want swizzled rows",
		"fault_kLeaves":              "leaves the shared memory",
		"fault_kNoFence":             "did not fence its registers",
		"fault_kNoEnd":               "has not waited for its products",
		"fault_kReadEarly":           "wrong",
		"fault_kAlone":               "not its warpgroup's",
		"fault_kLeft":                "it ended before a copy",
		"fault_kStored":              "right",
		"fault_kNotFenced":           "did not fence it",
		"fault_kAcross":              "right",
		"fault_kWritten":             "has written registers of A",
		"fault_kWithin":              "to begin with eight rows",
		"fault_kPipelineRight":       "right",
		"fault_kPipelineNoEmptyWait": "more than 1 arrivals",
		"fault_kPipelineFewBytes":    "deadlock",
		"fault_kPipelineManyBytes":   "deadlock",
		"fault_kPipelineOneArrival":  "deadlock",
		"fault_kPipelineXEarly":      "wrong",
		"fault_kPipelineOdd":         "want multiples of 16",
		"fault_kPipelineShifted":     "want multiples of 16",
		"fault_kPipelineLeaves":      "leave the shared memory",
		"fault_kPipelineStranger":    "at a barrier of the first 64",
		"fault_kExchangeRight":       "right",
		"fault_kExchangeNoWait":      "wrong",
		"fault_kExchangeApart":       "not aligned to 16 bytes",
		"fault_kExchangeAlone":       "deadlock",
		"blocks_stay":                "right",
		"blocks_leave":               "has ended",
		"map":                        "right",
		"address":                    "not aligned to 16 bytes",
		"dimension":                  "a dimension",
		"stride":                     "a stride",
		"box":                        "1 to 256 elements",
		"span":                       "128 at most",
	})
}

// A vision tower's attention is right, and an order that is missing in it shows.
func TestAttentionFaultsAreFound(t *testing.T) {
	checkFaults(t, "testdata/attention_faults.cc", map[string]string{
		"attention_right":      "right",
		"attention_no_wait":    "wrong",
		"attention_no_barrier": "wrong",
	})
}

// checkFaults builds and runs a program that prints lines of a kernel's name and what became
// of it. want has a part of the latter.
func checkFaults(t *testing.T, source string, want map[string]string) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "faults")
	if out, err := exec.Command("g++", "-DCUEMU", "-std=c++17", "-O1", "-fno-strict-aliasing", "-w", "-Wno-psabi", source, "-o", program).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := exec.Command(program).Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		name, said, _ := strings.Cut(line, ": ")
		if text, ok := want[name]; !ok || !strings.Contains(said, text) {
			t.Errorf("%s: want %q, got %q", name, text, said)
		}
		seen[name] = true
	}
	for name := range want {
		if !seen[name] {
			t.Errorf("%s was not tried", name)
		}
	}
}
