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

// The files of an adapter directory in the layout of PEFT.
const (
	adapterConfig = "adapter_config.json"
	adapterFile   = "adapter_model.safetensors"
)

// peftConfig is the content of adapter_config.json.
type peftConfig struct {
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

// saveAdapter writes an adapter directory, which must not exist. It appears under its name
// only when it is complete.
func saveAdapter(dir string, dev device.Device, t *train.Trainer, o *Options) (err error) {
	names := []string{}
	for _, p := range o.Targets {
		names = append(names, p.Short())
	}
	targets, err := json.Marshal(names)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(peftConfig{"LORA", "CAUSAL_LM", o.Model, o.Rank, o.Alpha, o.Dropout, targets, "none", false, true}, "", "  ")
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
	for _, p := range t.Params {
		specs = append(specs, bufferSpec(dev, p.Name, p.Value))
	}
	if err := errors.Join(checkpoint.WriteTensorFile(f, specs), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, dir)
}

// readAdapterConfig takes rank, alpha and targets from the adapter that training starts from.
func readAdapterConfig(dir string, o *Options) error {
	path := filepath.Join(dir, adapterConfig)
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var p peftConfig
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
	// PEFT stores a set, in any order.
	o.Targets = slices.DeleteFunc(checkpoint.Projections(), func(p checkpoint.Param) bool { return !slices.Contains(targets, p) })
	o.Rank, o.Alpha = p.Rank, p.Alpha
	return nil
}

// loadAdapter sets the parameters to those of an adapter.
func loadAdapter(dir string, dev device.Trainer, t *train.Trainer) error {
	b, err := checkpoint.OpenTensorFile(filepath.Join(dir, adapterFile))
	if err != nil {
		return err
	}
	defer b.Close()
	unused := map[string]bool{}
	for _, name := range b.Names() {
		unused[name] = true
	}
	for _, p := range t.Params {
		stored, err := b.Tensor(p.Name, p.Value.Rows(), p.Value.Cols())
		if err != nil {
			return err
		}
		x := checkpoint.Float32s(stored)
		for _, v := range x {
			if v-v != 0 {
				return fmt.Errorf("%s: %s: a number is not finite", dir, p.Name)
			}
		}
		dev.Write(p.Value, 0, x)
		delete(unused, p.Name)
	}
	for name := range unused {
		return fmt.Errorf("%s: %s: the model has no such matrix", dir, name)
	}
	return dev.Sync()
}
