package gguf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio/v2"

	"mop/internal/files"
	"mop/internal/progress"
	"mop/runtime/checkpoint"
	"mop/runtime/config"
)

// ExportOptions says how a model becomes a file.
type ExportOptions struct {
	Type      *Type  // of the matrices: F32, F16, BF16 or Q8_0; nil = the type that the config names
	PadTo     int    // widths become multiples of it; 0 = UsualPadding of the type
	Name      string // general.name
	Tokenizer string // directory of the tokenizer; "" = write none
	Replace   bool   // replace existing files
	Progress  progress.Func
}

// ExportResult says what was written.
type ExportResult struct {
	Path, Modelfile string
	Architecture    string // llama or deci
	Type            Type
	Bytes           int64
	PadTo           int
	AddedNeurons    int   // zero neurons, over all layers
	AddedHeads      int   // zero heads
	AddedParams     int64 // parameters of both
	AddedBytes      int64
	Notes           []string // what differs from the checkpoint, and what llama.cpp does differently
}

// Export writes a model as a GGUF file, and a Modelfile for Ollama beside it. The
// architecture is llama where all layers are alike and deci, whose layers may differ,
// where they are not. Tensors are converted a few megabytes at a time. The file
// gets its name when it is complete and on disk.
func Export(ctx context.Context, src checkpoint.Source, out string, o ExportOptions) (*ExportResult, error) {
	c := src.Config()
	if err := c.Check(); err != nil {
		return nil, err
	}
	r := &ExportResult{Path: out, Modelfile: modelfilePath(out), PadTo: o.PadTo}
	var err error
	if r.Type, err = exportType(c, o.Type); err != nil {
		return nil, err
	}
	if r.PadTo == 0 {
		r.PadTo = UsualPadding(r.Type)
	}
	if r.PadTo < 1 || r.PadTo > MaxPadding {
		return nil, fmt.Errorf("padding: want multiples of 1 to %d, got %d", MaxPadding, r.PadTo)
	}
	for _, path := range []string{r.Path, r.Modelfile} {
		if err := free(path, o.Replace); err != nil {
			return nil, err
		}
	}
	l := newLayout(c, r.Type, r.PadTo)
	if err := l.check(); err != nil {
		return nil, err
	}
	r.Architecture = l.arch
	v, err := readVocabulary(o.Tokenizer, c)
	if err != nil {
		return nil, err
	}
	tensors := l.tensors(ctx, src, o.Progress)
	r.count(l)
	r.Notes = append(r.Notes, l.notes()...)
	if v != nil {
		r.Notes = append(r.Notes, v.notes...)
	}
	header := encodeHeader(slices.Concat(general(l, o.Name), l.metadata(), v.pairs(c)), tensors)
	r.Bytes = int64(len(header)) + dataBytes(tensors)
	if err := writeAtomically(out, r.Bytes, func(w io.Writer) error {
		if _, err := w.Write(header); err != nil {
			return err
		}
		return writeTensors(w, tensors)
	}); err != nil {
		return nil, err
	}
	if err := renameio.WriteFile(r.Modelfile, modelfile(out, c, v), 0o666); err != nil {
		return nil, err
	}
	return r, nil
}

// MaxPadding is the largest number that widths are padded to a multiple of.
const MaxPadding = 1 << 16

// exportType is the type of the matrices.
func exportType(c *config.Config, wanted *Type) (Type, error) {
	if wanted != nil {
		if !slices.Contains([]Type{F32, F16, BF16, Q8_0}, *wanted) {
			return 0, fmt.Errorf("type: want f32, f16, bf16 or q8_0, got %s", *wanted)
		}
		return *wanted, nil
	}
	d, err := checkpoint.DTypeOf(c)
	return map[checkpoint.DType]Type{checkpoint.F32: F32, checkpoint.F16: F16, checkpoint.BF16: BF16}[d], err
}

// free is an error if a path is in use and may not be replaced.
func free(path string, replace bool) error {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !st.Mode().IsRegular():
		return fmt.Errorf("%s: %w, and is not a regular file", path, checkpoint.ErrExists)
	case !replace:
		return fmt.Errorf("%s: %w: give another --out, or --force to replace it", path, checkpoint.ErrExists)
	}
	return nil
}

// writeAtomically writes a file under a hidden name beside its place, and renames it
// when it is on disk. A failure leaves nothing.
func writeAtomically(path string, size int64, write func(io.Writer) error) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if err := checkpoint.CheckFree(dir, size); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	f, err := renameio.NewPendingFile(path, renameio.WithTempDir(dir), renameio.WithPermissions(0o666))
	if err != nil {
		return err
	}
	defer f.Cleanup()
	w := files.NewWriter(f.File)
	if err := errors.Join(write(w), w.Close()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return f.CloseAtomicallyReplace()
}

// tensors lists what is written behind the header.
func (l *layout) tensors(ctx context.Context, src checkpoint.Source, report progress.Func) []tensorSpec {
	count := report.Counter(0, "tensors", len(l.plan))
	var out []tensorSpec
	for i := range l.plan {
		m := &l.plan[i]
		out = append(out, tensorSpec{name: m.name, kind: m.kind, shape: m.shape, write: func(w io.Writer) error {
			defer count()
			return m.write(ctx, w, src)
		}})
	}
	if f := ropeFactors(l.config); f != nil {
		out = append(out, floats("rope_freqs.weight", f))
	}
	return out
}

// count fills in what the padding costs.
func (r *ExportResult) count(l *layout) {
	r.AddedParams, r.AddedNeurons, r.AddedHeads = l.added()
	r.AddedBytes = r.AddedParams * int64(l.kind.BlockBytes()) / int64(l.kind.BlockSize())
}

// notes says what a reader of the file has to know.
func (l *layout) notes() []string {
	var out []string
	if n := len(l.mixed); n > 0 {
		out = append(out, fmt.Sprintf("%d matrices, %s among them, stay f16: their rows are not a multiple of %d", n, l.mixed[0], l.kind.BlockSize()))
	}
	if r := l.config.RopeScaling; r != nil && r.Type == "dynamic" {
		out = append(out, "dynamic RoPE scaling is left out: it changes nothing within the context length, and llama.cpp does not have it")
	}
	return out
}

// general are the keys that every file has.
func general(l *layout, name string) []pair {
	fileType := map[Type]uint32{F32: 0, F16: 1, Q8_0: 7, BF16: 32}[l.kind]
	out := []pair{{"general.architecture", l.arch}, {"general.type", "model"}}
	if name = strings.ToValidUTF8(name, "?"); name != "" {
		out = append(out, pair{"general.name", name})
	}
	return append(out, pair{"general.file_type", fileType}, pair{"general.quantization_version", uint32(2)})
}
