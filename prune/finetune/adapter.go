package finetune

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"mop/runtime/checkpoint"
	"mop/runtime/config"
	"mop/runtime/device"
	"mop/runtime/train"
)

// module is a projection of a layer.
type module struct {
	layer int
	param checkpoint.Param
}

// modules lists the projections that a model has, in stored order.
func modules(c *config.Config) []module {
	var out []module
	for l, s := range c.Layers {
		for _, p := range checkpoint.Projections() {
			if attention := strings.HasPrefix(string(p), "self_attn."); attention && s.Heads > 0 || !attention && s.Intermediate > 0 {
				out = append(out, module{l, p})
			}
		}
	}
	return out
}

// name is the module's name in transformers' model, as the checkpoint spells it. In a LLaVA
// it has the prefix of the language model.
func (m module) name(w *checkpoint.MultimodalWrapper) string {
	return strings.TrimSuffix(w.StoredName(checkpoint.LayerName(m.layer, m.param)), ".weight")
}

// adapterInit is the adapter that training starts from, matched with the model.
type adapterInit struct {
	shapes map[module]adapterShape
	keys   map[string]string // the trainer's name of a matrix -> its name in the file
}

// readAdapter matches an adapter with the model, and takes rank, alpha and targets from it.
func (r *run) readAdapter() error {
	config, err := readAdapterConfig(r.AdapterInit)
	if err != nil {
		return err
	}
	a, err := matchAdapter(r.AdapterInit, config, r.source)
	if err != nil {
		return err
	}
	r.Targets = slices.DeleteFunc(checkpoint.Projections(), func(p checkpoint.Param) bool {
		for m := range a.shapes {
			if m.param == p {
				return false
			}
		}
		return true
	})
	r.adapter = a
	r.Rank, r.Alpha = a.usual()
	if err := r.Check(); err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(r.AdapterInit, adapterConfig), err)
	}
	return nil
}

// usual is the rank and alpha that most adapters have.
func (a *adapterInit) usual() (rank int, alpha float64) {
	counts := map[adapterShape]int{}
	for _, s := range a.shapes {
		counts[s]++
	}
	var best adapterShape
	for s, n := range counts {
		if m := counts[best]; n > m || n == m && (s.rank < best.rank || s.rank == best.rank && s.alpha < best.alpha) {
			best = s
		}
	}
	return best.rank, best.alpha
}

// adapterKey is the name of a matrix in an adapter file. A name of the adapter may stand in
// front of weight.
var adapterKey = regexp.MustCompile(`^base_model\.model\.(.+)\.lora_([AB])(?:\.[^.]+)?\.weight$`)

// matchAdapter finds the model's projections that an adapter belongs to. A matrix that
// belongs to none is an error: it would have no effect.
func matchAdapter(dir string, p *peftAdapter, src *checkpoint.Dir) (*adapterInit, error) {
	path := filepath.Join(dir, adapterFile)
	if other := filepath.Join(dir, "adapter_model.bin"); !exists(path) && exists(other) {
		return nil, fmt.Errorf("%s: want %s: save the adapter as safetensors", other, adapterFile)
	}
	f, err := checkpoint.OpenTensorFile(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	byName := map[string]module{}
	for _, m := range modules(src.Config()) {
		byName[checkpoint.LayerName(m.layer, m.param)] = m
	}
	a := &adapterInit{shapes: map[module]adapterShape{}, keys: map[string]string{}}
	stored := map[module]string{} // names of modules as the file spells them
	for _, key := range f.Names() {
		parts := adapterKey.FindStringSubmatch(key)
		if parts == nil {
			return nil, fmt.Errorf("%s: %s: want a name such as %s", path, clip(key), checkpoint.AdapterName(0, checkpoint.WQ, "A"))
		}
		name, language := checkpoint.Canonical(parts[1] + ".weight")
		m, ok := byName[name]
		if !language || !ok {
			return nil, fmt.Errorf("%s: %s: the model has no such matrix", path, clip(key))
		}
		own := checkpoint.AdapterName(m.layer, m.param, parts[2])
		if other, ok := a.keys[own]; ok {
			return nil, fmt.Errorf("%s: %s and %s are the same matrix", path, clip(other), clip(key))
		}
		a.keys[own], stored[m] = key, parts[1]
	}
	wrapper := checkpoint.MultimodalWrapperOf(src)
	for _, m := range modules(src.Config()) {
		name, inFile := stored[m]
		if !inFile {
			name = m.name(wrapper)
		}
		s, ok, err := p.shape(m.layer, name)
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, adapterConfig), err)
		case ok && !inFile:
			return nil, fmt.Errorf("%s: %s: missing, and target_modules names it", path, checkpoint.AdapterName(m.layer, m.param, "A"))
		case !ok && inFile:
			return nil, fmt.Errorf("%s: %s: target_modules does not name it", path, a.keys[checkpoint.AdapterName(m.layer, m.param, "A")])
		case ok:
			a.shapes[m] = s
		}
	}
	if len(a.shapes) == 0 {
		return nil, fmt.Errorf("%s: no matrix in it", path)
	}
	return a, nil
}

