package finetune

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"mop/internal/files"
	"mop/runtime/checkpoint"
	"mop/runtime/dataset"
)

// Settings are the options that the result depends on.
func (o *Options) Settings() map[string]any {
	s := map[string]any{"full": o.Full, "epochs": o.Epochs, "steps": o.Steps, "batch": o.Batch, "max_length": o.MaxLength, "packing": o.Packing,
		"loss_average": o.Average, "rate": o.LearningRate, "warm_up": o.WarmUp, "clip": o.MaxGradNorm, "betas": []float64{o.Beta1, o.Beta2}, "eps": o.Eps, "decay": o.WeightDecay,
		"seed": o.Seed, "shuffle": !o.NoShuffle, "separator": o.Separator}
	if o.Special {
		s["special"] = true
	}
	if o.ChatTemplate != "" {
		s["chat_template"] = o.ChatTemplate
	}
	if o.Rounded {
		s["activations"] = "bfloat16"
	}
	if !o.Full {
		var names []string
		for _, p := range o.Targets {
			names = append(names, p.Short())
		}
		maps.Copy(s, map[string]any{"rank": o.Rank, "alpha": o.Alpha, "dropout": o.Dropout, "targets": names})
	}
	return s
}

// identity is everything that the result depends on, by names. data is the checksum of the
// training data. The examples depend on the tokenizer and the chat template too.
func identity(src *checkpoint.Dir, o *Options, data string, examples []dataset.Example) (map[string]string, error) {
	id := map[string]string{"data": data, "device": o.Device.Capabilities().Name} // devices round differently
	h := sha256.New()
	for _, info := range checkpoint.ExpectedTensors(src.Config()) {
		t, err := src.Tensor(info.Name)
		if err != nil {
			return nil, err
		}
		// The first and last bytes of every tensor distinguish models of the same shapes.
		fmt.Fprint(h, info.Name, info.Shape, t.DType)
		h.Write(t.Data[:min(len(t.Data), 4096)])
		h.Write(t.Data[max(0, len(t.Data)-4096):])
	}
	id["model"] = hex.EncodeToString(h.Sum(nil))
	h.Reset()
	for _, e := range examples {
		if err := binary.Write(h, binary.LittleEndian, e.Tokens); err != nil {
			return nil, err
		}
		fmt.Fprint(h, e.FirstTarget, e.Unlearned)
	}
	id["tokens of the data"] = hex.EncodeToString(h.Sum(nil))
	for name, value := range o.Settings() {
		text, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		id[name] = string(text)
	}
	if o.AdapterInit == "" {
		return id, nil
	}
	for _, name := range []string{adapterFile, adapterConfig} {
		sum, err := files.Sum(filepath.Join(o.AdapterInit, name))
		if err != nil {
			return nil, err
		}
		id[name] = sum
	}
	return id, nil
}

// fingerprint is a checksum of an identity.
func fingerprint(id map[string]string) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(id)) {
		fmt.Fprintf(h, "%q %q\n", name, id[name])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// flagOf is the flag of a setting, where it is called otherwise.
var flagOf = map[string]string{"rate": "lr", "max_length": "max-length", "loss_average": "loss-average", "warm_up": "warm-up", "betas": "beta1 and --beta2",
	"separator": "split", "chat_template": "chat-template"}

// difference names what differs between a run and an earlier one.
func difference(was, is map[string]string) string {
	for _, name := range slices.Sorted(maps.Keys(is)) {
		old, ok := was[name]
		switch {
		case ok && old == is[name]:
		case len(is[name]) == 64: // a checksum
			return fmt.Sprintf("its %s was another", name)
		case name == "shuffle":
			return "--no-shuffle was given to one of them"
		default:
			flag := name
			if other, ok := flagOf[name]; ok {
				flag = other
			}
			if old == "" {
				old = "not given"
			}
			return fmt.Sprintf("--%s was %s and is %s", flag, old, is[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(was)) {
		if _, ok := is[name]; !ok {
			return fmt.Sprintf("it had %s, which this one has not", name)
		}
	}
	return "other model, data or options"
}
