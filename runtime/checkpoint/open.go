package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/edsrzf/mmap-go"

	"mop/internal/files"
	"mop/runtime/checkpoint/safetensors"
	"mop/runtime/config"
)

const (
	configFile = "config.json"
	singleFile = safetensors.SingleFile
	indexFile  = safetensors.IndexFile
)

// ErrNoWeights means that a directory with a config.json holds no weights.
var ErrNoWeights = errors.New("no weights")

// Dir is an open checkpoint. Its tensors are views of mapped, read-only files and
// are valid until Close. Sizes are checked when a file is opened, and Save never
// writes in place. A file that another program truncates while it is mapped causes
// a fault at the next access; package files turns it into an error.
type Dir struct {
	Path    string
	config  *config.Config
	tensors map[string]Tensor  // by the names of ExpectedTensors
	files   map[string]string  // from the same names to the paths of their files
	wrapper *MultimodalWrapper // nil = the model is not part of another
	maps    []mmap.MMap
}

// Open maps a checkpoint in Hugging Face's layout: config.json, and
// model.safetensors or, where that is absent, the shards that
// model.safetensors.index.json names. It reads nothing of the tensors, so its time
// does not depend on their size. The EOS of a generation_config.json replaces that of
// config.json. The tensors must be exactly those that
// ExpectedTensors lists for the config, each in F32, F16 or BF16. Canonical
// describes the other spellings of their names, and which tensors may stand beside
// them.
func Open(dir string) (*Dir, error) {
	c, err := config.Load(filepath.Join(dir, configFile))
	if err != nil {
		if _, absent := os.Stat(filepath.Join(dir, configFile)); absent != nil {
			return nil, explained(dir, err)
		}
		return nil, err
	}
	if err := c.ReadGeneration(filepath.Join(dir, "generation_config.json")); err != nil {
		return nil, err
	}
	d := &Dir{Path: dir, config: c}
	all, err := d.mapAll()
	if err == nil {
		err = d.match(all)
	}
	if err != nil {
		d.Close()
		if errors.Is(err, ErrNoWeights) {
			err = explained(dir, err)
		}
		return nil, err
	}
	return d, nil
}

// explained adds what the directory is, and what to do with it, where that is known.
func explained(dir string, err error) error {
	if reason := config.Explain(dir); reason != nil {
		return &explanation{dir + ": " + reason.Error(), err}
	}
	return err
}

// explanation replaces the text of an error, but not its kind.
type explanation struct {
	text string
	err  error
}

func (e *explanation) Error() string { return e.text }
func (e *explanation) Unwrap() error { return e.err }

// mapAll maps all files and lists their tensors. It checks them against the index
// if there is one.
func (d *Dir) mapAll() ([]safetensors.Tensor, error) {
	single := filepath.Join(d.Path, singleFile)
	_, err := os.Lstat(single) // a broken link is not an absent file
	if err == nil {
		return d.mapFile(single)
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	indexPath := filepath.Join(d.Path, indexFile)
	index, err := safetensors.ReadIndex(indexPath)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w: want %s or %s, got neither", d.Path, ErrNoWeights, singleFile, indexFile)
	}
	if err != nil {
		return nil, err
	}
	var all []safetensors.Tensor
	for _, file := range index.Files() {
		tensors, err := d.mapFile(filepath.Join(d.Path, file))
		if err != nil {
			return nil, err
		}
		for _, t := range tensors {
			if listed, ok := index[t.Name]; ok && listed != file {
				return nil, fmt.Errorf("%s: %s: want it in %s by %s", t.File, safetensors.Printable(t.Name), listed, indexFile)
			}
		}
		all = append(all, tensors...)
	}
	// A tensor that the index lists but no shard holds matters only if the config asks
	// for it, and one that the index does not list is used if the config does: tied and
	// unused tensors are often listed wrongly.
	return all, nil
}

func (d *Dir) mapFile(path string) ([]safetensors.Tensor, error) {
	m, tensors, err := safetensors.Map(path)
	if err == nil {
		d.maps = append(d.maps, m)
	}
	return tensors, err
}