// trainerAdapter says which projections have an adapter; nil = those of the options.
func (r *run) trainerAdapter() func(layer int, p checkpoint.Param) (int, float64, bool) {
	if r.adapter == nil {
		return nil
	}
	return func(layer int, p checkpoint.Param) (int, float64, bool) {
		s, ok := r.adapter.shapes[module{layer, p}]
		return s.rank, s.alpha, ok
	}
}

// saveAdapter writes an adapter directory, which must not exist. It appears under its name
// only when it is complete.
func (r *run) saveAdapter() (err error) {
	text, err := json.MarshalIndent(r.adapterConfig(), "", "  ")
	if err != nil {
		return err
	}
	dir := filepath.Clean(r.SaveAdapter)
	if _, err := os.Stat(dir); err == nil {
		return fmt.Errorf("%s: %w", dir, checkpoint.ErrExists)
	}
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o777); err != nil {
		return err
	}
	tmp := filepath.Join(parent, "."+filepath.Base(dir)+".incomplete")
	if left, err := os.ReadDir(tmp); err == nil {
		for _, e := range left {
			if e.Name() != adapterConfig && e.Name() != adapterFile {
				return fmt.Errorf("%s: holds %s, which no save has left: move it away", tmp, e.Name())
			}
		}
	}
	if err := errors.Join(os.RemoveAll(tmp), os.Mkdir(tmp, 0o777)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	if err := os.WriteFile(filepath.Join(tmp, adapterConfig), append(text, '\n'), 0o666); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(tmp, adapterFile))
	if err != nil {
		return err
	}
	var specs []checkpoint.TensorSpec
	wrapper := checkpoint.MultimodalWrapperOf(r.source)
	for _, m := range modules(r.source.Config()) {
		for _, half := range []string{"A", "B"} {
			own := checkpoint.AdapterName(m.layer, m.param, half)
			if i := slices.IndexFunc(r.trainer.Params, func(p *train.Param) bool { return p.Name == own }); i >= 0 {
				specs = append(specs, bufferSpec(r.device, "base_model.model."+m.name(wrapper)+".lora_"+half+".weight", r.trainer.Params[i].Value))
			}
		}
	}
	if err := errors.Join(checkpoint.WriteTensorFile(f, specs), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, dir)
}

// adapterConfig describes the trained adapter for PEFT.
func (r *run) adapterConfig() peftConfig {
	c := peftConfig{"LORA", "CAUSAL_LM", r.Model, r.Rank, r.Alpha, r.Dropout, nil, "none", false, true, map[string]int{}, map[string]any{}}
	wrapper := checkpoint.MultimodalWrapperOf(r.source)
	short := []string{}
	for _, p := range r.Targets {
		short = append(short, p.Short())
	}
	whole := true // all projections of these names have an adapter
	var names []string
	for _, m := range modules(r.source.Config()) {
		if !r.trainer.HasAdapter(m.layer, m.param) {
			whole = whole && !slices.Contains(r.Targets, m.param)
			continue
		}
		names = append(names, m.name(wrapper))
		if r.adapter == nil {
			continue
		}
		if s := r.adapter.shapes[m]; s.rank != r.Rank || s.alpha != r.Alpha {
			c.RankPattern[m.name(wrapper)], c.AlphaPattern[m.name(wrapper)] = s.rank, s.alpha
		}
	}
	switch {
	case !whole:
		c.Targets = names
	case wrapper != nil: // the vision tower has projections of the same names
		c.Targets = languageModules(wrapper, short)
	default:
		c.Targets = short
	}
	return c
}

// languageModules is a regular expression for projections of a LLaVA's language model, in
// both spellings of transformers.
func languageModules(w *checkpoint.MultimodalWrapper, names []string) string {
	prefix := `model\.layers`
	if (module{0, checkpoint.WQ}).name(w) != "model.layers.0.self_attn.q_proj" {
		prefix = `(model\.)?language_model\.(model\.)?layers`
	}
	return prefix + `\.\d+\.(self_attn|mlp)\.(` + strings.Join(names, "|") + `)`
}

// loadAdapter sets the parameters to those of an adapter.
func loadAdapter(dir string, a *adapterInit, dev device.Trainer, t *train.Trainer) error {
	f, err := checkpoint.OpenTensorFile(filepath.Join(dir, adapterFile))
	if err != nil {
		return err
	}
	defer f.Close()
	for _, p := range t.Params {
		key, ok := a.keys[p.Name]
		if !ok {
			key = p.Name
		}
		stored, err := f.Tensor(key, p.Value.Rows(), p.Value.Cols())
		if err != nil {
			return err
		}
		x := checkpoint.Float32s(stored)
		for _, v := range x {
			if v-v != 0 {
				return fmt.Errorf("%s: %s: a number is not finite", dir, key)
			}
		}
		dev.Write(p.Value, 0, x)
	}
	return dev.Sync()
}
