package driver

import (
	"os"
	"regexp"
	"testing"
)

// The table has every kernel of the built PTX, and no other.
func TestDecodeKernels(t *testing.T) {
	text, err := os.ReadFile("../../../../kernels/cuda/ptx/entries.inc")
	if err != nil {
		t.Fatal(err)
	}
	built := map[string]bool{}
	for _, m := range regexp.MustCompile(`KERNEL_ENTRY\((\w+),`).FindAllStringSubmatch(string(text), -1) {
		built[m[1]] = true
		if _, ok := decodeStep[m[1]]; !ok {
			t.Errorf("%s: want an entry in decodeStep", m[1])
		}
	}
	for name := range decodeStep {
		if !built[name] {
			t.Errorf("%s: there is no such kernel", name)
		}
	}
	for kernel, want := range map[string]bool{
		"embedding_i8": true, "qkv_decode_pipeline_bf16": true, "attention_decode_64_f16": true, "linear_decode_i8_f16": true, "gate_up_decode_pipeline_i8_bf16": true,
		"rmsnorm_half_bf16": true, "rmsnorm_float_f16": true, "argmax": true, "sample": true,
		"embedding_backward": false, "rmsnorm_forward_bf16": false, "linear_prefill_128x128_bf16": false, "attention_prefill_128_f16": false, "linear_train_128x128_bf16": false,
	} {
		if got := decodeStep[kernel]; got != want {
			t.Errorf("%s: want %v, got %v", kernel, want, got)
		}
	}
}

func TestOldDrivers(t *testing.T) {
	for version, fits := range map[int]bool{11040: false, 11070: false, 11080: true, 12090: true, 13000: true} {
		if err := checkVersion(version); (err == nil) != fits {
			t.Errorf("driver for CUDA %d: want fitting %v, got %v", version, fits, err)
		}
	}
}

// sm_90a is for compute capability 9.0 itself, and a driver that has what it needs.
func TestSets(t *testing.T) {
	for _, c := range []struct {
		cc, version int
		maps        bool
		want        string
	}{
		{80, 13000, true, "sm_80"},
		{89, 12040, true, "sm_80"},
		{90, 12000, true, "sm_90a"},
		{90, 11080, false, "sm_90"},
		{90, 11080, true, "sm_90"},
		{90, 12040, false, "sm_90"},
		{100, 13000, true, "sm_90"},
		{120, 13000, true, "sm_90"},
	} {
		got := KernelSet(c.cc, c.version, c.maps)
		if got != c.want {
			t.Errorf("%+v: got %s", c, got)
		}
		if all := SetsOf(got); all[0] != got || all[len(all)-1] != SM80 {
			t.Errorf("%s: the sets of such a card are %v", got, all)
		}
	}
}