// match finds the tensors that the config asks for among the stored ones.
func (d *Dir) match(all []safetensors.Tensor) error {
	found := make(map[string]safetensors.Tensor, len(all))
	if d.config.Multimodal != nil {
		d.wrapper = &MultimodalWrapper{}
	}
	for _, t := range all {
		name, ok := Canonical(t.Name)
		if !ok && d.wrapper == nil {
			return fmt.Errorf("%s: %s: unexpected beside a language model, got %v", t.File, safetensors.Printable(t.Name), t.Shape)
		}
		if !ok {
			d.wrapper.tensors = append(d.wrapper.tensors, t)
			continue
		}
		if name == EmbedName && d.wrapper != nil {
			d.wrapper.embed = t.Name
		}
		if first, ok := found[name]; ok {
			return fmt.Errorf("%s: %s: the same tensor as %s", t.File, safetensors.Printable(t.Name), safetensors.Printable(first.Name))
		}
		found[name] = t
	}
	if d.config.Tied {
		// The LM head and the embedding table are one tensor. Some writers store it
		// under the name of the head.
		embed, okEmbed := found[EmbedName]
		head, okHead := found[HeadName]
		if okHead && !okEmbed {
			found[EmbedName] = head
			delete(found, HeadName)
		} else if okHead && (embed.DType != head.DType || !bytes.Equal(embed.Data, head.Data)) {
			slog.Warn("the stored LM head differs from the embedding table and is not used, because tie_word_embeddings is true",
				"file", head.File, "tensor", head.Name)
		}
	}
	want := ExpectedTensors(d.config)
	d.tensors = make(map[string]Tensor, len(want))
	d.files = make(map[string]string, len(want))
	for _, info := range want {
		t, ok := found[info.Name]
		if !ok || !slices.Equal(t.Shape, info.Shape) {
			if err := checkQuantised(all); err != nil {
				return fmt.Errorf("%s: %w", d.Path, err)
			}
		}
		if !ok {
			return fmt.Errorf("%s: %s: missing, want %v%s", d.Path, withLayer(info.Name), info.Shape, otherName(info.Name, all))
		}
		if !slices.Equal(t.Shape, info.Shape) {
			return fmt.Errorf("%s: %s: want %v, got %v", t.File, withLayer(info.Name), info.Shape, t.Shape)
		}
		dtype, ok := dtypeNamed(t.DType)
		if !ok {
			why := "quantised weights are not supported"
			if t.DType == "F64" {
				why = "save the model in F32"
			}
			return fmt.Errorf("%s: %s: want F32, F16 or BF16, got %s: %s", t.File, withLayer(info.Name), t.DType, why)
		}
		d.tensors[info.Name] = Tensor{info.Name, dtype, info.Shape, t.Data}
		d.files[info.Name] = t.File
		delete(found, info.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		if !ignored(d.config, name) {
			return fmt.Errorf("%s: %s: unexpected, got %v", found[name].File, withLayer(safetensors.Printable(name)), found[name].Shape)
		}
	}
	return nil
}

// checkQuantised is an error if the tensors are those of a quantised model: weights are
// packed integers or 8-bit floats, with scales beside them.
func checkQuantised(all []safetensors.Tensor) error {
	for _, t := range all {
		packed := slices.Contains([]string{"U8", "I8", "U16", "I16", "U32", "I32"}, t.DType)
		for _, suffix := range []string{".qweight", ".qzeros", ".scales", ".weight_scale", ".weight_scale_inv", ".absmax", ".quant_map", ".SCB", ".weight_packed"} {
			packed = packed || strings.HasSuffix(t.Name, suffix)
		}
		if packed && (strings.Contains(t.Name, "layers.") || strings.Contains(t.Name, "embed_tokens")) {
			return fmt.Errorf("quantised weights (%s is %s %v): not supported, give the model in F32, F16 or BF16", safetensors.Printable(t.Name), t.DType, t.Shape)
		}
	}
	return nil
}

// otherName mentions a tensor that has the wanted name behind a prefix, such as
// torch.compile's _orig_mod.
func otherName(want string, all []safetensors.Tensor) string {
	for _, t := range all {
		if prefix, ok := strings.CutSuffix(t.Name, want); ok && prefix != "" {
			return fmt.Sprintf("; %s is there: save the model without the prefix %s", safetensors.Printable(t.Name), safetensors.Printable(prefix))
		}
	}
	return ""
}

// Config is the model's config.
func (d *Dir) Config() *config.Config { return d.config }

// Tensor finds a tensor by its name in ExpectedTensors.
func (d *Dir) Tensor(name string) (Tensor, error) {
	t, ok := d.tensors[name]
	if !ok {
		return Tensor{}, fmt.Errorf("%s: %s: no such tensor", d.Path, name)
	}
	return t, nil
}

// File is the path of the file that holds a tensor, empty where there is none.
func (d *Dir) File(name string) string { return d.files[name] }

// Bytes is the stored size of the language model's tensors.
func (d *Dir) Bytes() int64 {
	n := int64(0)
	for _, t := range d.tensors {
		n += int64(len(t.Data))
	}
	return n
}

// Release says that a part of a tensor's data is not needed for now: it does not count as
// memory of the process until it is read again.
func (d *Dir) Release(data []byte) { files.Release(data) }

// Prefetch asks for data of a tensor that will be read soon.
func (d *Dir) Prefetch(data []byte) { files.Prefetch(data) }

// Close unmaps the files. No tensor may be used afterwards.
func (d *Dir) Close() error {
	var errs []error
	for _, m := range d.maps {
		errs = append(errs, m.Unmap())
	}
	d.maps, d.tensors = nil, nil
	return errors.Join(errs...)
}
