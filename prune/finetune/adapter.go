package finetune

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mop/runtime/checkpoint"
	"mop/runtime/device"
	"mop/runtime/train"
)

// The files of an adapter as PEFT keeps it.
const (
	adapterConfig = "adapter_config.json"
	adapterFile   = "adapter_model.safetensors"
)

// peft is what an adapter_config.json says.
type peft struct {
	Type      string          `json:"peft_type"`
	Task      string          `json:"task_type"`
	Base      string          `json:"base_model_name_or_path"`
	Rank      int             `json:"r"`
	Alpha     float64         `json:"lora_alpha"`
	Dropout   float64         `json:"lora_dropout"`
	Targets   json.RawMessage `json:"target_modules"`
	Bias      string          `json:"bias"`
	FanInOut  bool            `json:"fan_in_fan_out"`
	Inference bool            `json:"inference_mode"`
}

// saveAdapter writes an adapter directory; it must not be there yet, and is there
// only when it is whole.
func saveAdapter(dir string, dev device.Device, l *train.Trainer, o *Options) (err error) {
	names := []string{}
	for _, p := range o.Targets {
		names = append(names, p.Short())
	}
	targets, err := json.Marshal(names)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(peft{"LORA", "CAUSAL_LM", o.Model, o.Rank, o.Alpha, o.Dropout, targets, "none", false, true}, "", "  ")
	if err != nil {
		return err
	}
	dir = filepath.Clean(dir)
	if _, err := os.Stat(dir); err == nil {
		return fmt.Errorf("%s: %w", dir, checkpoint.ErrExists)
	}
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o777); err != nil {
		return err
	}
	tmp := filepath.Join(parent, "."+filepath.Base(dir)+".incomplete")
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
	for _, p := range l.Params {
		specs = append(specs, bufferSpec(dev, p.Name, p.Value))
	}
	if err := errors.Join(checkpoint.WriteTensorFile(f, specs), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, dir)
}

// readAdapterConfig takes rank, alpha and targets of an adapter to begin with.
func readAdapterConfig(dir string, o *Options) error {
	path := filepath.Join(dir, adapterConfig)
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var p peft
	var all map[string]any
	if err := errors.Join(json.Unmarshal(text, &p), json.Unmarshal(text, &all)); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if p.Type != "LORA" || p.Bias != "none" && p.Bias != "" || p.FanInOut {
		return fmt.Errorf("%s: want LORA without bias and fan_in_fan_out, got %s, bias %q, %v", path, p.Type, p.Bias, p.FanInOut)
	}
	for _, name := range []string{"use_dora", "use_rslora", "rank_pattern", "alpha_pattern", "modules_to_save", "layers_to_transform", "exclude_modules", "lora_bias"} {
		switch v := all[name].(type) {
		case nil:
		case bool:
			if v {
				return fmt.Errorf("%s: %s is not supported", path, name)
			}
		case map[string]any:
			if len(v) > 0 {
				return fmt.Errorf("%s: %s is not supported", path, name)
			}
		default:
			return fmt.Errorf("%s: %s is not supported", path, name)
		}
	}
	var names []string
	if err := json.Unmarshal(p.Targets, &names); err != nil || len(names) == 0 {
		return fmt.Errorf("%s: target_modules: want a list of names, got %s", path, p.Targets)
	}
	targets, err := ParseTargets(strings.Join(names, ","))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	// PEFT keeps a set, in any order.
	o.Targets = slices.DeleteFunc(checkpoint.Projections(), func(p checkpoint.Param) bool { return !slices.Contains(targets, p) })
	o.Rank, o.Alpha = p.Rank, p.Alpha
	return nil
}

// loadAdapter begins with an adapter's values.
func loadAdapter(dir string, dev device.Trainer, l *train.Trainer) error {
	b, err := checkpoint.OpenTensorFile(filepath.Join(dir, adapterFile))
	if err != nil {
		return err
	}
	defer b.Close()
	left := map[string]bool{}
	for _, name := range b.Names() {
		left[name] = true
	}
	for _, p := range l.Params {
		t, err := b.Tensor(p.Name, p.Value.Rows(), p.Value.Cols())
		if err != nil {
			return err
		}
		x := checkpoint.Float32s(t)
		for _, v := range x {
			if v-v != 0 {
				return fmt.Errorf("%s: %s: a number is not finite", dir, p.Name)
			}
		}
		dev.Write(p.Value, 0, x)
		delete(left, p.Name)
	}
	for name := range left {
		return fmt.Errorf("%s: %s: no such matrix in the model", dir, name)
	}
	return dev.Sync()
}
