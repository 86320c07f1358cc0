package cuda

import (
	"fmt"
	"go/constant"
	"go/token"
	gotypes "go/types"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"mop/runtime/device/cuda/driver"
)

// kernelSource returns the text of a file of kernels/cuda.
func kernelSource(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "kernels", "cuda", file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// kernelConstants evaluates the integer constants of some source files. Constants that
// depend on template parameters are left out.
func kernelConstants(t *testing.T, files ...string) map[string]int {
	t.Helper()
	values := map[string]int{}
	name := regexp.MustCompile(`\bk[A-Z]\w*`)
	for _, file := range files {
		for _, m := range regexp.MustCompile(`(?m)^\s*(?:static )?constexpr int ([^;]*);`).FindAllStringSubmatch(kernelSource(t, file), -1) {
			for _, definition := range strings.Split(m[1], ",") {
				constantName, expression, _ := strings.Cut(strings.TrimSpace(definition), " = ")
				expression = name.ReplaceAllStringFunc(expression, func(n string) string {
					if v, ok := values[n]; ok {
						return strconv.Itoa(v)
					}
					return n
				})
				if v, err := gotypes.Eval(token.NewFileSet(), nil, token.NoPos, expression); err == nil && v.Value != nil {
					if n, exact := constant.Int64Val(constant.ToInt(v.Value)); exact {
						values[constantName] = int(n)
					}
				}
			}
		}
	}
	return values
}

// The sizes in Go and in the kernels' sources are the same.
func TestKernelConstants(t *testing.T) {
	for _, file := range []struct {
		names []string // files; later ones use the constants of earlier ones
		want  map[string]int
	}{
		{[]string{"types.cuh"}, map[string]int{"kPageSize": pageSize}},
		{[]string{"gemv.cuh"}, map[string]int{"kGemvThreads": gemvThreads, "kGemvWarps": gemvWarps, "kSegmentRows": gemvSegmentRows}},
		{[]string{"gemv.cuh", "pipeline.cuh"}, map[string]int{"kPipelineThreads": pipelineThreads, "kStageBytes": pipelineStageBytes, "kPartialBytes": pipelinePartialBytes}},
		{[]string{"gemv.cuh", "pipeline.cuh", "pipeline_batch.cuh"}, map[string]int{"kBatchThreads": batchThreads, "kBatchChunk": batchChunk, "kBatchWeightBytes": batchWeightBytes, "kBatchPartialBytes": batchPartialBytes, "kDeepStages": pipelineDeepStages}},
		{[]string{"gemm.cuh"}, map[string]int{"kStages": gemmStages, "kTileK": gemmTileK}},
		{[]string{"gemm.cuh"}, map[string]int{"kTileK": driver.BoxCols}},
		{[]string{"attention_decode.cuh"}, map[string]int{"kGroup": attentionGroup, "kAttentionWarps": attentionDecodeWarps, "kSingleBlockRounds": attentionSingleBlockRounds, "kMaxSplits": attentionMaxSplits}},
		{[]string{"attention_prefill_wgmma.cuh"}, map[string]int{"kTile": attentionWGMMARows}},
		{[]string{"attention_bidirectional.cu"}, map[string]int{"kHeadTile": visionTileRows}},
		{[]string{"attention_train.cuh"}, map[string]int{"kAnyColumns": maxHeadSize / 128}},
		{[]string{"sample.cu"}, map[string]int{"kSampleThreads": sampleThreads}},
	} {
		got := kernelConstants(t, file.names...)
		for name, want := range file.want {
			if v, ok := got[name]; !ok || v != want {
				t.Errorf("%v: %s: want %d as in Go, got %d (defined: %v)", file.names, name, want, v, ok)
			}
		}
	}
}

// Sizes that the sources write as part of an expression.
func TestKernelExpressions(t *testing.T) {
	for _, c := range []struct{ file, want string }{
		{"gemv.cuh", "kPerLane = 8, kPitchPadding = 32;"}, // gemvSharedBytes: rows of x are ld+32 elements
		{"gemv.cuh", "kPerLane = 16, kPitchPadding = 8;"}, // batchSharedBytes
		{"attention_decode.cu", fmt.Sprintf("kPositions = %d / Width;", attentionDecodeWarpElements)},
		{"attention_decode.cuh", "kPitch = Width + 4;"},     // attentionPartialElements
		{"attention_decode.cu", "kValuePitch = Width + 8;"}, // attentionDecodeSharedBytes
		{"attention_decode_i8.cu", fmt.Sprintf("kPositions = %d / Width;", attentionDecodeWarpElements)},
		{"attention_decode_i8.cu", "kValuePitch = Width + 16;"}, // attentionDecodeSharedBytes
		{"attention_decode_i8.cu", "kPerLane = 16, kQueryPadding = 8;"},
		{"attention_prefill_i8.cu", fmt.Sprintf("__launch_bounds__(%d, 2)", attentionPrefillThreads)},
		{"attention_prefill_wgmma.cuh", "kSlot = Width / kTileK * kPanel, kSlots = 5;"},
		{"attention_prefill_wgmma.cuh", "slots = queries + 2 * kSlot;"}, // attentionWGMMASharedBytes
		{"gemm_wgmma.cuh", "kAtOnce = 32,"},                             // gemmTile.sharedBytes
		{"sample.cu", fmt.Sprintf("sizeof(Candidates) <= %d << 10", sampleSharedBytes>>10)},
		{"sample.cu", fmt.Sprintf("__launch_bounds__(%d,", sampleThreads)},
		{"attention_prefill.cu", fmt.Sprintf("__launch_bounds__(%d, 2)", attentionPrefillThreads)},
		{"attention_prefill.cu", fmt.Sprintf("__launch_bounds__(%d, 1)", attentionWGMMAThreads)},
		{"attention_bidirectional.cu", fmt.Sprintf("__launch_bounds__(%d, 2)", attentionPrefillThreads)},
		{"activation.cuh", "enum Activation { kIdentity, kQuickGELU, kGELU, kGELUTanh };"}, // device.Activation
		{"linear.cu", fmt.Sprintf("__launch_bounds__(%d, 2)", gemvThreads)},
		{"qkv.cu", fmt.Sprintf("__launch_bounds__(%d, 2)", gemvThreads)},
		{"gate_up.cu", fmt.Sprintf("__launch_bounds__(%d, 2)", gemvThreads)},
	} {
		if !strings.Contains(kernelSource(t, c.file), c.want) {
			t.Errorf("%s: want %q, as the launch geometry in Go assumes", c.file, c.want)
		}
	}
}

// numbers converts the comma-separated numbers of a macro's arguments.
func numbers(t *testing.T, list string) (n []int) {
	t.Helper()
	for _, s := range strings.Split(list, ",") {
		v, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil {
			t.Fatal(err)
		}
		n = append(n, v)
	}
	return n
}

// The sizes of batches in Go and in pipeline_batch.cuh are the same.
func TestBatchSources(t *testing.T) {
	var got []int
	for _, m := range regexp.MustCompile(`EACH_BATCH_FORMAT\(M, (\d+), \d\)`).FindAllStringSubmatch(kernelSource(t, "pipeline_batch.cuh"), -1) {
		got = append(got, numbers(t, m[1])...)
	}
	if !slices.Equal(got, batchSizes) {
		t.Errorf("want batches of %v as in Go, got %v", batchSizes, got)
	}
}

// The tile tables in Go and in gemm.cuh list the same tiles.
func TestMMATileSources(t *testing.T) {
	text := kernelSource(t, "gemm.cuh")
	stages := map[string]int{}
	for _, m := range regexp.MustCompile(`using (Tile\w+) = Tile<([^>]*)>;`).FindAllStringSubmatch(text, -1) {
		n := numbers(t, m[2])
		stages[m[1]] = gemmStages
		if len(n) > 4 {
			stages[m[1]] = n[4]
		}
		if want := fmt.Sprintf("Tile%dx%d", n[0], n[1]); m[1] != want {
			t.Errorf("%s: want the name %s", m[1], want)
		}
	}
	found := regexp.MustCompile(`EACH_FORMAT\(M, (Tile\w+), (\w+), ([\d, ]+)\)`).FindAllStringSubmatch(text, -1)
	if len(found) != len(mmaTiles) {
		t.Fatalf("want %d tiles, got %d", len(mmaTiles), len(found))
	}
	for i, m := range found {
		n, tile := numbers(t, m[3]), mmaTiles[i]
		got := gemmTile{name: m[2], rows: n[2], cols: n[3], threads: n[0], stages: stages[m[1]], perSM: tile.perSM, cost: tile.cost}
		if got != tile || n[1] > tile.perSM { // the launch bound may promise the compiler fewer blocks

			t.Errorf("tile %d: want %+v as in Go, got %+v", i, tile, got)
		}
	}
}

// The tile tables in Go and in gemm_wgmma.cuh list the same tiles.
func TestWGMMATileSources(t *testing.T) {
	found := regexp.MustCompile(`M\(BF16, bf16, (\w+), ([\d, ]+)\)`).FindAllStringSubmatch(kernelSource(t, "gemm_wgmma.cuh"), -1)
	if len(found) != len(wgmmaTiles) {
		t.Fatalf("want %d tiles, got %d", len(wgmmaTiles), len(found))
	}
	for i, m := range found {
		n, tile := numbers(t, m[2]), wgmmaTiles[i]
		got := gemmTile{name: "wgmma" + m[1], rows: n[0], cols: 64 * n[3], threads: n[1], stages: n[4], perSM: n[2], cost: tile.cost, cluster: n[5]}
		if got != tile {
			t.Errorf("tile %d: want %+v as in Go, got %+v", i, tile, got)
		}
	}
}
